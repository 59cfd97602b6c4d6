//! The group `anomaly_patterns`: which columns an anomaly shows in, by what it is about and how long it has lasted.
//!
//! It has no features of its own. Each pattern combines features of `node_history` (`selection` says how), so that the
//! detector sees what the load predictor sees and costs no second window. Values are relative to the node's own past, to
//! the same hour of days before, or to the cluster, since nodes of one cluster differ in size and work.

use crate::Selection;
use std::sync::LazyLock;

/// What a pattern is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// CPU and load.
    Cpu,
    /// Memory.
    Memory,
    /// Network traffic.
    Network,
    /// Disks.
    Disk,
}

/// Columns that are looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// Such as `cpu-short`.
    pub name: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// As [`Selection`] reads them.
    pub columns: &'static [&'static str],
}

/// Short patterns compare minutes with the last hour, long ones with the last day and the same hour of other days.
pub static ANOMALY_PATTERNS: [Pattern; 8] = [
    Pattern {
        name: "cpu-short",
        subject: Subject::Cpu,
        columns: &[
            "cpu_utilization - cpu_mean_1h",
            "cpu_utilization - cpu_lag_15m",
            "cpu_change_1h",
            "cpu_mean_15m - cpu_mean_6h",
            "cpu_std_1h",
            "cpu_pressure",
            "cpu_over_cluster",
            "load_per_core - cpu_utilization",
        ],
    },
    Pattern {
        name: "cpu-long",
        subject: Subject::Cpu,
        columns: &[
            "cpu_utilization - cpu_mean_24h",
            "cpu_mean_1h - cpu_hour_yesterday",
            "cpu_utilization - cpu_next_1h_daily_mean",
            "cpu_zscore_24h",
            "cpu_utilization - cpu_p95_24h",
            "cpu_mean_30m - cpu_p95_7d",
            "load_per_core - load_per_core_mean_24h",
        ],
    },
    Pattern {
        name: "memory-short",
        subject: Subject::Memory,
        columns: &[
            "memory_utilization - memory_mean_1h",
            "memory_slope_1h",
            "memory_change_1h",
            "memory_restlessness_1h",
            "memory_pressure",
        ],
    },
    Pattern {
        name: "memory-long",
        subject: Subject::Memory,
        columns: &[
            "memory_utilization - memory_mean_24h",
            "memory_mean_1h - memory_hour_yesterday",
            "memory_utilization - memory_p95_24h",
            "memory_slope_6h",
            "memory_rising_6h",
            "memory_zscore_24h",
        ],
    },
    Pattern {
        name: "network-short",
        subject: Subject::Network,
        columns: &[
            "network / network_mean_24h - cpu_utilization / cpu_mean_24h",
            "network / network_mean_1h - cpu_utilization / cpu_mean_1h",
        ],
    },
    Pattern {
        name: "network-long",
        subject: Subject::Network,
        columns: &[
            "network / network_mean_24h",
            "network_mean_1h / network_mean_24h - cpu_mean_1h / cpu_mean_24h",
            "network / network_mean_24h - cpu_utilization / cpu_mean_24h",
        ],
    },
    Pattern {
        name: "disk-short",
        subject: Subject::Disk,
        columns: &[
            "disk_io_time",
            "disk_io_time - disk_io_time_mean_1h",
            "disk / disk_mean_1h",
            "load_per_core - cpu_utilization",
        ],
    },
    Pattern {
        name: "disk-long",
        subject: Subject::Disk,
        columns: &[
            "disk_io_time - disk_io_time_mean_24h",
            "disk_io_time_mean_1h - disk_io_time_mean_24h",
            "disk / disk_mean_24h",
            "filesystem_change_24h",
        ],
    },
];

/// What tells faults apart beside the patterns' columns: levels, jumps within minutes, and what explains them. A job that starts
/// brings its pods and their requests with it; a pod that takes more than it asked for does not.
pub const FAULT_COLUMNS: [&str; 25] = [
    "cpu_utilization",
    "cpu_utilization - cpu_lag_5m",
    "cpu_mean_15m - cpu_mean_1h",
    "cpu_utilization - cpu_max_24h",
    "cpu_utilization - cpu_p95_7d",
    "cpu_utilization - cpu_max_7d",
    "cpu_change_1h - cluster_cpu_change_1h",
    "cpu_change_1h - cpu_requested_change_1h",
    "cpu_requested",
    "cpu_requested_change_1h",
    "pods_change_1h",
    "load_per_core - load_per_core_mean_1h",
    "load_per_core / load_per_core_mean_24h",
    "cpu_pressure - cpu_pressure_mean_1h",
    "memory_utilization - memory_lag_30m",
    "memory_utilization - memory_p95_7d",
    "memory_utilization - memory_max_7d",
    "memory_utilization - memory_max_24h",
    "memory_requested_change_1h",
    "network / network_mean_1h",
    "network_mean_1h / network_mean_24h",
    "network / network_max_24h",
    "disk_mean_1h / disk_mean_24h",
    "disk / disk_max_24h",
    "disk / disk_mean_24h - cpu_utilization / cpu_mean_24h",
];

/// What the rules on availability read.
pub const RULE_COLUMNS: [&str; 3] = ["memory_utilization", "pods_running", "uptime_hours"];

static COLUMNS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut columns: Vec<&str> = Vec::new();
    let of_patterns = ANOMALY_PATTERNS.iter().flat_map(|pattern| pattern.columns);
    for column in RULE_COLUMNS.iter().chain(of_patterns).chain(&FAULT_COLUMNS) {
        if !columns.contains(column) {
            columns.push(column);
        }
    }
    columns
});

/// Every column of the patterns, the rules and the classifier of faults, each once.
pub fn columns() -> &'static [&'static str] {
    &COLUMNS
}

/// [`columns`] as a selection.
///
/// # Errors
/// When the catalogue lost one of them, which a test excludes.
pub fn selection() -> Result<Selection, crate::UnknownFeature> {
    Selection::new(columns())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_in_the_catalogue_and_spelt_as_the_selection_spells_it() {
        let selection = selection().expect("the catalogue has them");
        assert_eq!(selection.names(), columns());
    }
}
