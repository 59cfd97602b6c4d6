//! What `POST /v1/score` asks.

use crate::protocol::Refusal;
use features::cluster_state::Amount;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Pods, and the nodes that they may go to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreRequest {
    /// The pods, at least one.
    pub pods: Vec<PodAsk>,
    /// Names of candidate nodes; empty means all that are known.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// By node, what pods are expected to use that were placed there and that the metrics do not show yet.
    #[serde(default)]
    pub in_flight: HashMap<String, InFlight>,
    /// Whether forecasts and reasons come with the scores; by default for up to 100 scores.
    #[serde(default)]
    pub explain: Option<bool>,
}

/// One pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodAsk {
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

/// Cores or bytes beyond this are no cluster's.
pub const MOST: f64 = 1e18;
/// Scores that are explained unless the request says otherwise: a page of text for a person, not a megabyte for a scheduler.
const EXPLAINED: usize = 100;

impl InFlight {
    pub(super) fn amount(&self) -> Amount {
        Amount { cpu: self.cpu_cores as f32, memory: self.memory_bytes as f32 }
    }
}

impl PodAsk {
    pub(super) fn request(&self) -> Amount {
        Amount { cpu: self.cpu_request_cores as f32, memory: self.memory_request_bytes as f32 }
    }
}

impl ScoreRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 with what is wrong and where.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let request: Self = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("the body is no score request: {error}")))?;
        request.check()?;
        Ok(request)
    }

    /// Checks the values.
    ///
    /// # Errors
    /// 400 with the first that cannot be.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.pods.is_empty() {
            return Err(Refusal::bad("`pods` is empty, want at least one pod"));
        }
        let amount = |what: String, value: f64| {
            if (0.0..=MOST).contains(&value) {
                Ok(())
            } else {
                Err(Refusal::bad(format!("{what} is {value}, want a number from 0 to {MOST:e}")))
            }
        };
        for (place, pod) in self.pods.iter().enumerate() {
            amount(format!("`cpu_request_cores` of pod {place}"), pod.cpu_request_cores)?;
            amount(format!("`memory_request_bytes` of pod {place}"), pod.memory_request_bytes)?;
        }
        for (node, flight) in &self.in_flight {
            amount(format!("`cpu_cores` in flight to `{node}`"), flight.cpu_cores)?;
            amount(format!("`memory_bytes` in flight to `{node}`"), flight.memory_bytes)?;
        }
        Ok(())
    }

    pub(crate) fn detail(&self) -> bool {
        self.explain.unwrap_or(!self.nodes.is_empty() && self.pods.len() * self.nodes.len() <= EXPLAINED)
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
            ("[", "no score request"),
        ] {
            let refusal = ScoreRequest::parse(body.as_bytes()).expect_err(body);
            assert!(refusal.message.contains(said), "{refusal}");
        }
        let request = ScoreRequest::parse(br#"{"pods":[{"name":"a"}],"nodes":["n1"]}"#).expect("a request");
        assert!(request.detail());
    }
}
