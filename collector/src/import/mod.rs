//! `collector import`: history from files.

pub mod csv;
pub mod mapping;
pub mod openmetrics;
mod summary;

use crate::prometheus::queries::QuerySettings;
use crate::prometheus::{PrometheusArgs, Source};
use crate::raw;
use crate::sources;
use anyhow::Context;
use clap::{ArgMatches, Args, Subcommand};
use cluster::IGNORED_NODES;
use mapping::Mapping;
use runtime::ConfigFile;
use runtime::http::HttpArgs;
use runtime::settings::Span;
use std::path::{Path, PathBuf};
use store::{DatasetInput, Store};
pub use summary::{Examples, ImportSummary};

/// Which kind of file.
#[derive(Debug, Clone, Subcommand)]
pub enum ImportCommand {
    /// OpenMetrics text with the metric names of node_exporter and kube-state-metrics; wants Prometheus on this machine
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

/// OpenMetrics files, and how the nodes in them are told apart. What the flags mean is told by `collector backfill`.
#[derive(Debug, Clone, Args)]
pub struct OpenmetricsArgs {
    /// Sample interval of the rows [default: that of the text]
    #[arg(long)]
    pub step: Option<Span>,
    /// Which cluster, where the text holds several: a label and its value there, such as cluster=prod
    #[arg(long, value_name = "NAME=VALUE")]
    pub cluster_label: Option<String>,
    /// Matchers for every selector of every query, such as {cluster="prod",region=~"eu-.*"}
    #[arg(long, value_name = "MATCHERS")]
    pub selector: Option<String>,
    /// Labels that name a series' node, beside node, kubernetes_node, node_name and the like
    #[arg(long = "node-label", value_delimiter = ',', value_name = "NAME")]
    pub node_labels: Vec<String>,
    /// Nodes that are left out, since node_exporter cannot run there: labels or taints (key or key=value), or names
    /// (name=edge-*); an empty text leaves out none
    #[arg(long, env = "BERTH_IGNORE_NODES", value_delimiter = ',', default_values_t = IGNORED_NODES.map(str::to_owned), value_name = "RULE")]
    pub ignore_nodes: Vec<String>,
    /// Share of the cluster's nodes that must have metrics of their own, or the node identity is taken for wrong
    #[arg(long, default_value_t = 0.9, value_name = "RATIO")]
    pub min_matched: f64,
    /// The files.
    #[command(flatten)]
    pub files: FilesArgs,
}

impl OpenmetricsArgs {
    /// What is asked of the server at this address.
    fn source(&self, url: Option<String>, step: Span, queries: &QuerySettings) -> anyhow::Result<Source> {
        let args = PrometheusArgs {
            prometheus: url,
            step,
            cluster_label: self.cluster_label.clone(),
            selector: self.selector.clone(),
            node_labels: self.node_labels.clone(),
            ignore_nodes: self.ignore_nodes.clone(),
            min_matched: self.min_matched,
            ..PrometheusArgs::default()
        };
        Source::new(args, HttpArgs::default(), queries.clone())
    }
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
pub fn run(command: &ImportCommand, config: &ConfigFile, given: &ArgMatches, store: &Store) -> anyhow::Result<()> {
    let (summary, json) = match command {
        ImportCommand::Csv(args) => {
            (import_csv(&Mapping::load(&args.mapping)?, &args.files.files, store)?, args.files.json)
        }
        ImportCommand::Openmetrics(args) => {
            let queries = config.resolve("collector.queries", &QuerySettings::default(), given)?;
            (import_openmetrics(args, &queries, store)?, args.files.json)
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

/// Reads OpenMetrics files into the raw tables, all together as one history. The same files again change nothing.
///
/// # Errors
/// See [`openmetrics::import`].
pub fn import_openmetrics(
    args: &OpenmetricsArgs,
    queries: &QuerySettings,
    store: &Store,
) -> anyhow::Result<ImportSummary> {
    let files = &args.files.files;
    let source = |url, step| args.source(url, step, queries);
    let summary = crate::cli::block_on(openmetrics::import(files, args.step, store, source))?;
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
