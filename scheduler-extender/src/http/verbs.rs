//! kube-scheduler's verbs.

use super::App;
use crate::wire::{Ask, FilterAnswer, HostPriority};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serving::protocol::Refusal;
use std::sync::Arc;
use std::time::Instant;

/// Says why an answer is neutral; kube-scheduler does not read it, people with `curl -i` do.
const WHY: &str = "x-berth-neutral";

pub(super) async fn prioritize(State(app): State<Arc<App>>, body: Body) -> Response {
    let (body, began) = match whole(&app, body, "prioritize").await {
        Ok(read) => read,
        Err(refusal) => return refusal.into_response(),
    };
    let ask = match Ask::parse(&body) {
        Ok(ask) => ask,
        Err(refusal) => return refused(&app, "prioritize", refusal),
    };
    let answer = app.decider.prioritize(&ask, began).await;
    let names = &ask.candidates.names;
    let list: Vec<HostPriority<'_>> =
        names.iter().zip(&answer.points).map(|(host, score)| HostPriority { host, score: *score }).collect();
    let response = json(&list);
    app.decider.metrics.answered("prioritize", names.len(), began.elapsed());
    match answer.neutral {
        Some(reason) => ([(WHY, reason.as_str())], response).into_response(),
        None => response,
    }
}

pub(super) async fn filter(State(app): State<Arc<App>>, body: Body) -> Response {
    let (body, began) = match whole(&app, body, "filter").await {
        Ok(read) => read,
        Err(refusal) => return refusal.into_response(),
    };
    let ask = match Ask::parse(&body) {
        Ok(ask) => ask,
        Err(refusal) => return refused(&app, "filter", refusal),
    };
    let rejected = app.decider.filter(&ask, began).await;
    let response = json(&FilterAnswer::without(&ask.candidates, &rejected));
    app.decider.metrics.answered("filter", ask.candidates.names.len(), began.elapsed());
    response
}

/// The whole body, and when it was there: what the network and the client take is not our time.
async fn whole(app: &App, body: Body, verb: &'static str) -> Result<(Bytes, Instant), Refusal> {
    let limit = app.max_body;
    let read = tokio::time::timeout(app.body_time, to_bytes(body, limit)).await;
    let refusal = match read {
        Ok(Ok(bytes)) => return Ok((bytes, Instant::now())),
        Err(_) => {
            Refusal::too_late(format!("the body was not there after {:?}, the most that is waited", app.body_time))
        }
        Ok(Err(error)) => {
            // axum hides the limit in the chain of causes; a client that broke off gets no answer anyway.
            if format!("{:#}", anyhow::Error::new(error)).contains("length limit") {
                Refusal::too_large(format!("the body is larger than {limit} bytes, the most that is read"))
            } else {
                Refusal::bad("the body ended before it was whole")
            }
        }
    };
    app.decider.metrics.refused(verb);
    Err(refusal)
}

fn refused(app: &App, verb: &'static str, refusal: Refusal) -> Response {
    app.decider.metrics.refused(verb);
    tracing::debug!(verb, %refusal, "refused");
    refusal.into_response()
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Refusal::failed(error).into_response(),
    }
}
