//! Scores of nodes, and what is known of them.

use super::counts::Counts;
use super::{App, off_the_loop};
use crate::ask::outcome;
use crate::combined::limit;
use crate::nodes::{ClusterView, NodeView, age_seconds};
use crate::protocol::Refusal;
use crate::registry::ModelName;
use crate::score::{ScoreRules, data_age, moment, told, versions};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use cluster::NodeName;
use features::catalogue;
use models::load::LoadForecast;
use score_api::{Anomaly, ApiVersion, Forecast, NODES_PATH, NodeDescription, NodeList, ScoreRequest, Timestamp};
use server::gate::Work;
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
        let request = ScoreRequest::parse(&body).map_err(|error| Refusal::bad(error.to_string()))?;
        let explained = if request.wants_explanations() { scores } else { 0 };
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
        api_version: ApiVersion,
        at: moment(&view),
        data_age_seconds: data_age(&view, now),
        models: versions(&view),
        workloads_known: view.workloads.known(),
        nodes: view.nodes.iter().map(|(name, node)| describe(name, node, now, (&app.rules, &view))).collect(),
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
        node.ok_or_else(|| Refusal::not_found(format!("no metric names a node `{name}`; {NODES_PATH} lists them")))?;
    let row = node.row.map(|row| view.rows.row(row));
    let named = |values: &[f32]| {
        let all = catalogue::all().iter().zip(values);
        all.map(|(feature, value)| (feature.name.clone(), finite(*value))).collect()
    };
    let description = NodeDescription {
        features_at: row.map(|_| Timestamp::from_millis(view.rows.ts)),
        features: row.map(named),
        ..describe(&name, node, now, (&app.rules, &view))
    };
    Ok(Json(description).into_response())
}

/// What is known of a node.
fn describe(name: &NodeName, node: &NodeView, now: i64, (rules, view): (&ScoreRules, &ClusterView)) -> NodeDescription {
    let age = now.saturating_sub(node.sampled_at);
    let forecast = |forecast: &LoadForecast| Forecast {
        resource: forecast.key.resource,
        horizon: forecast.key.horizon.to_string(),
        p50: forecast.p50,
        p90: forecast.p90,
        fallback: forecast.fallback,
    };
    NodeDescription {
        node: name.as_str().to_owned(),
        data_age_seconds: age_seconds(age),
        stale: !rules.is_fresh(view, age),
        cpu_utilization: finite(node.facts.cpu_seen),
        memory_utilization: finite(node.facts.memory_seen),
        cpu_allocatable_cores: finite(node.facts.allocatable.cpu),
        memory_allocatable_bytes: finite(node.facts.allocatable.memory),
        pods: node.pods.count,
        forecasts: node.forecasts.as_ref().map(|forecasts| forecasts.iter().map(forecast).collect()),
        anomaly: node.anomaly.as_ref().map(|anomaly| Anomaly {
            score: anomaly.score,
            severity: anomaly.severity,
            kind: anomaly.kind,
            blame: anomaly.blame.iter().map(told).collect(),
        }),
        features_at: None,
        features: None,
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
