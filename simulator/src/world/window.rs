//! A part of a scenario: some of its time and some of its nodes.

use super::{Node, NodeId, Pod, Scenario, ScenarioError, Usage};

impl Scenario {
    /// The part from `from_ms` on that lasts `span_ms`, on the nodes of `kept` alone, with the pods that were recorded
    /// there. Pods that run already come at its start. `from_ms` is rounded down to a usage step.
    ///
    /// # Errors
    /// [`ScenarioError`] when no node or no pod is left in it.
    pub fn window(&self, from_ms: i64, span_ms: i64, kept: &[NodeId]) -> Result<Self, ScenarioError> {
        let from_ms = from_ms.max(0) / self.usage_step_ms * self.usage_step_ms;
        let until_ms = (from_ms + span_ms).min(self.span_ms);
        let slots = (from_ms / self.usage_step_ms) as u32;
        let later = |usage: Usage| Usage { shift: usage.shift + slots, ..usage };
        let node = |id: &NodeId| {
            let node = self.node(*id);
            Node {
                joins_ms: (node.joins_ms - from_ms).max(0),
                leaves_ms: node.leaves_ms.map(|leaves| leaves - from_ms),
                baseline: node.baseline.map(later),
                ..node.clone()
            }
        };
        let is_there =
            |node: &Node| node.leaves_ms.is_none_or(|leaves| leaves > 0) && node.joins_ms < until_ms - from_ms;
        let (ids, nodes): (Vec<NodeId>, Vec<Node>) =
            kept.iter().map(|id| (*id, node(id))).filter(|(_, node)| is_there(node)).unzip();
        let mut places = vec![None; self.nodes.len()];
        for (place, id) in ids.iter().enumerate() {
            places[id.index()] = Some(NodeId(place as u32));
        }
        let pod = |pod: &Pod| {
            let recorded = places[pod.recorded?.index()]?;
            let arrives_ms = (pod.arrives_ms - from_ms).max(0);
            let ended = pod.runs_ms.map(|runs| pod.arrives_ms + runs);
            if pod.arrives_ms >= until_ms || ended.is_some_and(|ended| ended <= from_ms) {
                return None;
            }
            let runs_ms = ended.map(|ended| ended - from_ms - arrives_ms);
            Some(Pod { arrives_ms, runs_ms, recorded: Some(recorded), usage: later(pod.usage), ..pod.clone() })
        };
        let pods = self.pods.iter().filter_map(pod).collect();
        Self {
            name: self.name.clone(),
            origin_ms: self.origin_ms + from_ms,
            span_ms: until_ms - from_ms,
            usage_step_ms: self.usage_step_ms,
            nodes,
            pods,
            workloads: self.workloads.clone(),
            rules: self.rules.clone(),
            series: self.series.clone(),
            notes: self.notes.clone(),
        }
        .checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PodWords, node, pod, scenario};
    use crate::world::{SeriesId, UsageSeries};
    use cluster::MINUTE_MS;

    fn recorded(pod: Pod, node: u32) -> Pod {
        Pod { recorded: Some(NodeId(node)), ..pod }
    }

    #[test]
    fn a_part_has_the_pods_that_ran_there_then_with_their_usage_of_then() {
        let mut gone = node("gone", "4", 16);
        gone.leaves_ms = Some(10 * MINUTE_MS);
        let nodes = vec![node("a", "4", 16), node("b", "4", 16), gone];
        let pods = vec![
            recorded(pod("all-along", "1", 1).uses(1_000.0, 1.0), 0),
            recorded(pod("over", "1", 1).runs_for(15 * MINUTE_MS), 0),
            recorded(pod("elsewhere", "1", 1), 1),
            recorded(pod("comes", "1", 1).arrives_at(25 * MINUTE_MS).runs_for(MINUTE_MS), 0),
            recorded(pod("ends", "1", 1).arrives_at(5 * MINUTE_MS).runs_for(20 * MINUTE_MS), 0),
            recorded(pod("later", "1", 1).arrives_at(45 * MINUTE_MS), 0),
            pod("nowhere", "1", 1),
        ];
        let mut whole = scenario(nodes, pods);
        whole.usage_step_ms = 10 * MINUTE_MS;
        whole.series = vec![UsageSeries::new((0..6).map(|at| at as f32).collect(), vec![1.0; 6]).expect("a series")];
        let part = whole.window(21 * MINUTE_MS, 20 * MINUTE_MS, &[NodeId(0), NodeId(2)]).expect("a part");
        assert_eq!((part.span_ms, part.nodes.len()), (20 * MINUTE_MS, 1), "the node that was gone is no node of it");
        let names: Vec<_> = part.pods.iter().map(|pod| (&pod.name[..], pod.arrives_ms / MINUTE_MS)).collect();
        assert_eq!(names, [("all-along", 0), ("ends", 0), ("comes", 5)]);
        let runs: Vec<_> = part.pods.iter().map(|pod| pod.runs_ms.map(|runs| runs / MINUTE_MS)).collect();
        assert_eq!(runs, [None, Some(5), Some(1)]);
        assert_eq!(
            part.pods[0].usage.at(&part.series, 0).0,
            2_000.0,
            "20 minutes in, the series is at its third value"
        );
        assert_eq!(part.pods[0].usage.series, SeriesId(0));
        assert!(whole.window(0, 10 * MINUTE_MS, &[]).is_err(), "no node");
    }
}
