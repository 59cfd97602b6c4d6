//! One day: raw columns through the windows into feature columns.

use crate::GRID_STEP_MS;
use crate::catalogue::{self, ColumnSink};
use crate::columns;
use crate::settings::WindowRules;
use crate::slot::{Dropped, Slot, SlotBuilder};
use crate::windows::{ClusterContext, ClusterWindows, DAY, History, Incident};
use chrono::NaiveDate;
use cluster::{DAY_MS, NODE_METRICS, NodeMetric, grid_floor};
use polars::prelude::*;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use store::{Store, day_start};

/// One node between two days.
#[derive(Debug)]
pub(super) struct NodeState {
    builder: SlotBuilder,
    history: History,
}

impl NodeState {
    fn new(rules: &Arc<WindowRules>) -> Self {
        Self { builder: SlotBuilder::new(), history: History::new(Arc::clone(rules)) }
    }

    pub(super) const fn dropped(&self) -> Dropped {
        self.builder.dropped
    }
}

/// The raw columns of a day.
struct RawDay<'a> {
    start: i64,
    ts: Vec<i64>,
    /// By metric; empty where the source has none.
    metrics: Vec<Cow<'a, [f64]>>,
    /// As many missing values as there are rows, for the metrics that the source does not have.
    absent: Vec<f64>,
}

/// The rows of one node.
struct NodeRows {
    node: String,
    ts: Vec<i64>,
    /// Column-major: [`DAY`] places for the first feature, of which there are as many in use as rows, then the second.
    values: Vec<f32>,
}

impl NodeRows {
    /// The values of the feature in place `place` of the catalogue.
    fn feature(&self, place: usize) -> &[f32] {
        &self.values[place * DAY..][..self.ts.len()]
    }
}

/// The rows of a day, by node.
#[derive(Default)]
pub(super) struct DayOutput {
    nodes: Vec<NodeRows>,
}

/// What is the same for all days of a build.
pub(super) struct Day<'a> {
    pub raw: &'a Store,
    pub rules: &'a Arc<WindowRules>,
    pub incidents: &'a HashMap<String, Vec<Incident>>,
    pub date: NaiveDate,
    /// The dataset ends within this day, so rows end with its last sample.
    pub is_last: bool,
    /// Whether rows are wanted; without them the day only warms the windows.
    pub wanted: bool,
}

impl Day<'_> {
    /// Runs the day through the windows.
    pub(super) fn process(
        &self,
        nodes: &mut BTreeMap<String, NodeState>,
        cluster: &mut ClusterWindows,
    ) -> anyhow::Result<DayOutput> {
        let frame = self.raw.read_day(&NODE_METRICS, self.date, &[])?;
        let runs = columns::runs(frame.column("node")?)?;
        let metrics = NodeMetric::ALL.par_iter().map(|metric| match frame.column(metric.column()) {
            Ok(column) => columns::doubles(column),
            Err(_) => Ok(Cow::Borrowed([].as_slice())),
        });
        let day = RawDay {
            start: day_start(self.date),
            ts: columns::timestamps(frame.column("ts")?)?,
            metrics: metrics.collect::<Result<_, _>>()?,
            absent: vec![f64::NAN; frame.height()],
        };
        for (node, _) in &runs {
            if !nodes.contains_key(node) {
                nodes.insert(node.clone(), NodeState::new(self.rules));
            }
        }
        let rows: HashMap<&str, Range<usize>> = runs.iter().map(|(node, rows)| (node.as_str(), rows.clone())).collect();
        let mut states: Vec<(&String, &mut NodeState)> = nodes.iter_mut().collect();
        let slots: Vec<Vec<Slot>> = states
            .par_iter_mut()
            .map(|(node, state)| {
                slots(&mut state.builder, &day, rows.get(node.as_str()).cloned().unwrap_or(0..0), self.rules)
            })
            .collect();
        let contexts: Vec<ClusterContext> =
            (0..DAY).map(|at| cluster.push(slots.iter().map(|slots| &slots[at]))).collect();
        let until = self.last_row(&day);
        let outputs: Vec<NodeRows> = states
            .par_iter_mut()
            .zip(&slots)
            .map(|((node, state), slots)| {
                state.history.set_incidents(self.incidents.get(node.as_str()).cloned().unwrap_or_default());
                node_rows(node, &mut state.history, slots, &contexts, day.start, until)
            })
            .collect();
        nodes.retain(|_, state| !state.history.is_empty() || state.builder.has_samples());
        Ok(DayOutput { nodes: outputs })
    }

    /// The last grid time that gets a row: on the last day of the dataset, the last one that all samples before it have
    /// been collected for.
    fn last_row(&self, day: &RawDay) -> i64 {
        if !self.wanted {
            i64::MIN
        } else if self.is_last {
            day.ts.iter().max().map_or(i64::MIN, |newest| grid_floor(*newest, GRID_STEP_MS))
        } else {
            day.start + DAY_MS
        }
    }
}

/// The slots that end in the day, the first of which ends at midnight and belongs to the evening before.
fn slots(builder: &mut SlotBuilder, day: &RawDay, rows: Range<usize>, rules: &WindowRules) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(DAY);
    let mut metrics: [&[f64]; NodeMetric::COUNT] = [&day.absent; NodeMetric::COUNT];
    for (values, metric) in metrics.iter_mut().zip(&day.metrics) {
        if !metric.is_empty() {
            *values = metric;
        }
    }
    let mut row = rows.start;
    let mut end = day.start;
    for _ in 0..DAY {
        slots.push(builder.close(rules));
        end += GRID_STEP_MS;
        while row < rows.end && day.ts[row] < end {
            let at = row;
            if day.ts[at] >= day.start {
                builder.add(day.ts[at], |metric| metrics[metric as usize][at]);
            } else {
                builder.dropped.out_of_order += 1;
            }
            row += 1;
        }
    }
    slots
}

fn node_rows(
    node: &str,
    history: &mut History,
    slots: &[Slot],
    contexts: &[ClusterContext],
    start: i64,
    until: i64,
) -> NodeRows {
    let mut rows = NodeRows { node: node.to_owned(), ts: Vec::new(), values: Vec::new() };
    for (at, (slot, context)) in slots.iter().zip(contexts).enumerate() {
        history.push(slot);
        let t = start + at as i64 * GRID_STEP_MS;
        if t <= until && history.is_heard() {
            // A node that is silent all day needs no room.
            if rows.values.is_empty() {
                rows.values = vec![f32::NAN; catalogue::len() * DAY];
            }
            history.emit(t, context, &mut ColumnSink::new(&mut rows.values, rows.ts.len(), DAY));
            rows.ts.push(t);
        }
    }
    rows
}

impl DayOutput {
    /// The day's part of `features/node_history`, sorted by node and time.
    pub(super) fn into_frame(self) -> PolarsResult<DataFrame> {
        let height = self.nodes.iter().map(|rows| rows.ts.len()).sum();
        let ts: Vec<i64> = self.nodes.iter().flat_map(|rows| rows.ts.iter().copied()).collect();
        let names = self.nodes.iter().flat_map(|rows| std::iter::repeat_n(rows.node.as_str(), rows.ts.len()));
        let mut columns = vec![
            Int64Chunked::from_vec("ts".into(), ts)
                .into_datetime(TimeUnit::Milliseconds, Some(TimeZone::UTC))
                .into_column(),
            StringChunked::from_iter_values("node".into(), names).into_column(),
        ];
        let features = catalogue::all().par_iter().enumerate().map(|(place, feature)| {
            let mut values: Vec<f32> = Vec::with_capacity(height);
            for rows in self.nodes.iter().filter(|rows| !rows.ts.is_empty()) {
                values.extend_from_slice(rows.feature(place));
            }
            nullable(feature.name.as_str().into(), values)
        });
        columns.extend(features.collect::<Vec<_>>());
        DataFrame::new(height, columns)
    }
}

/// A column in which NaN is null.
fn nullable(name: PlSmallStr, values: Vec<f32>) -> Column {
    let missing = values.iter().fold(false, |missing, value| missing | value.is_nan());
    let present =
        missing.then(|| BooleanChunked::from_iter_values(name.clone(), values.iter().map(|value| !value.is_nan())));
    let validity =
        present.as_ref().and_then(|present| present.downcast_iter().next()).map(|bits| bits.values().clone());
    Float32Chunked::from_vec_validity(name, values, validity).into_column()
}
