//! The anomaly detector: rows with labels, the cut by time, the threshold by cost, figures, the gate, the page.

mod artifact;
mod choose;
mod evaluate;
mod evidence;
mod faults;
mod gate;
mod history;
mod log;
mod page;
pub mod peers;
mod points;
pub mod results;
mod settings;
pub mod table;
mod threshold;
mod train;
mod zscore;

#[cfg(test)]
mod tests;

pub use artifact::{DetectorFolder, read_detector, seal_detector};
pub use choose::{Chosen, ThresholdCurve, ThresholdPoint};
pub use evaluate::{AlarmScores, KindScores, Timeline, evaluate};
pub use faults::{Faults, FaultyStretch};
pub use gate::{AnomalyCheck, AnomalyGate, AnomalyVerdict, judge};
pub use history::{History, RawHistory};
pub use log::{EXPERIMENT, log_run};
pub use page::page;
pub(crate) use page::{figures, points as point_figures};
pub use points::{PointScores, precision_recall, roc_auc, roc_curve};
pub use settings::AnomalySettings;
pub use threshold::{CostCurve, CostPoint, Costs, cheapest};
pub use train::{Judged, TrainedDetector, VoteChoice, train_detector};
pub use zscore::ZScore;
