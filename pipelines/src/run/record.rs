//! What is remembered of runs and steps.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A step's last good result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// In which run.
    pub run: String,
    /// What went in, in words, and its hash. The same inputs again give the same result.
    pub inputs: BTreeMap<String, String>,
    /// Files and folders that came out.
    pub artifacts: BTreeMap<String, ArtifactRecord>,
    /// Values that came out.
    pub parameters: BTreeMap<String, Value>,
    /// How long it took.
    pub seconds: f64,
}

/// A file or folder that a step wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Relative to the folder that holds all runs.
    pub path: PathBuf,
    /// Content hash.
    pub sha256: String,
    /// Such as `system.Model`.
    pub kind: String,
}

/// A run: what it was asked, how far it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// Values of the pipeline's parameters.
    pub parameters: BTreeMap<String, Value>,
    /// RFC 3339.
    pub started_at: String,
    /// How long all of it took.
    pub seconds: f64,
    /// How it ended.
    pub state: RunState,
    /// The steps in the order of the plan.
    pub steps: Vec<StepReport>,
    /// The run's folder.
    pub folder: PathBuf,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is going on, or its runner was killed.
    Running,
    /// All steps ended well or did not need to run.
    Done,
    /// A gate said no; nothing else failed.
    Refused,
    /// A step failed.
    Failed,
    /// It was asked to stop.
    Stopped,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub state: StepState,
    /// How long it took, all attempts and pauses.
    pub seconds: f64,
    /// How often it was started.
    pub attempts: u32,
    /// Why it ran, was skipped, failed or was not run.
    pub reason: String,
    /// What it wrote to standard output and standard error.
    pub log: Option<PathBuf>,
    /// Files and folders that came out; of a gate that said no, those that it wrote.
    pub artifacts: BTreeMap<String, PathBuf>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It ended well.
    Done,
    /// An earlier result stands.
    Skipped,
    /// It is a gate and said no.
    Refused,
    /// It failed, also when tried again.
    Failed,
    /// The run was asked to stop.
    Stopped,
    /// Something before it did not end well, or it was not asked for.
    NotRun,
}

impl StepState {
    /// Whether what depends on the step may run.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::NotRun => "not run",
        })
    }
}
