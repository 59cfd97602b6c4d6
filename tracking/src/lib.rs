//! Experiments, runs, artifacts and the model registry, in MLflow's words: one trait, [`Tracker`], over an embedded
//! store and over an MLflow server.

mod error;
mod number;
mod paths;
mod query;
mod tracker;
pub mod types;

pub use error::{TrackingError, optional};
pub use query::{Comparison, Condition, Direction, Field, Operand, RunQuery};
pub use tracker::Tracker;
pub use types::*;
