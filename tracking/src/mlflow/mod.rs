//! An MLflow server over its REST API (version 2.0, as of MLflow 3.17).
//!
//! Every run and version carries a tag `berth.client_id`, chosen here before the server is asked. When an answer is
//! lost, the same request can be made again without making a second run.

mod artifacts;
mod batch;
mod http;
mod registry;
mod runs;
mod wire;

use crate::types::*;
use crate::{RunQuery, Tracker, TrackingError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::Http;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use url::Url;

/// MLflow's tag for nested runs: its pages fold them by it.
pub(crate) const PARENT: &str = "mlflow.parentRunId";

/// Our tag that makes a repeated creation find what the first one made.
pub(crate) const CLIENT_ID: &str = "berth.client_id";

/// A client of one MLflow server. Without a spool: what cannot be sent is an error.
pub struct Mlflow {
    http: Http,
    /// Where the artifacts of a run are never changes, so it is asked once.
    artifact_uris: Mutex<HashMap<String, String>>,
}

impl Mlflow {
    /// A client of the server at `base`. Nothing is asked yet.
    pub fn new(base: Url, client: reqwest::Client) -> Self {
        Self { http: Http::new(base, client), artifact_uris: Mutex::new(HashMap::new()) }
    }
}

/// A fresh value for [`CLIENT_ID`].
pub(crate) fn client_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[async_trait]
impl Tracker for Mlflow {
    fn describe(&self) -> String {
        format!("MLflow {}", self.http.server)
    }

    async fn experiment(&self, name: &str) -> Result<Experiment, TrackingError> {
        self.find_or_make_experiment(name).await
    }

    async fn experiments(&self) -> Result<Vec<Experiment>, TrackingError> {
        self.all_experiments().await
    }

    async fn create_run(&self, run: NewRun) -> Result<RunInfo, TrackingError> {
        self.create_run_as(&client_id(), run).await
    }

    async fn set_status(
        &self,
        run_id: &str,
        status: RunStatus,
        ended_at: Option<DateTime<Utc>>,
    ) -> Result<(), TrackingError> {
        self.update_run(run_id, status, ended_at).await
    }

    async fn log_batch(&self, run_id: &str, batch: &Batch) -> Result<(), TrackingError> {
        self.send_batch(run_id, batch).await
    }

    async fn run(&self, run_id: &str) -> Result<Run, TrackingError> {
        self.get_run(run_id).await
    }

    async fn search_runs(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError> {
        self.search(query).await
    }

    async fn metric_history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>, TrackingError> {
        let points = self.history(run_id, key).await?;
        if points.is_empty() {
            // MLflow answers an unknown run with an empty history.
            self.run(run_id).await?;
        }
        Ok(points)
    }

    async fn log_artifact(&self, run_id: &str, path: &str, bytes: Vec<u8>) -> Result<(), TrackingError> {
        self.upload(run_id, path, bytes.len() as u64, bytes.into()).await
    }

    async fn log_artifact_file(&self, run_id: &str, path: &str, file: &Path) -> Result<(), TrackingError> {
        self.upload_file(run_id, path, file).await
    }

    async fn artifacts(&self, run_id: &str, path: &str) -> Result<Vec<Artifact>, TrackingError> {
        self.list_artifacts(run_id, path).await
    }

    async fn fetch_artifact(&self, run_id: &str, path: &str) -> Result<Vec<u8>, TrackingError> {
        self.download(run_id, path).await
    }

    async fn register_model(&self, name: &str, description: &str) -> Result<RegisteredModel, TrackingError> {
        self.find_or_make_model(name, description).await
    }

    async fn registered_model(&self, name: &str) -> Result<RegisteredModel, TrackingError> {
        Ok(self.get_model(name).await?.into())
    }

    async fn registered_models(&self) -> Result<Vec<RegisteredModel>, TrackingError> {
        self.all_models().await
    }

    async fn create_version(&self, version: NewVersion) -> Result<ModelVersion, TrackingError> {
        self.create_version_as(&client_id(), version).await
    }

    async fn version(&self, model: &str, version: &str) -> Result<ModelVersion, TrackingError> {
        self.get_version(model, version).await
    }

    async fn versions(&self, model: &str) -> Result<Vec<ModelVersion>, TrackingError> {
        self.all_versions(model).await
    }

    async fn version_by_alias(&self, model: &str, alias: &str) -> Result<ModelVersion, TrackingError> {
        self.get_alias(model, alias).await
    }

    async fn set_alias(
        &self,
        model: &str,
        alias: &str,
        version: &str,
        decision: &Decision,
    ) -> Result<(), TrackingError> {
        self.move_alias(model, &AliasMove::now(alias, Some(version), decision)).await
    }

    async fn delete_alias(&self, model: &str, alias: &str, decision: &Decision) -> Result<(), TrackingError> {
        self.move_alias(model, &AliasMove::now(alias, None, decision)).await
    }

    async fn alias_history(&self, model: &str) -> Result<Vec<AliasChange>, TrackingError> {
        self.history_of_aliases(model).await
    }

    async fn set_version_tag(&self, model: &str, version: &str, key: &str, value: &str) -> Result<(), TrackingError> {
        self.tag_version(model, version, key, value).await
    }
}
