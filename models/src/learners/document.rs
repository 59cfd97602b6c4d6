//! The JSON document in which every learner but gradient boosting keeps its models.

use super::{decision_tree, forust, linear_model, naive, random_forest};
use crate::learners::BoostedTrees;
use crate::{FeatureMatrix, ModelError, Regressor};
use rand::SeedableRng;
use serde::{Deserialize, Serialize};

/// What the document says it is.
const FORMAT: &str = "berth-regressor";
/// Raised when an older reader would misread the document.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a, M> {
    format: &'a str,
    version: u32,
    learner: &'a str,
    features: &'a [String],
    model: &'a M,
}

#[derive(Deserialize)]
struct Read {
    format: String,
    version: u32,
    learner: String,
    features: Vec<String>,
    model: serde_json::Value,
}

/// A model as a document.
pub(super) fn write(learner: &'static str, features: &[String], model: &impl Serialize) -> Result<Vec<u8>, ModelError> {
    serde_json::to_vec(&Written { format: FORMAT, version: VERSION, learner, features, model })
        .map_err(|reason| ModelError::library(learner, "write its file", reason))
}

/// The model of a document.
pub(super) fn read<M: serde::de::DeserializeOwned>(file: &str, model: serde_json::Value) -> Result<M, ModelError> {
    serde_json::from_value(model).map_err(|problem| ModelError::damaged(file, problem))
}

/// See [`crate::load_regressor`].
pub(crate) fn load(file: &str, bytes: &[u8], features: &[String]) -> Result<Box<dyn Regressor>, ModelError> {
    let document: Read = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(_) => return Ok(Box::new(BoostedTrees::from_bytes(file, bytes, features)?)),
    };
    if document.format != FORMAT {
        return Err(ModelError::damaged(file, format!("its format is `{}`, expected `{FORMAT}`", document.format)));
    }
    if document.version != VERSION {
        return Err(ModelError::damaged(
            file,
            format!("its version is {}, this program reads {VERSION}", document.version),
        ));
    }
    if !features.is_empty() && document.features != features {
        return Err(ModelError::damaged(file, "it was fitted with other features than expected"));
    }
    match document.learner.as_str() {
        linear_model::LINEAR | linear_model::ELASTIC_NET => {
            linear_model::load(file, &document.learner, document.features, document.model)
        }
        decision_tree::NAME => decision_tree::load(file, document.features, document.model),
        random_forest::NAME => random_forest::load(file, document.features, document.model),
        forust::NAME => forust::load(file, document.features, document.model),
        naive::PERSISTENCE | naive::SEASONAL => naive::load(file, &document.learner, document.features, document.model),
        other => Err(ModelError::damaged(file, format!("no learner is called `{other}`"))),
    }
}

/// The fields of a learner as names and texts, in the order of the struct.
pub(super) fn parameters(learner: &impl Serialize) -> Vec<(String, String)> {
    match serde_json::to_value(learner) {
        Ok(serde_json::Value::Object(fields)) => fields
            .into_iter()
            .map(|(name, value)| match value {
                serde_json::Value::String(text) => (name, text),
                value => (name, value.to_string()),
            })
            .collect(),
        // Every learner is a plain struct, so there is nothing to report here.
        _ => Vec::new(),
    }
}

/// Checks a single row.
pub(super) fn check_row(names: &[String], row: &[f32]) -> Result<(), ModelError> {
    if row.len() != names.len() {
        return Err(ModelError::Shape { what: "row", unit: "features", expected: names.len(), got: row.len() });
    }
    match row.iter().position(|value| value.is_infinite()) {
        None => Ok(()),
        Some(column) => {
            Err(ModelError::NotFinite { what: "row", row: 0, column: Some(names[column].clone()), value: row[column] })
        }
    }
}

/// A batch as single rows, for models whose row forecast is cheap.
pub(super) fn predict_rows(
    names: &[String],
    x: &FeatureMatrix,
    forecasts: &mut [f32],
    of: impl Fn(&[f32]) -> Result<f32, ModelError>,
) -> Result<(), ModelError> {
    x.expect_names(names)?;
    ModelError::rows("forecast buffer", x.rows(), forecasts.len())?;
    for (row, forecast) in forecasts.iter_mut().enumerate() {
        *forecast = of(x.row(row))?;
    }
    Ok(())
}

/// At most `limit` rows, drawn without replacement and kept in order; all rows when there are no more.
pub(super) fn sample_rows(rows: usize, limit: usize, seed: u64) -> Vec<usize> {
    if rows <= limit {
        return (0..rows).collect();
    }
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = rand::seq::index::sample(&mut generator, rows, limit).into_vec();
    drawn.sort_unstable();
    drawn
}

/// The answer of an algorithm without additive explanations.
pub(super) fn no_contributions(learner: &'static str) -> ModelError {
    ModelError::Unsupported {
        learner,
        action: "explain a forecast as a sum over features".to_owned(),
        hint: "Its importance shows what it used; gradient-boosting, forust and the linear models explain each forecast",
    }
}
