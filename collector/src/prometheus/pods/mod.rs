//! `raw/pods`: one row per pod life, put together from what kube-state-metrics and cAdvisor say of it.

mod answers;
mod fetch;
mod requests;
mod rows;
mod usage;

pub use fetch::{PodAsking, PodFacts, PodName, PodPoints, fetch};
pub use rows::{PodBook, PodRow, read_pods};
pub use usage::{PodUsage, UsageBook};

/// Usage of pods is taken every five minutes: enough for a mean, a 95th percentile and a maximum over a life.
pub const USAGE_STEP_MS: i64 = 5 * cluster::MINUTE_MS;
