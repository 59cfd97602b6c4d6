//! Why an artifact was refused.

use crate::ModelError;

/// An artifact that must not serve. Whoever loads it keeps what was in service before.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no metadata.
    #[error("the artifact has no `metadata.json`, so nothing proves what it is. It has: {}", .files.join(", "))]
    NoMetadata {
        /// The files there are.
        files: Vec<String>,
    },
    /// The metadata cannot be read.
    #[error("`metadata.json` is damaged or not ours")]
    Metadata {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A format of another age.
    #[error(
        "the artifact has format version {got}, this program reads {expected}. Train the model again with this program"
    )]
    FormatVersion {
        /// What this program reads.
        expected: u32,
        /// What the artifact says.
        got: u32,
    },
    /// Another model.
    #[error("the artifact is a `{got}`, expected a `{expected}`")]
    Name {
        /// What was asked for.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The feature list and its hash disagree.
    #[error(
        "the artifact's feature list has hash `{computed}`, its metadata says `{stated}`: the list was changed after training"
    )]
    SchemaHash {
        /// In the metadata.
        stated: String,
        /// Of the list.
        computed: String,
    },
    /// The features are not those of the caller.
    #[error(
        "the model reads {model} features, there are {offered} here; {difference}. Train the model again on these features, or build the features that it was trained on"
    )]
    Features {
        /// How many the model reads.
        model: usize,
        /// How many there are.
        offered: usize,
        /// The first difference in words.
        difference: String,
    },
    /// A listed file is absent.
    #[error("the artifact lacks `{file}`, which its metadata lists")]
    MissingFile {
        /// Which.
        file: String,
    },
    /// A file was changed or cut.
    #[error(
        "`{file}` of the artifact is damaged: it has {got_bytes} bytes with SHA-256 `{got}`, its metadata says {expected_bytes} bytes with `{expected}`"
    )]
    Hash {
        /// Which.
        file: String,
        /// In the metadata.
        expected: String,
        /// Of the bytes.
        got: String,
        /// In the metadata.
        expected_bytes: u64,
        /// Of the bytes.
        got_bytes: u64,
    },
    /// The files are whole, but no model comes out of them.
    #[error("the artifact's model cannot be loaded")]
    Model {
        /// Why.
        #[from]
        source: ModelError,
    },
}
