//! The labels by which hosts, nodes and clusters are told apart.

use cluster::{IgnoreRule, IgnoredNodes};

/// Labels that name a series' node, where they are there: what Prometheus' service discovery, agents and OpenTelemetry
/// call it.
const NODE_LABELS: [&str; 6] =
    ["node", "kubernetes_node", "node_name", "k8s_node_name", "kubernetes_io_hostname", "nodename"];

/// Labels that tell one cluster from another in a store that holds several, by habit: Thanos', Mimir's and
/// kube-prometheus' `cluster`, OpenShift's `clusterID`, OpenTelemetry's `k8s.cluster.name`, and the like.
pub const CLUSTER_LABELS: [&str; 10] = [
    "cluster",
    "cluster_name",
    "cluster_id",
    "clusterID",
    "k8s_cluster",
    "k8s_cluster_name",
    "kube_cluster",
    "kubernetes_cluster",
    "kubernetes_cluster_name",
    "managed_cluster",
];

/// How nodes are told apart, and which are left out.
#[derive(Debug, Clone)]
pub struct NodeLabels {
    names: Vec<String>,
    ignored: IgnoredNodes,
}

impl Default for NodeLabels {
    fn default() -> Self {
        Self::new(&[], IgnoredNodes::default())
    }
}

impl NodeLabels {
    /// `more`: labels that name a node beside those that are known; they come first.
    pub fn new(more: &[String], ignored: IgnoredNodes) -> Self {
        let mut names: Vec<String> = Vec::new();
        for name in more.iter().map(String::as_str).chain(NODE_LABELS) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Self { names, ignored }
    }

    /// The labels that may name a node, the first ones first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Which nodes are left out.
    pub fn ignored(&self) -> &IgnoredNodes {
        &self.ignored
    }

    /// The labels that tell one scraped host from another, as PromQL's `by (…)` has them.
    pub fn target(&self) -> String {
        std::iter::once("instance").chain(self.names.iter().map(String::as_str)).collect::<Vec<_>>().join(", ")
    }

    /// The labels of `kube_node_labels` that decide on who is left out, each with a comma before it.
    pub fn ignored_labels(&self) -> String {
        self.ignored_keys().map(|key| format!(", label_{}", sanitised(key))).collect()
    }

    /// A pattern of the taints that decide on who is left out.
    pub fn ignored_taints(&self) -> String {
        self.ignored_keys().map(|key| key.replace('.', "[.]")).collect::<Vec<_>>().join("|")
    }

    fn ignored_keys(&self) -> impl Iterator<Item = &str> {
        self.ignored.rules().iter().filter_map(|rule| match rule {
            IgnoreRule::Label { key, .. } => Some(key.as_str()),
            IgnoreRule::Name(_) => None,
        })
    }
}

/// A label's key as kube-state-metrics writes it.
fn sanitised(key: &str) -> String {
    key.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_ones_own_come_first_and_none_is_there_twice() {
        let labels = NodeLabels::new(&["agent_hostname".into(), "node".into()], IgnoredNodes::default());
        assert_eq!(
            labels.target(),
            "instance, agent_hostname, node, kubernetes_node, node_name, k8s_node_name, kubernetes_io_hostname, nodename"
        );
    }

    #[test]
    fn only_what_decides_is_asked_for() {
        let ignored = IgnoredNodes::parse(&["kubernetes.io/os=windows", "type", "name=lab-*"]).expect("rules");
        let labels = NodeLabels::new(&[], ignored);
        assert_eq!(labels.ignored_labels(), ", label_kubernetes_io_os, label_type");
        assert_eq!(labels.ignored_taints(), "kubernetes[.]io/os|type");
    }
}
