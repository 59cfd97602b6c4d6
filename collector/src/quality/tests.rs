//! Hand-built histories with known faults: each is found with the right count, and a clean one has none.

use super::*;
use chrono::NaiveDate;
use cluster::{DAY_MS, HOUR_MS, INCIDENTS, MINUTE_MS, NodeSample, PODS};
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, ParquetWriter, Series};
use proptest::prelude::*;
use store::{day_start, polars_type};

const STEP_MS: i64 = MINUTE_MS;

fn date(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).expect("date")
}

fn midnight() -> i64 {
    day_start(date(2))
}

/// A cluster that has been up for ten days before 2 November and lives through that day and the next.
struct History {
    nodes: Vec<(String, Vec<NodeSample>)>,
}

fn healthy(ts: i64, salt: usize) -> NodeSample {
    let mut sample = NodeSample::empty(ts);
    let wave = ((ts / STEP_MS) % 97) as f64 / 97.0 + salt as f64;
    for metric in NodeMetric::ALL {
        sample.set(*metric, 0.5);
    }
    sample.set(NodeMetric::CpuUsed, 1.0 + wave);
    sample.set(NodeMetric::CpuAllocatable, 16.0);
    sample.set(NodeMetric::MemoryUsed, 1e9 * (2.0 + wave));
    sample.set(NodeMetric::MemoryAllocatable, 3.2e10);
    sample.set(NodeMetric::NetworkReceive, 1e5 * (1.0 + wave));
    sample.set(NodeMetric::NetworkTransmit, 1e5 * (2.0 + wave));
    sample.set(NodeMetric::Uptime, (ts - midnight() + 10 * DAY_MS) as f64 / 1e3);
    sample
}

fn cluster_of(nodes: usize) -> History {
    let times = || (0..2 * DAY_MS / STEP_MS).map(|step| midnight() + step * STEP_MS);
    History {
        nodes: (0..nodes).map(|node| (format!("node-{node}"), times().map(|ts| healthy(ts, node)).collect())).collect(),
    }
}

impl History {
    /// Changes the samples of a node.
    fn with(mut self, node: usize, change: impl FnOnce(&mut Vec<NodeSample>)) -> Self {
        change(&mut self.nodes[node].1);
        self
    }

    /// Sets a metric of a node within hours after midnight of 2 November.
    fn set(self, node: usize, metric: NodeMetric, hours: std::ops::Range<i64>, value: f64) -> Self {
        self.with(node, |samples| {
            for sample in samples.iter_mut().filter(|sample| within(sample.ts, &hours)) {
                sample.set(metric, value);
            }
        })
    }

    /// Takes away the samples of a node within these hours.
    fn silent(self, node: usize, hours: std::ops::Range<i64>) -> Self {
        self.with(node, |samples| samples.retain(|sample| !within(sample.ts, &hours)))
    }

    /// Writes the rows as they come, past every check, as a foreign program would.
    fn judge(&self) -> QualityReport {
        let folder = tempfile::tempdir().expect("temporary folder");
        self.write(folder.path());
        assess(&Store::new(folder.path()), &Subject::default(), &Limits::default()).expect("report")
    }

    fn write(&self, root: &std::path::Path) {
        for day in [date(2), date(3)] {
            let hours = (day_start(day) - midnight()) / HOUR_MS..(day_start(day) - midnight() + DAY_MS) / HOUR_MS;
            let rows: Vec<(&str, &NodeSample)> = self
                .nodes
                .iter()
                .flat_map(|(node, samples)| {
                    samples.iter().filter(|sample| within(sample.ts, &hours)).map(move |sample| (node.as_str(), sample))
                })
                .collect();
            if !rows.is_empty() {
                write_raw(root, NODE_METRICS.name, day, &mut frame(&rows));
            }
        }
    }
}

fn within(ts: i64, hours: &std::ops::Range<i64>) -> bool {
    (midnight() + hours.start * HOUR_MS..midnight() + hours.end * HOUR_MS).contains(&ts)
}

fn times(name: &str, values: &[Option<i64>]) -> Series {
    Series::new(name.into(), values).cast(&polars_type(cluster::ColumnKind::Timestamp)).expect("timestamps")
}

fn frame(rows: &[(&str, &NodeSample)]) -> DataFrame {
    let ts: Vec<Option<i64>> = rows.iter().map(|(_, sample)| Some(sample.ts)).collect();
    let names: Vec<&str> = rows.iter().map(|(node, _)| *node).collect();
    let mut columns = vec![times("ts", &ts).into_column(), Series::new("node".into(), names).into_column()];
    for metric in NodeMetric::ALL {
        let values: Vec<Option<f64>> =
            rows.iter().map(|(_, sample)| Some(sample.get(*metric)).filter(|value| !value.is_nan())).collect();
        columns.push(Series::new(metric.column().into(), values).into_column());
    }
    DataFrame::new(rows.len(), columns).expect("frame")
}

fn write_raw(root: &std::path::Path, table: &str, day: NaiveDate, frame: &mut DataFrame) {
    let folder = root.join(table).join(format!("date={day}"));
    std::fs::create_dir_all(&folder).expect("folder");
    let file = std::fs::File::create(folder.join("day.parquet")).expect("file");
    ParquetWriter::new(file).finish(frame).expect("written");
}

fn figure(report: &QualityReport, name: &str) -> f64 {
    *report.figures().get(name).unwrap_or_else(|| panic!("no figure `{name}`"))
}

fn kinds(report: &QualityReport) -> Vec<&'static str> {
    report.problems.iter().map(|problem| problem.kind).collect()
}

fn node<'a>(report: &'a QualityReport, name: &str) -> &'a NodeQuality {
    report.nodes.iter().find(|node| node.node == name).expect("node")
}

#[test]
fn a_clean_history_has_no_problem() {
    let report = cluster_of(3).judge();
    assert_eq!(report.problems, [], "{:?}", report.problems);
    assert!(report.gate.passed);
    assert_eq!(report.span.step_seconds, 60.0);
    for (name, wanted) in [
        ("coverage", 1.0),
        ("nodes", 3.0),
        ("rows", 3.0 * 2880.0),
        ("gaps", 0.0),
        ("null_share", 0.0),
        ("gate_passed", 1.0),
    ] {
        assert_eq!(figure(&report, name), wanted, "{name}");
    }
    let cpu = report.metrics[0].distribution.expect("values");
    assert_eq!((cpu.min, cpu.max), (1.0, 3.0 + 96.0 / 97.0));
}

#[test]
fn a_gap_of_one_node_is_named_with_its_place() {
    let report = cluster_of(3).silent(1, 5..10).judge();
    let own = node(&report, "node-1");
    assert_eq!((own.gaps, own.gap_seconds), (1, 5.0 * 3_600.0));
    assert_eq!(own.longest_gaps[0].start, "2026-11-02T05:00:00Z");
    assert!((own.coverage - 43.0 / 48.0).abs() < 1e-12, "{}", own.coverage);
    assert!((own.coverage_by_day["2026-11-02"] - 19.0 / 24.0).abs() < 1e-12);
    assert_eq!(own.coverage_by_day["2026-11-03"], 1.0);
    assert_eq!(kinds(&report), ["gaps"]);
    assert!(report.problems[0].found.contains("`node-1`"), "{:?}", report.problems);
    assert!(report.gate.passed, "the cluster as a whole has 96.5 %");
}

#[test]
fn a_gap_of_all_nodes_is_one_outage() {
    let all = |history: History| (0..4).fold(history, |history, node| history.silent(node, 5..8));
    let one_lost_sample = |samples: &mut Vec<NodeSample>| samples.retain(|sample| sample.ts != midnight() + HOUR_MS);
    let report = all(cluster_of(4)).with(2, one_lost_sample).judge();
    assert_eq!(kinds(&report), ["outage"], "no node is blamed for it: {:?}", report.problems);
    assert_eq!((report.outages.len(), report.outages[0].nodes), (1, 4));
    assert_eq!(report.outages[0].stretch.seconds, 3.0 * 3_600.0);
    assert!(!report.gate.passed, "45 of 48 hours are 93.75 %");
}

#[test]
fn nodes_that_come_and_go_are_said_and_not_blamed() {
    let joins = |samples: &mut Vec<NodeSample>| {
        samples.retain(|sample| sample.ts >= midnight() + 20 * HOUR_MS);
        let boot = samples[0].ts - MINUTE_MS;
        samples.iter_mut().for_each(|sample| sample.set(NodeMetric::Uptime, (sample.ts - boot) as f64 / 1e3));
    };
    let report = cluster_of(4).with(0, joins).silent(1, 20..48).silent(2, 0..6).silent(3, 40..48).judge();
    assert_eq!(figure(&report, "coverage"), 1.0);
    assert_eq!(node(&report, "node-1").state, NodeState::Left);
    assert_eq!(node(&report, "node-3").state, NodeState::Late);
    assert_eq!(node(&report, "node-0").joined_after_seconds, 20.0 * 3_600.0);
    assert_eq!(node(&report, "node-2").history_missing_seconds, 6.0 * 3_600.0, "its uptime says that it ran before");
    assert_eq!(kinds(&report), ["late", "history_missing", "joined", "left"]);
    // Of the three nodes seen on the last day one is silent.
    assert!((figure(&report, "silent_share") - 1.0 / 3.0).abs() < 1e-12 && report.gate.passed);
}

#[test]
fn most_nodes_falling_silent_is_refused() {
    let report = cluster_of(3).silent(0, 40..48).silent(1, 40..48).judge();
    assert!(!report.gate.passed);
    assert!(
        report.gate.verdict.contains("`node-0`") && report.gate.verdict.contains("max_silent"),
        "{}",
        report.gate.verdict
    );
}

#[test]
fn a_node_that_was_off_is_not_blamed_and_one_that_kept_running_is() {
    let rebooted = |samples: &mut Vec<NodeSample>| {
        samples.retain(|sample| !within(sample.ts, &(6..36)));
        let back = midnight() + 36 * HOUR_MS;
        for sample in samples.iter_mut().filter(|sample| sample.ts >= back) {
            sample.set(NodeMetric::Uptime, (sample.ts - back + MINUTE_MS) as f64 / 1e3);
        }
    };
    let report = cluster_of(3).with(0, rebooted).silent(1, 6..36).judge();
    let (off, on) = (node(&report, "node-0"), node(&report, "node-1"));
    assert_eq!((off.coverage, off.gaps, off.absent_seconds, off.resets), (1.0, 0, 30.0 * 3_600.0, 1));
    assert_eq!((on.coverage, on.gaps, on.absent_seconds, on.resets), (18.0 / 48.0, 1, 0.0, 0));
}

#[test]
fn duplicates_disorder_and_clock_jumps_are_counted() {
    let report = cluster_of(2)
        .with(0, |samples| {
            let copies: Vec<NodeSample> = samples[100..140].to_vec();
            samples.splice(140..140, copies); // goes back once, repeats forty times
        })
        .with(1, |samples| {
            samples.swap(10, 11);
            samples[500..].iter_mut().for_each(|sample| {
                let uptime = sample.get(NodeMetric::Uptime);
                sample.set(NodeMetric::Uptime, uptime + 600.0); // the clock was set back by ten minutes
            });
        })
        .judge();
    let (first, second) = (node(&report, "node-0"), node(&report, "node-1"));
    assert_eq!((first.duplicates, first.out_of_order, first.clock_jumps), (40, 1, 0));
    assert_eq!((second.duplicates, second.out_of_order, second.clock_jumps), (0, 1, 1));
    assert_eq!(figure(&report, "coverage"), 1.0);
    assert_eq!(kinds(&report), ["duplicates", "clock_jump", "out_of_order"]);
}

#[test]
fn too_many_duplicates_are_refused() {
    let twice = |samples: &mut Vec<NodeSample>| {
        let copies = samples.clone();
        samples.extend(copies);
    };
    let report = cluster_of(2).with(0, twice).judge();
    assert!(!report.gate.passed && report.gate.verdict.contains("max_duplicates"), "{}", report.gate.verdict);
    assert_eq!(figure(&report, "duplicate_rows"), 2880.0);
}

#[test]
fn impossible_values_are_counted_and_cover_nothing() {
    let report = cluster_of(2)
        .set(0, NodeMetric::CpuUsed, 0..12, -1.0)
        .set(1, NodeMetric::DiskIoTime, 0..1, 7.0)
        .set(1, NodeMetric::Load1, 0..1, f64::INFINITY)
        .set(1, NodeMetric::MemoryUsed, 1..2, 9e10)
        .judge();
    assert_eq!(figure(&report, "out_of_range_values"), 720.0 + 60.0 + 60.0);
    assert_eq!(figure(&report, "over_allocatable_rows"), 60.0);
    assert_eq!(node(&report, "node-0").metrics["cpu_used_cores"].out_of_range, 720);
    assert_eq!(node(&report, "node-0").metrics["cpu_used_cores"].coverage, 0.75);
    assert_eq!(figure(&report, "coverage_cpu_used_cores"), 0.875);
    assert!(kinds(&report).contains(&"out_of_range") && kinds(&report).contains(&"over_allocatable"));
}

#[test]
fn a_value_that_stands_still_is_a_flat_line() {
    let report =
        cluster_of(2).set(0, NodeMetric::MemoryUsed, 4..14, 3e9).set(1, NodeMetric::MemoryUsed, 4..9, 3e9).judge();
    assert_eq!(figure(&report, "flat_lines"), 1.0);
    let flat = node(&report, "node-0").metrics["memory_used_bytes"].longest_flat.clone().expect("flat line");
    assert_eq!((flat.start.as_str(), flat.seconds), ("2026-11-02T04:00:00Z", 10.0 * 3_600.0 - 60.0));
    assert_eq!(kinds(&report), ["flat_line"]);
}

#[test]
fn a_metric_that_half_of_the_nodes_lack_is_said_once() {
    let report = cluster_of(4)
        .set(0, NodeMetric::MemoryPressure, 0..48, f64::NAN)
        .set(1, NodeMetric::MemoryPressure, 0..48, f64::NAN)
        .set(2, NodeMetric::CpuUsed, 0..24, f64::NAN)
        .judge();
    let metric = |column| report.metrics.iter().find(|metric| metric.column == column).expect("metric");
    assert_eq!((metric("memory_pressure_ratio").nodes_without, metric("memory_pressure_ratio").null_share), (2, 0.5));
    assert_eq!(metric("cpu_used_cores").coverage, 0.875);
    assert_eq!(kinds(&report), ["metric_gaps", "metric_partly_absent"]);
    assert_eq!(report.problems[0].severity, Severity::Bad);
}

#[test]
fn a_node_that_is_sampled_half_as_often_is_named() {
    let report = cluster_of(3).with(2, |samples| samples.retain(|sample| sample.ts % (2 * STEP_MS) == 0)).judge();
    assert!((node(&report, "node-2").coverage - 0.5).abs() < 0.001);
    assert_eq!(node(&report, "node-2").step_seconds, Some(120.0));
    assert!(kinds(&report).contains(&"coarse_step"), "{:?}", report.problems);
}

#[test]
fn lives_and_incidents_that_cannot_have_been_are_counted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    cluster_of(2).write(folder.path());
    let at = |hour: i64| Some(midnight() + hour * HOUR_MS);
    let mut pods = DataFrame::new(
        6,
        vec![
            Series::new("pod_uid".into(), ["good", "backwards", "twice", "twice", "lost", "homeless"]).into_column(),
            Series::new(
                "node".into(),
                [Some("node-0"), Some("node-0"), Some("node-1"), Some("node-1"), Some("node-9"), None],
            )
            .into_column(),
            times("created_at", &[at(1), at(5), at(1), at(2), at(1), at(1)]).into_column(),
            times("scheduled_at", &[at(1), at(5), at(1), at(2), at(1), None]).into_column(),
            times("started_at", &[at(2), at(6), at(1), at(3), at(1), at(2)]).into_column(),
            times("finished_at", &[None, at(4), at(4), at(6), at(3), at(3)]).into_column(),
        ],
    )
    .expect("frame");
    write_raw(folder.path(), PODS.name, date(2), &mut pods);
    let mut incidents = DataFrame::new(
        4,
        vec![
            Series::new("node".into(), ["node-0", "node-0", "node-7", "node-1"]).into_column(),
            Series::new("kind".into(), ["not_ready", "not_ready", "not_ready", "memory_pressure"]).into_column(),
            Series::new("severity".into(), ["critical", "critical", "warning", "dire"]).into_column(),
            times("started_at", &[at(1), at(2), at(1), at(8)]).into_column(),
            times("ended_at", &[at(3), None, at(2), at(7)]).into_column(),
        ],
    )
    .expect("frame");
    write_raw(folder.path(), INCIDENTS.name, date(2), &mut incidents);
    let report = assess(&Store::new(folder.path()), &Subject::default(), &Limits::default()).expect("report");
    let pods = report.pods.as_ref().expect("pods");
    let wanted = PodsQuality {
        rows: 6,
        alive: 1,
        duplicates: 0,
        negative_lives: 1,
        overlapping_lives: 1,
        unknown_nodes: 1,
        started_without_node: 1,
        unknown_node_names: vec!["node-9".into()],
    };
    assert_eq!(*pods, wanted);
    let incidents = report.incidents.as_ref().expect("incidents");
    assert_eq!((incidents.rows, incidents.open, incidents.negative_lengths, incidents.overlapping), (4, 1, 1, 1));
    assert_eq!((incidents.unknown_nodes, incidents.unknown_severities, incidents.duplicates), (1, 1, 0));
    assert_eq!(incidents.by_kind["not_ready"], 3);
    assert_eq!((figure(&report, "pod_problems"), figure(&report, "incident_problems")), (4.0, 4.0));
}

#[test]
fn a_corrupt_file_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    cluster_of(1).write(folder.path());
    let file = folder.path().join("raw/node_metrics/date=2026-11-03/day.parquet");
    let bytes = std::fs::read(&file).expect("bytes");
    for damaged in [&bytes[..bytes.len() / 2], b"PAR1 and nothing else".as_slice(), &[]] {
        std::fs::write(&file, damaged).expect("damage");
        let error = assess(&Store::new(folder.path()), &Subject::default(), &Limits::default()).expect_err("damaged");
        assert!(format!("{error:#}").contains("date=2026-11-03/day.parquet"), "{error:#}");
    }
}

#[test]
fn a_file_with_other_columns_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut frame = DataFrame::new(
        2,
        vec![
            times("ts", &[Some(midnight()), Some(midnight() + STEP_MS)]).into_column(),
            Series::new("node".into(), ["a", "a"]).into_column(),
            Series::new("cpu_used_cores".into(), ["1", "2"]).into_column(),
        ],
    )
    .expect("frame");
    write_raw(folder.path(), NODE_METRICS.name, date(2), &mut frame);
    let error =
        format!("{:#}", assess(&Store::new(folder.path()), &Subject::default(), &Limits::default()).expect_err("text"));
    assert!(error.contains("`cpu_used_cores`") && error.contains("day.parquet"), "{error}");
}

/// The control plane's columns alone: node_exporter has never run there.
fn unobserved(history: History, node: usize) -> History {
    history.with(node, |samples| {
        for sample in samples {
            for metric in [NodeMetric::CpuUsed, NodeMetric::MemoryUsed] {
                sample.set(metric, f64::NAN);
            }
        }
    })
}

#[test]
fn a_node_that_was_never_observed_is_not_helped_by_a_backfill_and_can_be_left_out() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut history = unobserved(unobserved(cluster_of(4), 2), 3);
    history.nodes[3].0 = "fargate-ip-10-0-0-3.ec2.internal".into();
    history.write(folder.path());
    let judge = |rules: &[&str]| {
        let subject = Subject { ignored: cluster::IgnoredNodes::parse(rules).expect("rules"), ..Subject::default() };
        assess(&Store::new(folder.path()), &subject, &Limits::default()).expect("report")
    };
    let all = judge(&[]);
    assert!(!all.gate.passed);
    for named in ["No usage of `fargate-ip-10-0-0-3.ec2.internal`, `node-2` was ever measured", "--ignore-nodes"] {
        assert!(all.gate.verdict.contains(named), "{}", all.gate.verdict);
    }
    assert!(!all.gate.verdict.contains("backfill"), "{}", all.gate.verdict);
    let rest = judge(&["eks.amazonaws.com/compute-type=fargate", "name=node-2"]);
    assert!(rest.gate.passed && rest.nodes.len() == 2, "{}", rest.gate.verdict);
    assert_eq!(rest.ignored["node-2"], "name=node-2");
    // Gaps of the others are told beside them.
    let mut gaps = unobserved(cluster_of(4), 2).silent(0, 2..20);
    gaps = gaps.silent(1, 2..20);
    let verdict = gaps.judge().gate.verdict;
    assert!(
        verdict.contains("No usage of `node-2`") && verdict.contains("Fill the gaps with `collector backfill"),
        "{verdict}"
    );
}

#[test]
fn gaps_of_a_file_are_not_to_be_filled_from_a_server() {
    let folder = tempfile::tempdir().expect("temporary folder");
    cluster_of(2).silent(0, 2..10).silent(1, 12..20).write(folder.path());
    let judge = |sources: &[&str]| {
        let sources = sources.iter().map(|source| (*source).to_owned()).collect();
        assess(&Store::new(folder.path()), &Subject { sources, ..Subject::default() }, &Limits::default())
            .expect("report")
    };
    let said = |report: &QualityReport| {
        let actions: Vec<&str> = report.problems.iter().map(|problem| problem.action).collect();
        format!("{} {}", report.gate.verdict, actions.join(" "))
    };
    let from_file = said(&judge(&["csv"]));
    assert!(from_file.contains("come from `csv`") && !from_file.contains("collector backfill"), "{from_file}");
    assert!(said(&judge(&["csv", "prometheus"])).contains("Fill the gaps with `collector backfill"));
}

#[test]
fn a_day_that_cannot_be_is_named_with_its_folder() {
    let folder = tempfile::tempdir().expect("temporary folder");
    cluster_of(1).write(folder.path());
    let odd = NaiveDate::from_ymd_opt(58_880, 2, 19).expect("date");
    let sample = healthy(day_start(odd), 0);
    write_raw(folder.path(), NODE_METRICS.name, odd, &mut frame(&[("node-0", &sample)]));
    let error =
        assess(&Store::new(folder.path()), &Subject::default(), &Limits::default()).expect_err("odd").to_string();
    assert!(error.contains("+58880-02-19") && error.contains("wrong unit"), "{error}");
}

#[test]
fn an_empty_root_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let error = assess(&Store::new(folder.path()), &Subject::default(), &Limits::default()).expect_err("empty");
    assert!(error.to_string().contains("raw/node_metrics"), "{error}");
}

#[test]
fn the_page_is_whole_and_small() {
    let mut history = cluster_of(5).silent(1, 5..10).set(0, NodeMetric::MemoryUsed, 4..14, 3e9);
    let many: Vec<_> =
        (0..100).map(|at| (format!("worker-{at:03}.example.internal"), history.nodes[at % 5].1.clone())).collect();
    history.nodes = many;
    let report = history.judge();
    let html = page(&report);
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    assert!(!html.contains("NaN") && !html.contains("could not be drawn"), "a number or a chart is missing");
    for part in ["What is wrong, and what to do", "the pale bar is the node", "worker-001"] {
        assert!(html.contains(part), "{part}");
    }
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!((json["schema"].as_u64(), json["gate"]["passed"].as_bool()), (Some(1), Some(report.gate.passed)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever comes: every share lies in 0..1, and rows are used, repeated or misfiled, none of them twice.
    #[test]
    fn shares_lie_between_0_and_1(
        rows in proptest::collection::vec((0..3_usize, -HOUR_MS..DAY_MS + HOUR_MS, -2.0..20.0_f64, proptest::bool::ANY), 2..120),
        round in proptest::sample::select(vec![1, 1_000, STEP_MS]),
    ) {
        let names = ["a", "b", "c"];
        let samples: Vec<(&str, NodeSample)> = rows.iter().map(|(node, offset, cpu, known)| {
            let mut sample = healthy(midnight() + offset / round * round, *node);
            sample.set(NodeMetric::CpuUsed, if *known { *cpu } else { f64::NAN });
            (names[*node], sample)
        }).collect();
        let folder = tempfile::tempdir().expect("temporary folder");
        let rows: Vec<(&str, &NodeSample)> = samples.iter().map(|(node, sample)| (*node, sample)).collect();
        write_raw(folder.path(), NODE_METRICS.name, date(2), &mut frame(&rows));
        let limits = Limits { step_ms: Some(30_000), ..Limits::default() };
        let Ok(report) = assess(&Store::new(folder.path()), &Subject::default(), &limits) else { return Ok(()) };
        let mut shares = vec![figure(&report, "coverage"), figure(&report, "null_share"), figure(&report, "duplicate_share")];
        for node in &report.nodes {
            shares.extend([node.coverage, node.coverage_of_span]);
            shares.extend(node.coverage_by_day.values());
            shares.extend(node.metrics.values().flat_map(|metric| [metric.coverage, metric.null_share]));
            prop_assert!(node.metrics.values().all(|metric| metric.coverage <= node.coverage + 1e-12));
        }
        prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
        prop_assert!(page(&report).ends_with("</html>"));
    }
}
