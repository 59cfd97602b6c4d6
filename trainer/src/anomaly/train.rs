//! Training: the forests on usual rows, the vote on labelled ones, the threshold on the hours after them.

use super::{AlarmScores, AnomalySettings, CostCurve, CostPoint, Costs, History, Timeline, ZScore, cheapest, evaluate};
use crate::folds::{TooShort, Window};
use cluster::{DAY_MS, GRID_STEP_MS, HOUR_MS, grid_floor};
use models::FeatureMatrix;
use models::anomaly::{AlarmSettings, Detector, LabelledRows, Scorer, Vote, fit_detector_with_reach};
use std::time::Instant;

/// Windows of a day: shorter history has no usual day to compare with.
const SHORTEST_WINDOW_MS: i64 = DAY_MS;

/// How vote and threshold were chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum VoteChoice {
    /// By cost on labelled incidents of the validation slice.
    ByCost(CostCurve),
    /// By the stated share of readings, since nothing was labelled there.
    ByShare(f64),
}

/// A detector with its figures on the test.
#[derive(Debug, Clone)]
pub struct TrainedDetector {
    /// The detector.
    pub detector: Detector,
    /// How vote and threshold were chosen.
    pub choice: VoteChoice,
    /// What the forests and the vote learned from.
    pub train: Window,
    /// What chose vote and threshold.
    pub validation: Window,
    /// What nothing was learned from.
    pub test: Window,
    /// On the test.
    pub scores: AlarmScores,
    /// The z-score on the test, its threshold the cheapest on the same slice.
    pub zscore: AlarmScores,
    /// Votes and labels of the test, for its curves.
    pub test_votes: (Vec<f32>, Vec<bool>),
    /// The same of the z-score.
    pub zscore_votes: Vec<f32>,
    /// Wall time.
    pub seconds: f64,
}

/// Votes of all rows of a history.
pub(super) struct Votes {
    pub votes: Vec<f32>,
    pub certain: Vec<bool>,
}

impl Votes {
    /// The votes of a detector on rows whose surprises are known.
    pub fn of(detector: &Detector, x: &FeatureMatrix, surprises: &[f32]) -> Self {
        let rows = surprises.chunks_exact(detector.members().len()).enumerate();
        let (votes, certain) = rows
            .map(|(row, surprises)| {
                let reading = detector.reading(x.row(row), surprises);
                (reading.vote, reading.certain)
            })
            .unzip();
        Self { votes, certain }
    }

    pub fn timeline<'a>(&'a self, history: &'a History, odd: &'a [bool], detector: &Detector) -> Timeline<'a> {
        Timeline { history, votes: &self.votes, certain: &self.certain, odd, alarms: *detector.alarms() }
    }
}

/// A model's figures on a window.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Figures.
    pub scores: AlarmScores,
    /// Readings that are no number.
    pub insane: usize,
}

impl Judged {
    /// Judges a detector on `window`.
    ///
    /// # Errors
    /// When the history lacks one of its features.
    pub fn of(detector: &Detector, history: &History, window: Window) -> anyhow::Result<Self> {
        let x = history.x.select_columns(detector.features())?;
        let votes = Votes::of(detector, &x, &detector.surprises(&x)?);
        let rows = history.rows_in(window).into_iter().flatten();
        let insane = rows.filter(|row| !votes.votes[*row].is_finite()).count();
        let odd = history.odd();
        let scores = evaluate(&votes.timeline(history, &odd, detector), window, detector.threshold());
        Ok(Self { scores, insane })
    }
}

/// Trains a detector and judges it, and the z-score beside it, on the end of the history.
///
/// # Errors
/// When the history is too short to be cut, or no row is usual.
pub fn train_detector(history: &History, settings: &AnomalySettings) -> anyhow::Result<TrainedDetector> {
    settings.validate()?;
    let began = Instant::now();
    let (train, validation, test) = cut(history.span(), settings)?;
    let (odd, usual) = (history.odd(), history.usual(settings.aftermath_hours));
    let rows: Vec<usize> = history.rows_in(train).into_iter().flatten().collect();
    let pick = |marks: &[bool]| -> Vec<bool> { rows.iter().map(|row| marks[*row]).collect() };
    let (x, train_odd, train_usual) = (history.x.select_rows(&rows)?, pick(&odd), pick(&usual));
    let labelled = LabelledRows { x: &x, odd: &train_odd, usual: &train_usual };
    let fitted = fit_detector_with_reach(&labelled, &settings.detector(), settings.seed)?;

    let surprises = fitted.surprises(&history.x)?;
    let certain = Votes::of(&fitted, &history.x, &surprises).certain;
    let known = Known { history, odd: &odd, surprises: &surprises, certain: &certain, settings };
    let (detector, choice) = known.choose(fitted, train, validation);
    let votes = Votes::of(&detector, &history.x, &surprises);
    let scores = evaluate(&votes.timeline(history, &odd, &detector), test, detector.threshold());

    let may_teach: Vec<bool> = (0..usual.len()).map(|row| usual[row] && train.contains(history.ts[row])).collect();
    let z = Votes { votes: ZScore::learn(history, &may_teach).votes(history), certain: vec![false; usual.len()] };
    let timeline = z.timeline(history, &odd, &detector);
    let z_threshold = cheapest(&timeline, validation, &settings.costs().alone())
        .and_then(|curve| curve.choice())
        .map_or_else(|| exceeded_by(&z.votes, history, validation, settings.expected_share), |choice| choice.threshold);
    let zscore = evaluate(&timeline, test, z_threshold);

    let test_rows: Vec<usize> = history.rows_in(test).into_iter().flatten().collect();
    let of = |votes: &Votes| -> Vec<f32> {
        test_rows.iter().map(|row| if votes.certain[*row] { f32::MAX } else { votes.votes[*row] }).collect()
    };
    Ok(TrainedDetector {
        test_votes: (of(&votes), test_rows.iter().map(|row| odd[*row]).collect()),
        zscore_votes: of(&z),
        detector,
        choice,
        train,
        validation,
        test,
        scores,
        zscore,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// What a vote is chosen on.
struct Known<'a> {
    history: &'a History,
    odd: &'a [bool],
    surprises: &'a [f32],
    /// What the rules say, whatever the vote.
    certain: &'a [bool],
    settings: &'a AnomalySettings,
}

/// Factors that a member's surprise may get, beside the one that it has.
const FACTORS: [f32; 4] = [0.6, 0.8, 1.25, 1.6];

impl Known<'_> {
    fn votes(&self, detector: &Detector, vote: &Vote) -> Vec<f32> {
        let rows = self.surprises.chunks_exact(detector.members().len());
        rows.map(|surprises| vote.of(surprises)).collect()
    }

    /// The thresholds of votes within a window and the best of them; `None` where nothing is labelled.
    fn curve(&self, votes: &[f32], alarms: AlarmSettings, window: Window, costs: &Costs) -> Option<CostCurve> {
        let Self { history, odd, certain, .. } = *self;
        cheapest(&Timeline { history, votes, certain, odd, alarms }, window, costs)
    }

    /// What the cheapest threshold costs, however often its alarms are right.
    fn cost(&self, detector: &Detector, vote: &Vote, window: Window) -> Option<f64> {
        let costs = self.settings.costs().alone();
        self.curve(&self.votes(detector, vote), *detector.alarms(), window, &costs)?.choice().map(|choice| choice.cost)
    }

    /// Factors that make the largest surprise cheaper on the training slice: one member after the other, twice. It begins
    /// with all members, with the forests alone or with the reaches alone, whatever is cheapest there; a member that is left out
    /// stays out.
    fn scaled(&self, detector: &Detector, train: Window) -> Option<Vote> {
        let forests = || detector.members().iter().map(|member| matches!(member.scorer, Scorer::Forest(_)));
        let begins: [Vec<f32>; 3] = [
            forests().map(|_| 1.0).collect(),
            forests().map(|is_forest| f32::from(u8::from(is_forest))).collect(),
            forests().map(|is_forest| f32::from(u8::from(!is_forest))).collect(),
        ];
        let mut tried = Vec::with_capacity(begins.len());
        for factors in begins {
            tried.push((self.cost(detector, &Vote::Scaled(factors.clone()), train)?, factors));
        }
        let (mut least, mut factors) = tried.into_iter().min_by(|left, right| left.0.total_cmp(&right.0))?;
        for _ in 0..2 {
            for member in (0..factors.len()).filter(|member| factors[*member] > 0.0).collect::<Vec<_>>() {
                for factor in FACTORS {
                    let mut changed = factors.clone();
                    changed[member] *= factor;
                    let cost = self.cost(detector, &Vote::Scaled(changed.clone()), train)?;
                    if cost < least {
                        (least, factors) = (cost, changed);
                    }
                }
            }
        }
        Some(Vote::Scaled(factors))
    }

    /// Tries the votes that there are, each with every number of readings in a row that may raise an alarm and with the
    /// threshold that is best for both on the validation slice.
    fn choose(&self, fitted: Detector, train: Window, validation: Window) -> (Detector, VoteChoice) {
        let costs = self.settings.costs();
        let mut tried: Vec<(Vote, AlarmSettings, CostPoint, CostCurve)> = Vec::new();
        let candidates = [Some(Vote::Largest), Some(fitted.vote().clone()), self.scaled(&fitted, train)];
        for vote in candidates.into_iter().flatten() {
            let votes = self.votes(&fitted, &vote);
            for raise_after in self.settings.raise_after..=self.settings.raise_after_at_most {
                let alarms = AlarmSettings { raise_after, ..*fitted.alarms() };
                let curve = self.curve(&votes, alarms, validation, &costs);
                if let Some((choice, curve)) = curve.and_then(|curve| Some((curve.choice()?, curve))) {
                    tried.push((vote.clone(), alarms, choice, curve));
                }
            }
        }
        let rank = |point: &CostPoint| (!point.is_precise(costs.least_precision), point.cost);
        let best = tried.into_iter().min_by(|left, right| {
            let (left, right) = (rank(&left.2), rank(&right.2));
            left.0.cmp(&right.0).then(left.1.total_cmp(&right.1))
        });
        match best {
            Some((vote, alarms, choice, curve)) => {
                (fitted.with_vote(vote, choice.threshold).with_alarms(alarms), VoteChoice::ByCost(curve))
            }
            // Nothing is labelled there: the threshold of the fit stands.
            None => (fitted, VoteChoice::ByShare(self.settings.expected_share)),
        }
    }
}

/// The vote that a share of the readings within a window exceeds.
pub(super) fn exceeded_by(votes: &[f32], history: &History, window: Window, share: f64) -> f32 {
    let mut sorted: Vec<f32> = history.rows_in(window).into_iter().flatten().map(|row| votes[row]).collect();
    sorted.sort_by(f32::total_cmp);
    let at = ((1.0 - share) * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f32::INFINITY)
}

/// Train, validation and test, one after the other.
fn cut(span: Window, settings: &AnomalySettings) -> Result<(Window, Window, Window), TooShort> {
    let before = |until: i64, share: f64| grid_floor(until - ((until - span.from) as f64 * share) as i64, GRID_STEP_MS);
    let test_from = before(span.until, settings.test_share);
    let validation_from = before(test_from, settings.validation_share);
    let windows = [(span.from, validation_from), (validation_from, test_from), (test_from, span.until)]
        .map(|(from, until)| Window { from, until });
    if windows.iter().all(|window| window.until - window.from >= SHORTEST_WINDOW_MS) {
        let [train, validation, test] = windows;
        return Ok((train, validation, test));
    }
    let validated = (1.0 - settings.test_share) * settings.validation_share;
    let smallest = settings.test_share.min(validated).min(1.0 - settings.test_share - validated);
    Err(TooShort {
        doing: "train, validate and test the anomaly detector",
        got_hours: span.hours(),
        wanted_hours: SHORTEST_WINDOW_MS as f64 / HOUR_MS as f64 / smallest,
    })
}
