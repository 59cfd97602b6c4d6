//! Open Inference Protocol v2 over REST.

use super::{App, off_the_loop};
use crate::ask::{Target, outcome, rows_of};
use crate::protocol::{InferRequest, Refusal};
use crate::registry::ModelName;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use server::gate::Work;
use std::sync::Arc;
use std::time::Instant;

/// Where the JSON of a body ends.
const HEADER_LENGTH: &str = "inference-header-content-length";

pub(super) async fn server() -> Json<Value> {
    Json(json!({
        "name": "berth",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    }))
}

pub(super) async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let lacking = app.lacking();
    let status = if lacking.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": lacking.is_empty(), "lacking": lacking }))).into_response()
}

pub(super) async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let names: Vec<&str> = app.served().into_iter().map(ModelName::as_str).collect();
    Json(json!({ "models": names }))
}

pub(super) async fn metadata(State(app): State<Arc<App>>, Path(model): Path<String>) -> Result<Json<Value>, Refusal> {
    describe(&app, &model, None)
}

pub(super) async fn version_metadata(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    describe(&app, &model, Some(&version))
}

pub(super) async fn model_ready(State(app): State<Arc<App>>, Path(model): Path<String>) -> Result<Response, Refusal> {
    readiness(&app, &model, None)
}

pub(super) async fn version_ready(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    readiness(&app, &model, Some(&version))
}

pub(super) async fn infer(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
    Extension(work): Extension<Work>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    run(app, (model, None), work, headers, body).await
}

pub(super) async fn version_infer(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
    Extension(work): Extension<Work>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    run(app, (model, Some(version)), work, headers, body).await
}

fn describe(app: &App, model: &str, version: Option<&str>) -> Result<Json<Value>, Refusal> {
    Ok(Json(Target::find(app, model, version)?.describe(app)))
}

fn readiness(app: &App, model: &str, version: Option<&str>) -> Result<Response, Refusal> {
    let is_ready = Target::is_ready(app, model, version)?;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(json!({ "name": model, "ready": is_ready }))).into_response())
}

async fn run(
    app: Arc<App>,
    (model, version): (String, Option<String>),
    work: Work,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let name = app.model_of(&model)?;
    let result = answer(&app, (&model, version.as_deref()), work, &headers, body).await;
    let rows = result.as_ref().map_or(0, |(_, rows)| *rows);
    app.metrics.answered(name.as_str(), outcome(&result), rows, began.elapsed());
    result.map(|(response, _)| response)
}

async fn answer(
    app: &Arc<App>,
    (model, version): (&str, Option<&str>),
    work: Work,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Response, usize), Refusal> {
    let target = Target::find(app, model, version)?;
    let header_length = header_length(headers)?;
    let mut body = app.bodies.read(body).await?;
    let app = Arc::clone(app);
    let (encoded, rows) = off_the_loop(work, move |work| {
        let request = InferRequest::parse(&body, header_length)?;
        body.claim(target.memory(&request))?;
        let answer = target.answer(&app, &request, work)?;
        let rows = rows_of(&answer);
        Ok((answer.encode(&request)?, rows))
    })
    .await?;
    let response = match encoded.header_length {
        None => ([(CONTENT_TYPE, "application/json")], encoded.body).into_response(),
        Some(length) => {
            let headers =
                [(CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()), (HEADER_LENGTH, length.to_string())];
            (headers, encoded.body).into_response()
        }
    };
    Ok((response, rows))
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    length.map(Some).ok_or_else(|| Refusal::bad(format!("header `{HEADER_LENGTH}` wants a whole number of bytes")))
}
