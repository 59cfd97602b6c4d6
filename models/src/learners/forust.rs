//! The fallback booster, by forust-ml.

use super::document;
use crate::learner::shares;
use crate::{
    Contributions, FeatureMatrix, FitData, FitOptions, FitRows, Importance, Learner, Loss, ModelError, Regressor,
};
use forust_ml::data::Matrix;
use forust_ml::gradientbooster::{ContributionsMethod, GradientBooster, ImportanceMethod};
use forust_ml::objective::ObjectiveType;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::sync::Arc;

pub(super) const NAME: &str = "forust";

/// Gradient boosting by another engine, kept compiling and passing the same tests should hessboost be given up. It has
/// no quantile or absolute loss and no XGBoost files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForustBoosting {
    /// Must be [`Loss::Squared`], the only regression loss that the library has.
    pub loss: Loss,
    /// Trees, at most when it stops early. Default 200.
    pub rounds: usize,
    /// Shrinkage of each tree. Default 0.05.
    pub learning_rate: f32,
    /// Splits from root to leaf. Default 6.
    pub max_depth: usize,
    /// Smallest sum of second derivatives in a leaf. Default 1.
    pub min_child_weight: f32,
    /// Share of the rows per tree. Default 1.
    pub subsample: f32,
    /// Share of the features per tree. Default 1.
    pub column_sample: f64,
    /// Histogram bins per feature. Default 256.
    pub max_bins: u16,
    /// Stop after so many rounds without a better loss on the validation rows.
    pub early_stopping: Option<NonZeroUsize>,
}

impl Default for ForustBoosting {
    fn default() -> Self {
        Self {
            loss: Loss::Squared,
            rounds: 200,
            learning_rate: 0.05,
            max_depth: 6,
            min_child_weight: 1.0,
            subsample: 1.0,
            column_sample: 1.0,
            max_bins: 256,
            early_stopping: None,
        }
    }
}

struct Fitted {
    names: Arc<[String]>,
    booster: GradientBooster,
}

impl std::fmt::Debug for Fitted {
    /// The library's booster has no text of its own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(NAME).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Learner for ForustBoosting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn parameters(&self) -> Vec<(String, String)> {
        document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        if self.loss != Loss::Squared {
            return Err(ModelError::Unsupported {
                learner: NAME,
                action: format!("minimise {}", self.loss),
                hint: "Use gradient-boosting for absolute, quantile and pseudo-huber loss",
            });
        }
        data.validate()?;
        let failed = |reason| ModelError::library(NAME, "fit", reason);
        let train = Columns::new(&data.train);
        let valid = data.valid.as_ref().map(Columns::new);
        let mut booster = GradientBooster::default()
            // The library's own default is a logistic loss, which gives NaN here without any error.
            .set_objective_type(ObjectiveType::SquaredLoss)
            .set_initialize_base_score(true)
            .set_iterations(self.rounds)
            .set_learning_rate(self.learning_rate)
            .set_max_depth(self.max_depth)
            .set_max_leaves(1 << self.max_depth.min(20))
            .set_min_leaf_weight(self.min_child_weight)
            .set_subsample(self.subsample)
            .set_colsample_bytree(self.column_sample)
            .set_nbins(self.max_bins)
            .set_seed(options.seed)
            .set_parallel(options.threads.get() > 1)
            .set_num_threads(Some(options.threads.get()));
        let evaluation = match (self.early_stopping, &valid) {
            (Some(rounds), Some(valid)) => {
                booster = booster.set_early_stopping_rounds(Some(rounds.get()));
                Some(vec![(valid.matrix(), valid.y.as_slice(), valid.weight.as_slice())])
            }
            _ => None,
        };
        booster.fit(&train.matrix(), &train.y, &train.weight, evaluation).map_err(failed)?;
        Ok(Box::new(Fitted { names: Arc::clone(data.train.x.names()), booster }))
    }
}

/// Rows as the library reads them: column by column, double precision.
struct Columns {
    values: Vec<f64>,
    y: Vec<f64>,
    weight: Vec<f64>,
    rows: usize,
    width: usize,
}

impl Columns {
    fn new(rows: &FitRows<'_>) -> Self {
        Self {
            values: column_major(rows.x),
            y: rows.y.iter().map(|target| f64::from(*target)).collect(),
            weight: rows.weight.map_or_else(
                || vec![1.0; rows.y.len()],
                |weight| weight.iter().map(|weight| f64::from(*weight)).collect(),
            ),
            rows: rows.x.rows(),
            width: rows.x.width(),
        }
    }

    fn matrix(&self) -> Matrix<'_, f64> {
        Matrix::new(&self.values, self.rows, self.width)
    }
}

fn column_major(x: &FeatureMatrix) -> Vec<f64> {
    (0..x.width()).flat_map(|column| x.column(column).map(f64::from)).collect()
}

impl Regressor for Fitted {
    fn name(&self) -> &'static str {
        NAME
    }

    fn features(&self) -> &[String] {
        &self.names
    }

    fn predict(&self, x: &FeatureMatrix, forecasts: &mut [f32]) -> Result<(), ModelError> {
        x.expect_names(&self.names)?;
        ModelError::rows("forecast buffer", x.rows(), forecasts.len())?;
        let values = column_major(x);
        let predictions = self.booster.predict(&Matrix::new(&values, x.rows(), x.width()), false);
        for (forecast, prediction) in forecasts.iter_mut().zip(predictions) {
            *forecast = prediction as f32;
        }
        Ok(())
    }

    /// Copies the row: the library reads matrices of double precision only.
    fn predict_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        document::check_row(&self.names, row)?;
        let values: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
        let predictions = self.booster.predict(&Matrix::new(&values, 1, row.len()), false);
        Ok(predictions.first().map_or(f32::NAN, |prediction| *prediction as f32))
    }

    fn contributions(&self, x: &FeatureMatrix) -> Result<Contributions, ModelError> {
        x.expect_names(&self.names)?;
        let width = x.width();
        let values = column_major(x);
        let explained = self.booster.predict_contributions(
            &Matrix::new(&values, x.rows(), width),
            ContributionsMethod::Shapley,
            false,
        );
        let base = explained.get(width).map_or(self.booster.base_score, |base| *base) as f32;
        let values =
            explained.chunks_exact(width + 1).flat_map(|row| row[..width].iter().map(|value| *value as f32)).collect();
        Ok(Contributions::new(Arc::clone(&self.names), values, base))
    }

    fn importance(&self) -> Vec<Importance> {
        let gains = self.booster.calculate_feature_importance(ImportanceMethod::TotalGain, false);
        let mut gains: Vec<_> = gains.into_iter().map(|(feature, gain)| (feature, f64::from(gain))).collect();
        gains.sort_by_key(|(feature, _)| *feature);
        shares(&self.names, gains)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let text = self.booster.json_dump().map_err(|reason| ModelError::library(NAME, "write its file", reason))?;
        document::write(NAME, &self.names, &text)
    }
}

pub(super) fn load(
    file: &str,
    features: Vec<String>,
    model: serde_json::Value,
) -> Result<Box<dyn Regressor>, ModelError> {
    let text: String = document::read(file, model)?;
    let booster = GradientBooster::from_json(&text).map_err(|problem| ModelError::damaged(file, problem))?;
    Ok(Box::new(Fitted { names: features.into(), booster }))
}
