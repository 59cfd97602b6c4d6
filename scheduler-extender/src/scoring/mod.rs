//! Scores of nodes: worked out here with the library of `serving`, or asked of a `serving` that runs elsewhere.

mod embedded;
mod remote;
mod samples;

pub use embedded::{Embedded, EmbeddedSetup};
pub use remote::Remote;
pub use samples::Samples;

use crate::kubernetes::{Pod, Requests};
use crate::ledger::{Standing, Usage};
use cluster::score::{PartWeights, Strategy};
use score_api::client::ClientError;
use score_api::{MAX_AMOUNT, NodeScore, PodRequest, ScoreAnswer, ScoreRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What makes one score better than another, where scores are worked out here.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Preferences {
    /// How much each part counts.
    pub weights: PartWeights,
    /// Which nodes the load part prefers.
    pub strategy: Strategy,
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

impl Scores {
    /// Of the answer to a request for one pod.
    fn of(answer: ScoreAnswer) -> Self {
        let Some(pod) = answer.pods.into_iter().next() else { return Self::default() };
        let (cpu_cores, memory_bytes) = (f64::from(pod.expected.cpu_cores), f64::from(pod.expected.memory_bytes));
        Self {
            nodes: pod.nodes,
            versions: answer.models,
            data_age_seconds: answer.data_age_seconds,
            expected: Usage { cpu_cores, memory_bytes },
        }
    }
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
    /// How far the clock of the source of samples is ahead of ours, milliseconds; `None` where it was not asked.
    pub clock_skew: Option<i64>,
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
    /// The `serving` elsewhere did not answer with scores.
    #[error(transparent)]
    Serving(#[from] ClientError),
    /// The answer is not about what was asked.
    #[error("the answer has {got} scores for {wanted} candidates")]
    Mismatch {
        /// Scores that came.
        got: usize,
        /// Candidates that were asked for.
        wanted: usize,
    },
}

impl ScoringError {
    /// Whether the deadline has passed.
    pub const fn is_late(&self) -> bool {
        matches!(self, Self::Serving(ClientError::Late { .. }))
    }
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
    /// Scores one pod's candidates, by these preferences where they are worked out here. `standing`: whether the pod is one of the cluster's;
    /// what comes of others does not tell how the scorer does. Whoever does not want to wait any longer drops the
    /// future; what cannot be stopped goes on, and keeps its `place` until it has ended, so that work that hangs does not pile up.
    ///
    /// # Errors
    /// When nothing answers, or something else than scores.
    pub async fn score(
        &self,
        request: &Arc<ScoreRequest>,
        by: Preferences,
        standing: Standing,
        place: OwnedSemaphorePermit,
    ) -> Result<Scores, ScoringError> {
        let wanted = request.nodes.len();
        let scores = match self {
            Self::Embedded(embedded) => embedded.score(Arc::clone(request), by, place).await?,
            Self::Remote(remote) => {
                // Dropping the future ends the request.
                let _place = place;
                remote.score(request, standing).await?
            }
        };
        let got = scores.nodes.len();
        if got == wanted { Ok(scores) } else { Err(ScoringError::Mismatch { got, wanted }) }
    }

    /// Forecasts and reasons for a few candidates, for people.
    ///
    /// # Errors
    /// See [`Scoring::score`].
    pub async fn explain(&self, mut request: ScoreRequest, by: Preferences) -> Result<ScoreAnswer, ScoringError> {
        request.explain = Some(true);
        match self {
            Self::Embedded(embedded) => embedded.explain(Arc::new(request), by).await,
            Self::Remote(remote) => remote.explain(&request).await,
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

    /// The newest samples of all nodes as they are now: whoever has them waits for nobody.
    pub fn samples(&self) -> Samples {
        match self {
            Self::Embedded(embedded) => embedded.samples(),
            Self::Remote(remote) => Samples::Remote(remote.seen()),
        }
    }

    /// What a pod will use: by its workload's history where that is known here, else by its requests.
    pub fn expected(&self, pod: &Pod) -> Usage {
        let asked = pod_request(pod);
        let request = Usage { cpu_cores: asked.cpu_request_cores, memory_bytes: asked.memory_request_bytes };
        match self {
            Self::Embedded(embedded) => embedded.expected(asked.workload.as_deref(), request),
            Self::Remote(remote) => {
                let known = asked.workload.as_deref().and_then(|workload| remote.expected(workload));
                known.unwrap_or(request)
            }
        }
    }
}

/// A pod as scores are asked for.
pub fn pod_request(pod: &Pod) -> PodRequest {
    let requests = requests_or_none(pod);
    PodRequest {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        workload: pod.workload(),
        cpu_request_cores: requests.cpu_cores.min(MAX_AMOUNT),
        memory_request_bytes: requests.memory_bytes.min(MAX_AMOUNT),
        priority: pod.spec.priority.unwrap_or_default(),
    }
}

/// What a pod requests. kube-scheduler's pods were looked at when they came in; one that the API server tells of has passed its checks.
fn requests_or_none(pod: &Pod) -> Requests {
    pod.requests().unwrap_or_else(|error| {
        let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
        tracing::warn!(namespace, pod = name, %error, "a request of a pod cannot be read, so the pod counts without any");
        Requests::default()
    })
}
