//! Small models in a registry, and a small cluster in a real Prometheus. The tests of the scheduler extender use it too.

#![allow(dead_code, reason = "each test file uses its own share")]

use cluster::Resource;
use collector::testing::{PrometheusServer, load_openmetrics, program};
use models::anomaly::{
    AlarmSettings, AnomalyKind, Detector, DetectorSettings, ForestSettings, LabelledRows, MemberSettings, Rule, Side,
    fit_detector,
};
use models::artifact::{Artifact, ArtifactDraft};
use models::learners::GradientBoosting;
use models::load::{HeadData, HeadKey, HeadSettings, LoadPredictor, fit_head};
use models::placement::{Layer, PlacementNetwork};
use models::{FeatureMatrix, FitOptions, FitRows};
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tracking::promotion::tags;
use tracking::{Decision, NewRun, NewVersion, Tracker, TrackingArgs};

pub const NODES: usize = 4;
/// The node that is busy.
pub const BUSY: usize = 2;
pub const CORES: f64 = 8.0;
pub const BYTES: f64 = 1e9;
const STEP: i64 = 60;
const FEATURES: [&str; 4] = ["cpu_utilization", "cpu_mean_1h", "memory_utilization", "memory_mean_1h"];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Load that stays as it is, with noise; each resource its own.
fn rows(features: &[&str; 4], count: usize, seed: u64) -> (FeatureMatrix, [Vec<f32>; 2]) {
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut values, mut cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        for target in [&mut cpu, &mut memory] {
            let level: f32 = 0.05 + 0.85 * chance.random::<f32>();
            let mut near = |width: f32| level + width * (chance.random::<f32>() - 0.5);
            let (now, hour, later) = (near(0.04), near(0.02), near(0.06));
            values.extend([now, hour]);
            target.push(later);
        }
    }
    (FeatureMatrix::new(names(features), count, values).expect("a matrix"), [cpu, memory])
}

pub fn predictor(seed: u64) -> LoadPredictor {
    predictor_of(&FEATURES, seed)
}

/// One that knows nothing where there is no history of a week.
pub fn predictor_of_last_week() -> LoadPredictor {
    predictor_of(&["cpu_utilization", "cpu_next_1h_last_week", "memory_utilization", "memory_next_1h_last_week"], 3)
}

/// The second and the fourth feature are the baselines of CPU and memory.
fn predictor_of(features: &[&str; 4], seed: u64) -> LoadPredictor {
    let quick = |booster: GradientBoosting| GradientBoosting { rounds: 10, ..booster };
    let default = HeadSettings::default();
    let ((train, train_y), (held, held_y)) = (rows(features, 600, seed), rows(features, 300, seed + 1));
    let heads = HeadKey::all().map(|key| {
        let (place, mean) = match key.resource {
            Resource::Cpu => (0, features[1]),
            Resource::Memory => (1, features[3]),
        };
        let settings = HeadSettings {
            baseline: names(&[mean]),
            median: quick(default.median.clone()),
            upper: quick(default.upper.clone()),
            ..default.clone()
        };
        let data = HeadData {
            train: FitRows::new(&train, &train_y[place]),
            selection: None,
            calibration: Some(FitRows::new(&held, &held_y[place])),
        };
        fit_head(key, &settings, &data, &FitOptions::seeded(seed)).expect("it fits").head
    });
    LoadPredictor::new(heads.collect()).expect("heads that fit together")
}

pub fn detector() -> Detector {
    let (x, _) = rows(&FEATURES, 1_000, 9);
    let (odd, usual) = (vec![false; x.rows()], vec![true; x.rows()]);
    let settings = DetectorSettings {
        forest: ForestSettings::default(),
        members: vec![MemberSettings {
            name: "cpu-short".into(),
            kind: AnomalyKind::Performance,
            columns: names(&["cpu_utilization", "cpu_mean_1h"]),
            side: Side::Both,
        }],
        rules: vec![Rule::Missing { feature: "cpu_utilization".into(), while_known: "memory_utilization".into() }],
        alarms: AlarmSettings::default(),
        expected_share: 0.01,
    };
    fit_detector(&LabelledRows { x: &x, odd: &odd, usual: &usual }, &settings, 7).expect("a detector")
}

/// Less CPU after the pod is better.
pub fn network(weight: f32) -> PlacementNetwork {
    let features = features::cluster_state::names();
    let skip = features.iter().map(|name| if name == "cpu_after" { weight } else { 0.0 }).collect();
    let layer = Layer { inputs: features.len(), outputs: 1, weights: vec![0.0; features.len()], bias: vec![0.0] };
    PlacementNetwork::new(features, skip, vec![layer]).expect("a network")
}

/// A data root with registered models.
pub struct Root {
    pub folder: TempDir,
}

impl Root {
    pub async fn with_models() -> Self {
        let root = Self { folder: tempfile::tempdir().expect("temporary folder") };
        root.register(Artifact::of_load_predictor(&predictor(1), draft("1.0.0")).expect("sealed")).await;
        root.register(Artifact::of_placement_agent(&network(-1.0), draft("1.0.0")).expect("sealed")).await;
        root.register(Artifact::of_anomaly_detector(&detector(), draft("1.0.0")).expect("sealed")).await;
        root
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn tracker(&self) -> Arc<dyn Tracker> {
        Arc::from(tracking::open(&TrackingArgs::default(), self.path()).await.expect("a registry"))
    }

    /// Registers an artifact and makes it champion; returns its version.
    pub async fn register(&self, artifact: Artifact) -> String {
        let name = artifact.metadata().name.clone();
        let blobs = artifact.into_blobs().expect("blobs");
        self.register_blobs(&name, blobs).await
    }

    /// Registers an artifact beside the champion; returns its version.
    pub async fn challenge(&self, artifact: Artifact) -> String {
        let name = artifact.metadata().name.clone();
        let version = self.create(&name, artifact.into_blobs().expect("blobs")).await;
        self.point("challenger", &name, &version).await;
        version
    }

    pub async fn register_blobs(&self, name: &str, blobs: BTreeMap<String, Vec<u8>>) -> String {
        let version = self.create(name, blobs).await;
        self.promote(name, &version).await;
        version
    }

    async fn create(&self, name: &str, blobs: BTreeMap<String, Vec<u8>>) -> String {
        let tracker = self.tracker().await;
        let experiment = tracker.experiment("tests").await.expect("an experiment");
        let run = tracker.create_run(NewRun::new(experiment.id, name)).await.expect("a run");
        for (file, bytes) in blobs {
            tracker.log_artifact(&run.id, &format!("model/{file}"), bytes).await.expect("logged");
        }
        tracker.register_model(name, "for tests").await.expect("registered");
        let before = tracker.versions(name).await.expect("versions").len();
        let version = NewVersion {
            model: name.to_owned(),
            run_id: run.id,
            artifact_path: "model".into(),
            description: String::new(),
            tags: [(tags::SEMVER.to_owned(), format!("1.{before}.0"))].into(),
        };
        tracker.create_version(version).await.expect("a version").version
    }

    /// Registers files beside the champion; returns their version.
    pub async fn challenge_blobs(&self, name: &str, blobs: BTreeMap<String, Vec<u8>>) -> String {
        self.create(name, blobs).await
    }

    pub async fn promote(&self, name: &str, version: &str) {
        self.point("champion", name, version).await;
    }

    async fn point(&self, alias: &str, name: &str, version: &str) {
        let decision = Decision::new("a test", "it wants to");
        self.tracker().await.set_alias(name, alias, version, &decision).await.expect("moved");
    }
}

/// A made-up history in the raw tables below a data root.
pub fn history(root: &Path, nodes: usize) {
    let step = runtime::settings::Span(Duration::from_secs(300));
    let end = chrono::NaiveDate::from_ymd_opt(2026, 11, 1);
    let args = collector::synthesize::SynthesizeArgs { nodes, days: 2, step, end, ..Default::default() };
    collector::synthesize::synthesize(&args, &store::Store::new(root)).expect("a history");
}

pub fn draft(version: &str) -> ArtifactDraft {
    ArtifactDraft { version: version.into(), algorithm: "for tests".into(), ..ArtifactDraft::default() }
}

/// Nodes that keep their level, one of them busy, each with a pod of one workload.
pub struct Cluster {
    pub from: i64,
    pub until: i64,
    /// All nodes have the same level: they differ by noise alone.
    pub alike: bool,
    /// Seconds between two samples.
    pub step: i64,
}

impl Cluster {
    /// So many hours, that end at `until` seconds.
    pub fn new(hours: i64, until: i64) -> Self {
        Self { from: until - hours * 3_600, until, alike: false, step: STEP }
    }

    /// The same with nodes that differ by noise alone.
    pub fn alike(self) -> Self {
        Self { alike: true, ..self }
    }

    /// The same with samples so many seconds apart.
    pub fn every(self, step: i64) -> Self {
        Self { step, ..self }
    }

    /// Cores in use.
    pub fn cores(node: usize, ts: i64) -> f64 {
        CORES * if node == BUSY { 0.9 } else { 0.2 + 0.1 * node as f64 } + Self::noise(node, ts)
    }

    fn noise(node: usize, ts: i64) -> f64 {
        CORES * 0.01 * ((((ts / 300) * 7_919 + node as i64 * 104_729) % 1_009) as f64 / 1_009.0 - 0.5)
    }

    /// One node is not ready for five minutes of each hour, another one in the last three minutes.
    pub fn is_ready(&self, node: usize, ts: i64) -> bool {
        match node {
            1 => !(1_800..2_100).contains(&(self.until - ts).rem_euclid(3_600)),
            3 => self.until - ts > 180,
            _ => true,
        }
    }

    pub fn write(&self, path: &Path) {
        let names = [
            "kube_node_info",
            "kube_node_status_allocatable",
            "node_cpu_seconds",
            "node_load1",
            "node_memory_MemAvailable_bytes",
            "node_memory_MemTotal_bytes",
            "node_uname_info",
            "kube_pod_info",
            "kube_pod_status_phase",
            "kube_pod_created",
            "kube_pod_owner",
            "kube_pod_container_resource_requests",
            "container_cpu_usage_seconds",
            "container_memory_working_set_bytes",
            "kube_node_status_condition",
        ];
        let mut lines: Vec<String> = vec![String::new(); names.len()];
        let mut busy = [0.0; NODES];
        for ts in (self.from..self.until).step_by(self.step as usize) {
            for (node, busy) in busy.iter_mut().enumerate() {
                let cores = if self.alike { 0.4 * CORES + Self::noise(node, ts) } else { Self::cores(node, ts) };
                *busy += cores * self.step as f64;
                let mut put = |family: usize, line: String| {
                    let name = names[family];
                    let name = if name.ends_with("seconds") { format!("{name}_total") } else { name.to_owned() };
                    writeln!(lines[family], "{name}{line} {ts}").expect("text");
                };
                let known = format!(r#"node="node-{node}",job="kube-state-metrics",instance="10.9.0.1:8080""#);
                let instance = format!(r#"instance="10.0.0.{node}:9100",job="node-exporter""#);
                let pod = format!(r#"namespace="shop",pod="cart-{node}",uid="uid-{node}",job="kube-state-metrics""#);
                let container = format!(r#"namespace="shop",pod="cart-{node}",container="main",job="cadvisor""#);
                put(0, format!(r#"{{{known},internal_ip="10.0.0.{node}"}} 1"#));
                put(1, format!(r#"{{{known},resource="cpu",unit="core"}} {CORES}"#));
                put(1, format!(r#"{{{known},resource="memory",unit="byte"}} {BYTES}"#));
                put(2, format!(r#"{{{instance},cpu="0",mode="user"}} {busy}"#));
                put(2, format!(r#"{{{instance},cpu="0",mode="idle"}} {}"#, (ts - self.from) * 4));
                put(3, format!("{{{instance}}} {cores}"));
                put(4, format!("{{{instance}}} {}", 0.5 * BYTES));
                put(5, format!("{{{instance}}} {BYTES}"));
                put(6, format!(r#"{{{instance},nodename="node-{node}"}} 1"#));
                put(
                    7,
                    format!(r#"{{{pod},node="node-{node}",created_by_kind="StatefulSet",created_by_name="cart"}} 1"#),
                );
                put(8, format!(r#"{{{pod},phase="Running"}} 1"#));
                put(9, format!("{{{pod}}} {}", self.from));
                put(10, format!(r#"{{{pod},owner_kind="StatefulSet",owner_name="cart"}} 1"#));
                put(11, format!(r#"{{{pod},node="node-{node}",container="main",resource="cpu",unit="core"}} 4"#));
                put(
                    11,
                    format!(r#"{{{pod},node="node-{node}",container="main",resource="memory",unit="byte"}} 200000000"#),
                );
                put(12, format!("{{{container}}} {}", *busy / 2.0));
                put(13, format!("{{{container}}} 100000000"));
                let ready = i32::from(self.is_ready(node, ts));
                put(14, format!(r#"{{{known},condition="Ready",status="true"}} {ready}"#));
            }
        }
        let mut text = String::new();
        for (name, lines) in names.iter().zip(lines) {
            let kind = if name.ends_with("seconds") { "counter" } else { "gauge" };
            write!(text, "# TYPE {name} {kind}\n{lines}").expect("text");
        }
        text.push_str("# EOF\n");
        std::fs::write(path, text).expect("written");
    }

    /// A real Prometheus with this history; `None`, said loudly, where tests may go without it.
    pub fn serve(&self, folder: &Path) -> Option<PrometheusServer> {
        program("prometheus").expect("prometheus")?;
        let text = folder.join("history.om");
        self.write(&text);
        load_openmetrics(&text, folder).expect("loaded");
        Some(PrometheusServer::start(folder, &[]).expect("started"))
    }
}

pub fn rfc3339(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).expect("a time").to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
