//! A member that has seen faults: boosted trees that tell their rows from usual ones.

use super::detector::MOST_COLUMNS;
use super::{AnomalyKind, Detector, LabelledRows, Member, Middles, Scorer, Tail, Vote};
use crate::learners::{BoostedTrees, GradientBoosting};
use crate::{FeatureMatrix, FitData, FitOptions, FitRows, Loss, ModelError, Regressor};
use serde::{Deserialize, Serialize};

/// Boosted trees with one output, the natural logarithm of the odds that a row belongs to a fault, where faults and usual rows
/// weigh the same. Two are equal if their files are.
#[derive(Debug, Clone)]
pub struct Classifier {
    trees: BoostedTrees,
    file: Vec<u8>,
}

impl PartialEq for Classifier {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

/// How a [`Classifier`] is grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierSettings {
    /// Its features, at most 64.
    pub columns: Vec<String>,
    /// Trees.
    pub rounds: usize,
    /// Splits from root to leaf.
    pub max_depth: usize,
    /// Shrinkage of each tree.
    pub learning_rate: f64,
    /// Most usual rows that it learns from, spread evenly over all of them.
    pub most_usual_rows: usize,
}

/// The member's name, and its file's without ending.
const NAME: &str = "faults";
/// XGBoost UBJ.
pub(super) const CLASSIFIER_FILE: &str = "classifier-faults.ubj";
/// Fewer rows of faults than this teach nothing.
const LEAST_FAULT_ROWS: usize = 30;

impl Classifier {
    fn new(trees: BoostedTrees) -> Result<Self, ModelError> {
        let file = trees.to_ubj()?;
        Ok(Self { trees, file })
    }

    pub(super) fn from_file(bytes: &[u8], columns: &[String]) -> Result<Self, ModelError> {
        Ok(Self { trees: BoostedTrees::from_bytes(CLASSIFIER_FILE, bytes, columns)?, file: bytes.to_vec() })
    }

    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.trees.features().len()
    }

    /// Its trees.
    pub fn trees(&self) -> &BoostedTrees {
        &self.trees
    }

    pub(super) fn score_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        self.trees.predict_row(row)
    }

    /// [`Classifier::score_row`] for rows one after the other.
    pub(super) fn scores(&self, values: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        let x = FeatureMatrix::new(self.trees.features().to_vec(), values.len() / self.width(), values)?;
        let mut scores = vec![0.0; x.rows()];
        self.trees.predict(&x, &mut scores)?;
        Ok(scores)
    }

    /// What each feature adds to the log-odds: SHAP values.
    pub(super) fn credits(&self, row: &[f32], credits: &mut [f64]) -> Result<(), ModelError> {
        let x = FeatureMatrix::new(self.trees.features().to_vec(), 1, row.to_vec())?;
        for (credit, value) in credits.iter_mut().zip(self.trees.contributions(&x)?.row(0)) {
            *credit = f64::from(*value);
        }
        Ok(())
    }
}

impl Detector {
    /// The same with one more member, boosted trees that tell rows of faults from usual ones. `weights` has one number per row: what
    /// it counts as an example of a fault, 0 for none; faults and usual rows weigh the same in the end. The vote is the largest surprise, until
    /// [`Detector::with_vote`] puts a better one in. Its surprise is the decimal logarithm of the odds, which needs no
    /// calibration: trees rate the rows that they have learned too well. Without at least 30 rows of faults it stays as it is.
    ///
    /// # Errors
    /// Columns that are not there or too many, settings out of range.
    pub fn with_classifier(
        mut self,
        rows: &LabelledRows<'_>,
        weights: &[f32],
        settings: &ClassifierSettings,
        options: &FitOptions,
    ) -> Result<Self, ModelError> {
        ModelError::rows("weights", rows.x.rows(), weights.len())?;
        let odd: Vec<usize> = (0..rows.x.rows()).filter(|row| weights[*row] > 0.0).collect();
        let usual: Vec<usize> = (0..rows.x.rows()).filter(|row| rows.usual[*row]).collect();
        if odd.len() < LEAST_FAULT_ROWS || usual.is_empty() {
            return Ok(self);
        }
        if settings.columns.is_empty() || settings.columns.len() > MOST_COLUMNS {
            return Err(ModelError::Setting {
                setting: "columns",
                rule: "between 1 and 64",
                got: format!("{} for the classifier of faults", settings.columns.len()),
            });
        }
        let places = settings.columns.iter().map(|name| {
            crate::matrix::position_of(&self.features, name, "the classifier of faults of the anomaly detector")
        });
        let columns = places.collect::<Result<Vec<usize>, _>>()?;
        let every = usual.len().div_ceil(settings.most_usual_rows.max(1));
        let usual: Vec<usize> = usual.into_iter().step_by(every).collect();
        let picked: Vec<usize> = odd.iter().chain(&usual).copied().collect();
        let x = rows.x.select_rows(&picked)?.select_columns(&settings.columns)?;
        let labels: Vec<f32> = (0..picked.len()).map(|place| f32::from(u8::from(place < odd.len()))).collect();
        let weight = usual.len() as f32 / odd.iter().map(|row| weights[*row]).sum::<f32>();
        let of_usual = usual.iter().map(|_| 1.0);
        let weights: Vec<f32> = odd.iter().map(|row| weights[*row] * weight).chain(of_usual).collect();
        let learner = GradientBoosting {
            rounds: settings.rounds,
            max_depth: settings.max_depth,
            learning_rate: settings.learning_rate,
            min_child_weight: LEAST_WEIGHT,
            max_bins: 128,
            ..GradientBoosting::with_loss(Loss::Logistic)
        };
        let data = FitData { train: FitRows { x: &x, y: &labels, weight: Some(&weights) }, valid: None };
        let classifier = Classifier::new(learner.fit_trees(&data, options)?)?;
        self.members.push(Member {
            name: NAME.to_owned(),
            kind: AnomalyKind::Performance,
            columns,
            middles: Middles::default(),
            scorer: Scorer::Classifier(Box::new(classifier)),
            tail: Tail::of_log_odds(),
        });
        self.vote = Vote::Largest;
        Ok(self)
    }
}

/// A leaf rests on some tens of rows: a quarter of a row counts where the odds are even, less where they are not.
const LEAST_WEIGHT: f64 = 5.0;
