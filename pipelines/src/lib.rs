//! The local runner of pipeline definitions.
//!
//! A definition is a Kubeflow Pipelines v2 file (IR YAML, schema version 2.1.0) with container components. Kubeflow runs
//! it on a cluster; this crate runs the same file on one machine, each container's command as a local process.
//!
//! ```text
//! file ─▶ spec (typed, unknown fields refused) ─▶ plan (checked, in dependency order) ─▶ run (processes, results, logs)
//! ```
//! What a step does is none of this crate's business: it knows commands, files and exit codes.

pub mod cli;
pub mod placeholder;
pub mod plan;
pub mod run;
pub mod spec;
mod summary;
