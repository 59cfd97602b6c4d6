//! The figures of the design's section "Honest figures", in one place: nothing else in Berth computes an error of a
//! forecast.

mod errors;
mod online;
mod overload;
mod quantile;
mod scores;
mod seeds;

pub(crate) use errors::mean;
pub use errors::{
    POINTS, accuracy, mean_absolute_error, median_r2_score, r2_score, root_mean_squared_error, share_within,
    skill_score,
};
pub use online::{Replay, ReplayInput, replay};
pub use overload::{OVERLOAD, OverloadScores};
pub use quantile::{coverage, pinball_loss};
pub use scores::{Outcomes, Scores};
pub use seeds::mean_with_interval;
