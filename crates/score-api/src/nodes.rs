//! What `GET /v1/nodes` and `GET /v1/nodes/{node}` answer.

use crate::wire::required;
use crate::{ApiVersion, Blame, Timestamp};
use cluster::{AnomalyKind, Resource, Severity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All nodes that metrics name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeList {
    /// Which form this is.
    pub api_version: ApiVersion,
    /// The moment of the newest refresh; `null` before the first.
    #[serde(deserialize_with = "required")]
    pub at: Option<Timestamp>,
    /// How long ago that was, by the server's clock.
    #[serde(deserialize_with = "required")]
    pub data_age_seconds: Option<f64>,
    /// The versions that forecast and score them, by model.
    pub models: BTreeMap<String, String>,
    /// Workloads whose usage is known from history.
    pub workloads_known: usize,
    /// By name.
    pub nodes: Vec<NodeDescription>,
}

/// What is known of a node. `null` where something is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeDescription {
    /// Its name.
    pub node: String,
    /// Age of its newest sample.
    pub data_age_seconds: f64,
    /// Whether that is too old to score by.
    pub stale: bool,
    /// Usage ÷ allocatable.
    #[serde(deserialize_with = "required")]
    pub cpu_utilization: Option<f32>,
    /// Usage ÷ allocatable.
    #[serde(deserialize_with = "required")]
    pub memory_utilization: Option<f32>,
    /// What pods may request.
    #[serde(deserialize_with = "required")]
    pub cpu_allocatable_cores: Option<f32>,
    /// What pods may request.
    #[serde(deserialize_with = "required")]
    pub memory_allocatable_bytes: Option<f32>,
    /// Pods on it.
    pub pods: u32,
    /// By resource and horizon; `null` where no predictor serves.
    #[serde(deserialize_with = "required")]
    pub forecasts: Option<Vec<Forecast>>,
    /// `null` where no detector serves.
    #[serde(deserialize_with = "required")]
    pub anomaly: Option<Anomaly>,
    /// The moment that the features end at; absent in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features_at: Option<Timestamp>,
    /// By name, `null` where one is missing; absent in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<BTreeMap<String, Option<f32>>>,
}

/// A forecast of a node's utilization, as a ratio: the mean of the hour that ends at the horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Of what.
    pub resource: Resource,
    /// How far ahead, such as `1h`.
    pub horizon: String,
    /// The median.
    #[serde(deserialize_with = "required")]
    pub p50: Option<f32>,
    /// The level that it stays below nine times in ten.
    #[serde(deserialize_with = "required")]
    pub p90: Option<f32>,
    /// The model has no skill of its own there, so its baseline answered.
    pub fallback: bool,
}

/// What the detector says of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// 0 (normal) to 1 (certain); one half is the threshold.
    pub score: f32,
    /// Of the newest reading; `null` where that is normal.
    #[serde(deserialize_with = "required")]
    pub severity: Option<Severity>,
    /// What it is about.
    pub kind: AnomalyKind,
    /// The features to blame where there is a severity.
    pub blame: Vec<Blame>,
}
