//! A history of two nodes and four pods, written as the collector writes it.

use super::*;
use crate::engine::{EngineSettings, run};
use crate::policy::Recorded;
use cluster::{HOUR_MS, PODS};
use polars::prelude::{Column, DataFrame, DataType, IntoColumn, NamedFrom, Series, TimeUnit, TimeZone};
use store::day_start;

const GIB: f64 = (1_u64 << 30) as f64;

fn times(name: &str, values: Vec<Option<i64>>) -> Column {
    let series = Series::new(name.into(), values);
    series.cast(&DataType::Datetime(TimeUnit::Milliseconds, Some(TimeZone::UTC))).expect("times").into_column()
}

fn day() -> chrono::NaiveDate {
    "2026-01-05".parse().expect("a date")
}

/// Samples every five minutes for two hours; node-b is silent in the second one.
fn write_nodes(store: &Store, with_allocatable: bool) {
    let start = day_start(day());
    let rows: Vec<(i64, &str, f64)> = (0..24_i64)
        .flat_map(|at| [(at, "node-a", 3.0), (at, "node-b", 1.0)])
        .filter(|(at, node, _)| *node == "node-a" || *at < 12)
        .map(|(at, node, used)| (start + at * 300_000, node, used))
        .collect();
    let text = |name: &str, values: Vec<&str>| Series::new(name.into(), values).into_column();
    let float = |name: &str, values: Vec<f64>| Series::new(name.into(), values).into_column();
    let mut columns = vec![
        times("ts", rows.iter().map(|row| Some(row.0)).collect()),
        text("node", rows.iter().map(|row| row.1).collect()),
        float("cpu_used_cores", rows.iter().map(|row| row.2).collect()),
        float("memory_used_bytes", rows.iter().map(|_| 8.0 * GIB).collect()),
    ];
    if with_allocatable {
        columns.push(float("cpu_allocatable_cores", vec![4.0; rows.len()]));
        columns.push(float("memory_allocatable_bytes", vec![16.0 * GIB; rows.len()]));
    }
    let frame = DataFrame::new(rows.len(), columns).expect("a frame");
    store.write_part(&NODE_METRICS, day(), "day", &frame).expect("written");
}

fn write_pods(store: &Store) {
    let start = day_start(day());
    // name, kind, node, finished in ms, CPU request, CPU mean
    let rows: [(&str, &str, Option<&str>, Option<i64>, f64, Option<f64>); 7] = [
        ("web", "Deployment", Some("node-a"), None, 1.0, Some(1.0)),
        ("job", "Job", Some("node-a"), Some(HOUR_MS), 1.0, Some(0.5)),
        ("log", "DaemonSet", Some("node-b"), None, 0.5, None),
        ("bad", "Job", Some("node-a"), None, -1.0, Some(0.5)),
        ("lost", "Job", Some("node-z"), None, 1.0, Some(0.5)),
        ("back", "Job", Some("node-a"), Some(3), 1.0, Some(0.5)),
        ("web", "Deployment", Some("node-b"), None, 1.0, Some(1.0)),
    ];
    let count = rows.len();
    let text = |name: &str, values: Vec<Option<&str>>| Series::new(name.into(), values).into_column();
    let uids: Vec<String> = (0..count).map(|at| format!("uid-{at}")).collect();
    let begin: Vec<Option<i64>> = (0..count as i64).map(|at| Some(start + at)).collect();
    let frame = DataFrame::new(
        count,
        vec![
            Series::new("pod_uid".into(), uids).into_column(),
            text("namespace", vec![Some("shop"); count]),
            text("pod", rows.iter().map(|row| Some(row.0)).collect()),
            text("workload_kind", rows.iter().map(|row| Some(row.1)).collect()),
            text("workload", rows.iter().map(|row| Some(row.0)).collect()),
            text("node", rows.iter().map(|row| row.2).collect()),
            times("created_at", begin.clone()),
            times("started_at", begin),
            times("finished_at", rows.iter().map(|row| row.3.map(|after| start + after)).collect()),
            Series::new("cpu_request_cores".into(), rows.iter().map(|row| row.4).collect::<Vec<_>>()).into_column(),
            Series::new("memory_request_bytes".into(), vec![GIB; count]).into_column(),
            Series::new("cpu_used_cores_mean".into(), rows.iter().map(|row| row.5).collect::<Vec<_>>()).into_column(),
        ],
    )
    .expect("a frame");
    store.write_part(&PODS, day(), "day", &frame).expect("written");
}

#[test]
fn the_recorded_placement_gives_back_the_recorded_utilization() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    write_nodes(&store, true);
    write_pods(&store);
    let scenario = read_history(&store, &HistorySettings { days: 1.0 }).expect("a scenario");
    assert_eq!((scenario.nodes.len(), scenario.pods.len()), (2, 3));
    assert_eq!(scenario.span_ms, 2 * HOUR_MS, "no longer than the history");
    assert_eq!(scenario.nodes[1].leaves_ms, Some(HOUR_MS), "node-b vanishes");
    let outcome = run(&scenario, &EngineSettings::default(), &mut Recorded::new(&scenario), 1);
    // node-a uses 3 of 4 cores for two hours, node-b 1 of 4 for one hour; then it is not there.
    let used = outcome.mean_utilization * outcome.node_minutes;
    let wanted = 120.0 * 0.75 + 60.0 * 0.25;
    assert!((used - wanted).abs() < 0.02 * wanted, "{used} of {wanted} in {} node-minutes", outcome.node_minutes);
    assert_eq!(outcome.hot_80_minutes, 0.0);
    let counts = &scenario.notes.counts;
    for reason in [
        "left out: pods with a negative or damaged request",
        "left out: pods on nodes without metrics",
        "left out: pods that ended before they started",
        "left out: pods of a name whose earlier life had not ended",
        "pods without measured CPU, taken for using half of their request",
    ] {
        assert_eq!(counts.get(reason), Some(&1), "{reason} in {counts:?}");
    }
    let log = scenario.pods.iter().find(|pod| pod.name == "shop/log").expect("the DaemonSet's pod");
    assert_eq!(scenario.rules_of(log.workload).node_selector[0].value, "node-b", "it stays where it was");
}

#[test]
fn tables_that_cannot_be_replayed_say_why() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    let settings = HistorySettings { days: 1.0 };
    let error = read_history(&store, &settings).expect_err("empty").to_string();
    assert!(error.contains("no node metrics") && error.contains("collector collect"), "{error}");
    write_nodes(&store, false);
    let error = read_history(&store, &settings).expect_err("no allocatable").to_string();
    assert!(error.contains("2 without"), "{error}");
    write_nodes(&store, true);
    let error = read_history(&store, &settings).expect_err("no pods").to_string();
    assert!(error.contains("no pod in this span"), "{error}");
    let error = read_history(&store, &HistorySettings { days: -1.0 }).expect_err("no span").to_string();
    assert!(error.contains("--days is -1"), "{error}");
}
