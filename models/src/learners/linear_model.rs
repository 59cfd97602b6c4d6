//! The fitted form that the linear learners share.

use super::document;
use super::preparation::Preparation;
use crate::learner::shares;
use crate::{Contributions, FeatureMatrix, Importance, ModelError, Regressor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(super) const LINEAR: &str = "linear-regression";
pub(super) const ELASTIC_NET: &str = "elastic-net";

/// `intercept + Σ coefficient × value` in the features' own units, missing values at their mean.
#[derive(Debug, Clone)]
pub(super) struct LinearModel {
    name: &'static str,
    names: Arc<[String]>,
    weights: Weights,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    intercept: f64,
    coefficients: Vec<f64>,
    preparation: Preparation,
}

impl LinearModel {
    /// From coefficients of the standardised columns `kept` and the intercept that belongs to them.
    pub(super) fn new(
        name: &'static str,
        x: &FeatureMatrix,
        preparation: Preparation,
        kept: &[usize],
        fitted: &[f64],
        intercept: f64,
    ) -> Self {
        let mut coefficients = vec![0.0; x.width()];
        for (column, coefficient) in kept.iter().zip(fitted) {
            coefficients[*column] = coefficient / preparation.scales[*column];
        }
        let shift: f64 =
            coefficients.iter().zip(&preparation.means).map(|(coefficient, mean)| coefficient * mean).sum();
        let weights = Weights { intercept: intercept - shift, coefficients, preparation };
        Self { name, names: Arc::clone(x.names()), weights }
    }

    fn of(&self, row: &[f32]) -> Result<f32, ModelError> {
        let mut sum = self.weights.intercept;
        for (column, value) in row.iter().enumerate() {
            sum += self.weights.coefficients[column] * self.weights.preparation.imputed(column, *value);
        }
        Ok(sum as f32)
    }
}

impl Regressor for LinearModel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn features(&self) -> &[String] {
        &self.names
    }

    fn predict(&self, x: &FeatureMatrix, forecasts: &mut [f32]) -> Result<(), ModelError> {
        document::predict_rows(&self.names, x, forecasts, |row| self.of(row))
    }

    fn predict_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        document::check_row(&self.names, row)?;
        self.of(row)
    }

    /// `coefficient × (value − mean)`: the Shapley values of a linear model with independent features.
    fn contributions(&self, x: &FeatureMatrix) -> Result<Contributions, ModelError> {
        x.expect_names(&self.names)?;
        let preparation = &self.weights.preparation;
        let mut values = Vec::with_capacity(x.values().len());
        for row in 0..x.rows() {
            values.extend(x.row(row).iter().enumerate().map(|(column, value)| {
                (self.weights.coefficients[column] * (preparation.imputed(column, *value) - preparation.means[column]))
                    as f32
            }));
        }
        let base = self
            .weights
            .coefficients
            .iter()
            .zip(&preparation.means)
            .map(|(coefficient, mean)| coefficient * mean)
            .sum::<f64>();
        Ok(Contributions::new(Arc::clone(&self.names), values, (self.weights.intercept + base) as f32))
    }

    /// Shares of the absolute coefficients on standardised features.
    fn importance(&self) -> Vec<Importance> {
        let amounts = self
            .weights
            .coefficients
            .iter()
            .zip(&self.weights.preparation.scales)
            .map(|(coefficient, scale)| (coefficient * scale).abs());
        shares(&self.names, amounts.enumerate())
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        document::write(self.name, &self.names, &self.weights)
    }
}

pub(super) fn load(
    file: &str,
    learner: &str,
    features: Vec<String>,
    model: serde_json::Value,
) -> Result<Box<dyn Regressor>, ModelError> {
    let weights: Weights = document::read(file, model)?;
    let lengths = [weights.coefficients.len(), weights.preparation.means.len(), weights.preparation.scales.len()];
    if lengths.iter().any(|length| *length != features.len()) {
        return Err(ModelError::damaged(
            file,
            format!("its lists have {lengths:?} entries for {} features", features.len()),
        ));
    }
    let name = if learner == LINEAR { LINEAR } else { ELASTIC_NET };
    Ok(Box::new(LinearModel { name, names: features.into(), weights }))
}
