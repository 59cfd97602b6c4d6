//! An API server that lists and watches what the test puts in, and keeps what is written.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode, Uri};
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
    /// Version of lists. A watch from the one that is poisoned begins with a line that nobody can read, whenever it is asked for.
    version: Mutex<u32>,
    poisoned: Mutex<Option<u32>>,
    /// Whether it sends a list as the beginning of a watch.
    streams: Mutex<bool>,
    /// Paths that no extender should ask for.
    strange: Mutex<Vec<String>>,
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
            version: Mutex::new(5),
            poisoned: Mutex::default(),
            streams: Mutex::new(false),
            strange: Mutex::default(),
        });
        let app = Router::new()
            .route("/api/v1/{kind}", get(read))
            .route("/api/v1/nodes/{name}", get(read_node).patch(write_node))
            .route("/api/v1/namespaces/{namespace}/pods/{name}", patch(write))
            .route("/api/v1/namespaces/{namespace}/events", post(write_event))
            .fallback(strange)
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

    /// A node's taints.
    pub fn taints(&self, node: &str) -> Vec<Value> {
        let nodes = self.inner.nodes.lock().expect("a lock");
        nodes[node]["spec"]["taints"].as_array().cloned().unwrap_or_default()
    }

    /// Somebody else taints a node.
    pub fn taint(&self, node: &str, taint: Value) {
        let mut nodes = self.inner.nodes.lock().expect("a lock");
        nodes.get_mut(node).expect("a node")["spec"]["taints"] = json!([taint]);
    }

    /// Whether lists come as the beginning of a watch, as from Kubernetes 1.32 on; before that it says that it does not know how.
    pub fn stream(&self, streams: bool) {
        *self.inner.streams.lock().expect("a lock") = streams;
    }

    /// From now on a line that nobody can read comes first in each watch that goes on from before; lists are newer than that.
    pub fn poison(&self) {
        let mut version = self.inner.version.lock().expect("a lock");
        *self.inner.poisoned.lock().expect("a lock") = Some(*version);
        *version += 1;
        self.cut();
    }

    pub fn strange(&self) -> Vec<String> {
        self.inner.strange.lock().expect("a lock").clone()
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
    if query.contains("labelSelector=") {
        let nodes = inner.nodes.lock().expect("a lock");
        let labelled: Vec<&Value> = nodes.values().filter(|node| node["metadata"]["labels"].is_object()).collect();
        return axum::Json(json!({ "kind": "List", "metadata": {}, "items": labelled })).into_response();
    }
    if !query.contains("watch=1") {
        inner.lists.lock().expect("a lock").push(format!("{kind}?{query}"));
        let map = if kind == "pods" { &inner.pods } else { &inner.nodes };
        let objects: Vec<Value> = map.lock().expect("a lock").values().cloned().collect();
        // In two pieces, so that the way from one to the next is gone.
        let half = objects.len() / 2;
        let version = inner.version.lock().expect("a lock").to_string();
        let (items, metadata) = if query.contains("continue=") {
            (&objects[half..], json!({ "resourceVersion": version }))
        } else {
            (&objects[..half], json!({ "resourceVersion": version, "continue": "rest" }))
        };
        return axum::Json(json!({ "kind": "List", "metadata": metadata, "items": items })).into_response();
    }
    let poisoned = *inner.poisoned.lock().expect("a lock");
    if poisoned.is_some_and(|version| query.contains(&format!("resourceVersion={version}"))) {
        return "{\"type\":\"ADDED\",\"object\":\n".into_response();
    }
    let changes = inner.changes.subscribe();
    let mut first = String::new();
    if query.contains("sendInitialEvents=true") {
        if !*inner.streams.lock().expect("a lock") {
            return (StatusCode::UNPROCESSABLE_ENTITY, "sendInitialEvents is forbidden").into_response();
        }
        inner.lists.lock().expect("a lock").push(format!("{kind}?{query}"));
        let map = if kind == "pods" { &inner.pods } else { &inner.nodes };
        for object in map.lock().expect("a lock").values() {
            first.push_str(&format!("{}\n", json!({ "type": "ADDED", "object": object })));
        }
        let version = inner.version.lock().expect("a lock").to_string();
        let end = json!({ "metadata": { "resourceVersion": version, "annotations": { "k8s.io/initial-events-end": "true" } } });
        first.push_str(&format!("{}\n", json!({ "type": "BOOKMARK", "object": end })));
    }
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
    let first = futures::stream::iter((!first.is_empty()).then(|| Ok(Bytes::from(first))));
    Body::from_stream(first.chain(lines).boxed()).into_response()
}

async fn write(State(inner): State<Arc<Inner>>, Path((_, name)): Path<(String, String)>, body: Bytes) -> Response {
    let change: Value = serde_json::from_slice(&body).expect("a patch");
    inner.written.lock().expect("a lock").push((name, change));
    axum::Json(json!({})).into_response()
}

async fn strange(State(inner): State<Arc<Inner>>, method: Method, uri: Uri) -> StatusCode {
    inner.strange.lock().expect("a lock").push(format!("{method} {uri}"));
    StatusCode::NOT_FOUND
}

async fn read_node(State(inner): State<Arc<Inner>>, Path(name): Path<String>) -> Response {
    match inner.nodes.lock().expect("a lock").get(&name) {
        Some(node) => axum::Json(node.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// As much of a merge patch as nodes get: labels and taints; another version is a conflict.
async fn write_node(State(inner): State<Arc<Inner>>, Path(name): Path<String>, body: Bytes) -> Response {
    let change: Value = serde_json::from_slice(&body).expect("a patch");
    let mut nodes = inner.nodes.lock().expect("a lock");
    let node = nodes.get_mut(&name).expect("a node");
    if change["metadata"]["resourceVersion"] != node["metadata"]["resourceVersion"] {
        return StatusCode::CONFLICT.into_response();
    }
    node["spec"]["taints"] = change["spec"]["taints"].clone();
    let labels = change["metadata"]["labels"].as_object().expect("labels").iter();
    let kept: serde_json::Map<String, Value> =
        labels.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect();
    node["metadata"]["labels"] = if kept.is_empty() { Value::Null } else { Value::Object(kept) };
    axum::Json(node.clone()).into_response()
}

async fn write_event(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let event: Value = serde_json::from_slice(&body).expect("an event");
    inner.written.lock().expect("a lock").push(("event".to_owned(), event));
    (StatusCode::CREATED, axum::Json(json!({}))).into_response()
}
