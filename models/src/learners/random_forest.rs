//! A random forest, by smartcore.

use super::document;
use super::preparation::Preparation;
use crate::learner::shares;
use crate::{Contributions, FeatureMatrix, FitData, FitOptions, Importance, Learner, ModelError, Regressor};
use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;
use std::sync::Arc;

pub(super) const NAME: &str = "random-forest";

type Forest = RandomForestRegressor<f32, f32, DenseMatrix<f32>, Vec<f32>>;

/// A random forest of regression trees (Breiman, 2001). smartcore panics on missing values, so gaps are filled with the
/// mean. Squared loss. It fits on one thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomForest {
    /// Number of trees. Default 50.
    pub trees: usize,
    /// Splits from root to leaf. Default 12.
    pub max_depth: u16,
    /// Smallest number of rows in a leaf. Default 5.
    pub min_rows: usize,
    /// Share of the features tried per split. Default a third, as Breiman advises for regression.
    pub feature_share: f64,
    /// Rows to learn from, drawn by the seed when there are more; time and file size grow with them. Default 50,000.
    pub max_rows: usize,
}

impl Default for RandomForest {
    fn default() -> Self {
        Self { trees: 50, max_depth: 12, min_rows: 5, feature_share: 1.0 / 3.0, max_rows: 50_000 }
    }
}

#[derive(Debug)]
struct Fitted {
    names: Arc<[String]>,
    model: Model,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    preparation: Preparation,
    forest: Forest,
}

impl Learner for RandomForest {
    fn name(&self) -> &'static str {
        NAME
    }

    fn parameters(&self) -> Vec<(String, String)> {
        document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        data.validate()?;
        if self.trees == 0 || self.max_rows == 0 || !(self.feature_share > 0.0 && self.feature_share <= 1.0) {
            return Err(ModelError::Setting {
                setting: "trees, max_rows, feature_share",
                rule: "at least 1, at least 1, and above 0 up to 1",
                got: format!("{}, {}, {}", self.trees, self.max_rows, self.feature_share),
            });
        }
        let sample = document::sample_rows(data.train.x.rows(), self.max_rows, options.seed);
        let x = data.train.x.select_rows(&sample)?;
        let y: Vec<f32> = sample.iter().map(|row| data.train.y[*row]).collect();
        let preparation = Preparation::fit(&x);
        let failed = |reason: smartcore::error::Failed| ModelError::library(NAME, "fit", reason);
        let records = DenseMatrix::new(x.rows(), x.width(), preparation.imputed_rows(&x), false).map_err(failed)?;
        let parameters = RandomForestRegressorParameters::default()
            .with_n_trees(self.trees)
            .with_max_depth(self.max_depth)
            .with_min_samples_leaf(self.min_rows)
            .with_min_samples_split(2 * self.min_rows)
            .with_m(((x.width() as f64 * self.feature_share).round() as usize).max(1))
            .with_seed(options.seed);
        let forest = match data.train.weight {
            None => Forest::fit(&records, &y, parameters),
            Some(weight) => {
                let weight: Vec<f64> = sample.iter().map(|row| f64::from(weight[*row])).collect();
                Forest::fit_with_weights(&records, &y, &weight, parameters)
            }
        }
        .map_err(failed)?;
        Ok(Box::new(Fitted { names: Arc::clone(x.names()), model: Model { preparation, forest } }))
    }
}

impl Fitted {
    fn of(&self, rows: usize, values: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        DenseMatrix::new(rows, self.names.len(), values, false)
            .and_then(|records| self.model.forest.predict(&records))
            .map_err(|reason| ModelError::library(NAME, "predict", reason))
    }
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
        if x.rows() > 0 {
            forecasts.copy_from_slice(&self.of(x.rows(), self.model.preparation.imputed_rows(x))?);
        }
        Ok(())
    }

    /// Copies the row: smartcore reads matrices only.
    fn predict_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        document::check_row(&self.names, row)?;
        let values = row
            .iter()
            .enumerate()
            .map(|(column, value)| self.model.preparation.imputed(column, *value) as f32)
            .collect();
        Ok(self.of(1, values)?.first().copied().unwrap_or(f32::NAN))
    }

    fn contributions(&self, _x: &FeatureMatrix) -> Result<Contributions, ModelError> {
        Err(document::no_contributions(NAME))
    }

    fn importance(&self) -> Vec<Importance> {
        let amounts = self.model.forest.compute_feature_importances().unwrap_or_default();
        shares(&self.names, amounts.into_iter().enumerate())
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        document::write(NAME, &self.names, &self.model)
    }
}

pub(super) fn load(
    file: &str,
    features: Vec<String>,
    model: serde_json::Value,
) -> Result<Box<dyn Regressor>, ModelError> {
    let model: Model = document::read(file, model)?;
    if model.preparation.means.len() != features.len() {
        return Err(ModelError::damaged(
            file,
            format!("it imputes {} features, it names {}", model.preparation.means.len(), features.len()),
        ));
    }
    Ok(Box::new(Fitted { names: features.into(), model }))
}
