//! From raw metrics to a registered model and back, with the embedded tracking store; no server.

use cluster::{DAY_MS, GRID_STEP_MS, NODE_METRICS};
use features::catalogue::NODE_HISTORY;
use models::artifact::METADATA_FILE;
use polars::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Output;
use store::{Store, VersionDraft, date_of};
use tempfile::TempDir;

const MONDAY: i64 = 1_780_272_000_000; // 2026-06-01T00:00:00Z

/// A data root with raw metrics and features.
struct Root(TempDir);

impl Root {
    /// `nodes` nodes over `days` days, one sample per five minutes: a daily wave, a slow drift, noise that repeats.
    /// The last node vanishes after two thirds; `flat` keeps every node at 40 %.
    fn new(nodes: usize, days: i64, flat: bool) -> Self {
        let root = Self(tempfile::tempdir().expect("temporary folder"));
        let store = root.store();
        for day in 0..days {
            let (mut ts, mut name, mut cpu, mut memory) = (vec![], vec![], vec![], vec![]);
            for node in 0..nodes {
                for slot in 0..DAY_MS / GRID_STEP_MS {
                    let at = MONDAY + day * DAY_MS + slot * GRID_STEP_MS;
                    if node > 0 && node == nodes - 1 && day * 3 >= days * 2 {
                        continue;
                    }
                    let turn = (at % DAY_MS) as f64 / DAY_MS as f64 * std::f64::consts::TAU;
                    let noise = (((at / GRID_STEP_MS) * 7_919 + node as i64 * 104_729) % 1_009) as f64 / 1_009.0 - 0.5;
                    let load = if flat { 0.4 } else { 0.4 + 0.25 * (turn + node as f64 * 0.3).sin() + 0.1 * noise };
                    ts.push(at);
                    name.push(format!("node-{node}"));
                    cpu.push(load * 8.0);
                    memory.push(if flat { 0.4e9 } else { (0.5 + 0.1 * (turn / 2.0).cos() + 0.02 * noise) * 1e9 });
                }
            }
            let rows = ts.len();
            let times =
                Column::new("ts".into(), ts).cast(&store::polars_type(cluster::ColumnKind::Timestamp)).expect("times");
            let columns = vec![
                times,
                Column::new("node".into(), name),
                Column::new("cpu_used_cores".into(), cpu),
                Column::new("cpu_allocatable_cores".into(), vec![8.0; rows]),
                Column::new("memory_used_bytes".into(), memory),
                Column::new("memory_allocatable_bytes".into(), vec![1e9; rows]),
            ];
            let frame = DataFrame::new(rows, columns).expect("a frame");
            store.write_part(&NODE_METRICS, date_of(MONDAY + day * DAY_MS), "day", &frame).expect("raw metrics");
        }
        let raw = store.freeze(&[&NODE_METRICS], VersionDraft::default()).expect("raw dataset");
        features::offline::build(&store, &raw.id, &features::FeatureSettings::default(), false).expect("features");
        root
    }

    fn store(&self) -> Store {
        Store::new(self.0.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the real program with few and small trees.
    fn trainer(&self, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trainer"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_") || name.starts_with("MLFLOW_"))
        {
            command.env_remove(name);
        }
        command
            .current_dir(self.0.path())
            .env("BERTH_TRAINER_BOOSTER_ROUNDS", "40")
            .env("BERTH_TRAINER_BOOSTER_UPPER_ROUNDS", "30")
            .env("BERTH_TRAINER_LOAD_FOLDS", "1")
            // A few days and few trees: this is about the road, not about the figures.
            .env("BERTH_TRAINER_VALIDATE_MIN_COVERAGE", "0.6")
            .env("BERTH_TRAINER_VALIDATE_MAX_COVERAGE", "1")
            .env("BERTH_TRAINER_VALIDATE_CHAMPION_MARGIN", "1")
            .env("BERTH_PLACEMENT_EPISODES", "2")
            .env("BERTH_PLACEMENT_SEARCH_ROUNDS", "1")
            .env("BERTH_PLACEMENT_NODES", "6")
            .env("BERTH_PLACEMENT_DAYS", "0.25")
            .env("BERTH_PLACEMENT_UPDATES", "5")
            .env("BERTH_PLACEMENT_HOURS", "1")
            .env("BERTH_PLACEMENT_GATE_SEEDS", "2")
            .env("BERTH_PLACEMENT_GATE_ABOVE_KUBE", "100")
            .env("BERTH_PLACEMENT_GATE_BELOW_RANDOM", "-1")
            .env("BERTH_LOG", "warn")
            .args(["--data", &self.0.path().to_string_lossy()])
            .args(arguments)
            .output()
            .expect("trainer starts")
    }

    /// The same, and it must succeed; returns what it printed.
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.trainer(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The same, and it must end with `code`; returns what it complained.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.trainer(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
        complaint
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.succeeds(&[arguments, &["--json"]].concat())).expect("one JSON document")
    }
}

fn model_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a model folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "ubj") || path.ends_with(models::load::HEADS_FILE)
        })
        .map(|path| {
            (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_road_from_features_to_champion_and_back() {
    let root = Root::new(4, 8, false);
    let text = root.succeeds(&[]);
    assert!(text.contains("validation passed") && text.contains("first champion"), "{text}");
    assert!(text.contains("version 2 (1.0.1) of load-predictor, a fresh fit of judged version 1;"), "{text}");
    assert!(root.path("models/load-predictor/report.html").exists() && root.path("reports/validation.html").exists());

    // The same data again: the same files, byte for byte, and nothing new to register.
    let first = model_files(&root.path("models/load-predictor"));
    assert!(first.len() > 1, "{first:?}");
    let text = root.succeeds(&[]);
    assert_eq!(text.matches("champion already").count(), 3, "{text}");
    assert_eq!(model_files(&root.path("models/load-predictor")), first);

    // Another recipe: a minor version, compared with the champion.
    let (model, verdict) = (root.path("model"), root.path("verdict.json"));
    let (model, verdict) = (model.to_string_lossy().into_owned(), verdict.to_string_lossy().into_owned());
    root.succeeds(&["train", "load", "--model-out", &model, "--rounds", "60", "--learning-rate", "0.06"]);
    let validate = ["validate", "--model", &model, "--json-out", &verdict];
    let register = ["register", "--model", &model, "--validation", &verdict];
    let judged = root.json(&[&validate[..], &["--champion-min-days", "30"]].concat());
    assert_eq!((judged["champion"].as_str(), judged["decision"].as_str()), (Some("2"), Some("not_yet")), "{judged:#}");
    let waits = root.json(&register);
    assert_eq!((waits["version"].as_str(), waits["is_champion"].as_bool()), (Some("4"), Some(false)), "{waits:#}");
    assert!(waits["waits_for"].as_str().is_some_and(|reason| reason.contains("missing")), "{waits:#}");
    // Once there are days enough the same version moves up: judged version 3, its fresh fit 4.
    let judged = root.json(&validate);
    assert_eq!(judged["decision"], "promote", "{judged:#}");
    let registered = root.json(&register);
    assert_eq!(
        (registered["version"].as_str(), registered["semver"].as_str(), registered["previous"].as_str()),
        (Some("4"), Some("1.1.1"), Some("2"))
    );
    assert_eq!(registered["judged"], "3", "{registered:#}");

    // And back.
    let back = root.json(&["rollback", "--reason", "a drill"]);
    assert_eq!((back["from"].as_str(), back["to"].as_str()), (Some("4"), Some("2")));
    let shown = root.succeeds(&["show", "load-predictor@champion"]);
    assert!(shown.contains("rolled back from version 4: a drill"), "{shown}");
    let complaint = root.fails(2, &["rollback", "--reason", "once more"]);
    assert!(complaint.contains("no previous champion"), "{complaint}");

    // What is there, without a browser.
    assert!(root.succeeds(&["models"]).contains("1.1.0"));
    assert!(root.succeeds(&["runs", "--nested"]).contains("memory-4h"));

    // Why.
    let at = "2026-06-08T12:00:00Z";
    let explained = root.json(&["explain", "--node", "node-1", "--at", at, "--head", "cpu-1h"]);
    let head = &explained["heads"][0];
    let parts: f64 =
        head["parts"].as_array().expect("parts").iter().map(|part| part["points"].as_f64().expect("points")).sum();
    let sum =
        head["start_points"].as_f64().expect("start") + parts + head["correction_points"].as_f64().expect("correction");
    assert!((sum - head["forecast_points"].as_f64().expect("forecast")).abs() < 0.01, "{head:#}");
    let complaint = root.fails(2, &["explain", "--node", "node-9", "--at", at]);
    assert!(complaint.contains("`node-9`") && complaint.contains("node-0"), "{complaint}");
    let complaint = root.fails(2, &["explain", "--node", "node-3", "--at", at]);
    assert!(complaint.contains("no row in the hour before"), "the node has vanished: {complaint}");
}

#[test]
fn a_model_with_a_wrong_hash_is_refused_by_name() {
    let root = Root::new(2, 7, false);
    let model = root.path("model").to_string_lossy().into_owned();
    root.succeeds(&["train", "load", "--model-out", &model]);
    let file = root.path("model").join(models::load::HEADS_FILE);
    let mut bytes = std::fs::read(&file).expect("heads");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).expect("damaged");
    let complaint = root.fails(1, &["validate", "--model", &model]);
    assert!(complaint.contains(models::load::HEADS_FILE), "{complaint}");
    std::fs::remove_file(root.path("model").join(METADATA_FILE)).expect("removed");
    let complaint = root.fails(1, &["validate", "--model", &model]);
    assert!(complaint.contains(METADATA_FILE), "{complaint}");
}

#[test]
fn a_refused_model_never_becomes_champion() {
    let root = Root::new(2, 7, false);
    let (model, verdict) =
        (root.path("model").to_string_lossy().into_owned(), root.path("verdict.json").to_string_lossy().into_owned());
    root.succeeds(&["train", "load", "--model-out", &model]);
    let complaint = root.fails(3, &["validate", "--model", &model, "--json-out", &verdict, "--min-skill", "0.99"]);
    assert!(complaint.contains("skill against persistence is"), "{complaint}");
    let complaint = root.fails(3, &["register", "--model", &model, "--validation", &verdict]);
    assert!(complaint.contains("refused this model"), "{complaint}");
    assert!(root.succeeds(&["models"]).starts_with("no models in"));
}

#[test]
fn an_agent_is_trained_judged_registered_and_refused() {
    let root = Root::new(1, 1, false);
    let (model, verdict) = (root.path("agent"), root.path("verdict.json"));
    let (model, verdict) = (model.to_string_lossy().into_owned(), verdict.to_string_lossy().into_owned());
    let arguments = ["train", "placement", "--model-out", &model, "--json-out", &verdict];
    let text = root.succeeds(&arguments);
    assert!(text.contains("learned in 2 episodes") && text.contains("validation passed"), "{text}");
    assert!(root.path("agent/report.html").exists() && !root.path("checkpoints/placement-agent").exists());
    let first = std::fs::read(root.path("agent/network.safetensors")).expect("the network");
    let register = ["register", "--model", &model, "--validation", &verdict];
    assert!(root.succeeds(&register).contains("of placement-agent; it is the first champion"));
    assert!(root.succeeds(&["models"]).contains("placement-agent"));

    // The same settings: the same network, byte for byte, and nothing new to register.
    root.succeeds(&arguments);
    assert_eq!(std::fs::read(root.path("agent/network.safetensors")).expect("the network"), first);
    assert!(root.succeeds(&register).contains("champion already"));

    // No placement is 99 % below random: the gate says no, and the registry does too.
    let complaint = root.fails(3, &[&arguments[..], &["--below-random", "0.99", "--seed", "8"]].concat());
    assert!(complaint.contains("at least 99.0 % is wanted"), "{complaint}");
    assert!(root.fails(3, &register).contains("refused this model"));
    assert!(root.fails(2, &["train", "placement", "--model-out", &model, "--hours", "0"]).contains("--hours is 0"));
}

#[test]
fn too_little_history_says_how_much_is_needed() {
    let root = Root::new(2, 1, false);
    let complaint = root.fails(1, &["train", "load", "--model-out", "model"]);
    assert!(complaint.contains("are needed to train") && complaint.contains("Collect more days"), "{complaint}");
    assert!(!root.path("model").exists());
}

#[test]
fn constant_nodes_and_one_node_alone_train_and_pass() {
    for (nodes, flat) in [(2, true), (1, false)] {
        let root = Root::new(nodes, 7, flat);
        let text = root.succeeds(&[]);
        assert!(text.contains("validation passed"), "{text}");
    }
}

#[test]
fn wrong_datasets_and_settings_are_named() {
    let root = Root::new(1, 1, false);
    let raw = root.store().newest_version(&NODE_METRICS).expect("raw dataset").id;
    let complaint = root.fails(2, &["train", "load", "--model-out", "model", "--features", &raw]);
    assert!(complaint.contains(NODE_HISTORY.name), "{complaint}");
    let complaint = root.fails(1, &["train", "load", "--model-out", "model", "--features", "nothing"]);
    assert!(complaint.contains("`nothing` is neither a manifest file nor a dataset"), "{complaint}");
    let complaint = root.fails(2, &["train", "load", "--model-out", "model", "--test-share", "0.9"]);
    assert!(complaint.contains("`test_share`"), "{complaint}");
    std::fs::write(root.path("berth.toml"), "[trainer.load]\nmax_row = 1\n").expect("configuration");
    let complaint = root.fails(2, &["train", "load", "--model-out", "model"]);
    assert!(complaint.contains("`max_row`"), "{complaint}");
}
