//! How members vote and from which vote on people are called: the cheapest of what keeps the precision that was asked for, judged by
//! posteriors rather than by raw shares, since a dozen incidents and a handful of false alarms say little by themselves.

use super::evidence::{Evidence, Peaks};
use super::{AnomalySettings, KindScores};
use models::anomaly::{Detector, Scorer, Vote};
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};
use std::collections::BTreeMap;

/// What is expected of one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdPoint {
    /// The vote from which on a reading is a warning.
    pub threshold: f32,
    /// Share of incidents that get an alarm, over the mix of kinds that is expected.
    pub recall: f64,
    /// Per node and day.
    pub false_alarms: f64,
    /// Share of alarms that are right.
    pub precision: f64,
    /// The precision that holds with the confidence that was asked for.
    pub precision_low: f64,
    /// Of missed incidents and false alarms, per node and day.
    pub cost: f64,
}

/// Expectations against threshold, the lowest threshold first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdCurve {
    /// The thresholds that were tried.
    pub points: Vec<ThresholdPoint>,
    /// The one that was chosen.
    pub chosen: usize,
}

/// What was chosen, and by what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// How members vote.
    pub vote: Vote,
    /// Readings in a row that raise an alarm.
    pub raise_after: u16,
    /// What was expected of each threshold.
    pub curve: ThresholdCurve,
    /// By kind, what the chosen threshold finds of the labelled and of the injected incidents.
    pub kinds: BTreeMap<String, [KindScores; 2]>,
    /// Incidents per node and day that were expected.
    pub incidents_per_node_day: f64,
    /// Node-days of readings outside incidents.
    pub node_days: f64,
    /// Alarms on them.
    pub false_alarms: usize,
}

impl ThresholdCurve {
    /// The chosen point.
    pub fn choice(&self) -> Option<ThresholdPoint> {
        self.points.get(self.chosen).copied()
    }
}

/// Node-days that the stated rate of incidents counts as much as. A guess: a month of one node.
const RATE_WEIGHT: f64 = 30.0;
/// Of Beta distributions before anything was seen: Jeffreys' prior.
const PRIOR: f64 = 0.5;
/// Thresholds that are tried.
const TRIED: usize = 60;
/// Thresholds that flag more are not tried: an alarm that never ends meets every incident and would look free.
const MOST_FLAGGED: f64 = 0.08;
/// False alarms that the tail is fitted to. Fewer say little about its slope, more are not the tail.
const TAIL: usize = 25;
/// Factors that a member's surprise may get, beside the one that it has.
const FACTORS: [f32; 4] = [0.5, 0.8, 1.25, 1.6];
/// Rounds over all members.
const ROUNDS: usize = 2;

/// Chooses; `None` where neither labelled nor injected incidents tell a good threshold from a bad one.
///
/// First the members that know nothing of faults are weighed against each other, then all of them together against the
/// classifier: they speak as loudly as they can without costing more, since they see what nobody has injected.
pub(super) fn choose(evidence: &Evidence<'_>, detector: &Detector, settings: &AnomalySettings) -> Option<Chosen> {
    let search = Search { evidence, settings };
    let is_classifier: Vec<bool> =
        detector.members().iter().map(|member| matches!(member.scorer, Scorer::Classifier(_))).collect();
    let mut factors = search.weigh(starts(detector))?;
    if is_classifier.contains(&true) {
        let beside = |loudness: f32| -> Vec<f32> {
            let of = |(factor, is_classifier): (&f32, &bool)| if *is_classifier { 1.0 } else { factor * loudness };
            factors.iter().zip(&is_classifier).map(of).collect()
        };
        let rated: Vec<(Rank, Vec<f32>)> = LOUDNESS
            .into_iter()
            .filter_map(|loudness| Some((search.rate(&beside(loudness), settings.raise_after)?.0, beside(loudness))))
            .collect();
        let best = rated.iter().map(|(rank, _)| *rank).min_by(Rank::cmp)?;
        factors = rated.into_iter().find(|(rank, _)| !best.is_clearly_below(rank))?.1;
    }
    let mut chosen: Option<(Rank, u16, ThresholdCurve)> = None;
    for raise_after in settings.raise_after..=settings.raise_after_at_most {
        let (rank, curve) = search.rate(&factors, raise_after)?;
        if chosen.as_ref().is_none_or(|chosen| rank.is_clearly_below(&chosen.0)) {
            chosen = Some((rank, raise_after, curve));
        }
    }
    let (_, raise_after, curve) = chosen?;
    let vote = Vote::Scaled(factors);
    let (peaks, point) = (evidence.peaks(&vote, raise_after), curve.choice()?);
    let kinds = peaks.by_kind(point.threshold).into_iter().map(|(kind, scores)| (kind.to_owned(), scores)).collect();
    Some(Chosen {
        kinds,
        incidents_per_node_day: incident_rate(&peaks, settings),
        node_days: peaks.node_days,
        false_alarms: peaks.false_alarms(point.threshold).len(),
        vote,
        raise_after,
        curve,
    })
}

/// How loud the members without knowledge of faults may speak beside the classifier, the loudest first.
const LOUDNESS: [f32; 9] = [2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.0];

struct Search<'a> {
    evidence: &'a Evidence<'a>,
    settings: &'a AnomalySettings,
}

impl Search<'_> {
    fn rate(&self, factors: &[f32], raise_after: u16) -> Option<(Rank, ThresholdCurve)> {
        let curve = curve(self.evidence.peaks(&Vote::Scaled(factors.to_vec()), raise_after), self.settings)?;
        Some((Rank::of(&curve.choice()?, self.settings.least_precision), curve))
    }

    /// Factors of the best of `starts` and what coordinate descent makes of it; a factor of 0 stays.
    fn weigh(&self, starts: Vec<Vec<f32>>) -> Option<Vec<f32>> {
        let raise_after = self.settings.raise_after;
        let mut tried = Vec::with_capacity(starts.len());
        for factors in starts {
            tried.push((self.rate(&factors, raise_after)?.0, factors));
        }
        let (mut best, mut factors) = tried.into_iter().min_by(|left, right| left.0.cmp(&right.0))?;
        for _ in 0..ROUNDS {
            for member in 0..factors.len() {
                for factor in FACTORS {
                    if factors[member] == 0.0 {
                        break;
                    }
                    let mut changed = factors.clone();
                    changed[member] *= factor;
                    if let Some((rank, _)) = self.rate(&changed, raise_after)
                        && rank.is_clearly_below(&best)
                    {
                        (best, factors) = (rank, changed);
                    }
                }
            }
        }
        Some(factors)
    }
}

/// What the search among the members without knowledge of faults begins with: all alike, forests alone, reaches alone.
fn starts(detector: &Detector) -> Vec<Vec<f32>> {
    let of = |counts: fn(&Scorer) -> bool| -> Vec<f32> {
        detector.members().iter().map(|member| f32::from(u8::from(counts(&member.scorer)))).collect()
    };
    let all = [
        of(|scorer| !matches!(scorer, Scorer::Classifier(_))),
        of(|scorer| matches!(scorer, Scorer::Forest(_))),
        of(|scorer| matches!(scorer, Scorer::Reach(_))),
    ];
    all.into_iter().filter(|factors| factors.iter().any(|factor| *factor > 0.0)).collect()
}

/// What makes one vote better than another: first that it keeps the precision, then what it costs; where none keeps it, the
/// precision that it does keep.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rank {
    keeps: bool,
    value: f64,
}

/// A gain below this share is chance.
const CLEAR_GAIN: f64 = 0.01;

impl Rank {
    fn of(point: &ThresholdPoint, least_precision: f64) -> Self {
        let keeps = point.precision_low >= least_precision;
        Self { keeps, value: if keeps { point.cost } else { 1.0 - point.precision_low } }
    }

    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.keeps.cmp(&self.keeps).then(self.value.total_cmp(&other.value))
    }

    fn is_clearly_below(&self, other: &Self) -> bool {
        match (self.keeps, other.keeps) {
            (true, false) => true,
            (false, true) => false,
            _ => self.value < other.value * (1.0 - CLEAR_GAIN),
        }
    }
}

/// Incidents per node and day: labelled ones beside the stated rate; the stated rate alone where nobody labels.
fn incident_rate(peaks: &Peaks, settings: &AnomalySettings) -> f64 {
    let labelled = peaks.incidents.iter().filter(|seen| seen.is_labelled).count() as f64;
    if labelled == 0.0 {
        return settings.expected_incidents;
    }
    (settings.expected_incidents * RATE_WEIGHT + labelled) / (RATE_WEIGHT + peaks.node_days)
}

fn curve(mut peaks: Peaks, settings: &AnomalySettings) -> Option<ThresholdCurve> {
    if peaks.incidents.is_empty() {
        return None;
    }
    let thresholds = peaks.thresholds(TRIED, MOST_FLAGGED);
    peaks.keep_from(*thresholds.first()?);
    let peaks = &peaks;
    let expected = peaks.node_days * incident_rate(peaks, settings);
    let tail = Tail::fit(peaks, &thresholds);
    let points: Vec<ThresholdPoint> = thresholds
        .iter()
        .map(|threshold| {
            let recall = recall(&peaks.by_kind(*threshold));
            let right = expected * recall;
            let wrong = expected_alarms(tail.as_ref(), peaks, *threshold) + expected * peaks.late_alarms(*threshold);
            let posterior = Beta::new(PRIOR + right, PRIOR + wrong);
            ThresholdPoint {
                threshold: *threshold,
                recall,
                false_alarms: wrong / peaks.node_days,
                precision: (PRIOR + right) / (2.0 * PRIOR + right + wrong),
                precision_low: posterior.map_or(0.0, |posterior| posterior.inverse_cdf(1.0 - settings.confidence)),
                cost: (settings.missed_cost * (expected - right) + settings.false_alarm_cost * wrong) / peaks.node_days,
            }
        })
        .collect();
    let rank = |point: &ThresholdPoint| Rank::of(point, settings.least_precision);
    let chosen = (0..points.len()).min_by(|left, right| rank(&points[*left]).cmp(&rank(&points[*right])))?;
    Some(ThresholdCurve { points, chosen })
}

/// Share of the incidents that are found, over kinds by their expected shares: each kind that could be injected counts as one
/// incident, and each labelled one as one more.
fn recall(kinds: &BTreeMap<&str, [KindScores; 2]>) -> f64 {
    let weigh = |[labelled, injected]: &[KindScores; 2]| {
        let weight = f64::from(u8::from(injected.incidents > 0)) + labelled.incidents as f64;
        let (found, of) = (labelled.found + injected.found, labelled.incidents + injected.incidents);
        (weight, (PRIOR + found as f64) / (2.0 * PRIOR + of as f64))
    };
    let (sum, weights) =
        kinds.values().map(weigh).fold((0.0, 0.0), |sum, (weight, recall)| (sum.0 + weight * recall, sum.1 + weight));
    if weights > 0.0 { sum / weights } else { 0.0 }
}

/// The upper tail of false alarms' votes: exponential, as excesses over a high level are where the distribution's tail is
/// (Pickands, 1975). It says what is to be expected of a threshold that nothing, or next to nothing, has reached yet.
struct Tail {
    level: f32,
    alarms: f64,
    /// Mean excess over the level.
    scale: f64,
}

impl Tail {
    fn fit(peaks: &Peaks, thresholds: &[f32]) -> Option<Self> {
        let level = thresholds.iter().copied().find(|threshold| peaks.false_alarms(*threshold).len() <= TAIL)?;
        // What rules are certain of has no vote.
        let excesses: Vec<f64> = peaks
            .false_alarms(level)
            .into_iter()
            .filter(|peak| peak.is_finite())
            .map(|peak| f64::from(peak - level))
            .collect();
        let scale = excesses.iter().sum::<f64>() / excesses.len() as f64;
        (scale > 0.0).then_some(Self { level, alarms: excesses.len() as f64, scale })
    }
}

/// Alarms outside incidents that are expected of a threshold: half what was counted, half what the tail expects.
fn expected_alarms(tail: Option<&Tail>, peaks: &Peaks, threshold: f32) -> f64 {
    let alarms = peaks.false_alarms(threshold);
    let (certain, counted) = (alarms.iter().filter(|peak| peak.is_infinite()).count() as f64, alarms.len() as f64);
    match tail {
        Some(tail) if threshold >= tail.level => {
            let expected = tail.alarms * (-f64::from(threshold - tail.level) / tail.scale).exp();
            0.5 * counted + 0.5 * (certain + expected)
        }
        _ => counted,
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::Evidence;
    use super::*;
    use crate::anomaly::History;
    use crate::anomaly::tests::{history, label};
    use crate::folds::Window;
    use cluster::GRID_STEP_MS;

    /// `nodes` of `days` days; each has `incidents` incidents of four readings that vote 5, and nothing else votes above 0.5.
    fn evident(nodes: usize, days: i64, incidents: i64) -> (History, Vec<f32>) {
        let slots = days * 288;
        let labels = |_| {
            let begin = |incident: i64| (20 + 40 * incident) * GRID_STEP_MS;
            let of = |incident| label("leak", "warning", begin(incident), begin(incident) + 4 * GRID_STEP_MS);
            (0..incidents).map(of).collect()
        };
        let history = history(nodes, slots, (0..nodes).map(labels).collect());
        let odd = history.odd();
        let votes = odd.iter().enumerate().map(|(row, odd)| if *odd { 5.0 } else { (row % 10) as f32 / 20.0 });
        let votes = votes.collect();
        (history, votes)
    }

    fn peaks_of(history: &History, votes: &[f32]) -> Peaks {
        let certain = vec![false; votes.len()];
        let window = Window { from: 0, until: i64::MAX };
        Evidence { history, window, members: 1, surprises: votes, certain: &certain, faults: None }
            .peaks(&Vote::Largest, 1)
    }

    #[test]
    fn a_handful_of_incidents_is_not_believed_to_be_precise() {
        let settings = AnomalySettings::default();
        let best = |nodes, days, incidents| {
            let (history, votes) = evident(nodes, days, incidents);
            curve(peaks_of(&history, &votes), &settings).expect("incidents").choice().expect("a point")
        };
        // Every incident is found and nothing else is flagged in both: the raw share is 1 in both.
        let (few, many) = (best(1, 10, 2), best(20, 30, 30));
        assert!(few.recall > 0.7 && many.recall > 0.99, "{few:?} {many:?}");
        assert!(few.precision_low < settings.least_precision, "{few:?}");
        assert!(many.precision_low > 0.99, "{many:?}");
    }

    #[test]
    fn false_alarms_count_as_their_posterior_says() {
        let (history, mut votes) = evident(20, 30, 30);
        // Two lone readings, far from any incident, below all of them and above everything else.
        (votes[288 * 29], votes[288 * 59]) = (1.0, 2.0);
        let curve = curve(peaks_of(&history, &votes), &AnomalySettings::default()).expect("incidents");
        let point = curve.points.iter().find(|point| point.threshold == 1.0).expect("the second is tried");
        // 600 incidents within 20 x 30 node-days, less 4 readings of each and 12 that an alarm on it may last; the stated rate of
        // 0.1 counts as 30 node-days.
        let days = 600.0 - 600.0 * 16.0 / 288.0;
        let expected = days * (0.1 * 30.0 + 600.0) / (30.0 + days);
        let right = expected * 600.5 / 601.0;
        assert!((point.false_alarms * days - 2.0).abs() < 1e-9, "{point:?}");
        assert!((point.precision - (0.5 + right) / (1.0 + right + 2.0)).abs() < 1e-9, "{point:?}");
    }

    #[test]
    fn kinds_weigh_by_what_is_expected_rather_than_by_what_was_injected() {
        let scores = |incidents, found| KindScores { incidents, found };
        // leak: 3 of 4 labelled and 50 of 100 injected, weight 1 + 4; noise: 100 of 100 injected, weight 1.
        let kinds = [("leak", [scores(4, 3), scores(100, 50)]), ("noise", [scores(0, 0), scores(100, 100)])].into();
        let by_hand = (5.0 * 53.5 / 105.0 + 100.5 / 101.0) / 6.0;
        assert!((recall(&kinds) - by_hand).abs() < 1e-12);
    }

    #[test]
    fn a_threshold_that_nothing_reached_yet_is_not_free_of_false_alarms() {
        let mut votes = vec![0.0; 576];
        (votes[100], votes[200], votes[300]) = (2.0, 2.0, 4.0);
        let peaks = peaks_of(&history(1, 576, vec![vec![]]), &votes);
        let tail = Tail::fit(&peaks, &[1.0]);
        // Excesses over 1 are 1, 1 and 3, 5/3 on average: above 6 there are 3 e^-3 to come, half of which count.
        assert!((expected_alarms(tail.as_ref(), &peaks, 6.0) - 0.5 * 3.0 * (-3.0_f64).exp()).abs() < 1e-9);
        assert_eq!(expected_alarms(tail.as_ref(), &peaks, 0.5), 3.0);
    }
}
