//! A detector's folder, as `trainer` writes it: read and checked.

use crate::plan::InputPlan;
use anyhow::Context;
use models::anomaly::{DETECTOR_FILE, Detector};
use models::artifact::{Artifact, ArtifactMetadata};
use std::path::Path;

/// A detector with what it reads.
#[derive(Debug, Clone)]
pub struct LoadedDetector {
    /// The detector.
    pub detector: Detector,
    /// What it reads.
    pub plan: InputPlan,
    /// What it is.
    pub metadata: ArtifactMetadata,
    /// Where it came from, for people: a folder or a registered version.
    pub origin: String,
}

impl LoadedDetector {
    /// Reads a folder: every file against its hash, the features against their schema.
    ///
    /// # Errors
    /// When the folder is no artifact, is damaged, or holds another model.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let refused = || format!("`{}` is no usable anomaly detector", folder.display());
        let artifact = Artifact::from_blobs(runtime::files::read_folder(folder)?).with_context(refused)?;
        let detector = artifact.anomaly_detector().with_context(refused)?;
        Self::of(detector, artifact.metadata().clone(), folder.display().to_string()).with_context(refused)
    }

    /// From a detector that was read and checked already.
    ///
    /// # Errors
    /// See [`InputPlan::of`].
    pub fn of(detector: Detector, metadata: ArtifactMetadata, origin: String) -> anyhow::Result<Self> {
        Ok(Self { plan: InputPlan::of(&metadata, &detector)?, detector, metadata, origin })
    }

    /// The beginning of the hash of the document that says how the detector's files belong together: names the model in
    /// results.
    pub fn short_hash(&self) -> &str {
        self.metadata.files.get(DETECTOR_FILE).and_then(|digest| digest.sha256.get(..12)).unwrap_or("unknown")
    }
}
