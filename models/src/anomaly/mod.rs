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

pub use alarm::{AlarmSettings, AlarmState};
pub use classifier::{Classifier, ClassifierSettings};
pub use cluster::{AnomalyKind, Severity};
pub use detector::{Detector, Member, Reading, Rule, Scorer};
pub use files::DETECTOR_FILE;
pub use finding::{Blame, Finding};
pub use fit::{DetectorSettings, LabelledRows, MemberSettings, REACH, fit_detector, fit_detector_with_reach};
pub use forest::{ForestSettings, IsolationForest};
pub use reach::Reach;
pub use side::{Middles, Side};
pub use tail::Tail;
pub use vote::Vote;
