//! What `POST /v1/score` answers.

use super::reasons::Detail;
use crate::registry::ModelName;
use crate::rollout::Arm;
use chrono::{DateTime, SecondsFormat};
use cluster::score::{PartWeights, Parts, Strategy};
use features::habit::Expected;
use models::anomaly::Severity;
use serde::Serialize;
use std::collections::BTreeMap;

/// Scores of all pods.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreAnswer {
    /// The moment of the newest refresh, RFC 3339; absent before the first.
    pub at: Option<String>,
    /// How long ago that was.
    pub data_age_seconds: Option<f64>,
    /// The versions that were asked.
    pub models: BTreeMap<ModelName, String>,
    /// Those that were asked for pods of the other arm, where a challenger has a share of the workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenger_models: Option<BTreeMap<ModelName, String>>,
    /// How much each part counts.
    pub weights: PartWeights,
    /// Which nodes the load part prefers: `spread` or `pack`.
    pub strategy: Strategy,
    /// In the order of the request.
    pub pods: Vec<PodScores>,
    /// Candidates that no metric names.
    pub unknown_nodes: Vec<String>,
}

/// One pod's scores.
#[derive(Debug, Clone, Serialize)]
pub struct PodScores {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whose versions answered: `champion` or `challenger`.
    pub arm: Arm,
    /// What it is expected to use.
    pub expected: Expectation,
    /// In the order of the request.
    pub nodes: Vec<NodeScore>,
}

/// What a pod is expected to use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expectation {
    /// Mean cores.
    pub cpu_cores: f32,
    /// Mean bytes.
    pub memory_bytes: f32,
    /// `workload`: by its history; `requests`: by what it asks for.
    pub source: &'static str,
}

impl Expectation {
    pub(super) fn of(expected: &Expected) -> Self {
        Self {
            cpu_cores: expected.amount.cpu,
            memory_bytes: expected.amount.memory,
            source: if expected.known { "workload" } else { "requests" },
        }
    }
}

/// One node's score.
#[derive(Debug, Clone, Serialize)]
pub struct NodeScore {
    /// Which node.
    pub node: String,
    /// 0..1, higher is better. Where no part is known: the mean of the others.
    #[serde(serialize_with = "single::number")]
    pub score: f64,
    /// What it is made of.
    #[serde(serialize_with = "single::parts")]
    pub parts: Parts,
    /// Scores that are closer than this are as good as equal: by how much the load part would differ if the forecast's median
    /// came true, and what one sample of telemetry moves the agent's value by, each as far as it counts in the score. Absent
    /// where there is no part.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "single::maybe")]
    pub uncertainty: Option<f64>,
    /// The highest P90 forecast with the pod and those in flight, of CPU and memory, as a share of allocatable.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "single::maybe")]
    pub peak: Option<f64>,
    /// Why parts are not there: `node_unknown`, `data_stale`, `no_load_predictor`, `no_forecast`, `no_placement_agent`,
    /// `no_features`, `no_anomaly_detector`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<&'static str>,
    /// Age of its newest sample.
    pub data_age_seconds: Option<f64>,
    /// Of its newest reading.
    pub severity: Option<Severity>,
    /// Forecasts and reasons, where they are wanted.
    #[serde(flatten)]
    pub detail: Option<Detail>,
}

/// Models answer in single precision: more digits would say nothing, and lengthen an answer with thousands of nodes.
mod single {
    use cluster::score::Parts;
    use serde::{Serialize, Serializer};

    pub fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f32(*value as f32)
    }

    pub fn maybe<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value as f32).serialize(serializer)
    }

    pub fn parts<S: Serializer>(parts: &Parts, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Single {
            load: Option<f32>,
            placement: Option<f32>,
            anomaly: Option<f32>,
        }
        let single = |part: Option<f64>| part.map(|part| part as f32);
        let Parts { load, placement, anomaly } = *parts;
        Single { load: single(load), placement: single(placement), anomaly: single(anomaly) }.serialize(serializer)
    }
}

/// A moment as people and JSON read it; none for 0.
pub(super) fn time(at: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(at).filter(|_| at > 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
