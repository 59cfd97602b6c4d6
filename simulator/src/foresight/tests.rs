use super::*;
use crate::engine::{Ask, EngineSettings, View, run};
use crate::input::{Shape, Synthetic};
use crate::outcome::CostWeights;
use crate::policy::{Policy, PolicyKind, Reach, Scorer};
use crate::testing::{PodWords, node, pod, scenario};
use crate::world::{NodeId, Pod, Scenario, SeriesId, UsageSeries};
use clap::ValueEnum;
use cluster::MINUTE_MS;
use proptest::prelude::*;

/// Takes the choices of a script, and notes how many there were to choose among; the first where the script ends.
struct Scripted<'a> {
    script: &'a [usize],
    counts: Vec<usize>,
}

impl Policy for Scripted<'_> {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn reach(&self) -> Reach {
        Reach::All
    }

    fn score(&mut self, _: &Ask<'_>, _: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let choice = self.script.get(self.counts.len()).copied().unwrap_or(0);
        // In the order of the nodes, whatever the order in which they were found.
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by_key(|place| candidates[*place]);
        scores[order[choice]] = 1.0;
        self.counts.push(candidates.len());
    }
}

/// The least cost over every sequence of choices that any policy could make.
fn least_of_all(scenario: &Scenario) -> f64 {
    let weights = CostWeights::default();
    let (mut script, mut least, mut runs) = (Vec::new(), f64::INFINITY, 0);
    loop {
        let mut policy = Scripted { script: &script, counts: Vec::new() };
        let outcome = run(scenario, &EngineSettings::default(), &mut policy, 1);
        least = least.min(weights.cost(&outcome));
        let counts = policy.counts;
        runs += 1;
        assert!(runs < 100_000, "too many placements to try them all");
        // The next script, as an odometer turns.
        script.resize(counts.len(), 0);
        let Some(turned) = (0..counts.len()).rev().find(|place| script[*place] + 1 < counts[*place]) else {
            return least;
        };
        script[turned] += 1;
        script.truncate(turned + 1);
    }
}

/// Two or three nodes and a few pods whose courses differ: which of them meet decides what it costs.
fn tiny(nodes: usize, pods: &[(u8, u8, u8, u8)]) -> Scenario {
    let shapes = (0..nodes).map(|at| node(&format!("node-{at}"), "4", 8)).collect();
    let made: Vec<Pod> = pods
        .iter()
        .enumerate()
        .map(|(at, (cpu, memory, arrives, course))| {
            let name = format!("pod-{at}");
            let mut made = pod(&name, &format!("{}m", 500 + 250 * u32::from(cpu % 4)), u64::from(1 + memory % 3));
            made.usage.cpu_milli = 700.0 + 400.0 * f32::from(cpu % 4);
            // Never more than is requested: a kill and its return would be one more choice.
            made.usage.memory_bytes *= 0.7 + 0.1 * f32::from(memory % 3);
            made.usage.series = SeriesId(1 + u32::from(course % 3));
            made.arrives_at(i64::from(arrives % 4) * 10 * MINUTE_MS)
        })
        .collect();
    let mut scenario = scenario(shapes, made);
    let course = |high: std::ops::Range<usize>| {
        let cpu = (0..60).map(|minute| if high.contains(&minute) { 1.5 } else { 0.3 }).collect();
        UsageSeries::new(cpu, vec![1.0; 60]).expect("a series")
    };
    scenario.series.extend([course(0..20), course(20..40), course(40..60)]);
    scenario.checked().expect("a scenario")
}

const PODS: [(u8, u8, u8, u8); 6] =
    [(3, 0, 0, 0), (3, 0, 0, 0), (2, 1, 0, 1), (2, 0, 1, 1), (3, 1, 1, 2), (1, 0, 2, 2)];

#[test]
fn the_search_finds_the_best_of_all_placements() {
    let (engine, weights) = (EngineSettings::default(), CostWeights::default());
    for turn in 0..12 {
        let mut pods = PODS;
        pods.rotate_left(turn % 6);
        for (at, pod) in pods.iter_mut().enumerate() {
            pod.3 = pod.3.wrapping_add((turn * at) as u8);
        }
        let scenario = tiny(2 + turn % 2, &pods[..5 + turn % 2]);
        let best = least_of_all(&scenario);
        let found = weights.cost(&search(&scenario, &engine, &weights, &SearchSettings::default(), 1));
        assert!((found - best).abs() < 1e-9 * best.max(1.0), "turn {turn}: found {found}, there is {best}");
    }
}

#[test]
fn the_search_is_cheaper_than_every_policy_and_the_bound_is_below_it() {
    let (engine, weights) = (EngineSettings::default(), CostWeights::default());
    for shape in [Shape::Mixed, Shape::Misrequested] {
        let scenario = Synthetic { shape, nodes: 10, days: 0.5, load: 0.85, seed: 3 }.build().expect("a scenario");
        let found = weights.cost(&search(&scenario, &engine, &weights, &SearchSettings::default(), 1));
        let greedy = weights.cost(&PolicyKind::GreedyOracle.run(&scenario, &engine, &weights, &Scorer::default(), 1));
        let bound = lower_bound(&scenario, &weights);
        assert!(found <= greedy, "{shape:?}: {found} {greedy}");
        assert!(bound <= found, "{shape:?}: {bound} {found}");
    }
}

#[test]
fn the_same_seed_finds_the_same() {
    let scenario = Synthetic::small(2).build().expect("a scenario");
    let once = || {
        let settings = SearchSettings { kicks: 2, ..SearchSettings::default() };
        search(&scenario, &EngineSettings::default(), &CostWeights::default(), &settings, 5)
    };
    assert_eq!(once(), once());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_placement_of_a_small_cluster_is_below_the_bound(
        nodes in 1_usize..4, pods in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..6),
    ) {
        let scenario = tiny(nodes, &pods);
        let (best, bound) = (least_of_all(&scenario), lower_bound(&scenario, &CostWeights::default()));
        prop_assert!(bound <= best, "bound {bound}, a placement costs {best}");
    }

    #[test]
    fn no_policy_is_below_the_bound(
        seed in 1_u64..1_000, load in 0.5..1.4f64, shape in prop::sample::select(Shape::value_variants().to_vec()),
        kind in prop::sample::select(vec![
            PolicyKind::Random, PolicyKind::KubeScheduler, PolicyKind::BestFit, PolicyKind::LeastUsed, PolicyKind::MostAllocated,
            PolicyKind::Predictor,
        ]),
    ) {
        let scenario = Synthetic { shape, nodes: 6, days: 0.25, load, seed }.build().expect("a scenario");
        let weights = CostWeights::default();
        let cost = weights.cost(&kind.run(&scenario, &EngineSettings::default(), &weights, &Scorer::default(), seed));
        let bound = lower_bound(&scenario, &weights);
        prop_assert!(bound <= cost, "bound {bound}, {} costs {cost}", kind.name());
    }
}
