//! A made-up cluster that looks like one.
//!
//! The history comes in three steps, each a function of the seed alone:
//! 1. [`plan`] plays controllers and scheduler minute by minute: which pod lives where and when, what goes wrong.
//! 2. [`demand`] draws each workload's demand with the noise that cluster, zones and workloads share.
//! 3. [`node`] derives each node's measured values from what its pods use, step by step.
//!
//! Every purpose has a random generator of its own, and nodes are independent of each other given the first two steps,
//! so the number of threads changes nothing. Days are written as they are finished: memory is bounded by one day.

pub mod demand;
pub mod incident;
mod marker;
pub mod node;
pub mod plan;
mod run;
mod settings;
pub mod shape;
pub mod tables;
pub mod usage;
pub mod workload;

pub use marker::{holds_other_history, present_cluster};
pub use run::{SynthesisSummary, run, synthesize};
pub use settings::{Settings, SynthesizeArgs};
