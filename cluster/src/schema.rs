//! The tables that pass between the parts. One place for each column's name, type, unit and meaning.

use crate::metric::METRIC_COLUMNS;

/// The type of a column in Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// 64-bit integer: milliseconds since the epoch, UTC.
    Timestamp,
    /// UTF-8 text.
    Text,
    /// 64-bit float.
    Float,
    /// 32-bit float, for features.
    Float32,
    /// 64-bit integer.
    Integer,
}

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether a value may be missing. A missing value is null, never zero.
    pub optional: bool,
    /// The unit of its values.
    pub unit: &'static str,
    /// What it says, in words.
    pub help: &'static str,
}

impl Column {
    const fn new(name: &'static str, kind: ColumnKind, optional: bool, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind, optional, unit, help }
    }

    pub(crate) const fn optional_float(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self::new(name, ColumnKind::Float, true, unit, help)
    }
}

/// A table: its name below the data root and its columns in order.
#[derive(Debug, Clone, Copy)]
pub struct TableSchema {
    /// Such as `raw/node_metrics`.
    pub name: &'static str,
    /// In the order of the file.
    pub columns: &'static [Column],
    /// The columns that together name a row; rows that agree in them are duplicates. The rows are sorted by them.
    pub key: &'static [&'static str],
    /// The timestamp column whose day is the row's partition.
    pub time: &'static str,
}

const fn node_metrics_columns() -> [Column; METRIC_COLUMNS.len() + 2] {
    let mut columns = [NODE_METRICS_HEAD[0]; METRIC_COLUMNS.len() + 2];
    columns[1] = NODE_METRICS_HEAD[1];
    let mut at = 0;
    while at < METRIC_COLUMNS.len() {
        columns[at + 2] = METRIC_COLUMNS[at];
        at += 1;
    }
    columns
}

const NODE_METRICS_HEAD: [Column; 2] = [
    Column::new("ts", ColumnKind::Timestamp, false, "ms", "time of the scrape"),
    Column::new("node", ColumnKind::Text, false, "", "the node's name"),
];
static NODE_METRICS_COLUMNS: [Column; METRIC_COLUMNS.len() + 2] = node_metrics_columns();

/// One row per node and scrape step.
pub static NODE_METRICS: TableSchema =
    TableSchema { name: "raw/node_metrics", columns: &NODE_METRICS_COLUMNS, key: &["node", "ts"], time: "ts" };

/// One row per pod life. A row's partition is the day of `created_at`; it is rewritten as the life goes on.
pub static PODS: TableSchema = TableSchema {
    name: "raw/pods",
    columns: &[
        Column::new(
            "pod_uid",
            ColumnKind::Text,
            false,
            "",
            "the pod's UID; namespace/pod@created_at where the source has none",
        ),
        Column::new("namespace", ColumnKind::Text, false, "", "its namespace"),
        Column::new("pod", ColumnKind::Text, false, "", "its name"),
        Column::new(
            "workload_kind",
            ColumnKind::Text,
            true,
            "",
            "kind of the controller that owns it, such as Deployment",
        ),
        Column::new("workload", ColumnKind::Text, true, "", "name of that controller"),
        Column::new("node", ColumnKind::Text, true, "", "the node it ran on"),
        Column::new("created_at", ColumnKind::Timestamp, false, "ms", "creation"),
        Column::new("scheduled_at", ColumnKind::Timestamp, true, "ms", "binding to its node"),
        Column::new("started_at", ColumnKind::Timestamp, true, "ms", "start of its first container"),
        Column::new("finished_at", ColumnKind::Timestamp, true, "ms", "end of its life; null while it lives"),
        Column::new("phase", ColumnKind::Text, true, "", "last phase seen"),
        Column::new("qos_class", ColumnKind::Text, true, "", "Guaranteed, Burstable or BestEffort"),
        Column::new("priority", ColumnKind::Integer, true, "", "priority of its PriorityClass"),
        Column::new(
            "cpu_request_cores",
            ColumnKind::Float,
            true,
            "cores",
            "what kube-scheduler counts: containers and sidecars, or what an init container needs if that is more, and overhead",
        ),
        Column::new("memory_request_bytes", ColumnKind::Float, true, "bytes", "likewise"),
        // Of nvidia.com/gpu, .shared and mig-…, amd.com, gpu.intel.com, habana.ai, google.com/tpu, aws.amazon.com/neuron and the like;
        // `accelerators` in collector/src/prometheus/queries.toml has the list. Devices that are claimed (resource.k8s.io) are no
        // requests of containers and are not counted.
        Column::new(
            "gpu_request",
            ColumnKind::Float,
            true,
            "units",
            "accelerators, sum over its containers: each requested unit of an extended resource counts as one, be it a whole device, a MIG instance or partition of any size, a time slice or a share, since no metric tells how large a share is; null where it requests none",
        ),
        Column::new("labels", ColumnKind::Text, true, "JSON", "its labels as a JSON object"),
        Column::new("cpu_used_cores_mean", ColumnKind::Float, true, "cores", "mean usage over its life so far"),
        Column::new("cpu_used_cores_p95", ColumnKind::Float, true, "cores", "95th percentile of its usage"),
        Column::new("memory_used_bytes_max", ColumnKind::Float, true, "bytes", "largest working set"),
    ],
    key: &["pod_uid"],
    time: "created_at",
};

/// What went wrong with a node, and when. A row's partition is the day of `started_at`.
pub static INCIDENTS: TableSchema = TableSchema {
    name: "raw/incidents",
    columns: &[
        Column::new("node", ColumnKind::Text, false, "", "the node's name"),
        Column::new(
            "kind",
            ColumnKind::Text,
            false,
            "",
            "such as not_ready, memory_pressure, cpu_saturation, or the alert's name",
        ),
        Column::new("severity", ColumnKind::Text, false, "", "info, warning or critical"),
        Column::new("started_at", ColumnKind::Timestamp, false, "ms", "first moment"),
        Column::new("ended_at", ColumnKind::Timestamp, true, "ms", "last moment; null while it lasts"),
        Column::new("source", ColumnKind::Text, false, "", "condition, alert, synthetic, injected or label"),
    ],
    key: &["node", "kind", "started_at"],
    time: "started_at",
};

/// What models answered. A row's partition is the day of `ts`.
pub static PREDICTIONS: TableSchema = TableSchema {
    name: "serving/predictions",
    columns: &[
        Column::new("ts", ColumnKind::Timestamp, false, "ms", "when it was answered"),
        Column::new("id", ColumnKind::Text, false, "", "the request's id"),
        Column::new("model", ColumnKind::Text, false, "", "which model; score for scores of nodes"),
        Column::new("version", ColumnKind::Text, false, "", "which version; for scores those of all models"),
        Column::new("feature_hash", ColumnKind::Text, false, "", "hash of the model's feature list"),
        Column::new("inputs", ColumnKind::Text, false, "JSON", "what came in, by name"),
        Column::new("outputs", ColumnKind::Text, false, "JSON", "what went out, by name"),
    ],
    key: &["ts", "id"],
    time: "ts",
};

/// What the scheduler extender decided, and where the pod went. A row's partition is the day of `ts`.
pub static DECISIONS: TableSchema = TableSchema {
    name: "raw/decisions",
    columns: &[
        Column::new("ts", ColumnKind::Timestamp, false, "ms", "when kube-scheduler asked"),
        Column::new("id", ColumnKind::Text, false, "", "the decision's id"),
        Column::new("verb", ColumnKind::Text, false, "", "prioritize or filter"),
        Column::new("namespace", ColumnKind::Text, false, "", "the pod's namespace"),
        Column::new("pod", ColumnKind::Text, false, "", "its name"),
        Column::new("pod_uid", ColumnKind::Text, false, "", "its UID"),
        Column::new("workload", ColumnKind::Text, true, "", "namespace/kind/name of the controller that owns it"),
        Column::new("mode", ColumnKind::Text, false, "", "shadow, canary or active"),
        Column::new("answer", ColumnKind::Text, false, "", "scored or neutral: what kube-scheduler was told"),
        Column::new("reason", ColumnKind::Text, true, "", "why the answer was neutral"),
        Column::new("state", ColumnKind::Text, false, "", "healthy, degraded or fallback"),
        Column::new("candidates", ColumnKind::Integer, false, "", "nodes that were offered"),
        Column::new(
            "best",
            ColumnKind::Text,
            true,
            "",
            "the candidate with the highest score; null where none was scored",
        ),
        Column::new("best_score", ColumnKind::Float, true, "ratio", "its score, 0..1"),
        Column::new("bound", ColumnKind::Text, true, "", "the node that the pod went to; null where that was not seen"),
        Column::new("bound_score", ColumnKind::Float, true, "ratio", "its score, 0..1"),
        Column::new("bound_after_seconds", ColumnKind::Float, true, "s", "from the decision to the binding"),
        Column::new("took_seconds", ColumnKind::Float, false, "s", "from the request to the answer"),
        Column::new("data_age_seconds", ColumnKind::Float, true, "s", "age of the newest refresh"),
        Column::new("versions", ColumnKind::Text, false, "JSON", "the models that were asked, by name"),
        Column::new(
            "scores",
            ColumnKind::Text,
            false,
            "JSON",
            "the best candidates and the bound one: node, score, the parts load, placement and anomaly, points 0..10, the highest P90 with the pod",
        ),
        Column::new(
            "gain",
            ColumnKind::Float,
            true,
            "ratio",
            "the best candidate's score less that of the bound one; null where one of them is not known",
        ),
        Column::new(
            "agrees",
            ColumnKind::Integer,
            true,
            "",
            "1 where the pod went to the best candidate or to one as good within the forecasts' uncertainty, else 0",
        ),
        Column::new("hot", ColumnKind::Integer, true, "", "1 where its node was forecast over 80 % with it, else 0"),
        Column::new("best_hot", ColumnKind::Integer, true, "", "the same of the best candidate"),
    ],
    key: &["ts", "id"],
    time: "ts",
};
