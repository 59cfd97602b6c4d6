//! Which scraped target is which node, for people and for `--json`, and whether that is enough.

use super::identity::Rule;
use super::reply::Series;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A scraped target and the node it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedTarget {
    /// The node.
    pub node: String,
    /// The target's `instance`; empty where it has none.
    pub instance: String,
    /// What led there.
    pub rule: Rule,
    /// The host's own name, where the server knows it.
    pub host_name: Option<String>,
    /// Nodes that it was before, within the same span: its address passed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
}

/// The mapping of targets to nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MappingReport {
    /// How many nodes the cluster has, those that are left out not counted.
    pub nodes: usize,
    /// How many of them have metrics of their own.
    pub matched: usize,
    /// By the target's `instance` (or its node label, where it has none or shares it with others).
    pub targets: BTreeMap<String, MappedTarget>,
    /// Nodes without metrics of their own.
    pub unmatched_nodes: BTreeSet<String>,
    /// Targets that lead to no node.
    pub unmatched_targets: BTreeSet<String>,
    /// Of these, those that are several hosts at once, with the hosts' names.
    pub shared_targets: BTreeMap<String, BTreeSet<String>>,
    /// Nodes that are left out, with the rule that they meet.
    pub ignored: BTreeMap<String, String>,
}

/// What a target is called: its `instance`, with the label that names its node where the report has that instance already.
pub(super) fn target_name(series: &Series, node_labels: &[String], report: &MappingReport) -> String {
    let named = node_labels.iter().find_map(|name| Some((name, series.label(name)?)));
    match (series.label("instance"), named) {
        (Some(instance), Some((label, node))) if report.targets.contains_key(instance) => {
            format!("{instance} {label}={node}")
        }
        (Some(instance), _) => instance.to_owned(),
        (None, Some((_, node))) => node.to_owned(),
        (None, None) => String::new(),
    }
}

impl MappingReport {
    /// The share of nodes that have metrics of their own; 1 where there is no node.
    pub fn ratio(&self) -> f64 {
        if self.nodes == 0 { 1.0 } else { self.matched as f64 / self.nodes as f64 }
    }

    /// What can be asked for at once: the `instance` of each target with its node, and nodes that have no target, whose
    /// control plane knows them all the same.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let mut by_instance: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for mapped in self.targets.values() {
            let nodes = by_instance.entry(&mapped.instance).or_default();
            nodes.extend(mapped.earlier.iter().map(String::as_str).chain([mapped.node.as_str()]));
        }
        let owned = |nodes: BTreeSet<&str>| nodes.into_iter().map(str::to_owned).collect();
        let hosts = by_instance
            .into_iter()
            .map(|(instance, nodes)| Host { instance: Some(instance.to_owned()), nodes: owned(nodes) });
        let rest = self.unmatched_nodes.iter().map(|node| Host { instance: None, nodes: vec![node.clone()] });
        hosts.chain(rest).collect()
    }

    /// Fails when fewer than `minimum` of the nodes have metrics of their own, naming those without.
    ///
    /// # Errors
    /// [`TooFewMatched`].
    pub fn check(&self, minimum: f64) -> Result<(), TooFewMatched> {
        if self.ratio() >= minimum {
            return Ok(());
        }
        let shared = self.shared_targets.iter().map(|(target, hosts)| {
            format!(
                ". `{target}` is several hosts at once ({}): name the label that tells them apart with --node-label",
                listed(hosts)
            )
        });
        Err(TooFewMatched {
            matched: self.matched,
            nodes: self.nodes,
            minimum: (minimum * 100.0).round(),
            unmatched: listed(&self.unmatched_nodes),
            targets: listed(&self.unmatched_targets),
            shared: shared.collect(),
        })
    }
}

/// What is asked for together: one `instance`, and the nodes that it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `None`: nodes without a target of their own.
    pub instance: Option<String>,
    /// Their names.
    pub nodes: Vec<String>,
}

/// The node identity is taken for wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{matched} of {nodes} nodes have metrics of their own, at least {minimum} % must. Without: {unmatched}. Targets that lead to no node: {targets}{shared}. See `collector backfill --show-mapping`. Where node_exporter cannot run (Fargate, virtual kubelets, Windows), leave the nodes out with --ignore-nodes; where names differ, name the label with --node-label or replace the queries `node_info`, `node_names` or `targets` in `[collector.queries]`; or lower --min-matched"
)]
pub struct TooFewMatched {
    matched: usize,
    nodes: usize,
    minimum: f64,
    unmatched: String,
    targets: String,
    shared: String,
}

/// Names in a message: all of a few, the first of many.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 20;
    let all: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if all.is_empty() {
        return "none".into();
    }
    let more = if all.len() > SHOWN { format!(" and {} more", all.len() - SHOWN) } else { String::new() };
    format!("{}{more}", all[..all.len().min(SHOWN)].join(", "))
}

impl fmt::Display for MappingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.targets.keys().map(String::len).max().unwrap_or(0).max(8);
        writeln!(f, "{} of {} nodes have metrics of their own", self.matched, self.nodes)?;
        writeln!(f, "{:width$}  node (found by)", "target")?;
        for (target, mapped) in &self.targets {
            let host_name = mapped.host_name.as_ref().map(|name| format!(", host name {name}")).unwrap_or_default();
            let earlier = if mapped.earlier.is_empty() {
                String::new()
            } else {
                format!(", before: {}", listed(&mapped.earlier))
            };
            writeln!(f, "{target:width$}  {} ({}{host_name}{earlier})", mapped.node, mapped.rule.as_str())?;
        }
        for (node, rule) in &self.ignored {
            writeln!(f, "left out by --ignore-nodes: {node} ({rule})")?;
        }
        writeln!(f, "targets that lead to no node: {}", listed(&self.unmatched_targets))?;
        write!(f, "nodes without metrics of their own: {}", listed(&self.unmatched_nodes))
    }
}
