//! The words of the trait: MLflow's, with its meanings.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Tags or parameters by key.
pub type Labels = BTreeMap<String, String>;

/// A group of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experiment {
    /// Unique in its store.
    pub id: String,
    /// Unique too.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    /// Still going.
    Running,
    /// Waiting to start.
    Scheduled,
    /// Done.
    Finished,
    /// Ended by an error.
    Failed,
    /// Ended from outside.
    Killed,
}

impl RunStatus {
    /// MLflow's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Scheduled => "SCHEDULED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RunStatus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Running, Self::Scheduled, Self::Finished, Self::Failed, Self::Killed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no run status"))
    }
}

/// A run to be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// The experiment's id.
    pub experiment_id: String,
    /// Shown in lists; need not be unique.
    pub name: String,
    /// The run that this one is nested in.
    pub parent_id: Option<String>,
    /// Tags from the start.
    pub tags: Labels,
    /// When it started.
    pub started_at: DateTime<Utc>,
}

impl NewRun {
    /// A run that starts now.
    pub fn new(experiment_id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            experiment_id: experiment_id.into(),
            name: name.into(),
            parent_id: None,
            tags: Labels::new(),
            started_at: now(),
        }
    }

    /// The same, nested in another run.
    #[must_use]
    pub fn nested_in(mut self, parent_id: impl Into<String>) -> Self {
        self.parent_id = Some(parent_id.into());
        self
    }

    /// The same with one more tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}

/// What a run is, without what it logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Unique in its store.
    pub id: String,
    /// The experiment's id.
    pub experiment_id: String,
    /// Shown in lists.
    pub name: String,
    /// How it stands.
    pub status: RunStatus,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended, if it did.
    pub ended_at: Option<DateTime<Utc>>,
    /// The run that it is nested in.
    pub parent_id: Option<String>,
    /// Where its artifacts are: a folder, or `mlflow-artifacts:/…`.
    pub artifact_uri: String,
}

/// A run with everything that it logged; of each metric the latest value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Name, status, times.
    pub info: RunInfo,
    /// Parameters by key.
    pub params: Labels,
    /// The latest point of each metric (greatest step, then greatest time) by key.
    pub metrics: BTreeMap<String, Metric>,
    /// Tags by key.
    pub tags: Labels,
}

/// One point of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name: letters, digits, `_ - . space : /`.
    pub key: String,
    /// May be NaN or infinite.
    #[serde(with = "crate::number")]
    pub value: f64,
    /// When it was measured, to the millisecond.
    pub at: DateTime<Utc>,
    /// Position on the x axis of its chart.
    pub step: i64,
}

impl Metric {
    /// A point measured now, at step 0.
    pub fn now(key: impl Into<String>, value: f64) -> Self {
        Self { key: key.into(), value, at: now(), step: 0 }
    }

    /// The same at another step.
    #[must_use]
    pub fn at_step(mut self, step: i64) -> Self {
        self.step = step;
        self
    }
}

/// What is logged to a run in one go. Any length: a backend with limits cuts it.
///
/// Writing the same batch twice has the effect of writing it once. A parameter keeps its first value: another one is
/// an error. A tag takes its newest value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Points of metrics.
    pub metrics: Vec<Metric>,
    /// Parameters by key.
    pub params: Labels,
    /// Tags by key.
    pub tags: Labels,
}

/// A file or folder among the artifacts of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// From the run's artifact folder, with `/`.
    pub path: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Its size; `None` for a folder.
    pub bytes: Option<u64>,
}

/// A name under which versions of one model are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredModel {
    /// Unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Version by alias.
    pub aliases: Labels,
}

/// A version to be registered from the artifacts of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewVersion {
    /// The registered model's name; it must exist.
    pub model: String,
    /// The run that holds the files.
    pub run_id: String,
    /// Folder of the model among the run's artifacts, such as `model`.
    pub artifact_path: String,
    /// What is special about it.
    pub description: String,
    /// Tags from the start.
    pub tags: Labels,
}

/// A version of a registered model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The registered model's name.
    pub model: String,
    /// A whole number as text, or `pending-…` while it waits for a server that is away.
    pub version: String,
    /// The run that it came from.
    pub run_id: String,
    /// Folder of the model among the run's artifacts.
    pub artifact_path: String,
    /// What is special about it.
    pub description: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Tags by key.
    pub tags: Labels,
    /// The aliases that point at it.
    pub aliases: Vec<String>,
}

/// Who moved an alias, and why: kept for ever, so that a promotion can be judged and taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// A person or a program.
    pub who: String,
    /// In a sentence.
    pub why: String,
    /// What it rests on, such as the figures of a validation. With the rest at most 4500 bytes of JSON.
    pub evidence: serde_json::Value,
}

impl Decision {
    /// A decision without evidence beyond its reason.
    pub fn new(who: impl Into<String>, why: impl Into<String>) -> Self {
        Self { who: who.into(), why: why.into(), evidence: serde_json::Value::Null }
    }
}

/// One move of an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AliasChange {
    /// Unique.
    pub id: String,
    /// Which alias.
    pub alias: String,
    /// What it pointed at before, if anything.
    pub from: Option<String>,
    /// What it points at since; `None` when it was taken away.
    pub to: Option<String>,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// Who and why.
    #[serde(flatten)]
    pub decision: Decision,
}

/// A move of an alias that is about to be made. Its id and time are chosen once, so that making it again changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasMove {
    pub(crate) id: String,
    pub(crate) alias: String,
    /// `None` takes the alias away.
    pub(crate) to: Option<String>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) decision: Decision,
}

impl AliasMove {
    pub(crate) fn now(alias: &str, to: Option<&str>, decision: &Decision) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self { id, alias: alias.to_owned(), to: to.map(str::to_owned), at: now(), decision: decision.clone() }
    }

    /// The entry of the history, once it is known where the alias pointed before.
    pub(crate) fn change(&self, from: Option<String>) -> AliasChange {
        let (id, alias, to) = (self.id.clone(), self.alias.clone(), self.to.clone());
        AliasChange { id, alias, from, to, at: self.at, decision: self.decision.clone() }
    }
}

/// What waits to be sent to a server that is away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Writes not yet sent.
    pub writes: u64,
    /// When the oldest of them was made.
    pub since: Option<DateTime<Utc>>,
    /// Writes that the server refused when they were sent later. They are kept with their reason.
    pub refused: u64,
    /// Why the last attempt to send did not work.
    pub last_error: Option<String>,
}

/// The present, to the millisecond: what every backend can keep.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
