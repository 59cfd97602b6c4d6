//! What every algorithm reads and gives.

use crate::{FeatureMatrix, ModelError};
use std::fmt::Debug;
use std::num::NonZeroUsize;

/// Rows with their targets.
#[derive(Debug, Clone, Copy)]
pub struct FitRows<'a> {
    /// The features.
    pub x: &'a FeatureMatrix,
    /// One target per row, in the unit that the model shall forecast.
    pub y: &'a [f32],
    /// One weight per row, at least 0; none means 1 each.
    pub weight: Option<&'a [f32]>,
}

/// What a learner fits on.
#[derive(Debug, Clone, Copy)]
pub struct FitData<'a> {
    /// The rows to learn from.
    pub train: FitRows<'a>,
    /// Later rows that decide when to stop, for learners that stop early. Never rows that a figure is reported on.
    pub valid: Option<FitRows<'a>>,
}

impl<'a> FitRows<'a> {
    /// Without weights.
    pub fn new(x: &'a FeatureMatrix, y: &'a [f32]) -> Self {
        Self { x, y, weight: None }
    }

    /// Checks what every learner relies on.
    ///
    /// # Errors
    /// Lengths that differ, no rows, a target or weight that is not finite, weights that are all 0.
    pub fn validate(&self) -> Result<(), ModelError> {
        ModelError::rows("target", self.x.rows(), self.y.len())?;
        if self.y.is_empty() {
            return Err(ModelError::Empty { what: "the fit" });
        }
        if self.y.iter().all(|target| target.is_nan()) {
            return Err(ModelError::NoTarget { rows: self.y.len() });
        }
        if let Some(row) = self.y.iter().position(|target| !target.is_finite()) {
            return Err(ModelError::NotFinite { what: "target", row, column: None, value: self.y[row] });
        }
        let Some(weight) = self.weight else { return Ok(()) };
        ModelError::rows("weight", self.x.rows(), weight.len())?;
        if let Some(row) = weight.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(ModelError::Weight { row, weight: weight[row] });
        }
        if weight.iter().all(|weight| *weight == 0.0) {
            return Err(ModelError::Weight { row: 0, weight: 0.0 });
        }
        Ok(())
    }
}

impl<'a> FitData<'a> {
    /// Without a validation set.
    pub fn new(x: &'a FeatureMatrix, y: &'a [f32]) -> Self {
        Self { train: FitRows::new(x, y), valid: None }
    }

    /// Checks both sets.
    ///
    /// # Errors
    /// As [`FitRows::validate`]; a validation set with other features.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.train.validate()?;
        if let Some(valid) = &self.valid {
            valid.validate()?;
            valid.x.expect_names(self.train.x.names())?;
        }
        Ok(())
    }
}

/// What a fit needs besides data and hyper-parameters. The same data, seed and version give the same model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// Seed of every draw (rows, columns, trees).
    pub seed: u64,
    /// Threads that the fit may use. Explicit, because a guess by core count is wrong inside a container.
    pub threads: NonZeroUsize,
}

impl FitOptions {
    /// One thread.
    pub const fn seeded(seed: u64) -> Self {
        Self { seed, threads: NonZeroUsize::MIN }
    }
}

/// An algorithm with its hyper-parameters, not yet fitted.
pub trait Learner: Debug + Send + Sync {
    /// A short name for tables, such as `gradient-boosting`.
    fn name(&self) -> &'static str;

    /// The hyper-parameters for a tracking run or a metadata file, in a fixed order.
    fn parameters(&self) -> Vec<(String, String)>;

    /// Fits. Deterministic in data, options and version.
    ///
    /// # Errors
    /// Data that does not fit together, settings out of range, what the library refuses.
    fn fit(&self, data: &FitData<'_>, options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError>;
}

/// A fitted model with one output.
pub trait Regressor: Debug + Send + Sync {
    /// The learner that made it.
    fn name(&self) -> &'static str;

    /// Names of the features, in the order of a row.
    fn features(&self) -> &[String];

    /// One forecast per row, into `forecasts`.
    ///
    /// # Errors
    /// Other features than the model's; `forecasts` of another length than the matrix has rows.
    fn predict(&self, x: &FeatureMatrix, forecasts: &mut [f32]) -> Result<(), ModelError>;

    /// The forecast for one row, equal to what a batch with this row gives. The boosters do not allocate here.
    ///
    /// # Errors
    /// A row of another width; an infinite value.
    fn predict_row(&self, row: &[f32]) -> Result<f32, ModelError>;

    /// What each feature added to each forecast.
    ///
    /// # Errors
    /// As [`Regressor::predict`]; [`ModelError::Unsupported`] for an algorithm without an additive explanation.
    fn contributions(&self, x: &FeatureMatrix) -> Result<Contributions, ModelError>;

    /// How much each feature mattered in the fit, most important first, shares that sum to 1. Features never used are
    /// left out; empty where the algorithm has no such notion.
    fn importance(&self) -> Vec<Importance>;

    /// Number of trees, where the model is made of trees.
    fn trees(&self) -> Option<usize> {
        None
    }

    /// The loss on the validation rows after each round of the fit, those after the best round included. Empty for a fit
    /// without validation rows or rounds, and for a model that was read from a file.
    fn learning_curve(&self) -> &[f64] {
        &[]
    }

    /// The model as a file: XGBoost UBJ for gradient boosting, else a JSON document that [`load_regressor`] reads.
    ///
    /// # Errors
    /// What the library's encoder refuses.
    fn to_bytes(&self) -> Result<Vec<u8>, ModelError>;
}

/// The share of one feature in what a model learned.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Importance {
    /// Which feature.
    pub feature: String,
    /// Between 0 and 1; for boosters the share of the total loss reduction (gain).
    pub share: f64,
}

/// Additive explanations: per row `width` values, whose sum plus the row's base value is the forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    names: std::sync::Arc<[String]>,
    values: Vec<f32>,
    base: f32,
}

impl Contributions {
    /// `values` has one row of `names.len()` values per forecast; `base` is the forecast before any feature is known.
    pub(crate) fn new(names: std::sync::Arc<[String]>, values: Vec<f32>, base: f32) -> Self {
        Self { names, values, base }
    }

    /// The features, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of explained rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.names.len()
    }

    /// What each feature added in this row. `row` must be below [`Contributions::rows`].
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.names.len()..(row + 1) * self.names.len()]
    }

    /// The forecast before any feature is known: the same for every row.
    pub fn base(&self) -> f32 {
        self.base
    }

    /// Mean absolute contribution per feature over all rows, largest first: the global view.
    pub fn mean_absolute(&self) -> Vec<(String, f64)> {
        let rows = self.rows().max(1) as f64;
        let mut sums = vec![0.0_f64; self.names.len()];
        for row in self.values.chunks_exact(self.names.len()) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value.abs());
            }
        }
        let mut means: Vec<_> = self.names.iter().cloned().zip(sums.into_iter().map(|sum| sum / rows)).collect();
        means.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        means
    }
}

/// Shares from raw amounts, largest first, zeros left out.
pub(crate) fn shares(names: &[String], amounts: impl IntoIterator<Item = (usize, f64)>) -> Vec<Importance> {
    let amounts: Vec<_> = amounts.into_iter().filter(|(_, amount)| *amount > 0.0).collect();
    let total: f64 = amounts.iter().map(|(_, amount)| amount).sum();
    let mut shares: Vec<_> = amounts
        .into_iter()
        .map(|(feature, amount)| Importance { feature: names[feature].clone(), share: amount / total })
        .collect();
    shares.sort_by(|left, right| right.share.total_cmp(&left.share).then_with(|| left.feature.cmp(&right.feature)));
    shares
}

/// Reads what [`Regressor::to_bytes`] wrote. `file` names it in messages.
///
/// XGBoost files (UBJ or JSON, ours or anybody's with one output) need `features`, the names in the order of a row;
/// where the file carries names of its own they must be the same. Our JSON documents carry their names.
///
/// # Errors
/// [`ModelError::Damaged`] with what is wrong.
pub fn load_regressor(file: &str, bytes: &[u8], features: &[String]) -> Result<Box<dyn Regressor>, ModelError> {
    crate::learners::load(file, bytes, features)
}
