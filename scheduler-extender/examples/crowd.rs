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
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Parser;
use serde_json::{Value, json};
use std::collections::HashMap;
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
        .route("/v1/nodes", get(nodes))
        .route("/v1/score", post(score))
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

async fn nodes(State(cli): State<Cli>) -> Response {
    let node = |place| json!({ "node": format!("node-{place}"), "data_age_seconds": 5.0, "stale": false });
    let nodes: Vec<Value> = (0..cli.nodes).map(node).collect();
    axum::Json(
        json!({ "at": chrono::Utc::now().timestamp_millis(), "models": { "load-predictor": "1" }, "nodes": nodes }),
    )
    .into_response()
}

async fn score(body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let part = |place: usize| (place % 97) as f64 / 97.0;
    let nodes = request["nodes"].as_array().map_or(0, Vec::len);
    let score = |place| json!({ "parts": { "load": part(place), "placement": part(place + 1), "anomaly": 0.9 }, "uncertainty": 0.02 });
    let scores: Vec<Value> = (0..nodes).map(score).collect();
    axum::Json(json!({ "data_age_seconds": 5.0, "models": { "load-predictor": "1" },
        "pods": [{ "expected": { "cpu_cores": 0.1, "memory_bytes": 1e8 }, "nodes": scores }] }))
    .into_response()
}
