//! A data root with labelled history, and the real program on it.

#![allow(dead_code, reason = "each test file uses its own share")]

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
pub struct Root(TempDir);

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
    pub fn new(labelled: bool) -> Self {
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

    pub fn store(&self) -> Store {
        Store::new(self.0.path())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn trainer(&self, arguments: &[&str]) -> Output {
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
    pub fn ends(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output = self.trainer(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, complaint) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{complaint}");
        (out, complaint)
    }
}
