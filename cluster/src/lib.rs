//! The words that every part of Berth shares: units, names, the time grid, the metrics of a node, the tables.
//!
//! This crate does no I/O, knows no async runtime and never reads the clock.

mod anomaly;
mod ignore;
mod interval;
mod limits;
mod metric;
mod moment;
mod quantity;
mod schema;
pub mod score;
mod time;
mod units;

pub use anomaly::{AnomalyKind, Severity};
pub use ignore::{IGNORED_NODES, IgnoreRule, IgnoredNodes, ParseIgnoreRuleError};
pub use interval::SampleIntervals;
pub use limits::{HOT_UTILIZATION, SATURATED_UTILIZATION, TARGET_UTILIZATION, VERY_HOT_UTILIZATION};
pub use metric::{NodeMetric, NodeSample};
pub use moment::{EARLIEST_MS, LATEST_MS, is_plausible_moment, moment_from_seconds};
pub use quantity::ParseQuantityError;
pub use schema::{Column, ColumnKind, DECISIONS, INCIDENTS, NODE_METRICS, PODS, PREDICTIONS, TableSchema};
pub use time::{DAY_MS, GRID_STEP_MS, HOUR_MS, MINUTE_MS, grid_ceil, grid_floor};
pub use units::{Bytes, Cores, NodeName, Resource, Utilization};
