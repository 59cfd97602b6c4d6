//! Stores that hold more, or something else, than one cluster's history: noticed and named rather than mixed into one table.

use super::client::Client;
use super::error::PrometheusError;
use super::labels::CLUSTER_LABELS;
use super::mapping::listed;
use super::queries::{Fact, Group, Spans, fill};
use super::reply::Series;
use super::settings::Source;
use cluster::{HOUR_MS, MINUTE_MS};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Why the series of a store cannot be put into one cluster's tables.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MixedSeries {
    /// A label that names clusters has several values.
    #[error(
        "the store holds series of several clusters: label `{label}` is {values}. Names, addresses and pods of one would pass for those of another. Name yours with --cluster-label {label}=…, or with any matchers by --selector"
    )]
    SeveralClusters {
        /// Which label.
        label: &'static str,
        /// Its values.
        values: String,
    },
    /// One node's name belongs to two machines at the same time.
    #[error(
        "node `{node}` is several machines at once (system_uuid {machines}): the store holds series of several clusters that have this name in common. Labels that tell them apart: {labels}. Name yours with --cluster-label NAME=VALUE, or with any matchers by --selector"
    )]
    SeveralMachines {
        /// Whose name.
        node: String,
        /// Their ids.
        machines: String,
        /// Labels in which their series differ.
        labels: String,
    },
    /// kube-state-metrics is scraped without `honor_labels`.
    #[error(
        "kube-state-metrics ({exporter}) is scraped without `honor_labels: true`: its labels `node`, `namespace` and `pod` are the exporter's own, and what is meant stands in `exported_node`, `exported_namespace` and `exported_pod`. Set `honor_labels: true` in its scrape configuration (`honorLabels: true` in a ServiceMonitor). History from before that cannot be read: begin after it with --from"
    )]
    StateNotHonored {
        /// Its job and instance.
        exporter: String,
    },
    /// cAdvisor is.
    #[error(
        "cAdvisor ({exporter}) is scraped without `honor_labels: true`: what pods use stands under `exported_namespace` and `exported_pod`, and is not read. Set `honor_labels: true` in its scrape configuration (`honorLabels: true` in a ServiceMonitor)"
    )]
    UsageNotHonored {
        /// Its job and instance.
        exporter: String,
    },
}

/// What kube-state-metrics says of a machine itself: labels that differ between two machines of one cluster as well.
const OF_THE_MACHINE: [&str; 10] = [
    "__name__",
    "system_uuid",
    "internal_ip",
    "provider_id",
    "pod_cidr",
    "kernel_version",
    "os_image",
    "container_runtime_version",
    "kubelet_version",
    "kubeproxy_version",
];
/// A name that two machines have at this many moments, five minutes apart, is no machine that was set up again under its
/// old name.
const AT_ONCE: usize = 3;

/// Fails when the series come from several clusters and the selector does not choose among them.
///
/// # Errors
/// [`MixedSeries`]; and when the server cannot be asked.
pub async fn check_clusters(
    client: &Client,
    source: &Source,
    node_info: &[Series],
    targets: &[Series],
    times: &Range<i64>,
) -> anyhow::Result<()> {
    let of_nodes = if node_info.is_empty() { targets } else { node_info };
    for label in CLUSTER_LABELS.into_iter().filter(|label| !source.selector.names(label)) {
        let values: BTreeSet<String> =
            of_nodes.iter().filter_map(|series| series.label(label)).map(str::to_owned).collect();
        if values.len() > 1 {
            return Err(MixedSeries::SeveralClusters { label, values: listed(&values) }.into());
        }
    }
    let mut machines: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for series in node_info {
        if let (Some(node), Some(machine)) = (series.label("node"), series.label("system_uuid")) {
            machines.entry(node).or_default().insert(machine);
        }
    }
    if machines.values().all(|machines| machines.len() < 2) {
        return Ok(());
    }
    let spans = Spans { window: 2 * MINUTE_MS, range: 2 * MINUTE_MS, stale: 2 * MINUTE_MS };
    let Some(query) = source.queries.fact(Fact::NodeInfo) else { return Ok(()) };
    let step = 5 * MINUTE_MS;
    let seen = client.range(&fill(query, &Group::everything(), spans), times.clone(), step).await?;
    Ok(several_machines(&seen).map_or(Ok(()), Err)?)
}

/// A node whose name two machines had at the same moments, if there is one.
fn several_machines(seen: &[Series]) -> Option<MixedSeries> {
    let mut by_node: BTreeMap<&str, Vec<&Series>> = BTreeMap::new();
    for series in seen {
        by_node.entry(series.label("node")?).or_default().push(series);
    }
    by_node.into_iter().find_map(|(node, all)| {
        let mut at: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
        for series in &all {
            let Some(machine) = series.label("system_uuid") else { continue };
            for (ts, _) in &series.points {
                at.entry(*ts).or_default().insert(machine);
            }
        }
        let shared: Vec<&BTreeSet<&str>> = at.values().filter(|machines| machines.len() > 1).collect();
        let machines = shared.last().filter(|_| shared.len() >= AT_ONCE)?;
        let of = |machine: &str, label: &str| -> BTreeSet<&str> {
            let own = all.iter().filter(|series| series.label("system_uuid") == Some(machine));
            own.filter_map(|series| series.label(label)).collect()
        };
        let names: BTreeSet<&String> = all.iter().flat_map(|series| series.labels.keys()).collect();
        let differs = |name: &&String| {
            let values: Vec<_> = machines.iter().map(|machine| of(machine, name)).collect();
            !OF_THE_MACHINE.contains(&name.as_str()) && values.windows(2).any(|pair| pair[0].is_disjoint(&pair[1]))
        };
        Some(MixedSeries::SeveralMachines {
            node: node.to_owned(),
            machines: listed(&machines.iter().map(|machine| (*machine).to_owned()).collect::<Vec<_>>()),
            labels: listed(names.into_iter().filter(differs)),
        })
    })
}

/// Series of kube-state-metrics whose own labels lost to those of its scrape.
const STATE_NOT_HONORED: &str = r#"count by (job, instance) (
  last_over_time(kube_node_info{exported_node!=""}[$range])
  or last_over_time(kube_pod_info{exported_pod!=""}[$range])
  or last_over_time(kube_pod_info{exported_namespace!=""}[$range]))"#;
/// The same of cAdvisor.
const USAGE_NOT_HONORED: &str = r#"count by (job, instance) (
  last_over_time(container_memory_working_set_bytes{exported_pod!=""}[$range])
  or last_over_time(container_memory_working_set_bytes{exported_namespace!=""}[$range]))"#;

/// Why kube-state-metrics names no node or pod in the span of `range` milliseconds before `at`, though it is there.
///
/// # Errors
/// When the server cannot be asked.
pub async fn state_not_honored(client: &Client, at: i64, range: i64) -> Result<Option<MixedSeries>, PrometheusError> {
    let exporter = not_honored(client, STATE_NOT_HONORED, at, range).await?;
    Ok(exporter.map(|exporter| MixedSeries::StateNotHonored { exporter }))
}

/// Why cAdvisor shows no pod's usage, though it is there.
///
/// # Errors
/// When the server cannot be asked.
pub async fn usage_not_honored(client: &Client, at: i64, range: i64) -> Result<Option<MixedSeries>, PrometheusError> {
    // An hour tells as much as a day.
    let exporter = not_honored(client, USAGE_NOT_HONORED, at, range.min(HOUR_MS)).await?;
    Ok(exporter.map(|exporter| MixedSeries::UsageNotHonored { exporter }))
}

/// The exporter that a query finds, by its job and instance.
async fn not_honored(client: &Client, query: &str, at: i64, range: i64) -> Result<Option<String>, PrometheusError> {
    let found = client.instant(&query.replace("$range", &format!("{range}ms")), at).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let named = ["job", "instance"].into_iter().filter_map(|name| Some(format!("{name} `{}`", first.label(name)?)));
    Ok(Some(named.collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], at: &[i64]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Series { labels, points: at.iter().map(|ts| (*ts, 1.0)).collect() }
    }

    #[test]
    fn two_machines_of_one_name_at_once_are_two_clusters_and_the_label_is_named() {
        let machine = |uuid, region, at: &[i64]| {
            series(&[("node", "worker-1"), ("system_uuid", uuid), ("region", region), ("internal_ip", uuid)], at)
        };
        let both = [machine("a", "eu", &[0, 1, 2, 3]), machine("b", "us", &[0, 1, 2, 3])];
        let found = several_machines(&both).expect("two clusters").to_string();
        assert!(
            found.contains("`worker-1`") && found.contains("apart: `region`") && found.contains("--selector"),
            "{found}"
        );
    }

    #[test]
    fn a_machine_that_was_set_up_again_and_a_replica_are_one_cluster() {
        let again = [
            series(&[("node", "n"), ("system_uuid", "a")], &[0, 1, 2]),
            series(&[("node", "n"), ("system_uuid", "b")], &[2, 3, 4]),
        ];
        assert_eq!(several_machines(&again), None);
        let replicas = ["x", "y"]
            .map(|replica| series(&[("node", "n"), ("system_uuid", "a"), ("replica", replica)], &[0, 1, 2, 3]));
        assert_eq!(several_machines(&replicas), None);
    }
}
