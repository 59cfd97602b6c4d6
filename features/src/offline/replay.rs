//! What the features would have been had a node's samples been others: stretches of a dataset version, replayed with changed
//! samples. Each stretch starts from the windows as they stood there and changes nothing outside itself, so hundreds of them
//! may lie in the same hours. The cluster's context stays what it was: one node more or less in trouble hardly moves a mean.

use super::day::{Day, NodeState, RawDay};
use super::incidents;
use crate::catalogue::{self, RowSink};
use crate::settings::WindowRules;
use crate::slot::SlotBuilder;
use crate::windows::{ClusterContext, ClusterWindows, History};
use crate::{GRID_STEP_MS, Selection};
use anyhow::{Context, ensure};
use chrono::Days;
use cluster::{DAY_MS, NODE_METRICS, NodeSample};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use store::{Store, date_of};

/// A stretch of one node's history whose samples are changed.
pub struct Replay {
    /// Whose.
    pub node: String,
    /// The first moment that may be changed, UTC milliseconds on the grid.
    pub from: i64,
    /// The grid time of the last row that is wanted.
    pub until: i64,
    /// Changes a sample of the stretch; what is missing there stays NaN.
    pub change: Box<dyn Fn(&mut NodeSample) + Send + Sync>,
}

/// The rows of a replay, in order of time; grid times at which the node was silent have none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReplayedRows {
    /// The grid times, UTC milliseconds.
    pub ts: Vec<i64>,
    /// Row-major, as wide as the selection, NaN = missing.
    pub values: Vec<f32>,
}

/// Replays stretches of the raw tables in `raw` ([`Store::open_version`]) and gives the columns of `selection` for each of them,
/// in the order of `replays`. Equal to the rows of a build where `rules` are the build's. Windows are warmed by the week before the
/// first stretch; memory holds a day of the raw table and the windows.
///
/// # Errors
/// When a file is damaged, or a stretch does not lie on the grid.
pub fn replay(
    raw: &Store,
    rules: &WindowRules,
    selection: &Selection,
    replays: &[Replay],
) -> anyhow::Result<Vec<ReplayedRows>> {
    let days = raw.days(&NODE_METRICS)?;
    let rules = Arc::new(rules.clone());
    for replay in replays {
        ensure!(
            replay.from % GRID_STEP_MS == 0 && replay.from < replay.until,
            "a replay runs from {} to {}, which is not a stretch on the grid of {GRID_STEP_MS} ms",
            replay.from,
            replay.until
        );
    }
    let mut running: Vec<Replaying<'_>> = replays.iter().map(|replay| Replaying::new(replay, selection)).collect();
    let first = replays.iter().map(|replay| replay.from).min().unwrap_or(0);
    let last = replays.iter().map(|replay| replay.until).max().unwrap_or(i64::MIN);
    // A row looks back seven days, the first slot of a day is the evening before.
    let warm = date_of(first).checked_sub_days(Days::new(8)).context("a replay begins before all time")?;
    let wanted: Vec<_> = days.into_iter().filter(|date| *date >= warm && *date <= date_of(last)).collect();
    let mut nodes: BTreeMap<String, NodeState> = BTreeMap::new();
    let mut cluster = ClusterWindows::new((*rules).clone());
    let incidents = incidents::read(raw, warm)?;
    for date in wanted {
        let day = Day { raw, rules: &rules, incidents: &incidents, date, is_last: false, wanted: false };
        day.replay(&mut nodes, &mut cluster, &mut running).with_context(|| format!("features of {date}"))?;
    }
    Ok(running.into_iter().map(|replaying| replaying.rows).collect())
}

/// A replay on its way.
pub(super) struct Replaying<'a> {
    replay: &'a Replay,
    selection: &'a Selection,
    builder: SlotBuilder,
    /// The node's windows; `None` before the stretch begins.
    history: Option<History>,
    rows: ReplayedRows,
}

impl<'a> Replaying<'a> {
    fn new(replay: &'a Replay, selection: &'a Selection) -> Self {
        Self { replay, selection, builder: SlotBuilder::new(), history: None, rows: ReplayedRows::default() }
    }

    pub(super) fn node(&self) -> &'a str {
        &self.replay.node
    }

    /// Whether the stretch meets the day that begins at `start`, whose last slot ends a step before the next day.
    pub(super) fn meets(&self, start: i64) -> bool {
        self.replay.from < start + DAY_MS && self.replay.until >= start
    }

    pub(super) fn begins_at(&self, t: i64) -> bool {
        self.replay.from == t
    }

    pub(super) fn begin(&mut self, history: History) {
        self.history = Some(history);
    }

    /// Goes through the slots that end in `day`; `rows` are the node's.
    pub(super) fn day(
        &mut self,
        day: &RawDay<'_>,
        rows: Range<usize>,
        contexts: &[ClusterContext],
        rules: &WindowRules,
    ) {
        let Some(history) = &mut self.history else { return };
        let mut full = vec![f32::NAN; catalogue::len()];
        let mut next = rows.start + day.ts[rows.clone()].partition_point(|ts| *ts < self.replay.from.max(day.start));
        for (at, context) in contexts.iter().enumerate() {
            let t = day.start + at as i64 * GRID_STEP_MS;
            if t > self.replay.until {
                break;
            }
            if t > self.replay.from {
                history.push(&self.builder.close(rules));
                if history.is_heard() {
                    history.emit(t, context, &mut RowSink::new(&mut full));
                    let start = self.rows.values.len();
                    self.rows.ts.push(t);
                    self.rows.values.resize(start + self.selection.len(), f32::NAN);
                    self.selection.pick(&full, &mut self.rows.values[start..]);
                }
            }
            if t < self.replay.from {
                continue;
            }
            while next < rows.end && day.ts[next] < t + GRID_STEP_MS {
                let mut sample = day.sample(next);
                (self.replay.change)(&mut sample);
                self.builder.add(sample.ts, |metric| sample.get(metric));
                next += 1;
            }
        }
    }
}
