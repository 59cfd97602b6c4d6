//! Figures of alarms: what people see, rather than single readings.

use super::evidence::JOINED_STEPS;
use super::{History, PointScores};
use crate::folds::Window;
use cluster::{DAY_MS, GRID_STEP_MS};
use features::labels::Label;
use models::anomaly::{AlarmSettings, AlarmState, Severity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Votes of all rows of a history, and what they become.
#[derive(Debug, Clone)]
pub struct Timeline<'a> {
    /// The rows.
    pub history: &'a History,
    /// The vote of each row.
    pub votes: &'a [f32],
    /// Whether a rule makes each row certain.
    pub certain: &'a [bool],
    /// Whether each row is part of an incident: [`History::odd`].
    pub odd: &'a [bool],
    /// When readings become alarms.
    pub alarms: AlarmSettings,
}

/// An alarm of one node, from the first flagged reading's five minutes to the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// Where the five minutes of the first flagged reading begin.
    pub from: i64,
    /// When the first flagged reading was known.
    pub raised: i64,
    /// When the last flagged reading was known.
    pub until: i64,
}

/// Figures of one kind of incident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindScores {
    /// Incidents.
    pub incidents: usize,
    /// Those that an alarm met.
    pub found: usize,
}

impl KindScores {
    /// The 95 % interval of the share that is found (Wilson, 1927); `None` without incidents.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let (found, of) = (self.found as f64, self.incidents as f64);
        if self.incidents == 0 {
            return None;
        }
        let squared = Z_95 * Z_95;
        let share = found / of;
        let middle = (share + squared / (2.0 * of)) / (1.0 + squared / of);
        let half = Z_95 / (1.0 + squared / of) * (share * (1.0 - share) / of + squared / (4.0 * of * of)).sqrt();
        Some(((middle - half).max(0.0), (middle + half).min(1.0)))
    }
}

/// 97.5 % quantile of the normal distribution.
const Z_95: f64 = 1.959_963_985;

/// Figures of alarms within a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmScores {
    /// Alarms, at warning and above.
    pub alarms: usize,
    /// Alarms that meet an incident of their node.
    pub right_alarms: usize,
    /// Incidents.
    pub incidents: usize,
    /// Incidents that an alarm met.
    pub found: usize,
    /// Right alarms ÷ alarms; absent without any.
    pub precision: Option<f64>,
    /// Found ÷ incidents; absent without any.
    pub recall: Option<f64>,
    /// The same for critical incidents.
    pub critical_recall: Option<f64>,
    /// Node-days of readings.
    pub node_days: f64,
    /// False alarms per node-day.
    pub false_alarms_per_node_day: Option<f64>,
    /// Median over the found incidents of the time from their first moment to the first alarm, in minutes.
    pub delay_minutes: Option<f64>,
    /// By kind of incident.
    pub kinds: BTreeMap<String, KindScores>,
    /// Incidents labelled `critical`, and those that an alarm met. Verdicts of earlier versions have none.
    #[serde(default)]
    pub critical: KindScores,
    /// Single readings.
    pub points: PointScores,
}

/// For each of a node's readings, vote and whether a rule makes it certain, whether its alarm is at warning or above. The state
/// begins anew.
pub(super) fn alarmed(
    readings: impl Iterator<Item = (f32, bool)>,
    alarms: &AlarmSettings,
    threshold: f32,
) -> impl Iterator<Item = bool> {
    let mut state = AlarmState::default();
    readings.map(move |(vote, certain)| {
        let reading = if certain { Some(Severity::Critical) } else { alarms.severity(vote, threshold) };
        state.push(reading, certain, alarms) >= Some(Severity::Warning)
    })
}

impl Timeline<'_> {
    /// For each row in `window`, node by node, whether its node's alarm is at warning or above. States begin anew with the
    /// window, as after a restart.
    pub fn flags(&self, window: Window, threshold: f32) -> Vec<(usize, bool)> {
        let mut flags = Vec::new();
        for rows in self.history.rows_in(window) {
            let readings = rows.clone().map(|row| (self.votes[row], self.certain[row]));
            flags.extend(rows.zip(alarmed(readings, &self.alarms, threshold)));
        }
        flags
    }

    /// The alarms of each node within `window`, whose [`Timeline::flags`] are `flags`.
    pub fn alarms(&self, window: Window, flags: &[(usize, bool)]) -> Vec<Vec<Alarm>> {
        let mut flags = flags.iter().copied();
        let of_node = |rows: std::ops::Range<usize>| {
            let mut alarms: Vec<Alarm> = Vec::new();
            for (row, flagged) in flags.by_ref().take(rows.len()) {
                let ts = self.history.ts[row];
                match alarms.last_mut() {
                    _ if !flagged => {}
                    Some(last) if ts - last.until <= (JOINED_STEPS + 1) * GRID_STEP_MS => last.until = ts,
                    _ => alarms.push(Alarm { from: ts - GRID_STEP_MS, raised: ts, until: ts }),
                }
            }
            alarms
        };
        self.history.rows_in(window).into_iter().map(of_node).collect()
    }
}

/// Alarms and incidents within a window, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub alarms: usize,
    pub right: usize,
    pub kinds: BTreeMap<String, KindScores>,
    pub critical: KindScores,
    /// From the first moment of each found incident to its first alarm.
    delays: Vec<i64>,
}

impl Counts {
    pub fn of(timeline: &Timeline<'_>, window: Window, flags: &[(usize, bool)]) -> Self {
        let mut counts = Self::default();
        for (alarms, labels) in timeline.alarms(window, flags).iter().zip(&timeline.history.labels) {
            let meets = |alarm: &Alarm, label: &Label| alarm.from <= label.ended_at && alarm.until >= label.started_at;
            counts.alarms += alarms.len();
            counts.right += alarms.iter().filter(|alarm| labels.iter().any(|label| meets(alarm, label))).count();
            let here = |label: &&Label| label.started_at < window.until && label.ended_at >= window.from;
            for label in labels.iter().filter(here) {
                let found = alarms.iter().find(|alarm| meets(alarm, label));
                let kind = counts.kinds.entry(label.kind.clone()).or_default();
                let is_critical = label.severity == Severity::Critical.as_str();
                for scores in [Some(kind), is_critical.then_some(&mut counts.critical)].into_iter().flatten() {
                    scores.incidents += 1;
                    scores.found += usize::from(found.is_some());
                }
                counts.delays.extend(found.map(|alarm| (alarm.raised - label.started_at).max(0)));
            }
        }
        counts.delays.sort_unstable();
        counts
    }

    /// Incidents, and those that an alarm met.
    pub fn incidents(&self) -> (usize, usize) {
        self.kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.incidents, sum.1 + kind.found))
    }
}

/// Judges the alarms within `window`. An alarm is right if it meets an incident of its node; an incident counts if it
/// meets the window, also where its node gave no reading. An alarm that never ends is right by this definition: the
/// false-positive rate of the readings says so, and is limited wherever something is chosen or judged.
pub fn evaluate(timeline: &Timeline<'_>, window: Window, threshold: f32) -> AlarmScores {
    let flags = timeline.flags(window, threshold);
    let Counts { alarms: count, right, kinds, critical, delays } = Counts::of(timeline, window, &flags);
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let (incidents, found) = kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.incidents, sum.1 + kind.found));
    let odd: Vec<bool> = flags.iter().map(|(row, _)| timeline.odd[*row]).collect();
    let votes: Vec<f32> =
        flags.iter().map(|(row, _)| if timeline.certain[*row] { f32::MAX } else { timeline.votes[*row] }).collect();
    let flagged: Vec<bool> = flags.iter().map(|(_, flagged)| *flagged).collect();
    let node_days = flags.len() as f64 * GRID_STEP_MS as f64 / DAY_MS as f64;
    AlarmScores {
        alarms: count,
        right_alarms: right,
        incidents,
        found,
        precision: share(right, count),
        recall: share(found, incidents),
        critical_recall: share(critical.found, critical.incidents),
        node_days,
        false_alarms_per_node_day: (node_days > 0.0).then(|| (count - right) as f64 / node_days),
        delay_minutes: delays.get(delays.len() / 2).map(|delay| *delay as f64 / 60_000.0),
        kinds,
        critical,
        points: PointScores::of(&votes, &flagged, &odd),
    }
}

impl AlarmScores {
    /// What the missed incidents and the false alarms cost.
    pub fn cost(&self, missed_cost: f64, false_alarm_cost: f64) -> f64 {
        (self.incidents - self.found) as f64 * missed_cost + (self.alarms - self.right_alarms) as f64 * false_alarm_cost
    }

    /// Every figure by name; those that are not defined are left out.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        let points = &self.points;
        let all = [
            ("alarms", Some(self.alarms as f64)),
            ("incidents", Some(self.incidents as f64)),
            ("alarm_precision", self.precision),
            ("incident_recall", self.recall),
            ("critical_incident_recall", self.critical_recall),
            ("false_alarms_per_node_day", self.false_alarms_per_node_day),
            ("delay_minutes", self.delay_minutes),
            ("point_precision", points.precision),
            ("point_recall", points.recall),
            ("point_false_positive_rate", points.false_positive_rate),
            ("point_roc_auc", points.roc_auc),
            ("point_pr_auc", points.pr_auc),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
