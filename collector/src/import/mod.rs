//! `collector import`: history from files.

pub mod csv;
pub mod mapping;
pub mod openmetrics;
mod rates;
mod summary;

use crate::raw;
use crate::sources;
use anyhow::Context;
use clap::{Args, Subcommand};
use mapping::Mapping;
use runtime::WrongUse;
use runtime::settings::Span;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use store::{DatasetInput, Store};
pub use summary::{Examples, ImportSummary};

/// Which kind of file.
#[derive(Debug, Clone, Subcommand)]
pub enum ImportCommand {
    /// OpenMetrics text with the metric names of node_exporter and kube-state-metrics
    Openmetrics(OpenmetricsArgs),
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

/// OpenMetrics files and the distance of the samples in them.
#[derive(Debug, Clone, Args)]
pub struct OpenmetricsArgs {
    /// Distance of samples: times are rounded down to it, so that samples of several exporters meet in one row
    #[arg(long, default_value = "30s")]
    pub step: Span,
    /// The files.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// The files to read and what their columns mean.
#[derive(Debug, Clone, Args)]
pub struct CsvArgs {
    /// TOML file that says what the columns mean; collector/mappings has examples. `delimiter` and `decimal` say how the
    /// text is written, `time.unit` and `time.format` how its times are
    #[arg(long, value_name = "FILE")]
    pub mapping: PathBuf,
    /// The files.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// Runs the import and prints what it did.
///
/// # Errors
/// When a file cannot be read or written.
pub fn run(command: &ImportCommand, store: &Store) -> anyhow::Result<()> {
    let (summary, json) = match command {
        ImportCommand::Csv(args) => {
            (import_csv(&Mapping::load(&args.mapping)?, &args.files.files, store)?, args.files.json)
        }
        ImportCommand::Openmetrics(args) => {
            (import_openmetrics(args.step.millis(), &args.files.files, store)?, args.files.json)
        }
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!("{summary}");
    }
    if summary.rows == 0 {
        let examples: Vec<&str> = summary.examples.iter().collect();
        let said = if examples.is_empty() { String::new() } else { format!(": {}", examples.join("; ")) };
        anyhow::bail!("nothing was written, since none of {} lines could be used{said}", summary.lines);
    }
    Ok(())
}

/// Reads CSV files into `raw/node_metrics`. The same file again changes nothing.
///
/// # Errors
/// When a file cannot be read or the table cannot be written. The files before it are in the table then.
pub fn import_csv(mapping: &Mapping, files: &[PathBuf], store: &Store) -> anyhow::Result<ImportSummary> {
    let mut summary = ImportSummary::default();
    let bar = runtime::progress::bar(files.len() as u64, "importing");
    for path in files {
        let content = csv::read_file(path, mapping)?;
        let mut file = ImportSummary {
            files: 1,
            lines: content.lines,
            drops: content.drops,
            examples: content.examples,
            without_zone: content.without_zone,
            ..ImportSummary::default()
        };
        for (column, drops) in content.column_drops {
            file.drops.merge(&drops);
            file.columns.insert(column.to_owned(), drops);
        }
        file.nodes = content.nodes.keys().map(|node| node.as_str().to_owned()).collect();
        for (date, nodes) in raw::by_day(content.nodes.into_iter().collect()) {
            file.add(date, &raw::merge_node_day(store, date, nodes)?);
        }
        sources::record(store, input("csv", path)?, &file.drops)?;
        summary.merge(file);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(summary)
}

/// Reads OpenMetrics files, in order of time, into `raw/node_metrics`. The same files again change nothing.
///
/// # Errors
/// When a file cannot be read, breaks the format, or the table cannot be written. Days before that are in the table.
pub fn import_openmetrics(step_ms: i64, files: &[PathBuf], store: &Store) -> anyhow::Result<ImportSummary> {
    if step_ms <= 0 {
        return Err(WrongUse("--step is 0s, want more".into()).into());
    }
    let mut importer = openmetrics::Importer::new(step_ms);
    let bar = runtime::progress::bar(files.len() as u64, "importing");
    for path in files {
        let file = std::fs::File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
        let text = crate::text::unpacked(BufReader::with_capacity(1 << 16, file))
            .and_then(crate::text::utf8)
            .with_context(|| format!("failed to read `{}`", path.display()))?;
        importer
            .read(BufReader::with_capacity(1 << 16, text))
            .with_context(|| format!("failed to import `{}`", path.display()))?;
        importer.write(store, false)?;
        bar.inc(1);
    }
    importer.write(store, true)?;
    bar.finish_and_clear();
    let summary = importer.into_summary();
    for path in files {
        sources::record(store, input("openmetrics", path)?, &raw::DropCounts::default())?;
    }
    let all = DatasetInput { kind: "openmetrics".into(), name: "all files together".into(), hash: None };
    sources::record(store, all, &summary.drops)?;
    Ok(summary)
}

fn input(kind: &str, path: &Path) -> anyhow::Result<DatasetInput> {
    let name = path.file_name().context("a file needs a name")?.to_string_lossy().into_owned();
    Ok(DatasetInput { kind: kind.into(), name, hash: Some(runtime::files::sha256_file(path)?) })
}
