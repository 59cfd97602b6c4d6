//! The artifact `anomaly-detector`.

use super::{AnomalySettings, TrainedDetector, VoteChoice};
use anyhow::Context;
use models::Importance;
use models::anomaly::{DETECTOR_FILE, Detector, Vote};
use models::artifact::{Artifact, ArtifactDraft, ArtifactMetadata, DatasetReference};
use std::collections::BTreeMap;
use std::path::Path;
use store::DatasetVersion;

/// An anomaly detector's folder that was read and checked.
#[derive(Debug, Clone)]
pub struct DetectorFolder {
    /// What it is.
    pub metadata: ArtifactMetadata,
    /// The detector.
    pub detector: Detector,
    /// The first moment that it has learned nothing from, in UTC milliseconds.
    pub trained_until: i64,
    /// Names what it answers: SHA-256 over the files that decide.
    pub hash: String,
}

/// As the load predictor's metadata has it.
const TRAINED_UNTIL: &str = "trained_until_ms";

/// Seals a trained detector.
///
/// # Errors
/// What an encoder refuses.
pub fn seal_detector(
    trained: &TrainedDetector,
    dataset: &DatasetVersion,
    settings: &AnomalySettings,
    trained_at: &str,
) -> anyhow::Result<Artifact> {
    let mut hyper_parameters: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    let table = serde_json::to_value(settings)?;
    hyper_parameters.extend(table.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    hyper_parameters.insert(TRAINED_UNTIL.to_owned(), trained.test.from.into());
    let kind = if settings.extension == 0 { "isolation forests" } else { "extended isolation forests" };
    let chosen = match trained.choice {
        VoteChoice::ByEvidence(_) => "vote and threshold by labelled and injected incidents",
        VoteChoice::ByShare(_) => "threshold by a stated share of readings",
    };
    let draft = ArtifactDraft {
        algorithm: format!("ensemble of {} members, {kind} and lengths, {chosen}", trained.detector.members().len()),
        code: format!("trainer {}", env!("CARGO_PKG_VERSION")),
        trained_at: trained_at.to_owned(),
        training_seconds: trained.seconds,
        dataset: DatasetReference { id: dataset.id.clone(), hash: dataset.hash.clone() },
        hyper_parameters,
        metrics: trained.scores.figures().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        top_features: weights(&trained.detector),
        ..ArtifactDraft::default()
    };
    Ok(Artifact::of_anomaly_detector(&trained.detector, draft)?)
}

/// The members by their share of the weights or factors of a learned vote, since features have none of their own.
fn weights(detector: &Detector) -> Vec<Importance> {
    let (Vote::Weighted(weights) | Vote::Scaled(weights)) = detector.vote() else { return Vec::new() };
    let sum: f32 = weights.iter().sum();
    let mut shares: Vec<Importance> = detector
        .members()
        .iter()
        .zip(weights)
        .map(|(member, weight)| Importance { feature: member.name.clone(), share: f64::from(*weight / sum) })
        .collect();
    shares.sort_by(|left, right| right.share.total_cmp(&left.share));
    shares
}

/// Reads the folder and checks it: every file against its hash, the features against their schema.
///
/// # Errors
/// When the folder is no artifact, is damaged, or holds another model.
pub fn read_detector(folder: &Path) -> anyhow::Result<DetectorFolder> {
    let refused = || format!("`{}` is no usable anomaly detector", folder.display());
    let artifact = Artifact::from_blobs(runtime::files::read_folder(folder)?).with_context(refused)?;
    let detector = artifact.anomaly_detector().with_context(refused)?;
    let metadata = artifact.metadata().clone();
    let trained_until = metadata
        .hyper_parameters
        .get(TRAINED_UNTIL)
        .and_then(serde_json::Value::as_i64)
        .with_context(|| format!("{}: it does not say until when it has learned (`{TRAINED_UNTIL}`)", refused()))?;
    let decides = |name: &str| name == DETECTOR_FILE || name.ends_with(".bin") || name.ends_with(".ubj");
    let lines: String = metadata
        .files
        .iter()
        .filter(|(name, _)| decides(name))
        .map(|(name, digest)| format!("{} {name}\n", digest.sha256))
        .collect();
    let hash = runtime::files::sha256(lines.as_bytes());
    Ok(DetectorFolder { metadata, detector, trained_until, hash })
}
