//! The windows: what is kept of a node's past, and the features that it gives.
//!
//! Nothing in a row depends on a sample older than seven days, and nothing on how long the process has run.

mod cluster;
mod node;
mod plain;
mod recent;
mod resource;
mod rolling;
mod snapshot;

pub use cluster::{ClusterContext, ClusterWindows};
pub(crate) use node::History;
pub use node::{Incident, NodeWindows, Passed};
pub use snapshot::{BadSnapshot, Snapshot};

use crate::GRID_STEP_MS;
use ::cluster::{DAY_MS, HOUR_MS};

/// Slots in an hour.
pub(crate) const HOUR: usize = (HOUR_MS / GRID_STEP_MS) as usize;
/// Slots in a day.
pub(crate) const DAY: usize = (DAY_MS / GRID_STEP_MS) as usize;
/// Slots in a week, the longest look back.
pub(crate) const WEEK: usize = 7 * DAY;
/// Utilization never exceeds 16 and a week has 2016 slots, so sums stay below 2^55 and sums of squares below 2^59.
pub(crate) const SCALE: f64 = (1_i64 << 40) as f64;
