//! From rows of features to alarms, with hysteresis.
//!
//! Two states per node. The slow one goes from grid time to grid time, as the detector was judged in its report. The quick
//! one reads the five minutes before every look and knows critical readings only: it raises what cannot wait, and ends when
//! as much time has passed without one as the slow one needs.

use crate::scorer::Response;
use features::{GRID_STEP_MS, GridRows, Selection};
use models::anomaly::{AlarmSettings, AlarmState, AnomalyKind, Detector, Finding, Severity};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is the matter with a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeAlarm {
    /// Which node.
    pub node: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about; it stays what it was when the severity was raised.
    #[serde(rename = "type")]
    pub kind: AnomalyKind,
    /// When this severity was raised, UTC milliseconds.
    pub since: i64,
    /// What is recommended.
    pub response: Response,
    /// The reading that raised it.
    pub finding: Finding,
}

/// What happened to a node's alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was raised, or became more severe.
    Raised,
    /// It ended: readings are usual again.
    Cleared,
    /// It ended because the node has been silent for an hour, or is gone.
    Gone,
}

/// A change of an alarm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What happened.
    pub change: ChangeKind,
    /// When, UTC milliseconds.
    pub at: i64,
    /// The alarm: as raised, or as it was.
    #[serde(flatten)]
    pub alarm: NodeAlarm,
}

#[derive(Debug, Clone, Default)]
struct NodeState {
    slow: AlarmState,
    quick: AlarmState,
    alarm: Option<NodeAlarm>,
}

/// All nodes' alarms.
#[derive(Debug)]
pub struct ClusterAlarms {
    detector: Detector,
    selection: Selection,
    quick: AlarmSettings,
    nodes: BTreeMap<String, NodeState>,
    readings: BTreeMap<Severity, u64>,
}

/// Which state a row speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A row of the grid.
    Slow,
    /// A row of any moment.
    Quick,
}

/// Features that are blamed at most.
const MOST_BLAMED: usize = 5;
/// Critical looks in a row that raise an alarm: with looks ten seconds apart it is told within half a minute of the sample.
const QUICK_LOOKS: u16 = 2;

impl ClusterAlarms {
    /// Nothing is the matter yet. `every`: distance of quick readings in milliseconds.
    pub fn new(detector: Detector, selection: Selection, every: i64) -> Self {
        let slow = *detector.alarms();
        let looks = (i64::from(slow.clear_after) * GRID_STEP_MS / every.max(1)).clamp(1, i64::from(u16::MAX));
        let quick = AlarmSettings { raise_after: slow.raise_after.min(QUICK_LOOKS), clear_after: looks as u16, ..slow };
        Self { detector, selection, quick, nodes: BTreeMap::new(), readings: BTreeMap::new() }
    }

    /// Takes in the rows of one moment. Returns what changed.
    ///
    /// # Errors
    /// Rows of another catalogue.
    pub fn push(&mut self, rows: &GridRows, pace: Pace) -> anyhow::Result<Vec<Change>> {
        let mut changes = Vec::new();
        let mut row = vec![f32::NAN; self.selection.len()];
        for (place, node) in rows.nodes.iter().enumerate() {
            self.selection.pick(rows.row(place), &mut row);
            let reading = self.detector.read(&row)?;
            let severity = self.detector.severity(&reading);
            let name = node.as_str();
            tracing::debug!(node = name, ts = rows.ts, ?pace, vote = reading.vote, ?severity, kind = ?reading.kind, "read");
            if !self.nodes.contains_key(name) {
                self.nodes.insert(name.to_owned(), NodeState::default());
            }
            let Some(state) = self.nodes.get_mut(name) else { continue };
            match pace {
                Pace::Slow => {
                    state.slow.push(severity, reading.certain, self.detector.alarms());
                    if let Some(severity) = severity {
                        *self.readings.entry(severity).or_default() += 1;
                    }
                }
                Pace::Quick => {
                    let critical = severity.filter(|severity| *severity == Severity::Critical);
                    state.quick.push(critical, reading.certain, &self.quick);
                }
            }
            let wanted =
                state.slow.current().max(state.quick.current()).filter(|severity| *severity >= Severity::Warning);
            let current = state.alarm.as_ref().map(|alarm| alarm.severity);
            if wanted == current {
                continue;
            }
            if wanted < current && wanted.is_some() {
                // A state that ended leaves a lower one: the alarm stays as severe as it was until both have ended.
                continue;
            }
            if let Some(alarm) = state.alarm.take()
                && wanted.is_none()
            {
                changes.push(Change { change: ChangeKind::Cleared, at: rows.ts, alarm });
            }
            if let Some(severity) = wanted {
                let finding = self.detector.explain(&row, MOST_BLAMED)?;
                let response = Response::of(Some(severity));
                let alarm = NodeAlarm {
                    node: name.to_owned(),
                    severity,
                    kind: finding.kind,
                    since: rows.ts,
                    response,
                    finding,
                };
                state.alarm = Some(alarm.clone());
                changes.push(Change { change: ChangeKind::Raised, at: rows.ts, alarm });
            }
        }
        changes.extend(self.forget_absent(rows));
        Ok(changes)
    }

    /// Nodes that have no row any more have been silent for an hour.
    fn forget_absent(&mut self, rows: &GridRows) -> Vec<Change> {
        let is_there = |node: &str| rows.nodes.binary_search_by(|known| known.as_str().cmp(node)).is_ok();
        let gone: Vec<String> = self.nodes.keys().filter(|node| !is_there(node)).cloned().collect();
        let alarms = gone.iter().filter_map(|node| self.nodes.remove(node)?.alarm);
        alarms.map(|alarm| Change { change: ChangeKind::Gone, at: rows.ts, alarm }).collect()
    }

    /// The alarms that stand.
    pub fn standing(&self) -> impl Iterator<Item = &NodeAlarm> {
        self.nodes.values().filter_map(|state| state.alarm.as_ref())
    }

    /// Nodes that are known.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Odd readings on the grid by severity.
    pub fn readings(&self) -> &BTreeMap<Severity, u64> {
        &self.readings
    }
}
