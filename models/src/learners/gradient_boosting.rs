//! Gradient-boosted trees as XGBoost grows them, by hessboost, in XGBoost's own file format.

use super::linear::weighted_mean;
use super::xgboost_names;
use crate::learner::shares;
use crate::{
    Contributions, FeatureMatrix, FitData, FitOptions, FitRows, Importance, Learner, Loss, ModelError, Regressor,
};
use hessboost::config::{LeafEstimation, Monotone, TrainingParams, TreeMethod};
use hessboost::data::DMatrix;
use hessboost::metric::EvalMetric;
use hessboost::model::{BoostedModel, ImportanceType, Iterations, ModelFormat};
use hessboost::objective::{Objective, PseudoHuber, Quantiles, RegLoss};
use hessboost::training::Trainer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

pub(super) const NAME: &str = "gradient-boosting";

/// Which way a forecast may move when a feature grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Never down.
    Increasing,
    /// Never up.
    Decreasing,
}

/// Histogram gradient boosting (Chen and Guestrin, 2016) with XGBoost's meanings and, except where stated, defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradientBoosting {
    /// What is minimised. Default: absolute error.
    pub loss: Loss,
    /// Trees per member, at most when it stops early. Default 200.
    pub rounds: usize,
    /// Shrinkage of each tree, XGBoost's `eta`. Default 0.05.
    pub learning_rate: f64,
    /// Splits from root to leaf. Default 6.
    pub max_depth: usize,
    /// Smallest sum of second derivatives in a leaf. Default 1.
    pub min_child_weight: f64,
    /// Share of the rows per tree. Default 1.
    pub subsample: f64,
    /// Share of the features per tree, XGBoost's `colsample_bytree`. Default 1.
    pub column_sample: f64,
    /// L2 penalty on leaf values. Default 1.
    pub lambda: f64,
    /// L1 penalty on leaf values. Default 0.
    pub alpha: f64,
    /// Smallest gain of a split. Default 0.
    pub gamma: f64,
    /// Histogram bins per feature. Default 256.
    pub max_bins: usize,
    /// Stop after so many rounds without a better loss on the validation rows, and keep the best round. Needs
    /// validation rows; without them all rounds are grown.
    pub early_stopping: Option<NonZeroUsize>,
    /// Models grown from different seeds and averaged into one file. Makes sense only with sampling. Default 1.
    pub bags: usize,
    /// Set each leaf to the exact median or quantile of its rows instead of a Newton step on a smooth stand-in.
    /// Only for absolute and quantile loss, ignored for others; not together with `monotone`. Default true.
    pub exact_leaves: bool,
    /// Features with a known direction, by name.
    pub monotone: BTreeMap<String, Direction>,
}

impl Default for GradientBoosting {
    fn default() -> Self {
        Self {
            loss: Loss::Absolute,
            rounds: 200,
            learning_rate: 0.05,
            max_depth: 6,
            min_child_weight: 1.0,
            subsample: 1.0,
            column_sample: 1.0,
            lambda: 1.0,
            alpha: 0.0,
            gamma: 0.0,
            max_bins: 256,
            early_stopping: None,
            bags: 1,
            exact_leaves: true,
            monotone: BTreeMap::new(),
        }
    }
}

impl GradientBoosting {
    /// The default with another loss.
    pub fn with_loss(loss: Loss) -> Self {
        Self { loss, ..Self::default() }
    }

    /// Fits and keeps the concrete type, for callers that need the file formats.
    ///
    /// # Errors
    /// As [`Learner::fit`].
    pub fn fit_trees(&self, data: &FitData<'_>, options: &FitOptions) -> Result<BoostedTrees, ModelError> {
        data.validate()?;
        if self.bags == 0 || self.rounds == 0 {
            return Err(ModelError::Setting { setting: "bags and rounds", rule: "at least 1", got: "0".to_owned() });
        }
        let train = matrix(&data.train)?;
        let valid = data.valid.as_ref().map(matrix).transpose()?;
        let mut curve = Vec::new();
        let mut members = Vec::with_capacity(self.bags);
        for bag in 0..self.bags {
            let (member, losses) = self.fit_member(data, &train, valid.as_ref(), options, bag)?;
            members.push(member);
            if bag == 0 {
                curve = losses;
            }
        }
        let model = match <[BoostedModel; 1]>::try_from(members) {
            Ok([model]) => model,
            Err(members) => BoostedModel::average(&members)
                .map_err(|reason| ModelError::library(NAME, "average its members", reason))?,
        };
        Ok(BoostedTrees { model, names: Arc::clone(data.train.x.names()), curve })
    }

    fn fit_member(
        &self,
        data: &FitData<'_>,
        train: &DMatrix,
        valid: Option<&DMatrix>,
        options: &FitOptions,
        bag: usize,
    ) -> Result<(BoostedModel, Vec<f64>), ModelError> {
        let refused = |reason| ModelError::library(NAME, "fit", reason);
        let parameters = self.training_parameters(data, options, bag)?;
        let mut trainer = Trainer::new(&parameters, train, self.rounds);
        if let (Some(rounds), Some(valid)) = (self.early_stopping, valid) {
            trainer = trainer.eval(valid, "valid").early_stopping_rounds(rounds);
        }
        let result = trainer.train().map_err(refused)?;
        let losses = result.history.rounds().filter_map(|round| round.values().last().copied()).collect();
        let model = result.model;
        let model = match model.best_iteration() {
            Some(best) if best + 1 < model.num_boost_rounds() => model.slice(..=best, 1).map_err(refused)?,
            // The same trees without the record of a best round, so that members average and files stay plain.
            Some(_) => model.slice(.., 1).map_err(refused)?,
            None => model,
        };
        Ok((model, losses))
    }

    fn training_parameters(
        &self,
        data: &FitData<'_>,
        options: &FitOptions,
        bag: usize,
    ) -> Result<TrainingParams, ModelError> {
        let refused = |reason| ModelError::library(NAME, "accept its settings", reason);
        let (objective, metric) = match self.loss.validate()? {
            Loss::Squared => (Objective::SquaredError(RegLoss::default()), EvalMetric::Rmse),
            Loss::Absolute => (Objective::AbsoluteError, EvalMetric::Mae),
            Loss::Quantile(alpha) => {
                let quantiles = Quantiles::new([alpha]).map_err(refused)?;
                (Objective::Quantile(quantiles.clone()), EvalMetric::Quantile(quantiles))
            }
            Loss::PseudoHuber(slope) => {
                let slope = PseudoHuber::new(slope).map_err(refused)?;
                (Objective::PseudoHuber(slope), EvalMetric::Mphe(slope))
            }
            Loss::Logistic => (Objective::BinaryLogitRaw(RegLoss::default()), EvalMetric::LogLoss),
        };
        let exact = self.exact_leaves && matches!(self.loss, Loss::Absolute | Loss::Quantile(_));
        let mut builder = TrainingParams::builder()
            .objective(objective)
            .eval_metric(metric)
            .tree_method(TreeMethod::Hist)
            .nthread(options.threads.get())
            .seed(member_seed(options.seed, bag))
            .eta(self.learning_rate)
            .max_depth(self.max_depth)
            .min_child_weight(self.min_child_weight)
            .subsample(self.subsample)
            .colsample_bytree(self.column_sample)
            .lambda(self.lambda)
            .alpha(self.alpha)
            .gamma(self.gamma)
            .max_bin(self.max_bins)
            .leaf_estimation(if exact { LeafEstimation::Exact } else { LeafEstimation::Newton });
        if let Loss::PseudoHuber(_) = self.loss {
            // XGBoost starts at one Newton step from 0, which for this loss overshoots by (y ÷ slope)²: a target of 0.5
            // with a slope of 0.1 starts at 13 and never comes back. The mean is a start for every slope.
            builder = builder.base_score(weighted_mean(data));
        }
        if !self.monotone.is_empty() {
            let x = data.train.x;
            let mut directions = vec![Monotone::None; x.width()];
            for (name, direction) in &self.monotone {
                directions[crate::matrix::position_of(x.names(), name, "a monotone constraint")?] = match direction {
                    Direction::Increasing => Monotone::Increasing,
                    Direction::Decreasing => Monotone::Decreasing,
                };
            }
            builder = builder.monotone_constraints(directions);
        }
        builder.build().map_err(refused)
    }
}

/// Seeds of the members lie far apart and the first member has the plain seed, so that one bag is the unbagged model.
fn member_seed(seed: u64, bag: usize) -> u64 {
    // The odd constant of SplitMix64 (Steele, Lea and Flood, 2014): multiples of it spread over all 64 bits.
    seed.wrapping_add((bag as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn matrix(rows: &FitRows<'_>) -> Result<DMatrix, ModelError> {
    let refused = |reason| ModelError::library(NAME, "read the rows", reason);
    let values: Arc<dyn AsRef<[f32]> + Send + Sync> = rows.x.shared_values();
    let matrix = DMatrix::from_dense_shared(values, rows.x.rows(), rows.x.width(), f32::NAN)
        .and_then(|matrix| matrix.with_labels(rows.y))
        .map_err(refused)?;
    match rows.weight {
        Some(weight) => matrix.with_weights(weight).map_err(refused),
        None => Ok(matrix),
    }
}

impl Learner for GradientBoosting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn parameters(&self) -> Vec<(String, String)> {
        super::document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        Ok(Box::new(self.fit_trees(data, options)?))
    }
}

/// Fitted gradient-boosted trees with one output.
#[derive(Debug, Clone)]
pub struct BoostedTrees {
    model: BoostedModel,
    names: Arc<[String]>,
    /// Of the first member; empty in a model that was read from a file.
    curve: Vec<f64>,
}

impl BoostedTrees {
    /// The model as XGBoost UBJ with the feature names in it, so that XGBoost checks them too.
    ///
    /// # Errors
    /// What the encoder refuses.
    pub fn to_ubj(&self) -> Result<Vec<u8>, ModelError> {
        let plain = self.encode(ModelFormat::XgboostUbjson)?;
        xgboost_names::insert(&plain, &self.names)
            .map_err(|problem| ModelError::library(NAME, "write its feature names", problem))
    }

    /// The model as XGBoost JSON with the feature names in it: five times larger than UBJ, readable by eye.
    ///
    /// # Errors
    /// What the encoder refuses.
    pub fn to_xgboost_json(&self) -> Result<Vec<u8>, ModelError> {
        let failed = |reason| ModelError::library(NAME, "write its feature names", reason);
        let mut document: serde_json::Value =
            serde_json::from_slice(&self.encode(ModelFormat::XgboostJson)?).map_err(failed)?;
        document["learner"]["feature_names"] = serde_json::json!(self.names);
        serde_json::to_vec(&document).map_err(failed)
    }

    /// Reads a model of XGBoost's, ours or anybody's, as UBJ or JSON. `features` are the names in the order of a row.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] for bytes that are no such model, for more than one output, and for other features.
    pub fn from_bytes(file: &str, bytes: &[u8], features: &[String]) -> Result<Self, ModelError> {
        let format = match ModelFormat::detect(bytes) {
            Some(format @ (ModelFormat::XgboostUbjson | ModelFormat::XgboostJson)) => format,
            _ => return Err(ModelError::damaged(file, "it is neither XGBoost UBJ nor XGBoost JSON")),
        };
        let model = BoostedModel::decode(bytes, format).map_err(|problem| ModelError::damaged(file, problem))?;
        if model.prediction_width() != 1 {
            return Err(ModelError::damaged(
                file,
                format!("it gives {} values per row, a regressor gives 1", model.prediction_width()),
            ));
        }
        if model.n_features() != features.len() {
            return Err(ModelError::damaged(
                file,
                format!("it reads {} features, expected {}", model.n_features(), features.len()),
            ));
        }
        let own = match format {
            ModelFormat::XgboostUbjson => xgboost_names::read(bytes),
            _ => xgboost_names::read_json(bytes),
        };
        if let Some((own, expected)) = own.iter().zip(features).find(|(own, expected)| own != expected) {
            return Err(ModelError::damaged(
                file,
                format!("it was fitted with feature `{own}` where `{expected}` is expected"),
            ));
        }
        Ok(Self { model, names: features.to_vec().into(), curve: Vec::new() })
    }

    fn encode(&self, format: ModelFormat) -> Result<Vec<u8>, ModelError> {
        self.model.encode(format).map_err(|reason| ModelError::library(NAME, "write its file", reason))
    }
}

impl Regressor for BoostedTrees {
    fn name(&self) -> &'static str {
        NAME
    }

    fn features(&self) -> &[String] {
        &self.names
    }

    fn predict(&self, x: &FeatureMatrix, forecasts: &mut [f32]) -> Result<(), ModelError> {
        x.expect_names(&self.names)?;
        ModelError::rows("forecast buffer", x.rows(), forecasts.len())?;
        let predictions = self
            .model
            .predict_rows(x.values(), Iterations::Best)
            .map_err(|reason| ModelError::library(NAME, "predict", reason))?;
        forecasts.copy_from_slice(predictions.as_slice());
        Ok(())
    }

    fn predict_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        if row.len() != self.names.len() {
            return Err(ModelError::Shape {
                what: "row",
                unit: "features",
                expected: self.names.len(),
                got: row.len(),
            });
        }
        self.model.predict_row(row, Iterations::Best).map_err(|reason| ModelError::library(NAME, "predict", reason))
    }

    /// Exact SHAP values of the trees (Lundberg et al., 2020), conditional on the path as XGBoost's `pred_contribs`.
    fn contributions(&self, x: &FeatureMatrix) -> Result<Contributions, ModelError> {
        x.expect_names(&self.names)?;
        let failed = |reason| ModelError::library(NAME, "explain", reason);
        let width = self.names.len();
        if x.rows() == 0 {
            return Ok(Contributions::new(Arc::clone(&self.names), Vec::new(), self.model.base_score()));
        }
        let values: Arc<dyn AsRef<[f32]> + Send + Sync> = x.shared_values();
        let matrix = DMatrix::from_dense_shared(values, x.rows(), width, f32::NAN).map_err(failed)?;
        let explained = self.model.predict_contribs(&matrix, Iterations::Best).map_err(failed)?.into_vec();
        let base = explained[width];
        let values = explained.chunks_exact(width + 1).flat_map(|row| &row[..width]).copied().collect();
        Ok(Contributions::new(Arc::clone(&self.names), values, base))
    }

    fn importance(&self) -> Vec<Importance> {
        shares(&self.names, self.model.feature_importance(ImportanceType::TotalGain))
    }

    fn trees(&self) -> Option<usize> {
        Some(self.model.num_trees())
    }

    fn learning_curve(&self) -> &[f64] {
        &self.curve
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        self.to_ubj()
    }
}
