//! A server that speaks Prometheus' HTTP API about a made-up cluster, and fails as the test wants.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// Midnight of a day long ago, in milliseconds.
pub const DAY: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z
/// The server scrapes every 30 s.
pub const STEP: i64 = 30_000;

/// What the test may say of one request before the server answers it.
pub type Twist = dyn Fn(&Asked) -> Option<ResponseTemplate> + Send + Sync;
/// The value of a metric on a node (by number) at a time; `None` where there is no sample.
pub type Metric = dyn Fn(usize, i64) -> Option<String> + Send + Sync;

/// A request, read.
#[derive(Debug, Clone)]
pub struct Asked {
    pub query: String,
    pub start: i64,
    pub end: i64,
    pub step: i64,
    pub is_range: bool,
    pub number: u64,
    pub authorization: Option<String>,
    pub tenant: Option<String>,
}

/// The server.
pub struct Fake {
    pub server: MockServer,
    pub clock: Arc<AtomicI64>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// What the server knows.
#[derive(Clone)]
pub struct World {
    /// How many nodes the cluster has: `node-0`, `node-1`, … at 10.0.0.0, 10.0.0.1, …
    pub nodes: usize,
    /// How many of them have a node_exporter.
    pub targets: usize,
    /// First and last sample.
    pub history: (i64, i64),
    /// By the beginning of the query.
    pub metrics: Vec<(&'static str, Arc<Metric>)>,
    /// Before the answer.
    pub twist: Arc<Twist>,
    /// Changes a series' points before they are sent.
    pub points: Arc<dyn Fn(&str, usize, Vec<Value>) -> Vec<Value> + Send + Sync>,
    /// Put into each reply.
    pub warnings: Vec<String>,
    /// Whether each reply says that a storage node is missing.
    pub partial: bool,
    /// Before each answer.
    pub delay: Duration,
    /// Labels that tell a second series of the same node.
    pub twins: bool,
}

impl World {
    /// Nodes with a load and memory in use, from [`DAY`] for `hours`.
    pub fn new(nodes: usize, hours: i64) -> Self {
        let load: Arc<Metric> = Arc::new(|node, ts| Some(format!("{}", load(node, ts))));
        Self {
            nodes,
            targets: nodes,
            history: (DAY, DAY + hours * 3_600_000),
            metrics: vec![("node_load1", load.clone()), ("node_memory_MemTotal_bytes", load)],
            twist: Arc::new(|_| None),
            points: Arc::new(|_, _, points| points),
            warnings: Vec::new(),
            partial: false,
            delay: Duration::ZERO,
            twins: false,
        }
    }
}

/// The load of a node.
pub fn load(node: usize, ts: i64) -> f64 {
    node as f64 + ((ts - DAY) / STEP % 1_000) as f64 / 1_000.0
}

impl Fake {
    /// Starts it; its clock stands at the end of the history.
    pub async fn start(world: World) -> Self {
        let server = MockServer::start().await;
        let clock = Arc::new(AtomicI64::new(world.history.1));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (time, seen, number) = (clock.clone(), asked.clone(), AtomicU64::new(0));
        let answer = move |request: &Request| {
            let one = read(request, number.fetch_add(1, Ordering::SeqCst));
            let reply = (world.twist)(&one).unwrap_or_else(|| world.answer(&one, time.load(Ordering::SeqCst)));
            seen.lock().expect("requests").push(one);
            reply.set_delay(world.delay)
        };
        Mock::given(any()).respond_with(answer).mount(&server).await;
        Self { server, clock, asked }
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("requests").clone()
    }
}

fn read(request: &Request, number: u64) -> Asked {
    let mut fields: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
    fields.extend(url::form_urlencoded::parse(&request.body).into_owned());
    let milliseconds = |name: &str| {
        fields.get(name).and_then(|text| text.parse::<f64>().ok()).map(|seconds| (seconds * 1_000.0).round() as i64)
    };
    let is_range = request.url.path().ends_with("query_range");
    let at = milliseconds("time").unwrap_or_default();
    Asked {
        query: fields.get("query").cloned().unwrap_or_default(),
        start: milliseconds("start").unwrap_or(at),
        end: milliseconds("end").unwrap_or(at),
        step: milliseconds("step").unwrap_or(1),
        is_range,
        number,
        authorization: request.headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned),
        tenant: request.headers.get("x-scope-orgid").and_then(|value| value.to_str().ok()).map(str::to_owned),
    }
}

impl World {
    fn answer(&self, asked: &Asked, now: i64) -> ResponseTemplate {
        let query = asked.query.as_str();
        let seen = asked.end + 1 > self.history.0 && asked.start - 6 * 3_600_000 < self.history.1;
        let data = if query == "time()" {
            json!({ "resultType": "scalar", "result": [now as f64 / 1_000.0, format!("{}", now as f64 / 1_000.0)] })
        } else if query.starts_with("last_over_time(kube_node_info") {
            let labels = |node| json!({ "node": format!("node-{node}"), "internal_ip": format!("10.0.0.{node}") });
            vector(asked.end, (0..self.nodes).filter(|_| seen).map(labels))
        } else if query.starts_with("count by (instance") && query.contains("node_cpu_seconds_total") {
            let labels = |node| json!({ "instance": format!("10.0.0.{node}:9100") });
            vector(asked.end, (0..self.targets).filter(|_| seen).map(labels))
        } else if asked.is_range || query.ends_with("[15m]") {
            self.matrix(asked)
        } else {
            json!({ "resultType": "vector", "result": [] })
        };
        let mut reply = json!({ "status": "success", "data": data });
        if !self.warnings.is_empty() {
            reply["warnings"] = json!(self.warnings);
        }
        if self.partial {
            reply["isPartial"] = json!(true);
        }
        ResponseTemplate::new(200).set_body_json(reply)
    }

    fn matrix(&self, asked: &Asked) -> Value {
        let is_age = asked.query.contains("(timestamp(node_");
        let of = |name: &str| {
            let read = if is_age { format!("(timestamp({name}{{") } else { format!("{name}{{") };
            asked.query.contains(&read)
        };
        let is_memory_age = asked.query.contains("timestamp(node_memory_MemAvailable_bytes");
        let metric =
            self.metrics.iter().find(|(name, _)| of(name) || (is_memory_age && *name == "node_memory_MemTotal_bytes"));
        let Some((name, metric)) = metric else { return json!({ "resultType": "matrix", "result": [] }) };
        let (start, step) = if asked.is_range { (asked.start, asked.step) } else { (asked.end - 900_000, STEP) };
        let mut result = Vec::new();
        for node in 0..self.targets {
            let instance = format!("10.0.0.{node}:9100");
            let escaped = instance.replace('.', "\\\\.");
            if !asked.query.contains("=~\".*\"")
                && !asked.query.contains(&format!("{escaped}|"))
                && !asked.query.contains(&format!("{escaped}\""))
            {
                continue;
            }
            let times =
                (start..=asked.end).step_by(step as usize).filter(|ts| (self.history.0..self.history.1).contains(ts));
            // A server repeats the last sample for five minutes; the age of it is what `timestamp()` tells.
            let held = |ts: i64| (0..10).map(|back| ts - back * STEP).find_map(|at| Some((at, metric(node, at)?)));
            let point = |ts: i64| {
                let (at, value) = if asked.is_range { held(ts)? } else { (ts, metric(node, ts)?) };
                let value = if is_age { format!("{}", at as f64 / 1_000.0) } else { value };
                Some(json!([ts as f64 / 1_000.0, value]))
            };
            let points = (self.points)(if is_age { "age" } else { name }, node, times.filter_map(point).collect());
            if points.is_empty() {
                continue;
            }
            result.push(json!({ "metric": { "instance": instance, "job": "node-exporter" }, "values": points }));
            if self.twins && !is_age {
                let second = format!("10.0.0.{node}:9796");
                result.push(json!({ "metric": { "instance": second, "job": "second" }, "values": points }));
            }
        }
        json!({ "resultType": "matrix", "result": result })
    }
}

fn vector(at: i64, labels: impl Iterator<Item = Value>) -> Value {
    let series: Vec<Value> =
        labels.map(|labels| json!({ "metric": labels, "value": [at as f64 / 1_000.0, "1"] })).collect();
    json!({ "resultType": "vector", "result": series })
}
