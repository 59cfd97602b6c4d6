//! What votes and thresholds are chosen by: readings outside incidents, labelled incidents and injected ones, all of them rated by
//! members that have not learned from them.

use super::{Faults, History};
use crate::folds::Window;
use cluster::{DAY_MS, GRID_STEP_MS};
use models::anomaly::Vote;
use std::collections::BTreeMap;
use std::ops::Range;

/// Flagged readings up to this many steps apart are one alarm.
pub(super) const JOINED_STEPS: i64 = 10;

/// Readings of a history and of injected incidents with the surprises of every member.
pub(super) struct Evidence<'a> {
    pub history: &'a History,
    /// The hours that count.
    pub window: Window,
    /// Members of the detector.
    pub members: usize,
    /// Row-major, one per row of the history and member; whatever lies outside the window is not looked at.
    pub surprises: &'a [f32],
    /// Whether a rule makes each row of the history certain.
    pub certain: &'a [bool],
    /// Injected incidents within the window, if there are any.
    pub faults: Option<RatedFaults<'a>>,
}

/// Injected incidents with the surprises of every member.
#[derive(Clone, Copy)]
pub(super) struct RatedFaults<'a> {
    pub faults: &'a Faults,
    /// Row-major, one per row and member.
    pub surprises: &'a [f32],
    /// Whether a rule makes each row certain.
    pub certain: &'a [bool],
}

/// An incident, as far as a vote sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// Such as `memory_leak`.
    pub kind: String,
    /// Whether somebody labelled it.
    pub is_labelled: bool,
    /// The highest vote that held for enough readings in a row; negative infinity without a reading.
    pub peak: f32,
    /// The same later than any alarm on the incident could last; `None` where nobody looked.
    pub after: Option<f32>,
}

/// A history through the eyes of one vote.
pub(super) struct Peaks {
    pub incidents: Vec<Seen>,
    /// Readings outside incidents, node by node in order of time: which node, when, and the vote that held there.
    outside: Vec<(u32, i64, f32)>,
    /// Node-days of readings outside incidents.
    pub node_days: f64,
}

impl Evidence<'_> {
    /// The largest votes that hold for `raise_after` readings in a row.
    pub fn peaks(&self, vote: &Vote, raise_after: u16) -> Peaks {
        let votes = |surprises: &[f32], certain: &[bool], rows: Range<usize>| -> Vec<f32> {
            let held = rows.clone().map(|row| match certain[row] {
                true => f32::INFINITY,
                false => vote.of(&surprises[row * self.members..(row + 1) * self.members]),
            });
            holds(&held.collect::<Vec<_>>(), &certain[rows], raise_after)
        };
        let (mut incidents, mut outside) = (Vec::new(), Vec::new());
        for (node, rows) in self.history.rows_in(self.window).into_iter().enumerate() {
            let (ts, held) = (&self.history.ts[rows.clone()], votes(self.surprises, self.certain, rows));
            let labels = &self.history.labels[node];
            for label in labels.iter().filter(|label| self.window.meets(label.started_at, label.ended_at)) {
                let (from, until) = seen_in(ts, label.started_at, label.ended_at);
                let peak = held[from..until].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                incidents.push(Seen { kind: label.kind.clone(), is_labelled: true, peak, after: None });
            }
            // What an alarm on an incident may still cover is neither right nor wrong.
            let mut free = vec![true; ts.len()];
            for label in labels {
                let (from, until) = seen_in(ts, label.started_at, label.ended_at.saturating_add(LINGERS_MS));
                free[from..until].fill(false);
            }
            let rows = ts.iter().zip(held).zip(free).filter(|(_, free)| *free);
            outside.extend(rows.map(|((ts, held), _)| (node as u32, *ts, held)));
        }
        if let Some(RatedFaults { faults, surprises, certain }) = self.faults {
            for stretch in &faults.stretches {
                let (ts, held) = (&faults.ts[stretch.rows.clone()], votes(surprises, certain, stretch.rows.clone()));
                let highest = |held: &[f32]| held.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let (from, until) = seen_in(ts, stretch.start, stretch.end);
                let (_, lingers) = seen_in(ts, stretch.start, stretch.end + LINGERS_MS);
                incidents.push(Seen {
                    kind: stretch.fault.kind().to_owned(),
                    is_labelled: false,
                    peak: highest(&held[from..until]),
                    after: Some(highest(&held[lingers..])),
                });
            }
        }
        let node_days = outside.len() as f64 * GRID_STEP_MS as f64 / DAY_MS as f64;
        Peaks { incidents, outside, node_days }
    }
}

/// An alarm that met an incident goes on over gaps of so long.
const LINGERS_MS: i64 = (JOINED_STEPS + 1) * GRID_STEP_MS;

/// The rows, by place in `ts`, at which an alarm would meet an incident from `start` to `end`.
fn seen_in(ts: &[i64], start: i64, end: i64) -> (usize, usize) {
    let until = ts.partition_point(|time| *time - GRID_STEP_MS <= end);
    (ts.partition_point(|time| *time <= start).min(until), until)
}

/// For each reading the vote that it and the ones before it reach, `raise_after` in a row; a certain one needs no others.
fn holds(votes: &[f32], certain: &[bool], raise_after: u16) -> Vec<f32> {
    let least = usize::from(raise_after.max(1));
    let of = |place: usize| match place + 1 >= least {
        _ if certain[place] => f32::INFINITY,
        true => votes[place + 1 - least..=place].iter().copied().fold(f32::INFINITY, f32::min),
        false => f32::NEG_INFINITY,
    };
    (0..votes.len()).map(of).collect()
}

impl Peaks {
    /// The highest vote of each alarm outside incidents that a threshold of `threshold` would raise.
    pub fn false_alarms(&self, threshold: f32) -> Vec<f32> {
        let mut alarms: Vec<f32> = Vec::new();
        let mut last: Option<(u32, i64)> = None;
        for (node, ts, vote) in self.outside.iter().filter(|(_, _, vote)| *vote >= threshold) {
            match alarms.last_mut() {
                Some(alarm) if last.is_some_and(|last| last.0 == *node && ts - last.1 <= LINGERS_MS) => {
                    *alarm = alarm.max(*vote);
                }
                _ => alarms.push(*vote),
            }
            last = Some((*node, *ts));
        }
        alarms
    }

    /// Forgets readings outside incidents whose votes are below `threshold`, when nothing below it will be asked for.
    pub fn keep_from(&mut self, threshold: f32) {
        self.outside.retain(|(_, _, vote)| *vote >= threshold);
    }

    /// Thresholds that are worth trying, rising: `count` of them, spread by rarity over the votes outside incidents, none that
    /// flags more than a share of `most_flagged` of them, and one above all of them.
    pub fn thresholds(&self, count: usize, most_flagged: f64) -> Vec<f32> {
        let mut votes: Vec<f32> = self.outside.iter().map(|row| row.2).filter(|vote| vote.is_finite()).collect();
        votes.sort_by(f32::total_cmp);
        let Some(highest) = votes.last().copied() else { return Vec::new() };
        let rarest = (1.0 / votes.len() as f64).min(most_flagged);
        let mut thresholds: Vec<f32> = (0..count)
            .map(|step| {
                let share = most_flagged * (rarest / most_flagged).powf(step as f64 / (count - 1).max(1) as f64);
                votes[((1.0 - share) * (votes.len() - 1) as f64).round() as usize]
            })
            .chain([highest.next_up(), highest * 1.1, highest * 1.25])
            .filter(|vote| *vote > 0.0)
            .collect();
        thresholds.dedup();
        thresholds
    }

    /// Incidents and those that a threshold of `threshold` finds, by kind: labelled, injected.
    pub fn by_kind(&self, threshold: f32) -> BTreeMap<&str, [super::KindScores; 2]> {
        let mut kinds: BTreeMap<&str, [super::KindScores; 2]> = BTreeMap::new();
        for seen in &self.incidents {
            let scores = &mut kinds.entry(&seen.kind).or_default()[usize::from(!seen.is_labelled)];
            scores.incidents += 1;
            scores.found += usize::from(seen.peak >= threshold);
        }
        kinds
    }

    /// Share of the injected incidents after whose end an alarm would be raised anew.
    pub fn late_alarms(&self, threshold: f32) -> f64 {
        let after: Vec<f32> = self.incidents.iter().filter_map(|seen| seen.after).collect();
        let late = after.iter().filter(|peak| **peak >= threshold).count();
        if after.is_empty() { 0.0 } else { late as f64 / after.len() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::tests::{history, label};
    use synthetic::InjectedFault;

    const ALL: Window = Window { from: 0, until: i64::MAX };

    fn peaks(history: &History, votes: &[f32], raise_after: u16) -> Peaks {
        let certain = vec![false; votes.len()];
        let evidence = Evidence { history, window: ALL, members: 1, surprises: votes, certain: &certain, faults: None };
        evidence.peaks(&Vote::Largest, raise_after)
    }

    #[test]
    fn what_holds_once_raises_nothing_where_two_readings_must_agree() {
        let history = history(1, 100, vec![vec![]]);
        let mut votes = vec![0.0; 100];
        votes[20] = 5.0;
        votes[60..63].copy_from_slice(&[3.0, 2.0, 4.0]);
        assert_eq!(peaks(&history, &votes, 1).false_alarms(1.0), [5.0, 4.0]);
        // Of 3, 2, 4 both pairs hold 2.
        assert_eq!(peaks(&history, &votes, 2).false_alarms(1.0), [2.0]);
        assert!(peaks(&history, &votes, 2).false_alarms(2.5).is_empty());
    }

    #[test]
    fn readings_within_reach_of_an_incident_are_neither_right_nor_wrong() {
        // The incident covers the readings 30 to 33; an alarm on it goes on over gaps of ten readings.
        let history = history(1, 100, vec![vec![label("leak", "warning", 29 * GRID_STEP_MS, 33 * GRID_STEP_MS)]]);
        let mut votes = vec![0.0; 100];
        (votes[30], votes[40], votes[60]) = (3.0, 9.0, 2.0);
        let peaks = peaks(&history, &votes, 1);
        assert_eq!(peaks.false_alarms(1.0), [2.0]);
        let incident = Seen { kind: "leak".to_owned(), is_labelled: true, peak: 3.0, after: None };
        assert_eq!(peaks.incidents, [incident]);
        assert_eq!(peaks.by_kind(3.0)["leak"][0], crate::anomaly::KindScores { incidents: 1, found: 1 });
        assert_eq!(peaks.by_kind(3.1)["leak"][0].found, 0);
    }

    #[test]
    fn an_injected_incident_is_seen_in_its_own_replay_alone() {
        let history = history(1, 50, vec![vec![]]);
        let start = 9 * GRID_STEP_MS;
        let stretch = super::super::FaultyStretch {
            fault: InjectedFault::NetworkLoss,
            start,
            end: start + 5 * GRID_STEP_MS,
            rows: 0..30,
        };
        let x = models::FeatureMatrix::new(vec!["nothing".to_owned()], 30, vec![0.0; 30]).expect("a matrix");
        let faults = Faults { stretches: vec![stretch], ts: (10..40).map(|slot| slot * GRID_STEP_MS).collect(), x };
        let mut of_faults = vec![0.0; 30];
        // Within the incident, and so much later that no alarm on it could last.
        (of_faults[2], of_faults[25]) = (4.0, 6.0);
        let (votes, certain) = (vec![0.0; 50], vec![false; 50]);
        let evidence = Evidence {
            history: &history,
            window: ALL,
            members: 1,
            surprises: &votes,
            certain: &certain,
            faults: Some(RatedFaults { faults: &faults, surprises: &of_faults, certain: &certain[..30] }),
        };
        let peaks = evidence.peaks(&Vote::Largest, 1);
        let incident = Seen { kind: "network_loss".to_owned(), is_labelled: false, peak: 4.0, after: Some(6.0) };
        assert_eq!(peaks.incidents, [incident]);
        assert!(peaks.false_alarms(1.0).is_empty(), "nothing happened in the history itself");
        assert_eq!((peaks.late_alarms(5.0), peaks.late_alarms(7.0)), (1.0, 0.0));
    }
}
