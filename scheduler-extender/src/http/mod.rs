//! The server: kube-scheduler's two verbs, and what people and probes ask.

mod beat;
mod people;
mod verbs;

pub use beat::Beat;

use crate::decide::Decider;
use crate::health::State;
use crate::peers::Peers;
use axum::Router;
use axum::extract::{Request, State as Of};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serving::protocol::Refusal;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// All that a request may need.
#[derive(Debug)]
pub struct App {
    /// Answers.
    pub decider: Arc<Decider>,
    /// The other replicas.
    pub peers: Peers,
    /// Bytes of a body.
    pub max_body: usize,
    /// Time for a body to arrive.
    pub body_time: Duration,
    /// The token that readers must send.
    pub token: Option<String>,
    /// The process has been told to end: it is not ready any more.
    pub is_ending: AtomicBool,
}

impl App {
    /// Why it is not ready, if it is not. In shadow as in any other mode: readiness says whether scores could be trusted.
    pub fn lacking(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        if self.is_ending.load(std::sync::atomic::Ordering::Relaxed) {
            lacking.push("ending".to_owned());
        }
        let report = self.decider.health.report();
        if report.state == State::Fallback {
            lacking.extend(report.concerns.into_iter().map(|(concern, said)| format!("{}: {said}", concern.as_str())));
            if lacking.is_empty() {
                lacking.push("nothing is known yet".to_owned());
            }
        }
        lacking
    }
}

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    let readers = Router::new()
        .route("/explain/{namespace}/{pod}", get(people::explain))
        .route("/v1/shadow", get(people::shadow))
        .route("/v1/state", get(people::state))
        .layer(from_fn_with_state(Arc::clone(&app), authorize));
    Router::new()
        .merge(readers)
        // kube-scheduler sends no token: who may ask is a matter of client certificates.
        .route("/prioritize", post(verbs::prioritize))
        .route("/filter", post(verbs::filter))
        .route("/healthz", get(people::healthz))
        .route("/readyz", get(people::readyz))
        .route("/metrics", get(people::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// What probes and Prometheus ask, alone; `listener` is that of the other routes, which is asked whether it lives.
pub fn probes(app: Arc<App>, listener: Beat) -> Router {
    let lives = move |Of(app): Of<Arc<App>>| async move {
        if listener.is_heard() || app.is_ending.load(std::sync::atomic::Ordering::Relaxed) {
            return "ok".into_response();
        }
        Refusal::not_now("the listener of the verbs does not answer").into_response()
    };
    Router::new()
        .route("/healthz", get(lives))
        .route("/readyz", get(people::readyz))
        .route("/metrics", get(people::metrics))
        .with_state(app)
}

async fn authorize(Of(app): Of<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(token) = &app.token else { return next.run(request).await };
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // Hashes are compared, so that the time tells nothing about the token.
    let hash = |text: &str| runtime::files::sha256(text.trim().as_bytes());
    if given.is_some_and(|given| hash(given) == hash(token)) {
        return next.run(request).await;
    }
    let message = "a bearer token is wanted, and this is not it".to_owned();
    Refusal { status: StatusCode::UNAUTHORIZED, message }.into_response()
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::not_found(format!(
        "there is nothing at `{}`; there are POST /prioritize and /filter, GET /explain/NAMESPACE/POD, /v1/state, /v1/shadow, /healthz, /readyz and /metrics",
        uri.path()
    ))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{method} is not what `{}` wants", uri.path());
    Refusal { status: StatusCode::METHOD_NOT_ALLOWED, message }
}
