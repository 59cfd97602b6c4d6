//! OpenMetrics text: reading and writing.

pub mod parse;

use clap::{Args, Subcommand};
use std::path::PathBuf;
use store::Store;

/// Which form to write.
#[derive(Debug, Clone, Subcommand)]
pub enum ExportCommand {
    /// OpenMetrics text with the metric names of node_exporter and kube-state-metrics, for `promtool tsdb create-blocks-from openmetrics`
    Openmetrics(ExportArgs),
}

/// Where to write.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Folder for the files
    #[arg(value_name = "DIR")]
    pub out: PathBuf,
}

/// Runs the export.
///
/// # Errors
/// When a table cannot be read or a file cannot be written.
pub fn run_export(command: &ExportCommand, _store: &Store) -> anyhow::Result<()> {
    anyhow::bail!("{command:?} is not available yet")
}

/// placeholder
pub struct SyntheticExport;
impl SyntheticExport {
    pub fn new(_f: &std::path::Path, _p: &crate::synthesize::plan::Plan, _step: i64) -> anyhow::Result<Self> { anyhow::bail!("openmetrics is not available yet") }
    pub fn day(&mut self, _d: i64, _n: &[crate::synthesize::node::NodeDay]) -> anyhow::Result<()> { Ok(()) }
    pub fn files(&self) -> u64 { 0 }
}
