//! Where KServe's logger sends what its inference services were asked and what they answered.

use super::App;
use crate::events::{CloudEvent, refused};
use crate::protocol::Refusal;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn take_in(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let Some(log) = &app.log else {
        return Err(Refusal::not_found("predictions are not kept here: see --log-predictions"));
    };
    let read = async { CloudEvent::parse(&headers, &app.bodies.read(body).await?) };
    let event = read.await.inspect_err(|refusal| refused(&app.metrics, refusal))?;
    let record = app.events.take_in(event);
    let kept = record.is_some();
    if let Some(record) = record {
        log.put(record);
    }
    Ok(Json(json!({ "kept": kept })))
}
