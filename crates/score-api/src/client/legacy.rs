//! What a `serving` of 0.1 answers: without `api_version`, with `at` of the nodes in milliseconds, with explanations beside the score, and with
//! fields left out where nothing is known. It is read so that an extender may be upgraded before its `serving`, and only where
//! `api_version` is absent: a field that a current server misspells is never taken for an old one's. This goes with 0.3.

use crate::{
    Anomaly, ApiVersion, Arm, ExpectedUsage, MissingReason, NodeDescription, NodeExplanation, NodeList, NodeScore,
    PodScores, ScoreAnswer, Timestamp, UsageSource,
};
use cluster::score::{PartWeights, Parts, Strategy};
use cluster::{AnomalyKind, Severity};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;

/// An answer, and the form that it had.
pub(super) trait Versioned: DeserializeOwned {
    /// As 0.1 wrote it.
    type Legacy: DeserializeOwned + Into<Self>;
}

impl Versioned for ScoreAnswer {
    type Legacy = Scores;
}

impl Versioned for NodeList {
    type Legacy = Nodes;
}

/// Reads an answer of this version, or of 0.1 where it names none.
pub(super) fn read<T: Versioned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let error = match serde_json::from_slice(body) {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    #[derive(Deserialize)]
    struct Version {
        api_version: Option<IgnoredAny>,
    }
    let is_legacy = serde_json::from_slice(body).is_ok_and(|it: Version| it.api_version.is_none());
    match serde_json::from_slice::<T::Legacy>(body) {
        Ok(answer) if is_legacy => Ok(answer.into()),
        _ => Err(error),
    }
}

#[derive(Deserialize)]
pub(super) struct Scores {
    data_age_seconds: Option<f64>,
    #[serde(default)]
    models: BTreeMap<String, String>,
    pods: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    expected: Expected,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Expected {
    cpu_cores: f32,
    memory_bytes: f32,
}

#[derive(Deserialize)]
struct Node {
    node: String,
    score: Option<f64>,
    parts: Parts,
    uncertainty: Option<f64>,
    #[serde(default)]
    missing: Vec<MissingReason>,
    data_age_seconds: Option<f64>,
    severity: Option<Severity>,
    #[serde(default)]
    reasons: Vec<String>,
}

impl From<Scores> for ScoreAnswer {
    fn from(old: Scores) -> Self {
        Self {
            api_version: ApiVersion,
            at: None,
            data_age_seconds: old.data_age_seconds,
            models: old.models,
            challenger_models: None,
            weights: PartWeights::DESIGN,
            // It knew no other formula.
            strategy: Strategy::Pack,
            pods: old.pods.into_iter().map(PodScores::from).collect(),
            unknown_nodes: Vec::new(),
        }
    }
}

impl From<Pod> for PodScores {
    fn from(old: Pod) -> Self {
        let Expected { cpu_cores, memory_bytes } = old.expected;
        Self {
            namespace: String::new(),
            name: String::new(),
            arm: Arm::Champion,
            expected: ExpectedUsage { cpu_cores, memory_bytes, source: UsageSource::Requests },
            nodes: old.nodes.into_iter().map(NodeScore::from).collect(),
        }
    }
}

impl From<Node> for NodeScore {
    fn from(old: Node) -> Self {
        let Node { node, score, parts, uncertainty, missing, data_age_seconds, severity, reasons } = old;
        // Of a node without any part 0.1 said the mean of the others; who weighs the parts by itself does not read it.
        let score = score.or_else(|| PartWeights::DESIGN.combine(&parts)).unwrap_or_default();
        let explanation =
            (!reasons.is_empty()).then(|| Box::new(NodeExplanation { reasons, ..NodeExplanation::default() }));
        Self { node, score, parts, uncertainty, peak: None, missing, data_age_seconds, severity, explanation }
    }
}

#[derive(Deserialize)]
pub(super) struct Nodes {
    /// UTC milliseconds.
    at: Option<i64>,
    #[serde(default)]
    models: BTreeMap<String, String>,
    nodes: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    node: String,
    data_age_seconds: f64,
    stale: bool,
    anomaly: Option<Odd>,
}

#[derive(Deserialize)]
struct Odd {
    severity: Option<Severity>,
}

impl From<Nodes> for NodeList {
    fn from(old: Nodes) -> Self {
        // 0.1 did not tell the age of its refresh; the newest sample is as old or older.
        let ages = old.nodes.iter().map(|node| node.data_age_seconds);
        let youngest = ages.fold(f64::INFINITY, f64::min);
        Self {
            api_version: ApiVersion,
            at: old.at.map(Timestamp::from_millis),
            data_age_seconds: old.at.is_some().then_some(youngest).filter(|age| age.is_finite()),
            models: old.models,
            workloads_known: 0,
            nodes: old.nodes.into_iter().map(NodeDescription::from).collect(),
        }
    }
}

impl From<Described> for NodeDescription {
    fn from(old: Described) -> Self {
        let anomaly = old.anomaly.map(|odd| Anomaly {
            score: 0.0,
            severity: odd.severity,
            kind: AnomalyKind::Performance,
            blame: Vec::new(),
        });
        Self {
            node: old.node,
            data_age_seconds: old.data_age_seconds,
            stale: old.stale,
            cpu_utilization: None,
            memory_utilization: None,
            cpu_allocatable_cores: None,
            memory_allocatable_bytes: None,
            pods: 0,
            forecasts: None,
            anomaly,
            features_at: None,
            features: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `serving` 0.1.0 wrote them.
    const SCORES: &str = r#"{"at":"2026-06-01T12:00:00Z","data_age_seconds":5.0,"models":{"load-predictor":"1"},"weights":{"load":0.3,"placement":0.4,"anomaly":0.3},
        "pods":[{"namespace":"shop","name":"cart","arm":"champion","expected":{"cpu_cores":0.25,"memory_bytes":1e8,"source":"requests"},
        "nodes":[{"node":"n1","score":0.5,"parts":{"load":0.5,"placement":null,"anomaly":null},"data_age_seconds":5.0,"severity":"critical","forecast":{},"reasons":["full"]}]}],
        "unknown_nodes":[]}"#;
    const NODES: &str = r#"{"at":1780315200000,"models":{"load-predictor":"1"},"workloads_known":3,"nodes":[{"node":"n1","data_age_seconds":5.0,"stale":false,
        "cpu_utilization":0.5,"memory_utilization":0.5,"cpu_allocatable_cores":8.0,"memory_allocatable_bytes":1e9,"pods":3,"forecasts":null,
        "anomaly":{"score":0.9,"severity":"critical","kind":"resource","blame":[]}}]}"#;

    #[test]
    fn a_serving_of_0_1_is_understood() {
        let answer: ScoreAnswer = read(SCORES.as_bytes()).expect("scores");
        let node = &answer.pods[0].nodes[0];
        assert_eq!((node.parts.load, node.severity), (Some(0.5), Some(Severity::Critical)));
        assert_eq!(
            node.explanation.as_ref().map(|explanation| explanation.reasons.as_slice()),
            Some(&["full".to_owned()][..])
        );
        let list: NodeList = read(NODES.as_bytes()).expect("nodes");
        assert_eq!((list.at, list.data_age_seconds), (Some(Timestamp::from_millis(1_780_315_200_000)), Some(5.0)));
        assert_eq!(list.nodes[0].anomaly.as_ref().and_then(|anomaly| anomaly.severity), Some(Severity::Critical));
    }

    #[test]
    fn a_server_that_names_its_version_is_never_taken_for_an_old_one() {
        let now = SCORES.replacen('{', r#"{"api_version":1,"#, 1);
        let error = read::<ScoreAnswer>(now.as_bytes()).expect_err("fields are missing");
        assert!(error.to_string().contains("missing field `uncertainty`"), "{error}");
        let later = SCORES.replacen('{', r#"{"api_version":2,"#, 1);
        let error = read::<ScoreAnswer>(later.as_bytes()).expect_err("another version");
        assert!(error.to_string().contains("`api_version` 1"), "{error}");
    }
}
