//! What `metadata.json` says.

use crate::Importance;
use crate::load::HeadEvidence;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Raised when an older reader would misread the metadata.
pub(super) const FORMAT_VERSION: u32 = 1;

/// The data a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetReference {
    /// Id of the dataset version.
    pub id: String,
    /// Its content hash.
    pub hash: String,
}

/// One file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// What only the trainer knows about a model.
#[derive(Debug, Clone, Default)]
pub struct ArtifactDraft {
    /// Registered name, such as `load-predictor`.
    pub name: String,
    /// Semantic version; empty until it is registered.
    pub version: String,
    /// In a few words, such as `gradient-boosted trees (XGBoost)`.
    pub algorithm: String,
    /// Which program made it, such as `trainer 0.1.0`.
    pub code: String,
    /// When training began, RFC 3339.
    pub trained_at: String,
    /// Wall time of the training.
    pub training_seconds: f64,
    /// What it was trained on.
    pub dataset: DatasetReference,
    /// The features in the order of a row.
    pub features: Vec<String>,
    /// Settings by name.
    pub hyper_parameters: BTreeMap<String, serde_json::Value>,
    /// Test figures by name, such as `cpu-1h/mae`.
    pub metrics: BTreeMap<String, f64>,
    /// What mattered most.
    pub top_features: Vec<Importance>,
    /// How each head was fitted; empty for other models.
    pub heads: Vec<HeadEvidence>,
    /// See [`ArtifactMetadata::fresh_fit_of`].
    pub fresh_fit_of: Option<String>,
}

/// The metadata of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactMetadata {
    /// Version of this format.
    pub format_version: u32,
    /// Registered name, such as `load-predictor`.
    pub name: String,
    /// Semantic version; empty until it is registered.
    pub version: String,
    /// In a few words.
    pub algorithm: String,
    /// Which program made it.
    pub code: String,
    /// When training began, RFC 3339.
    pub trained_at: String,
    /// Wall time of the training.
    pub training_seconds: f64,
    /// What it was trained on.
    pub dataset: DatasetReference,
    /// The features in the order of a row.
    pub features: Vec<String>,
    /// [`schema_hash`] of the features: a change makes a new major version.
    pub feature_schema_hash: String,
    /// Settings by name.
    pub hyper_parameters: BTreeMap<String, serde_json::Value>,
    /// Test figures by name; a figure that could not be computed (NaN) is null.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// What mattered most.
    pub top_features: Vec<Importance>,
    /// How each head was fitted; empty for other models.
    pub heads: Vec<HeadEvidence>,
    /// Hash of the model that was judged, where this one is its recipe fitted once more on newer rows; figures, heads and
    /// blend are then those of that model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_fit_of: Option<String>,
    /// Every file that belongs to the model, by name.
    pub files: BTreeMap<String, FileDigest>,
}

impl ArtifactMetadata {
    pub(super) fn new(draft: ArtifactDraft, files: &BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            feature_schema_hash: schema_hash(&draft.features),
            name: draft.name,
            version: draft.version,
            algorithm: draft.algorithm,
            code: draft.code,
            trained_at: draft.trained_at,
            training_seconds: draft.training_seconds,
            dataset: draft.dataset,
            features: draft.features,
            hyper_parameters: draft.hyper_parameters,
            metrics: draft
                .metrics
                .into_iter()
                .map(|(name, value)| (name, value.is_finite().then_some(value)))
                .collect(),
            top_features: draft.top_features,
            heads: draft.heads,
            fresh_fit_of: draft.fresh_fit_of,
            files: files.iter().map(|(name, bytes)| (name.clone(), FileDigest::of(bytes))).collect(),
        }
    }
}

impl FileDigest {
    /// Of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: sha256(bytes), bytes: bytes.len() as u64 }
    }
}

/// SHA-256 over the names, each followed by a line feed: the same list in the same order has the same hash.
pub fn schema_hash(features: &[String]) -> String {
    let mut text = String::new();
    for feature in features {
        text.push_str(feature);
        text.push('\n');
    }
    sha256(text.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
