//! What people, probes and Prometheus ask.

use super::App;
use crate::explain::Explanation;
use crate::peers::Seen;
use crate::scoring::Scoring;
use crate::shadow::Shadow;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use serving::protocol::Refusal;
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct Form {
    format: Option<String>,
    /// Another replica asks.
    #[serde(default)]
    alone: bool,
}

pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Path((namespace, pod)): Path<(String, String)>,
    Query(form): Query<Form>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let own = app.decider.memory.of(&namespace, &pod).map(|decision| Explanation::of(&decision));
    let (found, silent) = match form.alone {
        true => (own, Vec::new()),
        false => app.peers.explain(own, &namespace, &pod, headers.get(AUTHORIZATION)).await,
    };
    let explanation = found.ok_or_else(|| {
        let silent = silent.iter().fold(String::new(), |said, one| said + "; a replica is silent: " + one);
        Refusal::not_found(format!(
            "no decision on `{namespace}/{pod}` is remembered: kube-scheduler asks only where it has a choice of two nodes, and replicas know the others only by --peers. `scheduler-extender --data DIR explain {namespace}/{pod} --days 7` looks among all that were kept{silent}"
        ))
    })?;
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

pub(super) async fn shadow(
    State(app): State<Arc<App>>,
    Query(form): Query<Form>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let own = app.decider.memory.comparison();
    if form.alone {
        return Ok(Json(Seen { replica: app.peers.replica, comparison: own }).into_response());
    }
    let (comparison, replicas, silent) = app.peers.comparison(own, headers.get(AUTHORIZATION)).await;
    let told = Shadow { comparison, replicas, silent, in_words: comparison.sentences() };
    Ok(Json(told).into_response())
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
        "kill_reason": decider.book.kill_reason(),
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
