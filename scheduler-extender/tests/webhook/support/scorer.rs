//! A `serving` that answers as the test wants. `node-N` scores the better the larger N is, whatever the behaviour.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// Scores, after so long.
    After(Duration),
    /// 200 with this body.
    Says(String),
    /// This status.
    Status(u16),
}

#[derive(Debug)]
pub struct FakeScorer {
    pub behaviour: Arc<Mutex<Behaviour>>,
    /// How it describes its nodes: count, and how many are stale.
    pub nodes: Arc<Mutex<(usize, usize)>>,
    /// Nodes that it calls critical.
    pub critical: Arc<Mutex<Vec<usize>>>,
    /// Requests for scores.
    pub asked: Arc<Mutex<Vec<Value>>>,
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

type Shared = (Arc<Mutex<Behaviour>>, Arc<Mutex<(usize, usize)>>, Arc<Mutex<Vec<Value>>>, Arc<Mutex<Vec<usize>>>);

impl FakeScorer {
    pub async fn start(nodes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared: Shared = (
            Arc::new(Mutex::new(Behaviour::After(Duration::ZERO))),
            Arc::new(Mutex::new((nodes, 0))),
            Arc::default(),
            Arc::default(),
        );
        let app =
            Router::new().route("/v1/score", post(score)).route("/v1/nodes", get(list)).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { behaviour: shared.0, nodes: shared.1, asked: shared.2, critical: shared.3, url, task }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("a lock") = behaviour;
    }

    /// Requests for scores that were not for explanations, which come a moment later.
    pub fn scored(&self) -> usize {
        self.asked.lock().expect("a lock").iter().filter(|request| request["explain"] == json!(false)).count()
    }

    pub fn last(&self) -> Value {
        self.asked.lock().expect("a lock").last().cloned().expect("a request")
    }
}

impl Drop for FakeScorer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn score(State((behaviour, _, asked, _)): State<Shared>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).expect("a score request");
    asked.lock().expect("a lock").push(request.clone());
    let behaviour = behaviour.lock().expect("a lock").clone();
    match behaviour {
        Behaviour::After(time) => tokio::time::sleep(time).await,
        Behaviour::Says(text) => return text.into_response(),
        Behaviour::Status(status) => return StatusCode::from_u16(status).expect("a status").into_response(),
    }
    let nodes = request["nodes"].as_array().expect("nodes");
    let count = nodes.len() as f64;
    let scores = nodes.iter().map(|name| {
        let number = name.as_str().and_then(|name| name.strip_prefix("node-")?.parse::<f64>().ok());
        let part = number.map(|number| (number / count).min(1.0));
        json!({
            "node": name, "score": part.unwrap_or(0.5), "uncertainty": 0.0, "data_age_seconds": 5.0,
            "peak": part.map(|part| 0.98 - 0.4 * part),
            "parts": { "load": part, "placement": part, "anomaly": part }, "reasons": [format!("{name} is as good as its number")],
        })
    });
    axum::Json(json!({
        "at": "2026-06-01T00:00:00Z", "data_age_seconds": 5.0, "models": { "load-predictor": "1" }, "weights": {}, "unknown_nodes": [],
        "pods": [{ "namespace": "", "name": "", "expected": { "cpu_cores": 0.25, "memory_bytes": 1e8, "source": "requests" },
            "nodes": scores.collect::<Vec<_>>() }],
    }))
    .into_response()
}

async fn list(State((_, nodes, _, critical)): State<Shared>) -> Response {
    let (count, stale) = *nodes.lock().expect("a lock");
    let now = chrono::Utc::now().timestamp_millis();
    let critical = critical.lock().expect("a lock").clone();
    let node = |place: usize| {
        let severity = critical.contains(&place).then_some("critical");
        json!({
            "node": format!("node-{place}"), "data_age_seconds": 5.0, "stale": place < stale, "anomaly": { "severity": severity },
        })
    };
    axum::Json(
        json!({ "at": now, "models": { "load-predictor": "1" }, "nodes": (0..count).map(node).collect::<Vec<_>>() }),
    )
    .into_response()
}
