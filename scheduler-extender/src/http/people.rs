//! What people, probes and Prometheus ask.

use super::App;
use crate::explain::Explanation;
use crate::scoring::Scoring;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use serving::protocol::Refusal;
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct Form {
    format: Option<String>,
}

pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Path((namespace, pod)): Path<(String, String)>,
    Query(form): Query<Form>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let decision = app.decider.memory.of(&namespace, &pod).ok_or_else(|| {
        Refusal::not_found(format!(
            "no decision on `{namespace}/{pod}` is remembered here: kube-scheduler asks only where it has a choice of two nodes, and another replica may have been asked. The table `raw/decisions` has all of them"
        ))
    })?;
    let explanation = Explanation::of(&decision);
    let wants_page =
        || headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|it| it.contains("text/html"));
    match form.format.as_deref() {
        Some("text") => Ok(explanation.text().into_response()),
        Some("html") => Ok(Html(explanation.page()).into_response()),
        Some("json") => Ok(Json(explanation).into_response()),
        Some(other) => Err(Refusal::bad(format!("`format` is `{other}`, want json, html or text"))),
        None if wants_page() => Ok(Html(explanation.page()).into_response()),
        None => Ok(Json(explanation).into_response()),
    }
}

pub(super) async fn shadow(State(app): State<Arc<App>>) -> Json<Value> {
    let comparison = app.decider.memory.comparison();
    Json(json!({ "comparison": comparison, "in_words": comparison.sentences() }))
}

pub(super) async fn state(State(app): State<Arc<App>>) -> Json<Value> {
    let decider = &app.decider;
    let condition = decider.scoring.condition();
    let report = decider.health.report();
    Json(json!({
        "state": report.state,
        "concerns": report.concerns,
        "rules": *decider.book.rules(),
        "rules_refused": decider.book.refused(),
        "killed": decider.book.is_killed(),
        "models": condition.models,
        "nodes": condition.nodes,
        "nodes_stale": condition.stale,
        "cluster_nodes": decider.ledger.nodes(),
        "data_age_seconds": condition.data_age_seconds,
        "watch_heard": decider.ledger.is_heard(),
        "reserved": decider.ledger.totals(),
        "reserved_by_node": decider.ledger.by_node(),
    }))
}

/// It lives. Whether it can be trusted is another question: a probe must not kill it for a Prometheus that is away.
pub(super) async fn healthz() -> &'static str {
    "ok"
}

pub(super) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let lacking = app.lacking();
    let status = if lacking.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": lacking.is_empty(), "lacking": lacking }))).into_response()
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let mut text = app.decider.metrics.text();
    if let Scoring::Embedded(embedded) = &*app.decider.scoring {
        // One document, one end.
        text = text.trim_end().trim_end_matches("# EOF").to_owned() + &embedded.metrics_text();
    }
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
