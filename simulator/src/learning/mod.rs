//! The simulator as an environment to learn in.
//!
//! [`Observer`] turns a decision into rows of the group `cluster_state`, one per candidate; policies and learner share it.
//! [`Episode`] runs a scenario with a chooser, and tells afterwards what each choice came to ([`Experience`]): the cost that
//! the pod added on its node hour by hour, by parts. What scores rows is unknown here ([`Scores`]).

mod episode;
mod gauge;
mod observer;
mod reward;

pub use episode::{Chooser, Episode, EpisodeSettings, Experience, Played};
pub use gauge::measured_scale;
pub use observer::Observer;
pub(crate) use observer::expected_usage;
pub use reward::{Hindsight, PARTS, Parts, Smoothing};

use cluster::score::ValueScale;

/// Scores candidates from their rows. Implemented by whoever knows the model.
pub trait Scores: Send + Sync + std::fmt::Debug {
    /// Fills `scores` with one value per row of `rows`, higher is better.
    fn score(&self, rows: &[f32], scores: &mut Vec<f32>);

    /// How differences of these values are read.
    fn scale(&self) -> ValueScale;
}
