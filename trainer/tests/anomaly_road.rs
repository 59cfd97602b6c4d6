//! From raw metrics and labelled incidents to a registered anomaly detector, with the embedded tracking store; no server.

use cluster::{DAY_MS, GRID_STEP_MS, INCIDENTS, NODE_METRICS};
use polars::prelude::*;
use std::path::PathBuf;
use std::process::Output;
use store::{Store, VersionDraft, date_of};
use tempfile::TempDir;

const MONDAY: i64 = 1_780_272_000_000; // 2026-06-01T00:00:00Z
const NODES: usize = 4;
const DAYS: i64 = 9;

/// A data root with raw metrics, incidents and features.
struct Root(TempDir);

fn times(name: &str, values: Vec<i64>) -> Column {
    Column::new(name.into(), values).cast(&store::polars_type(cluster::ColumnKind::Timestamp)).expect("times")
}

/// Slots of the day's incident of a node: half an hour, at another time for each node and day.
fn incident(node: usize, day: i64) -> std::ops::Range<i64> {
    let begin = 30 + 53 * node as i64 + 7 * day;
    begin..begin + 6
}

impl Root {
    /// One sample per five minutes: a daily wave with noise that repeats. In an incident, which is labelled where
    /// `labelled`, CPU is at 97 % and the load triples.
    fn new(labelled: bool) -> Self {
        let root = Self(tempfile::tempdir().expect("temporary folder"));
        let store = root.store();
        for day in 0..DAYS {
            let (mut ts, mut name, mut cpu, mut memory, mut load) = (vec![], vec![], vec![], vec![], vec![]);
            for node in 0..NODES {
                for slot in 0..DAY_MS / GRID_STEP_MS {
                    let at = MONDAY + day * DAY_MS + slot * GRID_STEP_MS;
                    let turn = slot as f64 / 288.0 * std::f64::consts::TAU;
                    let noise = (((at / GRID_STEP_MS) * 7_919 + node as i64 * 104_729) % 1_009) as f64 / 1_009.0 - 0.5;
                    let is_odd = incident(node, day).contains(&slot);
                    let used = if is_odd { 0.97 } else { 0.35 + 0.15 * turn.sin() + 0.08 * noise };
                    ts.push(at);
                    name.push(format!("node-{node}"));
                    cpu.push(used * 8.0);
                    memory.push((0.5 + 0.05 * turn.cos() + 0.02 * noise) * 1e9);
                    load.push(if is_odd { 24.0 } else { used * 8.0 + 0.4 * noise });
                }
            }
            let rows = ts.len();
            let columns = vec![
                times("ts", ts),
                Column::new("node".into(), name),
                Column::new("cpu_used_cores".into(), cpu),
                Column::new("cpu_allocatable_cores".into(), vec![8.0; rows]),
                Column::new("memory_used_bytes".into(), memory),
                Column::new("memory_allocatable_bytes".into(), vec![1e9; rows]),
                Column::new("load1".into(), load),
            ];
            let frame = DataFrame::new(rows, columns).expect("a frame");
            let date = date_of(MONDAY + day * DAY_MS);
            store.write_part(&NODE_METRICS, date, "day", &frame).expect("raw metrics");
            if labelled {
                let at = |slot: i64| MONDAY + day * DAY_MS + slot * GRID_STEP_MS;
                let each = |pick: &dyn Fn(usize) -> i64| (0..NODES).map(pick).collect::<Vec<i64>>();
                let text = |name: &str, text: &str| Column::new(name.into(), vec![text; NODES]);
                let columns = vec![
                    Column::new("node".into(), (0..NODES).map(|node| format!("node-{node}")).collect::<Vec<_>>()),
                    text("kind", "noisy_neighbour"),
                    text("severity", "critical"),
                    times("started_at", each(&|node| at(incident(node, day).start))),
                    times("ended_at", each(&|node| at(incident(node, day).end))),
                    text("source", "label"),
                ];
                let frame = DataFrame::new(NODES, columns).expect("a frame");
                store.write_part(&INCIDENTS, date, "day", &frame).expect("incidents");
            }
        }
        let raw = store.freeze(&[&NODE_METRICS, &INCIDENTS], VersionDraft::default()).expect("raw dataset");
        features::offline::build(&store, &raw.id, &features::FeatureSettings::default(), false).expect("features");
        root
    }

    fn store(&self) -> Store {
        Store::new(self.0.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn trainer(&self, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trainer"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_") || name.starts_with("MLFLOW_"))
        {
            command.env_remove(name);
        }
        let root = self.0.path().to_string_lossy().into_owned();
        command.current_dir(self.0.path()).env("BERTH_LOG", "warn").args(["--data", &root]).args(arguments);
        command.output().expect("trainer starts")
    }

    /// Runs the real program, which must end with `code`; returns what it printed and what it complained.
    fn ends(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output = self.trainer(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, complaint) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{complaint}");
        (out, complaint)
    }
}

#[test]
fn the_road_from_labelled_incidents_to_champion() {
    let root = Root::new(true);
    let train = ["train", "anomaly", "--model-out", "detector", "--json-out", "verdict.json"];
    let (text, _) = root.ends(0, &train);
    assert!(text.contains("validation passed"), "{text}");
    let verdict: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.path("verdict.json")).expect("a verdict")).expect("JSON");
    assert!(verdict["scores"]["recall"].as_f64() > Some(0.9), "{verdict:#}");
    for file in ["report.html", "MODEL_CARD.md", "MLmodel", "metadata.json", "code/berth_anomaly_detector.py"] {
        assert!(root.path("detector").join(file).exists(), "{file}");
    }
    let register = ["register", "--model", "detector", "--validation", "verdict.json"];
    let (text, _) = root.ends(0, &register);
    assert!(text.contains("version 1 (1.0.0) of anomaly-detector; it is the first champion"), "{text}");

    // The same data again: the same files, byte for byte, and nothing new to register.
    let first = std::fs::read(root.path("detector/forest-cpu-short.bin")).expect("a forest");
    root.ends(0, &train);
    assert_eq!(std::fs::read(root.path("detector/forest-cpu-short.bin")).expect("a forest"), first);
    let (text, _) = root.ends(0, &register);
    assert!(text.contains("champion already"), "{text}");

    // Another seed: a minor version, compared with the champion; and back.
    root.ends(0, &[&train[..], &["--seed", "8"]].concat());
    let (text, _) = root.ends(0, &register);
    assert!(text.contains("version 2 (1.1.0)"), "{text}");
    let (text, _) = root.ends(0, &["rollback", "--name", "anomaly-detector", "--reason", "a drill"]);
    assert!(text.contains("champion of anomaly-detector is version 1 again"), "{text}");

    // A gate that asks for more says no, and a refused detector is not registered.
    let (_, complaint) =
        root.ends(3, &[&train[..], &["--max-false-positive-rate", "0", "--raise-after", "1"]].concat());
    assert!(complaint.contains("flags: "), "{complaint}");
    let (_, complaint) = root.ends(3, &register);
    assert!(complaint.contains("refused this model"), "{complaint}");

    // A damaged file is refused by name, and so is another model.
    let forest = root.path("detector/forest-cpu-long.bin");
    let mut bytes = std::fs::read(&forest).expect("a forest");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&forest, bytes).expect("damaged");
    let (_, complaint) = root.ends(1, &register);
    assert!(complaint.contains("forest-cpu-long.bin"), "{complaint}");
}

#[test]
fn without_labels_a_share_decides_and_alarms_are_not_judged() {
    let root = Root::new(false);
    let (text, _) = root.ends(0, &["train", "anomaly", "--model-out", "detector"]);
    assert!(text.contains("validation passed"), "{text}");
    let report = std::fs::read_to_string(root.path("detector/report.html")).expect("a report");
    assert!(report.contains("No incident is labelled in the validation slice"));
    let (_, complaint) = root.ends(2, &["train", "anomaly", "--model-out", "x", "--missed-cost", "0"]);
    assert!(complaint.contains("`missed_cost` of [trainer.anomaly]"), "{complaint}");
}
