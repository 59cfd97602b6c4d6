//! Open Inference Protocol v2 over gRPC, on the same port as REST.

mod codec;
mod convert;
mod messages;

use crate::ask::{Target, outcome, rows_of};
use crate::http::guard::admit;
use crate::http::{App, off_the_loop};
use crate::protocol::{InferRequest, Refusal};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use codec::{Checked, Paid, check_request};
use messages::{
    Empty, Flag, ModelInferRequest, ModelInferResponse, ModelMetadataResponse, ModelRequest, ServerMetadataResponse,
};
use server::body::Bodies;
use server::budget::Budget;
use server::gate::Work;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::server::Grpc;
use tower::service_fn;

/// Bytes of the body of a probe: five before a message of none.
const LONGEST_PROBE: usize = 64;

/// One call of the service. But for probes, which are answered whatever else goes on, its headers are looked at before anything of it
/// is read: who may not come in leaves nothing here.
pub(crate) async fn call(State(app): State<Arc<App>>, Path(method): Path<String>, request: Request) -> Response {
    if matches!(method.as_str(), "ServerLive" | "ServerReady") {
        // A probe's message is empty.
        let bodies = Bodies::new(LONGEST_PROBE, Budget::new(0));
        let probed = answer(&app, &bodies, &method, Work::unlimited(), request);
        return tokio::time::timeout(app.limits.time, probed).await.unwrap_or_else(|_| refuse(late(&app)));
    }
    match admit(&app, request.headers()) {
        Ok(admission) => {
            let answered = answer(&app, &app.bodies, &method, admission.work(), request);
            admission.within(answered).await.unwrap_or_else(refuse)
        }
        Err(refusal) => refuse(refusal),
    }
}

fn late(app: &App) -> Refusal {
    Refusal::too_late(format!("not answered within {} ms", app.limits.time.as_millis()))
}

fn refuse(refusal: Refusal) -> Response {
    status(refusal).into_http()
}

async fn answer(app: &Arc<App>, bodies: &Bodies, method: &str, work: Work, request: Request) -> Response {
    // The message with the five bytes before it; tonic reads it from here, and holds it no longer than it is held here.
    let (parts, body) = request.into_parts();
    let held = match bodies.read(body).await {
        Ok(held) => held,
        Err(refusal) => return refuse(refusal),
    };
    let (bytes, share) = held.into_parts();
    let paid: Paid = Arc::new(Mutex::new(share));
    let request = Request::from_parts(parts, Body::from(bytes));
    macro_rules! answer {
        ($in:ty, $out:ty, $check:expr, $work:expr) => {{
            let work = $work;
            let mut server = Grpc::new(Checked::<$out, $in>::new($check, Arc::clone(&paid)))
                .max_decoding_message_size(app.limits.body)
                .accept_compressed(CompressionEncoding::Gzip);
            let service = service_fn(move |request: tonic::Request<$in>| {
                let done = work(request.into_inner());
                async move { done.await.map(tonic::Response::new).map_err(status) }
            });
            server.unary(service, request).await.map(Body::new)
        }};
    }
    let small = |_: &[u8]| Ok(());
    match method {
        "ServerLive" => answer!(Empty, Flag, small, |_: Empty| async { Ok(Flag { value: true }) }),
        "ServerReady" => {
            let value = app.lacking().is_empty();
            answer!(Empty, Flag, small, move |_: Empty| async move { Ok(Flag { value }) })
        }
        "ModelReady" => {
            let app = Arc::clone(app);
            answer!(ModelRequest, Flag, small, move |ask: ModelRequest| {
                let ready = Target::is_ready(&app, &ask.name, named(&ask.version));
                async move { ready.map(|value| Flag { value }) }
            })
        }
        "ServerMetadata" => answer!(Empty, ServerMetadataResponse, small, |_: Empty| async {
            Ok(ServerMetadataResponse {
                name: "berth".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                extensions: vec!["binary_tensor_data".to_owned()],
            })
        }),
        "ModelMetadata" => {
            let app = Arc::clone(app);
            answer!(ModelRequest, ModelMetadataResponse, small, move |ask: ModelRequest| {
                let found = Target::find(&app, &ask.name, named(&ask.version));
                let described = found.map(|target| convert::metadata(&target.describe(&app)));
                async move { described }
            })
        }
        "ModelInfer" => {
            let app = Arc::clone(app);
            // Asked once: a call has one message.
            let held = Cell::new(Some((work, Arc::clone(&paid))));
            answer!(ModelInferRequest, ModelInferResponse, check_request, move |ask: ModelInferRequest| {
                let (app, held) = (Arc::clone(&app), held.take());
                async move { infer(&app, held, ask).await }
            })
        }
        other => {
            Status::unimplemented(format!("`{other}` is not a method of inference.GRPCInferenceService")).into_http()
        }
    }
}

async fn infer(
    app: &Arc<App>,
    held: Option<(Work, Paid)>,
    ask: ModelInferRequest,
) -> Result<ModelInferResponse, Refusal> {
    let began = Instant::now();
    let name = app.model_of(&ask.model_name)?;
    let work = async {
        let (work, paid) = held.ok_or_else(|| Refusal::bad("a call has one message, and this one has more"))?;
        let target = Target::find(app, &ask.model_name, named(&ask.model_version))?;
        let app = Arc::clone(app);
        off_the_loop(work, move |work| {
            let request = convert::request(ask)?;
            if !paid.lock().unwrap_or_else(PoisonError::into_inner).grow(target.memory(&request)) {
                return Err(app.bodies.crowded());
            }
            let answer = target.answer(&app, &request, work)?;
            let rows = rows_of(&answer);
            Ok((convert::response(&request, answer)?, rows))
        })
        .await
    };
    let result = work.await;
    let rows = result.as_ref().map_or(0, |(_, rows)| *rows);
    app.metrics.answered(name.as_str(), outcome(&result), rows, began.elapsed());
    result.map(|(response, _)| response)
}

/// Reads the body of a `ModelInfer` call, without the five bytes before it.
///
/// # Errors
/// 400 with what is wrong.
pub fn parse(message: &[u8]) -> Result<InferRequest, Refusal> {
    check_request(message)?;
    let message = <ModelInferRequest as prost::Message>::decode(message);
    convert::request(message.map_err(|error| Refusal::bad(format!("the body is not a ModelInferRequest: {error}")))?)
}

/// A version that is named; the protocol has empty text for none.
fn named(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

fn status(refusal: Refusal) -> Status {
    match refusal.status {
        StatusCode::NOT_FOUND => Status::not_found(refusal.message),
        StatusCode::UNAUTHORIZED => Status::unauthenticated(refusal.message),
        StatusCode::SERVICE_UNAVAILABLE => Status::unavailable(refusal.message),
        StatusCode::REQUEST_TIMEOUT => Status::deadline_exceeded(refusal.message),
        StatusCode::PAYLOAD_TOO_LARGE => Status::resource_exhausted(refusal.message),
        StatusCode::INTERNAL_SERVER_ERROR => Status::internal(refusal.message),
        _ => Status::invalid_argument(refusal.message),
    }
}
