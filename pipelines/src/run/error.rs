//! What can go wrong outside the steps.

use runtime::files::FileError;
use std::path::{Path, PathBuf};

/// A run cannot start or go on. That a step fails is no such error but a state of the step.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another runner holds the lock.
    #[error("another run is going on below `{root}`. Wait for it, or take another data root with --data")]
    Busy {
        /// The folder of all runs.
        root: PathBuf,
    },
    /// A file or folder of the run.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of an earlier run names a process that may not be its own.
    #[error(
        "`{path}` says that process {process} is a step of an earlier run, but it does not run `{program}`. End it if it is one, and remove the file"
    )]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// Its number.
        process: u32,
        /// What the step was started as.
        program: PathBuf,
    },
    /// The definition has no such parameter.
    #[error("pipeline `{pipeline}` has no parameter `{name}`. It has `{known}`")]
    UnknownParameter {
        /// The pipeline.
        pipeline: String,
        /// As given.
        name: String,
        /// What it has.
        known: String,
    },
    /// A parameter's value is of another type.
    #[error("parameter `{name}` is `{value}`, want {wanted}")]
    ParameterType {
        /// Which parameter.
        name: String,
        /// As given.
        value: String,
        /// Its type.
        wanted: crate::spec::ParameterType,
    },
    /// A parameter without default was not given.
    #[error("parameter `{name}` has no default. Give it with --param {name}=…")]
    MissingParameter {
        /// Which parameter.
        name: String,
    },
    /// The definition has no such step.
    #[error("pipeline `{pipeline}` has no step `{name}`. It has `{known}`")]
    UnknownStep {
        /// The pipeline.
        pipeline: String,
        /// As given.
        name: String,
        /// What it has.
        known: String,
    },
    /// There is no unfinished run.
    #[error("there is no unfinished run below `{root}`")]
    NothingToResume {
        /// The folder of all runs.
        root: PathBuf,
    },
    /// The unfinished run is one of another pipeline.
    #[error("unfinished run `{run}` is one of pipeline `{was}`, not of `{is}`")]
    OtherPipeline {
        /// The run.
        run: String,
        /// What it ran.
        was: String,
        /// What is asked for.
        is: String,
    },
}

impl RunError {
    /// Names what was being done to which file when `source` happened.
    pub fn file(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        FileError::new(doing, path, source).into()
    }

    /// Whether the caller asked for something that makes no sense.
    pub fn is_wrong_use(&self) -> bool {
        !matches!(self, Self::Busy { .. } | Self::File(_))
    }
}
