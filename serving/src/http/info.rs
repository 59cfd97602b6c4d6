//! What the server is and how it does.

use super::App;
use super::openapi;
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
    let age = (view.at > 0).then(|| (now - view.at).max(0));
    let stale = age.is_some_and(|age| age > app.rules.limit(&view));
    let status = match (lacking.is_empty(), stale) {
        (true, false) => "ok",
        _ => "degraded",
    };
    let refused: Vec<&str> =
        app.registry.slots().iter().filter(|(_, slot)| slot.refused.is_some()).map(|(name, _)| name.as_str()).collect();
    let body = json!({
        "status": status,
        "lacking": lacking,
        "refused_models": refused,
        "nodes": view.nodes.len(),
        "data_age_seconds": age.map(|age| age as f64 / 1e3),
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
