//! Packing and checking.

use super::metadata::{ArtifactDraft, ArtifactMetadata, FORMAT_VERSION, FileDigest, schema_hash};
use super::{ANOMALY_DETECTOR, ArtifactError, LOAD_PREDICTOR, PLACEMENT_AGENT};
use crate::ModelError;
use crate::anomaly::{DETECTOR_FILE, Detector, Scorer};
use crate::load::LoadPredictor;
use crate::placement::{NETWORK_FILE, PlacementNetwork};
use std::collections::BTreeMap;

/// Where the metadata lies among the blobs.
pub const METADATA_FILE: &str = "metadata.json";

/// Model files with metadata that fits them.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    metadata: ArtifactMetadata,
    files: BTreeMap<String, Vec<u8>>,
}

impl Artifact {
    /// Seals `files`: their hashes go into the metadata. Files added to the folder later (a report) are not part of it.
    pub fn new(draft: ArtifactDraft, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { metadata: ArtifactMetadata::new(draft, &files), files }
    }

    /// Seals a load predictor with everything that other programs need to read it: the boosters, `MLmodel`, the Python
    /// loader and `MODEL_CARD.md`. Name, features and top features are filled in.
    ///
    /// # Errors
    /// What an encoder refuses.
    pub fn of_load_predictor(predictor: &LoadPredictor, mut draft: ArtifactDraft) -> Result<Self, ArtifactError> {
        draft.name = LOAD_PREDICTOR.to_owned();
        draft.features = predictor.features().to_vec();
        if draft.top_features.is_empty() {
            draft.top_features = predictor.importance().into_iter().take(20).collect();
        }
        let mut files = predictor.to_files()?;
        let text = |files: &mut BTreeMap<String, Vec<u8>>, name: &str, text: String| {
            files.insert(name.to_owned(), text.into_bytes())
        };
        text(&mut files, super::PYTHON_LOADER_FILE, super::python_loader().to_owned());
        text(&mut files, super::REQUIREMENTS_FILE, super::requirements());
        let metadata = ArtifactMetadata::new(draft.clone(), &files);
        text(&mut files, super::MLMODEL_FILE, super::mlmodel(&metadata, predictor)?);
        text(&mut files, super::MODEL_CARD_FILE, super::model_card(&metadata));
        Ok(Self::new(draft, files))
    }

    /// Seals a placement agent with everything that other programs need to read it. Name and features are filled in.
    ///
    /// # Errors
    /// A signature that JSON cannot hold.
    pub fn of_placement_agent(network: &PlacementNetwork, mut draft: ArtifactDraft) -> Result<Self, ArtifactError> {
        draft.name = PLACEMENT_AGENT.to_owned();
        draft.features = network.features().to_vec();
        let mut files = BTreeMap::from([(NETWORK_FILE.to_owned(), network.to_bytes())]);
        files.insert(super::PLACEMENT_LOADER_FILE.to_owned(), super::mlmodel::placement_loader().into());
        files.insert(super::REQUIREMENTS_FILE.to_owned(), super::mlmodel::plain_requirements().into());
        let metadata = ArtifactMetadata::new(draft.clone(), &files);
        files.insert(super::MLMODEL_FILE.to_owned(), super::mlmodel::placement_mlmodel(&metadata)?.into_bytes());
        files.insert(super::MODEL_CARD_FILE.to_owned(), super::model_card(&metadata).into_bytes());
        Ok(Self::new(draft, files))
    }

    /// Seals an anomaly detector with everything that other programs need to read it. Name and features are filled in.
    ///
    /// # Errors
    /// What an encoder refuses.
    pub fn of_anomaly_detector(detector: &Detector, mut draft: ArtifactDraft) -> Result<Self, ArtifactError> {
        draft.name = ANOMALY_DETECTOR.to_owned();
        draft.features = detector.features().to_vec();
        let mut files = detector.to_files()?;
        files.insert(super::ANOMALY_LOADER_FILE.to_owned(), super::mlmodel::anomaly_loader().into());
        let has_classifier = detector.members().iter().any(|member| matches!(member.scorer, Scorer::Classifier(_)));
        let requirements =
            if has_classifier { super::requirements() } else { super::mlmodel::plain_requirements().to_owned() };
        files.insert(super::REQUIREMENTS_FILE.to_owned(), requirements.into_bytes());
        let metadata = ArtifactMetadata::new(draft.clone(), &files);
        files.insert(super::MLMODEL_FILE.to_owned(), super::mlmodel::anomaly_mlmodel(&metadata)?.into_bytes());
        files.insert(super::MODEL_CARD_FILE.to_owned(), super::model_card(&metadata).into_bytes());
        Ok(Self::new(draft, files))
    }

    /// The placement agent's network in it.
    ///
    /// # Errors
    /// Another model, a file from which no network comes, a network with other features than the metadata says.
    pub fn placement_agent(&self) -> Result<PlacementNetwork, ArtifactError> {
        if self.metadata.name != PLACEMENT_AGENT {
            return Err(ArtifactError::Name { expected: PLACEMENT_AGENT.to_owned(), got: self.metadata.name.clone() });
        }
        let file =
            self.files.get(NETWORK_FILE).ok_or_else(|| ArtifactError::MissingFile { file: NETWORK_FILE.into() })?;
        let network = PlacementNetwork::from_bytes(file)?;
        if network.features() != &self.metadata.features[..] {
            return Err(ModelError::damaged(NETWORK_FILE, "its features are not those of the metadata").into());
        }
        Ok(network)
    }

    /// The anomaly detector in it.
    ///
    /// # Errors
    /// Another model, files from which no detector comes, a detector with other features than the metadata says.
    pub fn anomaly_detector(&self) -> Result<Detector, ArtifactError> {
        if self.metadata.name != ANOMALY_DETECTOR {
            return Err(ArtifactError::Name { expected: ANOMALY_DETECTOR.to_owned(), got: self.metadata.name.clone() });
        }
        let detector = Detector::from_files(&self.files)?;
        if detector.features()[..] != self.metadata.features[..] {
            return Err(ModelError::damaged(DETECTOR_FILE, "its features are not those of the metadata").into());
        }
        Ok(detector)
    }

    /// What it is.
    pub fn metadata(&self) -> &ArtifactMetadata {
        &self.metadata
    }

    /// The files without the metadata, by name.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Every blob to write, `metadata.json` included. Write it last: a folder without it is refused.
    ///
    /// # Errors
    /// Metadata that JSON cannot hold.
    pub fn into_blobs(self) -> Result<BTreeMap<String, Vec<u8>>, ArtifactError> {
        let mut blobs = self.files;
        let mut text =
            serde_json::to_vec_pretty(&self.metadata).map_err(|source| ArtifactError::Metadata { source })?;
        text.push(b'\n');
        blobs.insert(METADATA_FILE.to_owned(), text);
        Ok(blobs)
    }

    /// Reads and checks: format, feature list against its hash, every listed file against its size and hash. Blobs that
    /// the metadata does not list are left out.
    ///
    /// # Errors
    /// [`ArtifactError`] with what is wrong.
    pub fn from_blobs(mut blobs: BTreeMap<String, Vec<u8>>) -> Result<Self, ArtifactError> {
        let Some(text) = blobs.remove(METADATA_FILE) else {
            return Err(ArtifactError::NoMetadata { files: blobs.into_keys().collect() });
        };
        let version: FormatVersion =
            serde_json::from_slice(&text).map_err(|source| ArtifactError::Metadata { source })?;
        if version.format_version != FORMAT_VERSION {
            return Err(ArtifactError::FormatVersion { expected: FORMAT_VERSION, got: version.format_version });
        }
        let metadata: ArtifactMetadata =
            serde_json::from_slice(&text).map_err(|source| ArtifactError::Metadata { source })?;
        let computed = schema_hash(&metadata.features);
        if computed != metadata.feature_schema_hash {
            return Err(ArtifactError::SchemaHash { stated: metadata.feature_schema_hash, computed });
        }
        let mut files = BTreeMap::new();
        for (name, digest) in &metadata.files {
            let bytes = blobs.remove(name).ok_or_else(|| ArtifactError::MissingFile { file: name.clone() })?;
            let got = FileDigest::of(&bytes);
            if got != *digest {
                return Err(ArtifactError::Hash {
                    file: name.clone(),
                    expected: digest.sha256.clone(),
                    got: got.sha256,
                    expected_bytes: digest.bytes,
                    got_bytes: got.bytes,
                });
            }
            files.insert(name.clone(), bytes);
        }
        Ok(Self { metadata, files })
    }

    /// The load predictor in it.
    ///
    /// # Errors
    /// Another model, files from which no predictor comes, a predictor with other features than the metadata says.
    pub fn load_predictor(&self) -> Result<LoadPredictor, ArtifactError> {
        if self.metadata.name != LOAD_PREDICTOR {
            return Err(ArtifactError::Name { expected: LOAD_PREDICTOR.to_owned(), got: self.metadata.name.clone() });
        }
        let predictor = LoadPredictor::from_files(&self.files)?;
        if predictor.features()[..] != self.metadata.features[..] {
            return Err(
                ModelError::damaged(crate::load::HEADS_FILE, "its features are not those of the metadata").into()
            );
        }
        Ok(predictor)
    }

    /// Checks that `offered`, the features that the caller can build, are the model's, in order.
    ///
    /// # Errors
    /// [`ArtifactError::Features`] with the first difference.
    pub fn expect_features(&self, offered: &[String]) -> Result<(), ArtifactError> {
        let model = &self.metadata.features;
        if model == offered {
            return Ok(());
        }
        let difference = match model.iter().zip(offered).position(|(model, offered)| model != offered) {
            Some(at) => format!(
                "the first that differs is number {at}: the model reads `{}`, here is `{}`",
                model[at], offered[at]
            ),
            None => format!("the first {} agree", model.len().min(offered.len())),
        };
        Err(ArtifactError::Features { model: model.len(), offered: offered.len(), difference })
    }
}

/// The one field that is read before the rest, so that another format gets its own message.
#[derive(serde::Deserialize)]
struct FormatVersion {
    format_version: u32,
}
