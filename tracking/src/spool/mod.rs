//! An MLflow server that may be away: what cannot be written now is kept and sent later.

mod operation;
mod outbox;
mod send;
mod shared;
mod staging;

use crate::mlflow::{Mlflow, client_id};
use crate::types::*;
use crate::{RunQuery, Tracker, TrackingError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use operation::Operation;
use outbox::Outbox;
use shared::{Core, Place, send_in_background};
use staging::{LOCAL, PENDING, Staging};
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// An MLflow server with a spool on disk. See the crate's page for how it behaves while the server is away.
pub struct Spooled {
    core: Arc<Core>,
    background: JoinHandle<()>,
}

impl Drop for Spooled {
    fn drop(&mut self) {
        // Sending can be cut off anywhere: what the server has not confirmed is sent again.
        self.background.abort();
    }
}

impl Spooled {
    /// Opens the spool in `folder` and begins to send what waits there.
    ///
    /// # Errors
    /// When the folder cannot be used or its database is damaged.
    pub async fn open(remote: Arc<Mlflow>, folder: &Path) -> Result<Self, TrackingError> {
        let outbox = Outbox::open(folder)?;
        let staging = Staging::open(folder).await?;
        let core = Arc::new(Core::new(remote, outbox, staging));
        let background = tokio::spawn(send_in_background(core.clone()));
        Ok(Self { core, background })
    }

    async fn keep_artifact(&self, run_id: &str, path: &str, bytes: Vec<u8>) -> Result<(), TrackingError> {
        if matches!(self.core.place_of_run(run_id)?, Place::Here) {
            self.core.staging.run(run_id).await?;
        }
        let file = client_id();
        let link = self.core.outbox.file(&file);
        let operation = Operation::LogArtifact { run_id: run_id.to_owned(), path: path.to_owned(), file };
        self.core.keep(operation, self.core.staging.log_artifact(run_id, path, bytes, &link)).await
    }

    async fn move_alias(&self, model: &str, step: AliasMove) -> Result<(), TrackingError> {
        crate::paths::check_alias(&step.alias)?;
        crate::paths::check_decision(&step.decision)?;
        let place = step.to.as_deref().map(|version| self.core.place_of_version(version)).transpose()?;
        let on_server = match place {
            Some(Place::Here) => None,
            Some(Place::Server(version)) => Some(AliasMove { to: Some(version), ..step.clone() }),
            None => Some(step.clone()),
        };
        if let Some(on_server) = on_server
            && self.core.direct()?
            && self.core.or_wait(self.core.remote.move_alias(model, &on_server).await)?.is_some()
        {
            return Ok(());
        }
        let staged = self.core.staging.move_alias(model, &step);
        self.core.keep(Operation::MoveAlias { model: model.to_owned(), step: step.clone() }, staged).await
    }
}

#[async_trait]
impl Tracker for Spooled {
    fn describe(&self) -> String {
        self.core.remote.describe()
    }

    async fn experiment(&self, name: &str) -> Result<Experiment, TrackingError> {
        crate::paths::check_name("experiment", name)?;
        if self.core.direct()?
            && let Some(experiment) = self.core.or_wait(self.core.remote.experiment(name).await)?
        {
            return Ok(experiment);
        }
        self.core.staging.experiment(name).await
    }

    async fn experiments(&self) -> Result<Vec<Experiment>, TrackingError> {
        self.core.settle().await?;
        self.core.remote.experiments().await
    }

    async fn create_run(&self, run: NewRun) -> Result<RunInfo, TrackingError> {
        crate::paths::check_run(&run)?;
        let id = format!("{LOCAL}{}", client_id());
        if self.core.direct()?
            && let Some(info) = self.core.or_wait(self.core.create_run_on_server(&id, &run).await)?
        {
            return Ok(info);
        }
        let experiment = self.core.staging.experiment_of(&run.experiment_id).await?;
        let operation = Operation::CreateRun { id: id.clone(), experiment, run: run.clone() };
        self.core.keep(operation, self.core.staging.create_run(&id, &run)).await
    }

    async fn set_status(
        &self,
        run_id: &str,
        status: RunStatus,
        ended_at: Option<DateTime<Utc>>,
    ) -> Result<(), TrackingError> {
        let place = self.core.place_of_run(run_id)?;
        if let Place::Server(id) = &place
            && self.core.direct()?
            && self.core.or_wait(self.core.remote.set_status(id, status, ended_at).await)?.is_some()
        {
            return Ok(());
        }
        let staged = async {
            match place {
                Place::Here => self.core.staging.store().set_status(run_id, status, ended_at).await,
                Place::Server(_) => Ok(()),
            }
        };
        self.core.keep(Operation::SetStatus { run_id: run_id.to_owned(), status, ended_at }, staged).await
    }

    async fn log_batch(&self, run_id: &str, batch: &Batch) -> Result<(), TrackingError> {
        crate::paths::check_batch(batch)?;
        let place = self.core.place_of_run(run_id)?;
        if let Place::Server(id) = &place
            && self.core.direct()?
            && self.core.or_wait(self.core.remote.log_batch(id, batch).await)?.is_some()
        {
            return Ok(());
        }
        let staged = async {
            match place {
                Place::Here => self.core.staging.store().log_batch(run_id, batch).await,
                Place::Server(_) => Ok(()),
            }
        };
        self.core.keep(Operation::LogBatch { run_id: run_id.to_owned(), batch: batch.clone() }, staged).await
    }

    async fn run(&self, run_id: &str) -> Result<Run, TrackingError> {
        self.core.settle().await?;
        match self.core.place_of_run(run_id)? {
            Place::Server(id) => self.core.remote.run(&id).await,
            Place::Here => self.core.staging.run(run_id).await,
        }
    }

    async fn search_runs(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError> {
        self.core.settle().await?;
        match self.core.search_on_server(query).await {
            // Runs of the server are out of reach; those of local experiments are all here.
            Err(error)
                if error.is_away()
                    && !query.experiments.is_empty()
                    && query.experiments.iter().all(|id| id.starts_with(LOCAL)) =>
            {
                self.core.staging.search(query).await
            }
            other => other,
        }
    }

    async fn metric_history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>, TrackingError> {
        self.core.settle().await?;
        match self.core.place_of_run(run_id)? {
            Place::Server(id) => self.core.remote.metric_history(&id, key).await,
            Place::Here => self.core.staging.store().metric_history(run_id, key).await,
        }
    }

    async fn log_artifact(&self, run_id: &str, path: &str, bytes: Vec<u8>) -> Result<(), TrackingError> {
        crate::paths::check_file(path)?;
        if let Place::Server(id) = self.core.place_of_run(run_id)?
            && self.core.direct()?
            && self.core.or_wait(self.core.remote.log_artifact(&id, path, bytes.clone()).await)?.is_some()
        {
            return Ok(());
        }
        self.keep_artifact(run_id, path, bytes).await
    }

    async fn log_artifact_file(&self, run_id: &str, path: &str, file: &Path) -> Result<(), TrackingError> {
        crate::paths::check_file(path)?;
        if let Place::Server(id) = self.core.place_of_run(run_id)?
            && self.core.direct()?
            && self.core.or_wait(self.core.remote.log_artifact_file(&id, path, file).await)?.is_some()
        {
            return Ok(());
        }
        let bytes = tokio::fs::read(file).await.map_err(|source| TrackingError::io("read", file, source))?;
        self.keep_artifact(run_id, path, bytes).await
    }

    async fn artifacts(&self, run_id: &str, path: &str) -> Result<Vec<Artifact>, TrackingError> {
        self.core.settle().await?;
        match self.core.place_of_run(run_id)? {
            Place::Server(id) => self.core.remote.artifacts(&id, path).await,
            Place::Here => self.core.staging.store().artifacts(run_id, path).await,
        }
    }

    async fn fetch_artifact(&self, run_id: &str, path: &str) -> Result<Vec<u8>, TrackingError> {
        self.core.settle().await?;
        match self.core.place_of_run(run_id)? {
            Place::Server(id) => self.core.remote.fetch_artifact(&id, path).await,
            Place::Here => self.core.staging.store().fetch_artifact(run_id, path).await,
        }
    }

    async fn register_model(&self, name: &str, description: &str) -> Result<RegisteredModel, TrackingError> {
        crate::paths::check_model(name)?;
        if self.core.direct()?
            && let Some(model) = self.core.or_wait(self.core.remote.register_model(name, description).await)?
        {
            return Ok(model);
        }
        let operation = Operation::RegisterModel { name: name.to_owned(), description: description.to_owned() };
        self.core.keep(operation, self.core.staging.store().register_model(name, description)).await
    }

    async fn registered_model(&self, name: &str) -> Result<RegisteredModel, TrackingError> {
        self.core.settle().await?;
        self.core.remote.registered_model(name).await
    }

    async fn registered_models(&self) -> Result<Vec<RegisteredModel>, TrackingError> {
        self.core.settle().await?;
        self.core.remote.registered_models().await
    }

    async fn create_version(&self, version: NewVersion) -> Result<ModelVersion, TrackingError> {
        crate::paths::check_version(&version)?;
        let id = format!("{PENDING}{}", client_id());
        if let Place::Server(run_id) = self.core.place_of_run(&version.run_id)?
            && self.core.direct()?
        {
            let on_server = NewVersion { run_id, ..version.clone() };
            if let Some(made) = self.core.or_wait(self.core.remote.create_version_as(&id, on_server).await)? {
                return Ok(made);
            }
        }
        let operation = Operation::CreateVersion { id: id.clone(), version: version.clone() };
        self.core.keep(operation, self.core.staging.create_version(&id, &version)).await
    }

    async fn version(&self, model: &str, version: &str) -> Result<ModelVersion, TrackingError> {
        self.core.settle().await?;
        match self.core.place_of_version(version)? {
            Place::Server(version) => self.core.remote.version(model, &version).await,
            Place::Here => self.core.staging.version(model, version).await,
        }
    }

    async fn versions(&self, model: &str) -> Result<Vec<ModelVersion>, TrackingError> {
        self.core.settle().await?;
        self.core.remote.versions(model).await
    }

    async fn version_by_alias(&self, model: &str, alias: &str) -> Result<ModelVersion, TrackingError> {
        self.core.settle().await?;
        match self.core.remote.version_by_alias(model, alias).await {
            // An alias that was moved here while the server is away is answered from here; any other stays unknown.
            Err(away) if away.is_away() => {
                crate::optional(self.core.staging.version_by_alias(model, alias).await)?.ok_or(away)
            }
            other => other,
        }
    }

    async fn set_alias(
        &self,
        model: &str,
        alias: &str,
        version: &str,
        decision: &Decision,
    ) -> Result<(), TrackingError> {
        self.move_alias(model, AliasMove::now(alias, Some(version), decision)).await
    }

    async fn delete_alias(&self, model: &str, alias: &str, decision: &Decision) -> Result<(), TrackingError> {
        self.move_alias(model, AliasMove::now(alias, None, decision)).await
    }

    async fn alias_history(&self, model: &str) -> Result<Vec<AliasChange>, TrackingError> {
        self.core.settle().await?;
        self.core.remote.alias_history(model).await
    }

    async fn set_version_tag(&self, model: &str, version: &str, key: &str, value: &str) -> Result<(), TrackingError> {
        crate::paths::check_tag(key, value)?;
        let place = self.core.place_of_version(version)?;
        if let Place::Server(version) = &place
            && self.core.direct()?
            && self.core.or_wait(self.core.remote.set_version_tag(model, version, key, value).await)?.is_some()
        {
            return Ok(());
        }
        let staged = async {
            match place {
                Place::Here => self.core.staging.set_version_tag(model, version, key, value).await,
                Place::Server(_) => Ok(()),
            }
        };
        let [model_of, version_of, key_of, value_of] = [model, version, key, value].map(str::to_owned);
        self.core
            .keep(
                Operation::SetVersionTag { model: model_of, version: version_of, key: key_of, value: value_of },
                staged,
            )
            .await
    }

    async fn waiting(&self) -> Result<Waiting, TrackingError> {
        self.core.outbox.waiting()
    }

    async fn flush(&self) -> Result<Waiting, TrackingError> {
        self.core.send_all().await?;
        self.core.outbox.waiting()
    }
}
