//! One definition serves training and serving: offline rows and online rows are equal, feature by feature, bit by bit.

mod common;

use cluster::{DAY_MS, HOUR_MS, NodeMetric, NodeName, NodeSample};
use common::{START, cluster, differences, write_raw};
use features::{FeatureSettings, FeatureTable, GRID_STEP_MS, OnlineFeatures, Selection, offline};
use store::Store;

const STEP_MS: i64 = 120_000;
const DAYS: i64 = 10;

/// Pushes the samples in `[from, to)` in order of time, asking for rows at each grid time on the way; calls `see` with them.
fn replay(
    online: &mut OnlineFeatures,
    nodes: &[(NodeName, Vec<NodeSample>)],
    from: i64,
    to: i64,
    mut see: impl FnMut(&features::GridRows),
) {
    let mut t = from;
    while t < to {
        for (node, samples) in nodes {
            for sample in samples.iter().filter(|sample| (t..t + GRID_STEP_MS).contains(&sample.ts)) {
                online.push(node, sample);
            }
        }
        t += GRID_STEP_MS;
        see(&online.rows(t).expect("rising time"));
    }
}

fn offline_table(nodes: &[(NodeName, Vec<NodeSample>)]) -> (tempfile::TempDir, FeatureTable, features::WindowRules) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    let raw = write_raw(&store, nodes);
    let settings = FeatureSettings::default();
    let report = offline::build(&store, &raw.id, &settings, false).expect("built");
    let version = store.open_version(&report.version.id).expect("version");
    let table = FeatureTable::load(&version, &Selection::everything()).expect("table");
    (folder, table, settings.rules(report.step_ms).expect("rules"))
}

#[test]
fn every_offline_row_equals_the_online_row() {
    let nodes = cluster(3, DAYS, STEP_MS);
    let (_folder, table, rules) = offline_table(&nodes);
    let mut online = OnlineFeatures::new(rules);
    let mut compared = 0;
    replay(&mut online, &nodes, START, START + DAYS * DAY_MS, |rows| {
        for (place, node) in rows.nodes.iter().enumerate() {
            let Some(row) = table.find(node.as_str(), rows.ts) else {
                // The dataset ends inside the last slot, so its stamp has no offline row.
                assert_eq!(rows.ts, START + DAYS * DAY_MS, "offline row of {node} is absent");
                continue;
            };
            let different = differences(table.row(row), rows.row(place));
            assert!(different.is_empty(), "{node} at {}: {different:?}", rows.ts);
            compared += 1;
        }
    });
    assert_eq!(compared, table.rows(), "every offline row was seen online");
    assert!(compared > 7_000, "{compared}");
}

#[test]
fn a_server_warmed_with_seven_days_gives_the_rows_of_a_long_history() {
    let nodes = cluster(3, DAYS, STEP_MS);
    let (_folder, table, rules) = offline_table(&nodes);
    for late in [0, 7 * HOUR_MS, 19 * HOUR_MS] {
        let t = START + 9 * DAY_MS + late;
        let mut online = OnlineFeatures::new(rules.clone());
        let mut last = None;
        replay(&mut online, &nodes, t - 7 * DAY_MS, t, |rows| last = Some(rows.clone()));
        let rows = last.expect("rows");
        assert_eq!((rows.ts, rows.nodes.len()), (t, 3));
        for (place, node) in rows.nodes.iter().enumerate() {
            let row = table.find(node.as_str(), t).expect("offline row");
            let different = differences(table.row(row), rows.row(place));
            assert!(different.is_empty(), "{node}: {different:?}");
        }
    }
}

#[test]
fn windows_go_on_from_a_snapshot_as_if_nothing_had_happened() {
    let rules = std::sync::Arc::new(FeatureSettings::default().rules(STEP_MS).expect("rules"));
    let samples = common::samples(5, 9, STEP_MS);
    let context = cluster_context();
    let mut whole = features::NodeWindows::new(rules);
    let middle = samples.iter().position(|sample| sample.ts > START + 8 * DAY_MS + 123_456).expect("middle");
    samples[..middle].iter().for_each(|sample| whole.push(sample));
    whole.advance(samples[middle - 1].ts);
    let text = serde_json::to_string(&whole).expect("written");
    let mut restored: features::NodeWindows = serde_json::from_str(&text).expect("read");
    let (mut one, mut other) =
        (vec![0.0; features::NodeWindows::row_len()], vec![0.0; features::NodeWindows::row_len()]);
    for sample in &samples[middle..] {
        let t = cluster::grid_floor(sample.ts, GRID_STEP_MS);
        whole.push(sample);
        restored.push(sample);
        let heard = whole.row(t, &context, &mut one).expect("rising");
        assert_eq!(restored.row(t, &context, &mut other).expect("rising"), heard);
        assert!(differences(&one, &other).is_empty(), "{:?}", differences(&one, &other));
    }
    let damaged = text.replacen("\"means\":[", "\"means\":[1,", 1);
    let error = serde_json::from_str::<features::NodeWindows>(&damaged).expect_err("damaged").to_string();
    assert!(error.contains("2017 slots of means, want 2016"), "{error}");
}

fn cluster_context() -> features::windows::ClusterContext {
    features::windows::ClusterContext::UNKNOWN
}

/// The raw tables that the newest features were built from, and the rules that they were built by.
fn raw_and_rules(folder: &std::path::Path) -> (Store, features::WindowRules) {
    let store = Store::new(folder);
    let version = store.newest_version(&features::NODE_HISTORY).expect("a version");
    let raw = store.open_version(&version.inputs[0].name).expect("the raw tables");
    (raw, features::WindowRules::of_dataset(&version.quality))
}

#[test]
fn a_stretch_that_is_replayed_unchanged_gives_the_rows_of_the_build() {
    let nodes = cluster(3, DAYS, STEP_MS);
    let (folder, table, _) = offline_table(&nodes);
    let (raw, rules) = raw_and_rules(folder.path());
    // Over midnight, and two stretches of one node that overlap.
    let stretch = |node: usize, from: i64, until: i64| offline::Replay {
        node: nodes[node].0.as_str().to_owned(),
        from: START + from * HOUR_MS,
        until: START + until * HOUR_MS,
        change: Box::new(|_| {}),
    };
    let replays =
        [stretch(0, 9 * 24 - 3, 9 * 24 + 2), stretch(1, 8 * 24 + 5, 8 * 24 + 9), stretch(0, 9 * 24, 9 * 24 + 1)];
    let everything = Selection::everything();
    let rows = offline::replay(&raw, &rules, &everything, &replays).expect("replayed");
    for (replay, rows) in replays.iter().zip(&rows) {
        let expected: Vec<i64> = (replay.from / GRID_STEP_MS + 1..=replay.until / GRID_STEP_MS)
            .map(|slot| slot * GRID_STEP_MS)
            .filter(|ts| table.find(&replay.node, *ts).is_some())
            .collect();
        assert_eq!(rows.ts, expected);
        for (place, ts) in rows.ts.iter().enumerate() {
            let row = table.find(&replay.node, *ts).expect("a row of the build");
            let different = differences(table.row(row), &rows.values[place * everything.len()..][..everything.len()]);
            assert!(different.is_empty(), "{} at {ts}: {different:?}", replay.node);
        }
    }
}

#[test]
fn a_stretch_that_is_replayed_with_other_samples_gives_the_rows_of_a_history_that_has_them() {
    let nodes = cluster(3, DAYS, STEP_MS);
    let (folder, ..) = offline_table(&nodes);
    let (raw, rules) = raw_and_rules(folder.path());
    let (from, until) = (START + (9 * 24 - 2) * HOUR_MS, START + (9 * 24 + 3) * HOUR_MS);
    let busy = move |sample: &mut NodeSample| {
        if sample.ts < until - HOUR_MS {
            sample.set(NodeMetric::CpuUsed, 0.9 * sample.get(NodeMetric::CpuAllocatable));
        }
    };
    let mut changed = nodes.clone();
    changed[1].1.iter_mut().filter(|sample| (from..until).contains(&sample.ts)).for_each(busy);
    let (_changed_folder, table, _) = offline_table(&changed);
    let replay = offline::Replay { node: nodes[1].0.as_str().to_owned(), from, until, change: Box::new(busy) };
    // The cluster's context is that of the history as it was.
    let own: Vec<&str> = features::catalogue::all()
        .iter()
        .filter(|feature| feature.topic != features::Topic::Cluster)
        .map(|feature| feature.name.as_str())
        .collect();
    let (own, everything) = (Selection::new(&own).expect("known"), Selection::everything());
    let rows = offline::replay(&raw, &rules, &own, std::slice::from_ref(&replay));
    let rows = rows.expect("replayed").remove(0);
    assert!(rows.ts.len() > 50, "{}", rows.ts.len());
    for (place, ts) in rows.ts.iter().enumerate() {
        let full = table.row(table.find(&replay.node, *ts).expect("a row"));
        let wanted: Vec<u32> = own
            .names()
            .iter()
            .map(|name| full[everything.names().iter().position(|other| other == name).expect("known")].to_bits())
            .collect();
        let got: Vec<u32> = rows.values[place * own.len()..][..own.len()].iter().map(|value| value.to_bits()).collect();
        assert_eq!(wanted, got, "at {ts}");
    }
}
