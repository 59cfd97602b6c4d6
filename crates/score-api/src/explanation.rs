//! Why a node has its score, in words and numbers that an engineer can check.

use crate::wire::required;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Forecasts and reasons of one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeExplanation {
    /// By resource (`cpu`, `memory`) and horizon (`1h`).
    pub forecast: BTreeMap<String, BTreeMap<String, ForecastQuantiles>>,
    /// What sets the node apart from the other candidates for the agent, the most first.
    pub placement: Vec<Contribution>,
    /// The features to blame where the node is anomalous.
    pub blame: Vec<Blame>,
    /// Sentences.
    pub reasons: Vec<String>,
}

/// P50 and P90 of a node's utilization, as ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastQuantiles {
    /// The median, without the pod.
    pub p50: f64,
    /// The level that it stays below nine times in ten, without the pod.
    pub p90: f64,
    /// P90 with the pod and those in flight.
    pub p90_with_pod: f64,
}

/// A feature in which a candidate differs, and what that is worth to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Which feature of `cluster_state`.
    pub feature: String,
    /// Its value here.
    pub value: f32,
    /// Its mean over the candidates.
    pub mean: f32,
    /// What it adds to the agent's value, in hot node-hours saved.
    pub contribution: f32,
}

/// A feature's part in an anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blame {
    /// Which feature.
    pub feature: String,
    /// Its value; `null` where it is missing.
    #[serde(deserialize_with = "required")]
    pub value: Option<f32>,
    /// What is normal.
    pub normal: NormalRange,
    /// Its share of the vote, 0 to 1.
    pub share: f64,
}

/// What was normal of a feature in training: quantiles over the rows outside of incidents, `null` where it was never known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NormalRange {
    /// 1 % of the values lie below.
    #[serde(deserialize_with = "required")]
    pub low: Option<f32>,
    /// Half of them do.
    #[serde(deserialize_with = "required")]
    pub median: Option<f32>,
    /// 1 % lie above.
    #[serde(deserialize_with = "required")]
    pub high: Option<f32>,
}
