//! One node's windows: samples in, rows out.

use super::cluster::{ClusterContext, ClusterLevel};
use super::plain::PlainWindows;
use super::resource::ResourceWindows;
use super::snapshot::{BadSnapshot, HistoryState, Snapshot, check};
use super::{DAY, WEEK};
use crate::GRID_STEP_MS;
use crate::catalogue::{self, AHEAD, FROM_INCIDENTS, Feature, RowSink, Sink, Topic};
use crate::settings::WindowRules;
use crate::slot::{Dropped, Plain, Slot, SlotBuilder};
use ::cluster::{DAY_MS, HOUR_MS, NodeSample, Resource, grid_floor};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// A node that has been silent for longer has no row: its last values say nothing about now.
pub const SILENT_AFTER_MS: i64 = HOUR_MS;
/// Samples ahead of the open slot that are kept until their slot opens: a day at 30 s. More come from a broken clock.
const MAX_PENDING: usize = 2_880;

/// When something was wrong with the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incident {
    /// First moment, UTC milliseconds.
    pub started_at: i64,
    /// Such as `not_ready`; with the first moment it names the incident.
    pub kind: String,
    /// Last moment; `None` while it lasts.
    pub ended_at: Option<i64>,
}

/// A row was asked for whose time has passed: the windows have moved on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "row at {wanted} ms asked for, but the windows stand at {now} ms already. Ask for rows in rising order of time"
)]
pub struct Passed {
    /// The time asked for.
    pub wanted: i64,
    /// Where the windows stand.
    pub now: i64,
}

/// Seven days of one node, slot by slot.
#[derive(Debug, Clone)]
pub(crate) struct History {
    rules: Arc<WindowRules>,
    cpu: ResourceWindows,
    memory: ResourceWindows,
    plain: PlainWindows,
    incidents: Vec<Incident>,
    /// Slots since the last one that had a sample.
    silent_slots: i64,
    /// Slots taken in since the windows were last empty, at most a week.
    filled: usize,
}

impl History {
    pub(crate) fn new(rules: Arc<WindowRules>) -> Self {
        Self {
            rules,
            cpu: ResourceWindows::new(),
            memory: ResourceWindows::new(),
            plain: PlainWindows::new(),
            incidents: Vec::new(),
            silent_slots: WEEK as i64,
            filled: 0,
        }
    }

    /// Takes in the next slot. A node that has been silent for a week is as new.
    pub(crate) fn push(&mut self, slot: &Slot) {
        self.silent_slots = if slot.samples > 0 { 0 } else { self.silent_slots + 1 };
        if self.silent_slots >= WEEK as i64 {
            if self.filled > 0 {
                let incidents = std::mem::take(&mut self.incidents);
                *self = Self { incidents, ..Self::new(Arc::clone(&self.rules)) };
            }
            return;
        }
        self.filled = (self.filled + 1).min(WEEK);
        self.cpu.push(slot.cpu, &self.rules);
        self.memory.push(slot.memory, &self.rules);
        self.plain.push(&slot.plain, slot.samples);
    }

    /// Whether all that is known of the node is more than a week old.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Whether the node was heard of recently enough to have a row.
    pub(crate) fn is_heard(&self) -> bool {
        self.silent_slots < SILENT_AFTER_MS / GRID_STEP_MS
    }

    /// Replaces the incidents of the node.
    pub(crate) fn set_incidents(&mut self, mut incidents: Vec<Incident>) {
        incidents.sort_unstable();
        self.incidents = incidents;
    }

    /// Adds an incident, or the end of one that is known.
    fn add_incident(&mut self, incident: Incident) {
        let same = |known: &&mut Incident| known.started_at == incident.started_at && known.kind == incident.kind;
        match self.incidents.iter_mut().find(same) {
            Some(known) => known.ended_at = incident.ended_at,
            None => {
                self.incidents.push(incident);
                self.incidents.sort_unstable();
            }
        }
    }

    /// Takes in a moment at which something was bad. One that is no further than `join` from an incident of its kind belongs to it.
    fn add_bad_moment(&mut self, kind: &str, moment: i64, join: i64) {
        let belongs = |known: &&mut Incident| {
            let since_end = known.ended_at.map_or(0, |end| moment - end);
            known.kind == kind && known.started_at - moment <= join && since_end <= join
        };
        match self.incidents.iter_mut().find(belongs) {
            Some(known) => known.ended_at = known.ended_at.max(Some(moment)),
            None => self.add_incident(Incident { started_at: moment, kind: kind.to_owned(), ended_at: Some(moment) }),
        }
    }

    /// What later rows can depend on.
    pub(super) fn state(&self) -> HistoryState {
        let (plain, seen) = self.plain.state();
        HistoryState {
            cpu: self.cpu.state(),
            memory: self.memory.state(),
            plain,
            seen,
            silent_slots: self.silent_slots,
            filled: self.filled,
            incidents: self.incidents.clone(),
        }
    }

    /// Replays the slots of a snapshot.
    pub(super) fn restore(rules: Arc<WindowRules>, state: &HistoryState) -> Result<Self, BadSnapshot> {
        for resource in [&state.cpu, &state.memory] {
            check("slots of means", WEEK, resource.means.len())?;
            check("slots of variances", WEEK, resource.variances.len())?;
        }
        check("plain metrics", Plain::COUNT, state.plain.len())?;
        for series in &state.plain {
            check("slots of a plain metric", DAY + 1, series.len())?;
        }
        check("marks of slots with samples", DAY, state.seen.len())?;
        let mut history = Self::new(rules);
        for (cpu, memory) in state.cpu.levels().into_iter().zip(state.memory.levels()) {
            history.cpu.push(cpu, &history.rules);
            history.memory.push(memory, &history.rules);
        }
        // One slot more than there are marks: the oldest is only looked back at.
        let marks = std::iter::once(false).chain(state.seen.iter().copied());
        for (slot, seen) in marks.enumerate() {
            history.plain.push(&state.plain_at(slot), u32::from(seen));
        }
        Ok(Self {
            silent_slots: state.silent_slots,
            filled: state.filled,
            incidents: state.incidents.clone(),
            ..history
        })
    }

    fn forget_incidents(&mut self, t: i64) {
        self.incidents.retain(|incident| incident.started_at >= t - 7 * DAY_MS);
    }

    /// Writes the row of grid time `t`, the end of the newest slot.
    pub(crate) fn row(&self, t: i64, context: &ClusterContext, row: &mut [f32]) {
        self.emit(t, context, &mut RowSink::new(row));
    }

    /// Hands every feature of grid time `t` to `sink`.
    pub(crate) fn emit(&self, t: i64, context: &ClusterContext, sink: &mut impl Sink) {
        self.cpu.emit(Resource::Cpu, &self.rules, sink);
        self.memory.emit(Resource::Memory, &self.rules, sink);
        self.plain.emit_devices(&self.rules, sink);
        self.plain.emit_pods(sink);
        self.emit_profile(sink);
        self.plain.emit_stability(&self.rules, sink);
        self.emit_incidents(t, sink);
        self.emit_calendar(t, sink);
        self.emit_cluster(context, sink);
    }

    /// Room in absolute amounts, and which kind of room the node has most of.
    fn emit_profile(&self, sink: &mut impl Sink) {
        let feature =
            |name: &str, unit, window, formula: &str| Feature::new(Topic::Profile, name, unit, window, formula);
        let (cores, bytes) = (self.plain.now(Plain::Cores), self.plain.now(Plain::MemoryBytes));
        sink.put(cores * (1.0 - self.cpu.now()), || {
            feature("cpu_free", "cores", "5m", "allocatable cores x (1 - cpu_utilization)")
        });
        sink.put(bytes * (1.0 - self.memory.now()), || {
            feature("memory_free", "bytes", "5m", "allocatable bytes x (1 - memory_utilization)")
        });
        sink.put(bytes / cores, || feature("memory_per_core", "bytes", "5m", "allocatable bytes / allocatable cores"));
        let (cpu, memory) = (self.cpu.mean_of_day(&self.rules), self.memory.mean_of_day(&self.rules));
        sink.put(cpu / memory, || feature("cpu_memory_balance", "ratio", "24h", "cpu_mean_24h / memory_mean_24h"));
        let room = |level: f32| if level.is_nan() { f32::NAN } else { (1.0 - level).max(0.0) };
        let rooms = [room(cpu), room(memory), room(self.plain.disk_io_of_day(&self.rules))];
        let total: f32 = rooms.iter().filter(|room| !room.is_nan()).sum();
        for (room, (name, what)) in rooms.iter().zip([("cpu", "CPU"), ("memory", "memory"), ("io", "disk I/O time")]) {
            sink.put(if total > 0.0 { room / total } else { f32::NAN }, || {
                let formula = format!("room for {what} (1 - mean of the last day) / sum of the rooms for CPU, memory and disk I/O that are known");
                feature(&format!("suits_{name}"), "ratio", "24h", &formula)
            });
        }
    }

    fn emit_incidents(&self, t: i64, sink: &mut impl Sink) {
        let feature = |name, unit, window: &str, formula: &str| {
            Feature::new(Topic::Stability, name, unit, window, formula).knowable(FROM_INCIDENTS)
        };
        let (mut day, mut week, mut active) = (0, 0, false);
        for incident in &self.incidents {
            let known = incident.started_at < t && incident.started_at >= t - 7 * DAY_MS;
            week += i32::from(known);
            day += i32::from(known && incident.started_at >= t - DAY_MS);
            active |= known && incident.ended_at.is_none_or(|end| end >= t);
        }
        sink.put(day as f32, || feature("incidents_24h", "incidents", "24h", "incidents that began in [t - 24 h, t)"));
        sink.put(week as f32, || feature("incidents_7d", "incidents", "7d", "incidents that began in [t - 7 d, t)"));
        sink.put(if active { 1.0 } else { 0.0 }, || {
            feature(
                "incident_active",
                "flag",
                "7d",
                "1 while an incident that began in [t - 7 d, t) has not ended before t, else 0",
            )
        });
    }

    fn emit_calendar(&self, t: i64, sink: &mut impl Sink) {
        let moment = self.rules.calendar.at(t);
        let feature =
            |name, unit, formula: &str| Feature::new(Topic::Calendar, name, unit, "t", formula).knowable(AHEAD);
        sink.put(moment.minute_of_day, || feature("minute_of_day", "minutes", "minutes since local midnight"));
        sink.put(moment.hour, || feature("hour", "hours", "local hour, 0 to 23"));
        sink.put(moment.day_sin, || feature("day_sin", "ratio", "sine of the time of day, one turn a day"));
        sink.put(moment.day_cos, || feature("day_cos", "ratio", "cosine of the time of day, one turn a day"));
        sink.put(moment.day_of_week, || feature("day_of_week", "days", "local weekday, 0 = Monday"));
        sink.put(moment.week_sin, || {
            feature("week_sin", "ratio", "sine of the time of week, one turn from Monday to Sunday")
        });
        sink.put(moment.week_cos, || {
            feature("week_cos", "ratio", "cosine of the time of week, one turn from Monday to Sunday")
        });
        sink.put(moment.weekend, || feature("weekend", "flag", "1 on Saturday and Sunday, else 0"));
        sink.put(moment.holiday, || feature("holiday", "flag", "1 on a configured holiday, else 0"));
        sink.put(moment.holiday_tomorrow, || {
            feature("holiday_tomorrow", "flag", "1 on the day before a configured holiday, else 0")
        });
    }

    fn emit_cluster(&self, context: &ClusterContext, sink: &mut impl Sink) {
        let levels: [(&str, &ClusterLevel, f32); 2] =
            [("cpu", &context.cpu, self.cpu.now()), ("memory", &context.memory, self.memory.now())];
        for (resource, level, own) in levels {
            let feature = |name: &str, unit, window: &str, formula: &str| {
                Feature::new(Topic::Cluster, format!("cluster_{resource}_{name}"), unit, window, formula)
            };
            sink.put(level.now, || feature("utilization", "ratio", "5m", "mean of the nodes' 5-minute means"));
            sink.put(level.mean_1h, || feature("mean_1h", "ratio", "1h", "mean of the cluster's 5-minute means"));
            sink.put(level.mean_24h, || feature("mean_24h", "ratio", "24h", "mean of the cluster's 5-minute means"));
            sink.put(level.change_1h, || {
                feature("change_1h", "ratio", "2h", "the cluster's mean_1h less its value 1 h ago")
            });
            sink.put(level.change_24h, || {
                feature("change_24h", "ratio", "24h", "the cluster's 5-minute mean less its value 24 h ago")
            });
            sink.put(level.hot_share, || {
                feature("hot_share", "ratio", "5m", "share of nodes with a 5-minute mean of 0.8 or more")
            });
            sink.put(own - level.now, || {
                Feature::new(
                    Topic::Cluster,
                    format!("{resource}_over_cluster"),
                    "ratio",
                    "5m",
                    "own 5-minute mean less the cluster's",
                )
            });
        }
        sink.put(context.nodes, || {
            Feature::new(Topic::Cluster, "cluster_nodes", "nodes", "5m", "nodes with a sample in the last five minutes")
        });
    }
}

/// The online windows of one node: takes samples in rising order of time and gives a row at each grid point.
///
/// A row at `t` has seen the samples before `t` and no other. It depends on the last seven days only, so windows that were
/// started a week ago give the same row as windows that have run for a year.
#[derive(Debug, Clone)]
pub struct NodeWindows {
    rules: Arc<WindowRules>,
    builder: SlotBuilder,
    history: History,
    /// Stamp of the slot that takes in samples; `None` before the first one.
    open: Option<i64>,
    /// Samples of later slots, oldest first.
    pending: VecDeque<NodeSample>,
    ahead: u64,
    last: Slot,
}

impl NodeWindows {
    /// Windows that have seen nothing.
    pub fn new(rules: Arc<WindowRules>) -> Self {
        Self {
            history: History::new(Arc::clone(&rules)),
            rules,
            builder: SlotBuilder::new(),
            open: None,
            pending: VecDeque::new(),
            ahead: 0,
            last: Slot::EMPTY,
        }
    }

    /// Takes in a sample. Samples of a slot that is not open yet wait for [`NodeWindows::advance`]; duplicates and late
    /// ones are counted and dropped.
    pub fn push(&mut self, sample: &NodeSample) {
        let stamp = SlotBuilder::stamp(sample.ts);
        let open = *self.open.get_or_insert(stamp);
        if stamp < open {
            self.builder.dropped.out_of_order += 1;
        } else if stamp == open {
            self.builder.add(sample.ts, |metric| sample.get(metric));
        } else if self.pending.len() >= MAX_PENDING {
            self.ahead += 1;
        } else {
            self.hold(sample);
        }
    }

    /// Keeps a sample for later, in order of time.
    fn hold(&mut self, sample: &NodeSample) {
        let place = self.pending.partition_point(|held| held.ts < sample.ts);
        if self.pending.get(place).is_some_and(|held| held.ts == sample.ts) {
            self.builder.dropped.duplicates += 1;
        } else {
            self.pending.insert(place, *sample);
        }
    }

    /// Adds an incident of the node, or the end of one that was open.
    pub fn push_incident(&mut self, incident: Incident) {
        self.history.add_incident(incident);
    }

    /// See [`crate::OnlineFeatures::push_bad_moments`].
    pub(crate) fn push_bad_moment(&mut self, kind: &str, moment: i64, join: i64) {
        self.history.add_bad_moment(kind, moment, join);
    }

    pub(crate) fn incidents_mut(&mut self) -> &mut [Incident] {
        &mut self.history.incidents
    }

    /// Closes all slots up to grid time `t` (rounded down to the grid).
    pub fn advance(&mut self, t: i64) {
        let t = grid_floor(t, GRID_STEP_MS);
        self.history.forget_incidents(t);
        let Some(mut open) = self.open else { return };
        while open <= t {
            if self.is_idle() {
                // After a week of silence every further slot is empty and changes nothing.
                open = self.pending.front().map_or(t, |held| SlotBuilder::stamp(held.ts).min(t)).max(open);
            }
            self.take_pending(open);
            self.last = self.builder.close(&self.rules);
            self.history.push(&self.last);
            open += GRID_STEP_MS;
        }
        self.open = Some(open);
        self.take_pending(open);
        // History comes by whole pieces, what is live by single samples: the room for a piece is not needed again.
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
    }

    /// Takes in the samples that waited for the slot stamped `open`.
    fn take_pending(&mut self, open: i64) {
        while let Some(held) = self.pending.pop_front_if(|held| SlotBuilder::stamp(held.ts) <= open) {
            self.builder.add(held.ts, |metric| held.get(metric));
        }
    }

    fn is_idle(&self) -> bool {
        self.history.is_empty() && !self.builder.has_samples()
    }

    /// Writes the row of grid time `t` into `row` (the catalogue's order and length). Gives false, and leaves `row` alone,
    /// when the node was not heard of in the hour before `t`.
    ///
    /// # Errors
    /// When the windows have moved past `t`.
    pub fn row(&mut self, t: i64, context: &ClusterContext, row: &mut [f32]) -> Result<bool, Passed> {
        self.advance(t);
        match self.open {
            Some(open) if open > t + GRID_STEP_MS && !self.history.is_empty() => {
                return Err(Passed { wanted: t, now: open - GRID_STEP_MS });
            }
            Some(open) if open == t + GRID_STEP_MS && self.history.is_heard() => {}
            _ => return Ok(false),
        }
        self.history.row(t, context, row);
        Ok(true)
    }

    /// The slot stamped `t`, for the cluster's context; empty where the node has none.
    pub(crate) fn slot_at(&mut self, t: i64) -> Slot {
        self.advance(t);
        if self.open == Some(t + GRID_STEP_MS) { self.last } else { Slot::EMPTY }
    }

    /// The slot stamped `t` as it would be with `samples` taken in, where everything before it is closed. Nothing changes.
    pub(crate) fn slot_with(&self, t: i64, samples: &[NodeSample]) -> Slot {
        if self.open.is_some_and(|open| open != t) {
            return if self.open == Some(t + GRID_STEP_MS) { self.last } else { Slot::EMPTY };
        }
        let mut builder = self.builder.clone();
        for sample in self.pending.iter().chain(samples).filter(|sample| SlotBuilder::stamp(sample.ts) == t) {
            builder.add(sample.ts, |metric| sample.get(metric));
        }
        if self.open.is_none() && !builder.has_samples() { Slot::EMPTY } else { builder.close(&self.rules) }
    }

    /// Stamp of the slot that takes in samples; `None` before the first one.
    pub(crate) const fn open(&self) -> Option<i64> {
        self.open
    }

    /// Whether a week has passed without a sample.
    pub fn is_forgotten(&self) -> bool {
        self.is_idle() && self.pending.is_empty() && self.history.incidents.is_empty()
    }

    /// Samples and values that could not be used.
    pub fn dropped(&self) -> Dropped {
        Dropped { ahead: self.ahead, ..self.builder.dropped }
    }

    /// Hands every feature's description to `sink`.
    pub(crate) fn describe(sink: &mut impl Sink) {
        History::new(Arc::new(WindowRules::default())).emit(0, &ClusterContext::UNKNOWN, sink);
    }

    /// What a snapshot needs beside the history.
    pub(super) fn parts(&self) -> (&WindowRules, &SlotBuilder, Option<i64>, impl Iterator<Item = &NodeSample>, u64) {
        (&self.rules, &self.builder, self.open, self.pending.iter(), self.ahead)
    }

    pub(super) const fn history(&self) -> &History {
        &self.history
    }

    /// Windows as they were when the snapshot was taken. The newest slot is not part of it: the cluster's context at that
    /// time was given then.
    pub(super) fn from_parts(
        rules: Arc<WindowRules>,
        snapshot: &Snapshot,
        pending: VecDeque<NodeSample>,
    ) -> Result<Self, BadSnapshot> {
        Ok(Self {
            history: History::restore(Arc::clone(&rules), &snapshot.history)?,
            builder: snapshot.builder.clone(),
            open: snapshot.open,
            pending,
            ahead: snapshot.ahead,
            ..Self::new(rules)
        })
    }

    /// A row of this length fits [`NodeWindows::row`].
    pub fn row_len() -> usize {
        catalogue::len()
    }
}

/// Slots of a day and a week are what `DAY` and `WEEK` say.
const _: () = assert!(DAY as i64 * GRID_STEP_MS == DAY_MS && WEEK as i64 * GRID_STEP_MS == 7 * DAY_MS);
