//! Readings as JSON objects, one after the other: each gets an answer, also those that make no sense.

mod engine;
pub mod kafka;
pub mod lines;

pub use engine::{Answer, Engine, Origin, StreamSummary};
