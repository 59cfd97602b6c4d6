//! The PromQL behind every column. Defaults for node_exporter, kube-state-metrics and cAdvisor as the Helm chart
//! kube-prometheus-stack labels them; each can be replaced in `[collector.queries]`.
//!
//! Placeholders: `$window` is the span of rates, `$range` the span that is being fetched, `$stale` the age in seconds at
//! which a sample is no value any more, `$instances` and `$nodes` the matchers `instance=~"…"` and `node=~"…"` of the
//! nodes that are being fetched.

use cluster::NodeMetric;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A query and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Query {
    /// The PromQL. Empty: the column stays null.
    pub query: String,
    /// Selector of the metric underneath, whose `timestamp()` shows whether a value is one or only repeated. Without
    /// it the values are taken as they come.
    pub metric: Option<String>,
}

impl Query {
    /// Whether its values stand for a window that ends at them.
    pub fn is_rate(&self) -> bool {
        self.query.contains("$window")
    }
}

/// As `berth.toml` has it: the PromQL alone, or with the metric underneath.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "want PromQL text, or a table with `query` and `metric`")]
pub enum QueryEntry {
    /// `load1 = "node_load1"`
    Plain(String),
    /// `load1 = { query = "node_load1", metric = "node_load1" }`
    Checked {
        /// See [`Query::query`].
        query: String,
        /// See [`Query::metric`].
        metric: String,
    },
}

/// Section `[collector.queries]`: replacements by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuerySettings(pub BTreeMap<String, QueryEntry>);

/// Network devices that are not hardware of the node, or that pass on what another device counts already.
macro_rules! virtual_interfaces {
    () => {
        r#"device!~"lo|veth.*|cali.*|cilium.*|lxc.*|cni.*|docker.*|flannel.*|br-.*|virbr.*|ovs.*|tunl.*|vxlan.*|geneve.*|wg.*|dummy.*|kube-ipvs.*|nodelocaldns|bond.*|team.*|ifb.*|tap.*""#
    };
}

/// Block devices that stand for others.
macro_rules! virtual_disks {
    () => {
        r#"device!~"dm-.*|loop.*|ram.*|zram.*|md.*|sr.*|fd.*|nbd.*|drbd.*""#
    };
}

macro_rules! root_filesystem {
    () => {
        r#"mountpoint="/",fstype!~"rootfs|tmpfs|overlay""#
    };
}

/// Column, query, metric underneath.
const COLUMNS: [(NodeMetric, &str, &str); NodeMetric::COUNT] = [
    (
        NodeMetric::CpuUsed,
        r#"sum by (instance, job) (rate(node_cpu_seconds_total{mode!~"idle|iowait|steal",$instances}[$window]))"#,
        r#"node_cpu_seconds_total{mode="idle",cpu="0",$instances}"#,
    ),
    (
        NodeMetric::CpuAllocatable,
        r#"max by (node) (kube_node_status_allocatable{resource="cpu",$nodes})"#,
        r#"kube_node_status_allocatable{resource="cpu",$nodes}"#,
    ),
    (
        NodeMetric::MemoryUsed,
        "node_memory_MemTotal_bytes{$instances} - node_memory_MemAvailable_bytes{$instances}",
        "node_memory_MemAvailable_bytes{$instances}",
    ),
    (
        NodeMetric::MemoryAllocatable,
        r#"max by (node) (kube_node_status_allocatable{resource="memory",$nodes})"#,
        r#"kube_node_status_allocatable{resource="memory",$nodes}"#,
    ),
    (
        NodeMetric::NetworkReceive,
        concat!(
            "sum by (instance, job) (rate(node_network_receive_bytes_total{",
            virtual_interfaces!(),
            ",$instances}[$window]))"
        ),
        concat!("node_network_receive_bytes_total{", virtual_interfaces!(), ",$instances}"),
    ),
    (
        NodeMetric::NetworkTransmit,
        concat!(
            "sum by (instance, job) (rate(node_network_transmit_bytes_total{",
            virtual_interfaces!(),
            ",$instances}[$window]))"
        ),
        concat!("node_network_transmit_bytes_total{", virtual_interfaces!(), ",$instances}"),
    ),
    (
        NodeMetric::DiskRead,
        concat!(
            "sum by (instance, job) (rate(node_disk_read_bytes_total{",
            virtual_disks!(),
            ",$instances}[$window]))"
        ),
        concat!("node_disk_read_bytes_total{", virtual_disks!(), ",$instances}"),
    ),
    (
        NodeMetric::DiskWrite,
        concat!(
            "sum by (instance, job) (rate(node_disk_written_bytes_total{",
            virtual_disks!(),
            ",$instances}[$window]))"
        ),
        concat!("node_disk_written_bytes_total{", virtual_disks!(), ",$instances}"),
    ),
    (
        NodeMetric::DiskIoTime,
        concat!(
            "max by (instance, job) (rate(node_disk_io_time_seconds_total{",
            virtual_disks!(),
            ",$instances}[$window]))"
        ),
        concat!("node_disk_io_time_seconds_total{", virtual_disks!(), ",$instances}"),
    ),
    (
        NodeMetric::FilesystemUsed,
        concat!(
            "1 - max by (instance, job) (node_filesystem_avail_bytes{",
            root_filesystem!(),
            ",$instances} / node_filesystem_size_bytes{",
            root_filesystem!(),
            ",$instances})"
        ),
        concat!("node_filesystem_avail_bytes{", root_filesystem!(), ",$instances}"),
    ),
    (NodeMetric::Load1, "node_load1{$instances}", "node_load1{$instances}"),
    (
        NodeMetric::CpuPressure,
        "rate(node_pressure_cpu_waiting_seconds_total{$instances}[$window])",
        "node_pressure_cpu_waiting_seconds_total{$instances}",
    ),
    (
        NodeMetric::MemoryPressure,
        "rate(node_pressure_memory_waiting_seconds_total{$instances}[$window])",
        "node_pressure_memory_waiting_seconds_total{$instances}",
    ),
    (
        NodeMetric::PodsRunning,
        r#"sum by (node) (max by (node, namespace, pod, uid) (kube_pod_info{$nodes} and timestamp(kube_pod_info{$nodes}) > time() - $stale) * on (namespace, pod, uid) group_left () max by (namespace, pod, uid) (kube_pod_status_phase{phase="Running"} == 1))"#,
        "kube_pod_info{$nodes}",
    ),
    (
        NodeMetric::CpuRequested,
        r#"sum by (node) (max by (node, namespace, pod, uid, container) (kube_pod_container_resource_requests{resource="cpu",$nodes} and timestamp(kube_pod_container_resource_requests{resource="cpu",$nodes}) > time() - $stale) * on (namespace, pod, uid) group_left () max by (namespace, pod, uid) (kube_pod_status_phase{phase=~"Pending|Running"} == 1))"#,
        r#"kube_pod_container_resource_requests{resource="cpu",$nodes}"#,
    ),
    (
        NodeMetric::MemoryRequested,
        r#"sum by (node) (max by (node, namespace, pod, uid, container) (kube_pod_container_resource_requests{resource="memory",$nodes} and timestamp(kube_pod_container_resource_requests{resource="memory",$nodes}) > time() - $stale) * on (namespace, pod, uid) group_left () max by (namespace, pod, uid) (kube_pod_status_phase{phase=~"Pending|Running"} == 1))"#,
        r#"kube_pod_container_resource_requests{resource="memory",$nodes}"#,
    ),
    (
        NodeMetric::Uptime,
        "node_time_seconds{$instances} - node_boot_time_seconds{$instances}",
        "node_time_seconds{$instances}",
    ),
    (
        NodeMetric::Ready,
        r#"max by (node) (kube_node_status_condition{condition="Ready",status="true",$nodes})"#,
        r#"kube_node_status_condition{condition="Ready",status="true",$nodes}"#,
    ),
];

macro_rules! facts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $query:expr;)*) => {
        /// What is asked beside the columns: who the nodes are, what the pods are, what went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fact { $($(#[$doc])* $variant,)* }
        impl Fact {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// The name in `[collector.queries]`.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }
            const fn default_query(self) -> &'static str { match self { $(Self::$variant => $query,)* } }
        }
    };
}

facts! {
    /// The cluster's nodes: labels `node`, `internal_ip`.
    NodeInfo = "node_info", "last_over_time(kube_node_info[$range])";
    /// Host names: labels `instance`, `nodename`.
    NodeNames = "node_names", "last_over_time(node_uname_info[$range])";
    /// The series whose `instance` or `node` must lead to a node of the cluster.
    Targets = "targets", r#"count by (instance, node, kubernetes_node, nodename) (last_over_time(node_cpu_seconds_total{mode="idle",cpu="0"}[$range]))"#;
    /// One point for each step at which a node's condition was bad: labels `node`, `condition`.
    NodeConditions = "node_conditions", r#"((kube_node_status_condition{condition="Ready",status="true"} == 0) or (kube_node_status_condition{condition!="Ready",status="true"} == 1)) and (timestamp(kube_node_status_condition{status="true"}) > time() - $stale)"#;
    /// One point for each step at which an alert fired: labels `alertname`, `severity`, and `node` or `instance`.
    Alerts = "alerts", r#"ALERTS{alertstate="firing"} and (timestamp(ALERTS{alertstate="firing"}) > time() - 2 * $stale)"#;
    /// The pods: labels `namespace`, `pod`, `uid`, `node`, `priority_class`.
    PodInfo = "pod_info", "last_over_time(kube_pod_info[$range])";
    /// When each pod was last seen, in seconds.
    PodLastSeen = "pod_last_seen", "max by (namespace, pod, uid) (last_over_time(timestamp(kube_pod_info)[$range:1m]))";
    /// Owners of pods: labels `owner_kind`, `owner_name`.
    PodOwner = "pod_owner", "last_over_time(kube_pod_owner[$range])";
    /// Owners of ReplicaSets: labels `namespace`, `replicaset`, `owner_kind`, `owner_name`.
    ReplicaSetOwner = "replicaset_owner", "last_over_time(kube_replicaset_owner[$range])";
    /// Owners of Jobs: labels `namespace`, `job_name`, `owner_kind`, `owner_name`.
    JobOwner = "job_owner", "last_over_time(kube_job_owner[$range])";
    /// Creation in seconds.
    PodCreated = "pod_created", "last_over_time(kube_pod_created[$range])";
    /// Binding to a node in seconds.
    PodScheduled = "pod_scheduled", "last_over_time(kube_pod_status_scheduled_time[$range])";
    /// Start in seconds.
    PodStarted = "pod_started", "last_over_time(kube_pod_start_time[$range])";
    /// End in seconds.
    PodCompleted = "pod_completed", "last_over_time(kube_pod_completion_time[$range])";
    /// The phase, 1 for the one that holds: label `phase`.
    PodPhase = "pod_phase", "last_over_time(kube_pod_status_phase[$range]) == 1";
    /// The QoS class, 1 for the one that holds: label `qos_class`.
    PodQosClass = "pod_qos_class", "last_over_time(kube_pod_status_qos_class[$range]) == 1";
    /// Requested cores.
    PodCpuRequest = "pod_cpu_request", r#"sum by (namespace, pod, uid) (last_over_time(kube_pod_container_resource_requests{resource="cpu"}[$range]))"#;
    /// Requested bytes.
    PodMemoryRequest = "pod_memory_request", r#"sum by (namespace, pod, uid) (last_over_time(kube_pod_container_resource_requests{resource="memory"}[$range]))"#;
    /// Requested GPUs of any vendor.
    PodGpuRequest = "pod_gpu_request", r#"sum by (namespace, pod, uid) (last_over_time(kube_pod_container_resource_requests{resource=~".*_gpu"}[$range]))"#;
    /// Labels of pods, as `label_…`.
    PodLabels = "pod_labels", "last_over_time(kube_pod_labels[$range])";
    /// Cores in use by a pod, every five minutes: labels `namespace`, `pod`.
    PodCpuUsage = "pod_cpu_usage", r#"sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!="",container!="POD"}[5m]))"#;
    /// Working set of a pod, every five minutes: labels `namespace`, `pod`.
    PodMemoryUsage = "pod_memory_usage", r#"sum by (namespace, pod) (container_memory_working_set_bytes{container!="",container!="POD"})"#;
}

/// All queries, defaults and replacements together.
#[derive(Debug, Clone)]
pub struct Queries {
    columns: Vec<(NodeMetric, Query)>,
    facts: Vec<String>,
}

impl Queries {
    /// Lays replacements over the defaults.
    ///
    /// # Errors
    /// When a name is not known.
    pub fn new(settings: QuerySettings) -> anyhow::Result<Self> {
        let mut queries = Self {
            columns: COLUMNS
                .iter()
                .map(|(column, query, metric)| {
                    (*column, Query { query: (*query).to_owned(), metric: Some((*metric).to_owned()) })
                })
                .collect(),
            facts: Fact::ALL.iter().map(|fact| fact.default_query().to_owned()).collect(),
        };
        for (name, entry) in settings.0 {
            queries.replace(&name, entry)?;
        }
        Ok(queries)
    }

    fn replace(&mut self, name: &str, entry: QueryEntry) -> anyhow::Result<()> {
        let new = match entry {
            QueryEntry::Plain(query) => Query { query, metric: None },
            QueryEntry::Checked { query, metric } => Query { query, metric: Some(metric) },
        };
        if let Some((_, query)) = self.columns.iter_mut().find(|(column, _)| column.column() == name) {
            *query = new;
        } else if let Some(at) = Fact::ALL.iter().position(|fact| fact.name() == name) {
            self.facts[at] = new.query;
        } else {
            let columns = NodeMetric::ALL.iter().map(|column| column.column());
            let known: Vec<&str> = columns.chain(Fact::ALL.iter().map(|fact| fact.name())).collect();
            return Err(WrongUse(format!(
                "unknown query `{name}` in `[collector.queries]`. Queries are `{}`",
                known.join("`, `")
            ))
            .into());
        }
        Ok(())
    }

    /// The columns that have a query.
    pub fn columns(&self) -> impl Iterator<Item = (NodeMetric, &Query)> {
        self.columns.iter().filter(|(_, query)| !query.query.trim().is_empty()).map(|(column, query)| (*column, query))
    }

    /// The query of a fact; `None` when it was switched off.
    pub fn fact(&self, fact: Fact) -> Option<&str> {
        Fact::ALL
            .iter()
            .position(|one| *one == fact)
            .and_then(|at| self.facts.get(at))
            .map(String::as_str)
            .filter(|query| !query.trim().is_empty())
    }

    /// A fingerprint: history fetched with other queries is other history.
    pub fn fingerprint(&self) -> String {
        runtime::files::sha256(format!("{:?}{:?}", self.columns, self.facts).as_bytes())
    }
}

/// A group of nodes that is asked for at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    instances: String,
    nodes: String,
}

impl Group {
    /// All nodes, known or not.
    pub fn everything() -> Self {
        Self { instances: r#"instance=~".+""#.into(), nodes: r#"node=~".+""#.into() }
    }

    /// Some nodes, by their `instance` labels and their names.
    pub fn of<'a>(instances: impl Iterator<Item = &'a str>, nodes: impl Iterator<Item = &'a str>) -> Self {
        Self { instances: matcher("instance", instances), nodes: matcher("node", nodes) }
    }
}

fn matcher<'a>(label: &str, values: impl Iterator<Item = &'a str>) -> String {
    let alternatives: Vec<String> = values.map(escape).collect();
    format!("{label}=~\"{}\"", alternatives.join("|"))
}

/// A text as an RE2 pattern within a PromQL string that means just this text.
fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '"' => pattern.push_str("\\\""),
            '\\' => pattern.push_str("\\\\\\\\"),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                pattern.push_str("\\\\");
                pattern.push(character);
            }
            other => pattern.push(other),
        }
    }
    pattern
}

/// What the placeholders stand for, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// `$window`
    pub window: i64,
    /// `$range`
    pub range: i64,
    /// `$stale`
    pub stale: i64,
}

/// Fills the placeholders of a query.
pub fn fill(query: &str, group: &Group, spans: Spans) -> String {
    // Nodes come last: their names are data and may hold a dollar sign.
    query
        .replace("$window", &format!("{}ms", spans.window))
        .replace("$range", &format!("{}ms", spans.range))
        .replace("$stale", &format!("{}", spans.stale as f64 / 1_000.0))
        .replace("$instances", &group.instances)
        .replace("$nodes", &group.nodes)
}

/// Whether a query can be asked for by groups of nodes.
pub fn can_be_cut(query: &str) -> bool {
    query.contains("$instances") || query.contains("$nodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_default_in_the_order_of_the_table() {
        for (at, (column, query, metric)) in COLUMNS.iter().enumerate() {
            assert_eq!(*column as usize, at);
            assert!(can_be_cut(query) && can_be_cut(metric), "{query}");
        }
    }

    #[test]
    fn replacements_are_taken_and_misspelt_names_refused() {
        let plain = |text: &str| QueryEntry::Plain(text.to_owned());
        let settings = QuerySettings([("load1".to_owned(), plain("my_load")), ("alerts".to_owned(), plain(""))].into());
        let queries = Queries::new(settings).expect("queries");
        let load = queries.columns().find(|(column, _)| *column == NodeMetric::Load1).expect("load");
        assert_eq!(load.1, &Query { query: "my_load".into(), metric: None });
        assert_eq!(queries.fact(Fact::Alerts), None);
        let unknown = QuerySettings([("laod1".to_owned(), plain("x"))].into());
        let error = Queries::new(unknown).expect_err("misspelt").to_string();
        assert!(error.contains("`laod1`") && error.contains("`load1`"), "{error}");
    }

    #[test]
    fn node_names_are_data_and_never_part_of_the_pattern() {
        let group = Group::of(["10.0.0.1:9100", "b\"|c"].into_iter(), ["$window"].into_iter());
        let spans = Spans { window: 120_000, range: 60_000, stale: 60_000 };
        let query = fill("rate(x{$instances,$nodes}[$window]) > $stale", &group, spans);
        assert_eq!(query, r#"rate(x{instance=~"10\\.0\\.0\\.1:9100|b\"\\|c",node=~"\\$window"}[120000ms]) > 60"#);
    }
}
