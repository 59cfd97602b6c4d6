//! `collector quality` as the pipeline calls it: the gate's exit code, and reports that are there although it refused.

use chrono::NaiveDate;
use cluster::{ColumnKind, INCIDENTS, MINUTE_MS, NODE_METRICS, NodeMetric, NodeName, NodeSample};
use polars::prelude::{Column, DataFrame};
use std::path::Path;
use std::process::{Command, Output};
use store::{Store, VersionDraft, day_start, polars_type};

/// Freezes a day of two nodes, the second of which lacks memory in `without_memory` of 100 rows.
fn freeze(root: &Path, without_memory: i64) -> String {
    let store = Store::new(root);
    let date = NaiveDate::from_ymd_opt(2026, 11, 2).expect("date");
    let sample = |step: i64, lacking: bool| {
        let mut sample = NodeSample::empty(day_start(date) + step * MINUTE_MS);
        for metric in NodeMetric::ALL {
            sample.set(*metric, 0.5);
        }
        sample.set(NodeMetric::CpuUsed, 1.0 + step as f64 / 1e4);
        if lacking && step % 100 < without_memory {
            sample.set(NodeMetric::MemoryUsed, f64::NAN);
        }
        sample
    };
    let nodes = ["node-a", "node-b"]
        .map(|node| (NodeName::new(node), (0..1_000).map(|step| sample(step, node == "node-b")).collect()));
    collector::raw::write_node_day(&store, date, "day", nodes.into()).expect("written");
    store.freeze(&[&NODE_METRICS], VersionDraft::default()).expect("frozen").id
}

fn quality(root: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collector"));
    command.current_dir(root).arg("quality").arg("--data").arg(root);
    command.args(["--json-out", "out/quality.json", "--html-out", "out/quality.html"]).args(more);
    command.output().expect("collector runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_dataset_passes_and_a_bad_one_ends_with_3_after_the_reports() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let id = freeze(folder.path(), 0);
    let output = quality(folder.path(), &["--dataset", &id, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON document on standard output");
    assert_eq!(printed["gate"]["passed"], true);
    assert_eq!(printed["dataset"], id.as_str());

    let folder = tempfile::tempdir().expect("temporary folder");
    let id = freeze(folder.path(), 60);
    let output = quality(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let message = text(&output.stderr);
    // Of four metrics on two nodes one lacks 60 %: 92.5 %.
    for part in [id.as_str(), "92.5", "limit is 95 %", "`node-b`", "`memory_used_bytes`", "collector backfill"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let written: serde_json::Value =
        runtime::files::read_json(&folder.path().join("out/quality.json")).expect("JSON report");
    assert_eq!(written["gate"]["passed"], false);
    assert!(runtime::files::read_text(&folder.path().join("out/quality.html")).expect("page").contains("refused"));

    // The limit may come from the flag and from the file; the flag wins.
    assert_eq!(quality(folder.path(), &["--min-coverage", "0.9"]).status.code(), Some(0));
    std::fs::write(folder.path().join("berth.toml"), "[collector.quality]\nmin_coverage = 0.9\n").expect("file");
    assert_eq!(quality(folder.path(), &[]).status.code(), Some(0));
    assert_eq!(quality(folder.path(), &["--min-coverage", "0.99"]).status.code(), Some(3));
}

#[test]
fn latest_means_the_newest_version_of_the_raw_tables_in_every_command() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let id = freeze(folder.path(), 0);
    // A newer version of another table, as `features build` leaves one.
    let store = Store::new(folder.path());
    let date = NaiveDate::from_ymd_opt(2026, 11, 2).expect("date");
    let incident = DataFrame::new(
        1,
        vec![
            Column::new("node".into(), ["node-a"]),
            Column::new("kind".into(), ["not_ready"]),
            Column::new("severity".into(), ["critical"]),
            Column::new("started_at".into(), [day_start(date)])
                .cast(&polars_type(ColumnKind::Timestamp))
                .expect("time"),
            Column::new("source".into(), ["label"]),
        ],
    );
    store.write_part(&INCIDENTS, date, "day", &incident.expect("rows")).expect("written");
    let newer = store.freeze(&[&INCIDENTS], VersionDraft::default()).expect("frozen").id;
    assert_eq!(store.versions().expect("versions").last().map(|version| version.id.clone()), Some(newer));
    let output = quality(folder.path(), &["--dataset", "latest", "--json"]);
    let judged: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(judged["dataset"], id.as_str(), "{}", text(&output.stderr));
    let mut show = Command::new(env!("CARGO_BIN_EXE_collector"));
    let output =
        show.args(["datasets", "show", "latest", "--data"]).arg(folder.path()).output().expect("collector runs");
    assert!(text(&output.stdout).contains(&id), "{}", text(&output.stdout));
}

#[test]
fn one_setting_leaves_nodes_out_everywhere() {
    let folder = tempfile::tempdir().expect("temporary folder");
    freeze(folder.path(), 60);
    assert_eq!(quality(folder.path(), &[]).status.code(), Some(3), "node-b lacks memory");
    assert_eq!(quality(folder.path(), &["--ignore-nodes", "name=node-b"]).status.code(), Some(0));
    let section = "[collector.prometheus]\nignore_nodes = [\"name=node-b\"]\n";
    std::fs::write(folder.path().join("berth.toml"), section).expect("file");
    assert_eq!(quality(folder.path(), &[]).status.code(), Some(0));
    let more = "[collector.quality]\nignore_nodes = []\n";
    std::fs::write(folder.path().join("berth.toml"), format!("{section}{more}")).expect("file");
    assert_eq!(quality(folder.path(), &[]).status.code(), Some(3), "its own section wins");
    assert_eq!(quality(folder.path(), &["--ignore-nodes", "a=b=c"]).status.code(), Some(2));
}

#[test]
fn wrong_use_ends_with_2_and_damage_with_1() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let id = freeze(folder.path(), 0);
    let output = quality(folder.path(), &["--min-coverage", "95"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`min_coverage` is `95`"), "{}", text(&output.stderr));

    let part = folder.path().join("datasets").join(&id).join("raw/node_metrics/date=2026-11-02/day.parquet");
    std::fs::write(&part, "no Parquet").expect("damage");
    let output = quality(folder.path(), &["--dataset", &id]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("date=2026-11-02/day.parquet"), "{}", text(&output.stderr));
}
