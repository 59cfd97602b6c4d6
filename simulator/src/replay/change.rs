//! The same scenario with more or fewer nodes.

use crate::world::{Label, Node, NodeId, Rules, Scenario, ScenarioError};
use cluster::NodeName;
use std::collections::HashMap;
use std::str::FromStr;

/// How many nodes more or fewer: `+2`, `-1`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeChange(pub i64);

impl FromStr for NodeChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(Self).map_err(|_| format!("`{text}` is no change such as `+2` or `-1`"))
    }
}

impl std::fmt::Display for NodeChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+}", self.0)
    }
}

/// Adds nodes of the most common shape, or takes some of them away: the last ones in the list.
///
/// A new node gets the zone that has fewest and what runs beside the pods on the node that it copies. With a node that
/// goes, the pods that are bound to it by its host name (DaemonSet and static pods) go too, and are counted.
///
/// # Errors
/// When no node would be left.
pub fn change_nodes(scenario: &Scenario, change: NodeChange) -> Result<Scenario, ScenarioError> {
    let mut changed = scenario.clone();
    if change.0 >= 0 {
        for at in 0..change.0 {
            let copy = another(&changed.nodes, at);
            changed.nodes.push(copy);
        }
        return changed.checked();
    }
    let common = most_common(&scenario.nodes);
    let mut order: Vec<usize> = (0..scenario.nodes.len()).rev().collect();
    order.sort_by_key(|at| !same_shape(&scenario.nodes[*at], &scenario.nodes[common]));
    let gone: Vec<usize> = order.into_iter().take(change.0.unsigned_abs() as usize).collect();
    let mut places: Vec<Option<NodeId>> = Vec::with_capacity(scenario.nodes.len());
    changed.nodes.clear();
    for (at, node) in scenario.nodes.iter().enumerate() {
        let stays = !gone.contains(&at);
        places.push(stays.then_some(NodeId(changed.nodes.len() as u32)));
        if stays {
            changed.nodes.push(node.clone());
        }
    }
    let before = changed.pods.len();
    let orphaned = |rules: &Rules| {
        let host = rules.node_selector.iter().find(|label| label.key == HOST_NAME);
        host.is_some_and(|host| !changed.nodes.iter().any(|node| node.labels.contains(host)))
    };
    let orphaned: Vec<bool> = scenario.rules.iter().map(orphaned).collect();
    changed.pods.retain(|pod| !orphaned[scenario.workloads[pod.workload.index()].rules as usize]);
    for pod in &mut changed.pods {
        pod.recorded = pod.recorded.and_then(|node| places[node.index()]);
    }
    let left_out = (before - changed.pods.len()) as u64;
    changed.notes.count("left out: pods bound to the nodes that were taken away", left_out);
    changed.checked()
}

const HOST_NAME: &str = "kubernetes.io/hostname";

fn same_shape(a: &Node, b: &Node) -> bool {
    (a.cpu, a.memory, a.gpus) == (b.cpu, b.memory, b.gpus)
}

/// The last node of the most common shape.
fn most_common(nodes: &[Node]) -> usize {
    let mut counts: HashMap<(u64, u64, u8), usize> = HashMap::new();
    let shape = |node: &Node| (node.cpu.millicores(), node.memory.get(), node.gpus);
    for node in nodes {
        *counts.entry(shape(node)).or_default() += 1;
    }
    (0..nodes.len()).max_by_key(|at| (counts[&shape(&nodes[*at])], *at)).unwrap_or(0)
}

fn another(nodes: &[Node], number: i64) -> Node {
    let name = format!("added-{:02}", number + 1);
    let mut copy = nodes[most_common(nodes)].clone();
    let zones = nodes.iter().filter_map(|node| node.zone);
    let size = |zone| nodes.iter().filter(|node| node.zone == Some(zone)).count();
    copy.zone = zones.min_by_key(|zone| (size(*zone), *zone));
    copy.labels.retain(|label| label.key != HOST_NAME);
    copy.labels.push(Label::new(HOST_NAME, name.clone()));
    copy.taints.clear();
    (copy.joins_ms, copy.leaves_ms) = (0, None);
    copy.name = NodeName::new(name);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod, scenario};
    use crate::world::Workload;

    #[test]
    fn nodes_come_and_go_in_the_most_common_shape() {
        let nodes = vec![node("small-1", "4", 16), node("large", "64", 256), node("small-2", "4", 16)];
        let scenario = scenario(nodes, vec![pod("web", "1", 1)]).checked().expect("a scenario");
        let more = change_nodes(&scenario, NodeChange(2)).expect("more");
        let names: Vec<&str> = more.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["small-1", "large", "small-2", "added-01", "added-02"]);
        assert_eq!(more.nodes[4].cpu, more.nodes[0].cpu);
        let fewer = change_nodes(&scenario, NodeChange(-2)).expect("fewer");
        assert_eq!(fewer.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["large"]);
        assert!(change_nodes(&scenario, NodeChange(-3)).expect_err("none left").to_string().contains("no node"));
    }

    #[test]
    fn what_was_bound_to_a_node_goes_with_it() {
        let mut nodes = vec![node("a", "4", 16), node("b", "4", 16)];
        for node in &mut nodes {
            let host = node.name.to_string();
            node.labels.push(Label::new(HOST_NAME, host));
        }
        let mut scenario = scenario(nodes, vec![pod("web", "1", 1), pod("log", "1", 1)]);
        let selector = vec![Label::new(HOST_NAME, "b")];
        scenario.rules.push(Rules { node_selector: selector, ..Rules::default() });
        scenario.workloads.push(Workload { name: "log".into(), rules: 1 });
        scenario.pods[1].workload = crate::world::WorkloadId(1);
        scenario.pods[0].recorded = Some(NodeId(1));
        let fewer = change_nodes(&scenario.checked().expect("a scenario"), NodeChange(-1)).expect("fewer");
        assert_eq!((fewer.pods.len(), fewer.pods[0].recorded), (1, None));
        assert_eq!(fewer.notes.counts["left out: pods bound to the nodes that were taken away"], 1);
    }

    #[test]
    fn a_change_has_a_sign_or_none() {
        assert_eq!("+2".parse(), Ok(NodeChange(2)));
        assert_eq!("-1".parse(), Ok(NodeChange(-1)));
        assert!("two".parse::<NodeChange>().expect_err("refused").contains("`two`"));
    }
}
