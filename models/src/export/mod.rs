//! Models in formats that other programs read: XGBoost's own and ONNX.
//!
//! - Load predictor: each booster as XGBoost UBJ and JSON and as ONNX (`TreeEnsembleRegressor`). A booster gives what is added
//!   to the baseline of its head; baselines and the correction of the upper quantile stand in `heads.json`.
//! - Placement agent: the whole network as ONNX.

mod messages;
mod network;
mod trees;

use crate::ModelError;
use crate::artifact::{ANOMALY_DETECTOR, Artifact, ArtifactError, LOAD_PREDICTOR, PLACEMENT_AGENT};
use crate::learners::BoostedTrees;
use crate::load::{LoadPredictor, Quantile};
use crate::placement::PlacementNetwork;
use std::collections::BTreeMap;

/// The files of an artifact, by name.
///
/// # Errors
/// An artifact that is damaged; [`ModelError::Unsupported`] for the anomaly detector, whose calibrated vote no interchange
/// format has words for.
pub fn export(artifact: &Artifact) -> Result<BTreeMap<String, Vec<u8>>, ArtifactError> {
    match artifact.metadata().name.as_str() {
        LOAD_PREDICTOR => Ok(predictor(&artifact.load_predictor()?)?),
        PLACEMENT_AGENT => {
            Ok(BTreeMap::from([(format!("{PLACEMENT_AGENT}.onnx"), agent(&artifact.placement_agent()?))]))
        }
        _ => Err(ModelError::Unsupported {
            learner: ANOMALY_DETECTOR,
            action: "be exported".to_owned(),
            hint: "No interchange format has words for its calibrated vote; its artifact is JSON and forests of straight splits",
        }
        .into()),
    }
}

/// Each booster of each head as `HEAD-QUANTILE.ubj`, `.json` and `.onnx`, and `heads.json`.
///
/// # Errors
/// What an encoder refuses.
pub fn predictor(predictor: &LoadPredictor) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    let mut files = predictor.to_files()?;
    for head in predictor.heads() {
        for quantile in [Quantile::P50, Quantile::P90] {
            let Some((booster, _)) = head.booster(quantile) else { continue };
            let name = format!("{}-{}", head.key().slug(), quantile.as_str());
            let trees = BoostedTrees::from_bytes(&name, &booster.to_bytes()?, booster.features())?;
            files.insert(format!("{name}.onnx"), booster_onnx(&name, &trees)?);
            files.insert(format!("{name}.json"), trees.to_xgboost_json()?);
        }
    }
    Ok(files)
}

/// A booster as ONNX: an input `features` of any number of rows, NaN where unknown; an output `value` with one number each.
///
/// # Errors
/// What the encoder refuses.
pub fn booster_onnx(name: &str, booster: &BoostedTrees) -> Result<Vec<u8>, ModelError> {
    trees::onnx(name, &booster.to_xgboost_json()?, crate::Regressor::features(booster).len())
}

/// The agent as ONNX: an input `features` of any number of rows, an output `value` with one number each.
pub fn agent(network: &PlacementNetwork) -> Vec<u8> {
    network::onnx(network)
}
