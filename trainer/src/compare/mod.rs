//! `trainer compare`: every candidate on the same folds, one table, one page.

mod candidate;
mod log;
mod plain;
mod report;

pub use candidate::{Candidate, How, Role, candidates};
pub use log::{EXPERIMENT, log};
pub use plain::{Fitted, FoldRows, Plain, Scope, TargetForm};
pub use report::{markdown, page};

use crate::evaluate::{Outcomes, Scores};
use crate::folds::{Fold, Window, rolling_origin};
use crate::heads;
use crate::recipe::Recipe;
use crate::rows::{LoadRows, pick};
use anyhow::Context;
use cluster::HOUR_MS;
use features::TargetKind;
use models::FitOptions;
use models::load::HeadKey;
use serde::{Deserialize, Serialize};

/// What to compare on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareSettings {
    /// Which heads.
    pub heads: Vec<HeadKey>,
    /// Which target.
    pub target: TargetKind,
    /// Rolling origins.
    pub folds: usize,
    /// Length of each validation window in hours.
    pub validation_hours: f64,
    /// Training rows per fold, at most; the grid of times is thinned evenly until they fit.
    pub max_rows: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Threads per fit.
    pub threads: std::num::NonZeroUsize,
}

/// One line of the comparison: a candidate on one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The candidate.
    pub candidate: String,
    /// What it is there for.
    pub role: Role,
    /// What is special about it.
    pub note: String,
    /// Which head, such as `cpu-1h`.
    pub head: String,
    /// Figures over all folds; `None` when it could not be fitted.
    pub scores: Option<Scores>,
    /// MAE of each fold in points.
    pub fold_mae_points: Vec<f64>,
    /// Time to fit all folds, in seconds.
    pub fit_seconds: f64,
    /// Size of the newest fold's model file or files.
    pub bytes: usize,
    /// Median time of one single-row forecast, in microseconds.
    pub row_microseconds: Option<f64>,
    /// Why it could not be fitted.
    pub failure: Option<String>,
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The features dataset.
    pub dataset: String,
    /// What was compared on.
    pub settings: CompareSettings,
    /// The validation windows.
    pub windows: Vec<Window>,
    /// Nodes in the dataset.
    pub nodes: usize,
    /// Training rows of the newest fold, before any learner's own subsampling.
    pub train_rows: usize,
    /// Every candidate on every head.
    pub lines: Vec<Line>,
}

/// Fits every candidate on every fold of every head. A candidate that fails is a line with its reason, not the end.
///
/// # Errors
/// When the history is too short for the folds.
pub fn compare(
    dataset: &str,
    rows: &LoadRows,
    recipe: &Recipe,
    settings: &CompareSettings,
    progress: impl Fn(&str),
) -> anyhow::Result<Comparison> {
    let mut lines = Vec::new();
    let (mut windows, mut train_rows) = (Vec::new(), 0);
    for &key in &settings.heads {
        let horizon_ms = i64::from(key.horizon.hours()) * HOUR_MS;
        let validation_ms = (settings.validation_hours * HOUR_MS as f64) as i64;
        let folds = rolling_origin(rows.span(), settings.folds, validation_ms, horizon_ms)
            .with_context(|| format!("cannot compare on `{dataset}`"))?;
        windows = folds.iter().map(|fold| fold.validation).collect();
        let head = Head::new(rows, key, settings, &folds);
        train_rows = head.folds.last().map_or(0, |fold| fold.0.len());
        for candidate in &candidates(recipe, key) {
            progress(&format!("{} {}", key.slug(), candidate.name));
            lines.push(head.line(candidate, settings));
        }
    }
    Ok(Comparison {
        dataset: dataset.to_owned(),
        settings: settings.clone(),
        windows,
        nodes: rows.nodes.len(),
        train_rows,
        lines,
    })
}

/// What all candidates of one head share.
struct Head<'a> {
    rows: &'a LoadRows,
    key: HeadKey,
    kind: TargetKind,
    target: Vec<f32>,
    persistence: Vec<f32>,
    last_value: Vec<f32>,
    /// Rows to fit on and rows to forecast, and the fold they come from.
    folds: Vec<(Vec<usize>, Vec<usize>, Fold)>,
}

impl<'a> Head<'a> {
    fn new(rows: &'a LoadRows, key: HeadKey, settings: &CompareSettings, folds: &[Fold]) -> Self {
        let kind = settings.target;
        let persistence = rows.persistence(kind, key.resource);
        let last_value = rows.last_value(key.resource);
        let mut target = rows.target(kind, key.resource, key.horizon);
        // Rows without a reference cannot be scored against it; nobody gets them.
        for row in 0..rows.len() {
            if !(persistence[row].is_finite() && last_value[row].is_finite()) {
                target[row] = f32::NAN;
            }
        }
        let folds = folds
            .iter()
            .map(|fold| {
                let all = rows.select(fold.train, None, &target, 1);
                let every = all.len().div_ceil(settings.max_rows.max(1));
                let train = rows.select(fold.train, None, &target, every);
                (train, rows.select(fold.validation, None, &target, 1), *fold)
            })
            .collect();
        Self { rows, key, kind, target, persistence, last_value, folds }
    }

    fn line(&self, candidate: &Candidate, settings: &CompareSettings) -> Line {
        let mut line = Line {
            candidate: candidate.name.to_owned(),
            role: candidate.role,
            note: candidate.note.clone(),
            head: self.key.slug(),
            scores: None,
            fold_mae_points: Vec::new(),
            fit_seconds: 0.0,
            bytes: 0,
            row_microseconds: None,
            failure: None,
        };
        let mut outcomes = Outcomes::default();
        for (train, validation, fold) in &self.folds {
            let fold_rows =
                FoldRows { rows: self.rows, target: &self.target, persistence: &self.persistence, train, validation };
            let fitted = match self.fit(candidate, &fold_rows, *fold, settings) {
                Ok(fitted) => fitted,
                Err(error) => {
                    tracing::warn!(candidate = candidate.name, head = %self.key, "candidate failed: {error:#}");
                    line.failure = Some(format!("{error:#}"));
                    return line;
                }
            };
            let of_fold = self.outcomes(validation, &fitted);
            line.fold_mae_points.extend(Scores::of(&of_fold).map(|scores| scores.mae_points));
            outcomes.extend(&of_fold);
            line.fit_seconds += fitted.fit_time.as_secs_f64();
            line.bytes = fitted.bytes;
            line.row_microseconds = fitted.latency.map(|time| time.as_secs_f64() * 1e6).or(line.row_microseconds);
        }
        line.scores = Scores::of(&outcomes);
        line
    }

    fn fit(
        &self,
        candidate: &Candidate,
        fold: &FoldRows<'_>,
        windows: Fold,
        settings: &CompareSettings,
    ) -> anyhow::Result<Fitted> {
        let options = FitOptions { seed: settings.seed, threads: settings.threads };
        let column = |values: &[f32]| pick(values, fold.validation).into_iter().map(f64::from).collect();
        match &candidate.how {
            How::Persistence => Ok(Fitted { median: column(fold.persistence), ..Fitted::default() }),
            How::LastValue => Ok(Fitted { median: column(&self.last_value), ..Fitted::default() }),
            How::SameHourYesterday => {
                let yesterday = self.rows.same_hour_yesterday(self.kind, self.key.resource, self.key.horizon);
                let known =
                    |row: &usize| if yesterday[*row].is_finite() { yesterday[*row] } else { fold.persistence[*row] };
                Ok(Fitted {
                    median: fold.validation.iter().map(|row| f64::from(known(row))).collect(),
                    ..Fitted::default()
                })
            }
            How::Plain(plain) => plain.fit(fold, &options),
            How::Head(recipe) => {
                heads::fit_for_comparison(recipe, self.key, self.kind, fold, windows, settings.max_rows, &options)
            }
        }
    }

    fn outcomes(&self, validation: &[usize], fitted: &Fitted) -> Outcomes {
        let column = |values: &[f32]| pick(values, validation).into_iter().map(f64::from).collect();
        Outcomes {
            node: pick(&self.rows.node, validation),
            ts: pick(&self.rows.ts, validation),
            observed: column(&self.target),
            median: fitted.median.clone(),
            p90: fitted.p90.clone(),
            p90_model: Vec::new(),
            persistence: column(&self.persistence),
            last_value: column(&self.last_value),
        }
    }
}
