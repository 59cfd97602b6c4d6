//! Scores of nodes: worked out here with the library of `serving`, or asked of a `serving` that runs elsewhere.

mod embedded;
mod remote;

pub use embedded::{Embedded, EmbeddedSetup};
pub use remote::Remote;

use crate::kubernetes::Pod;
use crate::ledger::Usage;
use cluster::score::{PartWeights, Parts, Strategy};
use models::anomaly::Severity;
use serde::Deserialize;
use serde_json::Value;
use serving::score::{MOST, PodAsk, ScoreRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What is known of a candidate.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct NodeScore {
    /// What the score is made of. A value that is no number is none.
    #[serde(default)]
    pub parts: Parts,
    /// Scores that are closer than this are as good as equal.
    #[serde(default)]
    pub uncertainty: Option<f64>,
    /// The highest P90 forecast with the pod, as a share of allocatable.
    #[serde(default)]
    pub peak: Option<f64>,
    /// Of its newest reading.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Age of its newest sample.
    #[serde(default)]
    pub data_age_seconds: Option<f64>,
}

impl NodeScore {
    /// The score, if anything is known that it is made of.
    pub fn score(&self, weights: &PartWeights) -> Option<f64> {
        let known = |part: Option<f64>| part.filter(|part| part.is_finite()).map(|part| part.clamp(0.0, 1.0));
        let parts = Parts {
            load: known(self.parts.load),
            placement: known(self.parts.placement),
            anomaly: known(self.parts.anomaly),
        };
        weights.combine(&parts)
    }
}

/// The scores of one pod's candidates, in the order that they were asked in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// As many as were asked for.
    pub nodes: Vec<NodeScore>,
    /// The models that were asked.
    pub versions: BTreeMap<String, String>,
    /// Age of the newest refresh.
    pub data_age_seconds: Option<f64>,
    /// What the pod is expected to use.
    pub expected: Usage,
}

/// How the scorer does, as far as it knows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    /// Models that answer, by name and version.
    pub models: BTreeMap<String, String>,
    /// What does not, one sentence each.
    pub lacking: Vec<String>,
    /// Nodes that metrics name.
    pub nodes: usize,
    /// Those of them whose samples are stale.
    pub stale: usize,
    /// Age of the newest refresh; `None` before the first.
    pub data_age_seconds: Option<f64>,
    /// The scorer cannot be reached.
    pub away: bool,
}

/// Scores could not be worked out.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// The work ended by a panic.
    #[error("the scorer ended by a panic")]
    Panicked,
    /// Nothing is loaded yet.
    #[error("no models are loaded yet")]
    NotReady,
    /// Failures lately were too many: it is left alone for a while.
    #[error("the breaker is open: `serving` failed too often, it is asked again in a moment")]
    BreakerOpen,
    /// The server cannot be reached or broke off.
    #[error("failed to ask `{url}`")]
    Unreachable {
        /// Which server.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server said something else.
    #[error("`{url}` answered {status}: {said}")]
    Refused {
        /// Which server.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of what it said.
        said: String,
    },
    /// The answer is not about what was asked.
    #[error("the answer has {got} scores for {wanted} candidates")]
    Mismatch {
        /// Scores that came.
        got: usize,
        /// Candidates that were asked for.
        wanted: usize,
    },
}

/// Where scores come from.
#[derive(Debug)]
pub enum Scoring {
    /// This process.
    Embedded(Embedded),
    /// Another one.
    Remote(Box<Remote>),
}

impl Scoring {
    /// Scores one pod's candidates, by these weights and this strategy where they are worked out here. Whoever does not want to wait any longer drops the
    /// future; what cannot be stopped goes on, and keeps its `place` until it has ended, so that work that hangs does not pile up.
    ///
    /// # Errors
    /// When nothing answers, or something else than scores.
    pub async fn score(
        &self,
        request: &Arc<ScoreRequest>,
        weights: PartWeights,
        strategy: Strategy,
        place: OwnedSemaphorePermit,
    ) -> Result<Scores, ScoringError> {
        let wanted = request.nodes.len();
        let scores = match self {
            Self::Embedded(embedded) => embedded.score(Arc::clone(request), weights, strategy, place).await?,
            Self::Remote(remote) => {
                // Dropping the future ends the request.
                let _place = place;
                remote.score(request).await?
            }
        };
        let got = scores.nodes.len();
        if got == wanted { Ok(scores) } else { Err(ScoringError::Mismatch { got, wanted }) }
    }

    /// Forecasts and reasons for a few candidates, for people.
    ///
    /// # Errors
    /// See [`Scoring::score`].
    pub async fn explain(
        &self,
        mut request: ScoreRequest,
        weights: PartWeights,
        strategy: Strategy,
    ) -> Result<Value, ScoringError> {
        request.explain = Some(true);
        match self {
            Self::Embedded(embedded) => embedded.explain(Arc::new(request), weights, strategy).await,
            Self::Remote(remote) => remote.ask(&request).await,
        }
    }

    /// How it does.
    pub fn condition(&self) -> Condition {
        match self {
            Self::Embedded(embedded) => embedded.condition(),
            Self::Remote(remote) => remote.condition(),
        }
    }

    /// Nodes whose newest reading is a critical anomaly, and how many nodes there are. What is stale is not critical.
    pub fn critical_nodes(&self) -> (BTreeSet<String>, usize) {
        match self {
            Self::Embedded(embedded) => embedded.critical_nodes(),
            Self::Remote(remote) => remote.critical_nodes(),
        }
    }

    /// The newest sample of a node, UTC milliseconds.
    pub fn sampled_at(&self, node: &str) -> Option<i64> {
        match self {
            Self::Embedded(embedded) => embedded.sampled_at(node),
            Self::Remote(remote) => remote.sampled_at(node),
        }
    }

    /// Whether a node is known, by samples that are stale.
    pub fn is_stale(&self, node: &str) -> bool {
        match self {
            Self::Embedded(embedded) => embedded.is_stale(node),
            Self::Remote(remote) => remote.is_stale(node),
        }
    }

    /// What a pod will use: by its workload's history where that is known here, else by its requests.
    pub fn expected(&self, pod: &Pod) -> Usage {
        let ask = pod_ask(pod);
        let request = Usage { cpu_cores: ask.cpu_request_cores, memory_bytes: ask.memory_request_bytes };
        match self {
            Self::Embedded(embedded) => embedded.expected(ask.workload.as_deref(), request),
            Self::Remote(remote) => {
                let known = ask.workload.as_deref().and_then(|workload| remote.expected(workload));
                known.unwrap_or(request)
            }
        }
    }
}

/// A pod as scores are asked for.
pub fn pod_ask(pod: &Pod) -> PodAsk {
    let (cpu, memory) = pod.requests();
    PodAsk {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        workload: pod.workload(),
        cpu_request_cores: cpu.min(MOST),
        memory_request_bytes: memory.min(MOST),
        priority: pod.spec.priority.unwrap_or_default(),
    }
}
