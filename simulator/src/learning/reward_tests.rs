use super::*;
use crate::testing::{PodWords, node, pod, scenario};
use crate::world::{Pod, SeriesId, Usage};

/// Two nodes of 4 cores and 8 GiB for an hour.
fn hindsight_of(pods: Vec<Pod>, stays: &[(u32, u32)], test: impl FnOnce(&Hindsight<'_>)) {
    let scenario = scenario(vec![node("a", "4", 8), node("b", "4", 8)], pods).checked().expect("a scenario");
    let stays =
        stays.iter().map(|(pod, node)| Stay { pod: PodId(*pod), node: NodeId(*node), from_ms: 0, until_ms: HOUR_MS });
    let weights = CostWeights { imbalance: 0.0, ..CostWeights::default() };
    let smoothing = Smoothing { ramp: 0.03, even: 0.0 };
    test(&Hindsight::new(&scenario, weights, smoothing, stays.collect()));
}

#[test]
fn a_pod_costs_what_would_not_have_been_without_it() {
    // On a: 3 cores, 75 %, which is below the ramp of 77 to 83 %; with 0.45 more 86.25 % of 4 cores, for an hour.
    let pods = vec![pod("base", "1", 1).uses(3_000.0, 1.0), pod("more", "1", 1).uses(450.0, 1.0)];
    hindsight_of(pods, &[(0, 0), (1, 0)], |hindsight| {
        let cost = |pod: u32, node: u32, stay: Option<usize>| {
            hindsight.added(PodId(pod), NodeId(node), stay, pod as usize, (0, HOUR_MS))[0]
        };
        // Without the second the node would not be hot: 60 minutes at weight 1. The first could not know of it.
        assert!((cost(1, 0, Some(1)).stability - 60.0).abs() < 1e-9);
        assert_eq!(cost(0, 0, Some(0)).stability, 0.0);
        // On the empty node neither would have cost anything.
        assert_eq!(cost(1, 1, None).sum(), 0.0);
    });
}

#[test]
fn evenness_is_the_growth_of_the_square() {
    let scenario = scenario(
        vec![node("a", "4", 8)],
        vec![pod("one", "1", 1).uses(1_000.0, 0.0), pod("two", "1", 1).uses(1_000.0, 0.0)],
    );
    let scenario = scenario.checked().expect("a scenario");
    let stay = |pod: u32| Stay { pod: PodId(pod), node: NodeId(0), from_ms: 0, until_ms: HOUR_MS };
    let weights = CostWeights { imbalance: 0.0, ..CostWeights::default() };
    let hindsight = Hindsight::new(&scenario, weights, Smoothing { ramp: 0.03, even: 2.0 }, vec![stay(0), stay(1)]);
    // 60 minutes × 2 × (0.5² − 0.25²).
    let cost = hindsight.added(PodId(1), NodeId(0), Some(1), 1, (0, HOUR_MS))[0];
    assert!((cost.stability - 60.0 * 2.0 * (0.25 - 0.0625)).abs() < 1e-6, "{cost:?}");
}

#[test]
fn evenness_counts_a_node_by_its_size_and_what_runs_beside_the_pods() {
    let mut busy = node("large", "12", 24);
    busy.baseline = Some(Usage::constant(SeriesId(0), 3_000.0, 0.0));
    let scenario = scenario(vec![node("small", "4", 24), busy], vec![pod("one", "1", 1).uses(1_000.0, 0.0)]);
    let scenario = scenario.checked().expect("a scenario");
    let stay = Stay { pod: PodId(0), node: NodeId(0), from_ms: 0, until_ms: HOUR_MS };
    let weights = CostWeights { imbalance: 0.0, ..CostWeights::default() };
    let hindsight = Hindsight::new(&scenario, weights, Smoothing { ramp: 0.03, even: 2.0 }, vec![stay]);
    let cost = |node, stay| hindsight.added(PodId(0), NodeId(node), stay, 0, (0, HOUR_MS))[0].stability;
    // Nodes of 8 cores on average: 60 × 2 × ½ × (¼)², and 60 × 2 × 1½ × ((4/12)² − (3/12)²).
    assert!((cost(0, Some(0)) - 60.0 * 0.0625).abs() < 1e-6, "{}", cost(0, Some(0)));
    assert!((cost(1, None) - 60.0 * 3.0 * (16.0 - 9.0) / 144.0).abs() < 1e-6, "{}", cost(1, None));
}

#[test]
fn throttling_counts_all_who_suffer() {
    // 5 of 4 cores wanted at equal requests: both want more than their half, 2 throttled pods for an hour at 0.5 each;
    // without the second nobody is. Hot minutes: over 80 % and 90 % with it, 62.5 % without: 60 × (1 + 2).
    let pods = vec![pod("base", "1", 1).uses(2_500.0, 1.0), pod("more", "1", 1).uses(2_500.0, 1.0)];
    hindsight_of(pods, &[(0, 0), (1, 0)], |hindsight| {
        let cost = hindsight.added(PodId(1), NodeId(0), Some(1), 1, (0, HOUR_MS))[0];
        assert!((cost.performance - 60.0).abs() < 1e-9 && (cost.stability - 180.0).abs() < 1e-9, "{cost:?}");
        // The same pod on the other node, as if it had been put there: 62.5 %.
        assert_eq!(hindsight.added(PodId(1), NodeId(1), None, 1, (0, HOUR_MS))[0].sum(), 0.0);
    });
}

#[test]
fn memory_over_allocatable_is_a_kill_an_hour() {
    let pods = vec![pod("base", "1", 1).uses(100.0, 6.0), pod("more", "1", 1).uses(100.0, 3.0)];
    hindsight_of(pods, &[(0, 0), (1, 1)], |hindsight| {
        let cost = hindsight.added(PodId(1), NodeId(0), None, 1, (0, HOUR_MS))[0];
        assert!((cost.performance - 30.0).abs() < 1e-9, "{cost:?}");
        assert_eq!(hindsight.added(PodId(1), NodeId(1), Some(1), 1, (0, HOUR_MS))[0].performance, 0.0);
    });
}

#[test]
fn who_takes_the_room_of_a_waiting_pod_pays_for_its_waiting() {
    // Each node has 2 of 4 cores free; a pod of 3 cores comes and never fits. Without either of the small pods it would.
    let large = pod("large", "3", 1).uses(0.0, 0.0);
    let pods = vec![pod("one", "2", 1).uses(0.0, 0.0), pod("two", "2", 1).uses(0.0, 0.0), large];
    hindsight_of(pods, &[(0, 0), (1, 1)], |hindsight| {
        let cost = hindsight.added(PodId(0), NodeId(0), Some(0), 0, (0, HOUR_MS))[0];
        // 60 minutes at 0.5, half of it each.
        assert!((cost.efficiency - 15.0).abs() < 1e-9, "{cost:?}");
        assert_eq!(hindsight.added(PodId(0), NodeId(1), None, 0, (0, HOUR_MS))[0].efficiency, 0.0);
    });
}

#[test]
fn cost_is_told_by_hours_since_the_decision() {
    let pods = vec![pod("base", "1", 1).uses(3_700.0, 1.0)];
    hindsight_of(pods, &[(0, 0)], |hindsight| {
        let half = HOUR_MS / 2;
        let hours = hindsight.added(PodId(0), NodeId(0), Some(0), 0, (half, HOUR_MS));
        // 92.5 % is within the ramp around 90 %: (0.025 + 0.03) ÷ 0.06 of weight 2, and all of weight 1.
        assert_eq!(hours.len(), 1);
        let expected = 30.0 * (1.0 + 2.0 * (0.025 + 0.03) / 0.06);
        assert!((hours[0].stability - expected).abs() < 1e-4, "{hours:?}");
    });
}
