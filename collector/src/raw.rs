//! The one way into `raw/node_metrics`: checks samples, counts what it leaves out, writes whole day parts.

use anyhow::Context;
use chrono::NaiveDate;
use cluster::{DAY_MS, NODE_METRICS, NodeMetric, NodeName, NodeSample, TableSchema};
use polars::prelude::{
    DataFrame, Float64Chunked, Int64Chunked, IntoSeries, NewChunkedArray, PolarsResult, StringChunked,
    UniqueKeepStrategy,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use store::{Store, day_start, polars_type};

/// Why a sample, a value or a line was left out, put right, or worth a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// A second sample of the same node and time; the first was kept.
    Duplicate,
    /// A sample older than its predecessor; it was put in its place.
    OutOfOrder,
    /// A sample of another day than the one being written.
    OtherDay,
    /// A sample at a time that was not asked for.
    OffGrid,
    /// A sample without any value.
    Empty,
    /// A value that is NaN where a number was expected, or infinite; it became null.
    NotFinite,
    /// A value below zero; it became null.
    Negative,
    /// A value above what can be real; it became null.
    OutOfRange,
    /// A counter that fell, as an earlier version's import counted it: read in ledgers, and written no more.
    CounterReset,
    /// Two samples of a counter that are too far apart for a rate; likewise.
    CounterGap,
    /// A mark that the source uses for an invalid value; it became null.
    InvalidMark,
    /// A value that is no number; it became null.
    NotANumber,
    /// A row or line that could not be read.
    Unreadable,
    /// A row without a node, or a sample without a time.
    NoKey,
    /// A time that cannot be read, or lies outside of the years 2000 to 2199; its row was left out.
    NotATime,
    /// A series of a node that could not be named.
    UnknownNode,
    /// A series of a node that is left out, since it cannot be observed.
    IgnoredNode,
    /// A value of an address that passed from one node to another within the time that the value rests on.
    AddressPassedOn,
    /// A series that no table column needs.
    UnknownMetric,
    /// Several series where one was expected; the first was kept.
    SeveralSeries,
    /// A value that the server repeated from an old sample; it is a gap.
    Stale,
    /// A rate over a window that had no samples at first, so that it is too low; it is a gap.
    WindowNotFull,
}

impl DropReason {
    /// As it reads in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out_of_order",
            Self::OtherDay => "other_day",
            Self::OffGrid => "off_grid",
            Self::Empty => "empty",
            Self::NotFinite => "not_finite",
            Self::Negative => "negative",
            Self::OutOfRange => "out_of_range",
            Self::CounterReset => "counter_reset",
            Self::CounterGap => "counter_gap",
            Self::InvalidMark => "invalid_mark",
            Self::NotANumber => "not_a_number",
            Self::Unreadable => "unreadable",
            Self::NoKey => "no_key",
            Self::NotATime => "not_a_time",
            Self::UnknownNode => "unknown_node",
            Self::IgnoredNode => "ignored_node",
            Self::AddressPassedOn => "address_passed_on",
            Self::UnknownMetric => "unknown_metric",
            Self::SeveralSeries => "several_series",
            Self::Stale => "stale",
            Self::WindowNotFull => "window_not_full",
        }
    }
}

/// How often each [`DropReason`] was met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DropCounts(BTreeMap<DropReason, u64>);

impl DropCounts {
    /// Counts one.
    pub fn add(&mut self, reason: DropReason) {
        self.add_many(reason, 1);
    }

    /// Counts several.
    pub fn add_many(&mut self, reason: DropReason, count: u64) {
        if count > 0 {
            *self.0.entry(reason).or_insert(0) += count;
        }
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add_many(*reason, *count);
        }
    }

    /// How often `reason` was met.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// All reasons that were met.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }

    /// As quality figures of a dataset version: `dropped_<reason>`.
    pub fn as_quality(&self) -> BTreeMap<String, f64> {
        self.iter().map(|(reason, count)| (format!("dropped_{}", reason.as_str()), count as f64)).collect()
    }
}

impl fmt::Display for DropCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (place, (reason, count)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {}", reason.as_str())?;
        }
        Ok(())
    }
}

/// What was written, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Rows in the part.
    pub rows: u64,
    /// What was left out or put right.
    pub drops: DropCounts,
}

impl Written {
    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.drops.merge(&other.drops);
    }
}

/// Checks the samples of a day and writes them as the part `part` of that day; a part of the same name is replaced
/// whole, so a run that is repeated after a kill leaves no duplicates. No file is written when no row is left.
///
/// # Errors
/// When the disk is full or not writable; an older part is then untouched.
pub fn write_node_day(
    store: &Store,
    date: NaiveDate,
    part: &str,
    nodes: Vec<(NodeName, Vec<NodeSample>)>,
) -> anyhow::Result<Written> {
    let (frame, drops) = checked_frame(date, nodes)?;
    if frame.height() > 0 {
        store
            .write_part(&NODE_METRICS, date, part, &frame)
            .with_context(|| format!("failed to write node metrics of {date}"))?;
    }
    Ok(Written { rows: frame.height() as u64, drops })
}

/// Checks the samples of a day and lays them over what the table has of that day: a row of the same node and time is
/// replaced, all others stay. The day ends up as one part without duplicates, however often and in whatever pieces the
/// same history comes.
///
/// # Errors
/// When a part of the day is damaged, or when the disk is full; the day is then as it was.
pub fn merge_node_day(
    store: &Store,
    date: NaiveDate,
    nodes: Vec<(NodeName, Vec<NodeSample>)>,
) -> anyhow::Result<Written> {
    let (fresh, drops) = checked_frame(date, nodes)?;
    let rows = fresh.height() as u64;
    lay_over(store, &NODE_METRICS, date, fresh)?;
    Ok(Written { rows, drops })
}

/// Lays rows of one day over those that the table has of it: a row of the same key is replaced, all others stay.
///
/// # Errors
/// When a part of the day is damaged, or when the disk is full; the day is then as it was.
pub fn lay_over(store: &Store, table: &TableSchema, date: NaiveDate, fresh: DataFrame) -> anyhow::Result<()> {
    if fresh.height() == 0 {
        return Ok(());
    }
    let old = store.read_day(table, date, &[])?;
    let merged = if old.height() == 0 {
        fresh
    } else {
        overlay(table, &fresh, &old).with_context(|| format!("failed to merge the rows of {date}"))?
    };
    let doing = || format!("failed to write `{}` of {date}", table.name);
    store.replace_day(table, date, &merged).with_context(doing)?;
    Ok(())
}

/// New rows and those of the old ones whose key they do not have.
///
/// # Errors
/// When the two have different columns.
pub fn overlay(table: &TableSchema, new: &DataFrame, old: &DataFrame) -> PolarsResult<DataFrame> {
    let key: Vec<String> = table.key.iter().map(|name| (*name).to_owned()).collect();
    new.vstack(old)?.unique_stable(Some(&key), UniqueKeepStrategy::First, None)
}

/// Splits the samples of nodes by day, for [`write_node_day`] and [`merge_node_day`].
pub fn by_day(nodes: Vec<(NodeName, Vec<NodeSample>)>) -> BTreeMap<NaiveDate, Vec<(NodeName, Vec<NodeSample>)>> {
    let mut days: BTreeMap<NaiveDate, Vec<(NodeName, Vec<NodeSample>)>> = BTreeMap::new();
    for (node, samples) in nodes {
        for sample in samples {
            let day = days.entry(store::date_of(sample.ts)).or_default();
            match day.last_mut() {
                Some((last, rows)) if *last == node => rows.push(sample),
                _ => day.push((node.clone(), vec![sample])),
            }
        }
    }
    days
}

fn checked_frame(date: NaiveDate, nodes: Vec<(NodeName, Vec<NodeSample>)>) -> anyhow::Result<(DataFrame, DropCounts)> {
    let mut drops = DropCounts::default();
    let day = day_start(date)..day_start(date) + DAY_MS;
    let mut checked: Vec<(NodeName, Vec<NodeSample>)> = Vec::with_capacity(nodes.len());
    for (node, mut samples) in nodes {
        let before = samples.len();
        samples.retain(|sample| day.contains(&sample.ts));
        drops.add_many(DropReason::OtherDay, (before - samples.len()) as u64);
        check_samples(&mut samples, &mut drops);
        checked.push((node, samples));
    }
    let frame = node_frame(&checked).with_context(|| format!("failed to build the rows of {date}"))?;
    Ok((frame, drops))
}

/// Puts one node's samples in order of time, drops second samples of the same time, and turns values that cannot be
/// real into missing ones. Everything is counted.
pub fn check_samples(samples: &mut Vec<NodeSample>, drops: &mut DropCounts) {
    let late = samples.windows(2).filter(|pair| pair[1].ts < pair[0].ts).count() as u64;
    if late > 0 {
        drops.add_many(DropReason::OutOfOrder, late);
        samples.sort_by_key(|sample| sample.ts); // stable: the first of two equal times stays first
    }
    let before = samples.len();
    samples.dedup_by_key(|sample| sample.ts);
    drops.add_many(DropReason::Duplicate, (before - samples.len()) as u64);
    for sample in samples.iter_mut() {
        for metric in NodeMetric::ALL {
            let value = sample.get(*metric);
            if let Some(reason) = implausible(*metric, value) {
                drops.add(reason);
                sample.set(*metric, f64::NAN);
            }
        }
    }
    let before = samples.len();
    samples.retain(|sample| sample.values.iter().any(|value| !value.is_nan()));
    drops.add_many(DropReason::Empty, (before - samples.len()) as u64);
}

/// Why `value` cannot be a value of `metric`; `None` for one that can, and for NaN, which means missing.
pub fn implausible(metric: NodeMetric, value: f64) -> Option<DropReason> {
    if value.is_nan() {
        None
    } else if value.is_infinite() {
        Some(DropReason::NotFinite)
    } else if value < 0.0 {
        Some(DropReason::Negative)
    } else if value > metric.plausible_max() {
        Some(DropReason::OutOfRange)
    } else {
        None
    }
}

/// The samples as a frame of [`NODE_METRICS`]; NaN becomes null.
pub fn node_frame(nodes: &[(NodeName, Vec<NodeSample>)]) -> PolarsResult<DataFrame> {
    let rows = nodes.iter().map(|(_, samples)| samples.len()).sum();
    let all = || nodes.iter().flat_map(|(_, samples)| samples.iter());
    let times = Int64Chunked::from_vec("ts".into(), all().map(|sample| sample.ts).collect());
    let names = nodes.iter().flat_map(|(node, samples)| std::iter::repeat_n(node.as_str(), samples.len()));
    let mut columns = vec![
        times.into_series().cast(&polars_type(cluster::ColumnKind::Timestamp))?.into(),
        StringChunked::from_iter_values("node".into(), names).into_series().into(),
    ];
    for metric in NodeMetric::ALL {
        let values = all().map(|sample| Some(sample.get(*metric)).filter(|value| !value.is_nan()));
        columns.push(Float64Chunked::from_iter_options(metric.column().into(), values).into_series().into());
    }
    DataFrame::new(rows, columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::MINUTE_MS;

    fn sample(ts: i64, cpu: f64) -> NodeSample {
        let mut sample = NodeSample::empty(ts);
        sample.set(NodeMetric::CpuUsed, cpu);
        sample
    }

    fn with_load(mut sample: NodeSample, load: f64) -> NodeSample {
        sample.set(NodeMetric::Load1, load);
        sample
    }

    fn column(frame: &DataFrame, name: &str) -> Vec<Option<f64>> {
        frame.column(name).expect("column").f64().expect("floats").iter().collect()
    }

    #[test]
    fn disorder_and_nonsense_are_counted_and_never_become_zero() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let date = NaiveDate::from_ymd_opt(2026, 11, 2).expect("date");
        let day = day_start(date);
        let samples = vec![
            sample(day, 1.0),
            sample(day + 2 * MINUTE_MS, 3.0),
            sample(day + MINUTE_MS, 2.0),
            sample(day + MINUTE_MS, 9.0),
            sample(day + 3 * MINUTE_MS, -1.0),
            sample(day + 4 * MINUTE_MS, f64::INFINITY),
            sample(day + DAY_MS, 5.0),
            with_load(sample(day + 5 * MINUTE_MS, 1e9), 0.5),
        ];
        let written = write_node_day(&store, date, "day", vec![(NodeName::new("node-a"), samples)]).expect("written");
        for (reason, count) in [
            (DropReason::OutOfOrder, 1),
            (DropReason::Duplicate, 1),
            (DropReason::Negative, 1),
            (DropReason::NotFinite, 1),
            (DropReason::OutOfRange, 1),
            (DropReason::OtherDay, 1),
            (DropReason::Empty, 2),
        ] {
            assert_eq!(written.drops.get(reason), count, "{reason:?}");
        }
        assert_eq!(written.rows, 4);
        let frame = store.read_day(&NODE_METRICS, date, &[]).expect("frame");
        assert_eq!(column(&frame, "cpu_used_cores"), [Some(1.0), Some(2.0), Some(3.0), None]);
        assert_eq!(column(&frame, "load1"), [None, None, None, Some(0.5)]);
        assert_eq!(written.drops.to_string().matches(',').count(), 6);
    }

    #[test]
    fn a_repeated_part_replaces_itself() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let date = NaiveDate::default();
        for _ in 0..2 {
            write_node_day(&store, date, "day", vec![(NodeName::new("a"), vec![sample(0, 1.0)])]).expect("written");
        }
        assert_eq!(store.read_day(&NODE_METRICS, date, &[]).expect("frame").height(), 1);
        assert_eq!(store.parts(&NODE_METRICS, date).expect("parts").len(), 1);
    }

    #[test]
    fn a_merged_day_has_the_new_rows_and_the_old_ones_beside_them() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let date = NaiveDate::default();
        let node = || NodeName::new("a");
        write_node_day(&store, date, "early", vec![(node(), vec![sample(0, 1.0), sample(30, 2.0)])]).expect("early");
        write_node_day(&store, date, "late", vec![(node(), vec![sample(90, 4.0)])]).expect("late");
        for _ in 0..2 {
            let nodes = vec![(node(), vec![sample(30, 5.0), sample(60, 3.0)])];
            assert_eq!(merge_node_day(&store, date, nodes).expect("merged").rows, 2);
        }
        let frame = store.read_day(&NODE_METRICS, date, &[]).expect("frame");
        assert_eq!(column(&frame, "cpu_used_cores"), [Some(1.0), Some(5.0), Some(3.0), Some(4.0)]);
        assert_eq!(store.parts(&NODE_METRICS, date).expect("parts").len(), 1);
    }

    #[test]
    fn a_day_without_rows_leaves_no_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let nodes = vec![(NodeName::new("a"), vec![NodeSample::empty(0)])];
        let written = write_node_day(&store, NaiveDate::default(), "day", nodes).expect("nothing to write");
        assert_eq!((written.rows, written.drops.get(DropReason::Empty)), (0, 1));
        assert!(store.days(&NODE_METRICS).expect("days").is_empty());
    }

    #[test]
    fn a_data_root_that_is_a_file_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let store = Store::new(file.path());
        let nodes = vec![(NodeName::new("a"), vec![sample(0, 1.0)])];
        let error = write_node_day(&store, NaiveDate::default(), "day", nodes).expect_err("no folder");
        assert!(format!("{error:#}").contains("1970-01-01"), "{error:#}");
    }
}
