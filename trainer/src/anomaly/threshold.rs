//! The threshold that costs least on a slice of history.

use super::Timeline;
use super::evaluate::Counts;
use crate::folds::Window;
use serde::{Deserialize, Serialize};

/// What alarms cost, and how often they must be right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// Of a missed incident.
    pub missed: f64,
    /// Of a false alarm.
    pub false_alarm: f64,
    /// Least share of alarms that meet an incident; 0 asks for nothing.
    pub least_precision: f64,
}

impl Costs {
    /// The same without a least precision. The z-score is judged by what it is best at: asked for a precision that it cannot
    /// keep, it would find nothing and be easy to beat.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { least_precision: 0.0, ..self }
    }
}

/// What one threshold costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostPoint {
    /// The vote from which on a reading is a warning.
    pub threshold: f32,
    /// Missed incidents.
    pub missed: usize,
    /// Alarms.
    pub alarms: usize,
    /// Those that meet no incident.
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

/// Thresholds that flag a larger share of the readings outside incidents are not tried: an alarm that never ends meets
/// every incident and would look free.
const MOST_FLAGGED: f64 = 0.08;

/// Tries thresholds on the votes within `window` and picks the cheapest of those whose alarms are right often enough, or of
/// all where none are; of several equally cheap neighbours the middle one, which has the most room on both sides. `None`
/// where the window has no labelled incident or no reading: nothing tells a good threshold from a bad one then.
pub fn cheapest(timeline: &Timeline<'_>, window: Window, costs: &Costs) -> Option<CostCurve> {
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
    let mut points = Vec::with_capacity(tried.len());
    for threshold in tried {
        let flags = timeline.flags(window, threshold);
        let outside = flags.iter().filter(|(row, _)| !timeline.odd[*row]).count();
        let wrong = flags.iter().filter(|(row, flagged)| *flagged && !timeline.odd[*row]).count();
        if wrong as f64 > MOST_FLAGGED * outside as f64 {
            continue;
        }
        let counts = Counts::of(timeline, window, &flags);
        let (incidents, found) = counts.incidents();
        if incidents == 0 {
            return None;
        }
        let (missed, false_alarms) = (incidents - found, counts.alarms - counts.right);
        let cost = missed as f64 * costs.missed + false_alarms as f64 * costs.false_alarm;
        points.push(CostPoint { threshold, missed, alarms: counts.alarms, false_alarms, cost });
    }
    let any_is_precise = points.iter().any(|point| point.is_precise(costs.least_precision));
    let may_be_chosen = |point: &CostPoint| !any_is_precise || point.is_precise(costs.least_precision);
    let least = points.iter().filter(|point| may_be_chosen(point)).map(|point| point.cost).min_by(f64::total_cmp)?;
    let is_cheapest = |point: &CostPoint| may_be_chosen(point) && point.cost == least;
    // The longest run of cheapest neighbours.
    let mut best = 0..0;
    let mut from = 0;
    for run in points.chunk_by(|left, right| is_cheapest(left) == is_cheapest(right)) {
        if is_cheapest(&run[0]) && run.len() > best.len() {
            best = from..from + run.len();
        }
        from += run.len();
    }
    Some(CostCurve { chosen: best.start + best.len() / 2, points })
}

impl CostPoint {
    /// Share of the alarms that meet an incident; absent without any.
    pub fn precision(&self) -> Option<f64> {
        (self.alarms > 0).then(|| (self.alarms - self.false_alarms) as f64 / self.alarms as f64)
    }

    /// Whether its alarms are right often enough; none at all are not.
    pub fn is_precise(&self, least: f64) -> bool {
        least <= 0.0 || self.precision() >= Some(least)
    }
}

impl CostCurve {
    /// The chosen point.
    pub fn choice(&self) -> Option<CostPoint> {
        self.points.get(self.chosen).copied()
    }
}
