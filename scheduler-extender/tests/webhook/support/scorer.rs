//! A `serving` that answers as the test wants. `node-N` scores the better the larger N is, whatever the behaviour.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cluster::score::{PartWeights, Parts, Strategy};
use cluster::{AnomalyKind, Severity};
use score_api::{
    Anomaly, ApiVersion, Arm, ExpectedUsage, NODES_PATH, NodeDescription, NodeExplanation, NodeList, NodeScore,
    PodScores, SCORE_PATH, ScoreAnswer, ScoreRequest, Timestamp, UsageSource,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
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
        let app = Router::new().route(SCORE_PATH, post(score)).route(NODES_PATH, get(list)).with_state(shared.clone());
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
    let request = ScoreRequest::parse(&body).expect("a score request");
    asked.lock().expect("a lock").push(serde_json::from_slice(&body).expect("JSON"));
    let behaviour = behaviour.lock().expect("a lock").clone();
    match behaviour {
        Behaviour::After(time) => tokio::time::sleep(time).await,
        Behaviour::Says(text) => return text.into_response(),
        Behaviour::Status(status) => return StatusCode::from_u16(status).expect("a status").into_response(),
    }
    axum::Json(answer(&request)).into_response()
}

/// What it answers unless it misbehaves.
pub fn answer(request: &ScoreRequest) -> ScoreAnswer {
    let count = request.nodes.len() as f64;
    let node = |name: &String| {
        let number = name.strip_prefix("node-").and_then(|number| number.parse::<f64>().ok());
        let part = number.map(|number| (number / count).min(1.0));
        NodeScore {
            node: name.clone(),
            score: part.unwrap_or(0.5),
            parts: Parts { load: part, placement: part, anomaly: part },
            uncertainty: Some(0.0),
            peak: part.map(|part| 0.98 - 0.4 * part),
            missing: Vec::new(),
            data_age_seconds: Some(5.0),
            severity: None,
            explanation: request.wants_explanations().then(|| {
                let reasons = vec![format!("{name} is as good as its number")];
                Box::new(NodeExplanation { reasons, ..NodeExplanation::default() })
            }),
        }
    };
    let pod = PodScores {
        namespace: String::new(),
        name: String::new(),
        arm: Arm::Champion,
        expected: ExpectedUsage { cpu_cores: 0.25, memory_bytes: 1e8, source: UsageSource::Workload },
        nodes: request.nodes.iter().map(node).collect(),
    };
    ScoreAnswer {
        api_version: ApiVersion,
        at: Some(Timestamp::from_millis(1_780_272_000_000)),
        data_age_seconds: Some(5.0),
        models: models(),
        challenger_models: None,
        weights: PartWeights::DESIGN,
        strategy: Strategy::default(),
        pods: vec![pod],
        unknown_nodes: Vec::new(),
    }
}

fn models() -> BTreeMap<String, String> {
    BTreeMap::from([("load-predictor".to_owned(), "1".to_owned())])
}

async fn list(State((_, nodes, _, critical)): State<Shared>) -> axum::Json<NodeList> {
    let (count, stale) = *nodes.lock().expect("a lock");
    let critical = critical.lock().expect("a lock").clone();
    let node = |place: usize| NodeDescription {
        node: format!("node-{place}"),
        data_age_seconds: 5.0,
        stale: place < stale,
        cpu_utilization: None,
        memory_utilization: None,
        cpu_allocatable_cores: Some(8.0),
        memory_allocatable_bytes: Some(1e9),
        pods: 0,
        forecasts: None,
        anomaly: Some(Anomaly {
            score: 0.1,
            severity: critical.contains(&place).then_some(Severity::Critical),
            kind: AnomalyKind::Performance,
            blame: Vec::new(),
        }),
        features_at: None,
        features: None,
    };
    axum::Json(NodeList {
        api_version: ApiVersion,
        at: Some(Timestamp::from_millis(chrono::Utc::now().timestamp_millis())),
        data_age_seconds: Some(0.0),
        models: models(),
        workloads_known: 0,
        nodes: (0..count).map(node).collect(),
    })
}
