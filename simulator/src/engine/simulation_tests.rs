//! What the engine promises: determinism, conservation, contention, telemetry, herding.

use super::*;
use crate::policy::{Coldest, KubeScheduler, LeastUsed, PolicyKind, Random};
use crate::testing::{PodWords, node, pod, scenario};
use crate::world::{AffinityTerm, Label, Pod, Rules, SpreadConstraint, Strength, Taint, TaintEffect, ZoneId};
use cluster::{HOUR_MS, MINUTE_MS};
use proptest::prelude::*;

fn ran(scenario: Scenario, policy: &mut dyn Policy) -> Outcome {
    run(&scenario.checked().expect("a scenario"), &EngineSettings::default(), policy, 7)
}

#[test]
fn hot_minutes_are_exact() {
    // 4 cores; 3.4 cores (85 %) from minute 10 to 40 and half a core more (97.5 %) from minute 20 for ten minutes.
    let pods = vec![
        pod("long", "1", 1).uses(3_400.0, 1.0).arrives_at(10 * MINUTE_MS).runs_for(30 * MINUTE_MS),
        pod("short", "1", 1).uses(500.0, 1.0).arrives_at(20 * MINUTE_MS).runs_for(10 * MINUTE_MS),
    ];
    let outcome = ran(scenario(vec![node("a", "4", 16)], pods), &mut Random);
    assert_eq!((outcome.node_minutes, outcome.hot_80_minutes, outcome.hot_90_minutes), (60.0, 30.0, 10.0));
    assert_eq!((outcome.completed, outcome.throttled_pod_minutes), (2, 0.0));
    // (20 × 3.4 + 10 × 3.9) ÷ 4 ÷ 60.
    assert!((outcome.mean_utilization - 107.0 / 240.0).abs() < 1e-6, "{}", outcome.mean_utilization);
    assert_eq!(outcome.series.hot_80.iter().sum::<f64>(), 30.0);
}

#[test]
fn cpu_over_capacity_throttles_and_kills_nobody() {
    // Both want 3 of 4 cores; requests 1:2. The first gets 4/3, the second 8/3: both are throttled for the hour.
    let pods = vec![pod("small", "1", 1).uses(3_000.0, 1.0), pod("large", "2", 1).uses(3_000.0, 1.0)];
    let outcome = ran(scenario(vec![node("a", "4", 16)], pods), &mut Random);
    assert_eq!((outcome.throttled_pod_minutes, outcome.evictions), (120.0, 0));
    assert!((outcome.missing_core_minutes - 120.0).abs() < 1e-9);
}

#[test]
fn memory_over_capacity_evicts_in_the_kubelets_order_and_restarts() {
    // 8 GiB. The modest pod stays within its request, the greedy one uses 7 of 2 GiB: together 9 GiB.
    let pods =
        vec![pod("modest", "1", 4).uses(100.0, 2.0), pod("greedy", "1", 2).uses(100.0, 7.0).arrives_at(MINUTE_MS)];
    let scenario = scenario(vec![node("a", "4", 8)], pods).checked().expect("a scenario");
    let outcome = run(&scenario, &EngineSettings::default(), &mut Random, 1);
    // It is killed as it starts: at 60 s, after 10, 20, 40, 80 and 160 s more at 370 s, then every 5 minutes up to 3,370 s.
    assert_eq!(outcome.evictions, 16);
    assert_eq!(outcome.running, 1);
    assert_eq!(outcome.decisions, 1 + 16);
}

#[test]
fn a_critical_pod_is_not_evicted() {
    let critical = pod("critical", "1", 1).uses(100.0, 7.0).with_priority(crate::engine::CRITICAL_PRIORITY);
    let pods = vec![critical, pod("modest", "1", 4).uses(100.0, 2.0).arrives_at(MINUTE_MS).runs_for(HOUR_MS)];
    let outcome = ran(scenario(vec![node("a", "4", 8)], pods), &mut Random);
    assert_eq!((outcome.evictions, outcome.completed), (16, 0), "the modest pod goes, within its request or not");
}

#[test]
fn a_node_under_memory_pressure_takes_no_best_effort_pod() {
    let mut guest = pod("guest", "0", 0).uses(1.0, 0.0).arrives_at(MINUTE_MS + 1_000);
    guest.qos = QosClass::BestEffort;
    let pods = vec![pod("greedy", "1", 1).uses(100.0, 9.0).arrives_at(MINUTE_MS).runs_for(1), guest];
    let outcome = ran(scenario(vec![node("a", "4", 8)], pods), &mut Random);
    assert_eq!(outcome.evictions, 16);
    assert_eq!(outcome.never_placed, 1, "pressure never ends while the greedy pod comes back");
}

#[test]
fn a_vanishing_node_sends_its_pods_back_to_the_queue() {
    let mut nodes = vec![node("leaves", "4", 16), node("joins", "4", 16)];
    nodes[0].leaves_ms = Some(30 * MINUTE_MS);
    nodes[1].joins_ms = 40 * MINUTE_MS;
    let outcome = ran(scenario(nodes, vec![pod("web", "3", 1).runs_for(45 * MINUTE_MS)]), &mut Random);
    assert_eq!((outcome.displaced, outcome.decisions, outcome.completed), (1, 2, 1));
    // From minute 30 to 40 it waits, and is tried again 10 s after the second node joins.
    assert!((outcome.pending_pod_minutes - (10.0 + 1.0 / 6.0)).abs() < 1e-9, "{}", outcome.pending_pod_minutes);
    assert_eq!(outcome.node_minutes, 50.0);
}

#[test]
fn a_pod_larger_than_every_node_waits_for_ever_and_is_counted() {
    let outcome = ran(scenario(vec![node("a", "4", 16)], vec![pod("huge", "5", 1), pod("web", "1", 1)]), &mut Random);
    assert_eq!((outcome.never_placed, outcome.placed, outcome.pending_pod_minutes), (1, 1, 60.0));
}

#[test]
fn the_important_pod_goes_first_when_room_is_made() {
    let pods = vec![
        pod("first", "3", 1).runs_for(10 * MINUTE_MS),
        pod("patient", "3", 1).arrives_at(1).runs_for(20 * MINUTE_MS),
        pod("important", "3", 1).arrives_at(2).runs_for(20 * MINUTE_MS).with_priority(9),
    ];
    let scenario = scenario(vec![node("a", "4", 16)], pods).checked().expect("a scenario");
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 1);
    let mut started = Vec::new();
    while let Some(pod) = simulation.next_pod() {
        simulation.decide(pod, &mut Random);
        if simulation.node_of(pod).is_some() {
            started.push(scenario.pod(pod).name.as_str());
        }
    }
    assert_eq!(started, ["first", "important", "patient"]);
}

#[test]
fn taints_selectors_anti_affinity_and_hard_spread_bind() {
    let mut nodes: Vec<_> = (0..4).map(|at| node(&format!("node-{at}"), "8", 32)).collect();
    for (at, node) in nodes.iter_mut().enumerate() {
        node.zone = Some(ZoneId(at as u16 / 2));
    }
    nodes[0].taints = vec![Taint { key: "gpu".into(), effect: TaintEffect::NoSchedule }];
    nodes[3].labels = vec![Label::new("disk", "ssd")];
    let mut scenario = scenario(
        nodes,
        vec![
            pod("db", "1", 1).of(0),
            pod("a", "1", 1).of(1),
            pod("b", "1", 1).of(1),
            pod("c", "1", 1).of(1),
            pod("d", "1", 1).of(1),
        ],
    );
    let alone =
        AffinityTerm { workload: WorkloadId(1), topology: Topology::Node, anti: true, strength: Strength::Required };
    scenario.rules.push(Rules { node_selector: vec![Label::new("disk", "ssd")], ..Rules::default() });
    scenario.rules.push(Rules { affinity: vec![alone], ..Rules::default() });
    scenario.workloads[0].rules = 1;
    scenario.workloads[1].rules = 2;
    let scenario = scenario.checked().expect("a scenario");
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 1);
    let mut places = Vec::new();
    for _ in 0..5 {
        let pod = simulation.next_pod().expect("a pod");
        simulation.decide(pod, &mut Random);
        places.push(simulation.node_of(pod));
    }
    assert_eq!(places[0], Some(NodeId(3)), "the selector wants the ssd");
    let mut apart: Vec<NodeId> = places[1..].iter().flatten().copied().collect();
    apart.sort_unstable();
    assert_eq!(
        apart,
        [NodeId(1), NodeId(2), NodeId(3)],
        "three nodes without the taint, one pod each, the fourth waits"
    );
}

#[test]
fn a_hard_spread_keeps_zones_level() {
    let mut nodes: Vec<_> = (0..3).map(|at| node(&format!("node-{at}"), "64", 64)).collect();
    for (at, node) in nodes.iter_mut().enumerate() {
        node.zone = Some(ZoneId(u16::from(at > 0)));
    }
    let mut scenario = scenario(nodes, (0..6).map(|at| pod(&format!("web-{at}"), "1", 1)).collect());
    scenario.rules[0].spread = vec![SpreadConstraint { topology: Topology::Zone, max_skew: 1, hard: true }];
    let scenario = scenario.checked().expect("a scenario");
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 3);
    while let Some(pod) = simulation.next_pod() {
        simulation.decide(pod, &mut Random);
        let view = simulation.view();
        let zones = [ZoneId(0), ZoneId(1)].map(|zone| view.presence(WorkloadId(0)).in_zone(zone));
        assert!(zones[0].abs_diff(zones[1]) <= 1, "{zones:?}");
    }
}

#[test]
fn a_tainted_node_is_a_place_of_a_hard_spread() {
    // As a real kube-scheduler decides: the node that the pods may not go to has none of them, so no other may have two.
    let mut nodes: Vec<_> = (0..3).map(|at| node(&format!("node-{at}"), "64", 64)).collect();
    nodes[0].taints = vec![Taint { key: "dedicated".into(), effect: TaintEffect::NoSchedule }];
    let mut scenario = scenario(nodes, (0..3).map(|at| pod(&format!("web-{at}"), "1", 1)).collect());
    scenario.rules[0].spread = vec![SpreadConstraint { topology: Topology::Node, max_skew: 1, hard: true }];
    let scenario = scenario.checked().expect("a scenario");
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 3);
    let mut placed = Vec::new();
    for _ in 0..3 {
        let pod = simulation.next_pod().expect("a pod");
        simulation.decide(pod, &mut Random);
        placed.extend(simulation.node_of(pod));
    }
    placed.sort_unstable();
    assert_eq!(placed, [NodeId(1), NodeId(2)]);
}

/// Ten equal nodes with a little load of their own, and forty pods that come within twenty seconds.
fn burst() -> Scenario {
    let mut nodes: Vec<_> = (0..10).map(|at| node(&format!("node-{at}"), "16", 64)).collect();
    for (at, node) in nodes.iter_mut().enumerate() {
        node.baseline = Some(crate::world::Usage::constant(crate::world::SeriesId(0), 1_000.0 + 10.0 * at as f32, 0.0));
    }
    let start = 20 * MINUTE_MS;
    let pods = (0..40).map(|at| pod(&format!("job-{at}"), "1", 1).uses(2_000.0, 1.0).arrives_at(start + at * 500));
    scenario(nodes, pods.collect()).checked().expect("a scenario")
}

fn most_on_one_node(policy: &mut dyn Policy) -> usize {
    let scenario = burst();
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 1);
    let mut counts = [0; 10];
    while let Some(pod) = simulation.next_pod() {
        simulation.decide(pod, policy);
        counts[simulation.node_of(pod).expect("placed").index()] += 1;
    }
    counts.into_iter().max().unwrap_or(0)
}

#[test]
fn a_naive_policy_herds_onto_the_node_that_was_coldest() {
    // The samples are 30 s apart and 30 s late, so 20 s of pods all see the same coldest node; 16 of them fill it.
    assert_eq!(most_on_one_node(&mut Coldest), 16);
    assert_eq!(most_on_one_node(&mut LeastUsed), 4, "what is in flight is counted");
    assert_eq!(most_on_one_node(&mut KubeScheduler::default()), 4, "requests are seen at once");
}

#[test]
fn telemetry_shows_the_past() {
    let scenario = burst();
    let settings = EngineSettings {
        telemetry_delay: runtime::settings::Span(std::time::Duration::from_secs(70)),
        ..EngineSettings::default()
    };
    let mut simulation = Simulation::new(&scenario, settings, 1);
    let first = simulation.next_pod().expect("a pod");
    let seen = *simulation.view().seen(NodeId(0)).expect("telemetry");
    // At minute 20 the newest of the samples taken by 18:50 is that of 18:30.
    assert_eq!((simulation.now_ms(), seen.at_ms), (20 * MINUTE_MS, 18 * MINUTE_MS + 30_000));
    assert!((seen.cpu - 1_000.0 / 16_000.0).abs() < 1e-6);
    simulation.bind(first, NodeId(0));
    assert_eq!(simulation.view().seen(NodeId(0)), Some(&seen), "a binding is not seen");
    assert_eq!(simulation.view().account(NodeId(0)).cpu_requested, 1_000, "its request is");
}

#[test]
fn the_same_seed_gives_the_same_outcome_and_another_seed_another() {
    let scenario = crate::input::Synthetic::small(5).build().expect("a scenario");
    let outcome = |seed| run(&scenario, &EngineSettings::default(), &mut Random, seed);
    assert_eq!(format!("{:?}", outcome(1)), format!("{:?}", outcome(1)));
    assert_ne!(outcome(1).hot_80_minutes, outcome(2).hot_80_minutes);
}

fn any_pods() -> impl Strategy<Value = Vec<Pod>> {
    let any = (0..HOUR_MS, 1..HOUR_MS, 0_u64..5_000, 0_u64..9, 0.0..3.0_f32, 0..3_i32, 0..3_u32);
    let to_pod = |(arrives, runs, cpu, memory, used, priority, workload)| {
        let mut pod = pod("any", &format!("{cpu}m"), memory).arrives_at(arrives).runs_for(runs).of(workload);
        pod = pod.uses(cpu as f32 * used + 10.0, memory as f32 * used).with_priority(priority);
        if cpu == 0 && memory == 0 {
            pod.qos = QosClass::BestEffort;
        }
        pod
    };
    proptest::collection::vec(any.prop_map(to_pod), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_pod_is_lost_or_placed_twice_and_no_node_gives_more_than_it_has(
        pods in any_pods(),
        seed in 0..100_u64,
        kind in proptest::sample::select(PolicyKind::COMPARED.to_vec()),
        leaves in proptest::option::of(1..HOUR_MS),
    ) {
        let mut nodes = vec![node("a", "4", 8), node("b", "8", 16), node("c", "2", 32)];
        nodes[1].leaves_ms = leaves;
        let scenario = scenario(nodes, pods).checked().expect("a scenario");
        let mut policy = kind.build(&scenario, &crate::outcome::CostWeights::default(), &crate::policy::Scorer::default());
        let mut simulation = Simulation::new(&scenario, EngineSettings::default(), seed);
        while let Some(pod) = simulation.next_pod() {
            prop_assert!(simulation.node_of(pod).is_none(), "asked for although it runs");
            simulation.decide(pod, policy.as_mut());
            // What the accounts say is what runs, and it fits.
            for (at, account) in simulation.accounts.iter().enumerate() {
                let id = NodeId(at as u32);
                let running: Vec<PodId> =
                    (0..scenario.pods.len() as u32).map(PodId).filter(|pod| simulation.node_of(*pod) == Some(id)).collect();
                let mut listed = simulation.nodes[at].pods.clone();
                listed.sort_unstable();
                prop_assert_eq!(&listed, &running);
                let cpu: u64 = running.iter().map(|pod| scenario.pod(*pod).request.cpu.millicores()).sum();
                let memory: u64 = running.iter().map(|pod| scenario.pod(*pod).request.memory.get()).sum();
                prop_assert_eq!((account.cpu_requested, account.memory_requested), (cpu, memory));
                prop_assert!(cpu <= account.cpu && memory <= account.memory);
                prop_assert!(account.ready || running.is_empty());
            }
        }
        let outcome = simulation.finish("any", seed);
        prop_assert_eq!(outcome.pods, scenario.pods.len() as u64);
        prop_assert_eq!(outcome.pods, outcome.completed + outcome.running + outcome.waiting);
        prop_assert_eq!(outcome.pods, outcome.placed + outcome.never_placed);
        prop_assert!(outcome.hot_90_minutes <= outcome.hot_80_minutes && outcome.hot_80_minutes <= outcome.node_minutes);
    }
}
