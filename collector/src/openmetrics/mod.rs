//! OpenMetrics text with the metric names of the real exporters: reading and writing.

pub mod export;
pub mod nodes;
pub mod parse;
pub mod pods;
mod synthetic;
pub mod write;

pub use export::{ExportCommand, run_export};
pub use synthetic::SyntheticExport;
