//! The anomaly detector: isolation forests over groups of features, calibrated, voting.

pub mod forest;

pub use forest::{ForestSettings, IsolationForest};
