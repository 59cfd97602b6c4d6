//! The report as data: what `--json-out` writes. Fields are added, never renamed; [`QualityReport::SCHEMA`] counts up
//! when one changes its meaning. Times are RFC 3339 in UTC, lengths in seconds, shares and coverages in 0..1.

use super::Limits;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use std::collections::BTreeMap;

/// The quality of a dataset.
#[derive(Debug, Clone, Serialize)]
pub struct QualityReport {
    /// [`QualityReport::SCHEMA`].
    pub schema: u32,
    /// Id of the dataset version; absent for live tables.
    pub dataset: Option<String>,
    /// What the tables were made from, such as `prometheus`; empty where nobody knows.
    pub sources: Vec<String>,
    /// Nodes that are left out, with the rule that they meet.
    pub ignored: BTreeMap<String, String>,
    /// What the gate said.
    pub gate: Gate,
    /// What is wrong and what to do, the worst first.
    pub problems: Vec<Problem>,
    /// Which stretch of time.
    pub span: DataSpan,
    /// Figures by name, for manifests and tracking: see [`QualityReport::figures`].
    pub figures: BTreeMap<String, f64>,
    /// By metric, in the order of the table's columns.
    pub metrics: Vec<MetricQuality>,
    /// By node, in the order of their names.
    pub nodes: Vec<NodeQuality>,
    /// Stretches in which most nodes were silent together, the longest first.
    pub outages: Vec<OutageQuality>,
    /// `raw/pods`; absent when the dataset has none.
    pub pods: Option<PodsQuality>,
    /// `raw/incidents`; absent when the dataset has none.
    pub incidents: Option<IncidentsQuality>,
    /// The limits that were applied.
    pub limits: Limits,
}

impl QualityReport {
    /// Version of the JSON document.
    pub const SCHEMA: u32 = 1;

    /// The figures by name: `coverage` and `coverage_<column>` of the required metrics, `nodes`, `rows`,
    /// `step_seconds`, `gaps`, `longest_gap_seconds`, `outages`, `duplicate_rows`, `duplicate_share`,
    /// `out_of_order_rows`, `misfiled_rows`, `out_of_range_values`, `out_of_range_share`, `over_allocatable_rows`,
    /// `null_share`, `flat_lines`, `late_nodes`, `silent_share`, `resets`, `clock_jumps`, `pod_problems`,
    /// `incident_problems`, and `gate_passed` (1 or 0).
    pub fn figures(&self) -> &BTreeMap<String, f64> {
        &self.figures
    }
}

/// What the gate said.
#[derive(Debug, Clone, Serialize)]
pub struct Gate {
    /// Whether every rule holds.
    pub passed: bool,
    /// The rules.
    pub rules: Vec<GateRule>,
    /// One sentence on the outcome; when refused, with the worst places and what to do.
    pub verdict: String,
}

/// One rule of the gate.
#[derive(Debug, Clone, Serialize)]
pub struct GateRule {
    /// The setting that holds its limit.
    pub name: &'static str,
    /// What is compared.
    pub what: &'static str,
    /// What was found.
    pub value: f64,
    /// `at_least` or `at_most`.
    pub comparison: &'static str,
    /// The limit.
    pub limit: f64,
    /// Whether it holds.
    pub passed: bool,
}

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The data must not be trained on, or much of it is lost.
    Bad,
    /// Worth a look.
    Warn,
    /// To know.
    Info,
}

/// Something that is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// What kind, from a closed set: `outage`, `gaps`, `metric_absent`, `metric_partly_absent`, `metric_gaps`, `late`, `left`, `joined`,
    /// `history_missing`, `coarse_step`, `duplicates`, `out_of_order`, `misfiled`, `keyless`, `out_of_range`,
    /// `over_allocatable`, `flat_line`, `clock_jump`, `pods`, `incidents`.
    pub kind: &'static str,
    /// Which nodes, metrics or table.
    pub place: String,
    /// What was found, with numbers.
    pub found: String,
    /// What to do.
    pub action: &'static str,
}

/// Which stretch of time.
#[derive(Debug, Clone, Serialize)]
pub struct DataSpan {
    /// First sample of any node.
    pub start: String,
    /// Last sample of any node.
    pub end: String,
    /// Days that have a folder.
    pub days: usize,
    /// Distance of samples.
    pub step_seconds: f64,
}

/// One metric over all nodes.
#[derive(Debug, Clone, Serialize)]
pub struct MetricQuality {
    /// Its column in `raw/node_metrics`.
    pub column: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether the gate counts it.
    pub required: bool,
    /// Time that usable values speak for, of the time for which samples were to be expected.
    pub coverage: f64,
    /// Nulls among the rows.
    pub null_share: f64,
    /// Nodes without a single value.
    pub nodes_without: usize,
    /// Values below 0, above what can be real, or not finite.
    pub out_of_range: u64,
    /// Stretches without change, where it should move.
    pub flat_lines: u64,
    /// Smallest, 5th, 50th, 95th percentile, largest and mean of the usable values; the percentiles come from an even
    /// sample of about [`MetricQuality::SAMPLE`]. Absent without values.
    pub distribution: Option<Distribution>,
}

impl MetricQuality {
    /// Values that the percentiles come from: the 95th then lies between the true 94.8th and 95.2th, two standard
    /// errors of a binomial share.
    pub const SAMPLE: u64 = 40_000;
}

/// How values are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// Smallest.
    pub min: f64,
    /// 5th percentile.
    pub p05: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Largest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeQuality {
    /// Its name.
    pub node: String,
    /// Its first sample.
    pub first: String,
    /// Its last sample.
    pub last: String,
    /// What it is doing at the ends of the dataset.
    pub state: NodeState,
    /// Time between the dataset's start and its first sample.
    pub joined_after_seconds: f64,
    /// Of that, the time for which its uptime says that it was already running.
    pub history_missing_seconds: f64,
    /// Time between its last sample and the dataset's end.
    pub silent_seconds: f64,
    /// Time that it was off in between.
    pub absent_seconds: f64,
    /// Rows in the files.
    pub rows: u64,
    /// Time that its samples speak for, of the time for which samples were to be expected.
    pub coverage: f64,
    /// The same by day.
    pub coverage_by_day: BTreeMap<String, f64>,
    /// The same over the whole span of the dataset, as if it had lived that long.
    pub coverage_of_span: f64,
    /// The most frequent distance of its samples; absent with fewer than two.
    pub step_seconds: Option<f64>,
    /// Stretches of missing samples.
    pub gaps: u64,
    /// Their time together.
    pub gap_seconds: f64,
    /// The longest ones, longest first, ten at most.
    pub longest_gaps: Vec<Stretch>,
    /// Rows that repeat another row's time.
    pub duplicates: u64,
    /// Rows older than their predecessor in the file.
    pub out_of_order: u64,
    /// Rows in the folder of another day.
    pub misfiled: u64,
    /// Boots.
    pub resets: u64,
    /// Steps of its clock against its uptime.
    pub clock_jumps: u64,
    /// Rows with more CPU in use than allocatable and the margin.
    pub cpu_over_allocatable: u64,
    /// Rows with more memory in use than allocatable and the margin.
    pub memory_over_allocatable: u64,
    /// By metric.
    pub metrics: BTreeMap<&'static str, NodeMetricQuality>,
    /// All of the kept gaps, for the page.
    #[serde(skip)]
    pub(super) all_gaps: Vec<(i64, i64)>,
    /// Its life, for the page.
    #[serde(skip)]
    pub(super) life: (i64, i64),
}

/// What a node is doing at the ends of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It was sampled up to the end.
    Current,
    /// It fell silent lately.
    Late,
    /// It has been silent for so long that it is gone.
    Left,
}

/// One metric of one node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeMetricQuality {
    /// Time that usable values speak for, of the time for which samples were to be expected.
    pub coverage: f64,
    /// Nulls among the rows.
    pub null_share: f64,
    /// Stretches without usable value.
    pub gaps: u64,
    /// The longest.
    pub longest_gap: Option<Stretch>,
    /// Values that cannot be true.
    pub out_of_range: u64,
    /// Stretches without change, where it should move.
    pub flat_lines: u64,
    /// The longest.
    pub longest_flat: Option<Stretch>,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch {
    /// Its start.
    pub start: String,
    /// Its end.
    pub end: String,
    /// Its length.
    pub seconds: f64,
}

impl Stretch {
    pub(super) fn new((start, end): (i64, i64)) -> Self {
        Self { start: rfc3339(start), end: rfc3339(end), seconds: seconds(end - start) }
    }
}

/// A stretch in which most nodes were silent together.
#[derive(Debug, Clone, Serialize)]
pub struct OutageQuality {
    /// When.
    #[serde(flatten)]
    pub stretch: Stretch,
    /// The most nodes that were silent at once.
    pub nodes: usize,
    #[serde(skip)]
    pub(super) at: (i64, i64),
}

/// `raw/pods`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PodsQuality {
    /// Pod lives.
    pub rows: u64,
    /// Without an end.
    pub alive: u64,
    /// Rows that repeat another row's UID and creation.
    pub duplicates: u64,
    /// Lives that end before they start, or are scheduled before they are created.
    pub negative_lives: u64,
    /// Lives of one UID that overlap.
    pub overlapping_lives: u64,
    /// Lives on a node that has no samples.
    pub unknown_nodes: u64,
    /// Lives that started without a node.
    pub started_without_node: u64,
    /// Names of such nodes, five at most.
    pub unknown_node_names: Vec<String>,
}

/// `raw/incidents`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IncidentsQuality {
    /// Incidents.
    pub rows: u64,
    /// Without an end.
    pub open: u64,
    /// Rows that repeat another row's node, kind and start.
    pub duplicates: u64,
    /// Incidents that end before they start.
    pub negative_lengths: u64,
    /// Incidents of one node and kind that overlap.
    pub overlapping: u64,
    /// Incidents of a node that has no samples.
    pub unknown_nodes: u64,
    /// Names of such nodes, five at most.
    pub unknown_node_names: Vec<String>,
    /// Severities other than info, warning and critical.
    pub unknown_severities: u64,
    /// How many of each kind.
    pub by_kind: BTreeMap<String, u64>,
}

impl PodsQuality {
    /// Rows that something is wrong with.
    pub fn problems(&self) -> u64 {
        self.duplicates + self.negative_lives + self.overlapping_lives + self.unknown_nodes + self.started_without_node
    }
}

impl IncidentsQuality {
    /// Rows that something is wrong with.
    pub fn problems(&self) -> u64 {
        self.duplicates + self.negative_lengths + self.overlapping + self.unknown_nodes + self.unknown_severities
    }
}

/// A time as text.
pub(super) fn rfc3339(ts: i64) -> String {
    match DateTime::from_timestamp_millis(ts) {
        Some(time) => {
            time.to_rfc3339_opts(if ts % 1_000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis }, true)
        }
        None => format!("{ts} ms"),
    }
}

pub(super) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}
