//! Which nodes cannot be observed: told by labels and taints, and where the exporters do not show those, by what else gives
//! such nodes away.

use super::reply::Series;
use cluster::IgnoredNodes;
use std::collections::BTreeMap;

/// The nodes that are left out, each with the rule that it meets.
///
/// `node_info`: `kube_node_info`; `labels`: `kube_node_labels`; `taints`: `kube_node_spec_taint` with `key` and `value`;
/// `windows`: nodes on which windows_exporter runs.
pub fn left_out(
    rules: &IgnoredNodes,
    node_info: &[Series],
    labels: &[Series],
    taints: &[Series],
    windows: &[String],
) -> BTreeMap<String, String> {
    let mut pairs: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    for series in node_info {
        let Some(node) = series.label("node") else { continue };
        pairs.entry(node).or_default().extend(given_away(node, series));
    }
    for series in labels {
        let Some(node) = series.label("node") else { continue };
        let own = series.labels.iter().filter_map(|(name, value)| Some(pair(name.strip_prefix("label_")?, value)));
        pairs.entry(node).or_default().extend(own.filter(|(_, value)| !value.is_empty()));
    }
    for series in taints {
        let (Some(node), Some(key)) = (series.label("node"), series.label("key")) else { continue };
        pairs.entry(node).or_default().push(pair(key, series.label("value").unwrap_or_default()));
    }
    for node in windows {
        pairs.entry(node).or_default().push(pair("kubernetes.io/os", "windows"));
    }
    let met =
        |(node, pairs): (&str, Vec<(String, String)>)| Some((node.to_owned(), rules.why(node, &pairs)?.to_string()));
    pairs.into_iter().filter_map(met).collect()
}

/// The labels that a node must have, by its name alone.
pub fn labels_of(node: &str) -> Vec<(String, String)> {
    given_away(node, &Series::default())
}

/// The labels that a node must have, by what kube-state-metrics always tells of it: labels are exported only where
/// --metric-labels-allowlist names them.
fn given_away(node: &str, info: &Series) -> Vec<(String, String)> {
    let tells = |label: &str, sign: &str| info.label(label).is_some_and(|value| value.contains(sign));
    let mut labels = Vec::new();
    // EKS names Fargate's nodes so, and puts the name at the end of the provider's id.
    if node.starts_with("fargate-") || tells("provider_id", "/fargate-") {
        labels.push(("eks.amazonaws.com/compute-type", "fargate"));
    }
    if tells("os_image", "Windows") {
        labels.push(("kubernetes.io/os", "windows"));
    }
    // Azure's and others' virtual kubelets call their version v1.25.0-vk-azure-aci-1.4.8.
    if tells("kubelet_version", "-vk-") {
        labels.push(("type", "virtual-kubelet"));
    }
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::IGNORED_NODES;

    fn series(labels: &[(&str, &str)]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Series { labels, points: vec![(0, 1.0)] }
    }

    #[test]
    fn nodes_without_exporters_are_known_by_any_of_their_marks() {
        let info = [
            series(&[("node", "node-1"), ("os_image", "Ubuntu 24.04"), ("kubelet_version", "v1.34.0")]),
            series(&[("node", "fargate-ip-10-0-0-1.eu-west-1.compute.internal")]),
            series(&[("node", "aci-1"), ("kubelet_version", "v1.25.0-vk-azure-aci-1.4.8")]),
            series(&[("node", "win-1"), ("os_image", "Windows Server 2022 Datacenter")]),
            series(&[("node", "win-2")]),
            series(&[("node", "vk-1")]),
            series(&[("node", "vk-2")]),
        ];
        let labels = [series(&[("node", "vk-1"), ("label_type", "virtual-kubelet"), ("label_kubernetes_io_os", "")])];
        let taints = [series(&[("node", "vk-2"), ("key", "virtual-kubelet.io/provider"), ("value", "alibabacloud")])];
        let rules = IgnoredNodes::parse(&IGNORED_NODES).expect("rules");
        let found = left_out(&rules, &info, &labels, &taints, &["win-2".to_owned()]);
        let found: Vec<(&str, &str)> = found.iter().map(|(node, rule)| (node.as_str(), rule.as_str())).collect();
        assert_eq!(
            found,
            [
                ("aci-1", "type=virtual-kubelet"),
                ("fargate-ip-10-0-0-1.eu-west-1.compute.internal", "eks.amazonaws.com/compute-type=fargate"),
                ("vk-1", "type=virtual-kubelet"),
                ("vk-2", "virtual-kubelet.io/provider"),
                ("win-1", "kubernetes.io/os=windows"),
                ("win-2", "kubernetes.io/os=windows"),
            ]
        );
        assert!(left_out(&IgnoredNodes::default(), &info, &labels, &taints, &[]).is_empty());
    }
}
