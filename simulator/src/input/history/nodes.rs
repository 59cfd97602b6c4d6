//! The nodes of a history: shape, life, and what they used.

use super::STEP_MS;
use crate::input::InputError;
use crate::world::{Label, Node, Notes, SeriesId, Usage, UsageSeries};
use chrono::NaiveDate;
use cluster::{Bytes, Cores, NODE_METRICS};
use polars::prelude::{DataFrame, PolarsResult};
use std::collections::BTreeMap;
use store::Store;

/// A node that is silent for this long at either end of the span was not there.
const ABSENT_MS: i64 = 30 * 60_000;
/// A pod's usage is at most this multiple of its mean; what is beyond stays with the node.
const MOST_FACTOR: f64 = 4.0;

/// One node as measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    pub cpu_allocatable: f64,
    pub memory_allocatable: f64,
    first_ms: i64,
    last_ms: i64,
    /// Sum and count by slot.
    cpu: Vec<(f64, u32)>,
    memory: Vec<(f64, u32)>,
}

/// All nodes, by name.
#[derive(Debug, Clone)]
pub(super) struct MeasuredNodes {
    pub nodes: Vec<(String, Measured)>,
    pub slots: usize,
    start_ms: i64,
    end_ms: i64,
}

/// By node, then slot: the sum of the means of the pods that ran there, in cores and bytes.
pub(super) type Explained = Vec<Vec<(f64, f64)>>;

/// The times of the oldest and the newest sample of a day.
pub(super) fn first_and_last_sample(store: &Store, day: NaiveDate) -> Result<(i64, i64), InputError> {
    let frame = store.read_day(&NODE_METRICS, day, &["ts"])?;
    let times = (|| -> PolarsResult<Vec<i64>> {
        Ok(frame.column("ts")?.to_physical_repr().i64()?.iter().flatten().collect())
    })()
    .map_err(table_error)?;
    times
        .iter()
        .min()
        .zip(times.iter().max())
        .map(|(first, last)| (*first, *last))
        .ok_or(InputError::History { what: format!("no row on {day}"), hint: "Collect the day again" })
}

fn table_error(source: polars::error::PolarsError) -> InputError {
    InputError::Table { table: NODE_METRICS.name, source }
}

const COLUMNS: [&str; 6] =
    ["ts", "node", "cpu_used_cores", "cpu_allocatable_cores", "memory_used_bytes", "memory_allocatable_bytes"];

pub(super) fn read_nodes(
    store: &Store,
    days: &[NaiveDate],
    start_ms: i64,
    end_ms: i64,
    notes: &mut Notes,
) -> Result<MeasuredNodes, InputError> {
    let slots = ((end_ms - start_ms) / STEP_MS) as usize;
    let mut nodes: BTreeMap<String, Measured> = BTreeMap::new();
    let mut over = 0;
    let bar = runtime::progress::bar(days.len() as u64, "reading node metrics");
    for day in days {
        let frame = store.read_day(&NODE_METRICS, *day, &COLUMNS)?;
        over += take_in(&frame, (start_ms, end_ms), slots, &mut nodes).map_err(table_error)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    notes.count("samples with more CPU used than allocatable, kept", over);
    let before = nodes.len();
    nodes.retain(|_, node| node.cpu_allocatable > 0.0 && node.memory_allocatable > 0.0);
    notes.count("left out: nodes without allocatable CPU or memory", (before - nodes.len()) as u64);
    if nodes.is_empty() {
        return Err(InputError::History {
            what: format!("no node with allocatable CPU and memory ({before} without)"),
            hint: "Replays need `cpu_allocatable_cores` and `memory_allocatable_bytes`, which kube-state-metrics gives",
        });
    }
    Ok(MeasuredNodes { nodes: nodes.into_iter().collect(), slots, start_ms, end_ms })
}

/// Takes in a day; returns how many samples show more CPU in use than allocatable.
fn take_in(
    frame: &DataFrame,
    span: (i64, i64),
    slots: usize,
    nodes: &mut BTreeMap<String, Measured>,
) -> PolarsResult<u64> {
    let times = frame.column("ts")?.to_physical_repr();
    let (times, names) = (times.i64()?, frame.column("node")?.str()?);
    let float = |name: &str| frame.column(name)?.f64().cloned();
    let (cpu, cpu_allocatable) = (float(COLUMNS[2])?, float(COLUMNS[3])?);
    let (memory, memory_allocatable) = (float(COLUMNS[4])?, float(COLUMNS[5])?);
    let usable = |value: Option<f64>| value.filter(|value| value.is_finite() && *value >= 0.0);
    let mut over = 0;
    for row in 0..frame.height() {
        let (Some(ts), Some(name)) = (times.get(row), names.get(row)) else { continue };
        if ts < span.0 || ts >= span.1 {
            continue;
        }
        if !nodes.contains_key(name) {
            let fresh = vec![(0.0, 0); slots];
            let node = Measured { first_ms: ts, last_ms: ts, cpu: fresh.clone(), memory: fresh, ..Measured::default() };
            nodes.insert(name.to_owned(), node);
        }
        let Some(node) = nodes.get_mut(name) else { continue };
        let slot = ((ts - span.0) / STEP_MS) as usize;
        (node.first_ms, node.last_ms) = (node.first_ms.min(ts), node.last_ms.max(ts));
        // The newest amounts count: nodes are resized by replacing them.
        if let Some(amount) = usable(cpu_allocatable.get(row)).filter(|amount| *amount > 0.0) {
            node.cpu_allocatable = amount;
        }
        if let Some(amount) = usable(memory_allocatable.get(row)).filter(|amount| *amount > 0.0) {
            node.memory_allocatable = amount;
        }
        if let Some(used) = usable(cpu.get(row)) {
            over += u64::from(node.cpu_allocatable > 0.0 && used > node.cpu_allocatable);
            node.cpu[slot].0 += used;
            node.cpu[slot].1 += 1;
        }
        if let Some(used) = usable(memory.get(row)) {
            node.memory[slot].0 += used;
            node.memory[slot].1 += 1;
        }
    }
    Ok(over)
}

impl MeasuredNodes {
    /// The place of a node by name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.nodes.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()
    }

    /// Splits what each node used into the course of its pods (one series per node, in the same order) and a rest that
    /// stays with it (the series after those).
    pub fn into_nodes(self, explained: &Explained) -> (Vec<Node>, Vec<UsageSeries>) {
        let count = self.nodes.len();
        let (mut nodes, mut courses, mut rests) = (Vec::new(), Vec::new(), Vec::new());
        let span_ms = self.end_ms - self.start_ms;
        for (at, (name, measured)) in self.nodes.into_iter().enumerate() {
            let (course, rest) = split(&measured, &explained[at]);
            courses.push(course);
            rests.push(rest);
            let cpu = Cores::from_millicores((measured.cpu_allocatable * 1_000.0) as u64);
            let mut node = Node::new(name.clone(), cpu, Bytes::new(measured.memory_allocatable as u64));
            node.labels.push(Label::new("kubernetes.io/hostname", name));
            let joins = measured.first_ms - self.start_ms;
            node.joins_ms = if joins > ABSENT_MS { joins } else { 0 };
            let leaves = measured.last_ms - self.start_ms + STEP_MS;
            node.leaves_ms = (leaves + ABSENT_MS < span_ms).then_some(leaves);
            let series = SeriesId((count + at) as u32);
            node.baseline = Some(Usage { series, shift: 0, cpu_milli: 1_000.0, memory_bytes: 1.0 });
            nodes.push(node);
        }
        courses.extend(rests);
        (nodes, courses)
    }
}

/// The factor on the means of the pods, and what is left over in cores and bytes, by slot.
fn split(measured: &Measured, explained: &[(f64, f64)]) -> (UsageSeries, UsageSeries) {
    let (cpu, rest_cpu) = factors(&measured.cpu, explained.iter().map(|sum| sum.0), MOST_FACTOR);
    // Memory means are the largest of a life, so pods are never scaled above them.
    let (memory, rest_memory) = factors(&measured.memory, explained.iter().map(|sum| sum.1), 1.0);
    let series = |cpu, memory| UsageSeries::new(cpu, memory).unwrap_or_else(UsageSeries::constant);
    (series(cpu, memory), series(rest_cpu, rest_memory))
}

fn factors(used: &[(f64, u32)], explained: impl Iterator<Item = f64>, most: f64) -> (Vec<f32>, Vec<f32>) {
    let mut held = (1.0, 0.0);
    used.iter()
        .zip(explained)
        .map(|((sum, count), explained)| {
            if *count > 0 {
                let used = sum / f64::from(*count);
                let factor = if explained > 0.0 { (used / explained).min(most) } else { 1.0 };
                held = (factor, (used - factor * explained).max(0.0));
            }
            (held.0 as f32, held.1 as f32)
        })
        .unzip()
}
