//! Training: the members on usual rows and on faults, the vote and the threshold on hours that the members have not seen.

use super::choose::{self, Chosen};
use super::evaluate::alarmed;
use super::evidence::{Evidence, RatedFaults};
use super::faults::{self, Faults};
use super::{AlarmScores, AnomalySettings, History, KindScores, Timeline, ZScore, cheapest, evaluate};
use crate::folds::{TooShort, Window};
use cluster::{DAY_MS, GRID_STEP_MS, HOUR_MS, grid_floor};
use models::anomaly::{AlarmSettings, Detector, LabelledRows, fit_detector_with_reach};
use models::{FeatureMatrix, FitOptions};
use std::collections::BTreeMap;
use std::time::Instant;
use synthetic::InjectedFault;

/// Windows of a day: shorter history has no usual day to compare with.
const SHORTEST_WINDOW_MS: i64 = DAY_MS;

/// How vote and threshold were chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum VoteChoice {
    /// By what was expected of thresholds, from labelled and injected incidents.
    ByEvidence(Chosen),
    /// By the stated share of readings, since nothing was labelled and nothing could be injected.
    ByShare(f64),
}

/// A detector with its figures on the test.
#[derive(Debug, Clone)]
pub struct TrainedDetector {
    /// The detector.
    pub detector: Detector,
    /// How vote and threshold were chosen.
    pub choice: VoteChoice,
    /// What the members, the vote and the threshold were learned from.
    pub learn: Window,
    /// What nothing was learned from.
    pub test: Window,
    /// On the test.
    pub scores: AlarmScores,
    /// Incidents that were injected into replays of the test, and those that were found, by kind.
    pub injected: BTreeMap<String, KindScores>,
    /// The z-score on the test, its threshold the cheapest on the hours before.
    pub zscore: AlarmScores,
    /// That threshold.
    pub z_threshold: f32,
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

    /// The votes of the z-score, which learns from the usual rows of `learn`; no rule makes it certain.
    pub fn of_zscore(history: &History, learn: Window, aftermath_hours: f64) -> Self {
        let usual = history.usual(aftermath_hours);
        let may_teach: Vec<bool> = (0..usual.len()).map(|row| usual[row] && learn.contains(history.ts[row])).collect();
        Self { votes: ZScore::learn(history, &may_teach).votes(history), certain: vec![false; usual.len()] }
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
/// Vote and threshold come from readings that the members have not learned from: the hours before the test are cut into blocks,
/// each block is rated by members fitted on the others, and with the blocks faults that were injected into replays of them.
/// The members that are kept are fitted on all blocks.
///
/// # Errors
/// When the history is too short to be cut, no row is usual, or a raw file is damaged.
pub fn train_detector(history: &History, settings: &AnomalySettings) -> anyhow::Result<TrainedDetector> {
    settings.validate()?;
    let began = Instant::now();
    let (learn, test) = cut(history.span(), settings)?;
    let kinds: Vec<InjectedFault> =
        InjectedFault::ALL.into_iter().filter(|kind| !settings.withheld_kinds.contains(kind)).collect();
    let faults = match settings.faults_per_kind {
        0 => None,
        count => faults::inject(history, learn, &kinds, count, settings.seed)?,
    };
    let lessons = Lessons::new(history, faults.as_ref(), settings)?;
    let fitted = lessons.fit(|ts| learn.contains(ts))?;
    let choice = lessons.choose(learn, &fitted)?;
    let detector = match &choice {
        Some(chosen) => {
            let threshold = chosen.curve.choice().map_or(f32::INFINITY, |point| point.threshold);
            let alarms = AlarmSettings { raise_after: chosen.raise_after, ..*fitted.alarms() };
            fitted.with_vote(chosen.vote.clone(), threshold).with_alarms(alarms)
        }
        // Nothing was labelled or injected: the threshold of the fit stands.
        None => fitted,
    };
    let odd = history.odd();
    let surprises = detector.surprises(&history.x)?;
    let votes = Votes::of(&detector, &history.x, &surprises);
    let scores = evaluate(&votes.timeline(history, &odd, &detector), test, detector.threshold());
    let injected = match settings.faults_per_kind / TEST_PART {
        0 => BTreeMap::new(),
        count => match faults::inject(history, test, &kinds, count, settings.seed.wrapping_add(1))? {
            Some(faults) => found_of(&detector, &faults)?,
            None => BTreeMap::new(),
        },
    };

    let z = Votes::of_zscore(history, learn, settings.aftermath_hours);
    let timeline = z.timeline(history, &odd, &detector);
    let z_threshold = cheapest(&timeline, learn, &settings.costs().alone())
        .and_then(|curve| curve.choice())
        .map_or_else(|| exceeded_by(&z.votes, history, learn, settings.expected_share), |choice| choice.threshold);
    let zscore = evaluate(&timeline, test, z_threshold);

    let test_rows: Vec<usize> = history.rows_in(test).into_iter().flatten().collect();
    let of = |votes: &Votes| -> Vec<f32> {
        test_rows.iter().map(|row| if votes.certain[*row] { f32::MAX } else { votes.votes[*row] }).collect()
    };
    Ok(TrainedDetector {
        test_votes: (of(&votes), test_rows.iter().map(|row| odd[*row]).collect()),
        zscore_votes: of(&z),
        detector,
        choice: choice.map_or(VoteChoice::ByShare(settings.expected_share), VoteChoice::ByEvidence),
        learn,
        test,
        scores,
        injected,
        zscore,
        z_threshold,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// As many times fewer faults are injected into the test than into the hours before.
const TEST_PART: usize = 3;

/// Rows with what they teach: a history's, then those of injected faults.
struct Lessons<'a> {
    history: &'a History,
    faults: Option<&'a Faults>,
    settings: &'a AnomalySettings,
    x: FeatureMatrix,
    ts: Vec<i64>,
    /// What each row counts as an example of a fault.
    weights: Vec<f32>,
    usual: Vec<bool>,
}

impl<'a> Lessons<'a> {
    fn new(history: &'a History, faults: Option<&'a Faults>, settings: &'a AnomalySettings) -> anyhow::Result<Self> {
        let (mut weights, mut usual) = (history.lessons(), history.usual(settings.aftermath_hours));
        let (mut ts, mut values) = (history.ts.clone(), history.x.values().to_vec());
        if let Some(faults) = faults {
            weights.extend(faults.lessons());
            usual.resize(weights.len(), false);
            ts.extend(&faults.ts);
            values.extend(faults.x.values());
        }
        let x = FeatureMatrix::new(history.x.names().to_vec(), ts.len(), values)?;
        Ok(Self { history, faults, settings, x, ts, weights, usual })
    }

    /// Fits the members on the rows at the times that `learns` says yes to.
    fn fit(&self, learns: impl Fn(i64) -> bool) -> anyhow::Result<Detector> {
        let rows: Vec<usize> = (0..self.ts.len()).filter(|row| learns(self.ts[*row])).collect();
        let x = self.x.select_rows(&rows)?;
        let weights: Vec<f32> = rows.iter().map(|row| self.weights[*row]).collect();
        let odd: Vec<bool> = weights.iter().map(|weight| *weight > 0.0).collect();
        let usual: Vec<bool> = rows.iter().map(|row| self.usual[*row]).collect();
        let labelled = LabelledRows { x: &x, odd: &odd, usual: &usual };
        let seed = self.settings.seed;
        let fitted = fit_detector_with_reach(&labelled, &self.settings.detector(), seed)?;
        // One thread, so that the model does not depend on the machine.
        Ok(fitted.with_classifier(&labelled, &weights, &self.settings.classifier(), &FitOptions::seeded(seed))?)
    }

    /// Chooses vote and threshold on the blocks of `learn`, each rated by members fitted on the others.
    fn choose(&self, learn: Window, fitted: &Detector) -> anyhow::Result<Option<Chosen>> {
        if self.faults.is_none()
            && !self.history.labels.iter().flatten().any(|label| learn.meets(label.started_at, label.ended_at))
        {
            return Ok(None);
        }
        let members = fitted.members().len();
        let mut surprises = vec![0.0; self.ts.len() * members];
        let mut certain = vec![false; self.ts.len()];
        for block in learn.blocks(BLOCKS) {
            let others = self.fit(|ts| learn.contains(ts) && !block.contains(ts))?;
            if others.members().len() != members {
                // Too few faults lie in the other blocks to learn them.
                return Ok(None);
            }
            let rows: Vec<usize> = (0..self.ts.len()).filter(|row| block.contains(self.ts[*row])).collect();
            let x = self.x.select_rows(&rows)?;
            let own = others.surprises(&x)?;
            for ((place, row), own) in rows.into_iter().enumerate().zip(own.chunks_exact(members)) {
                surprises[row * members..(row + 1) * members].copy_from_slice(own);
                certain[row] = others.reading(x.row(place), own).certain;
            }
        }
        let rows = self.history.ts.len();
        let evidence = Evidence {
            history: self.history,
            window: learn,
            members,
            surprises: &surprises[..rows * members],
            certain: &certain[..rows],
            faults: self.faults.map(|faults| RatedFaults {
                faults,
                surprises: &surprises[rows * members..],
                certain: &certain[rows..],
            }),
        };
        Ok(choose::choose(&evidence, fitted, self.settings))
    }
}

/// Blocks of time that the hours before the test are cut into.
const BLOCKS: i64 = 4;

/// Injected incidents and those that the detector finds, by kind.
fn found_of(detector: &Detector, faults: &Faults) -> anyhow::Result<BTreeMap<String, KindScores>> {
    let x = faults.x.select_columns(detector.features())?;
    let votes = Votes::of(detector, &x, &detector.surprises(&x)?);
    let mut kinds: BTreeMap<String, KindScores> = BTreeMap::new();
    for stretch in &faults.stretches {
        let readings = stretch.rows.clone().map(|row| (votes.votes[row], votes.certain[row]));
        let found = alarmed(readings, detector.alarms(), detector.threshold())
            .zip(stretch.rows.clone())
            .any(|(is_alarm, row)| is_alarm && faults.ts[row] - GRID_STEP_MS <= stretch.end);
        let scores = kinds.entry(stretch.fault.kind().to_owned()).or_default();
        scores.incidents += 1;
        scores.found += usize::from(found);
    }
    Ok(kinds)
}

/// The vote that a share of the readings within a window exceeds.
pub(super) fn exceeded_by(votes: &[f32], history: &History, window: Window, share: f64) -> f32 {
    let mut sorted: Vec<f32> = history.rows_in(window).into_iter().flatten().map(|row| votes[row]).collect();
    sorted.sort_by(f32::total_cmp);
    let at = ((1.0 - share) * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f32::INFINITY)
}

/// What is learned from, and the test after it.
fn cut(span: Window, settings: &AnomalySettings) -> Result<(Window, Window), TooShort> {
    let length = (span.until - span.from) as f64;
    let test_from = grid_floor(span.until - (length * settings.test_share) as i64, GRID_STEP_MS);
    let (learn, test) = (Window { from: span.from, until: test_from }, Window { from: test_from, until: span.until });
    if [(learn, BLOCKS), (test, 1)]
        .iter()
        .all(|(window, parts)| window.until - window.from >= parts * SHORTEST_WINDOW_MS)
    {
        return Ok((learn, test));
    }
    let smallest = settings.test_share.min((1.0 - settings.test_share) / BLOCKS as f64);
    Err(TooShort {
        doing: "train, choose and test the anomaly detector",
        got_hours: span.hours(),
        wanted_hours: SHORTEST_WINDOW_MS as f64 / HOUR_MS as f64 / smallest,
    })
}
