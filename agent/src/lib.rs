//! Deep Q-learning for placement: how the weights of [`models::placement::PlacementNetwork`] come about.
//!
//! ```text
//! environment ─▶ Step, n_step ─▶ Transition ─▶ Replay ─▶ Learner (double DQN, target network, Adam) ─▶ PlacementNetwork
//! ```
//! Double DQN (van Hasselt, Guez and Silver 2016) with n-step returns (Sutton and Barto, chapter 7), a target network,
//! uniform or prioritised replay (Schaul et al. 2016) and Huber loss. An action is a row of features, so an action set has
//! any size. This crate knows neither clusters nor files: whoever trains brings transitions and keeps the bytes of
//! [`Learner::save`]. The same settings, seed and transitions give the same weights, bit for bit.

mod checkpoint;
mod explore;
mod learner;
mod network;
mod replay;
mod settings;
mod transition;

pub use checkpoint::CheckpointError;
pub use explore::Explorer;
pub use learner::{LearnError, Learner, Update};
pub use replay::{Drawn, Replay};
pub use settings::{DqnSettings, Priority, SettingError};
pub use transition::{End, NoReturn, Step, Transition, n_step};
