//! The rows that load models learn from: features of each node every five minutes, and what came afterwards.

use crate::folds::Window;
use cluster::{DAY_MS, GRID_STEP_MS, HOUR_MS, NodeName, Resource};
use features::{FeatureTable, Selection, Target, TargetKind};
use models::FeatureMatrix;
use models::load::Horizon;
use std::collections::BTreeSet;
use store::Store;

/// `TargetKind` in the words of reports.
pub const fn in_words(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::HourMean => "mean of the hour",
        TargetKind::FiveMinute => "5-minute value",
    }
}

/// The kind's name in metrics and files.
pub const fn slug(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::HourMean => "hour_mean",
        TargetKind::FiveMinute => "five_minute",
    }
}

/// Both targets, the served one first.
pub const TARGET_KINDS: [TargetKind; 2] = [TargetKind::HourMean, TargetKind::FiveMinute];

/// Slots of five minutes in an hour.
const HOUR_SLOTS: usize = (HOUR_MS / GRID_STEP_MS) as usize;

/// A last value older than this is no forecast: three slots, as long as a restarted exporter usually needs.
const LAST_VALUE_MAX_AGE_MS: i64 = 3 * GRID_STEP_MS;

/// Fewer rows than this per node teach nothing: a day of five-minute rows.
pub const ROWS_PER_DAY: usize = (DAY_MS / GRID_STEP_MS) as usize;

/// Rows that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// Columns of different length.
    #[error("column `{column}` has {got} rows, the features have {wanted}")]
    Length {
        /// Which column.
        column: &'static str,
        /// What it has.
        got: usize,
        /// What it should have.
        wanted: usize,
    },
    /// Two rows of one node at one time, or rows out of order.
    #[error(
        "row {row} of node `{node}` is not after the row before it. Rows must be sorted by node and time, without duplicates"
    )]
    Order {
        /// Which row.
        row: usize,
        /// Whose.
        node: NodeName,
    },
    /// A time that is not on the grid.
    #[error("row {row} of node `{node}` is at {ts} ms, which is not on the grid of five minutes")]
    OffGrid {
        /// Which row.
        row: usize,
        /// Whose.
        node: NodeName,
        /// Its time.
        ts: i64,
    },
    /// No row at all.
    #[error("the features dataset has no rows. Collect metrics and build features first")]
    Empty,
}

/// One node's rows, which lie together, and its observed utilization on the complete grid.
#[derive(Debug, Clone)]
struct NodeSeries {
    /// First and one past the last row.
    rows: std::ops::Range<usize>,
    /// Time of grid slot 0, which is the node's first row.
    start: i64,
    /// Per resource: mean of the five minutes ending at the slot's time; NaN where unknown.
    five_minute: [Vec<f32>; 2],
    /// Per resource: mean of the hour ending at the slot's time; NaN where too little of it is known.
    hour: [Vec<f32>; 2],
}

/// Feature rows of all nodes, sorted by node and time, with the observed utilization that their targets come from.
#[derive(Debug, Clone)]
pub struct LoadRows {
    /// The nodes, by the index that `node` uses.
    pub nodes: Vec<NodeName>,
    /// Which node each row is of.
    pub node: Vec<u32>,
    /// When each row was knowable, in UTC milliseconds.
    pub ts: Vec<i64>,
    /// The features.
    pub x: FeatureMatrix,
    series: Vec<NodeSeries>,
}

impl LoadRows {
    /// Puts rows together. `utilization` holds, per resource, the mean of the five minutes before each row as a ratio,
    /// NaN where it is unknown.
    ///
    /// # Errors
    /// When lengths differ, rows are out of order or off the grid, or there is none.
    pub fn new(
        nodes: Vec<NodeName>,
        node: Vec<u32>,
        ts: Vec<i64>,
        x: FeatureMatrix,
        utilization: [Vec<f32>; 2],
    ) -> Result<Self, RowsError> {
        let wanted = x.rows();
        for (column, got) in [
            ("node", node.len()),
            ("ts", ts.len()),
            ("cpu_utilization", utilization[0].len()),
            ("memory_utilization", utilization[1].len()),
        ] {
            if got != wanted {
                return Err(RowsError::Length { column, got, wanted });
            }
        }
        if wanted == 0 {
            return Err(RowsError::Empty);
        }
        for row in 0..wanted {
            let name = || nodes.get(node[row] as usize).cloned().unwrap_or_else(|| NodeName::new("?"));
            if row > 0 && (node[row], ts[row]) <= (node[row - 1], ts[row - 1]) {
                return Err(RowsError::Order { row, node: name() });
            }
            if ts[row].rem_euclid(GRID_STEP_MS) != 0 {
                return Err(RowsError::OffGrid { row, node: name(), ts: ts[row] });
            }
        }
        let mut series = Vec::with_capacity(nodes.len());
        let mut first = 0;
        for index in 0..nodes.len() {
            let past = first + node[first..].iter().take_while(|owner| **owner as usize == index).count();
            series.push(NodeSeries::new(first..past, &ts[first..past], &utilization));
            first = past;
        }
        Ok(Self { nodes, node, ts, x, series })
    }

    /// Reads the rows of a features dataset with the columns of `selection`.
    ///
    /// # Errors
    /// When a file is damaged, a column is missing, or there is no row.
    pub fn load(store: &Store, selection: &Selection) -> anyhow::Result<Self> {
        let table = FeatureTable::load(store, selection)?;
        let utilization = Resource::ALL.map(|resource| table.observed(resource).to_vec());
        let nodes = table.nodes.into_iter().map(NodeName::new).collect();
        let x = FeatureMatrix::new(table.names, table.ts.len(), table.values)?;
        Ok(Self::new(nodes, table.node, table.ts, x, utilization)?)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there is none; a value of this type always has some.
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// From the first row to one step past the last one, over all nodes.
    pub fn span(&self) -> Window {
        let from = self.ts.iter().copied().min().unwrap_or(0);
        let until = self.ts.iter().copied().max().map_or(0, |last| last + GRID_STEP_MS);
        Window { from, until }
    }

    /// What each row should have forecast: NaN where it is unknown.
    pub fn target(&self, kind: TargetKind, resource: Resource, horizon: Horizon) -> Vec<f32> {
        self.ending_at(kind, resource, i64::from(horizon.hours()) * HOUR_MS)
    }

    /// Persistence: the mean of the last hour for the hour's mean, the last value for the 5-minute value.
    pub fn persistence(&self, kind: TargetKind, resource: Resource) -> Vec<f32> {
        match kind {
            TargetKind::HourMean => self.ending_at(kind, resource, 0),
            TargetKind::FiveMinute => self.last_value(resource),
        }
    }

    /// The newest 5-minute value, at most 15 minutes old.
    pub fn last_value(&self, resource: Resource) -> Vec<f32> {
        let mut values = self.ending_at(TargetKind::FiveMinute, resource, 0);
        let mut age = GRID_STEP_MS;
        while age <= LAST_VALUE_MAX_AGE_MS {
            let older = self.ending_at(TargetKind::FiveMinute, resource, -age);
            for (value, older) in values.iter_mut().zip(older) {
                if value.is_nan() {
                    *value = older;
                }
            }
            age += GRID_STEP_MS;
        }
        values
    }

    /// The same hour yesterday: the target as it was a day before. Known, since no horizon is longer than a day.
    pub fn same_hour_yesterday(&self, kind: TargetKind, resource: Resource, horizon: Horizon) -> Vec<f32> {
        self.ending_at(kind, resource, i64::from(horizon.hours()) * HOUR_MS - DAY_MS)
    }

    /// The mean of the hour or of the five minutes that end `offset` after each row.
    fn ending_at(&self, kind: TargetKind, resource: Resource, offset: i64) -> Vec<f32> {
        let mut values = vec![f32::NAN; self.len()];
        for series in &self.series {
            let observed = match kind {
                TargetKind::HourMean => &series.hour[resource as usize],
                TargetKind::FiveMinute => &series.five_minute[resource as usize],
            };
            for row in series.rows.clone() {
                let slot = (self.ts[row] + offset - series.start) / GRID_STEP_MS;
                if let Ok(slot) = usize::try_from(slot) {
                    values[row] = observed.get(slot).copied().unwrap_or(f32::NAN);
                }
            }
        }
        values
    }

    /// Rows whose time lies in `window`, of the nodes in `nodes` (all when absent), with a known `target`, in the order
    /// of time: every `every`-th time of the grid, so that all nodes keep their rows of the same times.
    pub fn select(&self, window: Window, nodes: Option<&BTreeSet<u32>>, target: &[f32], every: usize) -> Vec<usize> {
        let step = GRID_STEP_MS * every.max(1) as i64;
        let mut rows: Vec<usize> = (0..self.len())
            .filter(|&row| window.contains(self.ts[row]) && self.ts[row].rem_euclid(step) == 0)
            .filter(|&row| nodes.is_none_or(|nodes| nodes.contains(&self.node[row])))
            .filter(|&row| target[row].is_finite())
            .collect();
        rows.sort_by_key(|&row| (self.ts[row], self.node[row]));
        rows
    }

    /// The row of a node at a time, or the newest one before it.
    pub fn row_at(&self, node: &NodeName, ts: i64) -> Option<usize> {
        let index = self.nodes.iter().position(|known| known == node)?;
        let rows = self.series.get(index)?.rows.clone();
        let known = self.ts[rows.clone()].partition_point(|time| *time <= ts);
        (known > 0).then(|| rows.start + known - 1)
    }

    /// What became known of a node at each step of the grid from its first row to its last one: the time, the mean of the
    /// hour or of the five minutes that end then (NaN where it is unknown), and the row of that time, if there is one.
    pub fn steps(
        &self,
        node: u32,
        kind: TargetKind,
        resource: Resource,
    ) -> impl Iterator<Item = (i64, f32, Option<usize>)> + '_ {
        let series = self.series.get(node as usize);
        series.into_iter().flat_map(move |series| {
            let observed = match kind {
                TargetKind::HourMean => &series.hour[resource as usize],
                TargetKind::FiveMinute => &series.five_minute[resource as usize],
            };
            let mut row = series.rows.start;
            observed.iter().enumerate().map(move |(slot, value)| {
                let at = series.start + slot as i64 * GRID_STEP_MS;
                let is_here = row < series.rows.end && self.ts[row] == at;
                let here = is_here.then_some(row);
                row += usize::from(is_here);
                (at, *value, here)
            })
        })
    }

    /// First and last row time of a node.
    pub fn node_span(&self, node: u32) -> Option<Window> {
        let rows = self.series.get(node as usize)?.rows.clone();
        let times = &self.ts[rows];
        Some(Window { from: *times.first()?, until: times.last()? + GRID_STEP_MS })
    }
}

impl NodeSeries {
    fn new(rows: std::ops::Range<usize>, times: &[i64], utilization: &[Vec<f32>; 2]) -> Self {
        let start = times.first().copied().unwrap_or(0);
        let slots = times.last().map_or(0, |last| ((last - start) / GRID_STEP_MS) as usize + 1);
        let complete = |values: &[f32]| {
            let mut grid = vec![f32::NAN; slots];
            for (time, value) in times.iter().zip(values) {
                grid[((time - start) / GRID_STEP_MS) as usize] = *value;
            }
            grid
        };
        let five_minute = [complete(&utilization[0][rows.clone()]), complete(&utilization[1][rows.clone()])];
        let hour = [hours(&five_minute[0]), hours(&five_minute[1])];
        Self { rows, start, five_minute, hour }
    }
}

/// The mean of the hour ending at each slot, by the one definition that `features` has: the target one hour ahead, an
/// hour later.
fn hours(five_minute: &[f32]) -> Vec<f32> {
    let ahead = Target::hour_mean(Resource::Cpu, 1).values(five_minute);
    let known = five_minute.len().min(HOUR_SLOTS);
    [vec![f32::NAN; known], ahead[..five_minute.len() - known].to_vec()].concat()
}

/// `values` at `rows`, in that order.
pub fn pick<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|&row| values[row]).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Rows of nodes whose CPU is given per slot (memory is half of it) and whose only feature is the present CPU.
    pub(crate) fn rows_of(cpu_by_node: &[Vec<f32>]) -> LoadRows {
        let nodes = (0..cpu_by_node.len()).map(|at| NodeName::new(format!("node-{at}"))).collect();
        let node = cpu_by_node.iter().enumerate().flat_map(|(at, cpu)| vec![at as u32; cpu.len()]).collect();
        let ts = cpu_by_node.iter().flat_map(|cpu| (0..cpu.len() as i64).map(|slot| slot * GRID_STEP_MS)).collect();
        let cpu: Vec<f32> = cpu_by_node.concat();
        let memory = cpu.iter().map(|value| value / 2.0).collect();
        let x = FeatureMatrix::from_columns(vec!["cpu_utilization".to_owned()], &[&cpu]).expect("one column");
        LoadRows::new(nodes, node, ts, x, [cpu, memory]).expect("sorted rows")
    }

    const ONE_HOUR: Horizon = Horizon::ALL[0];

    #[test]
    fn targets_agree_with_a_calculation_by_hand() {
        // Slot s has CPU s / 100. The hour that ends one hour after slot 2 has slots 3 to 14: mean 8.5.
        let rows = rows_of(&[(0..40).map(|slot| slot as f32 / 100.0).collect()]);
        let target = rows.target(TargetKind::HourMean, Resource::Cpu, ONE_HOUR);
        assert!((target[2] - 0.085).abs() < 1e-6, "{}", target[2]);
        assert_eq!(rows.target(TargetKind::FiveMinute, Resource::Cpu, ONE_HOUR)[2], 0.14);
        assert!(target[28].is_nan(), "the hour after it is not over");
        // Persistence at slot 20: mean of slots 9 to 20.
        assert!((rows.persistence(TargetKind::HourMean, Resource::Memory)[20] - 0.0725).abs() < 1e-6);
        assert_eq!(rows.persistence(TargetKind::FiveMinute, Resource::Cpu)[20], 0.2);
    }

    #[test]
    fn the_same_hour_yesterday_is_a_day_before_the_target() {
        let cpu: Vec<f32> = (0..2 * ROWS_PER_DAY).map(|slot| (slot % ROWS_PER_DAY) as f32 / 1000.0).collect();
        let rows = rows_of(&[cpu]);
        let yesterday = rows.same_hour_yesterday(TargetKind::HourMean, Resource::Cpu, ONE_HOUR);
        let target = rows.target(TargetKind::HourMean, Resource::Cpu, ONE_HOUR);
        assert!(yesterday[10].is_nan());
        assert!((yesterday[300] - target[300]).abs() < 1e-6, "the days are alike");
    }

    #[test]
    fn a_gap_is_bridged_for_fifteen_minutes_only() {
        let mut cpu = vec![0.5; 30];
        cpu[10..20].fill(f32::NAN);
        let last = rows_of(&[cpu]).last_value(Resource::Cpu);
        assert_eq!((last[12], last[13].is_nan(), last[20]), (0.5, true, 0.5));
    }

    #[test]
    fn a_node_that_vanishes_has_no_target_after_its_end_and_spoils_no_other() {
        let rows = rows_of(&[vec![0.2; 20], vec![0.4; 60]]);
        let target = rows.target(TargetKind::HourMean, Resource::Cpu, ONE_HOUR);
        let known =
            |node: u32| (0..rows.len()).filter(|&row| rows.node[row] == node && target[row].is_finite()).count();
        assert_eq!((known(0), known(1)), (8, 48));
        assert_eq!(rows.node_span(0), Some(Window { from: 0, until: 20 * GRID_STEP_MS }));
        assert_eq!(rows.row_at(&NodeName::new("node-0"), DAY_MS), Some(19), "the newest row before the time");
        assert_eq!(rows.row_at(&NodeName::new("node-9"), 0), None);
    }

    #[test]
    fn rows_out_of_order_or_off_the_grid_are_refused() {
        let x = |rows: usize| FeatureMatrix::new(vec!["f".to_owned()], rows, vec![0.0; rows]).expect("a matrix");
        let make = |ts: Vec<i64>| {
            LoadRows::new(
                vec![NodeName::new("a")],
                vec![0; ts.len()],
                ts.clone(),
                x(ts.len()),
                [vec![0.1; ts.len()], vec![0.1; ts.len()]],
            )
        };
        assert!(matches!(make(vec![0, 0]), Err(RowsError::Order { row: 1, .. })));
        assert!(matches!(make(vec![0, 7]), Err(RowsError::OffGrid { ts: 7, .. })));
        assert!(matches!(make(vec![]), Err(RowsError::Empty)));
    }

    #[test]
    fn a_selection_is_in_the_order_of_time_and_thins_by_time() {
        let rows = rows_of(&[vec![0.2; 40], vec![0.4; 40]]);
        let target = vec![0.1; rows.len()];
        let selected = rows.select(Window { from: 0, until: 6 * GRID_STEP_MS }, None, &target, 2);
        let at: Vec<(i64, u32)> = selected.iter().map(|&row| (rows.ts[row] / GRID_STEP_MS, rows.node[row])).collect();
        assert_eq!(at, [(0, 0), (0, 1), (2, 0), (2, 1), (4, 0), (4, 1)]);
    }
}
