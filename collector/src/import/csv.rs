//! CSV traces, plain or gzip, read as a mapping says.

use super::mapping::{Allocatable, BadTime, Mapping, NodeSource, ShareOf};
use super::summary::Examples;
use crate::raw::{DropCounts, DropReason};
use crate::text::{Dialect, likely_delimiter, unpacked, utf8};
use anyhow::Context;
use cluster::{NodeMetric, NodeName, NodeSample};
use csv::ByteRecord;
use runtime::WrongUse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// What was read of a file.
#[derive(Debug, Default)]
pub struct CsvContent {
    /// By node, in the order of the file.
    pub nodes: BTreeMap<NodeName, Vec<NodeSample>>,
    /// Rows below the header, unreadable ones included.
    pub lines: u64,
    /// What was left out, of rows as a whole.
    pub drops: DropCounts,
    /// What was left out, by table column.
    pub column_drops: BTreeMap<&'static str, DropCounts>,
    /// The first of what was left out.
    pub examples: Examples,
    /// Times that do not say where, and were taken for UTC.
    pub without_zone: u64,
}

/// Reads one file.
///
/// # Errors
/// When it cannot be read to its end (a damaged gzip, for instance), or lacks a column that the mapping names.
pub fn read_file(path: &Path, mapping: &Mapping) -> anyhow::Result<CsvContent> {
    let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let input = unpacked(BufReader::with_capacity(1 << 16, file))
        .and_then(utf8)
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    read(input, &file_name, mapping).with_context(|| format!("failed to import `{}`", path.display()))
}

/// A table column and the place of its values in a record.
struct Wanted<'a> {
    metric: NodeMetric,
    at: usize,
    scale: f64,
    of: Option<ShareOf>,
    invalid: &'a [f64],
}

/// Reads the rows of one stream. `file_name` matters where the mapping takes the node's name from it.
///
/// # Errors
/// See [`read_file`].
pub fn read(input: impl Read, file_name: &str, mapping: &Mapping) -> anyhow::Result<CsvContent> {
    let dialect = mapping.dialect()?;
    let mut reader = csv::ReaderBuilder::new().delimiter(dialect.delimiter()).from_reader(input);
    let header = reader.byte_headers().context("failed to read the header line")?.clone();
    if header.len() == 1
        && let Some(delimiter) = likely_delimiter(&String::from_utf8_lossy(&header[0]))
    {
        let said = format!(
            "the header is one column. Columns seem to be separated by {delimiter:?}: set `delimiter` in the mapping"
        );
        return Err(WrongUse(said).into());
    }
    let place = |name: &str| -> anyhow::Result<usize> {
        header.iter().position(|column| column == name.as_bytes()).ok_or_else(|| {
            let has =
                header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join("`, `");
            WrongUse(format!("the file has no column `{name}`, which the mapping names. It has `{has}`")).into()
        })
    };
    let time_at = place(&mapping.time.column)?;
    let origin = mapping.time.origin_ms().map_err(WrongUse)?;
    let (node_at, fixed_node) = match &mapping.node {
        NodeSource::Column(column) => (Some(place(column)?), String::new()),
        NodeSource::Constant(node) => (None, node.clone()),
        NodeSource::FileNameUntil(end) => (None, file_name.split(end.as_str()).next().unwrap_or(file_name).to_owned()),
    };
    let mut wanted = Vec::with_capacity(mapping.columns.len());
    for (column, source) in &mapping.columns {
        let Some(metric) = NodeMetric::from_column(column) else { continue };
        let at = place(&source.column)?;
        wanted.push(Wanted { metric, at, scale: source.scale, of: source.of, invalid: &source.invalid });
    }

    let mut content = CsvContent::default();
    let mut record = ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => content.lines += 1,
            // The row has more or fewer fields than the header; the next one may be well.
            Err(error) if matches!(error.kind(), csv::ErrorKind::UnequalLengths { .. }) => {
                content.lines += 1;
                let line = content.lines;
                content.leave_out(DropReason::Unreadable, || {
                    format!("row {line} has {} fields, the header {}", record.len(), header.len())
                });
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("failed to read on after row {}", content.lines)),
        }
        let field = |at: usize| std::str::from_utf8(record.get(at).unwrap_or_default()).map(str::trim);
        let line = content.lines;
        let node = match node_at.map_or(Ok(fixed_node.as_str()), &field) {
            Ok(node) if !node.is_empty() => node,
            _ => {
                content.leave_out(DropReason::NoKey, || format!("row {line} names no node"));
                continue;
            }
        };
        let text = field(time_at);
        let moment = match text.map_or(Err(BadTime::Unreadable), |text| mapping.time.read(text, origin)) {
            Ok(moment) => moment,
            Err(problem) => {
                let column = &mapping.time.column;
                content.leave_out(DropReason::NotATime, || {
                    let why = not_a_time(problem, mapping.time.unit.as_str());
                    format!("row {line} has {:?} in `{column}`, {why}", text.unwrap_or("bytes that are not UTF-8"))
                });
                continue;
            }
        };
        content.without_zone += u64::from(!moment.has_zone);
        let allocatable = mapping.allocatable_of(node);
        let mut sample = NodeSample::empty(moment.millis);
        for source in &wanted {
            let text = field(source.at);
            match text.map_or(Err(DropReason::NotANumber), |text| value(text, source, allocatable, dialect)) {
                Ok(value) => sample.set(source.metric, value),
                Err(reason) => {
                    content.column_drops.entry(source.metric.column()).or_default().add(reason);
                    let column = String::from_utf8_lossy(&header[source.at]);
                    content
                        .examples
                        .add(reason, || format!("row {line} has {:?} in `{column}`", text.unwrap_or_default()));
                }
            }
        }
        // A row that measured nothing is a gap: an allocatable from the mapping would make it look like a sample.
        if sample.values.iter().any(|value| !value.is_nan()) {
            fill_allocatable(&mut sample, allocatable);
        }
        match content.nodes.get_mut(&NodeName::new(node)) {
            Some(samples) => samples.push(sample),
            None => drop(content.nodes.insert(NodeName::new(node), vec![sample])),
        }
    }
    Ok(content)
}

impl CsvContent {
    fn leave_out(&mut self, reason: DropReason, example: impl FnOnce() -> String) {
        self.drops.add(reason);
        self.examples.add(reason, example);
    }
}

fn not_a_time(problem: BadTime, unit: &str) -> String {
    match problem {
        BadTime::Unreadable if unit == "text" => {
            "which is not a time such as 2026-11-29T00:00:00Z; set `time.format` where it is written in another way"
                .to_owned()
        }
        BadTime::Unreadable => format!("which is not a number of {unit}"),
        BadTime::Implausible(None) => "which is not in the years 2000 to 2199".to_owned(),
        BadTime::Implausible(Some(other)) => {
            format!("which is not in the years 2000 to 2199 as {unit}, but would be as {other}")
        }
    }
}

/// The value in the table's unit; NaN when the field is empty.
fn value(text: &str, source: &Wanted<'_>, allocatable: Allocatable, dialect: Dialect) -> Result<f64, DropReason> {
    if text.is_empty() {
        return Ok(f64::NAN);
    }
    let raw = dialect.number(text).ok_or(DropReason::NotANumber)?;
    if source.invalid.contains(&raw) {
        return Err(DropReason::InvalidMark);
    }
    if !raw.is_finite() {
        return Err(DropReason::NotFinite);
    }
    let whole = match source.of {
        None => 1.0,
        Some(ShareOf::AllocatableCpu) => allocatable.cpu_cores.unwrap_or(f64::NAN),
        Some(ShareOf::AllocatableMemory) => allocatable.memory_bytes.unwrap_or(f64::NAN),
    };
    let value = raw * source.scale * whole;
    crate::raw::implausible(source.metric, value).map_or(Ok(value), Err)
}

fn fill_allocatable(sample: &mut NodeSample, allocatable: Allocatable) {
    let known = [
        (NodeMetric::CpuAllocatable, allocatable.cpu_cores),
        (NodeMetric::MemoryAllocatable, allocatable.memory_bytes),
    ];
    for (metric, value) in known {
        if let Some(value) = value.filter(|_| sample.get(metric).is_nan()) {
            sample.set(metric, value);
        }
    }
}
