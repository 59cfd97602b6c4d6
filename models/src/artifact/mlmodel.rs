//! `MLmodel` and what MLflow needs beside it.
//!
//! A load predictor is many boosters and a little arithmetic, so MLflow's own xgboost flavour cannot serve it. The
//! `python_function` flavour names a loader of ours that comes with the artifact and needs only xgboost; the `xgboost`
//! flavour points at one booster for whoever wants the trees.

use super::ArtifactMetadata;
use crate::ModelError;
use crate::load::{LoadPredictor, Quantile};
use serde_json::json;
use std::fmt::Write;

/// Where the text of [`mlmodel`] lies.
pub const MLMODEL_FILE: &str = "MLmodel";
/// Where the text of [`python_loader`] lies.
pub const PYTHON_LOADER_FILE: &str = "code/berth_load_predictor.py";
/// Where the text of [`requirements`] lies.
pub const REQUIREMENTS_FILE: &str = "requirements.txt";

/// The loader that `MLmodel` names.
pub fn python_loader() -> &'static str {
    include_str!("berth_load_predictor.py")
}

/// What the loader imports. The boosters are XGBoost files of format 3.x, which every 3.x release reads.
pub fn requirements() -> String {
    "mlflow\nnumpy\npandas\nxgboost>=3.0,<4\n".to_owned()
}

/// The text of `MLmodel`: flavours and signature. The id is derived from the files' hashes, so that the same model has
/// the same text.
///
/// # Errors
/// A signature that JSON cannot hold.
pub fn mlmodel(metadata: &ArtifactMetadata, predictor: &LoadPredictor) -> Result<String, ModelError> {
    let failed = |reason| ModelError::library("load-predictor", "write its signature", reason);
    // Floats take missing values as NaN, so no column is optional.
    let inputs: Vec<_> =
        metadata.features.iter().map(|name| json!({"type": "float", "name": name, "required": true})).collect();
    let outputs: Vec<_> = predictor
        .heads()
        .iter()
        .flat_map(|head| {
            [Quantile::P50, Quantile::P90].map(|quantile| format!("{}-{}", head.key().slug(), quantile.as_str()))
        })
        .map(|name| json!({"type": "float", "name": name, "required": true}))
        .collect();
    let inputs = serde_json::to_string(&inputs).map_err(failed)?;
    let outputs = serde_json::to_string(&outputs).map_err(failed)?;
    let booster = metadata.files.keys().find(|name| name.ends_with(".ubj"));

    let mut text = String::from(
        "flavors:\n  python_function:\n    code: code\n    env:\n      virtualenv: requirements.txt\n    loader_module: berth_load_predictor\n",
    );
    if let Some(booster) = booster {
        let _ = write!(
            text,
            "  xgboost:\n    data: {booster}\n    model_class: xgboost.core.Booster\n    model_format: ubj\n"
        );
    }
    let _ = writeln!(text, "model_uuid: {}", model_id(metadata));
    let _ = write!(
        text,
        "signature:\n  inputs: '{}'\n  outputs: '{}'\n  params: null\n",
        quoted(&inputs),
        quoted(&outputs)
    );
    let _ = writeln!(text, "utc_time_created: '{}'", quoted(&metadata.trained_at));
    Ok(text)
}

/// Where the text of the placement agent's loader lies.
pub const PLACEMENT_LOADER_FILE: &str = "code/berth_placement_agent.py";

pub(super) fn placement_loader() -> &'static str {
    include_str!("berth_placement_agent.py")
}

/// What the loaders of a network and of a detector without a classifier need.
pub(super) fn plain_requirements() -> &'static str {
    "mlflow\nnumpy\npandas\n"
}

/// [`mlmodel`] of a placement agent: one value per row.
pub(super) fn placement_mlmodel(metadata: &ArtifactMetadata) -> Result<String, ModelError> {
    plain_mlmodel(metadata, "placement-agent", "berth_placement_agent", &[("float", "value")])
}

/// Where the text of the anomaly detector's loader lies.
pub const ANOMALY_LOADER_FILE: &str = "code/berth_anomaly_detector.py";

pub(super) fn anomaly_loader() -> &'static str {
    include_str!("berth_anomaly_detector.py")
}

/// [`mlmodel`] of an anomaly detector: vote, score and alarm per row.
pub(super) fn anomaly_mlmodel(metadata: &ArtifactMetadata) -> Result<String, ModelError> {
    let outputs = [("double", "vote"), ("double", "score"), ("boolean", "alarm")];
    plain_mlmodel(metadata, "anomaly-detector", "berth_anomaly_detector", &outputs)
}

/// [`mlmodel`] of a model that its loader alone can read; outputs by type and name.
fn plain_mlmodel(
    metadata: &ArtifactMetadata,
    model: &'static str,
    loader: &str,
    outputs: &[(&str, &str)],
) -> Result<String, ModelError> {
    let column = |kind: &str, name: &str| json!({"type": kind, "name": name, "required": true});
    let inputs: Vec<_> = metadata.features.iter().map(|name| column("float", name)).collect();
    let inputs =
        serde_json::to_string(&inputs).map_err(|reason| ModelError::library(model, "write its signature", reason))?;
    let outputs: serde_json::Value = outputs.iter().map(|(kind, name)| column(kind, name)).collect();
    Ok(format!(
        "flavors:\n  python_function:\n    code: code\n    env:\n      virtualenv: requirements.txt\n    loader_module: \
         {loader}\nmodel_uuid: {}\nsignature:\n  inputs: '{}'\n  outputs: '{}'\n  params: null\n\
         utc_time_created: '{}'\n",
        model_id(metadata),
        quoted(&inputs),
        quoted(&outputs.to_string()),
        quoted(&metadata.trained_at)
    ))
}

/// A single quote inside a single-quoted YAML text is written twice.
fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// 32 hexadecimal digits from the hashes of the files.
fn model_id(metadata: &ArtifactMetadata) -> String {
    let hashes: Vec<String> = metadata.files.iter().map(|(name, digest)| format!("{name} {}", digest.sha256)).collect();
    super::schema_hash(&hashes)[..32].to_owned()
}
