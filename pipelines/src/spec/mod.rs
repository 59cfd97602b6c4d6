//! The definition as the file has it. Only what the runner can execute has a field, and unknown fields are refused:
//! a definition that asks for more is rejected rather than half run.

mod pipeline;
mod platform;
mod value;

pub use pipeline::{
    ArtifactDefinition, ArtifactType, CachingOptions, Component, Container, Dag, Definitions, DeploymentSpec,
    EnvironmentVariable, Executor, InputArtifact, InputParameter, NameOf, OutputArtifactOf, OutputParameterDefinition,
    OutputParameterOf, Outputs, ParameterDefinition, PipelineInfo, PipelineSpec, Resources, RetryPolicy, Root,
    RuntimeValue, Task, TaskInputs,
};
pub use platform::{KubernetesExecutor, PlatformSpec};
pub use value::{ParameterType, parse_duration, text_of};

use serde::Deserialize;
use serde_yaml_ng as yaml;
use std::path::{Path, PathBuf};

/// The schema of the intermediate representation that this crate reads.
pub const SCHEMA_VERSION: &str = "2.1.0";

/// A definition could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file is absent or unreadable.
    #[error("failed to read pipeline definition `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no YAML, or has a field that is unknown, missing or of another type.
    #[error("pipeline definition is not valid")]
    Parse(#[source] yaml::Error),
    /// The file has no document, or more than two.
    #[error("pipeline definition has {0} YAML documents, want the pipeline and at most one with `platforms`")]
    Documents(usize),
}

/// A definition: the pipeline, and what only Kubernetes needs to know.
#[derive(Debug, Clone)]
pub struct Definition {
    /// First YAML document.
    pub pipeline: PipelineSpec,
    /// Second YAML document, empty when there is none.
    pub platform: PlatformSpec,
}

impl Definition {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is absent or not a definition; the message has line, field and reason.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        let text = std::fs::read_to_string(path).map_err(|source| SpecError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Parses the text of a definition.
    ///
    /// # Errors
    /// See [`Definition::read`].
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        // A typed map keeps the last of two equal keys without a word; the untyped value refuses them.
        for document in yaml::Deserializer::from_str(text) {
            yaml::Value::deserialize(document).map_err(SpecError::Parse)?;
        }
        let documents: Vec<_> = yaml::Deserializer::from_str(text).collect();
        let count = documents.len();
        let mut documents = documents.into_iter();
        let (Some(pipeline), platform, None) = (documents.next(), documents.next(), documents.next()) else {
            return Err(SpecError::Documents(count));
        };
        let pipeline = PipelineSpec::deserialize(pipeline).map_err(SpecError::Parse)?;
        let platform = platform.map(PlatformSpec::deserialize).transpose().map_err(SpecError::Parse)?;
        Ok(Self { pipeline, platform: platform.unwrap_or_default() })
    }
}
