//! The embedded store: one SQLite file or one PostgreSQL database, and artifacts as files.

pub(crate) mod artifacts;
mod database;
mod registry;
mod rows;
mod runs;
mod search;

use crate::types::*;
use crate::{RunQuery, Tracker, TrackingError};
use artifacts::ArtifactFolder;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use database::Database;
use std::path::Path;
use url::Url;

/// Tracking without a server.
pub struct Embedded {
    database: Database,
    artifacts: ArtifactFolder,
}

impl Embedded {
    /// Opens the store in a SQLite file, made when absent; several processes may use it at once.
    ///
    /// # Errors
    /// When the file cannot be made, is damaged or locked for long, or was written by a newer version.
    pub async fn sqlite(file: &Path, artifacts: &Path) -> Result<Self, TrackingError> {
        Ok(Self { database: Database::sqlite(file).await?, artifacts: ArtifactFolder::new(artifacts) })
    }

    /// Opens the store in a PostgreSQL database. The artifacts are still files: share their folder when several machines
    /// share the database.
    ///
    /// # Errors
    /// When the database cannot be reached or was written by a newer version.
    pub async fn postgres(url: &Url, artifacts: &Path) -> Result<Self, TrackingError> {
        Ok(Self { database: Database::postgres(url).await?, artifacts: ArtifactFolder::new(artifacts) })
    }
}

#[async_trait]
impl Tracker for Embedded {
    fn describe(&self) -> String {
        self.database.describe()
    }

    async fn experiment(&self, name: &str) -> Result<Experiment, TrackingError> {
        runs::experiment(&self.database, name).await
    }

    async fn experiments(&self) -> Result<Vec<Experiment>, TrackingError> {
        runs::experiments(&self.database).await
    }

    async fn create_run(&self, run: NewRun) -> Result<RunInfo, TrackingError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.create_run_as(&id, run).await
    }

    async fn set_status(
        &self,
        run_id: &str,
        status: RunStatus,
        ended_at: Option<DateTime<Utc>>,
    ) -> Result<(), TrackingError> {
        runs::set_status(&self.database, run_id, status, ended_at).await
    }

    async fn log_batch(&self, run_id: &str, batch: &Batch) -> Result<(), TrackingError> {
        runs::log_batch(&self.database, run_id, batch).await
    }

    async fn run(&self, run_id: &str) -> Result<Run, TrackingError> {
        let info = self.info(run_id).await?;
        let run = search::complete(&self.database, vec![info]).await?.pop();
        run.ok_or_else(|| TrackingError::not_found("run", run_id))
    }

    async fn search_runs(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError> {
        let mut found = search::search(&self.database, query).await?;
        found.iter_mut().for_each(|info| self.locate(info));
        search::complete(&self.database, found).await
    }

    async fn metric_history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>, TrackingError> {
        self.info(run_id).await?;
        runs::metric_history(&self.database, run_id, key).await
    }

    async fn log_artifact(&self, run_id: &str, path: &str, bytes: Vec<u8>) -> Result<(), TrackingError> {
        crate::paths::check_file(path)?;
        self.info(run_id).await?;
        self.artifacts.write(run_id, path, bytes).await
    }

    async fn log_artifact_file(&self, run_id: &str, path: &str, file: &Path) -> Result<(), TrackingError> {
        crate::paths::check_file(path)?;
        self.info(run_id).await?;
        self.artifacts.copy(run_id, path, file).await
    }

    async fn artifacts(&self, run_id: &str, path: &str) -> Result<Vec<Artifact>, TrackingError> {
        crate::paths::check(path)?;
        self.info(run_id).await?;
        self.artifacts.list(run_id, path)
    }

    async fn fetch_artifact(&self, run_id: &str, path: &str) -> Result<Vec<u8>, TrackingError> {
        crate::paths::check_file(path)?;
        self.info(run_id).await?;
        self.artifacts.read(run_id, path).await
    }

    async fn register_model(&self, name: &str, description: &str) -> Result<RegisteredModel, TrackingError> {
        registry::register_model(&self.database, name, description).await
    }

    async fn registered_model(&self, name: &str) -> Result<RegisteredModel, TrackingError> {
        registry::registered_model(&self.database, name).await
    }

    async fn registered_models(&self) -> Result<Vec<RegisteredModel>, TrackingError> {
        registry::registered_models(&self.database).await
    }

    async fn create_version(&self, version: NewVersion) -> Result<ModelVersion, TrackingError> {
        crate::paths::check_version(&version)?;
        self.info(&version.run_id).await?;
        if !self.artifacts.exists(&version.run_id, &version.artifact_path) {
            return Err(TrackingError::not_found("artifact", format!("{}/{}", version.run_id, version.artifact_path)));
        }
        registry::create_version(&self.database, version).await
    }

    async fn version(&self, model: &str, version: &str) -> Result<ModelVersion, TrackingError> {
        registry::version(&self.database, model, version).await
    }

    async fn versions(&self, model: &str) -> Result<Vec<ModelVersion>, TrackingError> {
        self.registered_model(model).await?;
        registry::versions(&self.database, model).await
    }

    async fn version_by_alias(&self, model: &str, alias: &str) -> Result<ModelVersion, TrackingError> {
        let registered = self.registered_model(model).await?;
        let none = || TrackingError::not_found("alias", format!("{model}@{alias}"));
        self.version(model, registered.aliases.get(alias).ok_or_else(none)?).await
    }

    async fn set_alias(
        &self,
        model: &str,
        alias: &str,
        version: &str,
        decision: &Decision,
    ) -> Result<(), TrackingError> {
        self.version(model, version).await?;
        registry::move_alias(&self.database, model, &AliasMove::now(alias, Some(version), decision)).await
    }

    async fn delete_alias(&self, model: &str, alias: &str, decision: &Decision) -> Result<(), TrackingError> {
        self.registered_model(model).await?;
        registry::move_alias(&self.database, model, &AliasMove::now(alias, None, decision)).await
    }

    async fn alias_history(&self, model: &str) -> Result<Vec<AliasChange>, TrackingError> {
        self.registered_model(model).await?;
        registry::alias_history(&self.database, model).await
    }

    async fn set_version_tag(&self, model: &str, version: &str, key: &str, value: &str) -> Result<(), TrackingError> {
        crate::paths::check_tag(key, value)?;
        self.version(model, version).await?;
        registry::set_version_tag(&self.database, model, version, key, value).await
    }
}

impl Embedded {
    /// Starts a run under an id that the caller chose.
    pub(crate) async fn create_run_as(&self, id: &str, run: NewRun) -> Result<RunInfo, TrackingError> {
        crate::paths::check_run(&run)?;
        let mut info = runs::create(&self.database, id, run).await?;
        self.locate(&mut info);
        Ok(info)
    }

    /// Registers a version whose files may be elsewhere.
    pub(crate) async fn create_version_of_files_elsewhere(
        &self,
        version: NewVersion,
    ) -> Result<ModelVersion, TrackingError> {
        crate::paths::check_version(&version)?;
        registry::create_version(&self.database, version).await
    }

    /// Forgets the registry, but not the runs.
    pub(crate) async fn forget_registry(&self) -> Result<(), TrackingError> {
        registry::forget(&self.database).await
    }

    async fn info(&self, run_id: &str) -> Result<RunInfo, TrackingError> {
        let mut info = runs::info(&self.database, run_id).await?;
        self.locate(&mut info);
        Ok(info)
    }

    fn locate(&self, info: &mut RunInfo) {
        info.artifact_uri = self.artifacts.folder(&info.id).display().to_string();
    }
}
