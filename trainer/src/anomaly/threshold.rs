//! The threshold that costs least on a slice of history.

use super::{Timeline, evaluate};
use crate::folds::Window;
use serde::{Deserialize, Serialize};

/// What one threshold costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostPoint {
    /// The vote from which on a reading is a warning.
    pub threshold: f32,
    /// Missed incidents.
    pub missed: usize,
    /// False alarms.
    pub false_alarms: usize,
    /// What both cost.
    pub cost: f64,
}

/// Cost against threshold, the lowest threshold first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostCurve {
    /// The thresholds that were tried.
    pub points: Vec<CostPoint>,
    /// The one that was chosen.
    pub chosen: usize,
}

/// Thresholds that are tried, spread over the upper half of the votes by rarity: more would fall between the same alarms.
const TRIED: usize = 80;

/// Tries thresholds on the votes within `window` and picks the cheapest; of several equally cheap neighbours the middle
/// one, which has the most room on both sides. `None` where the window has no labelled incident or no reading: nothing
/// tells a good threshold from a bad one then.
pub fn cheapest(timeline: &Timeline<'_>, window: Window, missed_cost: f64, false_alarm_cost: f64) -> Option<CostCurve> {
    let rows = timeline.history.rows_in(window);
    let mut votes: Vec<f32> =
        rows.into_iter().flatten().map(|row| timeline.votes[row]).filter(|vote| vote.is_finite()).collect();
    votes.sort_by(f32::total_cmp);
    let highest = *votes.last()?;
    let rarest = (votes.len() as f64).log2();
    let mut tried: Vec<f32> = (0..TRIED)
        .map(|step| {
            let share = 0.5_f64.powf(1.0 + (rarest - 1.0) * step as f64 / (TRIED - 1) as f64);
            votes[((1.0 - share) * (votes.len() - 1) as f64).round() as usize]
        })
        .chain([highest.next_up()])
        .filter(|vote| *vote > 0.0)
        .collect();
    tried.dedup();
    let point = |threshold: f32| {
        let scores = evaluate(timeline, window, threshold);
        (scores.incidents > 0).then(|| CostPoint {
            threshold,
            missed: scores.incidents - scores.found,
            false_alarms: scores.alarms - scores.right_alarms,
            cost: scores.cost(missed_cost, false_alarm_cost),
        })
    };
    let points = tried.into_iter().map(point).collect::<Option<Vec<_>>>()?;
    let least = points.iter().map(|point| point.cost).min_by(f64::total_cmp)?;
    // The longest run of cheapest neighbours.
    let mut best = 0..0;
    let mut from = 0;
    for run in points.chunk_by(|left, right| (left.cost == least) == (right.cost == least)) {
        if run[0].cost == least && run.len() > best.len() {
            best = from..from + run.len();
        }
        from += run.len();
    }
    Some(CostCurve { chosen: best.start + best.len() / 2, points })
}

impl CostCurve {
    /// The chosen point.
    pub fn choice(&self) -> Option<CostPoint> {
        self.points.get(self.chosen).copied()
    }
}
