//! The score of nodes for one pod, as a model of the protocol.

use crate::http::App;
use crate::protocol::{Datatype, InferRequest, InferResponse, Refusal, Tensor};
use crate::registry::ModelName;
use score_api::{NodeScore, PodRequest, ScoreRequest};
use serde_json::{Map, Value, json};
use server::gate::Work;

/// It has no file and so no version of its own; which versions it was made of is in the answer's parameters.
pub const VERSION: &str = "1";

const NODE: &str = "node";
const CPU: &str = "cpu_request_cores";
const MEMORY: &str = "memory_request_bytes";
const WORKLOAD: &str = "workload";

/// What `GET /v2/models/combined` says.
pub fn describe() -> Value {
    let tensor = |name: &str, datatype: Datatype, side: i64| json!({ "name": name, "datatype": datatype.as_str(), "shape": [side] });
    json!({
        "name": ModelName::Combined.as_str(),
        "versions": [VERSION],
        "platform": "berth",
        "inputs": [
            tensor(NODE, Datatype::Bytes, -1),
            tensor(CPU, Datatype::Fp64, 1),
            tensor(MEMORY, Datatype::Fp64, 1),
            tensor(WORKLOAD, Datatype::Bytes, 1),
        ],
        "outputs": (["score", "load", "placement", "anomaly"].map(|name| tensor(name, Datatype::Fp64, -1))),
        "parameters": { "optional_inputs": [CPU, MEMORY, WORKLOAD] },
    })
}

/// Answers.
///
/// # Errors
/// 400 when inputs do not fit; 413 for too many nodes.
pub fn infer(app: &App, request: &InferRequest, work: &Work) -> Result<InferResponse, Refusal> {
    request.expect_only(&[NODE, CPU, MEMORY, WORKLOAD])?;
    let nodes = request.input(NODE)?.as_texts()?.to_vec();
    if nodes.is_empty() {
        return Err(Refusal::bad(format!("input `{NODE}` names no node")));
    }
    let one = |name: &str| -> Result<f64, Refusal> {
        let Some(tensor) = request.optional(name) else { return Ok(0.0) };
        match tensor.as_numbers()? {
            [value] => Ok(*value),
            other => Err(Refusal::bad(format!("input `{name}` has {} values, want one", other.len()))),
        }
    };
    let workload = match request.optional(WORKLOAD).map(Tensor::as_texts).transpose()? {
        None => None,
        Some([workload]) => Some(workload.clone()),
        Some(other) => return Err(Refusal::bad(format!("input `{WORKLOAD}` has {} values, want one", other.len()))),
    };
    let pod = PodRequest {
        workload,
        cpu_request_cores: one(CPU)?,
        memory_request_bytes: one(MEMORY)?,
        ..PodRequest::default()
    };
    let ask = ScoreRequest { pods: vec![pod], nodes, explain: Some(false), ..ScoreRequest::default() };
    ask.check().map_err(|error| Refusal::bad(error.to_string()))?;
    limit(app, ask.pods.len(), ask.nodes.len())?;
    let answer = app.score(&ask, work)?;
    let of = |value: fn(&NodeScore) -> f64| -> Vec<f64> {
        answer.pods.iter().flat_map(|pod| pod.nodes.iter().map(value)).collect()
    };
    let outputs = vec![
        Tensor::numbers("score", Datatype::Fp64, of(|node| node.score)),
        Tensor::numbers("load", Datatype::Fp64, of(|node| node.parts.load.unwrap_or(f64::NAN))),
        Tensor::numbers("placement", Datatype::Fp64, of(|node| node.parts.placement.unwrap_or(f64::NAN))),
        Tensor::numbers("anomaly", Datatype::Fp64, of(|node| node.parts.anomaly.unwrap_or(f64::NAN))),
    ];
    let parameters = Map::from_iter([
        ("data_age_seconds".to_owned(), json!(answer.data_age_seconds)),
        ("models".to_owned(), json!(answer.models)),
        ("unknown_nodes".to_owned(), json!(answer.unknown_nodes)),
    ]);
    Ok(InferResponse { model: ModelName::Combined.as_str().into(), version: VERSION.into(), outputs, parameters })
}

/// How many scores so many pods on so many nodes are; no node means all that are known. Refuses more than the server works out at once.
///
/// # Errors
/// 413 with both numbers.
pub fn limit(app: &App, pods: usize, nodes: usize) -> Result<usize, Refusal> {
    let nodes = if nodes == 0 { app.fresh.view().nodes.len() } else { nodes };
    // Pods cost something where there is no node as well.
    let scores = pods.saturating_mul(nodes.max(1));
    if scores > app.limits.rows {
        return Err(Refusal::too_large(format!(
            "{pods} pods on {nodes} nodes are {scores} scores, at most {} are worked out at once: send several requests",
            app.limits.rows
        )));
    }
    Ok(scores)
}
