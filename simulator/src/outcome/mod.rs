//! What came of a run: the design's outcome metrics and the weighted cost.

mod cost;
mod meter;
mod summary;

pub use cost::{CostPart, CostWeights};
pub(crate) use meter::Meter;
pub use summary::{Outcome, Series};
