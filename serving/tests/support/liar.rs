//! A proxy before a real Prometheus that says what time it is as a test wants it, and passes on everything else.

#![allow(dead_code, reason = "each test target uses its own share")]

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// What `time()` is answered with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lie {
    /// The truth.
    None,
    /// So many seconds more.
    Ahead(f64),
    /// This, whatever the time is.
    Says(&'static str),
}

struct Inner {
    server: String,
    client: reqwest::Client,
    lie: Mutex<Lie>,
}

/// Ends when dropped.
pub struct Liar {
    inner: Arc<Inner>,
    pub url: String,
    task: JoinHandle<()>,
}

impl Liar {
    /// Stands before `server` and tells the truth.
    pub async fn before(server: &str) -> Self {
        runtime::http::install_crypto_provider();
        let client = reqwest::Client::new();
        let inner = Arc::new(Inner { server: server.to_owned(), client, lie: Mutex::new(Lie::None) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { inner, url, task }
    }

    pub fn says(&self, lie: Lie) {
        *self.inner.lie.lock().expect("a lock") = lie;
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let lie = *inner.lie.lock().expect("a lock");
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if parts.uri.path() == "/api/v1/query" && path.contains("query=time%28%29") && lie != Lie::None {
        let now = chrono::Utc::now().timestamp_millis() as f64 / 1e3;
        let said = match lie {
            Lie::Says(said) => said.to_owned(),
            Lie::Ahead(by) => (now + by).to_string(),
            Lie::None => now.to_string(),
        };
        let body = format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[{now},"{said}"]}}}}"#);
        return ([(CONTENT_TYPE, "application/json")], body).into_response();
    }
    let mut forward = inner.client.request(parts.method, format!("{}{path}", inner.server));
    if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
        forward = forward.header(CONTENT_TYPE, kind);
    }
    let sent = forward.body(to_bytes(body, usize::MAX).await.unwrap_or_default()).send().await;
    let Ok(got) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = got.status();
    let body: Bytes = got.bytes().await.unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
