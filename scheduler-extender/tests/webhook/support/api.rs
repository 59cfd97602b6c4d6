//! An API server that lists and watches what the test puts in, and keeps what is written.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

#[derive(Debug)]
struct Inner {
    /// By name.
    pods: Mutex<BTreeMap<String, Value>>,
    nodes: Mutex<BTreeMap<String, Value>>,
    /// Lines for watches: kind (`pods`, `nodes`) and text; an empty text ends all watches.
    changes: broadcast::Sender<(&'static str, String)>,
    /// Patches and events, as they came.
    written: Mutex<Vec<(String, Value)>>,
    /// Lists that were read: their queries.
    lists: Mutex<Vec<String>>,
    refuses: Mutex<bool>,
}

pub struct FakeApi {
    inner: Arc<Inner>,
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl FakeApi {
    pub async fn start(nodes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let node = |name: String| (name.clone(), json!({ "metadata": { "name": name, "resourceVersion": "1" } }));
        let inner = Arc::new(Inner {
            pods: Mutex::default(),
            nodes: Mutex::new(super::names(nodes).into_iter().map(node).collect()),
            changes: broadcast::channel(1_024).0,
            written: Mutex::default(),
            lists: Mutex::default(),
            refuses: Mutex::new(false),
        });
        let app = Router::new()
            .route("/api/v1/{kind}", get(read))
            .route("/api/v1/namespaces/{namespace}/pods/{name}", patch(write))
            .route("/api/v1/namespaces/{namespace}/events", post(write_event))
            .with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { inner, url, task }
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self, folder: &FilePath) -> PathBuf {
        let path = folder.join("kubeconfig");
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{token: abc}}}}]\n",
            self.url
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A pod is there or has changed.
    pub fn is(&self, mut pod: Value) {
        pod["metadata"]["resourceVersion"] = json!("7");
        let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
        self.inner.pods.lock().expect("a lock").insert(name, pod.clone());
        self.tell("pods", "MODIFIED", &pod);
    }

    /// A pod is gone; without `told`, watches do not hear of it.
    pub fn gone(&self, name: &str, told: bool) {
        let pod = self.inner.pods.lock().expect("a lock").remove(name).expect("a pod");
        if told {
            self.tell("pods", "DELETED", &pod);
        }
    }

    pub fn tell(&self, kind: &'static str, what: &str, object: &Value) {
        // Nobody may be watching.
        let _ = self.inner.changes.send((kind, format!("{}\n", json!({ "type": what, "object": object }))));
    }

    /// Ends all watches.
    pub fn cut(&self) {
        let _ = self.inner.changes.send(("", String::new()));
    }

    /// Whether it answers everything with 503.
    pub fn refuse(&self, refuses: bool) {
        *self.inner.refuses.lock().expect("a lock") = refuses;
        if refuses {
            self.cut();
        }
    }

    pub fn written(&self) -> Vec<(String, Value)> {
        self.inner.written.lock().expect("a lock").clone()
    }

    pub fn lists(&self) -> Vec<String> {
        self.inner.lists.lock().expect("a lock").clone()
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(State(inner): State<Arc<Inner>>, Path(kind): Path<String>, RawQuery(query): RawQuery) -> Response {
    if *inner.refuses.lock().expect("a lock") {
        return (StatusCode::SERVICE_UNAVAILABLE, "no").into_response();
    }
    let query = query.unwrap_or_default();
    if !query.contains("watch=1") {
        inner.lists.lock().expect("a lock").push(format!("{kind}?{query}"));
        let map = if kind == "pods" { &inner.pods } else { &inner.nodes };
        let objects: Vec<Value> = map.lock().expect("a lock").values().cloned().collect();
        // In two pieces, so that the way from one to the next is gone.
        let half = objects.len() / 2;
        let (items, metadata) = if query.contains("continue=") {
            (&objects[half..], json!({ "resourceVersion": "5" }))
        } else {
            (&objects[..half], json!({ "resourceVersion": "5", "continue": "rest" }))
        };
        return axum::Json(json!({ "kind": "List", "metadata": metadata, "items": items })).into_response();
    }
    let changes = inner.changes.subscribe();
    let kind: &'static str = if kind == "pods" { "pods" } else { "nodes" };
    let lines = futures::stream::unfold(changes, move |mut changes| async move {
        loop {
            match changes.recv().await {
                Ok((of, text)) if of == kind => return Some((Ok::<_, std::io::Error>(Bytes::from(text)), changes)),
                Ok(("", _)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    });
    Body::from_stream(lines.boxed()).into_response()
}

async fn write(State(inner): State<Arc<Inner>>, Path((_, name)): Path<(String, String)>, body: Bytes) -> Response {
    let change: Value = serde_json::from_slice(&body).expect("a patch");
    inner.written.lock().expect("a lock").push((name, change));
    axum::Json(json!({})).into_response()
}

async fn write_event(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let event: Value = serde_json::from_slice(&body).expect("an event");
    inner.written.lock().expect("a lock").push(("event".to_owned(), event));
    (StatusCode::CREATED, axum::Json(json!({}))).into_response()
}
