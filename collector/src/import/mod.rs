//! `collector import`: history from files.

use clap::{Args, Subcommand};
use std::path::PathBuf;
use store::Store;

/// Which kind of file.
#[derive(Debug, Clone, Subcommand)]
pub enum ImportCommand {
    /// OpenMetrics text with the metric names of node_exporter and kube-state-metrics
    Openmetrics(FilesArgs),
    /// CSV files (plain or gzip), read as a mapping file says
    Csv(CsvArgs),
}

/// The files to read.
#[derive(Debug, Clone, Args)]
pub struct FilesArgs {
    /// The files, in order of time
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// The files to read and what their columns mean.
#[derive(Debug, Clone, Args)]
pub struct CsvArgs {
    /// TOML file that says what the columns mean; collector/mappings has examples
    #[arg(long, value_name = "FILE")]
    pub mapping: PathBuf,
    /// The files.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// Runs the import.
///
/// # Errors
/// When a file cannot be read or written.
pub fn run(command: &ImportCommand, _store: &Store) -> anyhow::Result<()> {
    anyhow::bail!("{command:?} is not available yet")
}
