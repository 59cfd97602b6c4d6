//! Least squares with L1 and L2 penalties, by linfa.

use super::linear_model::{ELASTIC_NET, LinearModel};
use super::preparation::Preparation;
use crate::{FitData, FitOptions, Learner, ModelError, Regressor};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::{Array1, Array2, ShapeBuilder};
use serde::{Deserialize, Serialize};

/// Elastic net (Zou and Hastie, 2005) by coordinate descent on standardised features and a standardised target, gaps
/// at the mean. Row weights are refused: linfa's implementation has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ElasticNet {
    /// Strength of the penalty on the standardised target, at least 0. Default 0.01.
    pub penalty: f64,
    /// 1 is the lasso, 0 the ridge. Default 0.5.
    pub l1_ratio: f64,
    /// Steps of the descent, at most. Default 200.
    pub steps: u32,
    /// Stop when no coefficient moves by more than this share of the largest. Default 0.001.
    pub tolerance: f64,
}

impl Default for ElasticNet {
    fn default() -> Self {
        Self { penalty: 0.01, l1_ratio: 0.5, steps: 200, tolerance: 1e-3 }
    }
}

impl Learner for ElasticNet {
    fn name(&self) -> &'static str {
        ELASTIC_NET
    }

    fn parameters(&self) -> Vec<(String, String)> {
        super::document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, _options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        data.validate()?;
        if data.train.weight.is_some() {
            return Err(ModelError::Unsupported {
                learner: ELASTIC_NET,
                action: "weigh rows".to_owned(),
                hint: "Leave the weights out, or use linear-regression or gradient-boosting",
            });
        }
        let x = data.train.x;
        let rows = x.rows() as f64;
        let mean = data.train.y.iter().map(|target| f64::from(*target)).sum::<f64>() / rows;
        let spread = (data.train.y.iter().map(|target| (f64::from(*target) - mean).powi(2)).sum::<f64>() / rows).sqrt();
        let preparation = Preparation::fit(x);
        if spread <= 1e-12 {
            return Ok(Box::new(LinearModel::new(ELASTIC_NET, x, preparation, &[], &[], mean)));
        }
        let values = preparation.standardised_columns(x).concat();
        let failed = |reason: &dyn std::fmt::Display| ModelError::library(ELASTIC_NET, "fit", reason);
        let records = Array2::from_shape_vec((x.rows(), x.width()).f(), values).map_err(|reason| failed(&reason))?;
        let targets: Array1<f64> = data.train.y.iter().map(|target| (f64::from(*target) - mean) / spread).collect();
        let fitted = linfa_elasticnet::ElasticNet::params()
            .penalty(self.penalty)
            .l1_ratio(self.l1_ratio)
            .max_iterations(self.steps)
            .tolerance(self.tolerance)
            .with_intercept(true)
            .fit(&DatasetBase::new(records, targets))
            .map_err(|reason| failed(&reason))?;
        let kept: Vec<usize> = (0..x.width()).collect();
        let coefficients: Vec<f64> = fitted.hyperplane().iter().map(|coefficient| coefficient * spread).collect();
        let intercept = fitted.intercept() * spread + mean;
        Ok(Box::new(LinearModel::new(ELASTIC_NET, x, preparation, &kept, &coefficients, intercept)))
    }
}
