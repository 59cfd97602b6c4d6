//! The feature catalogue and the one implementation of every feature.
//!
//! [`windows`] define every feature, once: samples go in, rows on a grid of five minutes come out. [`online`] keeps them for
//! a server; [`offline`] feeds them the history of a dataset version, day by day, and writes `features/node_history`.
//! [`target`] says what a model forecasts, [`dataset`] hands a features dataset to a trainer.
//!
//! This crate never reads the clock, knows no model and no source of samples.

mod calendar;
pub mod catalogue;
pub mod cluster_state;
mod columns;
pub mod command;
pub mod dataset;
pub mod docs;
pub mod habit;
pub mod labels;
pub mod offline;
pub mod online;
pub mod patterns;
pub mod raw;
pub mod selection;
pub mod settings;
mod slot;
pub mod target;
pub mod windows;

pub use calendar::{Calendar, Country, TimeZoneName};
pub use catalogue::{Feature, NODE_HISTORY, Topic};
pub use dataset::{FeatureTable, LoadError};
pub use online::{GridRows, OnlineFeatures};
pub use selection::{Selection, UnknownFeature};
pub use settings::{FeatureSettings, WindowRules};
pub use slot::Dropped;
pub use target::{HORIZON_HOURS, RecentHour, Target, TargetKind};
pub use windows::{Incident, NodeWindows};

/// Five minutes: the step of the grid that features and forecasts live on.
pub const GRID_STEP_MS: i64 = cluster::GRID_STEP_MS;
