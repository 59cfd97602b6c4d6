//! Which nodes the filter verb rejects, when the rules let it reject any at all.

use cluster::score::{SATURATED_UTILIZATION, TARGET_UTILIZATION, load_score};
use models::anomaly::Severity;
use score_api::NodeScore;
use std::collections::BTreeMap;

/// Limits are read and compared through sums of decimals.
const ROUNDING: f64 = 1e-9;

/// The rejected candidates by their place, with the reason that shows in the pod's event. Never more than half of them, the worst
/// first, and never a node of which nothing is known: kube-scheduler stops looking for nodes before it asks us, so whoever rejects all
/// that it found makes a pod wait although others would have room.
///
/// `over`: the utilization that a forecast may not pass.
pub fn rejected(nodes: &[NodeScore], over: f64) -> BTreeMap<usize, String> {
    let limit = load_score(over.clamp(TARGET_UTILIZATION, SATURATED_UTILIZATION));
    let mut bad: Vec<(usize, f64, String)> = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        if node.severity == Some(Severity::Critical) {
            bad.push((place, f64::NEG_INFINITY, "berth: the node behaves like one that is about to fail".to_owned()));
        } else if let Some(load) = node.parts.load.filter(|load| *load <= limit + ROUNDING) {
            let reason = format!("berth: forecast over {:.0} % of CPU or memory with this pod", 100.0 * over);
            bad.push((place, load, reason));
        }
    }
    bad.sort_by(|left, right| left.1.total_cmp(&right.1));
    bad.truncate(nodes.len() / 2);
    bad.into_iter().map(|(place, _, reason)| (place, reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::score::Parts;
    use proptest::prelude::*;

    fn node(load: Option<f64>, severity: Option<Severity>) -> NodeScore {
        NodeScore { parts: Parts { load, ..Parts::default() }, severity, ..NodeScore::default() }
    }

    #[test]
    fn critical_nodes_go_first_then_the_fullest() {
        let nodes = [
            node(Some(0.0), None),
            node(Some(1.0), None),
            node(Some(0.9), Some(Severity::Critical)),
            node(None, None),
            node(Some(0.9), Some(Severity::Warning)),
            node(Some(0.9), None),
        ];
        let rejected = super::rejected(&nodes, 0.95);
        assert_eq!(rejected.keys().copied().collect::<Vec<_>>(), [0, 2]);
        assert!(rejected[&0].contains("95 %"), "{}", rejected[&0]);
        // At 0.8 the load part is one half.
        let half = [node(Some(0.5), None), node(Some(0.51), None)];
        assert_eq!(super::rejected(&half, 0.8).len(), 1);
        assert!(super::rejected(&[node(Some(0.0), None)], 0.95).is_empty(), "the only node is never rejected");
    }

    proptest! {
        #[test]
        fn never_more_than_half_and_never_a_stranger(loads in prop::collection::vec(prop::option::of(0.0..1.0f64), 0..50)) {
            let nodes: Vec<NodeScore> = loads.iter().map(|load| node(*load, None)).collect();
            let rejected = super::rejected(&nodes, 0.75);
            prop_assert!(rejected.len() <= nodes.len() / 2);
            prop_assert!(rejected.keys().all(|place| loads[*place].is_some()));
        }
    }
}
