//! What can be made to happen to a node's samples, and the seeded randomness that says when.
//!
//! `collector inject` puts these faults into copies of a history, so that a detector can be judged on real series; the
//! trainer puts them into replays of its selection slice, so that a threshold is chosen from hundreds of incidents instead of
//! the dozen that somebody labelled. No server links this crate.

mod fault;
pub mod noise;

pub use fault::{Effect, InjectedFault};
