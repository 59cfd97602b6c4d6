//! The public traces, where they are: `BERTH_TEST_DATA` names their folder, else they lie beside the repository. Without
//! them the same checks run on a made-up cluster, and the test says so.

use cluster::HOUR_MS;
use simulator::engine::{EngineSettings, run};
use simulator::input::{CombineSettings, OpenbTrace, PodLives, Shape, Synthetic, UsageLibrary, UsageSet, combine};
use simulator::outcome::CostWeights;
use simulator::policy::{PolicyKind, Scorer};
use simulator::world::Scenario;
use std::path::{Path, PathBuf};

fn traces() -> Option<PathBuf> {
    let folder = std::env::var_os("BERTH_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    OpenbTrace::is_in(&folder).then_some(folder)
}

fn settings(days: f64, lives: PodLives, share: f64) -> CombineSettings {
    CombineSettings { days, seed: 1, lives, cpu_ratio: 0.8, memory_ratio: 0.6, share }
}

fn scenario() -> Scenario {
    let Some(folder) = traces() else {
        eprintln!("SKIPPED: BERTH_TEST_DATA names no folder with openb: checking on a made-up cluster instead");
        let made_up = Synthetic { shape: Shape::Pools, nodes: 300, days: 0.5, load: 0.7, seed: 1 };
        return made_up.build().expect("a scenario");
    };
    let trace = OpenbTrace::read(&folder).expect("openb");
    assert_eq!((trace.nodes.len(), trace.pods.len()), (1_523, 8_152), "as the trace's README says");
    let cpu: u64 = trace.nodes.iter().map(|node| node.shape.cpu.millicores()).sum();
    assert_eq!(cpu / 1_000, 125_514);
    assert_eq!(trace.nodes.iter().map(|node| u64::from(node.shape.gpus)).sum::<u64>(), 6_212);
    let library = UsageLibrary::read(&folder, UsageSet::Bitbrains).expect("bitbrains");
    assert!(library.machines.len() > 50, "{} machines", library.machines.len());
    // A quarter of it keeps the test short; `make simulate` takes all.
    combine(&trace, &library, &settings(1.0, PodLives::Stay, 0.25)).expect("a scenario")
}

#[test]
fn every_policy_places_the_whole_trace_and_loses_no_pod() {
    let scenario = scenario();
    let weights = CostWeights::default();
    let mut costs = Vec::new();
    for kind in [
        PolicyKind::Random,
        PolicyKind::KubeScheduler,
        PolicyKind::TargetLoadPacking,
        PolicyKind::LeastUsed,
        PolicyKind::GreedyOracle,
    ] {
        let outcome = kind.run(&scenario, &EngineSettings::default(), &weights, &Scorer::default(), 1);
        assert_eq!(outcome.pods, scenario.pods.len() as u64);
        assert_eq!(outcome.pods, outcome.completed + outcome.running + outcome.waiting, "{}", outcome.policy);
        assert!(outcome.placed as f64 > 0.9 * outcome.pods as f64, "{} placed {}", outcome.policy, outcome.placed);
        let node_minutes = scenario.nodes.len() as f64 * scenario.span_ms as f64 / 60_000.0;
        assert!((outcome.node_minutes - node_minutes).abs() < 1e-3 * node_minutes);
        costs.push((outcome.policy.clone(), weights.cost(&outcome)));
    }
    let (random, oracle) = (costs[0].1, costs[4].1);
    assert!(oracle < random, "who knows the future does better: {costs:?}");
}

#[test]
fn lives_as_in_the_trace_end_and_leave_the_cluster_almost_empty() {
    let Some(folder) = traces() else {
        eprintln!("SKIPPED: BERTH_TEST_DATA names no folder with openb: nothing to check here");
        return;
    };
    let trace = OpenbTrace::read(&folder).expect("openb");
    let library = UsageLibrary::read(&folder, UsageSet::Planetlab).expect("planetlab");
    let scenario = combine(&trace, &library, &settings(2.0, PodLives::Trace, 0.1)).expect("a scenario");
    assert_eq!(scenario.span_ms, 48 * HOUR_MS);
    let mut policy = PolicyKind::KubeScheduler.build(&scenario, &CostWeights::default(), &Scorer::default());
    let outcome = run(&scenario, &EngineSettings::default(), policy.as_mut(), 1);
    assert!(outcome.completed > outcome.pods / 2, "{} of {} ended", outcome.completed, outcome.pods);
}
