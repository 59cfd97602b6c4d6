//! The first step of the daily retrain: bring the raw tables up to date, freeze them as a dataset version.

use crate::prometheus::PrometheusArgs;
use clap::{ArgMatches, Args};
use runtime::ConfigFile;
use runtime::http::HttpArgs;
use std::path::PathBuf;
use store::Store;

/// Where the history comes from and where the manifest goes.
#[derive(Debug, Clone, Args)]
pub struct CollectArgs {
    /// Write the manifest of the dataset version to this file
    #[arg(long, value_name = "FILE")]
    pub manifest_out: Option<PathBuf>,
    /// Print the manifest
    #[arg(long)]
    pub json: bool,
    /// The server; without an address the tables stay as they are, and empty ones get a synthetic cluster
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Time limits, authority, credentials.
    #[command(flatten)]
    pub http: HttpArgs,
}

/// Runs the step.
///
/// # Errors
/// When the source fails or the tables cannot be frozen.
pub fn run(args: &CollectArgs, _config: &ConfigFile, _given: &ArgMatches, _store: &Store) -> anyhow::Result<()> {
    anyhow::bail!("nothing to collect for {:?} yet", args.manifest_out)
}
