//! A live cluster: samples from Prometheus in, findings and alerts out.
//!
//! [`sliding`] turns samples into rows of features for any moment, [`alarms`] turns rows into alarms with hysteresis,
//! [`alertmanager`] tells Alertmanager, [`run`] goes round and round.

pub mod alarms;
pub mod alertmanager;
mod run;
pub mod sliding;

pub use run::{WatchArgs, WatchSummary, watch};
pub use sliding::SlidingFeatures;
