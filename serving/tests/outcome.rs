//! A rollout that ends by what happened since: forecasts that missed, nodes that got hot, alarms over everybody; through a restart.

mod support;

use cluster::score::{PartWeights, Strategy};
use cluster::{HOUR_MS, MINUTE_MS, NodeName};
use features::cluster_state::{Amount, NodeFacts};
use features::{GridRows, catalogue};
use models::anomaly::{AnomalyKind, Severity};
use models::artifact::Artifact;
use models::load::{HeadKey, LoadForecast};
use runtime::settings::Span;
use score_api::{PodRequest, ScoreRequest};
use serde_json::Value;
use serving::metrics::Metrics;
use serving::nodes::{Anomaly, ClusterView, NodePods, NodeView, Nodes};
use serving::registry::{ModelName, Origin, Registry};
use serving::rollout::log::{Action, Change, Step};
use serving::rollout::{Rollout, RolloutArgs, RolloutLog, Share, Versions};
use serving::score::ScoreRules;
use serving::shadow::Shadow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{draft, predictor};
use tempfile::TempDir;

const NODES: usize = 8;
const START: i64 = 480_000 * HOUR_MS;

/// A folder with a predictor of its own.
fn origin(root: &Path, seed: u64) -> BTreeMap<ModelName, Origin> {
    let folder = root.join(format!("model-{seed}"));
    let artifact = Artifact::of_load_predictor(&predictor(seed), draft("1.0.0")).expect("sealed");
    for (name, bytes) in artifact.into_blobs().expect("blobs") {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
    BTreeMap::from([(ModelName::LoadPredictor, Origin::Folder(folder))])
}

/// How high a node stands in an hour.
fn level(node: usize, hour: i64) -> f32 {
    0.4 + 0.02 * node as f32 + 0.01 * ((hour * 7 + node as i64) % 5) as f32
}

/// All nodes at a moment: the last hour was as `level` has it, forecasts are what `forecast` says of that (median, upper end).
fn view(
    at: i64,
    version: &str,
    level: impl Fn(usize, i64) -> f32,
    forecast: impl Fn(usize, f32) -> (f32, f32),
) -> ClusterView {
    let names: Vec<NodeName> = (0..NODES).map(|node| NodeName::new(format!("node-{node}"))).collect();
    let mut values = vec![f32::NAN; NODES * catalogue::len()];
    let mut nodes = Nodes::default();
    for (place, name) in names.iter().enumerate() {
        for column in ["cpu_mean_1h", "memory_mean_1h"] {
            let column = catalogue::index(column).expect("a feature");
            values[place * catalogue::len() + column] = level(place, at / HOUR_MS);
        }
        let forecast = |key: HeadKey| {
            let due = at + i64::from(key.horizon.hours()) * HOUR_MS;
            let (p50, p90) = forecast(place, level(place, due / HOUR_MS));
            LoadForecast { key, p50: Some(p50), p90: Some(p90), fallback: false }
        };
        let allocatable = Amount { cpu: 16.0, memory: 64e9 };
        let node = NodeView {
            sampled_at: at,
            facts: NodeFacts { allocatable, ..NodeFacts::default() },
            pods: NodePods::default(),
            forecasts: Some(HeadKey::all().map(forecast).collect()),
            anomaly: None,
            row: Some(place),
        };
        nodes.insert(name.clone(), node);
    }
    ClusterView {
        at,
        nodes,
        versions: Versions::from([(ModelName::LoadPredictor, version.to_owned())]),
        rows: Arc::new(GridRows { ts: at, nodes: names, values }),
        ..ClusterView::default()
    }
}

/// Two versions of a predictor, of which the second has half of the workloads.
struct World {
    folder: TempDir,
    metrics: Arc<Metrics>,
    champions: Arc<Registry>,
    shadow: Arc<Shadow>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let metrics = Arc::new(Metrics::default());
        let champions = Arc::new(Registry::new(origin(folder.path(), 1), Arc::clone(&metrics)));
        champions.refresh().await;
        let challengers = Registry::beside(Arc::clone(&champions), origin(folder.path(), 2), Arc::clone(&metrics));
        challengers.refresh().await;
        let version = challengers.current(ModelName::LoadPredictor).expect("a challenger").version.clone();
        assert_ne!(version, champions.current(ModelName::LoadPredictor).expect("a champion").version);
        let shadow = Arc::new(Shadow::start("challenger".into(), challengers, Arc::clone(&metrics)).expect("a thread"));
        let after = Share { percent: 50.0, challenger: Versions::from([(ModelName::LoadPredictor, version)]) };
        let step = Step {
            action: Action::Set,
            who: "a test".into(),
            why: "a look".into(),
            after,
            moved: Vec::new(),
            undoes: None,
            evidence: Value::Null,
        };
        RolloutLog::below(folder.path()).append(|_| Ok(step)).expect("kept");
        Self { folder, metrics, champions, shadow }
    }

    fn rollout(&self) -> Rollout {
        let limits = RolloutArgs {
            rollout_max_errors: 0.01,
            rollout_slow_after: Span(Duration::from_millis(100)),
            rollout_max_slow: 0.01,
            rollout_max_forecast_loss: 0.005,
            rollout_max_choice_loss: 0.05,
            rollout_max_alarms: 0.02,
        };
        let (shadow, champions) = (Arc::clone(&self.shadow), Arc::clone(&self.champions));
        Rollout::open(self.folder.path(), shadow, champions, limits, Arc::clone(&self.metrics)).expect("a rollout")
    }

    /// The last change, which the server has made by itself because of `limit`.
    fn returned(&self, limit: &str) -> Change {
        let last = RolloutLog::below(self.folder.path()).read().expect("read").changes.pop().expect("a change");
        assert_eq!((last.action, last.who.as_str()), (Action::Return, "serving"));
        let text = self.metrics.text();
        assert!(text.contains(&format!("berth_serving_rollout_returns_total{{limit=\"{limit}\"}} 1")), "{text}");
        last
    }
}

/// Takes in what both see; returns the share that is left.
fn take_in(rollout: &Rollout, champion: &ClusterView, challenger: ClusterView) -> f64 {
    rollout.take_in(champion, |_| Ok(challenger));
    rollout.heed().expect("heeded");
    rollout.status().percent
}

fn close(value: &Value, wanted: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-4)
}

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_that_miss_by_more_end_the_rollout_once_it_is_no_chance() {
    let world = World::new().await;
    let look = |rollout: &Rollout, at: i64| {
        // Nodes differ in how far off a forecast is, as they do in life.
        let off = |off: f32| {
            move |place: usize, level: f32| {
                let forecast = level + off * (1.0 + 0.1 * place as f32);
                (forecast, forecast)
            }
        };
        take_in(rollout, &view(at, "1", level, off(0.02)), view(at, "2", level, off(0.04)))
    };
    let mut rollout = world.rollout();
    for at in (START..START + HOUR_MS).step_by(MINUTE_MS as usize) {
        assert_eq!(look(&rollout, at), 50.0, "no hour has passed yet");
    }
    // A restart in between loses nothing of what was put aside.
    let waiting = rollout.status().report.expect("a report").forecasts_waiting;
    assert_eq!(waiting, 4 * NODES * 6);
    rollout.save();
    rollout = world.rollout();
    assert_eq!(look(&rollout, START + HOUR_MS), 0.0);
    let last = world.returned("quality");
    assert!(last.why.contains("forecasts miss by"), "{}", last.why);
    // By hand: errors are 2 % and 4 %, each times 1.35 on average over the nodes.
    let forecasts = &last.evidence["forecasts"];
    assert!(close(&forecasts["champion"], 0.027) && close(&forecasts["challenger"], 0.054), "{forecasts}");
    assert_eq!(forecasts["nodes"], NODES);
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_that_turn_out_hot_end_the_rollout_though_medians_are_right() {
    let world = World::new().await;
    // The second half of the nodes is near saturation, which the challenger's upper ends do not tell.
    let level = |node: usize, _| if node < NODES / 2 { 0.6 } else { 0.89 };
    let champion = |at| view(at, "1", level, |_, level| (level, level));
    let challenger = |at| view(at, "2", level, |place, level| (level, if place < NODES / 2 { level } else { 0.62 }));
    let pod = |at| PodRequest { workload: Some(format!("shop/Deployment/w{at}")), ..PodRequest::default() };
    let request = ScoreRequest {
        pods: (0..60).map(pod).collect(),
        nodes: Vec::new(),
        in_flight: HashMap::new(),
        explain: Some(false),
    };
    // This strategy goes by the upper end alone.
    let rules = ScoreRules { weights: PartWeights::DESIGN, strategy: Strategy::Pack, stale_after: HOUR_MS };
    let rollout = world.rollout();
    assert_eq!(take_in(&rollout, &champion(START), challenger(START)), 50.0);
    for _ in 0..3 {
        rollout.score(&request, &champion(START), &rules, START, |_, _| ());
    }
    let report = rollout.status().report.expect("a report");
    assert_eq!((report.choices_waiting, report.choices_lost), (60, 0), "each workload once");
    rollout.save();
    let rollout = world.rollout();
    let due = START + HOUR_MS;
    assert_eq!(take_in(&rollout, &champion(due), challenger(due)), 0.0);
    let last = world.returned("choices");
    // By hand: 1 less 0.7 + 0.3 x 0.6 / 0.65, and 1 less (0.95 - 0.89) / 0.3.
    let choices = &last.evidence["choices"];
    assert!(close(&choices["champion"], 0.3 - 0.3 * 0.6 / 0.65) && close(&choices["challenger"], 0.8), "{choices}");
    assert!(last.why.contains("the challenger's choices lost 80.00 %"), "{}", last.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_that_suspects_everybody_ends_the_rollout() {
    let world = World::new().await;
    let seen = |version, alarms: usize| {
        let mut view = view(START, version, level, |_, level| (level, level));
        for (place, node) in view.nodes.values_mut().enumerate() {
            let severity = Some(if place < alarms { Severity::Critical } else { Severity::Info });
            let kind = AnomalyKind::Performance;
            node.anomaly = Some(Anomaly { score: 0.6, severity, kind, blame: Vec::new() });
        }
        view
    };
    let rollout = world.rollout();
    assert_eq!(take_in(&rollout, &seen("1", 2), seen("2", 3)), 50.0, "one more node may be chance");
    assert_eq!(take_in(&rollout, &seen("1", 2), seen("2", NODES)), 0.0);
    let last = world.returned("alarms");
    let alarms = &last.evidence["alarms"];
    // Two looks: 3 of 8 nodes, then all of them.
    assert!(close(&alarms["champion"], 0.25) && close(&alarms["challenger"], 0.6875), "{alarms}");
    assert!(last.why.contains("raised alarms at 68.75 % of all readings"), "{}", last.why);
}
