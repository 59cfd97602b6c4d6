//! A model as a folder's content: named blobs with metadata that proves them whole and ours.
//!
//! This crate never touches a file. The trainer writes the blobs of [`Artifact::into_blobs`] into a folder, the server
//! reads a folder into blobs and hands them to [`Artifact::from_blobs`], which refuses what is damaged or foreign.

mod blobs;
mod card;
mod error;
mod metadata;
mod mlmodel;

pub use blobs::{Artifact, METADATA_FILE};
pub use card::{MODEL_CARD_FILE, model_card};
pub use error::ArtifactError;
pub use metadata::{ArtifactDraft, ArtifactMetadata, DatasetReference, FileDigest, schema_hash};
pub use mlmodel::{
    ANOMALY_LOADER_FILE, MLMODEL_FILE, PLACEMENT_LOADER_FILE, PYTHON_LOADER_FILE, REQUIREMENTS_FILE, mlmodel,
    python_loader, requirements,
};

/// The tag of a registered version that holds the SHA-256 of its `metadata.json`, in lower-case hex. The hashes of all other files stand
/// in there, beside the files: whoever can change a file can change its hash too, but not what the registry says.
pub const METADATA_SHA256_TAG: &str = "metadata_sha256";

/// The name of the placement agent in metadata and registry.
pub const PLACEMENT_AGENT: &str = "placement-agent";
/// The name of the load predictor in metadata and registry.
pub const LOAD_PREDICTOR: &str = "load-predictor";

/// The name of the anomaly detector in metadata and registry.
pub const ANOMALY_DETECTOR: &str = "anomaly-detector";
