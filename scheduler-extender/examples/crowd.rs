//! An API server with many nodes and pods, and a `serving` that knows the nodes: what a running extender needs to follow a large cluster
//! is measured beside it.
//!
//! ```sh
//! cargo run -p scheduler-extender --example crowd -- --listen 127.0.0.1:7777 --nodes 5000 --pods 100000
//! scheduler-extender run --kubeconfig KUBECONFIG --scoring http://127.0.0.1:7777
//! ```

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Parser;
use cluster::score::{PartWeights, Parts, Strategy};
use score_api::{
    ApiVersion, Arm, ExpectedUsage, NODES_PATH, NodeDescription, NodeList, NodeScore, PodRequest, PodScores,
    SCORE_PATH, ScoreAnswer, ScoreRequest, Timestamp, UsageSource,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Plays an API server with many nodes and pods, and a serving that knows the nodes
#[derive(Debug, Clone, Parser)]
struct Cli {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    /// Nodes
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    /// Pods, all of them bound an hour ago
    #[arg(long, default_value_t = 100_000)]
    pods: usize,
    /// Pods that were bound just now, and whose load is reserved
    #[arg(long, default_value_t = 1_000)]
    fresh: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let listener = tokio::net::TcpListener::bind(cli.listen).await?;
    let app = Router::new()
        .route("/api/v1/{kind}", get(objects))
        .route(NODES_PATH, get(nodes))
        .route(SCORE_PATH, post(score))
        .with_state(cli);
    axum::serve(listener, app).await?;
    Ok(())
}

/// A node as the API server tells it, with what makes it large.
fn node(place: usize) -> Value {
    let images: Vec<Value> =
        (0..30).map(|image| json!({ "names": [format!("registry.example/team/image-{image}@sha256:{:064}", image)], "sizeBytes": 1 })).collect();
    json!({ "metadata": { "name": format!("node-{place}"), "uid": place.to_string(), "labels": { "kubernetes.io/hostname": format!("node-{place}") } },
        "status": { "allocatable": { "cpu": "32", "memory": "128Gi" }, "images": images } })
}

fn pod(cli: &Cli, place: usize) -> Value {
    let age = if place < cli.fresh { 0 } else { 3_600 };
    let at = (chrono::Utc::now() - chrono::Duration::seconds(age)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    json!({
        "metadata": { "name": format!("web-{place}"), "namespace": "shop", "uid": format!("uid-{place}"), "labels": { "pod-template-hash": "5d9c7", "app": "web" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": format!("web-{}-5d9c7", place % 1_000), "controller": true }],
            "managedFields": [{ "manager": "kubelet", "operation": "Update", "fieldsV1": { "f:status": { "f:conditions": "x".repeat(1_500) } } }] },
        "spec": { "nodeName": format!("node-{}", place % cli.nodes), "containers": [{ "name": "main", "image": "registry.example/team/image-1",
            "resources": { "requests": { "cpu": "250m", "memory": "256Mi" } }, "env": [{ "name": "A", "value": "y".repeat(500) }] }] },
        "status": { "phase": "Running", "conditions": [{ "type": "PodScheduled", "status": "True", "lastTransitionTime": at }] },
    })
}

async fn objects(
    State(cli): State<Cli>,
    Path(kind): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if query.contains_key("sendInitialEvents") {
        // As an API server of before 1.32, which is asked for pieces.
        return (axum::http::StatusCode::UNPROCESSABLE_ENTITY, "sendInitialEvents is forbidden").into_response();
    }
    if query.contains_key("watch") {
        return Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()).into_response();
    }
    let count = if kind == "pods" { cli.pods } else { cli.nodes };
    let number = |key: &str| query.get(key).and_then(|value| value.parse::<usize>().ok());
    let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(count));
    let until = (from + limit).min(count);
    let items: Vec<Value> =
        (from..until).map(|place| if kind == "pods" { pod(&cli, place) } else { node(place) }).collect();
    let rest = if until < count { until.to_string() } else { String::new() };
    axum::Json(json!({ "metadata": { "resourceVersion": "1", "continue": rest }, "items": items })).into_response()
}

async fn nodes(State(cli): State<Cli>) -> axum::Json<NodeList> {
    let node = |place| NodeDescription {
        node: format!("node-{place}"),
        data_age_seconds: 5.0,
        stale: false,
        cpu_utilization: None,
        memory_utilization: None,
        cpu_allocatable_cores: Some(32.0),
        memory_allocatable_bytes: None,
        pods: 20,
        forecasts: None,
        anomaly: None,
        features_at: None,
        features: None,
    };
    axum::Json(NodeList {
        api_version: ApiVersion,
        at: Some(Timestamp::from_millis(chrono::Utc::now().timestamp_millis())),
        data_age_seconds: Some(5.0),
        models: models(),
        workloads_known: 0,
        nodes: (0..cli.nodes).map(node).collect(),
    })
}

fn models() -> BTreeMap<String, String> {
    BTreeMap::from([("load-predictor".to_owned(), "1".to_owned())])
}

async fn score(body: Bytes) -> Response {
    let request = match ScoreRequest::parse(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let part = |place: usize| Some((place % 97) as f64 / 97.0);
    let score = |(place, node): (usize, &String)| NodeScore {
        node: node.clone(),
        score: 0.5,
        parts: Parts { load: part(place), placement: part(place + 1), anomaly: Some(0.9) },
        uncertainty: Some(0.02),
        data_age_seconds: Some(5.0),
        ..NodeScore::default()
    };
    let pod = |pod: &PodRequest| PodScores {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        arm: Arm::Champion,
        expected: ExpectedUsage { cpu_cores: 0.1, memory_bytes: 1e8, source: UsageSource::Requests },
        nodes: request.nodes.iter().enumerate().map(score).collect(),
    };
    axum::Json(ScoreAnswer {
        api_version: ApiVersion,
        at: None,
        data_age_seconds: Some(5.0),
        models: models(),
        challenger_models: None,
        weights: PartWeights::DESIGN,
        strategy: Strategy::default(),
        pods: request.pods.iter().map(pod).collect(),
        unknown_nodes: Vec::new(),
    })
    .into_response()
}
