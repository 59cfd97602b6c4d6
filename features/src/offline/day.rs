//! One day: raw columns through the windows into feature columns.

use super::replay::Replaying;
use crate::GRID_STEP_MS;
use crate::catalogue::{self, ColumnSink};
use crate::columns;
use crate::settings::WindowRules;
use crate::slot::{Dropped, Slot, SlotBuilder};
use crate::windows::{ClusterContext, ClusterWindows, DAY, History, Incident};
use chrono::NaiveDate;
use cluster::{DAY_MS, NODE_METRICS, NodeMetric, NodeSample, grid_floor};
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
pub(super) struct RawDay<'a> {
    pub start: i64,
    pub ts: Vec<i64>,
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
        let (day, rows) = self.read(&frame)?;
        let (mut states, slots, contexts) = self.close_slots(&day, &rows, nodes, cluster);
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

    /// Runs the day through the windows and, beside them, through those of each replay whose stretch meets it. `replays` are
    /// those of one node each, in any order.
    pub(super) fn replay(
        &self,
        nodes: &mut BTreeMap<String, NodeState>,
        cluster: &mut ClusterWindows,
        replays: &mut [Replaying<'_>],
    ) -> anyhow::Result<()> {
        let frame = self.raw.read_day(&NODE_METRICS, self.date, &[])?;
        let (day, rows) = self.read(&frame)?;
        let (mut states, slots, contexts) = self.close_slots(&day, &rows, nodes, cluster);
        let mut of_node: HashMap<&str, Vec<&mut Replaying<'_>>> = HashMap::new();
        for replay in replays.iter_mut().filter(|replay| replay.meets(day.start)) {
            of_node.entry(replay.node()).or_default().push(replay);
        }
        let work: Vec<_> = states
            .iter_mut()
            .zip(&slots)
            .map(|((node, state), slots)| {
                (node.as_str(), state, slots, of_node.remove(node.as_str()).unwrap_or_default())
            })
            .collect();
        work.into_par_iter().for_each(|(node, state, slots, mut replays)| {
            if !replays.is_empty() {
                state.history.set_incidents(self.incidents.get(node).cloned().unwrap_or_default());
            }
            for (at, slot) in slots.iter().enumerate() {
                state.history.push(slot);
                let t = day.start + at as i64 * GRID_STEP_MS;
                for replay in replays.iter_mut().filter(|replay| replay.begins_at(t)) {
                    replay.begin(state.history.clone());
                }
            }
            let rows = rows.get(node).cloned().unwrap_or(0..0);
            for replay in &mut replays {
                replay.day(&day, rows.clone(), &contexts, self.rules);
            }
        });
        nodes.retain(|_, state| !state.history.is_empty() || state.builder.has_samples());
        Ok(())
    }

    /// The day's raw columns, and which rows are whose.
    fn read<'f>(&self, frame: &'f DataFrame) -> anyhow::Result<(RawDay<'f>, HashMap<String, Range<usize>>)> {
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
        Ok((day, columns::runs(frame.column("node")?)?.into_iter().collect()))
    }

    /// The slots of every node that end in the day, and the cluster's context at each of them. Nodes that are new are added.
    fn close_slots<'n>(
        &self,
        day: &RawDay<'_>,
        rows: &HashMap<String, Range<usize>>,
        nodes: &'n mut BTreeMap<String, NodeState>,
        cluster: &mut ClusterWindows,
    ) -> (Vec<(&'n String, &'n mut NodeState)>, Vec<Vec<Slot>>, Vec<ClusterContext>) {
        for node in rows.keys() {
            if !nodes.contains_key(node) {
                nodes.insert(node.clone(), NodeState::new(self.rules));
            }
        }
        let mut states: Vec<(&String, &mut NodeState)> = nodes.iter_mut().collect();
        let slots: Vec<Vec<Slot>> = states
            .par_iter_mut()
            .map(|(node, state)| {
                slots(&mut state.builder, day, rows.get(node.as_str()).cloned().unwrap_or(0..0), self.rules)
            })
            .collect();
        let contexts = (0..DAY).map(|at| cluster.push(slots.iter().map(|slots| &slots[at]))).collect();
        (states, slots, contexts)
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

impl RawDay<'_> {
    /// The sample in a row, NaN where the source has nothing.
    pub(super) fn sample(&self, row: usize) -> NodeSample {
        let mut sample = NodeSample::empty(self.ts[row]);
        for (metric, values) in NodeMetric::ALL.iter().zip(&self.metrics) {
            if let Some(value) = values.get(row) {
                sample.set(*metric, *value);
            }
        }
        sample
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
