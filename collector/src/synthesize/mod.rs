//! A made-up cluster that looks like one.

use clap::Args;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use store::Store;

/// Section `[collector.synthesize]`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthesizeArgs {
    /// How many nodes
    #[arg(long, env = "BERTH_SYNTHESIZE_NODES", default_value_t = 12)]
    pub nodes: usize,
    /// How many days
    #[arg(long, env = "BERTH_SYNTHESIZE_DAYS", default_value_t = 35)]
    pub days: usize,
    /// The same seed gives the same cluster
    #[arg(long, env = "BERTH_SYNTHESIZE_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Distance of samples
    #[arg(long, env = "BERTH_SYNTHESIZE_STEP", default_value = "30s")]
    pub step: Span,
    /// Day after the last one [default: today, UTC]
    #[arg(long, env = "BERTH_SYNTHESIZE_END", value_name = "DATE")]
    pub end: Option<String>,
    /// Also write OpenMetrics text into this folder
    #[arg(long, env = "BERTH_SYNTHESIZE_OPENMETRICS", value_name = "DIR")]
    pub openmetrics: Option<PathBuf>,
}

/// Runs the generator.
///
/// # Errors
/// When a setting makes no sense or the disk is full.
pub fn run(args: &SynthesizeArgs, _store: &Store) -> anyhow::Result<()> {
    anyhow::bail!("{} nodes cannot be made up yet", args.nodes)
}
