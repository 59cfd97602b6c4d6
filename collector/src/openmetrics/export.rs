//! `collector export openmetrics`: node metrics of any origin as text that a real Prometheus can be filled with.

use super::nodes::{ExportNode, NodeCounters, write_nodes};
use super::write::Writer;
use anyhow::Context;
use clap::{Args, Subcommand};
use cluster::{DAY_MS, HOUR_MS, NODE_METRICS, NodeMetric, NodeSample};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store::{Store, day_start};

/// Which form to write.
#[derive(Debug, Clone, Subcommand)]
pub enum ExportCommand {
    /// OpenMetrics text with the metric names of node_exporter and kube-state-metrics, for `promtool tsdb create-blocks-from openmetrics`
    Openmetrics(ExportArgs),
}

/// Where to write.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Folder for the files, one for every two hours
    #[arg(value_name = "DIR")]
    pub out: PathBuf,
    /// First day (UTC) [default: the first there is]
    #[arg(long, value_name = "DATE")]
    pub from: Option<chrono::NaiveDate>,
    /// Last day (UTC) [default: the last there is]
    #[arg(long, value_name = "DATE")]
    pub to: Option<chrono::NaiveDate>,
    /// Only these nodes
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub node: Vec<String>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prometheus' blocks hold two hours, and promtool reads a whole file once per block: smaller files load fastest.
pub const FILE_MS: i64 = 2 * HOUR_MS;

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExportSummary {
    /// Files.
    pub files: u64,
    /// Rows of node metrics in them.
    pub rows: u64,
}

/// Runs the export.
///
/// # Errors
/// When a table cannot be read or a file cannot be written.
pub fn run_export(command: &ExportCommand, store: &Store) -> anyhow::Result<()> {
    let ExportCommand::Openmetrics(args) = command;
    let summary = export(args, store)?;
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("{} files with {} rows of node metrics in `{}`", summary.files, summary.rows, args.out.display());
    }
    Ok(())
}

/// Writes node metrics as OpenMetrics text. Traces know no pods, so pods are not written.
///
/// # Errors
/// See [`run_export`].
pub fn export(args: &ExportArgs, store: &Store) -> anyhow::Result<ExportSummary> {
    let mut summary = ExportSummary::default();
    let mut nodes: BTreeMap<String, (ExportNode, NodeCounters)> = BTreeMap::new();
    for date in store.days(&NODE_METRICS)? {
        if args.from.is_some_and(|from| date < from) || args.to.is_some_and(|to| date > to) {
            continue;
        }
        let mut samples = read_day(store, date)?;
        samples.retain(|node, _| args.node.is_empty() || args.node.contains(node));
        for (node, samples) in &samples {
            let number = nodes.len();
            nodes.entry(node.clone()).or_insert_with(|| (described(node, number, samples), NodeCounters::default()));
        }
        for start in (day_start(date)..day_start(date) + DAY_MS).step_by(FILE_MS as usize) {
            let mut readings = Vec::new();
            for (name, (node, counters)) in &mut nodes {
                let all = samples.get(name).map_or(&[][..], Vec::as_slice);
                let span = within(all, start);
                summary.rows += span.len() as u64;
                if !span.is_empty() {
                    readings.push(counters.read(node, span));
                }
            }
            if !readings.is_empty() {
                write_file(&args.out, start, |writer| write_nodes(writer, &readings))?;
                summary.files += 1;
            }
        }
    }
    anyhow::ensure!(summary.files > 0, "`{}` has no node metrics of these days and nodes", store.root().display());
    Ok(summary)
}

/// The samples of one file's span; `samples` are in order.
pub fn within(samples: &[NodeSample], start: i64) -> &[NodeSample] {
    let from = samples.partition_point(|sample| sample.ts < start);
    let to = samples.partition_point(|sample| sample.ts < start + FILE_MS);
    &samples[from..to]
}

/// Writes the file of the span that begins at `start`, whole.
///
/// # Errors
/// When the disk is full or not writable.
pub fn write_file(
    folder: &Path,
    start: i64,
    fill: impl FnOnce(&mut Writer<&mut std::io::BufWriter<&std::fs::File>>) -> std::io::Result<()>,
) -> anyhow::Result<PathBuf> {
    let time = chrono::DateTime::from_timestamp_millis(start).context("a time beyond the calendar")?;
    let path = folder.join(format!("{}.openmetrics.txt", time.format("%Y-%m-%dT%H")));
    runtime::files::write_atomic(&path, |output| {
        let mut writer = Writer::new(output);
        fill(&mut writer)?;
        writer.end()
    })?;
    Ok(path)
}

/// What the exporters would tell of a node that only its samples are known of.
fn described(name: &str, number: usize, samples: &[NodeSample]) -> ExportNode {
    let largest = |metric: NodeMetric| samples.iter().map(|sample| sample.get(metric)).fold(f64::NAN, f64::max);
    let cores = largest(NodeMetric::CpuAllocatable).max(largest(NodeMetric::CpuUsed)).ceil().clamp(1.0, 4_096.0);
    let memory = largest(NodeMetric::MemoryAllocatable).max(largest(NodeMetric::MemoryUsed));
    ExportNode {
        name: name.to_owned(),
        address: format!("10.30.{}.{}", number / 250, number % 250 + 4),
        zone: "zone-a".into(),
        machine_type: "unknown".into(),
        cores: cores as u32,
        memory: if memory.is_nan() { 0.0 } else { memory },
        filesystem: 1e11,
    }
}

/// The samples of a day by node, in order of time.
///
/// # Errors
/// When a part is damaged.
pub fn read_day(store: &Store, date: chrono::NaiveDate) -> anyhow::Result<BTreeMap<String, Vec<NodeSample>>> {
    let frame = store.read_day(&NODE_METRICS, date, &[])?;
    let doing = || format!("node metrics of {date} have an unexpected type");
    let times = frame.column("ts").and_then(|column| column.datetime().cloned()).with_context(doing)?;
    let names = frame.column("node").and_then(|column| column.str().cloned()).with_context(doing)?;
    let mut metrics = Vec::with_capacity(NodeMetric::COUNT);
    for metric in NodeMetric::ALL {
        metrics.push(frame.column(metric.column()).and_then(|column| column.f64().cloned()).with_context(doing)?);
    }
    let mut nodes: BTreeMap<String, Vec<NodeSample>> = BTreeMap::new();
    for row in 0..frame.height() {
        let (Some(ts), Some(node)) = (times.physical().get(row), names.get(row)) else { continue };
        let mut sample = NodeSample::empty(ts);
        for (metric, values) in NodeMetric::ALL.iter().zip(&metrics) {
            sample.set(*metric, values.get(row).unwrap_or(f64::NAN));
        }
        match nodes.get_mut(node) {
            Some(samples) => samples.push(sample),
            None => drop(nodes.insert(node.to_owned(), vec![sample])),
        }
    }
    Ok(nodes)
}
