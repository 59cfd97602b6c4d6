//! Scores of a `serving` that runs elsewhere: one call per pod with all of its candidates, over connections that are kept. A breaker
//! leaves a server that fails alone for a moment, so that pods do not pay for finding it out one by one.

use super::{Condition, NodeScore, Scores, ScoringError};
use crate::ledger::Usage;
use models::anomaly::Severity;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serving::score::ScoreRequest;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// So many failures in a row open the breaker.
const FAILURES: u32 = 5;
/// It is tried again after this, by one request.
const OPEN_MILLIS: i64 = 1_000;
/// All nodes are looked at this often: half of the distance of samples.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Workloads whose expected usage is remembered.
const MOST_WORKLOADS: usize = 50_000;

/// What was last seen of the server's nodes.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    condition: Condition,
    /// Newest sample by node, UTC milliseconds.
    sampled: HashMap<String, i64>,
    /// Nodes whose samples are stale.
    stale: HashSet<String>,
    /// Nodes whose newest reading is a critical anomaly.
    critical: BTreeSet<String>,
}

/// A `serving` elsewhere.
#[derive(Debug)]
pub struct Remote {
    client: Client,
    url: Url,
    seen: RwLock<Arc<Seen>>,
    expected: RwLock<HashMap<String, Usage>>,
    failures: AtomicU32,
    /// When the breaker lets the next request through, UTC milliseconds; 0 while it is closed.
    opens_at: AtomicI64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data_age_seconds: Option<f64>,
    #[serde(default)]
    models: BTreeMap<String, String>,
    pods: Vec<PodScores>,
}

#[derive(Deserialize)]
struct PodScores {
    expected: Expected,
    nodes: Vec<NodeScore>,
}

#[derive(Deserialize)]
struct Expected {
    cpu_cores: f64,
    memory_bytes: f64,
}

#[derive(Deserialize)]
struct Nodes {
    at: Option<i64>,
    #[serde(default)]
    models: BTreeMap<String, String>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    node: String,
    data_age_seconds: f64,
    stale: bool,
    #[serde(default)]
    anomaly: Option<Anomaly>,
}

#[derive(Deserialize)]
struct Anomaly {
    severity: Option<Severity>,
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

impl Remote {
    /// A server by its address; it is not asked yet.
    pub fn new(url: Url, client: Client) -> Self {
        let away = Seen { condition: Condition { away: true, ..Condition::default() }, ..Seen::default() };
        Self {
            client,
            url,
            seen: RwLock::new(Arc::new(away)),
            expected: RwLock::default(),
            failures: AtomicU32::new(0),
            opens_at: AtomicI64::new(0),
        }
    }

    /// Looks at its nodes for as long as the process lives.
    pub async fn keep_looking(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let looked = self.read::<Nodes>(self.client.get(self.address("/v1/nodes")).timeout(LOOK_EVERY)).await;
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            match looked {
                Ok(nodes) => {
                    if seen.condition.away {
                        tracing::info!(url = %self.url, nodes = nodes.nodes.len(), "serving answers");
                    }
                    *seen = Arc::new(Seen::of(nodes, now()));
                }
                Err(error) => {
                    if !std::mem::replace(&mut Arc::make_mut(&mut seen).condition.away, true) {
                        tracing::warn!(
                            error = format!("{:#}", anyhow::Error::new(error)),
                            "serving does not answer, trying again"
                        );
                    }
                }
            }
        }
    }

    fn address(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    async fn read<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ScoringError> {
        let unreachable = |source| ScoringError::Unreachable { url: self.url.to_string(), source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            let said = response.text().await.unwrap_or_default().chars().take(200).collect();
            return Err(ScoringError::Refused { url: self.url.to_string(), status: status.as_u16(), said });
        }
        response.json().await.map_err(unreachable)
    }

    async fn guarded<T: DeserializeOwned>(&self, request: &ScoreRequest) -> Result<T, ScoringError> {
        let opens_at = self.opens_at.load(Ordering::Relaxed);
        let at = now();
        // Of all that come when the time has passed, the first one tries and the others wait for what it finds.
        let may_try = opens_at == 0
            || (at >= opens_at
                && self
                    .opens_at
                    .compare_exchange(opens_at, at + OPEN_MILLIS, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok());
        if !may_try {
            return Err(ScoringError::BreakerOpen);
        }
        let trial = Trial { of: self, is_settled: false };
        let result = self.read(self.client.post(self.address("/v1/score")).json(request)).await;
        trial.settle(result.is_ok());
        result
    }

    /// Whether the breaker keeps requests away.
    pub fn is_open(&self) -> bool {
        self.opens_at.load(Ordering::Relaxed) != 0
    }

    pub(super) async fn ask(&self, request: &ScoreRequest) -> Result<Value, ScoringError> {
        self.guarded(request).await
    }

    pub(super) async fn score(&self, request: &ScoreRequest) -> Result<Scores, ScoringError> {
        let answer: Answer = self.guarded(request).await?;
        let Some(pod) = answer.pods.into_iter().next() else { return Ok(Scores::default()) };
        let expected = Usage { cpu_cores: pod.expected.cpu_cores, memory_bytes: pod.expected.memory_bytes };
        if let Some(workload) = request.pods.first().and_then(|pod| pod.workload.clone()) {
            let mut known = self.expected.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST_WORKLOADS {
                known.clear();
            }
            known.insert(workload, expected);
        }
        Ok(Scores { nodes: pod.nodes, versions: answer.models, data_age_seconds: answer.data_age_seconds, expected })
    }

    /// What was last seen of all nodes.
    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn condition(&self) -> Condition {
        let seen = self.seen();
        Condition { away: seen.condition.away || self.is_open(), ..seen.condition.clone() }
    }

    pub(super) fn critical_nodes(&self) -> (BTreeSet<String>, usize) {
        let seen = self.seen();
        let critical = if seen.condition.away { BTreeSet::new() } else { seen.critical.clone() };
        (critical, seen.condition.nodes)
    }

    pub(super) fn sampled_at(&self, node: &str) -> Option<i64> {
        self.seen().sampled_at(node)
    }

    pub(super) fn expected(&self, workload: &str) -> Option<Usage> {
        self.expected.read().unwrap_or_else(PoisonError::into_inner).get(workload).copied()
    }
}

/// A request under way. One that is dropped, since its time has passed, has failed.
struct Trial<'a> {
    of: &'a Remote,
    is_settled: bool,
}

impl Trial<'_> {
    fn settle(mut self, is_well: bool) {
        self.is_settled = true;
        self.of.count(is_well);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.of.count(false);
        }
    }
}

impl Remote {
    fn count(&self, is_well: bool) {
        if is_well {
            self.failures.store(0, Ordering::Relaxed);
            if self.opens_at.swap(0, Ordering::Relaxed) != 0 {
                tracing::info!(url = %self.url, "the breaker is closed again");
            }
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES
            && self.opens_at.swap(now() + OPEN_MILLIS, Ordering::Relaxed) == 0
        {
            tracing::warn!(url = %self.url, failures = FAILURES, "the breaker is open: serving failed too often");
        }
    }
}

impl Seen {
    pub(super) fn sampled_at(&self, node: &str) -> Option<i64> {
        self.sampled.get(node).copied()
    }

    pub(super) fn is_stale(&self, node: &str) -> bool {
        self.stale.contains(node)
    }

    fn of(nodes: Nodes, now: i64) -> Self {
        let stale: HashSet<String> =
            nodes.nodes.iter().filter(|node| node.stale).map(|node| node.node.clone()).collect();
        let condition = Condition {
            lacking: if nodes.models.is_empty() { vec!["serving has no models".to_owned()] } else { Vec::new() },
            nodes: nodes.nodes.len(),
            stale: stale.len(),
            data_age_seconds: nodes.at.map(|at| (now - at).max(0) as f64 / 1e3),
            models: nodes.models,
            // `serving` looks at that itself, and calls its nodes stale.
            clock_skew: None,
            away: false,
        };
        let is_critical = |node: &&Node| {
            !node.stale && node.anomaly.as_ref().is_some_and(|anomaly| anomaly.severity == Some(Severity::Critical))
        };
        let critical = nodes.nodes.iter().filter(is_critical).map(|node| node.node.clone()).collect();
        let sampled = nodes.nodes.into_iter().map(|node| (node.node, now - (node.data_age_seconds * 1e3) as i64));
        Self { condition, sampled: sampled.collect(), stale, critical }
    }
}
