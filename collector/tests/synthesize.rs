//! The made-up cluster: the same seed gives the same files, a killed run is continued, and what the exporters' text says
//! of it is what the tables say.

use clap::{Args, FromArgMatches};
use cluster::{INCIDENTS, NODE_METRICS, NodeMetric, NodeSample, PODS};
use collector::import::{ImportSummary, OpenmetricsArgs, import_openmetrics};
use collector::openmetrics::export::{ExportArgs, export, read_day};
use collector::prometheus::queries::QuerySettings;
use collector::raw::DropReason;
use collector::synthesize::{SynthesizeArgs, synthesize};
use collector::testing::program;
use runtime::settings::Span;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use store::Store;

fn wanted(nodes: usize, days: usize, step_seconds: u64) -> SynthesizeArgs {
    SynthesizeArgs {
        nodes,
        days,
        seed: 4,
        step: Span(Duration::from_secs(step_seconds)),
        end: chrono::NaiveDate::from_ymd_opt(2026, 11, 10),
        ..SynthesizeArgs::default()
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    (folder, store)
}

/// The identity of all three tables' content.
fn content(store: &Store) -> String {
    collector::collect::freeze(store).expect("frozen").hash
}

fn texts(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("listing").map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    files
}

#[test]
fn the_same_seed_gives_the_same_files_whatever_the_number_of_threads() {
    let args = wanted(3, 2, 60);
    let run = |threads: usize| {
        let (folder, store) = store();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| synthesize(&args, &store)).expect("made");
        (folder, content(&store))
    };
    assert_eq!(run(1).1, run(4).1);
    let (_folder, other) = store();
    synthesize(&SynthesizeArgs { seed: 5, ..args.clone() }, &other).expect("made");
    assert_ne!(content(&other), run(2).1);
}

#[test]
fn a_second_run_changes_nothing_and_other_settings_are_refused() {
    let (_folder, store) = store();
    let args = wanted(2, 2, 60);
    assert!(!synthesize(&args, &store).expect("made").unchanged);
    let before = content(&store);
    assert!(synthesize(&args, &store).expect("there").unchanged);
    // Without --end the first run's end stays, so a repeated run changes nothing at midnight either.
    assert!(synthesize(&SynthesizeArgs { end: None, ..args.clone() }, &store).expect("there").unchanged);
    let other = SynthesizeArgs { nodes: 3, ..args };
    let error = synthesize(&other, &store).expect_err("another history");
    assert!(error.to_string().contains("nodes=2") && error.to_string().contains("--replace"), "{error}");
    assert_eq!(content(&store), before);
    synthesize(&SynthesizeArgs { replace: true, ..other }, &store).expect("replaced");
    assert_ne!(content(&store), before);
}

#[test]
fn a_killed_run_is_continued_to_the_same_files() {
    let (killed, store) = store();
    let flags = ["--nodes", "4", "--days", "12", "--seed", "4", "--step", "60s", "--end", "2026-11-10"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_collector"))
        .args(["--data".as_ref(), killed.path().as_os_str(), "synthesize".as_ref()])
        .args(flags)
        .spawn()
        .expect("started");
    let limit = Instant::now() + Duration::from_secs(60);
    while store.days(&NODE_METRICS).expect("days").len() < 2 {
        assert!(Instant::now() < limit, "no second day within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(store.days(&PODS).expect("days").is_empty(), "it was killed before its end");
    synthesize(&wanted(4, 12, 60), &store).expect("continued");

    let (_folder, whole) = self::store();
    synthesize(&wanted(4, 12, 60), &whole).expect("made");
    assert_eq!(content(&store), content(&whole));
}

/// Runs the program and returns its exit code and both outputs.
fn collector(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_collector"))
        .args(arguments)
        .args(["--data".as_ref(), data.as_os_str()])
        .output()
        .expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_step_collect_freezes_what_is_there_and_datasets_can_be_listed_shown_and_verified() {
    let (folder, store) = store();
    synthesize(&wanted(2, 2, 300), &store).expect("made");
    let manifest = folder.path().join("manifest.json");
    let (code, _, error) = collector(folder.path(), &["collect", "--manifest-out", &manifest.to_string_lossy()]);
    assert_eq!(code, Some(0), "{error}");
    let first: store::DatasetVersion = runtime::files::read_json(&manifest).expect("manifest");
    assert_eq!(first.inputs[0].kind, "synthetic");
    assert!(first.rows["raw/node_metrics"] > 1_000 && first.rows["raw/pods"] > 20, "{:?}", first.rows);
    let (_, again, _) = collector(folder.path(), &["collect", "--json"]);
    assert_eq!(serde_json::from_str::<store::DatasetVersion>(&again).expect("one document").id, first.id);

    let (_, list, _) = collector(folder.path(), &["datasets", "list", "--json"]);
    assert_eq!(serde_json::from_str::<Vec<store::DatasetVersion>>(&list).expect("a list").len(), 1);
    assert!(collector(folder.path(), &["datasets", "show"]).1.contains(&first.hash));
    assert_eq!(collector(folder.path(), &["datasets", "verify", &manifest.to_string_lossy()]).0, Some(0));

    let damaged = folder.path().join("datasets").join(&first.id).join(&first.files[0].path);
    std::fs::remove_file(&damaged).expect("unlinked");
    std::fs::write(&damaged, b"PAR1").expect("damaged");
    let (code, shown, _) = collector(folder.path(), &["datasets", "verify", &first.id]);
    assert_eq!(code, Some(1));
    assert!(shown.contains(&first.files[0].path), "{shown}");
    let (code, _, error) = collector(folder.path(), &["datasets", "show", "nothing"]);
    assert!(code == Some(1) && error.contains("`nothing`"), "{error}");
}

#[test]
fn wrong_use_has_its_own_exit_code() {
    let (folder, _store) = store();
    let (code, _, error) = collector(folder.path(), &["synthesize", "--nodes", "0"]);
    assert!(code == Some(2) && error.contains("--nodes is 0"), "{error}");
    assert_eq!(collector(folder.path(), &["synthesise"]).0, Some(2));
    let config = folder.path().join("berth.toml");
    std::fs::write(&config, "[collector.synthesize]\nnoodles = 3\n").expect("fixture");
    let (code, _, error) = collector(folder.path(), &["synthesize", "--config", &config.to_string_lossy()]);
    assert!(code == Some(2) && error.contains("noodles"), "{error}");
}

#[test]
fn real_history_is_never_mixed_with_a_made_up_one() {
    let (_folder, store) = store();
    let mut sample = cluster::NodeSample::empty(0);
    sample.set(NodeMetric::CpuUsed, 1.0);
    let nodes = vec![(cluster::NodeName::new("real"), vec![sample])];
    collector::raw::write_node_day(&store, chrono::NaiveDate::default(), "day", nodes).expect("written");
    let error = synthesize(&wanted(2, 1, 60), &store).expect_err("real history");
    assert!(error.to_string().contains("real cluster"), "{error}");
    assert_eq!(store.days(&NODE_METRICS).expect("days").len(), 1);
}

#[test]
fn a_disk_that_takes_nothing_is_an_error_with_the_path() {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    let error =
        format!("{:#}", synthesize(&wanted(2, 1, 60), &Store::new(file.path())).expect_err("a file is no folder"));
    assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
}

#[test]
fn the_history_has_pods_incidents_and_forecastable_load() {
    let (_folder, store) = store();
    synthesize(&wanted(4, 14, 300), &store).expect("made");
    let pods = store.scan(&PODS).expect("pods").collect().expect("read");
    assert!(pods.height() > 200, "{} pods", pods.height());
    let incidents = store.scan(&INCIDENTS).expect("incidents").collect().expect("read");
    assert!(incidents.height() > 2, "{} incidents", incidents.height());
    // Utilization in hours, by node: the hour before is a good guess and no perfect one.
    let (mut error, mut count) = (0.0, 0.0);
    let mut last: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    for date in store.days(&NODE_METRICS).expect("days") {
        for (node, samples) in read_day(&store, date).expect("day") {
            for hour in samples.chunks(12) {
                let used =
                    hour.iter().map(|sample| sample.get(NodeMetric::CpuUsed) / sample.get(NodeMetric::CpuAllocatable));
                let mean = used.filter(|value| !value.is_nan()).sum::<f64>() / hour.len() as f64;
                assert!((0.0..1.01).contains(&mean), "{mean}");
                if let Some(before) = last.insert(node.clone(), mean) {
                    error += (mean - before).abs();
                    count += 1.0;
                }
            }
        }
    }
    let points = 100.0 * error / count;
    assert!((1.0..6.0).contains(&points), "persistence has {points} points");
}

/// Reads texts as `collector import openmetrics` does.
fn import(files: &[PathBuf], store: &Store) -> anyhow::Result<ImportSummary> {
    let command = OpenmetricsArgs::augment_args(clap::Command::new("test"));
    let files: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
    let matches = command.get_matches_from(["test".to_owned()].into_iter().chain(files));
    let args = OpenmetricsArgs::from_arg_matches(&matches).expect("flags");
    import_openmetrics(&args, &QuerySettings::default(), store)
}

#[test]
fn exporters_text_gives_back_the_same_node_metrics() {
    if program("prometheus").expect("prometheus").is_none() {
        return;
    }
    let (_folder, made) = store();
    let text = tempfile::tempdir().expect("temporary folder");
    let args = SynthesizeArgs { openmetrics: Some(text.path().to_owned()), ..wanted(2, 1, 120) };
    assert_eq!(synthesize(&args, &made).expect("made").openmetrics_files, 12);
    let (_folder, read) = store();
    let summary = import(&texts(text.path()), &read).expect("read");
    println!("{summary}");
    assert_eq!(summary.drops.get(DropReason::UnknownNode), 0);
    assert!(summary.pods > 10, "{summary}");
    assert_same(&made, &read, NodeMetric::ALL);
}

#[test]
fn any_node_metrics_can_be_exported_and_read_again() {
    if program("prometheus").expect("prometheus").is_none() {
        return;
    }
    let (_folder, made) = store();
    synthesize(&wanted(2, 1, 120), &made).expect("made");
    let text = tempfile::tempdir().expect("temporary folder");
    let args = ExportArgs { out: text.path().to_owned(), from: None, to: None, node: Vec::new(), json: false };
    assert_eq!(export(&args, &made).expect("exported").files, 12);
    let (_folder, read) = store();
    // In any order of files the rows end up the same, and a second time changes nothing.
    let mut files = texts(text.path());
    files.reverse();
    let first = import(&files, &read).expect("read");
    let rows = |store: &Store| -> Vec<(String, i64, Vec<String>)> {
        let days = store.days(&NODE_METRICS).expect("days").into_iter();
        days.flat_map(|day| read_day(store, day).expect("day"))
            .flat_map(|(node, samples)| samples.into_iter().map(move |sample| (node.clone(), sample)))
            // In which order the server adds series up shows in the last digit.
            .map(|(node, sample)| (node, sample.ts, sample.values.map(|value| format!("{value:.9e}")).to_vec()))
            .collect()
    };
    let before = rows(&read);
    assert_eq!(import(&files, &read).expect("again").rows, first.rows);
    assert_eq!(rows(&read), before);
    // Node metrics say nothing of single pods.
    let of_nodes: Vec<NodeMetric> =
        NodeMetric::ALL.iter().copied().filter(|metric| !OF_PODS.contains(metric)).collect();
    assert_same(&made, &read, &of_nodes);
}

#[test]
fn a_text_that_breaks_the_format_is_an_error_with_file_and_line_and_nothing_of_it_is_kept() {
    if program("prometheus").expect("prometheus").is_none() {
        return;
    }
    let (_folder, made) = store();
    let text = tempfile::tempdir().expect("temporary folder");
    let args = SynthesizeArgs { openmetrics: Some(text.path().to_owned()), ..wanted(1, 1, 300) };
    synthesize(&args, &made).expect("made");
    let file = texts(text.path()).remove(0);
    let whole = std::fs::read_to_string(&file).expect("text");
    let milliseconds = "node_load1{instance=\"10.0.0.1:9100\"} 1 1767225600000\n# EOF\n";
    for (content, named) in [(&whole[..whole.len() / 2], "cut off"), (milliseconds, "are these milliseconds?")] {
        std::fs::write(&file, content).expect("damaged");
        let (folder, read) = store();
        let error = format!("{:#}", import(std::slice::from_ref(&file), &read).expect_err("damaged"));
        assert!(error.contains("openmetrics.txt") && error.contains("line ") && error.contains(named), "{error}");
        assert!(read.days(&NODE_METRICS).expect("days").is_empty());
        assert!(!folder.path().join("collector/import").exists(), "the folder of the import is gone");
    }
}

/// Columns that are added up over pods.
const OF_PODS: [NodeMetric; 3] = [NodeMetric::PodsRunning, NodeMetric::CpuRequested, NodeMetric::MemoryRequested];

/// Rates come back as the mean of the four steps of their window, all else as it was. Pods that come or go within a step,
/// of two minutes here, may be counted a step later.
fn assert_same(made: &Store, read: &Store, columns: &[NodeMetric]) {
    let is_rate = |metric: NodeMetric| {
        ["per_second", "cpu_used", "io_time", "pressure"].iter().any(|part| metric.column().contains(part))
    };
    for date in made.days(&NODE_METRICS).expect("days") {
        let (a, b) = (read_day(made, date).expect("day"), read_day(read, date).expect("day"));
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
        for metric in columns {
            let (mut compared, mut equal) = (0.0, 0.0);
            for (node, samples) in &a {
                let found: std::collections::BTreeMap<i64, &NodeSample> =
                    b[node].iter().map(|it| (it.ts, it)).collect();
                for window in samples.windows(5).filter(|window| window[4].ts - window[0].ts == 4 * 120_000) {
                    let values = window.iter().map(|sample| sample.get(*metric));
                    let wanted = if is_rate(*metric) {
                        // Without the step before the window nobody knows what the counter had gained in it.
                        values.clone().skip(1).sum::<f64>() / 4.0 + 0.0 * window[0].get(*metric)
                    } else {
                        window[4].get(*metric)
                    };
                    let got = found.get(&window[4].ts).map_or(f64::NAN, |sample| sample.get(*metric));
                    if wanted.is_nan() || got.is_nan() {
                        continue;
                    }
                    compared += 1.0;
                    equal += f64::from(u8::from((wanted - got).abs() <= 1e-3 * wanted.abs().max(1.0)));
                }
            }
            assert!(compared > 1_000.0, "{metric:?}: {compared} compared");
            let wanted = if OF_PODS.contains(metric) { 0.95 } else { 0.995 };
            assert!(equal / compared > wanted, "{metric:?}: {equal} of {compared}");
        }
    }
}
