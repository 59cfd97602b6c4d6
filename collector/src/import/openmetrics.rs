//! OpenMetrics text into the raw tables: through a Prometheus of our own, so that text is read by the very queries that a
//! server is asked, and both roads give the same figures.
//!
//! The text is checked line by line and cut into pieces of time; promtool makes history of them, a Prometheus serves it on
//! this machine for as long as the import lasts, the backfill reads it into tables of its own, and those are laid over the
//! ones that are there.

use super::summary::ImportSummary;
use crate::openmetrics::parse::Reader;
use crate::prometheus::pods::{PodBook, read_pods};
use crate::prometheus::{BackfillSummary, Source, fetch};
use crate::raw::{self, DropReason};
use crate::tsdb::{PrometheusServer, find_program, load_openmetrics};
use anyhow::{Context, ensure};
use cluster::{HOUR_MS, INCIDENTS, MINUTE_MS, NODE_METRICS, PODS, SampleIntervals, grid_ceil, is_plausible_moment};
use runtime::WrongUse;
use runtime::settings::Span;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::Store;

/// The length of a piece of text. promtool makes blocks of two hours times a power of three, each aligned to its own length,
/// and reads a file again for each of them: a piece is one block.
const PIECE: i64 = 18 * HOUR_MS;
/// Files that are written at the same time: 192 days of history in one text.
const MOST_PIECES: usize = 256;
/// For how long Prometheus itself takes a sample for a value.
const LOOKBACK: i64 = 5 * MINUTE_MS;

/// What the text told before anybody was asked.
#[derive(Debug, Default)]
struct Content {
    /// Beginnings of pieces, and where each is.
    pieces: Vec<PathBuf>,
    /// First and last sample.
    span: Option<(i64, i64)>,
    intervals: SampleIntervals,
    summary: ImportSummary,
}

impl Content {
    /// The step that was asked for, or the sample interval of the text: the longest that divides an hour and is not longer.
    fn step(&self, asked: Option<Span>) -> anyhow::Result<Span> {
        if let Some(step) = asked {
            return Ok(step);
        }
        let interval = self.intervals.usual().ok_or_else(|| {
            WrongUse(
                "no series of the text has two samples, so their distance cannot be told. Give it with --step".into(),
            )
        })?;
        let seconds = (1..=interval / 1_000).rev().find(|seconds| 3_600 % seconds == 0).unwrap_or(1);
        Ok(Span(Duration::from_secs(seconds.unsigned_abs())))
    }
}

/// Reads files into the raw tables below `store`. `source` makes what is asked, once address, step and span are known.
///
/// # Errors
/// When `prometheus` or `promtool` is not installed, a file cannot be read or breaks the format, or the tables cannot be
/// written. The tables change only once all is read.
pub async fn import(
    files: &[PathBuf],
    step: Option<Span>,
    store: &Store,
    source: impl Fn(Option<String>, Span) -> anyhow::Result<Source>,
) -> anyhow::Result<ImportSummary> {
    for program in ["promtool", "prometheus"] {
        ensure!(
            find_program(program).is_some(),
            "`{program}` is not installed: OpenMetrics text is read through a Prometheus on this machine. Install Prometheus (Debian and Ubuntu: `apt-get install prometheus`, https://prometheus.io/download), or load the text into a server with `promtool tsdb create-blocks-from openmetrics` and run `collector backfill`"
        );
    }
    let folder = Work::new(store)?;
    let queries = source(None, Span(Duration::from_secs(30)))?.queries;
    let mut content = Content::default();
    for path in files {
        read(path, &folder.0, |metric| queries.reads(metric), &mut content)
            .with_context(|| format!("failed to import `{}`", path.display()))?;
    }
    let Some((first, last)) = content.span else { return Ok(content.summary) };
    let step = content.step(step)?;
    let bar = runtime::progress::bar(content.pieces.len() as u64, "loading");
    for piece in &content.pieces {
        load_openmetrics(piece, &folder.0, "18h")?;
        std::fs::remove_file(piece).with_context(|| format!("failed to remove `{}`", piece.display()))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    // Samples that are further apart than usual live longer, as they do where one scrapes at such a distance.
    let interval = content.intervals.usual().unwrap_or(step.millis());
    let lookback = format!("--query.lookback-delta={}ms", LOOKBACK.max(3 * interval));
    let server = PrometheusServer::start(&folder.0, &[&lookback])?;
    let tables = Store::new(folder.0.join("tables"));
    // A grid point at or after the last sample still shows it.
    let span = grid_ceil(first - 1, step.millis())..grid_ceil(last - 1, step.millis()) + step.millis();
    let source = source(Some(server.url()), step)?;
    let fetched = fetch(&source, &tables, &span, span.end + source.args.late.millis()).await?;
    drop(server);
    take_over(&tables, store)?;
    summary(content.summary, fetched, &tables)
}

/// A folder below the data root for the time of the import; one that a killed import left is removed first.
struct Work(PathBuf);

impl Work {
    fn new(store: &Store) -> anyhow::Result<Self> {
        let path = store.root().join(crate::prometheus::cover::FOLDER).join("import");
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("failed to remove `{}`", path.display()))?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next import.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Checks a text to its end and writes the lines that some query reads into pieces of time.
fn read(path: &Path, folder: &Path, is_read: impl Fn(&str) -> bool, content: &mut Content) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
    let text = crate::text::unpacked(BufReader::with_capacity(1 << 16, file))
        .and_then(crate::text::utf8)
        .context("failed to read")?;
    let mut reader = Reader::new(BufReader::with_capacity(1 << 16, text));
    let mut pieces: BTreeMap<i64, BufWriter<File>> = BTreeMap::new();
    let (mut series, mut times): (Vec<u8>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut wanted: BTreeMap<String, bool> = BTreeMap::new();
    loop {
        let Some(sample) = reader.next_sample().context("invalid OpenMetrics text")? else { break };
        let Some(ts) = sample.ts else {
            content.summary.drops.add(DropReason::NoKey);
            continue;
        };
        if !wanted.get(sample.name).copied().unwrap_or_else(|| {
            let is_wanted = is_read(sample.name);
            wanted.insert(sample.name.to_owned(), is_wanted);
            is_wanted
        }) {
            content.summary.drops.add(DropReason::UnknownMetric);
            *content.summary.unused.entry(sample.name.to_owned()).or_insert(0) += 1;
            continue;
        }
        let line = reader.line_number();
        ensure!(
            is_plausible_moment(ts),
            "line {line}: the time is not in the years 2000 to 2199. OpenMetrics counts seconds: are these milliseconds?"
        );
        let text = reader.line();
        let end = text.iter().rposition(|byte| *byte == b'}').or_else(|| text.iter().position(|byte| *byte == b' '));
        let own = end.map_or(text, |end| &text[..end]);
        if own != series {
            content.intervals.add(times.drain(..));
            own.clone_into(&mut series);
        }
        times.push(ts);
        let (first, last) = content.span.unwrap_or((ts, ts));
        content.span = Some((first.min(ts), last.max(ts)));
        let start = ts.div_euclid(PIECE) * PIECE;
        if !pieces.contains_key(&start) {
            ensure!(
                pieces.len() < MOST_PIECES,
                "line {line}: more than {} days of history in one file. Split it",
                MOST_PIECES as i64 * PIECE / (24 * HOUR_MS)
            );
            let path = folder.join(format!("{}-{start}.om", content.pieces.len()));
            let file = File::create(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
            content.pieces.push(path);
            pieces.insert(start, BufWriter::new(file));
        }
        if let Some(piece) = pieces.get_mut(&start) {
            piece
                .write_all(text)
                .and_then(|()| piece.write_all(b"\n"))
                .context("failed to write a piece of the text")?;
        }
    }
    content.intervals.add(times);
    for mut piece in pieces.into_values() {
        piece.write_all(b"# EOF\n").and_then(|()| piece.flush()).context("failed to write a piece of the text")?;
    }
    content.summary.lines += reader.line_number();
    content.summary.files += 1;
    Ok(())
}

/// Lays the tables of an import over those that are there: a row of the same key is replaced, all others stay.
fn take_over(from: &Store, to: &Store) -> anyhow::Result<()> {
    for table in [&NODE_METRICS, &INCIDENTS] {
        for date in from.days(table)? {
            raw::lay_over(to, table, date, from.read_day(table, date, &[])?)?;
        }
    }
    let mut book = PodBook::default();
    for date in from.days(&PODS)? {
        for row in read_pods(from, date)? {
            book.put(to, row, true)?;
        }
    }
    book.save(to)?;
    Ok(())
}

/// What was read, and what the queries made of it.
fn summary(mut read: ImportSummary, fetched: BackfillSummary, tables: &Store) -> anyhow::Result<ImportSummary> {
    read.rows = fetched.rows;
    (read.pods, read.incidents) = (fetched.pods, fetched.incidents);
    read.drops.merge(&fetched.drops);
    for (column, counts) in fetched.columns {
        read.nodes.extend(counts.nodes);
        if counts.drops.iter().next().is_some() {
            read.columns.insert(column.to_owned(), counts.drops);
        }
    }
    if let Some(mapping) = fetched.mapping {
        read.unmatched = mapping.unmatched_targets;
    }
    read.warnings = fetched.warnings;
    let days = tables.days(&NODE_METRICS)?;
    read.days = days.first().copied().zip(days.last().copied());
    Ok(read)
}
