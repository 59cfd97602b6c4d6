//! A rollout that ends because the challenger's forecasts turn out worse, hour by hour and through a restart.

mod support;

use cluster::{HOUR_MS, MINUTE_MS, NodeName};
use features::cluster_state::NodeFacts;
use features::{GridRows, catalogue};
use models::artifact::Artifact;
use models::load::{HeadKey, LoadForecast};
use runtime::settings::Span;
use serde_json::Value;
use serving::metrics::Metrics;
use serving::nodes::{ClusterView, NodePods, NodeView, Nodes};
use serving::registry::{ModelName, Origin, Registry};
use serving::rollout::log::{Action, Step};
use serving::rollout::{Rollout, RolloutArgs, RolloutLog, Share, Versions};
use serving::shadow::Shadow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{draft, predictor};

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

/// All nodes at a moment: the last hour was as it should be, and everything is forecast `off` too high.
fn view(at: i64, version: &str, off: f32) -> ClusterView {
    let level = |node: usize, hour: i64| 0.4 + 0.02 * node as f32 + 0.01 * ((hour * 7 + node as i64) % 5) as f32;
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
            // Nodes differ in how far off a forecast is, as they do in life.
            let p50 = Some(level(place, due / HOUR_MS) + off * (1.0 + 0.1 * place as f32));
            LoadForecast { key, p50, p90: p50, fallback: false }
        };
        let node = NodeView {
            sampled_at: at,
            facts: NodeFacts::default(),
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

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_that_miss_by_more_end_the_rollout_once_it_is_no_chance() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let metrics = Arc::new(Metrics::default());
    let champions = Arc::new(Registry::new(origin(folder.path(), 1), Arc::clone(&metrics)));
    champions.refresh().await;
    let challengers = Registry::beside(Arc::clone(&champions), origin(folder.path(), 2), Arc::clone(&metrics));
    challengers.refresh().await;
    let version = challengers.current(ModelName::LoadPredictor).expect("a challenger").version.clone();
    assert_ne!(version, champions.current(ModelName::LoadPredictor).expect("a champion").version);
    let shadow = Arc::new(Shadow::start("challenger".into(), challengers, Arc::clone(&metrics)).expect("a thread"));
    let limits = RolloutArgs {
        rollout_max_errors: 0.01,
        rollout_slow_after: Span(Duration::from_millis(100)),
        rollout_max_slow: 0.01,
        rollout_max_forecast_loss: 0.005,
    };
    let open = || {
        let (shadow, champions, metrics) = (Arc::clone(&shadow), Arc::clone(&champions), Arc::clone(&metrics));
        Rollout::open(folder.path(), shadow, champions, limits.clone(), metrics).expect("a rollout")
    };
    let log = RolloutLog::below(folder.path());
    let share = Share { percent: 50.0, challenger: Versions::from([(ModelName::LoadPredictor, version)]) };
    log.append(|_| {
        Ok(Step {
            action: Action::Set,
            who: "a test".into(),
            why: "a look".into(),
            after: share.clone(),
            moved: Vec::new(),
            undoes: None,
            evidence: Value::Null,
        })
    })
    .expect("kept");

    let take_in = |rollout: &Rollout, at: i64| {
        rollout.take_in(&view(at, "1", 0.02), |_| Ok(view(at, "2", 0.04)));
        rollout.heed().expect("heeded");
        rollout.status().percent
    };
    let mut rollout = open();
    for at in (START..START + HOUR_MS).step_by(MINUTE_MS as usize) {
        assert_eq!(take_in(&rollout, at), 50.0, "no hour has passed yet");
    }
    // A restart in between loses nothing of what was put aside.
    let waiting = rollout.status().report.expect("a report").forecasts_waiting;
    assert_eq!(waiting, 4 * NODES * 6);
    rollout.save();
    rollout = open();
    assert_eq!(take_in(&rollout, START + HOUR_MS), 0.0);
    let last = log.read().expect("read").changes.pop().expect("a change");
    assert_eq!((last.action, last.who.as_str()), (Action::Return, "serving"));
    assert!(last.why.contains("forecasts miss by"), "{}", last.why);
    // By hand: errors are 2 % and 4 %, each times 1.35 on average over the nodes.
    let forecasts = &last.evidence["forecasts"];
    let close = |value: &Value, wanted: f64| value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-4);
    assert!(close(&forecasts["champion"], 0.027) && close(&forecasts["challenger"], 0.054), "{forecasts}");
    assert_eq!(forecasts["nodes"], NODES);
    let text = metrics.text();
    assert!(text.contains("berth_serving_rollout_returns_total{limit=\"quality\"} 1"), "{text}");
}
