//! A registry whose client is killed, for tests.

use crate::types::*;
use crate::{RunQuery, Tracker, TrackingError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Passes everything on until so many changes of versions, aliases and tags were made; every later one fails and changes nothing, as if the
/// process had been killed before it.
pub struct Interrupted<'a> {
    tracker: &'a dyn Tracker,
    left: AtomicUsize,
}

impl<'a> Interrupted<'a> {
    /// Lets `changes` through.
    pub fn after(changes: usize, tracker: &'a dyn Tracker) -> Self {
        Self { tracker, left: AtomicUsize::new(changes) }
    }

    fn change(&self) -> Result<(), TrackingError> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| TrackingError::Settings("killed by the test".to_owned()))
    }
}

#[async_trait]
impl Tracker for Interrupted<'_> {
    fn describe(&self) -> String {
        self.tracker.describe()
    }

    async fn experiment(&self, name: &str) -> Result<Experiment, TrackingError> {
        self.tracker.experiment(name).await
    }

    async fn experiments(&self) -> Result<Vec<Experiment>, TrackingError> {
        self.tracker.experiments().await
    }

    async fn create_run(&self, run: NewRun) -> Result<RunInfo, TrackingError> {
        self.tracker.create_run(run).await
    }

    async fn set_status(&self, run: &str, status: RunStatus, at: Option<DateTime<Utc>>) -> Result<(), TrackingError> {
        self.tracker.set_status(run, status, at).await
    }

    async fn log_batch(&self, run: &str, batch: &Batch) -> Result<(), TrackingError> {
        self.tracker.log_batch(run, batch).await
    }

    async fn run(&self, run: &str) -> Result<Run, TrackingError> {
        self.tracker.run(run).await
    }

    async fn search_runs(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError> {
        self.tracker.search_runs(query).await
    }

    async fn metric_history(&self, run: &str, key: &str) -> Result<Vec<Metric>, TrackingError> {
        self.tracker.metric_history(run, key).await
    }

    async fn log_artifact(&self, run: &str, path: &str, bytes: Vec<u8>) -> Result<(), TrackingError> {
        self.tracker.log_artifact(run, path, bytes).await
    }

    async fn artifacts(&self, run: &str, path: &str) -> Result<Vec<Artifact>, TrackingError> {
        self.tracker.artifacts(run, path).await
    }

    async fn fetch_artifact(&self, run: &str, path: &str) -> Result<Vec<u8>, TrackingError> {
        self.tracker.fetch_artifact(run, path).await
    }

    async fn register_model(&self, name: &str, description: &str) -> Result<RegisteredModel, TrackingError> {
        self.tracker.register_model(name, description).await
    }

    async fn registered_model(&self, name: &str) -> Result<RegisteredModel, TrackingError> {
        self.tracker.registered_model(name).await
    }

    async fn registered_models(&self) -> Result<Vec<RegisteredModel>, TrackingError> {
        self.tracker.registered_models().await
    }

    async fn create_version(&self, version: NewVersion) -> Result<ModelVersion, TrackingError> {
        self.change()?;
        self.tracker.create_version(version).await
    }

    async fn version(&self, model: &str, version: &str) -> Result<ModelVersion, TrackingError> {
        self.tracker.version(model, version).await
    }

    async fn versions(&self, model: &str) -> Result<Vec<ModelVersion>, TrackingError> {
        self.tracker.versions(model).await
    }

    async fn version_by_alias(&self, model: &str, alias: &str) -> Result<ModelVersion, TrackingError> {
        self.tracker.version_by_alias(model, alias).await
    }

    async fn set_alias(&self, model: &str, alias: &str, to: &str, decision: &Decision) -> Result<(), TrackingError> {
        self.change()?;
        self.tracker.set_alias(model, alias, to, decision).await
    }

    async fn delete_alias(&self, model: &str, alias: &str, decision: &Decision) -> Result<(), TrackingError> {
        self.change()?;
        self.tracker.delete_alias(model, alias, decision).await
    }

    async fn alias_history(&self, model: &str) -> Result<Vec<AliasChange>, TrackingError> {
        self.tracker.alias_history(model).await
    }

    async fn set_version_tag(&self, model: &str, version: &str, key: &str, value: &str) -> Result<(), TrackingError> {
        self.change()?;
        self.tracker.set_version_tag(model, version, key, value).await
    }
}
