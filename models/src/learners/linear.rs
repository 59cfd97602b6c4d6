//! Ordinary least squares, by linfa.

use super::linear_model::{LINEAR, LinearModel};
use super::preparation::{Preparation, independent_columns};
use crate::{FitData, FitOptions, Learner, ModelError, Regressor};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::{Array1, Array2, ShapeBuilder};
use serde::{Deserialize, Serialize};

/// Ordinary least squares on standardised features, gaps at the mean. Constant columns and exact combinations of
/// earlier columns get the coefficient 0. Squared loss; row weights scale the rows by their square root.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearRegression {}

impl Learner for LinearRegression {
    fn name(&self) -> &'static str {
        LINEAR
    }

    fn parameters(&self) -> Vec<(String, String)> {
        super::document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, _options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        data.validate()?;
        let x = data.train.x;
        let preparation = Preparation::fit(x);
        let standardised = preparation.standardised_columns(x);
        let kept = independent_columns(&standardised);
        let roots: Vec<f64> =
            (0..x.rows()).map(|row| data.train.weight.map_or(1.0, |weight| f64::from(weight[row]).sqrt())).collect();
        // The intercept is a column of its own, so that weights scale it as they scale the rest.
        let columns = kept.iter().map(|column| &standardised[*column]);
        let mut values = Vec::with_capacity(x.rows() * (kept.len() + 1));
        for column in columns {
            values.extend(column.iter().zip(&roots).map(|(value, root)| value * root));
        }
        values.extend_from_slice(&roots);
        let rows = x.rows().max(kept.len() + 1);
        if rows > x.rows() {
            return constant(data, preparation);
        }
        let failed = |reason: &dyn std::fmt::Display| ModelError::library(LINEAR, "fit", reason);
        let records =
            Array2::from_shape_vec((x.rows(), kept.len() + 1).f(), values).map_err(|reason| failed(&reason))?;
        let targets: Array1<f64> =
            data.train.y.iter().zip(&roots).map(|(target, root)| f64::from(*target) * root).collect();
        let fitted = linfa_linear::LinearRegression::new()
            .with_intercept(false)
            .fit(&DatasetBase::new(records, targets))
            .map_err(|reason| failed(&reason))?;
        let mut coefficients = fitted.params().to_vec();
        let intercept = coefficients.pop().unwrap_or_default();
        Ok(Box::new(LinearModel::new(LINEAR, x, preparation, &kept, &coefficients, intercept)))
    }
}

/// Fewer rows than coefficients determine nothing but the mean.
fn constant(data: &FitData<'_>, preparation: Preparation) -> Result<Box<dyn Regressor>, ModelError> {
    let mean = weighted_mean(data);
    Ok(Box::new(LinearModel::new(LINEAR, data.train.x, preparation, &[], &[], mean)))
}

/// The weighted mean of the targets.
pub(super) fn weighted_mean(data: &FitData<'_>) -> f64 {
    let weight = |row: usize| data.train.weight.map_or(1.0, |weight| f64::from(weight[row]));
    let (sum, total) =
        data.train.y.iter().enumerate().fold((0.0, 0.0), |(sum, total), (row, target)| {
            (sum + weight(row) * f64::from(*target), total + weight(row))
        });
    sum / total
}
