//! The anomaly detector: isolation forests over groups of features, each calibrated on its own scores, whose vote becomes
//! alarms with a severity, a type and the features to blame; and [`series`], a detector for columns that nobody named.

mod alarm;
mod classifier;
mod detector;
mod files;
mod finding;
mod fit;
pub mod forest;
mod reach;
pub mod series;
mod side;
mod tail;
mod vote;

#[cfg(test)]
mod tests;

pub use alarm::{AlarmSettings, AlarmState, Severity};
pub use classifier::{Classifier, ClassifierSettings};
pub use detector::{Detector, Member, Reading, Rule, Scorer};
pub use files::DETECTOR_FILE;
pub use finding::{Blame, Finding};
pub use fit::{DetectorSettings, LabelledRows, MemberSettings, REACH, fit_detector, fit_detector_with_reach};
pub use forest::{ForestSettings, IsolationForest};
pub use reach::Reach;
pub use side::{Middles, Side};
pub use tail::Tail;
pub use vote::Vote;

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
