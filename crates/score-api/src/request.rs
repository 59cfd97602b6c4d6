//! What `POST /v1/score` asks.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Pods, and the nodes that they may go to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreRequest {
    /// The pods, at least one.
    pub pods: Vec<PodRequest>,
    /// Names of candidate nodes; empty means all that are known.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// By node, what pods are expected to use that were placed there and that the metrics do not show yet.
    #[serde(default)]
    pub in_flight: HashMap<String, InFlight>,
    /// Whether explanations come with the scores; by default for up to 100 scores.
    #[serde(default)]
    pub explain: Option<bool>,
}

/// One pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodRequest {
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// Its name; empty where it has none yet.
    #[serde(default)]
    pub name: String,
    /// Whose it is: `namespace/kind/name`, such as `shop/Deployment/cart`.
    #[serde(default)]
    pub workload: Option<String>,
    /// Cores that it requests.
    #[serde(default)]
    pub cpu_request_cores: f64,
    /// Bytes that it requests.
    #[serde(default)]
    pub memory_request_bytes: f64,
    /// Its priority.
    #[serde(default)]
    pub priority: i64,
}

/// What pods in flight to one node are expected to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InFlight {
    /// Cores.
    #[serde(default)]
    pub cpu_cores: f64,
    /// Bytes.
    #[serde(default)]
    pub memory_bytes: f64,
}

/// Cores or bytes beyond this exist in no cluster.
pub const MAX_AMOUNT: f64 = 1e18;
/// Scores that are explained unless the request says otherwise: a page of text for a person, not a megabyte for a scheduler.
const MAX_EXPLAINED: usize = 100;

/// A request that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRequest {
    /// The body is something else.
    #[error("the body is not a valid score request: {0}")]
    Json(#[from] serde_json::Error),
    /// There is no pod to score.
    #[error("`pods` is empty, want at least one pod")]
    NoPods,
    /// An amount that cannot be.
    #[error("{what} is {value}, want a number from 0 to {MAX_AMOUNT:e}")]
    Amount {
        /// Which amount of which pod or node.
        what: String,
        /// What was asked.
        value: f64,
    },
}

impl ScoreRequest {
    /// Reads a body and checks it.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidRequest> {
        let request: Self = serde_json::from_slice(body)?;
        request.check()?;
        Ok(request)
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        if self.pods.is_empty() {
            return Err(InvalidRequest::NoPods);
        }
        let amount = |value: f64, what: &dyn Fn() -> String| {
            if (0.0..=MAX_AMOUNT).contains(&value) {
                Ok(())
            } else {
                Err(InvalidRequest::Amount { what: what(), value })
            }
        };
        for (index, pod) in self.pods.iter().enumerate() {
            amount(pod.cpu_request_cores, &|| format!("`cpu_request_cores` of pod {index}"))?;
            amount(pod.memory_request_bytes, &|| format!("`memory_request_bytes` of pod {index}"))?;
        }
        for (node, flight) in &self.in_flight {
            amount(flight.cpu_cores, &|| format!("`cpu_cores` in flight to `{node}`"))?;
            amount(flight.memory_bytes, &|| format!("`memory_bytes` in flight to `{node}`"))?;
        }
        Ok(())
    }

    /// Whether explanations come with the scores.
    pub fn wants_explanations(&self) -> bool {
        self.explain
            .unwrap_or(!self.nodes.is_empty() && self.pods.len().saturating_mul(self.nodes.len()) <= MAX_EXPLAINED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        for (body, said) in [
            (r#"{"pods":[]}"#, "`pods` is empty"),
            (r#"{"pods":[{"cpu_request_cores":-1}]}"#, "`cpu_request_cores` of pod 0 is -1"),
            (r#"{"pods":[{}],"in_flight":{"n1":{"memory_bytes":1e300}}}"#, "`n1`"),
            (r#"{"pods":[{"cpu":1}]}"#, "unknown field `cpu`"),
            (r#"{"nodes":["n1"]}"#, "missing field `pods`"),
            ("[", "not a valid score request"),
        ] {
            let error = ScoreRequest::parse(body.as_bytes()).expect_err(body);
            assert!(error.to_string().contains(said), "{error}");
        }
        let request = ScoreRequest::parse(br#"{"pods":[{"name":"a"}],"nodes":["n1"]}"#).expect("a request");
        assert!(request.wants_explanations());
        assert!(!ScoreRequest { nodes: vec![String::new(); 101], ..request }.wants_explanations());
    }
}
