//! Open Inference Protocol v2 over gRPC, on the same port as REST.

mod convert;
mod messages;

use crate::ask::{Target, outcome, rows_of};
use crate::http::guard::admit;
use crate::http::{App, off_the_loop};
use crate::protocol::{InferRequest, Refusal};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use messages::{
    Empty, Flag, ModelInferRequest, ModelInferResponse, ModelMetadataResponse, ModelRequest, ServerMetadataResponse,
};
use std::sync::Arc;
use std::time::Instant;
use tonic::Status;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::service_fn;

/// One call of the service.
pub(crate) async fn call(State(app): State<Arc<App>>, Path(method): Path<String>, request: Request) -> Response {
    let headers = request.headers().clone();
    // Probes are answered whatever else goes on.
    macro_rules! answer {
        ($in:ty, $out:ty, $work:expr) => {{
            let work = $work;
            let mut server = Grpc::new(ProstCodec::<$out, $in>::default()).max_decoding_message_size(app.limits.body);
            let service = service_fn(move |request: tonic::Request<$in>| {
                let done = work(request.into_inner());
                async move { done.await.map(tonic::Response::new).map_err(status) }
            });
            server.unary(service, request).await
        }};
    }
    let response = match method.as_str() {
        "ServerLive" => answer!(Empty, Flag, |_: Empty| async { Ok(Flag { value: true }) }),
        "ServerReady" => {
            let value = app.lacking().is_empty();
            answer!(Empty, Flag, move |_: Empty| async move { Ok(Flag { value }) })
        }
        "ModelReady" => {
            let app = Arc::clone(&app);
            answer!(ModelRequest, Flag, move |ask: ModelRequest| {
                let ready = Target::is_ready(&app, &ask.name, named(&ask.version));
                async move { ready.map(|value| Flag { value }) }
            })
        }
        "ServerMetadata" => answer!(Empty, ServerMetadataResponse, |_: Empty| async {
            Ok(ServerMetadataResponse {
                name: "berth".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                extensions: vec!["binary_tensor_data".to_owned()],
            })
        }),
        "ModelMetadata" => {
            let app = Arc::clone(&app);
            answer!(ModelRequest, ModelMetadataResponse, move |ask: ModelRequest| {
                let found = admit(&app, &headers).and_then(|_| Target::find(&app, &ask.name, named(&ask.version)));
                let described = found.map(|target| convert::metadata(&target.describe(&app)));
                async move { described }
            })
        }
        "ModelInfer" => {
            let app = Arc::clone(&app);
            answer!(ModelInferRequest, ModelInferResponse, move |ask: ModelInferRequest| {
                let (app, headers) = (Arc::clone(&app), headers.clone());
                async move { infer(&app, &headers, ask).await }
            })
        }
        other => Status::unimplemented(format!("`{other}` is no method of inference.GRPCInferenceService")).into_http(),
    };
    response.map(Body::new)
}

async fn infer(app: &Arc<App>, headers: &HeaderMap, ask: ModelInferRequest) -> Result<ModelInferResponse, Refusal> {
    let began = Instant::now();
    let name = app.model_of(&ask.model_name)?;
    let work = async {
        let admission = admit(app, headers)?;
        let target = Target::find(app, &ask.model_name, named(&ask.model_version))?;
        let app = Arc::clone(app);
        let work = off_the_loop(move || {
            let request = convert::request(ask)?;
            let answer = target.answer(&app, &request)?;
            let rows = rows_of(&answer);
            Ok((convert::response(&request, answer)?, rows))
        });
        admission.within(work).await?
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
    let message = <ModelInferRequest as prost::Message>::decode(message);
    convert::request(message.map_err(|error| Refusal::bad(format!("the body is no ModelInferRequest: {error}")))?)
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
        StatusCode::INTERNAL_SERVER_ERROR => Status::internal(refusal.message),
        _ => Status::invalid_argument(refusal.message),
    }
}
