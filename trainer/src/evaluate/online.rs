//! The P90 as it is served: a replay of the very tracker that the server runs.

use crate::folds::Window;
use crate::rows::LoadRows;
use features::TargetKind;
use models::load::{HeadForecasts, OffsetRule, OffsetTracker, StartOffsets};
use std::collections::BTreeSet;

/// The P90s of a replay.
#[derive(Debug, Clone)]
pub struct Replay {
    /// By row of the replayed rows' table, a ratio; NaN for rows that were not replayed or have no forecast.
    pub served: Vec<f32>,
    /// How it stands after the last step.
    pub tracker: OffsetTracker,
}

/// What is replayed.
#[derive(Debug, Clone, Copy)]
pub struct ReplayInput<'a> {
    /// All rows.
    pub rows: &'a LoadRows,
    /// The nodes that are served.
    pub nodes: &'a BTreeSet<u32>,
    /// The time that they are served in.
    pub window: Window,
    /// What the head forecasts: its outcomes teach.
    pub kind: TargetKind,
}

impl ReplayInput<'_> {
    /// The rows that get a forecast, in their order.
    pub fn issued(&self) -> Vec<usize> {
        let rows = &self.rows;
        let is_issued = |row: &usize| self.window.contains(rows.ts[*row]) && self.nodes.contains(&rows.node[*row]);
        (0..rows.len()).filter(is_issued).collect()
    }
}

/// Replays a window as the server lives through it: at each step of the grid first what became known, then a forecast for
/// every node that has a row. `raw`: the head's own forecasts of [`ReplayInput::issued`].
///
/// # Errors
/// A level outside 0 to 1.
pub fn replay(
    input: &ReplayInput<'_>,
    rule: OffsetRule,
    raw: &HeadForecasts,
    start: StartOffsets,
) -> Result<Replay, models::ModelError> {
    let rows = input.rows;
    let mut tracker = OffsetTracker::new(vec![rule], start)?;
    let mut served = vec![f32::NAN; rows.len()];
    let mut place = vec![None; rows.len()];
    input.issued().into_iter().enumerate().for_each(|(at, row)| place[row] = Some(at));
    // Nodes do not touch each other, so one after the other is the same as step by step.
    for node in input.nodes {
        let Some(name) = rows.nodes.get(*node as usize) else { continue };
        for (at, known, row) in rows.steps(*node, input.kind, rule.key.resource) {
            if !input.window.contains(at) {
                continue;
            }
            tracker.observe(at, name, rule.key.resource, known);
            if let Some((row, place)) = row.and_then(|row| Some((row, place[row]?))) {
                let forecast = tracker.issue(at, name, raw.row(place));
                served[row] = forecast.p90.unwrap_or(f32::NAN);
            }
        }
    }
    Ok(Replay { served, tracker })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::coverage;
    use crate::rows::tests::rows_of;
    use cluster::Resource;
    use models::load::{HeadKey, Horizon};

    /// One node, a slot every five minutes, observed between 0.3 and 0.5 in turn.
    fn series(slots: usize) -> Vec<f32> {
        (0..slots).map(|slot| 0.3 + 0.2 * ((slot * 7919) % 101) as f32 / 100.0).collect()
    }

    /// A P90 of 0.35 for all rows, served; the five minutes that end at the horizon teach.
    fn served(cpu: Vec<f32>, horizon: Horizon) -> (Vec<f64>, Vec<f64>) {
        let rows = rows_of(&[cpu]);
        let key = HeadKey { resource: Resource::Cpu, horizon };
        let (nodes, kind) = (BTreeSet::from([0]), TargetKind::FiveMinute);
        let input = ReplayInput { rows: &rows, nodes: &nodes, window: rows.span(), kind };
        let raw = HeadForecasts { key, p50: vec![0.3; rows.len()], p90: vec![0.35; rows.len()], fallback: false };
        let rule = OffsetRule { key, level: 0.9, rate: 0.05 * models::load::RATE_PER_ERROR };
        let replay = replay(&input, rule, &raw, StartOffsets::default()).expect("a replay");
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        (wide(replay.served), wide(rows.target(kind, Resource::Cpu, horizon)))
    }

    #[test]
    fn a_p90_that_is_too_low_is_lifted_until_it_covers() {
        let (served, target) = served(series(3_000), Horizon::ALL[0]);
        let known = 1_000..2_900;
        assert!(coverage(&target[known.clone()], &vec![0.35; 1_900]) < 0.4);
        let covered = coverage(&target[known.clone()], &served[known]);
        assert!((0.87..=0.93).contains(&covered), "{covered}");
    }

    #[test]
    fn nothing_is_learned_before_the_outcome_is_known() {
        let (four, _) = served(series(100), Horizon::ALL[2]);
        // Four hours are 48 slots: the first correction can appear in row 48.
        assert!(four[..48].iter().all(|p90| *p90 == f64::from(0.35_f32)), "{:?}", &four[..49]);
        assert!(four[48] != f64::from(0.35_f32));
        let mut changed = series(100);
        changed[72..].fill(0.9);
        let (again, before) = (served(changed, Horizon::ALL[0]).0, served(series(100), Horizon::ALL[0]).0);
        assert_eq!(again[..72], before[..72], "the outcome of row 60 is known in row 72");
        assert!(again[72] > before[72]);
    }

    #[test]
    fn an_outcome_that_is_missing_teaches_nothing() {
        let mut cpu = series(200);
        cpu[50] = f32::NAN;
        let (with_gap, _) = served(cpu, Horizon::ALL[0]);
        let (whole, _) = served(series(200), Horizon::ALL[0]);
        assert_eq!(with_gap[..50], whole[..50]);
        // What ended in slot 50 teaches nobody: the shift stays for one step more.
        assert_eq!(with_gap[50], with_gap[49]);
        assert!(whole[50] != whole[49] && with_gap[199].is_finite());
    }
}
