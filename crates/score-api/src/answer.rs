//! What `POST /v1/score` answers.

use crate::wire::{parts, required, single, single_option};
use crate::{ApiVersion, NodeExplanation, ScoreRequest, Timestamp};
use cluster::Severity;
use cluster::score::{PartWeights, Parts, Strategy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scores of all pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreAnswer {
    /// Which form this is.
    pub api_version: ApiVersion,
    /// The moment of the newest refresh; `null` before the first.
    #[serde(deserialize_with = "required")]
    pub at: Option<Timestamp>,
    /// How long ago that was.
    #[serde(deserialize_with = "required")]
    pub data_age_seconds: Option<f64>,
    /// The versions that were asked, by model.
    pub models: BTreeMap<String, String>,
    /// Those that were asked for pods of the other arm; `null` where no challenger has a share of the workloads.
    #[serde(deserialize_with = "required")]
    pub challenger_models: Option<BTreeMap<String, String>>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodScores {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whose versions answered.
    pub arm: Arm,
    /// What it is expected to use.
    pub expected: ExpectedUsage,
    /// In the order of the request.
    pub nodes: Vec<NodeScore>,
}

/// Whose versions answer for a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The versions under the alias that serves.
    #[default]
    Champion,
    /// The versions beside them.
    Challenger,
}

impl Arm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Champion, Self::Challenger];

    /// As in labels and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Challenger => "challenger",
        }
    }
}

/// What a pod is expected to use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExpectedUsage {
    /// Mean cores.
    pub cpu_cores: f32,
    /// Mean bytes.
    pub memory_bytes: f32,
    /// How that is known.
    pub source: UsageSource,
}

/// How it is known what a pod will use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// By the history of its workload.
    Workload,
    /// By what it requests.
    Requests,
}

/// One node's score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeScore {
    /// Which node.
    pub node: String,
    /// 0..1, higher is better. Where no part is known: the mean of the others.
    #[serde(with = "single")]
    pub score: f64,
    /// What it is made of.
    #[serde(with = "parts")]
    pub parts: Parts,
    /// Scores that are closer than this are as good as equal: by how much the load part would differ if the forecast's median came
    /// true, and what one sample of telemetry moves the agent's value by, each as far as it counts in the score. `null` where there is
    /// neither part.
    #[serde(with = "single_option")]
    pub uncertainty: Option<f64>,
    /// The highest P90 forecast with the pod and those in flight, of CPU and memory, as a share of allocatable; `null` where there is none.
    #[serde(with = "single_option")]
    pub peak: Option<f64>,
    /// Why parts are not there; empty where all are.
    pub missing: Vec<MissingReason>,
    /// Age of its newest sample; `null` where the node is unknown.
    #[serde(deserialize_with = "required")]
    pub data_age_seconds: Option<f64>,
    /// Of its newest reading; `null` where that is normal or unknown.
    #[serde(deserialize_with = "required")]
    pub severity: Option<Severity>,
    /// Forecasts and reasons; absent where they are not wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Box<NodeExplanation>>,
}

impl NodeScore {
    /// The score by other weights than the server's; `None` where no part with a weight is known. A part that is not a number is unknown,
    /// and one beyond 0..1 is taken for the nearer end.
    pub fn weighed(&self, weights: &PartWeights) -> Option<f64> {
        let known = |part: Option<f64>| part.filter(|part| part.is_finite()).map(|part| part.clamp(0.0, 1.0));
        weights.combine(&Parts {
            load: known(self.parts.load),
            placement: known(self.parts.placement),
            anomaly: known(self.parts.anomaly),
        })
    }
}

/// Why a part of a score is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// No metric names the node.
    NodeUnknown,
    /// Its newest sample is too old.
    DataStale,
    /// No load predictor serves.
    NoLoadPredictor,
    /// The predictor has no forecast for it.
    NoForecast,
    /// No placement agent serves.
    NoPlacementAgent,
    /// Its features are not known yet.
    NoFeatures,
    /// No anomaly detector serves.
    NoAnomalyDetector,
    /// Something that this version does not know.
    #[serde(other)]
    Other,
}

impl MissingReason {
    /// Whether it is the models that lack something, and not the data.
    pub const fn is_of_models(self) -> bool {
        matches!(self, Self::NoLoadPredictor | Self::NoForecast | Self::NoPlacementAgent | Self::NoAnomalyDetector)
    }
}

/// An answer to something else than what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Scores for more or fewer pods.
    #[error("the answer has scores for {got} pods, {wanted} were asked for")]
    Pods {
        /// Pods of the answer.
        got: usize,
        /// Pods of the request.
        wanted: usize,
    },
    /// Scores for more or fewer nodes.
    #[error("the answer has {got} scores for {wanted} candidates")]
    Nodes {
        /// Scores of the answer.
        got: usize,
        /// Nodes of the request.
        wanted: usize,
    },
    /// Scores in another order.
    #[error("score {index} of the answer is for node `{got}`, candidate {index} is `{wanted}`")]
    Node {
        /// Where.
        index: usize,
        /// The node of the answer.
        got: String,
        /// The node of the request.
        wanted: String,
    },
}

impl ScoreAnswer {
    /// Checks that this is about the pods and nodes that were asked for, in their order.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, request: &ScoreRequest) -> Result<(), Mismatch> {
        let (got, wanted) = (self.pods.len(), request.pods.len());
        if got != wanted {
            return Err(Mismatch::Pods { got, wanted });
        }
        // Without names all known nodes are wanted, and the server knows which these are.
        for pod in self.pods.iter().filter(|_| !request.nodes.is_empty()) {
            let (got, wanted) = (pod.nodes.len(), request.nodes.len());
            if got != wanted {
                return Err(Mismatch::Nodes { got, wanted });
            }
            let pairs = pod.nodes.iter().map(|score| &score.node).zip(&request.nodes);
            if let Some((index, (got, wanted))) = pairs.enumerate().find(|(_, (got, wanted))| got != wanted) {
                return Err(Mismatch::Node { index, got: got.clone(), wanted: wanted.clone() });
            }
        }
        Ok(())
    }
}
