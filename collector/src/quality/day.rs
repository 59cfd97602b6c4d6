//! One day of `raw/node_metrics` as it lies in the files: nothing sorted, nothing dropped.

use anyhow::Context;
use chrono::NaiveDate;
use cluster::{DAY_MS, NODE_METRICS, NodeMetric, SampleIntervals};
use polars::prelude::{Column, DataFrame, DataType};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use store::{Store, StoreError, day_start};

/// The rows of one day, column by column.
pub(super) struct Day {
    /// Midnight at its start.
    start: i64,
    /// By row.
    pub ts: Vec<i64>,
    /// By [`NodeMetric`], then by row. NaN is missing; a NaN in the file became infinite, since both cannot be true.
    pub metrics: Vec<Vec<f64>>,
    /// Where the rows of each node are: stretches of neighbours within one file.
    pub nodes: BTreeMap<String, Vec<Range<usize>>>,
    /// Rows without node or time.
    pub keyless: u64,
}

/// The rows of one node in order of time, and what had to be put right for that.
pub(super) struct Ordered {
    pub rows: Rows,
    pub duplicates: u64,
    pub out_of_order: u64,
    pub misfiled: u64,
}

/// Which rows; nearly always neighbours.
pub(super) enum Rows {
    Neighbours(Range<usize>),
    Picked(Vec<usize>),
}

impl Day {
    /// Reads all metrics of a day.
    pub fn read(tables: &Store, date: NaiveDate) -> anyhow::Result<Self> {
        Self::read_columns(tables, date, &[], NodeMetric::ALL)
    }

    /// Reads only who was sampled when.
    pub fn read_times(tables: &Store, date: NaiveDate) -> anyhow::Result<Self> {
        Self::read_columns(tables, date, &["node", "ts"], &[])
    }

    fn read_columns(tables: &Store, date: NaiveDate, columns: &[&str], metrics: &[NodeMetric]) -> anyhow::Result<Self> {
        let mut day = Self {
            start: day_start(date),
            ts: Vec::new(),
            metrics: vec![Vec::new(); metrics.len()],
            nodes: BTreeMap::new(),
            keyless: 0,
        };
        for (path, frame) in tables.read_parts(&NODE_METRICS, date, columns)? {
            day.add_part(&frame, metrics).with_context(|| format!("`{}` does not fit the table", path.display()))?;
        }
        Ok(day)
    }

    fn add_part(&mut self, frame: &DataFrame, metrics: &[NodeMetric]) -> anyhow::Result<()> {
        let start = self.ts.len();
        let times = typed(frame, "ts", &DataType::Int64)?;
        let names = typed(frame, "node", &DataType::String)?;
        let mut run: Option<(&str, usize)> = None;
        for (offset, (ts, name)) in times.i64()?.iter().zip(names.str()?.iter()).enumerate() {
            let row = start + offset;
            self.ts.push(ts.unwrap_or(i64::MIN));
            let name = name.filter(|_| ts.is_some());
            if name.is_none() {
                self.keyless += 1;
            }
            if run.map(|(node, _)| node) != name {
                self.end_run(run, row);
                run = name.map(|node| (node, row));
            }
        }
        self.end_run(run, self.ts.len());
        let values = metrics.par_iter().map(|metric| floats(frame, *metric)).collect::<anyhow::Result<Vec<_>>>()?;
        for (column, mut values) in self.metrics.iter_mut().zip(values) {
            column.append(&mut values);
        }
        Ok(())
    }

    fn end_run(&mut self, run: Option<(&str, usize)>, end: usize) {
        let Some((node, start)) = run else { return };
        match self.nodes.get_mut(node) {
            Some(runs) => runs.push(start..end),
            None => drop(self.nodes.insert(node.to_owned(), std::iter::once(start..end).collect())),
        }
    }

    /// The rows of a node in order of time. Rows of another day and second rows of the same time are left out.
    pub fn ordered(&self, runs: &[Range<usize>]) -> Ordered {
        let inside = |ts: i64| (self.start..self.start + DAY_MS).contains(&ts);
        let rising = |run: &Range<usize>| self.ts[run.clone()].is_sorted_by(|a, b| a < b);
        if let [run] = runs
            && rising(run)
            && inside(self.ts[run.start])
            && inside(self.ts[run.end - 1])
        {
            return Ordered { rows: Rows::Neighbours(run.clone()), duplicates: 0, out_of_order: 0, misfiled: 0 };
        }
        let falls = |run: &Range<usize>| self.ts[run.clone()].windows(2).filter(|pair| pair[1] < pair[0]).count();
        let out_of_order = runs.iter().map(falls).sum::<usize>() as u64;
        let mut rows: Vec<usize> = runs.iter().cloned().flatten().collect();
        let all = rows.len();
        rows.retain(|row| inside(self.ts[*row]));
        let misfiled = (all - rows.len()) as u64;
        rows.sort_by_key(|row| self.ts[*row]); // stable: of two equal times the first in the files stays first
        let inside_rows = rows.len();
        rows.dedup_by_key(|row| self.ts[*row]);
        Ordered { duplicates: (inside_rows - rows.len()) as u64, rows: Rows::Picked(rows), out_of_order, misfiled }
    }

    /// Adds the distances of neighbouring samples of each node.
    pub fn count_intervals(&self, counts: &mut BTreeMap<String, SampleIntervals>) {
        for (node, runs) in &self.nodes {
            let counts = counts.entry(node.clone()).or_default();
            match self.ordered(runs).rows {
                Rows::Neighbours(run) => counts.add(self.ts[run].iter().copied()),
                Rows::Picked(rows) => counts.add(rows.into_iter().map(|row| self.ts[row])),
            }
        }
    }
}

fn typed(frame: &DataFrame, name: &str, wanted: &DataType) -> anyhow::Result<Column> {
    let schema_error = |got: String| StoreError::Schema {
        table: NODE_METRICS.name.to_owned(),
        column: name.to_owned(),
        wanted: format!("{wanted:?}"),
        got,
    };
    let column = frame.column(name).map_err(|_| schema_error("nothing".into()))?;
    if *column.dtype() == *wanted {
        return Ok(column.clone());
    }
    // Text that reads as a number is no number: only numbers and times are turned into each other.
    let is_text = matches!(column.dtype(), DataType::String) || matches!(wanted, DataType::String);
    let cast = if is_text { None } else { column.cast(wanted).ok() };
    Ok(cast.ok_or_else(|| schema_error(format!("{:?}", column.dtype())))?)
}

/// A metric's values; all missing when the file does not have the column.
fn floats(frame: &DataFrame, metric: NodeMetric) -> anyhow::Result<Vec<f64>> {
    if frame.column(metric.column()).is_err() {
        return Ok(vec![f64::NAN; frame.height()]);
    }
    let column = typed(frame, metric.column(), &DataType::Float64)?;
    let known = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
    Ok(column.f64()?.iter().map(|value| value.map_or(f64::NAN, known)).collect())
}
