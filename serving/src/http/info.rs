//! What the server is and how it does.

use super::App;
use super::openapi;
use crate::nodes::{MOST_AHEAD, NodeView, age_seconds};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn model_info(State(app): State<Arc<App>>) -> Json<Value> {
    let models: serde_json::Map<String, Value> = app
        .registry
        .slots()
        .into_iter()
        .map(|(name, slot)| {
            let version = |model: &Arc<crate::registry::ServedModel>| {
                json!({
                    "version": model.version,
                    "semver": model.semver,
                    "algorithm": model.metadata.algorithm,
                    "trained_at": model.metadata.trained_at,
                    "training_seconds": model.metadata.training_seconds,
                    "dataset": model.metadata.dataset,
                    "features": model.features().len(),
                    "feature_schema_hash": model.metadata.feature_schema_hash,
                    "metrics": model.metadata.metrics,
                    "top_features": model.metadata.top_features,
                    "loaded_at": model.loaded_at,
                })
            };
            let entry = json!({
                "current": slot.current.as_ref().map(version),
                "previous": slot.previous.as_ref().map(|model| &model.version),
                "refused": slot.refused,
            });
            (name.as_str().to_owned(), entry)
        })
        .collect();
    Json(
        json!({ "server": { "name": "berth", "version": env!("CARGO_PKG_VERSION") }, "weights": app.rules.weights, "models": models }),
    )
}

pub(super) async fn shadow(State(app): State<Arc<App>>) -> Json<Value> {
    Json(match &app.rollout {
        None => json!({ "alias": null, "models": {} }),
        Some(rollout) => json!({ "alias": rollout.shadow.alias, "models": rollout.shadow.found() }),
    })
}

pub(super) async fn rollout(State(app): State<Arc<App>>) -> Json<Value> {
    Json(
        app.rollout
            .as_ref()
            .map_or_else(|| json!({ "percent": 0.0, "answers": false }), |rollout| json!(rollout.status())),
    )
}

pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let lacking = app.lacking();
    let (view, now) = (app.fresh.view(), app.fresh.now());
    let age = (view.at > 0).then(|| age_seconds(now.saturating_sub(view.at)));
    let is_fresh = |node: &NodeView| app.rules.is_fresh(&view, now.saturating_sub(node.sampled_at));
    let fresh = view.nodes.values().filter(|node| is_fresh(node)).count();
    let skew = app.fresh.skew();
    let mut concerns = lacking.clone();
    if app.serves_scores && view.at > 0 {
        // As the extender's guard has it: with half of the nodes unknown, scores compare little.
        if 2 * fresh <= view.nodes.len() {
            concerns.push(format!("{fresh} of {} nodes have fresh samples", view.nodes.len()));
        }
        if let Some(skew) = skew.filter(|skew| skew.unsigned_abs() > MOST_AHEAD.unsigned_abs()) {
            concerns.push(format!("the clock of Prometheus is {} s off this machine's", skew / 1_000));
        }
    }
    let status = if concerns.is_empty() { "ok" } else { "degraded" };
    let refused: Vec<&str> =
        app.registry.slots().iter().filter(|(_, slot)| slot.refused.is_some()).map(|(name, _)| name.as_str()).collect();
    let body = json!({
        "status": status,
        "concerns": concerns,
        "lacking": lacking,
        "refused_models": refused,
        "nodes": view.nodes.len(),
        "nodes_fresh": fresh,
        "data_age_seconds": age,
        "clock_skew_seconds": skew.map(|skew| skew as f64 / 1e3),
    });
    // It lives, so a liveness probe must not kill it; readiness is /v2/health/ready.
    (StatusCode::OK, Json(body)).into_response()
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], app.metrics.text())
}

pub(super) async fn openapi() -> Json<Value> {
    Json(openapi::document())
}

pub(super) async fn docs() -> Html<String> {
    Html(openapi::page())
}
