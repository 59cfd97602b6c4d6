//! The P90 as it is served: the model's own, plus a shift per node and head that follows the misses seen so far.
//!
//! One type for both sides: the trainer replays it over the rows that a model is judged on, the server feeds it with what
//! became known since the last step of the grid. What is judged is so what is served.

use super::{HeadEvidence, HeadKey, LoadForecast, LoadHead, LoadPredictor, OnlineOffset};
use crate::ModelError;
use cluster::{DAY_MS, HOUR_MS, NodeName, Resource};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The shift moves by this share of the head's typical error per outcome. Chosen on the first seven tenths of the
/// Alibaba trace, whose load drifts: there 0.06 is the smallest rate that keeps the coverage of every head between 0.87 and
/// 0.93. From 0.1 on the pinball loss rises, because outcomes of overlapping hours are counted as if they were independent.
pub const RATE_PER_ERROR: f64 = 0.06;

/// The typical error of a head that does not know its own: one point.
const UNKNOWN_ERROR: f64 = 0.01;

/// A node that got no forecast for so long is forgotten: when it comes back, its load may be another one. Clusters that
/// scale give new names to new nodes, so whoever forgot nobody would grow without end.
pub const FORGOTTEN_AFTER_MS: i64 = DAY_MS;

/// How the shift of one head moves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetRule {
    /// Which head.
    pub key: HeadKey,
    /// What its P90 promises to cover, such as 0.9.
    pub level: f64,
    /// Step per outcome, as a ratio.
    pub rate: f64,
}

impl OffsetRule {
    /// Of a head whose mean absolute error was `typical_error`, a ratio, on the rows that chose its blend.
    pub fn of(head: &LoadHead, typical_error: Option<f64>) -> Self {
        let rate = (typical_error.unwrap_or(UNKNOWN_ERROR) * RATE_PER_ERROR).max(1e-6);
        Self { key: head.key(), level: head.conformal().level, rate }
    }

    /// Of every head of a predictor. Heads without evidence move as if their error were one point.
    pub fn all(predictor: &LoadPredictor, evidence: &[HeadEvidence]) -> Vec<Self> {
        let error = |key: HeadKey| evidence.iter().find(|of| of.key == key).and_then(|of| of.median_error);
        predictor.heads().iter().map(|head| Self::of(head, error(head.key()))).collect()
    }
}

/// Outcomes of one head since somebody asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// P90s whose hour has passed.
    pub outcomes: u64,
    /// Those that the load was above.
    pub missed: u64,
}

/// One shift per node and head, with the forecasts whose hour has not passed yet.
///
/// Time goes in steps of the grid: at each one [`OffsetTracker::observe`] comes before [`OffsetTracker::issue`]. Nothing is
/// learned before it is known. A node holds at most one forecast per head and step of its horizon (168 of four bytes and a
/// time for the heads of the design), and is forgotten [`FORGOTTEN_AFTER_MS`] after its last forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OffsetTracker {
    rules: Vec<OffsetRule>,
    start: StartOffsets,
    nodes: BTreeMap<NodeName, TrackedNode>,
    tallies: Vec<Tally>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TrackedNode {
    /// When it got a forecast last.
    issued_at: i64,
    /// As many as there are rules.
    heads: Vec<TrackedHead>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TrackedHead {
    shift: OnlineOffset,
    /// End of the hour that a forecast is about, and its P90 as served; oldest first.
    awaited: VecDeque<(i64, f32)>,
}

impl OffsetTracker {
    /// Knows no outcome yet; shifts begin at `start`, at 0 for nodes that are not in it.
    ///
    /// # Errors
    /// A level outside 0 to 1, a rate that is not above 0.
    pub fn new(rules: Vec<OffsetRule>, start: StartOffsets) -> Result<Self, ModelError> {
        for rule in &rules {
            OnlineOffset::new(rule.level, rule.rate)?;
        }
        let tallies = vec![Tally::default(); rules.len()];
        Ok(Self { rules, start, nodes: BTreeMap::new(), tallies })
    }

    /// The mean utilization of the hour that ended at `at` has become known, NaN where it never will be: the forecast about
    /// that hour teaches, older ones whose hour passed unseen are dropped.
    pub fn observe(&mut self, at: i64, node: &NodeName, resource: Resource, hour_mean: f32) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        for ((rule, head), tally) in self.rules.iter().zip(&mut known.heads).zip(&mut self.tallies) {
            if rule.key.resource != resource {
                continue;
            }
            while let Some((due, served)) = head.awaited.pop_front_if(|(due, _)| *due <= at) {
                let observed = if due == at { hour_mean } else { f32::NAN };
                if let Some(missed) = head.shift.observe(observed, served) {
                    tally.outcomes += 1;
                    tally.missed += u64::from(missed);
                }
            }
        }
    }

    /// The forecast as it is served now. Nothing is remembered of it.
    pub fn served(&self, node: &NodeName, raw: LoadForecast) -> LoadForecast {
        let known = self.nodes.get(node);
        let place = self.rules.iter().position(|rule| rule.key == raw.key);
        let shift = match (known, place) {
            (Some(known), Some(place)) => known.heads[place].shift.offset(),
            _ => self.start.of(node, raw.key),
        };
        shifted(raw, shift)
    }

    /// The forecast of the grid step `at` as it is served; its outcome will teach. Steps of a node ascend.
    pub fn issue(&mut self, at: i64, node: &NodeName, raw: LoadForecast) -> LoadForecast {
        let Some(place) = self.rules.iter().position(|rule| rule.key == raw.key) else { return raw };
        let is_known = self.nodes.get(node).is_some_and(|known| at - known.issued_at <= FORGOTTEN_AFTER_MS);
        if !is_known {
            self.nodes.insert(node.clone(), self.begin(node, at));
        }
        let Some(known) = self.nodes.get_mut(node) else { return raw };
        known.issued_at = at;
        let head = &mut known.heads[place];
        let served = shifted(raw, head.shift.offset());
        if let Some(p90) = served.p90 {
            head.awaited.push_back((at + i64::from(raw.key.horizon.hours()) * HOUR_MS, p90));
        }
        served
    }

    /// Forgets nodes that got no forecast for [`FORGOTTEN_AFTER_MS`] before `at`.
    pub fn forget(&mut self, at: i64) {
        self.nodes.retain(|_, known| at - known.issued_at <= FORGOTTEN_AFTER_MS);
    }

    /// Nodes that are known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Outcomes by head since this was asked last.
    pub fn take_tallies(&mut self) -> impl Iterator<Item = (HeadKey, Tally)> {
        self.rules.iter().map(|rule| rule.key).zip(self.tallies.iter_mut().map(std::mem::take))
    }

    /// The shifts of all nodes, for a model that begins where this one stands.
    pub fn shifts(&self) -> StartOffsets {
        let mut shifts = StartOffsets::default();
        for (node, known) in &self.nodes {
            for (rule, head) in self.rules.iter().zip(&known.heads) {
                shifts.set(node, rule.key, head.shift.offset());
            }
        }
        shifts
    }

    fn begin(&self, node: &NodeName, at: i64) -> TrackedNode {
        // Each rule was checked when the tracker was made.
        let shift = |rule: &OffsetRule| {
            let shift = OnlineOffset::new(rule.level, rule.rate).ok()?;
            Some(shift.starting_at(self.start.of(node, rule.key)))
        };
        let heads = self.rules.iter().filter_map(shift);
        let heads = heads.map(|shift| TrackedHead { shift, awaited: VecDeque::new() }).collect();
        TrackedNode { issued_at: at, heads }
    }
}

/// Utilization is not negative and quantiles do not cross, whatever the shift.
fn shifted(raw: LoadForecast, shift: f32) -> LoadForecast {
    let p90 = raw.p50.zip(raw.p90).map(|(p50, p90)| (p90 + shift).max(p50).max(0.0));
    LoadForecast { p90, ..raw }
}

/// Shifts to begin with, by node and head. Nodes and heads that are not in it begin at 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StartOffsets(BTreeMap<NodeName, BTreeMap<String, f32>>);

impl StartOffsets {
    /// The shift of a node and head, as a ratio.
    pub fn of(&self, node: &NodeName, key: HeadKey) -> f32 {
        self.0.get(node).and_then(|heads| heads.get(&key.slug())).copied().unwrap_or(0.0)
    }

    /// Sets the shift of a node and head, as a ratio.
    pub fn set(&mut self, node: &NodeName, key: HeadKey, shift: f32) {
        self.0.entry(node.clone()).or_default().insert(key.slug(), shift);
    }

    /// Takes over the shifts of `other`, such as those of another head.
    pub fn extend(&mut self, other: Self) {
        for (node, heads) in other.0 {
            self.0.entry(node).or_default().extend(heads);
        }
    }

    /// Nodes that have shifts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether every node begins at 0.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every shift is a number from -1 to 1: more than a whole node is no correction.
    pub fn is_sane(&self) -> bool {
        self.0.values().flat_map(BTreeMap::values).all(|shift| shift.abs() <= 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Horizon;
    use cluster::GRID_STEP_MS;

    const KEY: HeadKey = HeadKey { resource: Resource::Cpu, horizon: Horizon::ALL[0] };

    fn tracker(rate: f64, start: StartOffsets) -> OffsetTracker {
        OffsetTracker::new(vec![OffsetRule { key: KEY, level: 0.9, rate }], start).expect("valid rules")
    }

    fn raw(p90: f32) -> LoadForecast {
        LoadForecast { key: KEY, p50: Some(0.3), p90: Some(p90), fallback: false }
    }

    #[test]
    fn a_miss_teaches_when_its_hour_has_passed_and_not_before() {
        let (node, mut tracker) = (NodeName::new("a"), tracker(0.1, StartOffsets::default()));
        assert_eq!(tracker.issue(0, &node, raw(0.4)).p90, Some(0.4));
        for at in (GRID_STEP_MS..HOUR_MS).step_by(GRID_STEP_MS as usize) {
            tracker.observe(at, &node, Resource::Cpu, 0.9);
            assert_eq!(tracker.served(&node, raw(0.4)).p90, Some(0.4), "nothing is known of any forecast at {at}");
        }
        tracker.observe(HOUR_MS, &node, Resource::Memory, 0.9);
        tracker.observe(HOUR_MS, &node, Resource::Cpu, 0.9);
        // By hand: 0.1 x (1 - 0.1) = 0.09 on top.
        let served = tracker.served(&node, raw(0.4)).p90.expect("a forecast");
        assert!((served - 0.49).abs() < 1e-6, "{served}");
        assert_eq!(tracker.take_tallies().collect::<Vec<_>>(), [(KEY, Tally { outcomes: 1, missed: 1 })]);
        assert_eq!(tracker.take_tallies().collect::<Vec<_>>(), [(KEY, Tally::default())]);
    }

    #[test]
    fn an_hour_that_nobody_saw_teaches_nothing() {
        let (node, mut tracker) = (NodeName::new("a"), tracker(0.1, StartOffsets::default()));
        tracker.issue(0, &node, raw(0.4));
        tracker.issue(GRID_STEP_MS, &node, raw(0.4));
        // The hour of the first passed while samples were missing; that of the second is covered: 0.1 x (0 - 0.1).
        tracker.observe(HOUR_MS + GRID_STEP_MS, &node, Resource::Cpu, 0.35);
        let served = tracker.served(&node, raw(0.4)).p90.expect("a forecast");
        assert!((served - 0.39).abs() < 1e-6, "{served}");
    }

    #[test]
    fn the_served_p90_is_never_below_the_median_nor_below_zero() {
        let mut start = StartOffsets::default();
        let node = NodeName::new("a");
        start.set(&node, KEY, -0.5);
        let tracker = tracker(0.1, start);
        assert_eq!(tracker.served(&node, raw(0.4)).p90, Some(0.3));
        assert_eq!(tracker.served(&NodeName::new("b"), raw(0.4)).p90, Some(0.4), "another node begins at 0");
        let unknown = LoadForecast { p50: None, p90: None, ..raw(0.4) };
        assert_eq!(tracker.served(&node, unknown), unknown);
    }

    #[test]
    fn nodes_that_vanish_are_forgotten_and_come_back_as_new_ones() {
        let (node, mut tracker) = (NodeName::new("a"), tracker(0.1, StartOffsets::default()));
        tracker.issue(0, &node, raw(0.4));
        tracker.observe(HOUR_MS, &node, Resource::Cpu, 0.9);
        tracker.forget(FORGOTTEN_AFTER_MS);
        assert_eq!(tracker.len(), 1);
        // Whether somebody tidied up in between makes no difference to what is served.
        let mut untidy = tracker.clone();
        tracker.forget(FORGOTTEN_AFTER_MS + GRID_STEP_MS);
        assert!(tracker.is_empty());
        for tracker in [&mut tracker, &mut untidy] {
            assert_eq!(tracker.issue(FORGOTTEN_AFTER_MS + GRID_STEP_MS, &node, raw(0.4)).p90, Some(0.4));
        }
        assert_eq!(tracker, untidy);
    }

    #[test]
    fn another_tracker_goes_on_from_the_shifts_of_this_one() {
        let (node, mut first) = (NodeName::new("a"), tracker(0.1, StartOffsets::default()));
        first.issue(0, &node, raw(0.4));
        first.observe(HOUR_MS, &node, Resource::Cpu, 0.9);
        let text = serde_json::to_string(&first.shifts()).expect("JSON");
        let start: StartOffsets = serde_json::from_str(&text).expect("shifts");
        let mut second = tracker(0.1, start);
        assert_eq!(second.issue(DAY_MS, &node, raw(0.4)), first.served(&node, raw(0.4)));
    }

    #[test]
    fn memory_is_bounded_by_nodes_and_horizons() {
        let (node, mut tracker) = (NodeName::new("a"), tracker(0.001, StartOffsets::default()));
        for step in 0..10_000 {
            let at = step * GRID_STEP_MS;
            tracker.observe(at, &node, Resource::Cpu, 0.35);
            tracker.issue(at, &node, raw(0.4));
        }
        // An hour has twelve steps.
        assert_eq!(tracker.nodes[&node].heads[0].awaited.len(), 12);
    }
}
