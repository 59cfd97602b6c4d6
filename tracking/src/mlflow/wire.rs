//! MLflow's JSON, as far as it is read here. Whole numbers may come as text, lists may be absent when empty.

use super::{CLIENT_ID, PARENT};
use crate::types::*;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Whole {
        Number(i64),
        Text(String),
    }
    match Whole::deserialize(deserializer)? {
        Whole::Number(number) => Ok(number),
        Whole::Text(text) => text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is no whole number"))),
    }
}

fn optional_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    whole(deserializer).map(Some)
}

#[derive(Deserialize)]
pub(super) struct Pair {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

pub(super) fn labels(pairs: Vec<Pair>) -> Labels {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

pub(super) fn pairs(labels: &Labels) -> Vec<serde_json::Value> {
    labels.iter().map(|(key, value)| serde_json::json!({ "key": key, "value": value })).collect()
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

#[derive(Deserialize)]
pub(super) struct ExperimentReply {
    pub(super) experiment: WireExperiment,
}

#[derive(Deserialize)]
pub(super) struct ExperimentsReply {
    #[serde(default)]
    pub(super) experiments: Vec<WireExperiment>,
    #[serde(default)]
    pub(super) next_page_token: String,
}

#[derive(Deserialize)]
pub(super) struct WireExperiment {
    experiment_id: String,
    name: String,
    #[serde(default)]
    pub(super) artifact_location: String,
    #[serde(default, deserialize_with = "whole")]
    creation_time: i64,
    #[serde(default)]
    pub(super) lifecycle_stage: String,
}

impl From<WireExperiment> for Experiment {
    fn from(wire: WireExperiment) -> Self {
        Self { id: wire.experiment_id, name: wire.name, created_at: time(wire.creation_time) }
    }
}

#[derive(Deserialize)]
pub(super) struct RunReply {
    pub(super) run: WireRun,
}

#[derive(Deserialize)]
pub(super) struct RunsReply {
    #[serde(default)]
    pub(super) runs: Vec<WireRun>,
    #[serde(default)]
    pub(super) next_page_token: String,
}

#[derive(Deserialize)]
pub(super) struct WireRun {
    info: WireInfo,
    #[serde(default)]
    data: WireData,
}

#[derive(Deserialize)]
struct WireInfo {
    run_id: String,
    experiment_id: String,
    #[serde(default)]
    run_name: String,
    status: RunStatus,
    #[serde(default, deserialize_with = "whole")]
    start_time: i64,
    #[serde(default, deserialize_with = "optional_whole")]
    end_time: Option<i64>,
    #[serde(default)]
    artifact_uri: String,
}

#[derive(Default, Deserialize)]
struct WireData {
    #[serde(default)]
    metrics: Vec<WireMetric>,
    #[serde(default)]
    params: Vec<Pair>,
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
pub(super) struct HistoryReply {
    #[serde(default)]
    pub(super) metrics: Vec<WireMetric>,
    #[serde(default)]
    pub(super) next_page_token: String,
}

#[derive(Deserialize)]
pub(super) struct WireMetric {
    key: String,
    #[serde(with = "crate::number")]
    value: f64,
    #[serde(deserialize_with = "whole")]
    timestamp: i64,
    #[serde(default, deserialize_with = "whole")]
    step: i64,
}

impl From<WireMetric> for Metric {
    fn from(wire: WireMetric) -> Self {
        // MLflow's database keeps an infinity as the greatest number.
        let value = if wire.value.abs() == f64::MAX { wire.value.signum() * f64::INFINITY } else { wire.value };
        Self { key: wire.key, value, at: time(wire.timestamp), step: wire.step }
    }
}

impl From<WireRun> for Run {
    fn from(wire: WireRun) -> Self {
        let mut tags = labels(wire.data.tags);
        let parent_id = tags.remove(PARENT);
        // Written by the server and by us, not by the caller.
        tags.remove("mlflow.runName");
        tags.remove(CLIENT_ID);
        let info = RunInfo {
            id: wire.info.run_id,
            experiment_id: wire.info.experiment_id,
            name: wire.info.run_name,
            status: wire.info.status,
            started_at: time(wire.info.start_time),
            ended_at: wire.info.end_time.filter(|millis| *millis > 0).map(time),
            parent_id,
            artifact_uri: wire.info.artifact_uri,
        };
        let metrics = wire.data.metrics.into_iter().map(|metric| (metric.key.clone(), metric.into())).collect();
        Self { info, params: labels(wire.data.params), metrics, tags }
    }
}

#[derive(Deserialize)]
pub(super) struct ArtifactsReply {
    #[serde(default)]
    pub(super) files: Vec<WireArtifact>,
    #[serde(default)]
    pub(super) next_page_token: String,
}

#[derive(Deserialize)]
pub(super) struct WireArtifact {
    path: String,
    #[serde(default)]
    is_dir: bool,
    #[serde(default, deserialize_with = "optional_whole")]
    file_size: Option<i64>,
}

impl From<WireArtifact> for Artifact {
    fn from(wire: WireArtifact) -> Self {
        // The server leaves the size of an empty file out.
        let bytes = u64::try_from(wire.file_size.unwrap_or(0)).unwrap_or(0);
        Self { path: wire.path, is_folder: wire.is_dir, bytes: (!wire.is_dir).then_some(bytes) }
    }
}

#[derive(Deserialize)]
pub(super) struct ModelReply {
    pub(super) registered_model: WireModel,
}

#[derive(Deserialize)]
pub(super) struct ModelsReply {
    #[serde(default)]
    pub(super) registered_models: Vec<WireModel>,
    #[serde(default)]
    pub(super) next_page_token: String,
}

#[derive(Deserialize)]
pub(super) struct WireModel {
    pub(super) name: String,
    #[serde(default)]
    description: String,
    #[serde(default, deserialize_with = "whole")]
    creation_timestamp: i64,
    #[serde(default)]
    aliases: Vec<WireAlias>,
    #[serde(default)]
    pub(super) tags: Vec<Pair>,
}

#[derive(Deserialize)]
struct WireAlias {
    alias: String,
    version: String,
}

impl From<WireModel> for RegisteredModel {
    fn from(wire: WireModel) -> Self {
        Self {
            name: wire.name,
            description: wire.description,
            created_at: time(wire.creation_timestamp),
            aliases: wire.aliases.into_iter().map(|alias| (alias.alias, alias.version)).collect(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct VersionReply {
    pub(super) model_version: WireVersion,
}

#[derive(Deserialize)]
pub(super) struct VersionsReply {
    #[serde(default)]
    pub(super) model_versions: Vec<WireVersion>,
    #[serde(default)]
    pub(super) next_page_token: String,
}

#[derive(Deserialize)]
pub(super) struct WireVersion {
    name: String,
    version: String,
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    description: String,
    #[serde(default, deserialize_with = "whole")]
    creation_timestamp: i64,
    #[serde(default)]
    tags: Vec<Pair>,
    #[serde(default)]
    aliases: Vec<String>,
}

impl WireVersion {
    pub(super) fn has_client_id(&self, id: &str) -> bool {
        self.tags.iter().any(|tag| tag.key == CLIENT_ID && tag.value == id)
    }
}

impl From<WireVersion> for ModelVersion {
    fn from(wire: WireVersion) -> Self {
        let mut tags = labels(wire.tags);
        tags.remove(CLIENT_ID);
        let mut aliases = wire.aliases;
        aliases.sort();
        Self {
            artifact_path: artifact_path(&wire.source, &wire.run_id),
            model: wire.name,
            version: wire.version,
            run_id: wire.run_id,
            description: wire.description,
            created_at: time(wire.creation_timestamp),
            tags,
            aliases,
        }
    }
}

/// The folder among the run's artifacts; of a source that is not inside a run, the source itself.
fn artifact_path(source: &str, run_id: &str) -> String {
    let marker = format!("/{run_id}/artifacts");
    let inside = source.split_once(&marker).map(|(_, path)| path);
    let inside = inside.or_else(|| source.strip_prefix(&format!("runs:/{run_id}")));
    inside.map_or_else(|| source.to_owned(), |path| path.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_as_numbers_or_text_and_nan_by_name() {
        let run: RunReply = serde_json::from_str(
            r#"{"run": {"info": {"run_id": "r", "experiment_id": "1", "run_name": "n", "status": "FINISHED",
                "start_time": "1700000000000", "end_time": 1700000001000, "artifact_uri": "mlflow-artifacts:/1/r/artifacts"},
                "data": {"metrics": [{"key": "a", "value": "NaN", "timestamp": "5", "step": "2"},
                                     {"key": "b", "value": 1.7976931348623157e308, "timestamp": 5}],
                         "tags": [{"key": "mlflow.parentRunId", "value": "p"}, {"key": "mlflow.runName", "value": "n"}]}}}"#,
        )
        .expect("reply");
        let run = Run::from(run.run);
        assert!(run.metrics["a"].value.is_nan() && run.metrics["a"].step == 2);
        assert_eq!(run.metrics["b"].value, f64::INFINITY);
        assert_eq!(run.info.parent_id.as_deref(), Some("p"));
        assert_eq!(run.info.started_at.timestamp_millis(), 1_700_000_000_000);
        assert!(run.tags.is_empty());
    }

    #[test]
    fn the_artifact_path_is_read_from_the_source() {
        assert_eq!(artifact_path("mlflow-artifacts:/1/abc/artifacts/load/model", "abc"), "load/model");
        assert_eq!(artifact_path("mlflow-artifacts:/1/abc/artifacts", "abc"), "");
        assert_eq!(artifact_path("runs:/abc/model", "abc"), "model");
        assert_eq!(artifact_path("models:/m-1", ""), "models:/m-1");
    }
}
