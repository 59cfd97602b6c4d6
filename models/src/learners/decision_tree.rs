//! A single decision tree, by linfa, whose trees can only classify.

use super::document;
use super::preparation::Preparation;
use crate::learner::shares;
use crate::{Contributions, FeatureMatrix, FitData, FitOptions, Importance, Learner, ModelError, Regressor};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use linfa_trees::TreeNode;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(super) const NAME: &str = "binned-decision-tree";

/// One classification tree over quantile bins of the target, used for regression.
///
/// linfa-trees has no regression tree: its splits make classes pure. The target is therefore cut into bins of equally
/// many rows, the tree separates the bins, and a leaf forecasts the mean target of its rows. Splits know nothing of the
/// distance between bins, which is why it trails a real regression tree. Gaps are filled with the mean. The library
/// sums over hash maps, so where two splits are equally good up to rounding, two fits may choose differently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BinnedDecisionTree {
    /// Classes that the target is cut into. Default 20.
    pub bins: usize,
    /// Splits from root to leaf. Default 8.
    pub max_depth: usize,
    /// Smallest number of rows in a leaf. Default 20.
    pub min_rows: usize,
    /// Rows to learn from, drawn by the seed when there are more: the library scans all rows for every node, so its
    /// time grows with rows × nodes. Default 20,000.
    pub max_rows: usize,
}

impl Default for BinnedDecisionTree {
    fn default() -> Self {
        Self { bins: 20, max_depth: 8, min_rows: 20, max_rows: 20_000 }
    }
}

#[derive(Debug, Clone)]
struct Fitted {
    names: Arc<[String]>,
    tree: Tree,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tree {
    preparation: Preparation,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Node {
    /// Rows with at most `threshold` go to `low`, others to `high`; `gain` is the impurity removed times the rows.
    Split { feature: usize, threshold: f32, low: usize, high: usize, gain: f64 },
    /// The forecast.
    Leaf { value: f32 },
}

impl Learner for BinnedDecisionTree {
    fn name(&self) -> &'static str {
        NAME
    }

    fn parameters(&self) -> Vec<(String, String)> {
        document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        data.validate()?;
        if self.bins < 2 || self.max_depth == 0 || self.max_rows == 0 {
            return Err(ModelError::Setting {
                setting: "bins, max_depth, max_rows",
                rule: "at least 2, 1 and 1",
                got: format!("{}, {}, {}", self.bins, self.max_depth, self.max_rows),
            });
        }
        let failed = |reason: &dyn std::fmt::Display| ModelError::library(NAME, "fit", reason);
        let sample = document::sample_rows(data.train.x.rows(), self.max_rows, options.seed);
        let x = data.train.x.select_rows(&sample)?;
        let y: Vec<f32> = sample.iter().map(|row| data.train.y[*row]).collect();
        let preparation = Preparation::fit(&x);
        let values = preparation.imputed_rows(&x);
        let records =
            Array2::from_shape_vec((x.rows(), x.width()), values.clone()).map_err(|reason| failed(&reason))?;
        let mut dataset = DatasetBase::new(records, Array1::from(classes(&y, self.bins)));
        if let Some(weight) = data.train.weight {
            dataset = dataset.with_weights(sample.iter().map(|row| weight[*row]).collect());
        }
        let fitted = linfa_trees::DecisionTree::<f32, usize>::params()
            .max_depth(Some(self.max_depth))
            .min_weight_leaf(self.min_rows as f32)
            .min_weight_split(2.0 * self.min_rows as f32)
            .fit(&dataset)
            .map_err(|reason| failed(&reason))?;
        let mut tree = Tree { preparation, nodes: Vec::new() };
        let rows: Vec<usize> = (0..x.rows()).collect();
        tree.grow(fitted.root_node(), &rows, &values, x.width(), &y);
        Ok(Box::new(Fitted { names: Arc::clone(x.names()), tree }))
    }
}

/// The quantile bin of each target. Equal targets share a bin.
fn classes(y: &[f32], bins: usize) -> Vec<usize> {
    let mut sorted = y.to_vec();
    sorted.sort_by(f32::total_cmp);
    let mut edges: Vec<f32> = (1..bins).map(|bin| sorted[bin * sorted.len() / bins]).collect();
    edges.dedup();
    y.iter().map(|target| edges.partition_point(|edge| edge <= target)).collect()
}

impl Tree {
    /// Copies a node and those below it, with the rows that reach it, and returns its place.
    fn grow(&mut self, node: &TreeNode<f32, usize>, rows: &[usize], values: &[f32], width: usize, y: &[f32]) -> usize {
        let place = self.nodes.len();
        let mean = rows.iter().map(|row| f64::from(y[*row])).sum::<f64>() / rows.len().max(1) as f64;
        self.nodes.push(Node::Leaf { value: mean as f32 });
        let children = node.children();
        if let (false, [Some(low), Some(high)]) = (node.is_leaf(), children.as_slice()) {
            let (feature, threshold, impurity) = node.split();
            let (below, above): (Vec<usize>, Vec<usize>) =
                rows.iter().partition(|row| values[**row * width + feature] <= threshold);
            let low = self.grow(low, &below, values, width, y);
            let high = self.grow(high, &above, values, width, y);
            self.nodes[place] =
                Node::Split { feature, threshold, low, high, gain: f64::from(impurity) * rows.len() as f64 };
        }
        place
    }

    fn of(&self, row: &[f32]) -> f32 {
        let mut place = 0;
        loop {
            match &self.nodes[place] {
                Node::Leaf { value } => return *value,
                Node::Split { feature, threshold, low, high, .. } => {
                    let value = self.preparation.imputed(*feature, row[*feature]) as f32;
                    place = if value <= *threshold { *low } else { *high };
                }
            }
        }
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
        document::predict_rows(&self.names, x, forecasts, |row| Ok(self.tree.of(row)))
    }

    fn predict_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        document::check_row(&self.names, row)?;
        Ok(self.tree.of(row))
    }

    fn contributions(&self, _x: &FeatureMatrix) -> Result<Contributions, ModelError> {
        Err(document::no_contributions(NAME))
    }

    fn importance(&self) -> Vec<Importance> {
        let mut gains = vec![0.0; self.names.len()];
        for node in &self.tree.nodes {
            if let Node::Split { feature, gain, .. } = node {
                gains[*feature] += gain;
            }
        }
        shares(&self.names, gains.into_iter().enumerate())
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        document::write(NAME, &self.names, &self.tree)
    }
}

pub(super) fn load(
    file: &str,
    features: Vec<String>,
    model: serde_json::Value,
) -> Result<Box<dyn Regressor>, ModelError> {
    let tree: Tree = document::read(file, model)?;
    let sound = |(place, node): (usize, &Node)| match node {
        Node::Leaf { .. } => true,
        // Children stand behind their parent, so no walk runs in circles.
        Node::Split { feature, low, high, .. } => {
            *feature < features.len()
                && *low > place
                && *high > place
                && *low < tree.nodes.len()
                && *high < tree.nodes.len()
        }
    };
    if tree.nodes.is_empty()
        || tree.preparation.means.len() != features.len()
        || !tree.nodes.iter().enumerate().all(sound)
    {
        return Err(ModelError::damaged(file, "its nodes do not form a tree over its features"));
    }
    Ok(Box::new(Fitted { names: features.into(), tree }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_equally_many_rows_and_equal_targets_share_one() {
        assert_eq!(classes(&[4.0, 1.0, 3.0, 2.0], 2), [1, 0, 1, 0]);
        assert_eq!(classes(&[1.0, 1.0, 1.0, 2.0], 4), [1, 1, 1, 2]);
        assert_eq!(classes(&[5.0; 3], 20), [1, 1, 1]);
    }
}
