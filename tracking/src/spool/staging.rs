//! What was made while the server was away, so that it can be read until the server is back: an embedded store whose
//! ids are marked as local.

use super::operation::ExperimentOf;
use crate::embedded::Embedded;
use crate::embedded::artifacts::ArtifactFolder;
use crate::types::*;
use crate::{RunQuery, Tracker, TrackingError};
use std::path::{Path, PathBuf};

pub(super) const LOCAL: &str = "local-";
pub(super) const PENDING: &str = "pending-";

/// Stands for an experiment that the server knows, in the name of a staged one.
const OF_SERVER: &str = "server's experiment ";
/// Tags that carry through the staged store what has no place in it.
const PARENT: &str = "berth.staged.parent";
const VERSION: &str = "berth.staged.version";

pub(super) struct Staging {
    store: Embedded,
    artifacts: ArtifactFolder,
    folder: PathBuf,
}

impl Staging {
    pub(super) async fn open(root: &Path) -> Result<Self, TrackingError> {
        let folder = root.join("artifacts");
        let store = Embedded::sqlite(&root.join("staging.db"), &folder).await?;
        Ok(Self { store, artifacts: ArtifactFolder::new(&folder), folder })
    }

    pub(super) fn store(&self) -> &Embedded {
        &self.store
    }

    pub(super) async fn experiment(&self, name: &str) -> Result<Experiment, TrackingError> {
        let experiment = self.store.experiment(name).await?;
        Ok(Experiment { id: format!("{LOCAL}{}", experiment.id), ..experiment })
    }

    /// The experiment behind an id that may be local.
    pub(super) async fn experiment_of(&self, id: &str) -> Result<ExperimentOf, TrackingError> {
        let Some(number) = id.strip_prefix(LOCAL) else { return Ok(ExperimentOf::Id(id.to_owned())) };
        let known = self.store.experiments().await?.into_iter().find(|experiment| experiment.id == number);
        known
            .map(|experiment| ExperimentOf::Name(experiment.name))
            .ok_or_else(|| TrackingError::not_found("experiment", id))
    }

    pub(super) async fn create_run(&self, id: &str, run: &NewRun) -> Result<RunInfo, TrackingError> {
        let experiment = match self.experiment_of(&run.experiment_id).await? {
            ExperimentOf::Name(name) => self.store.experiment(&name).await?,
            ExperimentOf::Id(id) => self.store.experiment(&format!("{OF_SERVER}{id}")).await?,
        };
        let mut staged = NewRun { experiment_id: experiment.id, parent_id: None, ..run.clone() };
        staged.tags.extend(run.parent_id.clone().map(|parent| (PARENT.to_owned(), parent)));
        let info = self.store.create_run_as(id, staged).await?;
        Ok(RunInfo { experiment_id: run.experiment_id.clone(), parent_id: run.parent_id.clone(), ..info })
    }

    pub(super) async fn run(&self, id: &str) -> Result<Run, TrackingError> {
        let run = self.store.run(id).await?;
        self.outward(run).await
    }

    async fn outward(&self, mut run: Run) -> Result<Run, TrackingError> {
        let all = self.store.experiments().await?;
        let name = all
            .into_iter()
            .find(|known| known.id == run.info.experiment_id)
            .map(|known| known.name)
            .unwrap_or_default();
        run.info.experiment_id = match name.strip_prefix(OF_SERVER) {
            Some(id) => id.to_owned(),
            None => format!("{LOCAL}{}", run.info.experiment_id),
        };
        run.info.parent_id = run.tags.remove(PARENT);
        Ok(run)
    }

    /// Searches the runs of local experiments.
    pub(super) async fn search(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError> {
        let experiments = query.experiments.iter().map(|id| id.strip_prefix(LOCAL).unwrap_or(id).to_owned()).collect();
        let mut runs = Vec::new();
        for run in self.store.search_runs(&RunQuery { experiments, ..query.clone() }).await? {
            runs.push(self.outward(run).await?);
        }
        Ok(runs)
    }

    /// Keeps an artifact, and the same bytes once more under `link` for sending: what is logged to the same path later
    /// must not change what is sent first.
    pub(super) async fn log_artifact(
        &self,
        run_id: &str,
        path: &str,
        bytes: Vec<u8>,
        link: &Path,
    ) -> Result<(), TrackingError> {
        self.artifacts.write(run_id, path, bytes).await?;
        let staged = self.artifacts.file(run_id, path);
        // A file system without hard links gets a copy.
        std::fs::hard_link(&staged, link)
            .or_else(|_| std::fs::copy(&staged, link).map(drop))
            .map_err(|source| TrackingError::io("write", link, source))
    }

    /// Registers a version under the local id `id`.
    pub(super) async fn create_version(&self, id: &str, version: &NewVersion) -> Result<ModelVersion, TrackingError> {
        // The model and the run may be known to the server only; here they are empty shells.
        self.store.register_model(&version.model, "").await?;
        if crate::optional(self.store.run(&version.run_id).await)?.is_none() {
            let shell = self.store.experiment(&format!("{OF_SERVER}of run {}", version.run_id)).await?;
            self.store.create_run_as(&version.run_id, NewRun::new(shell.id, "known to the server")).await?;
        } else if version.run_id.starts_with(LOCAL) && !self.artifacts.exists(&version.run_id, &version.artifact_path) {
            return Err(TrackingError::not_found("artifact", format!("{}/{}", version.run_id, version.artifact_path)));
        }
        let mut staged = version.clone();
        staged.tags.insert(VERSION.into(), id.to_owned());
        Ok(outward_version(self.store.create_version_of_files_elsewhere(staged).await?))
    }

    /// The staged version with this local id, as its own store numbers it.
    async fn numbered(&self, model: &str, id: &str) -> Result<ModelVersion, TrackingError> {
        let not_found = || TrackingError::not_found("model version", format!("{model}/{id}"));
        let versions = crate::optional(self.store.versions(model).await)?.ok_or_else(not_found)?;
        versions
            .into_iter()
            .find(|version| version.tags.get(VERSION).is_some_and(|known| known == id))
            .ok_or_else(not_found)
    }

    pub(super) async fn version(&self, model: &str, id: &str) -> Result<ModelVersion, TrackingError> {
        Ok(outward_version(self.numbered(model, id).await?))
    }

    pub(super) async fn version_by_alias(&self, model: &str, alias: &str) -> Result<ModelVersion, TrackingError> {
        Ok(outward_version(self.store.version_by_alias(model, alias).await?))
    }

    /// Moves an alias to a staged version; to any other, the staged alias only goes away.
    pub(super) async fn move_alias(&self, model: &str, step: &AliasMove) -> Result<(), TrackingError> {
        match step.to.as_deref().filter(|version| version.starts_with(PENDING)) {
            Some(id) => {
                let version = self.numbered(model, id).await?;
                self.store.set_alias(model, &step.alias, &version.version, &step.decision).await
            }
            None => crate::optional(self.store.delete_alias(model, &step.alias, &step.decision).await).map(drop),
        }
    }

    pub(super) async fn set_version_tag(
        &self,
        model: &str,
        id: &str,
        key: &str,
        value: &str,
    ) -> Result<(), TrackingError> {
        let version = self.numbered(model, id).await?;
        self.store.set_version_tag(model, &version.version, key, value).await
    }

    /// Forgets what has been handed to the server: from now on the server is asked.
    pub(super) async fn handed_on(&self) -> Result<(), TrackingError> {
        self.store.forget_registry().await?;
        match std::fs::remove_dir_all(&self.folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(TrackingError::io("remove", &self.folder, source))
            }
            _ => Ok(()),
        }
    }
}

fn outward_version(mut version: ModelVersion) -> ModelVersion {
    if let Some(id) = version.tags.remove(VERSION) {
        version.version = id;
    }
    version
}
