//! Which node a series speaks of.
//!
//! kube-state-metrics labels its series with `node`, node_exporter with `instance` (host:port, where the host is an
//! address or a name), and a host's own name (`nodename`) need not be the node's. The steps from one to the other are
//! explicit here, and [`MappingReport`] shows which step led to which node.

use super::reply::{Labels, Series};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// What led from a series to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Its label `node` (or `kubernetes_node`, `nodename`) is a node's name.
    NodeLabel,
    /// The host of its `instance` is a node's name.
    Instance,
    /// The host of its `instance` is a node's internal address in `kube_node_info`.
    InternalIp,
    /// `node_uname_info` gives a host name for its `instance`, and that is a node's name.
    HostName,
    /// The first part of a host name is the first part of just one node's name.
    ShortName,
    /// The server knows no cluster, so the host is the node.
    Itself,
}

impl Rule {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NodeLabel => "label",
            Self::Instance => "instance",
            Self::InternalIp => "internal address",
            Self::HostName => "host name",
            Self::ShortName => "short host name",
            Self::Itself => "no cluster, the host itself",
        }
    }
}

/// The nodes of a span of history and every name they go by.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    known: BTreeSet<String>,
    /// An address that two nodes had in the same span leads to neither.
    by_address: HashMap<String, Option<String>>,
    host_names: HashMap<String, String>,
    by_short_name: HashMap<String, Option<String>>,
}

impl Identity {
    /// From `kube_node_info` (labels `node`, `internal_ip`) and `node_uname_info` (labels `instance`, `nodename`).
    pub fn new(node_info: &[Series], node_names: &[Series]) -> Self {
        let mut identity = Self::default();
        for series in node_info {
            let Some(node) = series.label("node") else { continue };
            identity.known.insert(node.to_owned());
            if let Some(address) = series.label("internal_ip") {
                note(&mut identity.by_address, address, node);
            }
        }
        for node in &identity.known {
            note(&mut identity.by_short_name, &short(node), node);
        }
        for series in node_names {
            if let (Some(instance), Some(name)) = (series.label("instance"), series.label("nodename")) {
                identity.host_names.insert(instance.to_owned(), name.to_owned());
            }
        }
        identity
    }

    /// The cluster's nodes; empty where the server knows no cluster.
    pub fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// The node that a series with these labels speaks of, and how that was found.
    pub fn node_of(&self, labels: &Labels) -> Option<(String, Rule)> {
        let label = |name: &str| labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let named = ["node", "kubernetes_node", "nodename"].into_iter().find_map(label);
        let instance = label("instance");
        let host = instance.map(host_of);
        let host_name = instance.and_then(|instance| self.host_names.get(instance)).map(String::as_str);
        if self.known.is_empty() {
            return named.or(host_name).or(host).map(|name| (name.to_owned(), Rule::Itself));
        }
        let exact = [(named, Rule::NodeLabel), (host, Rule::Instance)];
        let by_name = |name: &str| self.known.contains(name).then(|| name.to_owned());
        exact
            .into_iter()
            .find_map(|(name, rule)| Some((by_name(name?)?, rule)))
            .or_else(|| Some((self.by_address.get(host?)?.clone()?, Rule::InternalIp)))
            .or_else(|| Some((by_name(host_name?)?, Rule::HostName)))
            .or_else(|| {
                let candidates = [named, host_name, host.filter(|host| !is_address(host))];
                candidates
                    .into_iter()
                    .flatten()
                    .find_map(|name| Some((self.by_short_name.get(&short(name))?.clone()?, Rule::ShortName)))
            })
    }

    /// Which of `targets` is which node.
    pub fn report(&self, targets: &[Series]) -> MappingReport {
        let mut report = MappingReport::default();
        let mut seen = BTreeSet::new();
        for series in targets {
            let target = series.label("instance").or_else(|| series.label("node")).unwrap_or_default().to_owned();
            match self.node_of(&series.labels) {
                Some((node, rule)) => {
                    seen.insert(node.clone());
                    let host_name = self.host_names.get(&target).cloned();
                    report.targets.insert(target, MappedTarget { node, rule, host_name });
                }
                None => {
                    report.unmatched_targets.insert(target);
                }
            }
        }
        let nodes = if self.known.is_empty() { &seen } else { &self.known };
        report.nodes = nodes.len();
        report.matched = nodes.intersection(&seen).count();
        report.unmatched_nodes = nodes.difference(&seen).cloned().collect();
        report
    }
}

fn note(names: &mut HashMap<String, Option<String>>, name: &str, node: &str) {
    names
        .entry(name.to_owned())
        .and_modify(|other| {
            if other.as_deref() != Some(node) {
                *other = None;
            }
        })
        .or_insert_with(|| Some(node.to_owned()));
}

/// The host of `host:port`, `[::1]:9100` or a plain host.
fn host_of(instance: &str) -> &str {
    if let Some(rest) = instance.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match instance.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host,
        _ => instance,
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}

/// The first part of a DNS name, in lower case.
fn short(name: &str) -> String {
    name.split('.').next().unwrap_or(name).to_ascii_lowercase()
}

/// A scraped target and the node it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedTarget {
    /// The node.
    pub node: String,
    /// What led there.
    pub rule: Rule,
    /// The host's own name, where the server knows it.
    pub host_name: Option<String>,
}

/// The mapping of targets to nodes, for people and for `--json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MappingReport {
    /// How many nodes the cluster has.
    pub nodes: usize,
    /// How many of them have metrics of their own.
    pub matched: usize,
    /// By the target's `instance` (or `node`, where it has none).
    pub targets: BTreeMap<String, MappedTarget>,
    /// Nodes without metrics of their own.
    pub unmatched_nodes: BTreeSet<String>,
    /// Targets that lead to no node.
    pub unmatched_targets: BTreeSet<String>,
}

impl MappingReport {
    /// The share of nodes that have metrics of their own; 1 where there is no node.
    pub fn ratio(&self) -> f64 {
        if self.nodes == 0 { 1.0 } else { self.matched as f64 / self.nodes as f64 }
    }

    /// Fails when fewer than `minimum` of the nodes have metrics of their own, naming those without.
    ///
    /// # Errors
    /// [`TooFewMatched`].
    pub fn check(&self, minimum: f64) -> Result<(), TooFewMatched> {
        if self.ratio() >= minimum {
            return Ok(());
        }
        Err(TooFewMatched {
            matched: self.matched,
            nodes: self.nodes,
            minimum: (minimum * 100.0).round(),
            unmatched: listed(&self.unmatched_nodes),
            targets: listed(&self.unmatched_targets),
        })
    }
}

/// The node identity is taken for wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{matched} of {nodes} nodes have metrics of their own, at least {minimum} % must. Without: {unmatched}. Targets that lead to no node: {targets}. See `collector backfill --show-mapping`; replace the queries `node_info`, `node_names` or `targets` in `[collector.queries]`, or lower --min-matched"
)]
pub struct TooFewMatched {
    matched: usize,
    nodes: usize,
    minimum: f64,
    unmatched: String,
    targets: String,
}

/// Names in a message: all of a few, the first of many.
fn listed(names: &BTreeSet<String>) -> String {
    const SHOWN: usize = 20;
    if names.is_empty() {
        return "none".into();
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

impl fmt::Display for MappingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.targets.keys().map(String::len).max().unwrap_or(0).max(8);
        writeln!(f, "{} of {} nodes have metrics of their own", self.matched, self.nodes)?;
        writeln!(f, "{:width$}  node (found by)", "target")?;
        for (target, mapped) in &self.targets {
            let host_name = mapped.host_name.as_ref().map(|name| format!(", host name {name}")).unwrap_or_default();
            writeln!(f, "{target:width$}  {} ({}{host_name})", mapped.node, mapped.rule.as_str())?;
        }
        writeln!(f, "targets that lead to no node: {}", listed(&self.unmatched_targets))?;
        write!(f, "nodes without metrics of their own: {}", listed(&self.unmatched_nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Series { labels, points: vec![(0, 1.0)] }
    }

    fn cluster() -> Identity {
        let info = [
            series(&[("node", "worker-1"), ("internal_ip", "10.0.0.1")]),
            series(&[("node", "worker-2"), ("internal_ip", "10.0.0.2")]),
            series(&[("node", "ip-10-0-0-3.ec2.internal"), ("internal_ip", "10.0.0.3")]),
            series(&[("node", "worker-4")]),
        ];
        let names = [
            series(&[("instance", "192.168.0.4:9100"), ("nodename", "worker-4")]),
            series(&[("instance", "192.168.0.3:9100"), ("nodename", "IP-10-0-0-3")]),
        ];
        Identity::new(&info, &names)
    }

    fn found(identity: &Identity, labels: &[(&str, &str)]) -> Option<(String, Rule)> {
        identity.node_of(&series(labels).labels)
    }

    #[test]
    fn every_name_of_a_node_leads_to_it() {
        let identity = cluster();
        for (labels, node, rule) in [
            (&[("node", "worker-1")][..], "worker-1", Rule::NodeLabel),
            (&[("instance", "worker-2:9100")], "worker-2", Rule::Instance),
            (&[("instance", "10.0.0.2:9100"), ("job", "node-exporter")], "worker-2", Rule::InternalIp),
            (&[("instance", "192.168.0.4:9100")], "worker-4", Rule::HostName),
            (&[("instance", "192.168.0.3:9100")], "ip-10-0-0-3.ec2.internal", Rule::ShortName),
            (&[("instance", "worker-1.example.org:9100")], "worker-1", Rule::ShortName),
            (&[("node", ""), ("instance", "10.0.0.1:9100")], "worker-1", Rule::InternalIp),
        ] {
            assert_eq!(found(&identity, labels), Some((node.to_owned(), rule)), "{labels:?}");
        }
        assert_eq!(found(&identity, &[("instance", "10.9.9.9:9100")]), None);
        assert_eq!(found(&identity, &[("job", "x")]), None);
    }

    #[test]
    fn an_address_of_two_nodes_leads_to_neither() {
        let info = [
            series(&[("node", "a"), ("internal_ip", "10.0.0.1")]),
            series(&[("node", "b"), ("internal_ip", "10.0.0.1")]),
        ];
        let identity = Identity::new(&info, &[]);
        assert_eq!(found(&identity, &[("instance", "10.0.0.1:9100")]), None);
    }

    #[test]
    fn without_a_cluster_the_host_is_the_node() {
        let identity = Identity::new(&[], &[series(&[("instance", "10.0.0.1:9100"), ("nodename", "db-1")])]);
        assert_eq!(found(&identity, &[("instance", "10.0.0.1:9100")]).map(|found| found.0).as_deref(), Some("db-1"));
        assert_eq!(
            found(&identity, &[("instance", "[fe80::1]:9100")]).map(|found| found.0).as_deref(),
            Some("fe80::1")
        );
        assert_eq!(found(&identity, &[("instance", "web")]).map(|found| found.0).as_deref(), Some("web"));
    }

    #[test]
    fn too_few_matched_nodes_are_an_error_that_names_the_rest() {
        let identity = cluster();
        let targets = [
            series(&[("instance", "10.0.0.1:9100")]),
            series(&[("instance", "10.0.0.2:9100")]),
            series(&[("instance", "10.9.9.9:9100")]),
        ];
        let report = identity.report(&targets);
        assert_eq!((report.nodes, report.matched), (4, 2));
        let error = report.check(0.9).expect_err("half is too few").to_string();
        for named in ["2 of 4", "90 %", "`worker-4`", "`ip-10-0-0-3.ec2.internal`", "`10.9.9.9:9100`"] {
            assert!(error.contains(named), "{error}");
        }
        assert_eq!(report.check(0.5), Ok(()));
        assert!(report.to_string().contains("10.0.0.2:9100  worker-2 (internal address)"), "{report}");
    }
}
