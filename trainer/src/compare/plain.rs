//! A learner on plain terms: features in, forecast out, with the target in one of three forms.

use crate::rows::{LoadRows, pick};
use anyhow::Context;
use models::{FeatureMatrix, FitData, FitOptions, FitRows, Learner, Regressor};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What the learner is shown as its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetForm {
    /// The utilization itself.
    Level,
    /// The utilization less persistence.
    Residual,
    /// The utilization less persistence, divided by the spread that this difference has on the node. A node that the
    /// training never saw gets the spread of all nodes.
    NodeNormalised,
}

/// Which rows one model is fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One model for all nodes.
    Global,
    /// One model per node; a node with fewer than a day of rows gets persistence.
    PerNode,
}

/// A learner with its terms.
#[derive(Debug)]
pub struct Plain {
    /// The algorithm.
    pub learner: Box<dyn Learner>,
    /// The features that it reads.
    pub columns: Vec<String>,
    /// The form of its target.
    pub target: TargetForm,
    /// Which rows one model sees.
    pub scope: Scope,
}

/// What a fit on one fold gave.
#[derive(Debug, Clone, Default)]
pub struct Fitted {
    /// Forecasts as ratios, one per validation row.
    pub median: Vec<f64>,
    /// P90 forecasts, where there are any.
    pub p90: Vec<f64>,
    /// Time to fit.
    pub fit_time: Duration,
    /// Size of the model file or files.
    pub bytes: usize,
    /// Median time of one single-row forecast.
    pub latency: Option<Duration>,
}

/// The rows of one fold, as every candidate gets them.
#[derive(Debug)]
pub struct FoldRows<'a> {
    /// All rows.
    pub rows: &'a LoadRows,
    /// By row: what should be forecast, NaN where unknown.
    pub target: &'a [f32],
    /// By row: persistence.
    pub persistence: &'a [f32],
    /// Rows to fit on, in the order of time, with known target and persistence.
    pub train: &'a [usize],
    /// Rows to forecast.
    pub validation: &'a [usize],
}

/// Less history than this per node is left to persistence: a day of five-minute rows.
const MINIMUM_NODE_ROWS: usize = crate::rows::ROWS_PER_DAY;

/// A spread below this (a hundredth of a point) is rounding, not load.
const SMALLEST_SPREAD: f32 = 1e-4;

impl Plain {
    /// Fits on the fold's training rows and forecasts its validation rows.
    ///
    /// # Errors
    /// When a column is missing or the learner refuses the data.
    pub fn fit(&self, fold: &FoldRows<'_>, options: &FitOptions) -> anyhow::Result<Fitted> {
        let mut fitted = Fitted { median: vec![f64::NAN; fold.validation.len()], ..Fitted::default() };
        let everywhere: Vec<usize> = (0..fold.validation.len()).collect();
        if self.scope == Scope::Global {
            self.fit_group(fold, fold.train, &everywhere, options, &mut fitted)?;
            return Ok(fitted);
        }
        let mut groups: BTreeMap<u32, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for &row in fold.train {
            groups.entry(fold.rows.node[row]).or_default().0.push(row);
        }
        for place in everywhere {
            groups.entry(fold.rows.node[fold.validation[place]]).or_default().1.push(place);
        }
        for (train, places) in groups.values().filter(|(_, places)| !places.is_empty()) {
            if train.len() < MINIMUM_NODE_ROWS {
                for &place in places {
                    fitted.median[place] = f64::from(fold.persistence[fold.validation[place]]);
                }
            } else {
                self.fit_group(fold, train, places, options, &mut fitted)?;
            }
        }
        Ok(fitted)
    }

    /// `places` are positions in the validation rows.
    fn fit_group(
        &self,
        fold: &FoldRows<'_>,
        train: &[usize],
        places: &[usize],
        options: &FitOptions,
        fitted: &mut Fitted,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let scale = self.scale(fold, train);
        let scale_of =
            |row: usize| scale.get(&fold.rows.node[row]).or_else(|| scale.get(&u32::MAX)).copied().unwrap_or(1.0);
        let base_of = |row: usize| if self.target == TargetForm::Level { 0.0 } else { fold.persistence[row] };
        let y: Vec<f32> = train.iter().map(|&row| (fold.target[row] - base_of(row)) / scale_of(row)).collect();
        let x = fold.rows.x.select_rows(train)?.select_columns(&self.columns)?;
        let data = FitData { train: FitRows::new(&x, &y), valid: None };
        let model =
            self.learner.fit(&data, options).with_context(|| format!("failed to fit {}", self.learner.name()))?;
        fitted.fit_time += began.elapsed();
        fitted.bytes += model.to_bytes()?.len();
        let rows: Vec<usize> = pick(fold.validation, places);
        let x = fold.rows.x.select_rows(&rows)?.select_columns(&self.columns)?;
        let mut forecasts = vec![0.0; rows.len()];
        model.predict(&x, &mut forecasts)?;
        for ((place, row), forecast) in places.iter().zip(&rows).zip(&forecasts) {
            fitted.median[*place] = f64::from(forecast * scale_of(*row) + base_of(*row)).max(0.0);
        }
        fitted.latency = fitted.latency.or(single_row_latency(model.as_ref(), &x)?);
        Ok(())
    }

    /// The spread of the residual by node, and of all rows under `u32::MAX`; empty where the target is not scaled.
    fn scale(&self, fold: &FoldRows<'_>, train: &[usize]) -> BTreeMap<u32, f32> {
        if self.target != TargetForm::NodeNormalised {
            return BTreeMap::new();
        }
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for &row in train {
            let size = f64::from((fold.target[row] - fold.persistence[row]).abs());
            for key in [fold.rows.node[row], u32::MAX] {
                let entry = sums.entry(key).or_default();
                *entry = (entry.0 + size, entry.1 + 1.0);
            }
        }
        sums.into_iter().map(|(node, (sum, count))| (node, ((sum / count) as f32).max(SMALLEST_SPREAD))).collect()
    }
}

/// Median time of up to 200 forecasts of one row each.
fn single_row_latency(model: &dyn Regressor, x: &FeatureMatrix) -> anyhow::Result<Option<Duration>> {
    let mut times = Vec::new();
    for row in 0..x.rows().min(200) {
        let began = Instant::now();
        std::hint::black_box(model.predict_row(x.row(row))?);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied())
}
