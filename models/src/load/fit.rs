//! Fitting one head from matrices. Which rows belong to which slice is the caller's business.

use super::head::{LoadHead, Part};
use super::{Baseline, Conformal, ConformalGroups, HeadKey};
use crate::learners::GradientBoosting;
use crate::{FeatureMatrix, FitData, FitOptions, FitRows, Learner, Loss, ModelError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Blend weights that are tried: finer steps than a quarter change the error by less than its noise.
const BLENDS: [f32; 5] = [1.0, 0.75, 0.5, 0.25, 0.0];

/// How a head is fitted. The defaults are the recipe that did best on two public traces (see the crate's README).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadSettings {
    /// Columns that the baseline may mix, in the unit of the target.
    pub baseline: Vec<String>,
    /// Columns that the boosters read; empty means all.
    pub features: Vec<String>,
    /// The booster of the median.
    pub median: GradientBoosting,
    /// The booster of the upper quantile; its loss is set from `level`.
    pub upper: GradientBoosting,
    /// What the upper quantile promises to cover. Default 0.9.
    pub level: f64,
    /// Smallest share of the baseline's error that the median must save on the selection rows, else the baseline
    /// answers. Default 0: any saving counts.
    pub minimum_skill: f64,
    /// Groups with shifts of their own.
    pub groups: Option<ConformalGroups>,
    /// Fit baseline and boosters once more on all rows when blend and shift are chosen, so that the model knows the
    /// newest rows. The shift then is that of the slightly older model. Default true.
    pub refit: bool,
}

impl Default for HeadSettings {
    fn default() -> Self {
        let median = GradientBoosting {
            loss: Loss::Absolute,
            rounds: 200,
            learning_rate: 0.04,
            max_depth: 4,
            min_child_weight: 50.0,
            subsample: 0.7,
            column_sample: 0.5,
            lambda: 5.0,
            max_bins: 64,
            ..GradientBoosting::default()
        };
        Self {
            baseline: Vec::new(),
            features: Vec::new(),
            upper: GradientBoosting { loss: Loss::Quantile(0.9), rounds: 120, ..median.clone() },
            median,
            level: 0.9,
            minimum_skill: 0.0,
            groups: None,
            refit: true,
        }
    }
}

/// The rows of one head, disjoint and in this order of time. Targets are the utilization itself, not a residual.
#[derive(Debug, Clone, Copy)]
pub struct HeadData<'a> {
    /// Rows to learn from.
    pub train: FitRows<'a>,
    /// Later rows that stop the boosters early and, with the calibration rows, choose the blend.
    pub selection: Option<FitRows<'a>>,
    /// The latest rows, which choose the shift of the upper quantile. None: no shift, no promise of coverage.
    pub calibration: Option<FitRows<'a>>,
}

/// A fitted head and what was seen while fitting it.
#[derive(Debug, Clone)]
pub struct FittedHead {
    /// The head.
    pub head: LoadHead,
    /// Figures for a report or a metadata file.
    pub evidence: HeadEvidence,
    /// How its boosters learned.
    pub curves: LearningCurves,
}

/// The loss of each booster on the selection rows by round, before the refit; empty without selection rows. In the unit of
/// the target: mean absolute error of the median, mean pinball loss of the upper quantile, both on what the baseline leaves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LearningCurves {
    /// Of the P50.
    pub median: Vec<f64>,
    /// Of the P90.
    pub upper: Vec<f64>,
}

/// What was seen while a head was fitted. Errors are mean absolute errors in the unit of the target on the rows that
/// chose the blend; they flatter slightly and are no test figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadEvidence {
    /// Which head.
    pub key: HeadKey,
    /// Rows with a known baseline that the boosters learned from, before the refit.
    pub train_rows: usize,
    /// Rows that chose the blend.
    pub selection_rows: usize,
    /// Rows that chose the shift.
    pub calibration_rows: usize,
    /// The mixture.
    pub baseline: Baseline,
    /// Its error; none without selection rows.
    pub baseline_error: Option<f64>,
    /// The blended median's error; none without selection rows.
    pub median_error: Option<f64>,
    /// `1 − median_error ÷ baseline_error`; none without selection rows.
    pub skill: Option<f64>,
    /// Weight of the median booster; 0 means fallback.
    pub median_blend: f32,
    /// Weight of the upper booster; 0 means baseline plus shift.
    pub upper_blend: f32,
    /// The baseline answers.
    pub fallback: bool,
    /// Share of the calibration rows below the upper quantile before the shift.
    pub coverage_before: Option<f64>,
    /// The shift of all rows.
    pub offset: f32,
}

/// Fits a head: baseline, two boosters on the residual, blend weights, conformal shift, and, if wanted, a refit.
///
/// # Errors
/// Rows that do not fit together, settings out of range, what the booster's library refuses.
pub fn fit_head(
    key: HeadKey,
    settings: &HeadSettings,
    data: &HeadData<'_>,
    options: &FitOptions,
) -> Result<FittedHead, ModelError> {
    validate(settings, data)?;
    let features = Arc::clone(data.train.x.names());
    let own = if settings.features.is_empty() { features.to_vec() } else { settings.features.clone() };
    let baseline = Baseline::fit(data.train.x, data.train.y, &settings.baseline)?;
    let train = Residuals::new(&data.train, &baseline, &own)?;
    let stop = data.selection.as_ref().map(|rows| Residuals::new(rows, &baseline, &own)).transpose()?;
    let upper_learner = upper_learner(settings);
    let fit = |learner: &GradientBoosting, train: &Residuals, stop: Option<&Residuals>| -> Result<Part, ModelError> {
        let fitted = learner.fit(&FitData { train: train.rows(), valid: stop.map(Residuals::rows) }, options)?;
        Ok(Part { model: Arc::from(fitted), blend: 1.0 })
    };
    let median = fit(&settings.median, &train, stop.as_ref())?;
    let upper = fit(&upper_learner, &train, stop.as_ref())?;
    let curves =
        LearningCurves { median: median.model.learning_curve().to_vec(), upper: upper.model.learning_curve().to_vec() };

    // All rows that the boosters have not seen: a few hours alone would often choose by chance.
    let judged = match (&data.selection, &data.calibration) {
        (Some(selection), Some(calibration)) => {
            let all = joined(selection, [calibration].into_iter())?;
            Some(Residuals::new(&all.rows(), &baseline, &own)?)
        }
        (Some(rows), None) | (None, Some(rows)) => Some(Residuals::new(rows, &baseline, &own)?),
        (None, None) => None,
    };
    let choice = match &judged {
        Some(rows) => choose(rows, &median, &upper, settings)?,
        None => Choice { median_blend: 1.0, upper_blend: 1.0, baseline_error: None, median_error: None, rows: 0 },
    };
    let blended = |part: Part, blend: f32| (blend > 0.0).then_some(Part { blend, ..part });
    let plain = LoadHead::new(
        key,
        Arc::clone(&features),
        baseline.clone(),
        blended(median, choice.median_blend),
        blended(upper, choice.upper_blend),
        Conformal::none(settings.level),
    )?;
    let (conformal, coverage_before) = calibrate(&plain, settings, data.calibration.as_ref())?;
    let evidence = HeadEvidence {
        key,
        train_rows: train.y.len(),
        selection_rows: choice.rows,
        calibration_rows: conformal.rows,
        baseline: baseline.clone(),
        baseline_error: choice.baseline_error,
        median_error: choice.median_error,
        skill: choice
            .baseline_error
            .zip(choice.median_error)
            .map(|(baseline, median)| if baseline > 0.0 { 1.0 - median / baseline } else { 0.0 }),
        median_blend: choice.median_blend,
        upper_blend: choice.upper_blend,
        fallback: plain.fallback(),
        coverage_before,
        offset: conformal.offset,
    };

    let later = [data.selection, data.calibration];
    let head = LoadHead::new(
        key,
        features,
        baseline,
        plain.part(super::Quantile::P50).cloned(),
        plain.part(super::Quantile::P90).cloned(),
        conformal,
    )?;
    let head = if settings.refit && later.iter().flatten().count() > 0 {
        let all = joined(&data.train, later.iter().flatten())?;
        refit_head(&head, settings, &all.rows(), options)?
    } else {
        head
    };
    Ok(FittedHead { head, evidence, curves })
}

/// The same recipe on other rows: the baseline is mixed anew, and boosters of as many rounds as `head` has learn what it leaves.
/// Blend weights and the shift of the upper quantile, which were chosen on rows that no booster had seen, stay. Early stopping
/// has no rows left here.
///
/// # Errors
/// Rows with other features than the head's, what the booster's library refuses.
pub fn refit_head(
    head: &LoadHead,
    settings: &HeadSettings,
    rows: &FitRows<'_>,
    options: &FitOptions,
) -> Result<LoadHead, ModelError> {
    rows.validate()?;
    rows.x.expect_names(head.features())?;
    let own = if settings.features.is_empty() { head.features().to_vec() } else { settings.features.clone() };
    let baseline = Baseline::fit(rows.x, rows.y, &settings.baseline)?;
    let residuals = Residuals::new(rows, &baseline, &own)?;
    let again = |learner: &GradientBoosting, part: Option<&Part>| -> Result<Option<Part>, ModelError> {
        let Some(part) = part else { return Ok(None) };
        let learner = GradientBoosting { early_stopping: None, rounds: rounds_of(part, learner), ..learner.clone() };
        let fitted = learner.fit(&FitData { train: residuals.rows(), valid: None }, options)?;
        Ok(Some(Part { model: Arc::from(fitted), blend: part.blend }))
    };
    let upper = upper_learner(settings);
    LoadHead::new(
        head.key(),
        Arc::clone(head.features()),
        baseline,
        again(&settings.median, head.part(super::Quantile::P50))?,
        again(&upper, head.part(super::Quantile::P90))?,
        head.conformal().clone(),
    )
}

fn upper_learner(settings: &HeadSettings) -> GradientBoosting {
    GradientBoosting { loss: Loss::Quantile(settings.level), ..settings.upper.clone() }
}

fn validate(settings: &HeadSettings, data: &HeadData<'_>) -> Result<(), ModelError> {
    Loss::Quantile(settings.level).validate()?;
    data.train.validate()?;
    for rows in [&data.selection, &data.calibration].into_iter().flatten() {
        rows.validate()?;
        rows.x.expect_names(data.train.x.names())?;
    }
    Ok(())
}

/// Rows with a known baseline, the boosters' features, and what is left of the target.
struct Residuals {
    x: FeatureMatrix,
    base: Vec<f32>,
    y: Vec<f32>,
    residual: Vec<f32>,
    weight: Option<Vec<f32>>,
}

impl Residuals {
    fn new(rows: &FitRows<'_>, baseline: &Baseline, own: &[String]) -> Result<Self, ModelError> {
        let base = baseline.predict(rows.x)?;
        let known: Vec<usize> = (0..base.len()).filter(|row| !base[*row].is_nan()).collect();
        if known.is_empty() {
            return Err(ModelError::Empty { what: "the set of rows with a known baseline" });
        }
        let pick = |values: &[f32]| known.iter().map(|row| values[*row]).collect::<Vec<f32>>();
        let x = rows.x.select_columns(own)?;
        let x = if known.len() == base.len() { x } else { x.select_rows(&known)? };
        let (base, y) = (pick(&base), pick(rows.y));
        let residual = y.iter().zip(&base).map(|(target, base)| target - base).collect();
        Ok(Self { x, base, y, residual, weight: rows.weight.map(pick) })
    }

    fn rows(&self) -> FitRows<'_> {
        FitRows { x: &self.x, y: &self.residual, weight: self.weight.as_deref() }
    }

    fn residual_forecast(&self, part: &Part) -> Result<Vec<f32>, ModelError> {
        let mut forecast = vec![0.0; self.y.len()];
        part.model.predict(&self.x, &mut forecast)?;
        Ok(forecast)
    }

    fn blended(&self, residual: &[f32], blend: f32) -> Vec<f32> {
        self.base.iter().zip(residual).map(|(base, residual)| base + blend * residual).collect()
    }
}

struct Choice {
    median_blend: f32,
    upper_blend: f32,
    baseline_error: Option<f64>,
    median_error: Option<f64>,
    rows: usize,
}

/// The blend weights with the smallest loss; the upper one after the best constant shift, since a shift follows anyway.
fn choose(rows: &Residuals, median: &Part, upper: &Part, settings: &HeadSettings) -> Result<Choice, ModelError> {
    let weight = rows.weight.as_deref();
    let median_residual = rows.residual_forecast(median)?;
    let error = |blend: f32| Loss::Absolute.mean(&rows.y, &rows.blended(&median_residual, blend), weight);
    let baseline_error = error(0.0);
    let (blend, smallest) = best(error);
    let skilled = smallest < baseline_error && smallest <= baseline_error * (1.0 - settings.minimum_skill);
    let (median_blend, median_error) = if skilled { (blend, smallest) } else { (0.0, baseline_error) };

    let upper_residual = rows.residual_forecast(upper)?;
    let (upper_blend, _) = best(|blend| {
        let mut forecast = rows.blended(&upper_residual, blend);
        let offset = super::conformal_offset(
            rows.y.iter().zip(&forecast).map(|(target, forecast)| target - forecast),
            settings.level,
        );
        forecast.iter_mut().for_each(|forecast| *forecast += offset.unwrap_or_default());
        Loss::Quantile(settings.level).mean(&rows.y, &forecast, weight)
    });
    Ok(Choice {
        median_blend,
        upper_blend,
        baseline_error: Some(baseline_error),
        median_error: Some(median_error),
        rows: rows.y.len(),
    })
}

/// The blend of the smallest loss; of equal ones the larger blend.
fn best(loss: impl Fn(f32) -> f64) -> (f32, f64) {
    BLENDS
        .into_iter()
        .map(|blend| (blend, loss(blend)))
        .fold((0.0, f64::INFINITY), |best, next| if next.1 < best.1 { next } else { best })
}

fn calibrate(
    head: &LoadHead,
    settings: &HeadSettings,
    rows: Option<&FitRows<'_>>,
) -> Result<(Conformal, Option<f64>), ModelError> {
    let Some(rows) = rows else { return Ok((Conformal::none(settings.level), None)) };
    let (median, upper) = head.uncorrected(rows.x)?;
    let known = || rows.y.iter().zip(&upper).filter(|(_, upper)| !upper.is_nan());
    let covered = known().filter(|(observed, upper)| observed <= upper).count();
    let coverage = (known().count() > 0).then(|| covered as f64 / known().count() as f64);
    let conformal = Conformal::fit(settings.level, settings.groups.as_ref(), rows.x, rows.y, &median, &upper)?;
    Ok((conformal, coverage))
}

struct Joined {
    x: FeatureMatrix,
    y: Vec<f32>,
    weight: Option<Vec<f32>>,
}

impl Joined {
    fn rows(&self) -> FitRows<'_> {
        FitRows { x: &self.x, y: &self.y, weight: self.weight.as_deref() }
    }
}

/// All rows in one; where some have weights, the others weigh 1.
fn joined<'a, 'b: 'a>(
    train: &'a FitRows<'b>,
    later: impl Iterator<Item = &'a FitRows<'b>>,
) -> Result<Joined, ModelError> {
    let slices: Vec<_> = [train].into_iter().chain(later).collect();
    let rows = slices.iter().map(|rows| rows.x.rows()).sum();
    let values = slices.iter().flat_map(|rows| rows.x.values()).copied().collect();
    let y = slices.iter().flat_map(|rows| rows.y).copied().collect();
    let weight = slices.iter().any(|rows| rows.weight.is_some()).then(|| {
        slices.iter().flat_map(|rows| rows.weight.map_or_else(|| vec![1.0; rows.y.len()], <[f32]>::to_vec)).collect()
    });
    Ok(Joined { x: FeatureMatrix::new(Arc::clone(train.x.names()), rows, values)?, y, weight })
}

/// How many rounds the first fit kept.
fn rounds_of(part: &Part, learner: &GradientBoosting) -> usize {
    part.model.trees().map_or(learner.rounds, |trees| (trees / learner.bags.max(1)).max(1))
}
