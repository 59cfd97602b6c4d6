//! Nodes that cannot be observed (AWS Fargate's, virtual kubelets, Windows): metrics never name them, so they do not count
//! among those that metrics should name. As candidates they stand in the middle, as any of which nothing is known.

use crate::kubernetes::{Happened, Node};
use cluster::IgnoredNodes;

/// Whether a node is left out.
pub fn is_left_out(rules: &IgnoredNodes, node: &Node) -> bool {
    let labels = node.metadata.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
    let taints = node.spec.taints.iter().map(|taint| (taint.key.clone(), taint.value.clone()));
    rules.why(&node.metadata.name, &labels.chain(taints).collect::<Vec<_>>()).is_some()
}

/// What happened to the nodes that count: one that is left out, or comes to be, is as good as gone.
pub fn counted(rules: &IgnoredNodes, happened: Happened<Node>) -> Happened<Node> {
    match happened {
        Happened::Is(node) if is_left_out(rules, &node) => Happened::Gone(node),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Hold, Ledger};
    use cluster::IGNORED_NODES;
    use serde_json::json;

    fn node(name: &str, labels: serde_json::Value, taints: serde_json::Value) -> Node {
        let object = json!({ "metadata": { "name": name, "labels": labels }, "spec": { "taints": taints } });
        serde_json::from_value(object).expect("a node")
    }

    #[test]
    fn nodes_that_cannot_be_observed_do_not_count_as_unmatched() {
        let rules = IgnoredNodes::parse(&IGNORED_NODES).expect("rules");
        let ledger = Ledger::new(Hold { settle: 60_000, most: std::time::Duration::from_secs(900) });
        let tell = |happened| ledger.node(counted(&rules, happened));
        tell(Happened::ListBegins);
        tell(Happened::Is(node("node-1", json!({ "kubernetes.io/os": "linux" }), json!(null))));
        tell(Happened::Is(node("aci-1", json!({ "type": "virtual-kubelet" }), json!([]))));
        let fargate = json!([{ "key": "eks.amazonaws.com/compute-type", "value": "fargate", "effect": "NoSchedule" }]);
        tell(Happened::Is(node("fargate-1", json!({}), fargate)));
        tell(Happened::Is(node("vk-1", json!(null), json!([{ "key": "virtual-kubelet.io/provider" }]))));
        tell(Happened::Is(node("win-1", json!({ "kubernetes.io/os": "windows" }), json!(null))));
        tell(Happened::ListEnds);
        assert_eq!(ledger.nodes(), 1, "node-1 alone");
        assert_eq!(ledger.count(|name| name == "node-1"), 1);
        // A node that gets the mark later stops counting, and one that loses it counts.
        tell(Happened::Is(node("node-1", json!({ "type": "virtual-kubelet" }), json!(null))));
        assert_eq!(ledger.nodes(), 0);
        tell(Happened::Is(node("node-1", json!({}), json!(null))));
        assert_eq!(ledger.nodes(), 1);
    }

    #[test]
    fn without_rules_every_node_counts() {
        let rules = IgnoredNodes::parse(&[""]).expect("no rules");
        assert!(!is_left_out(&rules, &node("aci-1", json!({ "type": "virtual-kubelet" }), json!(null))));
    }
}
