//! A cluster that can be asked "what would have happened?".
//!
//! ```text
//! input ─▶ world::Scenario ─▶ engine::Simulation ◀─▶ policy::Policy      what is seen, what is chosen
//!  synthetic, openb,              │
//!  collector's tables             ▼
//!                           outcome::Outcome ─▶ compare, replay ─▶ tables and pages
//! ```
//! A scenario is immutable and shared. A simulation runs it under one policy with one seed; the same three give the same
//! outcome, bit for bit. A policy sees what it would see live (`engine::View`): requests at once, usage as samples that
//! are 30 s apart and late.

pub mod command;
pub mod compare;
pub mod engine;
pub mod foresight;
pub mod input;
pub mod learning;
pub mod outcome;
pub mod policy;
pub mod replay;
#[cfg(test)]
mod testing;
pub mod world;
