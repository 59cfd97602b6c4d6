//! Judges a dataset version.

use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use store::Store;

/// Section `[collector.quality]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityArgs {
    /// Dataset version: its manifest file or its id [default: the newest]
    #[arg(long, env = "BERTH_QUALITY_DATASET", value_name = "FILE|ID")]
    pub dataset: Option<String>,
    /// Write the figures as JSON
    #[arg(long, env = "BERTH_QUALITY_JSON_OUT", value_name = "FILE")]
    pub json_out: Option<PathBuf>,
    /// Write a page with charts
    #[arg(long, env = "BERTH_QUALITY_HTML_OUT", value_name = "FILE")]
    pub html_out: Option<PathBuf>,
    /// Share of expected samples that must be there
    #[arg(long, env = "BERTH_QUALITY_MIN_COVERAGE", default_value_t = 0.95, value_name = "RATIO")]
    pub min_coverage: f64,
}

/// Judges the dataset and applies the gate.
///
/// # Errors
/// [`runtime::GateRefused`] when the gate says no; else when the dataset cannot be read.
pub fn run(args: &QualityArgs, _store: &Store) -> anyhow::Result<()> {
    anyhow::bail!("the quality of {:?} cannot be judged yet", args.dataset)
}
