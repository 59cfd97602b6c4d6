//! Train, compare, validate, register, explain.
//!
//! - [`rows`]: feature rows with what came afterwards; [`folds`]: cuts by time; [`evaluate`]: every figure, once.
//! - [`recipe`]: how the load predictor is made by default; [`heads`]: fitting one head; [`train`]: all of them.
//! - [`placement`]: the agent, from simulated clusters to its gate.
//! - [`anomaly`]: the anomaly detector, from labelled rows to a verdict.
//! - [`validate`]: the gate; [`registry`]: versions, champion, the way back.
//! - [`compare`], [`results`]: candidates and peers on equal terms; [`gate_results`]: how often gate and rollout err;
//!   [`explain`]: why a forecast is what it is.
//!
//! No HTTP serving here, and no live cluster: everything comes from a features dataset and goes to a folder and to
//! [`tracking`].

pub mod anomaly;
pub mod cli;
pub mod compare;
pub mod evaluate;
pub mod explain;
pub mod folds;
pub mod gate_results;
pub mod heads;
pub mod list;
pub mod placement;
pub mod recipe;
pub mod registry;
pub mod results;
pub mod rows;
#[cfg(test)]
mod testing;
mod text_table;
pub mod train;
pub mod validate;
mod workers;
