//! How sure is it that one model is better than another? Errors of forecasts depend on those before them (their hours overlap,
//! and a hard afternoon is hard for hours), and whoever looks again and again finds something in the end: the usual intervals
//! are too narrow on both counts.
//!
//! - [`DependentMean`]: the mean of a series with its interval, for whoever looks once: the trainer's gate.
//! - [`BlockSequence`], [`ShareSequence`]: means and shares with intervals that hold however often one looks: the server's
//!   rollouts.
//!
//! Pure arithmetic; the trainer's figures and the server use the same.

/// Probability that a challenger within all limits of a rollout is ever sent back, however often one looks.
pub const ERROR_BUDGET: f64 = 0.05;
/// The limits that share it: errors, latency, forecasts, choices, alarms.
pub const ROLLOUT_LIMITS: f64 = 5.0;
/// What each of them may use.
pub const LIMIT_ALPHA: f64 = ERROR_BUDGET / ROLLOUT_LIMITS;
/// No verdict on what goes by the hour before so many hours, unless somebody sets another number: the first ones may all be of a
/// kind, and a variance from fewer than six blocks says little.
pub const LEAST_HOURS: f64 = 12.0;

mod fixed_b;
mod sequence;
mod share;

pub use fixed_b::{BANDWIDTH, DependentMean, Tail, critical_value};
pub use sequence::{BLOCK_MS, BlockSequence, SequenceInterval};
pub use share::ShareSequence;
