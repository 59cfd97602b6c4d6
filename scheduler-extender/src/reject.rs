//! Which nodes the filter verb rejects, when the rules let it reject any at all.

use models::anomaly::Severity;
use score_api::NodeScore;
use std::collections::BTreeMap;

/// The rejected candidates by their place, with the reason that shows in the pod's event. Never more than half of them, the worst
/// first, and never a node of which nothing is known: kube-scheduler stops looking for nodes before it asks us, so whoever rejects all
/// that it found makes a pod wait although others would have room.
///
/// `over`: the utilization that a P90 forecast with the pod may not reach.
pub fn rejected(nodes: &[NodeScore], over: f64) -> BTreeMap<usize, String> {
    let mut bad: Vec<(usize, f64, String)> = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        if node.severity == Some(Severity::Critical) {
            bad.push((place, f64::INFINITY, "berth: the node behaves like one that is about to fail".to_owned()));
        } else if let Some(peak) = node.peak.filter(|peak| *peak >= over) {
            let reason = format!("berth: forecast over {:.0} % of CPU or memory with this pod", 100.0 * over);
            bad.push((place, peak, reason));
        }
    }
    bad.sort_by(|left, right| right.1.total_cmp(&left.1));
    bad.truncate(nodes.len() / 2);
    bad.into_iter().map(|(place, _, reason)| (place, reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(peak: Option<f64>, severity: Option<Severity>) -> NodeScore {
        NodeScore { peak, severity, ..NodeScore::default() }
    }

    #[test]
    fn critical_nodes_go_first_then_the_fullest() {
        let nodes = [
            node(Some(0.97), None),
            node(Some(0.3), None),
            node(Some(0.5), Some(Severity::Critical)),
            node(None, None),
            node(Some(0.96), None),
            node(Some(0.9), Some(Severity::Warning)),
            node(Some(1.2), None),
        ];
        let rejected = super::rejected(&nodes, 0.95);
        // Four are over, and half of seven is three.
        assert_eq!(rejected.keys().copied().collect::<Vec<_>>(), [0, 2, 6]);
        assert!(rejected[&0].contains("95 %"), "{}", rejected[&0]);
        let near = [node(Some(0.8), None), node(Some(0.79), None)];
        assert_eq!(super::rejected(&near, 0.8).len(), 1);
        assert!(super::rejected(&[node(Some(0.99), None)], 0.95).is_empty(), "the only node is never rejected");
    }

    proptest! {
        #[test]
        fn never_more_than_half_and_never_a_stranger(peaks in prop::collection::vec(prop::option::of(0.0..1.5f64), 0..50)) {
            let nodes: Vec<NodeScore> = peaks.iter().map(|peak| node(*peak, None)).collect();
            let rejected = super::rejected(&nodes, 0.75);
            prop_assert!(rejected.len() <= nodes.len() / 2);
            prop_assert!(rejected.keys().all(|place| peaks[*place].is_some()));
        }
    }
}
