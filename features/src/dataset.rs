//! Reads a features dataset version into the matrix that a trainer wants.

use crate::catalogue::{self, NODE_HISTORY};
use crate::selection::Term;
use crate::{GRID_STEP_MS, Selection, Target};
use cluster::Resource;
use polars::prelude::{Column, DataFrame, PolarsError};
use std::collections::BTreeMap;
use std::ops::Range;
use store::{Store, StoreError};

/// Rows of `features/node_history`, grouped by node and sorted by time within it.
#[derive(Debug, Clone, Default)]
pub struct FeatureTable {
    /// The columns of `values`, in order.
    pub names: Vec<String>,
    /// The nodes' names, sorted.
    pub nodes: Vec<String>,
    /// For each node the rows that are its own, in the order of `nodes`.
    pub spans: Vec<Range<usize>>,
    /// For each row its node's place in `nodes`.
    pub node: Vec<u32>,
    /// For each row its grid time in UTC milliseconds. Rows may be absent where the node was silent.
    pub ts: Vec<i64>,
    /// Row-major, `rows() * names.len()` values, NaN = missing.
    pub values: Vec<f32>,
    /// Five-minute utilization of CPU and of memory for each row, NaN = missing; targets are made of it.
    observed: [Vec<f32>; 2],
}

/// A features dataset could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A column is absent or has another type than the catalogue says.
    #[error("column `{column}` of `{table}` does not fit the catalogue. Build the features again with this version")]
    Column {
        /// Which column.
        column: String,
        /// Which table.
        table: &'static str,
        /// Polars' word on it.
        source: PolarsError,
    },
    /// The table has no row.
    #[error("table `{table}` has no row. Run `features build` first")]
    Empty {
        /// Which table.
        table: &'static str,
    },
}

/// What one day holds, by node.
struct DayRows {
    ts: Vec<i64>,
    columns: Vec<Vec<f32>>,
    observed: [Vec<f32>; 2],
    nodes: Vec<(String, Range<usize>)>,
}

impl FeatureTable {
    /// Loads the columns of `selection` for all nodes and days. `store` is the store of a dataset version
    /// ([`Store::open_version`]) or the live one. Memory: four bytes per value, plus one day of the table.
    ///
    /// # Errors
    /// When a file is damaged, was built by a version with another catalogue, or the table is empty.
    pub fn load(store: &Store, selection: &Selection) -> Result<Self, LoadError> {
        Self::load_days(store, selection, |_| true)
    }

    /// The same for the days that `wanted` says yes to.
    ///
    /// # Errors
    /// See [`FeatureTable::load`].
    pub fn load_days(
        store: &Store,
        selection: &Selection,
        wanted: impl Fn(chrono::NaiveDate) -> bool,
    ) -> Result<Self, LoadError> {
        let sources = selection.sources();
        let mut days = Vec::new();
        for date in store.days(&NODE_HISTORY)?.into_iter().filter(|date| wanted(*date)) {
            days.push(read_day(store, date, &sources)?);
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (node, rows) in days.iter().flat_map(|day| &day.nodes) {
            *counts.entry(node).or_default() += rows.len();
        }
        let rows: usize = counts.values().sum();
        if rows == 0 {
            return Err(LoadError::Empty { table: NODE_HISTORY.name });
        }
        let mut table = Self { names: selection.names().to_vec(), ..Self::default() };
        let mut next: BTreeMap<&str, usize> = BTreeMap::new();
        let mut start = 0;
        for (place, (node, count)) in counts.iter().enumerate() {
            table.nodes.push((*node).to_owned());
            table.spans.push(start..start + count);
            table.node.extend(std::iter::repeat_n(place as u32, *count));
            next.insert(node, start);
            start += count;
        }
        table.ts = vec![0; rows];
        table.values = vec![f32::NAN; rows * selection.len()];
        table.observed = [vec![f32::NAN; rows], vec![f32::NAN; rows]];
        let places = selection.places_in(&sources);
        for day in &days {
            for (node, range) in &day.nodes {
                let Some(at) = next.get_mut(node.as_str()) else { continue };
                table.fill(day, range.clone(), *at, &places);
                *at += range.len();
            }
        }
        Ok(table)
    }

    fn fill(&mut self, day: &DayRows, from: Range<usize>, to: usize, terms: &[Term]) {
        let width = terms.len();
        let until = to + from.len();
        self.ts[to..until].copy_from_slice(&day.ts[from.clone()]);
        for (own, days) in self.observed.iter_mut().zip(&day.observed) {
            own[to..until].copy_from_slice(&days[from.clone()]);
        }
        let rows = self.values[to * width..until * width].chunks_exact_mut(width.max(1));
        for (row, source) in rows.zip(from) {
            for (value, term) in row.iter_mut().zip(terms) {
                *value = term.value(|place| day.columns[place][source]);
            }
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.ts.len()
    }

    /// The features of one row, in the order of `names`.
    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.names.len();
        &self.values[row * width..(row + 1) * width]
    }

    /// Five-minute utilization for each row, NaN = missing.
    pub fn observed(&self, resource: Resource) -> &[f32] {
        &self.observed[resource as usize]
    }

    /// The row of a node at a grid time, if it is there.
    pub fn find(&self, node: &str, ts: i64) -> Option<usize> {
        let place = self.nodes.binary_search_by(|name| name.as_str().cmp(node)).ok()?;
        let span = self.spans[place].clone();
        self.ts[span.clone()].binary_search(&ts).ok().map(|offset| span.start + offset)
    }

    /// The target for each row, NaN where its future is not complete. Rows absent from the table count as missing, so
    /// a horizon is always a length of time and never a number of rows.
    pub fn target(&self, target: &Target) -> Vec<f32> {
        let observed = self.observed(target.resource);
        let mut values = vec![f32::NAN; self.rows()];
        for span in &self.spans {
            let ts = &self.ts[span.clone()];
            let Some(first) = ts.first() else { continue };
            let grid = complete(ts, &observed[span.clone()]);
            let targets = target.values(&grid);
            for (row, time) in span.clone().zip(ts) {
                values[row] = targets[((time - first) / GRID_STEP_MS) as usize];
            }
        }
        values
    }
}

/// Lays a node's values on the complete grid from its first to its last row; what is absent is NaN.
fn complete(ts: &[i64], values: &[f32]) -> Vec<f32> {
    let (Some(first), Some(last)) = (ts.first(), ts.last()) else { return Vec::new() };
    let mut grid = vec![f32::NAN; ((last - first) / GRID_STEP_MS) as usize + 1];
    for (time, value) in ts.iter().zip(values) {
        grid[((time - first) / GRID_STEP_MS) as usize] = *value;
    }
    grid
}

fn read_day(store: &Store, date: chrono::NaiveDate, sources: &[usize]) -> Result<DayRows, LoadError> {
    let all = catalogue::all();
    let mut wanted: Vec<&str> = sources.iter().map(|place| all[*place].name.as_str()).collect();
    for observed in ["cpu_utilization", "memory_utilization"] {
        if !wanted.contains(&observed) {
            wanted.push(observed);
        }
    }
    let mut frame = store.read_day(&NODE_HISTORY, date, &wanted)?;
    frame.rechunk_mut();
    let floats = |name: &str| read_column(&frame, name, floats);
    Ok(DayRows {
        ts: read_column(&frame, "ts", crate::columns::timestamps)?,
        columns: sources.iter().map(|place| floats(&all[*place].name)).collect::<Result<_, _>>()?,
        observed: [floats("cpu_utilization")?, floats("memory_utilization")?],
        nodes: read_column(&frame, "node", crate::columns::runs)?,
    })
}

fn read_column<T>(
    frame: &DataFrame,
    name: &str,
    read: impl Fn(&Column) -> Result<T, PolarsError>,
) -> Result<T, LoadError> {
    frame.column(name).and_then(&read).map_err(|source| LoadError::Column {
        column: name.to_owned(),
        table: NODE_HISTORY.name,
        source,
    })
}

fn floats(column: &Column) -> Result<Vec<f32>, PolarsError> {
    let values = column.f32()?;
    Ok(values.iter().map(|value| value.unwrap_or(f32::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_rows_are_holes_in_the_grid_not_shorter_horizons() {
        let step = GRID_STEP_MS;
        let grid = complete(&[0, step, 4 * step], &[1.0, 2.0, 5.0]);
        assert_eq!(grid.len(), 5);
        assert!(grid[2].is_nan() && grid[3].is_nan());
        assert_eq!(grid[4], 5.0);
    }
}
