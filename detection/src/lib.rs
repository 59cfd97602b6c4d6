//! An anomaly detector at work.
//!
//! - [`table`]: rows of CSV and Parquet files, in and out, a batch at a time; [`plan`]: which of their columns a detector
//!   reads and what becomes of them; [`folder`]: a detector's folder, read and checked.
//! - [`scorer`]: one reading after the other becomes a verdict: score, severity, blame, recommended response.
//! - [`predict`]: a file in, a file out. [`stream`]: JSON lines in and out, over standard input or Apache Kafka.
//! - [`watch`]: a live Prometheus in, alerts to Alertmanager out. [`metrics`]: what all of them count.
//!
//! Nothing is trained here, and nothing here knows a registry: whoever calls hands in a detector.

pub mod folder;
pub mod metrics;
pub mod plan;
pub mod predict;
pub mod quality;
pub mod scorer;
pub mod stream;
pub mod table;
pub mod testing;
pub mod watch;
