//! The algorithms: fit, predict, explain, save, load.
//!
//! This crate is arithmetic only: it reads no files, opens no sockets, spawns no tasks of its own and never asks for
//! the time. Whoever calls it (the trainer, the server) brings the matrices and keeps the bytes.
//!
//! - [`FeatureMatrix`], [`FitData`], [`Learner`], [`Regressor`]: what every algorithm reads and gives.
//! - [`learners`]: the algorithms behind these traits, from persistence to gradient-boosted trees.
//! - [`load`]: the load predictor, which bundles one booster per resource, horizon and quantile.
//! - [`placement`]: the network that scores candidate nodes.
//! - [`anomaly`]: the anomaly detector, isolation forests over groups of features.
//! - [`evidence`]: how sure it is that one model is better than another.
//! - [`artifact`]: the files of a model with their metadata, as bytes. [`export`]: XGBoost's formats and ONNX.

pub mod anomaly;
pub mod artifact;
mod error;
pub mod evidence;
pub mod export;
mod learner;
pub mod learners;
pub mod load;
mod loss;
mod matrix;
pub mod placement;

pub use error::ModelError;
pub use learner::{Contributions, FitData, FitOptions, FitRows, Importance, Learner, Regressor, load_regressor};
pub use loss::{Loss, pinball_loss};
pub use matrix::FeatureMatrix;
