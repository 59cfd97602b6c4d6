use crate::types::*;
use crate::{RunQuery, TrackingError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::path::Path;

/// Where experiments, runs, artifacts and model versions are kept.
///
/// The embedded store and MLflow mean the same by each call; one conformance suite holds them to it. Artifact paths are
/// relative, with `/`, without `..`; the empty path is the run's whole artifact folder.
///
/// # Errors
/// Every call: [`TrackingError::NotFound`] when what it names does not exist, [`TrackingError::Invalid`] when a name,
/// path or length is not acceptable (nothing is then written), [`TrackingError::Refused`] with the server's own words,
/// [`TrackingError::Away`] when a read needs a server that cannot be reached, and errors of database and files.
#[async_trait]
pub trait Tracker: Send + Sync {
    /// What and where this is, without secrets: `SQLite .berth/tracking/berth.db`.
    fn describe(&self) -> String;

    /// The experiment of this name; it is made when there is none.
    async fn experiment(&self, name: &str) -> Result<Experiment, TrackingError>;

    /// All experiments by name.
    async fn experiments(&self) -> Result<Vec<Experiment>, TrackingError>;

    /// Starts a run.
    async fn create_run(&self, run: NewRun) -> Result<RunInfo, TrackingError>;

    /// Ends a run, or sets it going again.
    async fn set_status(
        &self,
        run_id: &str,
        status: RunStatus,
        ended_at: Option<DateTime<Utc>>,
    ) -> Result<(), TrackingError>;

    /// Logs metrics, parameters and tags. See [`Batch`] for what happens twice.
    async fn log_batch(&self, run_id: &str, batch: &Batch) -> Result<(), TrackingError>;

    /// A run with everything that it logged.
    async fn run(&self, run_id: &str) -> Result<Run, TrackingError>;

    /// Runs that match.
    async fn search_runs(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError>;

    /// All points of one metric by step, then time. Empty when the run never logged it.
    async fn metric_history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>, TrackingError>;

    /// Keeps some bytes as an artifact; an older one of this path is replaced.
    async fn log_artifact(&self, run_id: &str, path: &str, bytes: Vec<u8>) -> Result<(), TrackingError>;

    /// Keeps a file as an artifact.
    async fn log_artifact_file(&self, run_id: &str, path: &str, file: &Path) -> Result<(), TrackingError> {
        let bytes = tokio::fs::read(file).await.map_err(|source| TrackingError::io("read", file, source))?;
        self.log_artifact(run_id, path, bytes).await
    }

    /// Keeps every file below a folder; `path` is where the folder's content goes.
    async fn log_artifacts(&self, run_id: &str, path: &str, folder: &Path) -> Result<(), TrackingError> {
        for (relative, file) in crate::paths::files_below(folder)? {
            self.log_artifact_file(run_id, &crate::paths::join(path, &relative), &file).await?;
        }
        Ok(())
    }

    /// What lies directly in a folder of a run's artifacts, by path. Empty when there is no such folder.
    async fn artifacts(&self, run_id: &str, path: &str) -> Result<Vec<Artifact>, TrackingError>;

    /// The bytes of an artifact.
    async fn fetch_artifact(&self, run_id: &str, path: &str) -> Result<Vec<u8>, TrackingError>;

    /// Writes every artifact below `path` into a folder; returns how many. None is an error.
    async fn fetch_artifacts(&self, run_id: &str, path: &str, to: &Path) -> Result<usize, TrackingError> {
        let mut folders = vec![path.to_owned()];
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for artifact in self.artifacts(run_id, &folder).await? {
                if artifact.is_folder {
                    folders.push(artifact.path);
                    continue;
                }
                let relative = artifact.path.strip_prefix(path).unwrap_or(&artifact.path).trim_start_matches('/');
                crate::paths::check(relative)?;
                let bytes = self.fetch_artifact(run_id, &artifact.path).await?;
                runtime::files::write_atomic(&to.join(relative), |writer| std::io::Write::write_all(writer, &bytes))?;
                count += 1;
            }
        }
        if count == 0 {
            return Err(TrackingError::not_found("artifact", format!("{run_id}/{path}")));
        }
        Ok(count)
    }

    /// The registered model of this name; it is made when there is none. An existing description stays.
    async fn register_model(&self, name: &str, description: &str) -> Result<RegisteredModel, TrackingError>;

    /// A registered model with its aliases.
    async fn registered_model(&self, name: &str) -> Result<RegisteredModel, TrackingError>;

    /// All registered models by name.
    async fn registered_models(&self) -> Result<Vec<RegisteredModel>, TrackingError>;

    /// Registers a version from the artifacts of a run.
    async fn create_version(&self, version: NewVersion) -> Result<ModelVersion, TrackingError>;

    /// A version of a model.
    async fn version(&self, model: &str, version: &str) -> Result<ModelVersion, TrackingError>;

    /// All versions of a model, newest first.
    async fn versions(&self, model: &str) -> Result<Vec<ModelVersion>, TrackingError>;

    /// The version that an alias points at.
    async fn version_by_alias(&self, model: &str, alias: &str) -> Result<ModelVersion, TrackingError>;

    /// Points an alias at a version, and keeps who did it and why. Pointing it where it points changes nothing.
    async fn set_alias(
        &self,
        model: &str,
        alias: &str,
        version: &str,
        decision: &Decision,
    ) -> Result<(), TrackingError>;

    /// Takes an alias away, and keeps who did it and why. Changes nothing when there is none.
    async fn delete_alias(&self, model: &str, alias: &str, decision: &Decision) -> Result<(), TrackingError>;

    /// Every move of every alias of a model, oldest first.
    async fn alias_history(&self, model: &str) -> Result<Vec<AliasChange>, TrackingError>;

    /// Sets a tag of a version; the newest value counts.
    async fn set_version_tag(&self, model: &str, version: &str, key: &str, value: &str) -> Result<(), TrackingError>;

    /// Writes the files of a version into a folder; returns how many.
    async fn fetch_version(&self, model: &str, version: &str, to: &Path) -> Result<usize, TrackingError> {
        let version = self.version(model, version).await?;
        self.fetch_artifacts(&version.run_id, &version.artifact_path, to).await
    }

    /// What waits to be sent to a server. Always nothing for the embedded store.
    async fn waiting(&self) -> Result<Waiting, TrackingError> {
        Ok(Waiting::default())
    }

    /// Tries now to send what waits, and tells what still does. A server that is away is no error here.
    async fn flush(&self) -> Result<Waiting, TrackingError> {
        self.waiting().await
    }
}
