//! Scores of a `serving` that runs elsewhere: one call per pod with all of its candidates.

use super::{Condition, Scores, ScoringError};
use crate::ledger::{Standing, Usage};
use cluster::Severity;
use reqwest::{Client, Url};
use score_api::client::ScoreClient;
use score_api::{NodeDescription, NodeList, ScoreAnswer, ScoreRequest, UsageSource};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// All nodes are looked at this often: half of the distance of samples.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Nobody waits for an explanation but the memory of decisions.
const EXPLAIN_WITHIN: Duration = Duration::from_secs(10);
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
    client: ScoreClient,
    /// For pods that the API server has not told of: with a circuit breaker of its own, so that made-up ones do not open that of all others.
    for_unknown: ScoreClient,
    /// The longest time for scores.
    deadline: Duration,
    seen: RwLock<Arc<Seen>>,
    expected: RwLock<HashMap<String, Usage>>,
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

impl Remote {
    /// A server by its address, which is given `deadline` for scores; it is not asked yet.
    pub fn new(url: Url, client: Client, deadline: Duration) -> Self {
        let away = Seen { condition: Condition { away: true, ..Condition::default() }, ..Seen::default() };
        let seen = RwLock::new(Arc::new(away));
        let for_unknown = ScoreClient::new(url.clone(), client.clone());
        Self { client: ScoreClient::new(url, client), for_unknown, deadline, seen, expected: RwLock::default() }
    }

    /// Looks at its nodes for as long as the process lives.
    pub async fn keep_looking(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    /// Looks at its nodes once.
    pub async fn look(&self) {
        let listed = self.client.nodes(LOOK_EVERY).await;
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let url = self.client.url();
        match listed {
            Ok(list) => {
                if seen.condition.away {
                    tracing::info!(%url, nodes = list.nodes.len(), "serving answers");
                }
                *seen = Arc::new(Seen::of(list, now()));
            }
            Err(error) => {
                if !std::mem::replace(&mut Arc::make_mut(&mut seen).condition.away, true) {
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(%url, error, "failed to list the nodes of serving, retrying");
                }
            }
        }
    }

    pub(super) async fn explain(&self, request: &ScoreRequest) -> Result<ScoreAnswer, ScoringError> {
        Ok(self.client.score(request, EXPLAIN_WITHIN).await?)
    }

    pub(super) async fn score(&self, request: &ScoreRequest, standing: Standing) -> Result<Scores, ScoringError> {
        let client = if standing == Standing::Unknown { &self.for_unknown } else { &self.client };
        let answer = client.score(request, self.deadline).await?;
        // What a pod requests is told again by `serving` where it knows no history, and says nothing of others of its workload.
        let is_history = answer.pods.first().is_some_and(|pod| pod.expected.source == UsageSource::Workload);
        let scores = Scores::of(answer);
        if let Some(workload) = request.pods.first().and_then(|pod| pod.workload.clone()).filter(|_| is_history) {
            let mut known = self.expected.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST_WORKLOADS {
                known.clear();
            }
            known.insert(workload, scores.expected);
        }
        Ok(scores)
    }

    /// Whether its circuit breaker keeps requests about the cluster's pods away.
    pub fn is_open(&self) -> bool {
        self.client.is_open()
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

impl Seen {
    pub(super) fn sampled_at(&self, node: &str) -> Option<i64> {
        self.sampled.get(node).copied()
    }

    pub(super) fn is_stale(&self, node: &str) -> bool {
        self.stale.contains(node)
    }

    fn of(list: NodeList, now: i64) -> Self {
        let stale: HashSet<String> =
            list.nodes.iter().filter(|node| node.stale).map(|node| node.node.clone()).collect();
        let condition = Condition {
            lacking: if list.models.is_empty() { vec!["serving has no models".to_owned()] } else { Vec::new() },
            nodes: list.nodes.len(),
            stale: stale.len(),
            data_age_seconds: list.data_age_seconds,
            models: list.models,
            // `serving` looks at that itself, and calls its nodes stale.
            clock_skew: None,
            away: false,
        };
        let is_critical = |node: &&NodeDescription| {
            !node.stale && node.anomaly.as_ref().is_some_and(|anomaly| anomaly.severity == Some(Severity::Critical))
        };
        let critical = list.nodes.iter().filter(is_critical).map(|node| node.node.clone()).collect();
        let sampled = list.nodes.into_iter().map(|node| (node.node, now - (node.data_age_seconds * 1e3) as i64));
        Self { condition, sampled: sampled.collect(), stale, critical }
    }
}
