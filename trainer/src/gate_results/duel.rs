//! Two forecasters on the same rows, window by window, by the very rules of the gate.

use super::forecasts::HeadForecasts;
use super::ladder::Forecasts;
use crate::folds::Window;
use crate::validate::{ChampionComparison, Decision, DifferenceSeries, GateSettings, HeadComparison, Paired};
use cluster::{DAY_MS, GRID_STEP_MS};
use models::evidence::{DependentMean, Tail};
use models::load::HeadKey;
use serde::{Deserialize, Serialize};

/// A window in which fewer of the times have rows than this share is left out.
const LEAST_KNOWN: f64 = 0.5;

/// A challenger beside a champion.
pub struct Duel {
    span: Window,
    heads: Vec<DuelHead>,
}

struct DuelHead {
    key: HeadKey,
    /// Challenger less champion, all days.
    difference: DifferenceSeries,
    /// The champion's own errors.
    champion: DifferenceSeries,
}

/// How often 95 % intervals of one head hold the mean of all days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoverageLine {
    /// The challenger.
    pub challenger: String,
    /// Which head.
    pub head: String,
    /// Mean difference over all days as a share of the champion's error: what the intervals should hold.
    pub truth_share: f64,
    /// Length of a window.
    pub days: u32,
    /// Windows, one beginning each day.
    pub windows: usize,
    /// Those whose interval holds the truth.
    pub covered: usize,
}

/// What the gate decides, all heads together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionLine {
    /// The challenger.
    pub challenger: String,
    /// How much worse it was made, as a share of each head's error; below 0 it is the better one. Absent for a recipe of its own.
    pub made_worse_by: Option<f64>,
    /// Mean over heads of what that came to over all days.
    pub truth_share: f64,
    /// The same for the worst head.
    pub worst_head_share: f64,
    /// Length of a window.
    pub days: u32,
    /// Whether it was judged at the end of each day and the first decision counts; otherwise once, at the end of the window.
    pub each_day: bool,
    /// Windows.
    pub windows: usize,
    /// Decisions.
    pub promote: usize,
    /// Decisions.
    pub keep: usize,
    /// Decisions.
    pub not_yet: usize,
}

impl Duel {
    /// `challenger` and `champion` forecast the rows of `heads`.
    pub fn new(heads: &[HeadForecasts], challenger: &Forecasts, champion: &Forecasts) -> Self {
        let pair = |head: &HeadForecasts, first: &[f64], second: &[f64]| {
            DifferenceSeries::of(&Paired { ts: &head.ts, observed: &head.observed, first, second })
        };
        let both = challenger.iter().zip(champion);
        let duels = heads.iter().zip(both).map(|(head, (challenger, champion))| DuelHead {
            key: head.key,
            difference: pair(head, challenger, champion),
            // The observation itself errs by nothing.
            champion: pair(head, champion, &head.observed),
        });
        Self { span: super::span(heads), heads: duels.collect() }
    }

    /// Windows of so many days, one beginning each day.
    fn windows(&self, days: u32) -> impl Iterator<Item = Window> + use<> {
        let (Window { from, until }, length) = (self.span, i64::from(days) * DAY_MS);
        let starts = (from..until).step_by(DAY_MS as usize).take_while(move |start| start + length <= until);
        starts.map(move |start| Window { from: start, until: start + length })
    }

    /// By head, the mean difference over all days as a share of the champion's error.
    fn truths(&self) -> impl Iterator<Item = (HeadKey, f64)> + '_ {
        self.heads.iter().map(|head| (head.key, mean(&head.difference.points) / mean(&head.champion.points)))
    }

    /// Coverage of each head's intervals.
    pub fn coverage(&self, challenger: &str, days: u32) -> Vec<CoverageLine> {
        let line = |(head, (key, truth_share)): (&DuelHead, (HeadKey, f64))| {
            let truth = mean(&head.difference.points);
            let known = self.windows(days).filter_map(|window| {
                let points = part(&head.difference, window).points;
                DependentMean::of(&points).filter(|of| of.count as f64 >= LEAST_KNOWN * points.len() as f64)
            });
            let covered =
                |of: &DependentMean| of.low(Tail::TwoAndAHalf) <= truth && truth <= of.high(Tail::TwoAndAHalf);
            let (windows, covered) =
                known.fold((0, 0), |(windows, count), of| (windows + 1, count + usize::from(covered(&of))));
            CoverageLine { challenger: challenger.to_owned(), head: key.slug(), truth_share, days, windows, covered }
        };
        self.heads.iter().zip(self.truths()).map(line).collect()
    }

    /// What the gate says of a window.
    fn decide(&self, window: Window, limits: &GateSettings) -> Option<Decision> {
        let heads: Vec<HeadComparison> = self
            .heads
            .iter()
            .map(|head| HeadComparison {
                key: head.key,
                champion_mae_points: mean(&part(&head.champion, window).points),
                series: part(&head.difference, window),
            })
            .collect();
        let expected = (window.until - window.from) as f64 / DAY_MS as f64;
        // What is missing in a trace is no reason for the gate to wait.
        let limits = GateSettings { champion_min_days: limits.champion_min_days * LEAST_KNOWN, ..limits.clone() };
        let comparison = ChampionComparison::of(&heads, &limits)?;
        (comparison.days >= LEAST_KNOWN * expected).then_some(comparison.decision)
    }

    /// Decisions over windows of so many days.
    pub fn decisions(
        &self,
        challenger: &str,
        made_worse_by: Option<f64>,
        days: u32,
        each_day: bool,
        limits: &GateSettings,
    ) -> DecisionLine {
        let truths: Vec<f64> = self.truths().map(|(_, share)| share).collect();
        let mut line = DecisionLine {
            challenger: challenger.to_owned(),
            made_worse_by,
            truth_share: mean(&truths),
            worst_head_share: truths.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            days,
            each_day,
            windows: 0,
            promote: 0,
            keep: 0,
            not_yet: 0,
        };
        for window in self.windows(days) {
            let first = if each_day { 1 } else { days };
            let looks = (first..=days).filter_map(|day| {
                self.decide(Window { until: window.from + i64::from(day) * DAY_MS, ..window }, limits)
            });
            let looks: Vec<Decision> = looks.collect();
            let Some(last) = looks.last() else { continue };
            line.windows += 1;
            match looks.iter().find(|decision| **decision != Decision::NotYet).unwrap_or(last) {
                Decision::Promote => line.promote += 1,
                Decision::Keep => line.keep += 1,
                Decision::NotYet => line.not_yet += 1,
            }
        }
        line
    }
}

/// The part of a series that lies in a window, with holes where it does not reach.
fn part(series: &DifferenceSeries, window: Window) -> DifferenceSeries {
    let value = |at: i64| {
        let slot = usize::try_from((at - series.from).div_euclid(GRID_STEP_MS)).ok();
        slot.and_then(|slot| series.points.get(slot)).copied().unwrap_or(f64::NAN)
    };
    let points = (window.from..window.until).step_by(GRID_STEP_MS as usize).map(value).collect();
    DifferenceSeries { from: window.from, points }
}

/// Of the known values.
fn mean(values: &[f64]) -> f64 {
    crate::evaluate::mean(values.iter().copied().filter(|value| !value.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::super::forecasts::REFERENCE;
    use super::super::ladder::{Flaw, contender, tests::heads, worse_by_share};
    use super::*;

    #[test]
    fn windows_are_judged_by_the_rules_of_the_gate() {
        let heads = heads(5);
        let limits = GateSettings::default();
        let reference = contender(&heads, REFERENCE).expect("a reference");
        let worse = worse_by_share(&heads, Flaw::Noise, 0.3, 1).expect("worse");
        let against = |challenger: &Forecasts, champion: &Forecasts| {
            Duel::new(&heads, challenger, champion).decisions("x", None, 3, false, &limits)
        };
        // Five days have three windows of three days.
        let kept = against(&worse, &reference);
        assert_eq!((kept.windows, kept.keep, kept.promote), (3, 3, 0), "{kept:?}");
        assert!((kept.truth_share - 0.3).abs() < 1e-6, "{kept:?}");
        let promoted = against(&reference, &worse);
        assert_eq!((promoted.promote, promoted.keep), (3, 0), "{promoted:?}");
        // Judged each day, the first decision counts.
        let early = Duel::new(&heads, &reference, &worse).decisions("x", None, 3, true, &limits);
        assert_eq!((early.windows, early.promote, early.each_day), (3, 3, true));
        let lines = Duel::new(&heads, &worse, &reference).coverage("x", 2);
        assert_eq!((lines.len(), lines[0].windows), (6, 4));
        assert!(
            lines.iter().map(|line| line.covered).sum::<usize>() >= 20,
            "independent errors are covered: {lines:?}"
        );
    }
}
