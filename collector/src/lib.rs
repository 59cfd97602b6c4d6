//! History into raw Parquet tables: from Prometheus, OpenMetrics text, CSV traces or a synthetic cluster.
//!
//! Every source hands its samples to [`raw`], which counts and drops what cannot be true and writes whole day parts.

pub mod cli;
pub mod collect;
pub mod datasets;
pub mod import;
pub mod inject;
pub mod openmetrics;
pub mod prometheus;
pub mod quality;
pub mod raw;
pub mod sources;
pub mod synthesize;
pub mod testing;
pub mod text;
pub mod tsdb;
