//! The load predictor: P50 and P90 of a node's CPU and memory utilization at one, two and four hours.
//!
//! One head per resource and horizon. A head forecasts the residual against a baseline (a mixture of columns such as
//! the last value and the mean of the last hour) with one booster per quantile, shrinks it by a blend weight chosen on
//! rows that the boosters have not seen, and shifts the upper quantile until it covers what it promises (split
//! conformal). Where the median booster has no skill over the baseline, the baseline answers. `README.md` of this
//! crate describes the algorithm.

mod baseline;
mod conformal;
mod explain;
mod files;
mod fit;
mod forecast;
mod head;
mod offsets;
mod online;
mod predictor;

pub use baseline::{Baseline, BaselinePart};
pub use conformal::{Conformal, ConformalGroups, conformal_offset};
pub use explain::{Explanation, FeatureContribution};
pub use files::{HEADS_FILE, OFFSETS_FILE};
pub use fit::{FittedHead, HeadData, HeadEvidence, HeadSettings, LearningCurves, fit_head, refit_head};
pub use forecast::{HeadForecasts, HeadKey, Horizon, LoadForecast, Quantile};
pub use head::LoadHead;
pub use offsets::{FORGOTTEN_AFTER_MS, OffsetRule, OffsetTracker, RATE_PER_ERROR, StartOffsets, Tally};
pub use online::OnlineOffset;
pub use predictor::LoadPredictor;
