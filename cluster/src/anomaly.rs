//! The words of anomalies.

use serde::{Deserialize, Serialize};

/// What an anomaly is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// The node does its work differently: CPU, load, network traffic.
    Performance,
    /// The node is away or was restarted.
    Availability,
    /// The node runs out of something: memory, disk.
    Resource,
}

impl AnomalyKind {
    /// In lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Performance => "performance",
            Self::Availability => "availability",
            Self::Resource => "resource",
        }
    }
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a line in a log.
    Info,
    /// An alarm.
    Warning,
    /// An alarm that wakes people.
    Critical,
}

impl Severity {
    /// From the least on.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// In lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
