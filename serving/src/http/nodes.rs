//! Scores of nodes, and what is known of them.

use super::counts::Counts;
use super::{App, off_the_loop};
use crate::ask::outcome;
use crate::combined::limit;
use crate::nodes::{Anomaly, ClusterView, NodeView, age_seconds};
use crate::protocol::Refusal;
use crate::registry::ModelName;
use crate::score::{ScoreRequest, ScoreRules};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use cluster::NodeName;
use features::catalogue;
use models::load::LoadForecast;
use serde::Serialize;
use server::gate::Work;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// A score takes about so many bytes until it is sent, and so many with its explanation.
const SCORE_BYTES: usize = 512;
const EXPLAINED_BYTES: usize = 4 << 10;
/// What is known of a node takes about so many, as text.
const NODE_BYTES: usize = 4 << 10;
/// Explanations cost a hundred times a score; every node of the largest cluster that Kubernetes is made for may be explained at once.
const MOST_EXPLAINED: usize = 5_000;

pub(super) async fn score(
    State(app): State<Arc<App>>,
    Extension(work): Extension<Work>,
    body: Body,
) -> Result<Response, Refusal> {
    served(&app)?;
    let began = Instant::now();
    let mut body = app.bodies.read(body).await?;
    let metrics = Arc::clone(&app.metrics);
    let result = off_the_loop(work, move |work| {
        let counts = Counts::of(&body)?;
        let scores = limit(&app, counts.pods, counts.nodes)?;
        if counts.in_flight > app.limits.rows {
            let most = app.limits.rows;
            return Err(Refusal::too_large(format!("`in_flight` names {} nodes, at most {most} are read", counts.in_flight)));
        }
        let request = ScoreRequest::parse(&body)?;
        let explained = if request.detail() { scores } else { 0 };
        if explained > MOST_EXPLAINED {
            return Err(Refusal::too_large(format!(
                "{explained} scores with `explain`, at most {MOST_EXPLAINED} are explained at once: name fewer pods or nodes"
            )));
        }
        body.claim(SCORE_BYTES * scores + EXPLAINED_BYTES * explained)?;
        let answer = app.score(&request, work)?;
        let scores: usize = answer.pods.iter().map(|pod| pod.nodes.len()).sum();
        let body = serde_json::to_vec(&answer).map_err(Refusal::failed)?;
        Ok((body, scores))
    })
    .await;
    let scores = result.as_ref().map_or(0, |(_, scores)| *scores);
    metrics.answered("score", outcome(&result), scores, began.elapsed());
    let (body, _) = result?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    served(&app)?;
    let (view, now) = (app.fresh.view(), app.fresh.now());
    let _memory = app.bodies.claim(NODE_BYTES * view.nodes.len())?;
    let list = NodeList {
        at: (view.at > 0).then_some(view.at),
        models: &view.versions,
        workloads_known: view.workloads.known(),
        nodes: view.nodes.iter().map(|(name, node)| Description::of(name, node, now, (&app.rules, &view))).collect(),
    };
    Ok(Json(list).into_response())
}

/// One node with all of its features, by which anyone can check what the models read.
pub(super) async fn one(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    served(&app)?;
    let (view, now) = (app.fresh.view(), app.fresh.now());
    let name = NodeName::new(name);
    let node = view.nodes.get(&name);
    let node =
        node.ok_or_else(|| Refusal::not_found(format!("no metric names a node `{name}`; /v1/nodes lists them")))?;
    let row = node.row.map(|row| view.rows.row(row));
    let named = |values: &[f32]| {
        let all = catalogue::all().iter().zip(values);
        all.map(|(feature, value)| (feature.name.clone(), finite(*value))).collect()
    };
    let description = Description {
        features_at: row.map(|_| view.rows.ts),
        features: row.map(named),
        ..Description::of(&name, node, now, (&app.rules, &view))
    };
    Ok(Json(description).into_response())
}

#[derive(Serialize)]
struct NodeList<'a> {
    /// The moment of the newest refresh, UTC milliseconds.
    at: Option<i64>,
    models: &'a BTreeMap<ModelName, String>,
    workloads_known: usize,
    nodes: Vec<Description<'a>>,
}

/// What is known of a node.
#[derive(Serialize)]
struct Description<'a> {
    node: &'a str,
    data_age_seconds: f64,
    stale: bool,
    cpu_utilization: Option<f32>,
    memory_utilization: Option<f32>,
    cpu_allocatable_cores: f32,
    memory_allocatable_bytes: f32,
    pods: u32,
    forecasts: Option<&'a [LoadForecast]>,
    anomaly: Option<&'a Anomaly>,
    /// The moment that the features end at, UTC milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    features_at: Option<i64>,
    /// By name; null where one is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<BTreeMap<String, Option<f32>>>,
}

impl<'a> Description<'a> {
    fn of(name: &'a NodeName, node: &'a NodeView, now: i64, (rules, view): (&ScoreRules, &ClusterView)) -> Self {
        let age = now.saturating_sub(node.sampled_at);
        Self {
            node: name.as_str(),
            data_age_seconds: age_seconds(age),
            stale: !rules.is_fresh(view, age),
            cpu_utilization: finite(node.facts.cpu_seen),
            memory_utilization: finite(node.facts.memory_seen),
            cpu_allocatable_cores: node.facts.allocatable.cpu,
            memory_allocatable_bytes: node.facts.allocatable.memory,
            pods: node.pods.count,
            forecasts: node.forecasts.as_deref(),
            anomaly: node.anomaly.as_ref(),
            features_at: None,
            features: None,
        }
    }
}

fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

fn served(app: &App) -> Result<(), Refusal> {
    if app.serves_scores {
        return Ok(());
    }
    Err(Refusal::not_found(format!("node scores are served with `--models …,{}`", ModelName::Combined.as_str())))
}
