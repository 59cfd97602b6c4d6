//! A booster as ONNX, from its XGBoost JSON (github.com/dmlc/xgboost, `doc/model.schema`).

use super::messages::{Attribute, ML, Model, Node};
use crate::ModelError;
use prost::Message;
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    gradient_booster: Booster,
    learner_model_param: Parameters,
}

#[derive(Deserialize)]
struct Parameters {
    /// A number as text; newer versions put it in brackets.
    base_score: String,
}

#[derive(Deserialize)]
struct Booster {
    model: Trees,
}

#[derive(Deserialize)]
struct Trees {
    trees: Vec<Tree>,
}

/// By node. A leaf has no children, and its value where others have their threshold.
#[derive(Deserialize)]
struct Tree {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<i64>,
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
}

/// XGBoost writes it as a number or as a word, by version.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Flag {
    Number(i64),
    Word(bool),
}

/// The attributes of all trees.
#[derive(Default)]
struct Columns {
    trees: Vec<i64>,
    nodes: Vec<i64>,
    features: Vec<i64>,
    values: Vec<f32>,
    is_leaf: Vec<bool>,
    when_true: Vec<i64>,
    when_false: Vec<i64>,
    missing_is_true: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_nodes: Vec<i64>,
    leaf_values: Vec<f32>,
}

pub(super) fn onnx(name: &str, json: &[u8], width: usize) -> Result<Vec<u8>, ModelError> {
    let document: Document = serde_json::from_slice(json).map_err(|problem| ModelError::damaged(name, problem))?;
    let base = document.learner.learner_model_param.base_score;
    let base: f32 = base
        .trim_matches(['[', ']'])
        .parse()
        .map_err(|_| ModelError::damaged(name, format!("it begins at `{base}`, which is no number")))?;
    let mut columns = Columns::default();
    for (at, tree) in document.learner.gradient_booster.model.trees.iter().enumerate() {
        columns
            .push(at as i64, tree)
            .ok_or_else(|| ModelError::damaged(name, format!("the columns of tree {at} differ in length")))?;
    }
    let leaves = columns.leaf_trees.len();
    let mut node = Node::new("TreeEnsembleRegressor", &["features"], "value");
    node.domain = ML.to_owned();
    node.attribute = vec![
        Attribute::ints("nodes_treeids", columns.trees),
        Attribute::ints("nodes_nodeids", columns.nodes),
        Attribute::ints("nodes_featureids", columns.features),
        Attribute::floats("nodes_values", columns.values),
        // XGBoost goes left below the threshold.
        Attribute::texts(
            "nodes_modes",
            columns.is_leaf.iter().map(|is_leaf| if *is_leaf { "LEAF" } else { "BRANCH_LT" }),
        ),
        Attribute::ints("nodes_truenodeids", columns.when_true),
        Attribute::ints("nodes_falsenodeids", columns.when_false),
        Attribute::ints("nodes_missing_value_tracks_true", columns.missing_is_true),
        Attribute::ints("target_treeids", columns.leaf_trees),
        Attribute::ints("target_nodeids", columns.leaf_nodes),
        Attribute::ints("target_ids", vec![0; leaves]),
        Attribute::floats("target_weights", columns.leaf_values),
        Attribute::int("n_targets", 1),
        Attribute::floats("base_values", vec![base]),
        Attribute::text("aggregate_function", "SUM"),
        Attribute::text("post_transform", "NONE"),
    ];
    Ok(Model::of(name, width, vec![node], Vec::new()).encode_to_vec())
}

impl Columns {
    fn push(&mut self, number: i64, tree: &Tree) -> Option<()> {
        let count = tree.left_children.len();
        let lengths =
            [tree.right_children.len(), tree.split_indices.len(), tree.split_conditions.len(), tree.default_left.len()];
        if lengths != [count; 4] {
            return None;
        }
        for node in 0..count {
            let (left, right) = (tree.left_children[node], tree.right_children[node]);
            let is_leaf = left < 0;
            self.trees.push(number);
            self.nodes.push(node as i64);
            self.is_leaf.push(is_leaf);
            // What a leaf has in these columns is not read.
            self.features.push(if is_leaf { 0 } else { tree.split_indices[node] });
            self.values.push(if is_leaf { 0.0 } else { tree.split_conditions[node] });
            self.when_true.push(left.max(0));
            self.when_false.push(right.max(0));
            let goes_left = match tree.default_left[node] {
                Flag::Number(number) => number != 0,
                Flag::Word(word) => word,
            };
            self.missing_is_true.push(i64::from(goes_left && !is_leaf));
            if is_leaf {
                self.leaf_trees.push(number);
                self.leaf_nodes.push(node as i64);
                self.leaf_values.push(tree.split_conditions[node]);
            }
        }
        Some(())
    }
}
