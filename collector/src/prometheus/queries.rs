//! The PromQL behind every column and fact. The defaults stand in `queries.toml`, which says what the placeholders mean;
//! each can be replaced in `[collector.queries]`.

use super::labels::{CLUSTER_LABELS, NodeLabels};
use anyhow::Context;
use cluster::NodeMetric;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The defaults, as a file of the form of `berth.toml`.
const DEFAULTS: &str = include_str!("queries.toml");

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

impl QueryEntry {
    fn text(self) -> String {
        match self {
            Self::Plain(query) | Self::Checked { query, .. } => query,
        }
    }
}

/// Section `[collector.queries]`: replacements by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuerySettings(pub BTreeMap<String, QueryEntry>);

/// The matchers that several queries share, by name; `$name` stands for them.
const FILTERS: [&str; 5] = ["interfaces", "disks", "filesystems", "accelerators", "own_labels"];

macro_rules! facts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What is asked beside the columns: who the nodes are, what the pods are, what went wrong. `queries.toml` says
        /// which labels each has.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fact { $($(#[$doc])* $variant,)* }
        impl Fact {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// The name in `[collector.queries]`.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }
        }
    };
}

facts! {
    /// The cluster's nodes.
    NodeInfo = "node_info";
    /// Host names.
    NodeNames = "node_names";
    /// The series that must lead to a node of the cluster.
    Targets = "targets";
    /// Hosts of windows_exporter.
    WindowsTargets = "windows_targets";
    /// Labels of nodes.
    NodeLabels = "node_labels";
    /// Taints of nodes.
    NodeTaints = "node_taints";
    /// Bad conditions, step by step.
    NodeConditions = "node_conditions";
    /// Alerts that fired, step by step.
    Alerts = "alerts";
    /// The pods.
    PodInfo = "pod_info";
    /// When each pod was last seen, in seconds.
    PodLastSeen = "pod_last_seen";
    /// Owners of pods.
    PodOwner = "pod_owner";
    /// Owners of ReplicaSets.
    ReplicaSetOwner = "replicaset_owner";
    /// Owners of Jobs.
    JobOwner = "job_owner";
    /// Creation in seconds.
    PodCreated = "pod_created";
    /// Binding to a node in seconds.
    PodScheduled = "pod_scheduled";
    /// Start in seconds.
    PodStarted = "pod_started";
    /// End in seconds.
    PodCompleted = "pod_completed";
    /// The phase.
    PodPhase = "pod_phase";
    /// The QoS class.
    PodQosClass = "pod_qos_class";
    /// Requested cores.
    PodCpuRequest = "pod_cpu_request";
    /// Requested bytes.
    PodMemoryRequest = "pod_memory_request";
    /// Requested cores of init containers.
    PodInitCpuRequest = "pod_init_cpu_request";
    /// Requested bytes of init containers.
    PodInitMemoryRequest = "pod_init_memory_request";
    /// Init containers that run on beside the containers.
    PodSidecars = "pod_sidecars";
    /// Cores that the runtime class takes on top.
    PodCpuOverhead = "pod_cpu_overhead";
    /// Bytes that the runtime class takes on top.
    PodMemoryOverhead = "pod_memory_overhead";
    /// Requested accelerators.
    PodGpuRequest = "pod_gpu_request";
    /// Labels of pods.
    PodLabels = "pod_labels";
    /// Cores in use by a pod, every five minutes.
    PodCpuUsage = "pod_cpu_usage";
    /// Working set of a pod, every five minutes.
    PodMemoryUsage = "pod_memory_usage";
}

/// All queries, defaults and replacements together, filters and labels filled in.
#[derive(Debug, Clone)]
pub struct Queries {
    columns: Vec<(NodeMetric, Query)>,
    facts: Vec<String>,
    target: String,
}

impl Queries {
    /// Lays replacements over the defaults. `labels`: how hosts and nodes are told apart.
    ///
    /// # Errors
    /// When a name is not known.
    pub fn new(settings: QuerySettings, labels: &NodeLabels) -> anyhow::Result<Self> {
        let mut entries = defaults()?;
        for (name, entry) in settings.0 {
            if !entries.contains_key(&name) {
                let known = entries.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
                return Err(WrongUse(format!(
                    "unknown query `{name}` in `[collector.queries]`. Queries are `{known}`"
                ))
                .into());
            }
            entries.insert(name, entry);
        }
        let mut take = |name: &str| entries.remove(name);
        let filters = FILTERS.map(|name| (format!("${name}"), take(name).map(QueryEntry::text).unwrap_or_default()));
        let target = labels.target();
        let clusters = CLUSTER_LABELS.join(", ");
        let settle = |text: String| {
            let mut text = filters.iter().fold(text, |text, (name, filter)| text.replace(name, filter));
            for (name, with) in [
                ("$target", &target),
                ("$clusters", &clusters),
                ("$ignored_labels", &labels.ignored_labels()),
                ("$ignored_taints", &labels.ignored_taints()),
            ] {
                text = text.replace(name, with);
            }
            text
        };
        let column = |metric: &NodeMetric| {
            let query = match take(metric.column()) {
                Some(QueryEntry::Checked { query, metric }) => {
                    Query { query: settle(query), metric: Some(settle(metric)) }
                }
                Some(QueryEntry::Plain(query)) => Query { query: settle(query), metric: None },
                None => Query { query: String::new(), metric: None },
            };
            (*metric, query)
        };
        Ok(Self {
            columns: NodeMetric::ALL.iter().map(column).collect(),
            facts: Fact::ALL
                .iter()
                .map(|fact| take(fact.name()).map(QueryEntry::text).map(settle).unwrap_or_default())
                .collect(),
            target,
        })
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

    /// The labels that tell one scraped host from another, as `by (…)` has them.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether a column or a fact reads the metric of this name.
    pub fn reads(&self, metric: &str) -> bool {
        let texts = self.columns.iter().map(|(_, query)| &query.query).chain(&self.facts);
        let is_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
        texts.into_iter().any(|text| {
            text.match_indices(metric).any(|(at, _)| {
                let (before, after) =
                    (at.checked_sub(1).and_then(|at| text.as_bytes().get(at)), text.as_bytes().get(at + metric.len()));
                !is_word(before) && !is_word(after)
            })
        })
    }

    /// A fingerprint: history fetched with other queries is other history.
    pub fn fingerprint(&self) -> String {
        let columns = self.columns.iter().map(|(column, query)| {
            format!("{}={}\n{}\n", column.column(), query.query, query.metric.as_deref().unwrap_or_default())
        });
        let facts = Fact::ALL.iter().zip(&self.facts).map(|(fact, query)| format!("{}={query}\n", fact.name()));
        runtime::files::sha256(columns.chain(facts).collect::<String>().as_bytes())
    }
}

fn defaults() -> anyhow::Result<BTreeMap<String, QueryEntry>> {
    #[derive(Deserialize)]
    struct File {
        collector: Section,
    }
    #[derive(Deserialize)]
    struct Section {
        queries: QuerySettings,
    }
    let file: File = toml::from_str(DEFAULTS).context("the built-in queries are damaged")?;
    Ok(file.collector.queries.0)
}

/// A group of nodes that is asked for at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    instances: String,
    nodes: String,
}

impl Group {
    /// All nodes, known or not, and hosts without an `instance` as well.
    pub fn everything() -> Self {
        Self { instances: r#"instance=~".*""#.into(), nodes: r#"node=~".+""#.into() }
    }

    /// Some nodes, by their `instance` labels and their names.
    pub fn of<'a>(instances: impl Iterator<Item = &'a str>, nodes: impl Iterator<Item = &'a str>) -> Self {
        Self { instances: matcher("instance", instances), nodes: matcher("node", nodes) }
    }
}

/// A matcher for any of some values, each meant as it is.
pub(super) fn matcher<'a>(label: &str, values: impl Iterator<Item = &'a str>) -> String {
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

    fn queries(settings: &[(&str, &str)]) -> anyhow::Result<Queries> {
        let entries = settings.iter().map(|(name, text)| ((*name).to_owned(), QueryEntry::Plain((*text).to_owned())));
        Queries::new(QuerySettings(entries.collect()), &NodeLabels::default())
    }

    #[test]
    fn every_column_fact_and_filter_has_a_default_and_nothing_else_has() {
        let entries = defaults().expect("defaults");
        let columns = NodeMetric::ALL.iter().map(|column| column.column());
        let facts = Fact::ALL.iter().map(|fact| fact.name());
        let mut wanted: Vec<&str> = columns.chain(facts).chain(FILTERS).collect();
        wanted.sort_unstable();
        assert_eq!(entries.keys().collect::<Vec<_>>(), wanted);
        let queries = queries(&[]).expect("queries");
        assert_eq!(queries.columns().count(), NodeMetric::COUNT);
        for (column, query) in queries.columns() {
            let metric = query.metric.as_deref().expect("a metric underneath");
            assert!(can_be_cut(&query.query) && can_be_cut(metric), "{column:?}");
        }
    }

    #[test]
    fn every_placeholder_is_filled() {
        let queries = queries(&[]).expect("queries");
        let spans = Spans { window: 120_000, range: 60_000, stale: 60_000 };
        let texts = queries.columns().flat_map(|(_, query)| [Some(query.query.as_str()), query.metric.as_deref()]);
        for text in texts.flatten().chain(Fact::ALL.iter().filter_map(|fact| queries.fact(*fact))) {
            assert!(!fill(text, &Group::everything(), spans).contains('$'), "{text}");
        }
    }

    #[test]
    fn what_is_there_twice_counts_once_in_every_sum() {
        // Each sum is taken over a `max by`, and each rate stands within one: that is the rule of `queries.toml`.
        let queries = queries(&[]).expect("queries");
        let columns = queries.columns().map(|(column, query)| (column.column(), query.query.as_str()));
        let facts = Fact::ALL.iter().filter_map(|fact| Some((fact.name(), queries.fact(*fact)?)));
        for (name, text) in columns.chain(facts) {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for (at, _) in text.match_indices("sum by (") {
                let inner = &text[at..][text[at..].find(") (").expect("what is summed") + 3..];
                assert!(inner.trim_start_matches([' ', '(']).starts_with("max by ("), "{name}: {text}");
            }
            if text.contains("rate(") {
                assert!(text.contains("max by ("), "{name}: {text}");
            }
        }
    }

    #[test]
    fn replacements_are_taken_and_misspelt_names_refused() {
        let replaced = queries(&[("load1", "my_load"), ("alerts", ""), ("disks", r#"device="sda""#)]).expect("queries");
        let of = |metric| replaced.columns().find(|(column, _)| *column == metric).expect("column").1.clone();
        assert_eq!(of(NodeMetric::Load1), Query { query: "my_load".into(), metric: None });
        assert!(of(NodeMetric::DiskRead).query.contains(r#"node_disk_read_bytes_total{device="sda",$instances}"#));
        assert_eq!(replaced.fact(Fact::Alerts), None);
        assert_ne!(replaced.fingerprint(), queries(&[]).expect("queries").fingerprint());
        let error = queries(&[("laod1", "x")]).expect_err("misspelt").to_string();
        assert!(error.contains("`laod1`") && error.contains("`load1`"), "{error}");
    }

    #[test]
    fn which_metrics_are_read_is_known() {
        let queries = queries(&[]).expect("queries");
        for metric in ["node_load1", "kube_pod_info", "ALERTS", "node_filesystem_readonly"] {
            assert!(queries.reads(metric), "{metric}");
        }
        for metric in ["node_load", "node_load15", "pod_info", "up"] {
            assert!(!queries.reads(metric), "{metric}");
        }
    }

    #[test]
    fn node_names_are_data_and_never_part_of_the_pattern() {
        let group = Group::of(["10.0.0.1:9100", "b\"|c"].into_iter(), ["$window"].into_iter());
        let spans = Spans { window: 120_000, range: 60_000, stale: 60_000 };
        let query = fill("rate(x{$instances,$nodes}[$window]) > $stale", &group, spans);
        assert_eq!(query, r#"rate(x{instance=~"10\\.0\\.0\\.1:9100|b\"\\|c",node=~"\\$window"}[120000ms]) > 60"#);
    }
}
