//! `trainer anomaly compare`: detectors and supervised peers on the same rows, judged in the same way.
//!
//! Every peer learns from the first part of the history, its threshold is the cheapest on the second, its figures come
//! from the third, which nothing was chosen on.

mod choice;
mod lstm;
mod page;
mod scenario;
mod settings;
mod supervised;
mod table;
mod task;

#[cfg(test)]
mod tests;

pub use choice::{Choice, choose};
pub use page::{comparison_table, page};
pub use scenario::{Scenario, generate};
pub use settings::{CompareSettings, Primary};
pub use table::{TableRows, TableSettings, read_tables};
pub use task::Task;

use super::{AlarmScores, CostCurve, Costs, cheapest, evaluate};
use crate::anomaly::train::exceeded_by;
use anyhow::Context;
use clap::ValueEnum;
use models::FeatureMatrix;
use models::anomaly::series::{SeriesDetector, SeriesSettings};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerKind {
    /// Our detector for series: it reads no labels, they choose its threshold alone
    Detector,
    /// The largest distance of a column from its node's mean, in standard deviations
    ZScore,
    /// A random forest on labelled rows (smartcore)
    RandomForest,
    /// A linear model on labelled rows (linfa)
    Linear,
    /// A recurrent network on labelled sequences (burn)
    Lstm,
}

impl PeerKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Detector, Self::ZScore, Self::RandomForest, Self::Linear, Self::Lstm];

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detector => "detector",
            Self::ZScore => "z-score",
            Self::RandomForest => "random forest",
            Self::Linear => "linear",
            Self::Lstm => "LSTM",
        }
    }

    /// Whether it learns from labels beyond its threshold.
    pub const fn is_supervised(self) -> bool {
        matches!(self, Self::RandomForest | Self::Linear | Self::Lstm)
    }
}

/// How a threshold came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdChoice {
    /// The cheapest on the validation slice.
    ByCost(CostCurve),
    /// No incident is labelled there: the score that this share of its readings exceeds.
    ByShare(f64),
}

/// One peer and its figures.
#[derive(Debug, Clone, Serialize)]
pub struct PeerResult {
    /// Who.
    pub kind: PeerKind,
    /// The score from which on a reading is flagged.
    pub threshold: f32,
    /// How it was chosen.
    pub choice: ThresholdChoice,
    /// On the test.
    pub scores: AlarmScores,
    /// Share of the test's readings whose flag is as labelled.
    pub accuracy: Option<f64>,
    /// What missed incidents and false alarms of the test cost.
    pub cost: f64,
    /// Wall time of the fit.
    pub fit_seconds: f64,
    /// Wall time of scoring all rows.
    pub score_seconds: f64,
    /// Scores of the test's readings, for the curves.
    #[serde(skip)]
    pub test_scores: Vec<f32>,
}

/// All peers on one task.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What was compared on.
    pub task: String,
    /// Columns of a row.
    pub columns: Vec<String>,
    /// Series, readings, readings within incidents, in training, validation and test.
    pub slices: [SliceCounts; 3],
    /// How.
    pub settings: CompareSettings,
    /// The peers, in the order in which they were asked for.
    pub peers: Vec<PeerResult>,
    /// Peers that could not take part, and why.
    pub left_out: Vec<(PeerKind, String)>,
    /// The best.
    pub choice: Choice,
    /// Labels of the test's readings.
    #[serde(skip)]
    pub test_odd: Vec<bool>,
}

/// What a slice holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SliceCounts {
    /// Readings.
    pub rows: usize,
    /// Those within incidents.
    pub odd_rows: usize,
    /// Incidents that meet the slice.
    pub incidents: usize,
}

/// A peer's score of every row of the task, with the times of fit and scoring.
pub(super) struct Scored {
    pub scores: Vec<f32>,
    pub fit_seconds: f64,
    pub score_seconds: f64,
}

/// Compares `kinds` on the task.
///
/// # Errors
/// Settings out of range, a fit that fails for another reason than missing labels, no peer that can take part.
pub fn compare(
    task: &Task,
    kinds: &[PeerKind],
    settings: &CompareSettings,
    progress: impl Fn(PeerKind),
) -> anyhow::Result<Comparison> {
    settings.validate()?;
    let (mut peers, mut left_out) = (Vec::new(), Vec::new());
    for kind in kinds {
        progress(*kind);
        if kind.is_supervised() && !task.has_both_classes() {
            let reason =
                "the training slice has readings of one class only, a supervised peer learns nothing from them";
            left_out.push((*kind, reason.to_owned()));
            continue;
        }
        let scored = score(task, *kind, settings).with_context(|| format!("the peer `{}` failed", kind.name()))?;
        peers.push(judge(task, *kind, scored, settings));
    }
    anyhow::ensure!(
        !peers.is_empty(),
        "no peer can take part: {}",
        left_out.first().map_or("none was asked for", |(_, reason)| reason.as_str())
    );
    Ok(Comparison {
        task: task.name.clone(),
        columns: task.history.x.names().to_vec(),
        slices: task.slices(),
        settings: settings.clone(),
        choice: choose(&peers, settings),
        peers,
        left_out,
        test_odd: task.test_rows().into_iter().map(|row| task.odd[row]).collect(),
    })
}

fn score(task: &Task, kind: PeerKind, settings: &CompareSettings) -> anyhow::Result<Scored> {
    match kind {
        PeerKind::Detector => detector(task, settings),
        PeerKind::ZScore => Ok(zscore(task)),
        PeerKind::RandomForest | PeerKind::Linear => supervised::score(task, kind, settings),
        PeerKind::Lstm => lstm::score(task, settings),
    }
}

/// One detector per series, fitted on the readings of the training that are not labelled as odd.
fn detector(task: &Task, settings: &CompareSettings) -> anyhow::Result<Scored> {
    let of_series = SeriesSettings::every(task.minutes);
    let (mut scores, mut fit_seconds, mut score_seconds) = (vec![0.0; task.odd.len()], 0.0, 0.0);
    for (place, rows) in task.history.spans.iter().enumerate() {
        let train: Vec<usize> = rows.clone().filter(|row| task.train.contains(task.history.ts[*row])).collect();
        let usual: Vec<bool> = train.iter().map(|row| !task.odd[*row]).collect();
        let began = Instant::now();
        let fitted = SeriesDetector::fit(
            &task.history.x.select_rows(&train)?,
            &usual,
            &of_series,
            settings.seed.wrapping_add(place as u64),
        )
        .with_context(|| format!("series `{}`", task.history.nodes[place]))?;
        fit_seconds += began.elapsed().as_secs_f64();
        let began = Instant::now();
        let all: Vec<usize> = rows.clone().collect();
        scores[rows.clone()].copy_from_slice(&fitted.scores(&task.history.x.select_rows(&all)?)?);
        score_seconds += began.elapsed().as_secs_f64();
    }
    Ok(Scored { scores, fit_seconds, score_seconds })
}

fn zscore(task: &Task) -> Scored {
    let began = Instant::now();
    let may_teach: Vec<bool> =
        (0..task.odd.len()).map(|row| !task.odd[row] && task.train.contains(task.history.ts[row])).collect();
    let learned = super::ZScore::learn(&task.history, &may_teach);
    let fit_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let scores = learned.votes(&task.history);
    Scored { scores, fit_seconds, score_seconds: began.elapsed().as_secs_f64() }
}

fn judge(task: &Task, kind: PeerKind, scored: Scored, settings: &CompareSettings) -> PeerResult {
    let certain = vec![false; task.odd.len()];
    let timeline = task.timeline(&scored.scores, &certain, settings);
    let costs = Costs { missed: settings.missed_cost, false_alarm: settings.false_alarm_cost, least_precision: 0.0 };
    let curve = cheapest(&timeline, task.validation, &costs);
    let (threshold, choice) = match curve.and_then(|curve| Some((curve.choice()?.threshold, curve))) {
        Some((threshold, curve)) => (threshold, ThresholdChoice::ByCost(curve)),
        None => (
            exceeded_by(&scored.scores, &task.history, task.validation, settings.expected_share),
            ThresholdChoice::ByShare(settings.expected_share),
        ),
    };
    let scores = task.in_real_time(evaluate(&timeline, task.test, threshold));
    let points = &scores.points;
    let right = |share: Option<f64>, of: usize| share.map_or(0.0, |share| share * of as f64);
    let usual_rows = points.rows - points.odd_rows;
    let right_rows =
        right(points.recall, points.odd_rows) + right(points.false_positive_rate.map(|rate| 1.0 - rate), usual_rows);
    PeerResult {
        kind,
        threshold,
        choice,
        accuracy: (points.rows > 0).then(|| right_rows / points.rows as f64),
        cost: scores.cost(settings.missed_cost, settings.false_alarm_cost),
        scores,
        fit_seconds: scored.fit_seconds,
        score_seconds: scored.score_seconds,
        test_scores: task.test_rows().into_iter().map(|row| scored.scores[row]).collect(),
    }
}

/// What each peer that looks at single rows is given beside the values: what the windows before the row held.
fn with_windows(task: &Task) -> anyhow::Result<FeatureMatrix> {
    let of_series = SeriesSettings::every(task.minutes);
    let columns = task.history.x.names();
    let names =
        ["", " - mean of an hour", ", mean of an hour", ", mean of an hour - of a day", ", deviation in an hour"];
    let names: Vec<String> =
        names.iter().flat_map(|suffix| columns.iter().map(move |column| format!("{column}{suffix}"))).collect();
    let width = columns.len();
    let mut values = Vec::with_capacity(names.len() * task.odd.len());
    for rows in &task.history.spans {
        let mut views = models::anomaly::series::Views::new(width, &of_series);
        let (mut now, mut lately) = (Vec::new(), Vec::new());
        for row in rows.clone() {
            now.clear();
            lately.clear();
            views.push(task.history.x.row(row).iter().copied(), &mut now, &mut lately);
            values.extend_from_slice(&now);
            values.extend_from_slice(&lately[width..]);
        }
    }
    Ok(FeatureMatrix::new(names, task.odd.len(), values)?)
}
