//! Which node a series speaks of.
//!
//! kube-state-metrics labels its series with `node`, node_exporter with `instance` (host:port, where the host is an
//! address or a name), agents with a label of the node's name, and a host's own name (`nodename`) need not be the node's.
//! The steps from one to the other are explicit here, and [`MappingReport`] shows which step led to which node.
//!
//! An address may pass from one node to another: then it leads to the one that had it at the time ([`Claim`]).

use super::labels::NodeLabels;
use super::mapping::{MappedTarget, MappingReport, target_name};
use super::reply::{Labels, Series};
use super::timeline::Run;
use serde::Serialize;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What led from a series to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A label (`node`, `kubernetes_node` and the like) is a node's name.
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
    pub(super) const fn as_str(self) -> &'static str {
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

/// What an address or an instance stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    /// Always the same.
    One(String),
    /// One after the other, or several at once; before the runs are known nobody can tell.
    Several { names: BTreeSet<String>, runs: Option<Vec<Run>> },
}

impl Claim {
    fn add(claims: &mut HashMap<String, Self>, key: &str, name: &str) {
        match claims.get_mut(key) {
            None => drop(claims.insert(key.to_owned(), Self::One(name.to_owned()))),
            Some(Self::One(known)) if known == name => {}
            Some(Self::One(known)) => {
                let names = [std::mem::take(known), name.to_owned()].into();
                claims.insert(key.to_owned(), Self::Several { names, runs: None });
            }
            Some(Self::Several { names, .. }) => drop(names.insert(name.to_owned())),
        }
    }

    fn several(claims: &HashMap<String, Self>) -> Vec<&str> {
        claims.iter().filter(|(_, claim)| matches!(claim, Self::Several { .. })).map(|(key, _)| key.as_str()).collect()
    }

    fn at(&self, ts: i64) -> Option<&str> {
        match self {
            Self::One(name) => Some(name),
            Self::Several { runs, .. } => {
                let runs = runs.as_ref()?;
                let last = runs.partition_point(|run| run.from <= ts).checked_sub(1)?;
                Some(runs[last].name.as_str()).filter(|_| ts <= runs[last].until)
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Several { names, runs: None } => names.iter().map(String::as_str).collect(),
            Self::Several { runs: Some(runs), .. } => runs.iter().map(|run| run.name.as_str()).collect(),
        }
    }
}

/// The node that a series speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// One, whenever.
    Always(String),
    /// It depends on the time; see [`Identity::node_at`].
    Varies,
}

/// The nodes of a span of history and every name they go by.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    known: BTreeSet<String>,
    /// Nodes that are left out, and why.
    ignored: BTreeMap<String, String>,
    by_address: HashMap<String, Claim>,
    /// Host names by `instance`.
    host_names: HashMap<String, Claim>,
    by_short_name: HashMap<String, Claim>,
    labels: NodeLabels,
}

impl Identity {
    /// From `kube_node_info` (labels `node`, `internal_ip`) and `node_uname_info` (labels `instance`, `nodename`).
    pub fn new(node_info: &[Series], node_names: &[Series], labels: NodeLabels) -> Self {
        let mut identity = Self { labels, ..Self::default() };
        for series in node_info {
            let Some(node) = series.label("node") else { continue };
            identity.known.insert(node.to_owned());
            if let Some(address) = series.label("internal_ip") {
                Claim::add(&mut identity.by_address, address, node);
            }
        }
        for node in &identity.known {
            Claim::add(&mut identity.by_short_name, &short(node), node);
        }
        for series in node_names {
            if let (Some(instance), Some(name)) = (series.label("instance"), series.label("nodename")) {
                Claim::add(&mut identity.host_names, instance, name);
            }
        }
        identity
    }

    /// The cluster's nodes, those that are left out included; empty where the server knows no cluster.
    pub fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// Leaves nodes out from now on: name and reason.
    pub fn ignore(&mut self, nodes: BTreeMap<String, String>) {
        self.ignored.extend(nodes);
    }

    /// Whether a node is left out.
    pub fn is_ignored(&self, node: &str) -> bool {
        self.ignored.contains_key(node)
    }

    /// The node that a series with these labels speaks of; `None` where it leads to no node at any time.
    pub fn owner(&self, labels: &Labels) -> Option<Owner> {
        let varies = Cell::new(false);
        let found = self.find(labels, |claim| match claim {
            Claim::One(name) => Some(name),
            Claim::Several { .. } => {
                varies.set(true);
                None
            }
        });
        if varies.get() {
            return (!self.nodes_of(labels).is_empty()).then_some(Owner::Varies);
        }
        found.map(|(node, _)| Owner::Always(node))
    }

    /// The node that a series with these labels spoke of at a time, and how that was found.
    pub fn node_at(&self, labels: &Labels, ts: i64) -> Option<(String, Rule)> {
        self.find(labels, |claim| claim.at(ts))
    }

    /// The nodes that a series with these labels may speak of, the newest last.
    fn nodes_of(&self, labels: &Labels) -> Vec<(String, Rule)> {
        let mut nodes: Vec<(String, Rule)> = Vec::new();
        let most = Cell::new(1);
        let mut nth = 0;
        while nth < most.get() {
            // Every name that a claim stands for, one after the other; those that have just one are the same each time.
            let found = self.find(labels, |claim| {
                let names = claim.names();
                most.set(most.get().max(names.len()));
                names.get(nth).or(names.last()).copied()
            });
            if let Some(found) = found
                && !nodes.iter().any(|(node, _)| *node == found.0)
            {
                nodes.push(found);
            }
            nth += 1;
        }
        nodes
    }

    /// Walks the rules in their order; `choose` tells what a claim stands for.
    fn find<'a>(&'a self, labels: &'a Labels, choose: impl Fn(&'a Claim) -> Option<&'a str>) -> Option<(String, Rule)> {
        let label = |name: &str| labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let named = || self.labels.names().iter().filter_map(|name| label(name));
        let instance = label("instance");
        let host = instance.map(host_of);
        let host_claim = instance.and_then(|instance| self.host_names.get(instance));
        let host_name = || host_claim.and_then(&choose);
        if self.known.is_empty() {
            // A host that has a name of its own is never called by its address, not even where the name is in doubt.
            let itself = if host_claim.is_some() { host_name() } else { host };
            return named().next().or(itself).map(|name| (name.to_owned(), Rule::Itself));
        }
        let by_name = |name: &&str| self.known.contains(*name);
        let by_short_name = |name: &str| {
            self.by_short_name.get(&short(name)).and_then(|claim| match claim {
                Claim::One(node) => Some(node.as_str()),
                Claim::Several { .. } => None,
            })
        };
        let found = named().find(by_name).map(|node| (node, Rule::NodeLabel));
        let found = found.or_else(|| host.filter(by_name).map(|node| (node, Rule::Instance)));
        let found = found.or_else(|| Some((self.by_address.get(host?).and_then(&choose)?, Rule::InternalIp)));
        let found = found.or_else(|| host_name().filter(by_name).map(|node| (node, Rule::HostName)));
        let found = found.or_else(|| {
            let mut candidates = named().chain(host_name()).chain(host.filter(|host| !is_address(host)));
            candidates.find_map(by_short_name).map(|node| (node, Rule::ShortName))
        });
        found.map(|(node, rule)| (node.to_owned(), rule))
    }

    /// Whether some target leads to different nodes at different times, so that the times have to be asked for.
    pub fn has_varying(&self, targets: &[Series]) -> bool {
        targets.iter().any(|series| self.owner(&series.labels) == Some(Owner::Varies))
    }

    /// The addresses and the instances that stand for several nodes or hosts.
    pub fn varying(&self) -> (Vec<&str>, Vec<&str>) {
        (Claim::several(&self.by_address), Claim::several(&self.host_names))
    }

    /// Takes in who had which address, and which host name an instance had, step by step: the points of
    /// `kube_node_info` and `node_uname_info` where each was seen. What was seen at `since` or later goes on.
    pub fn settle(&mut self, node_info: &[Series], node_names: &[Series], since: i64) {
        for (claims, series, key, name) in [
            (&mut self.by_address, node_info, "internal_ip", "node"),
            (&mut self.host_names, node_names, "instance", "nodename"),
        ] {
            let varying = claims.iter_mut().filter_map(|(value, claim)| match claim {
                Claim::Several { runs, .. } => Some((value, runs)),
                Claim::One(_) => None,
            });
            for (value, runs) in varying {
                let own = series.iter().filter(|series| series.label(key) == Some(value));
                let seen =
                    own.filter_map(|series| Some((series.label(name)?, series.points.iter().map(|(ts, _)| *ts))));
                *runs = Some(Run::of(seen, since));
            }
        }
    }

    /// Which of `targets` is which node.
    pub fn report(&self, targets: &[Series]) -> MappingReport {
        let mut report = MappingReport { ignored: self.ignored.clone(), ..MappingReport::default() };
        let mut seen = BTreeSet::new();
        for series in targets {
            let mut nodes = self.nodes_of(&series.labels);
            let name = target_name(series, self.labels.names(), &report);
            let Some((node, rule)) = nodes.pop() else {
                let claim = series.label("instance").and_then(|instance| self.host_names.get(instance));
                if let Some(Claim::Several { names, runs: Some(runs) }) = claim
                    && runs.is_empty()
                {
                    report.shared_targets.insert(name.clone(), names.clone());
                }
                report.unmatched_targets.insert(name);
                continue;
            };
            seen.extend(nodes.iter().map(|(node, _)| node.clone()).chain([node.clone()]));
            let instance = series.label("instance").unwrap_or_default().to_owned();
            let host_name =
                self.host_names.get(&instance).and_then(|claim| claim.names().last().map(|name| (*name).to_owned()));
            let earlier = nodes.into_iter().map(|(node, _)| node).collect();
            report.targets.insert(name, MappedTarget { node, instance, rule, host_name, earlier });
        }
        report.targets.retain(|_, mapped| !self.is_ignored(&mapped.node));
        seen.retain(|node| !self.is_ignored(node));
        let known = self.known.iter().filter(|node| !self.is_ignored(node)).cloned().collect();
        let nodes: &BTreeSet<String> = if self.known.is_empty() { &seen } else { &known };
        report.nodes = nodes.len();
        report.matched = nodes.intersection(&seen).count();
        report.unmatched_nodes = nodes.difference(&seen).cloned().collect();
        report
    }
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

#[cfg(test)]
mod tests {
    use super::super::mapping::Host;
    use super::*;
    use cluster::{IGNORED_NODES, IgnoredNodes};

    fn series(labels: &[(&str, &str)]) -> Series {
        seen(labels, &[0])
    }

    fn seen(labels: &[(&str, &str)], at: &[i64]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Series { labels, points: at.iter().map(|ts| (*ts, 1.0)).collect() }
    }

    fn identity(info: &[Series], names: &[Series]) -> Identity {
        Identity::new(info, names, NodeLabels::default())
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
        identity(&info, &names)
    }

    fn found(identity: &Identity, labels: &[(&str, &str)]) -> Option<(String, Rule)> {
        identity.node_at(&series(labels).labels, 0)
    }

    #[test]
    fn every_name_of_a_node_leads_to_it() {
        let identity = cluster();
        for (labels, node, rule) in [
            (&[("node", "worker-1")][..], "worker-1", Rule::NodeLabel),
            (&[("instance", "localhost:9100"), ("kubernetes_node", "worker-2")], "worker-2", Rule::NodeLabel),
            (&[("node", "rack-7"), ("kubernetes_io_hostname", "worker-2")], "worker-2", Rule::NodeLabel),
            (&[("instance", "worker-2:9100")], "worker-2", Rule::Instance),
            (&[("instance", "10.0.0.2:9100"), ("job", "node-exporter")], "worker-2", Rule::InternalIp),
            (&[("instance", "192.168.0.4:9100")], "worker-4", Rule::HostName),
            (&[("instance", "192.168.0.3:9100")], "ip-10-0-0-3.ec2.internal", Rule::ShortName),
            (&[("instance", "worker-1.example.org:9100")], "worker-1", Rule::ShortName),
            (&[("node", ""), ("instance", "10.0.0.1:9100")], "worker-1", Rule::InternalIp),
        ] {
            assert_eq!(found(&identity, labels), Some((node.to_owned(), rule)), "{labels:?}");
            assert_eq!(identity.owner(&series(labels).labels), Some(Owner::Always(node.to_owned())), "{labels:?}");
        }
        assert_eq!(found(&identity, &[("instance", "10.9.9.9:9100")]), None);
        assert_eq!(found(&identity, &[("job", "x")]), None);
    }

    #[test]
    fn a_label_of_ones_own_names_the_node() {
        let labels = NodeLabels::new(&["agent_hostname".to_owned()], IgnoredNodes::default());
        let identity = Identity::new(&[series(&[("node", "worker-1")])], &[], labels);
        let found = found(&identity, &[("instance", "localhost:9100"), ("agent_hostname", "worker-1")]);
        assert_eq!(found, Some(("worker-1".into(), Rule::NodeLabel)));
    }

    #[test]
    fn an_address_of_two_nodes_at_once_leads_to_neither() {
        let info = [
            seen(&[("node", "a"), ("internal_ip", "10.0.0.1")], &[10, 20]),
            seen(&[("node", "b"), ("internal_ip", "10.0.0.1")], &[10, 20]),
        ];
        let mut identity = identity(&info, &[]);
        assert_eq!(found(&identity, &[("instance", "10.0.0.1:9100")]), None);
        identity.settle(&info, &[], 20);
        let labels = series(&[("instance", "10.0.0.1:9100")]).labels;
        assert_eq!((identity.node_at(&labels, 20), identity.owner(&labels)), (None, None));
    }

    #[test]
    fn an_address_that_passes_on_leads_to_the_node_that_had_it_at_the_time() {
        let info = [
            seen(&[("node", "old"), ("internal_ip", "10.0.0.5")], &[10, 20, 30]),
            seen(&[("node", "new"), ("internal_ip", "10.0.0.5")], &[50, 60]),
            seen(&[("node", "other"), ("internal_ip", "10.0.0.6")], &[10, 60]),
        ];
        let mut identity = identity(&info, &[]);
        let target = series(&[("instance", "10.0.0.5:9100")]);
        assert!(identity.has_varying(std::slice::from_ref(&target)));
        identity.settle(&info, &[], 60);
        let at = |ts| identity.node_at(&target.labels, ts).map(|found| found.0);
        assert_eq!((at(9), at(10), at(30), at(40)), (None, Some("old".into()), Some("old".into()), None));
        assert_eq!((at(50), at(9_000)), (Some("new".into()), Some("new".into())), "what lasts goes on");
        assert_eq!(identity.owner(&target.labels), Some(Owner::Varies));
        let report = identity.report(&[target, series(&[("instance", "10.0.0.6:9100")])]);
        assert_eq!((report.nodes, report.matched), (3, 3), "{report}");
        let mapped = &report.targets["10.0.0.5:9100"];
        assert_eq!((mapped.node.as_str(), mapped.earlier.as_slice()), ("new", &["old".to_owned()][..]));
    }

    #[test]
    fn a_lingering_node_object_leaves_the_address_to_the_host_that_answers() {
        // The object of a machine that is gone stays for a while, and its address is given on: the host's own name tells.
        let info = [
            seen(&[("node", "gone"), ("internal_ip", "10.0.0.5")], &[10, 20, 30]),
            seen(&[("node", "new"), ("internal_ip", "10.0.0.5")], &[20, 30]),
        ];
        let names = [
            seen(&[("instance", "10.0.0.5:9100"), ("nodename", "gone")], &[10]),
            seen(&[("instance", "10.0.0.5:9100"), ("nodename", "new")], &[20, 30]),
        ];
        let mut identity = identity(&info, &names);
        identity.settle(&info, &names, 30);
        let labels = series(&[("instance", "10.0.0.5:9100")]).labels;
        assert_eq!(identity.node_at(&labels, 10), Some(("gone".into(), Rule::InternalIp)));
        assert_eq!(identity.node_at(&labels, 30), Some(("new".into(), Rule::HostName)));
    }

    #[test]
    fn one_address_for_all_hosts_is_told_apart_by_a_label_or_refused() {
        let info = ["a", "b"].map(|node| series(&[("node", node)]));
        let names = ["a", "b"].map(|node| seen(&[("instance", "localhost:9100"), ("nodename", node)], &[10, 20]));
        let mut identity = identity(&info, &names);
        let labelled = ["a", "b"].map(|node| series(&[("instance", "localhost:9100"), ("node", node)]));
        let report = identity.report(&labelled);
        assert_eq!((report.matched, report.targets.len()), (2, 2), "{report}");
        assert_eq!(
            report.hosts(),
            [Host { instance: Some("localhost:9100".into()), nodes: vec!["a".into(), "b".into()] }]
        );
        identity.settle(&info, &names, 20);
        let error = identity.report(&[series(&[("instance", "localhost:9100")])]).check(0.9).expect_err("refused");
        let error = error.to_string();
        assert!(
            error.contains("`localhost:9100` is several hosts at once (`a`, `b`)") && error.contains("--node-label"),
            "{error}"
        );
    }

    #[test]
    fn without_a_cluster_the_host_is_the_node() {
        let identity = identity(&[], &[series(&[("instance", "10.0.0.1:9100"), ("nodename", "db-1")])]);
        for (instance, node) in [("10.0.0.1:9100", "db-1"), ("[fe80::1]:9100", "fe80::1"), ("web", "web")] {
            assert_eq!(found(&identity, &[("instance", instance)]).map(|found| found.0).as_deref(), Some(node));
        }
    }

    #[test]
    fn nodes_that_are_left_out_do_not_count_as_missing() {
        let mut identity = cluster();
        identity.ignore([("worker-4".to_owned(), IGNORED_NODES[0].to_owned())].into());
        let targets = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|host| series(&[("instance", host)]));
        let report = identity.report(&targets);
        assert_eq!((report.nodes, report.matched, report.unmatched_nodes.len()), (3, 3, 0));
        assert!(report.to_string().contains("left out by --ignore-nodes: worker-4 (type=virtual-kubelet)"), "{report}");
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
        for named in ["2 of 4", "90 %", "`worker-4`", "`ip-10-0-0-3.ec2.internal`", "`10.9.9.9:9100`", "--ignore-nodes"]
        {
            assert!(error.contains(named), "{error}");
        }
        assert_eq!(report.check(0.5), Ok(()));
        assert!(report.to_string().contains("10.0.0.2:9100  worker-2 (internal address)"), "{report}");
        let rest = report.hosts();
        assert_eq!(rest.iter().filter(|host| host.instance.is_none()).count(), 2, "asked for as well: {rest:?}");
    }
}
