//! A real Prometheus, filled by promtool: the tables must hold what went in.

mod support;

use cluster::{INCIDENTS, NODE_METRICS, PODS};
use collector::prometheus::{backfill, show_mapping};
use collector::raw::DropReason;
use collector::testing::{PrometheusServer, load_openmetrics, program};
use polars::prelude::DataType;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use store::Store;
use support::history::{History, STEP};
use support::{Values, column, source};

/// 2026-01-01T04:00:00Z, in seconds: the history crosses a border of chunks, at six o'clock.
const FROM: i64 = 1_767_240_000;
const HOURS: i64 = 3;

fn history() -> History {
    History { nodes: 3, from: FROM, to: FROM + HOURS * 3_600 }
}

/// A server with the history; `None` when servers may be skipped.
fn server(folder: &Path, history: History, more: &[&str]) -> Option<PrometheusServer> {
    program("prometheus").expect("prometheus")?;
    let text = folder.join("history.om");
    history.write(&text);
    load_openmetrics(&text, folder).expect("loaded");
    Some(PrometheusServer::start(folder, more).expect("started"))
}

fn assert_near(got: Option<f64>, wanted: f64, tolerance: f64, what: &str) {
    let got = got.unwrap_or_else(|| panic!("{what} is null, want {wanted}"));
    assert!((got - wanted).abs() <= tolerance * wanted.abs().max(1e-9), "{what} is {got}, want {wanted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_hold_what_went_in() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let history = history();
    let Some(server) = server(folder.path(), history, &[]) else { return };
    let data = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(data.path());
    let url = server.url();
    let flags = ["--prometheus", &url, "--from", "2026-01-01T04:00:00Z", "--to", "2026-01-01T07:00:00Z"];
    let summary = backfill(&source(&flags), &store).await.expect("backfill");
    println!("{summary}");
    assert_eq!((summary.scrape_interval_seconds, summary.rate_window_seconds), (30.0, 120.0));
    let mapping = summary.mapping.clone().expect("mapping");
    assert_eq!((mapping.nodes, mapping.matched), (3, 3));
    assert_eq!(mapping.targets["10.0.0.2:9100"].node, "worker-2");
    assert_eq!(show_mapping(&source(&flags)).await.expect("mapping"), mapping);

    gauges_are_exact(&store, history);
    rates_are_means_of_four_steps(&store, history);
    rates_near_a_silence_are_gaps(&store, history);
    let drops = &summary.columns["cpu_used_cores"].drops;
    assert_eq!(drops.get(DropReason::WindowNotFull), 2 * 5, "two as each node begins and two after each silence");
    let days: Vec<_> = store.days(&NODE_METRICS).expect("days");
    assert_eq!(store.parts(&NODE_METRICS, days[0]).expect("parts").len(), 2, "one part for each chunk");
    incidents_are_found(&store);
    pods_are_put_together(&store);

    let second = backfill(&source(&flags), &store).await.expect("second run");
    assert_eq!((second.rows, second.chunks_fetched), (0, 0), "all of it is settled");
    let longer = ["--prometheus", &url, "--from", "2026-01-01T03:00:00Z", "--to", "2026-01-01T08:00:00Z"];
    let third = backfill(&source(&longer), &store).await.expect("third run");
    assert_eq!(third.drops.get(DropReason::Duplicate), 0);
    gauges_are_exact(&store, history);
}

/// Values that are taken as they are must be equal to the last digit, and absent where nothing was scraped.
fn gauges_are_exact(store: &Store, history: History) {
    let (load, memory, ready) = (column(store, "load1"), column(store, "memory_used_bytes"), column(store, "ready"));
    let allocatable = column(store, "cpu_allocatable_cores");
    let filesystem = column(store, "filesystem_used_ratio");
    let uptime = column(store, "uptime_seconds");
    for node in 0..history.nodes {
        let name = format!("worker-{node}");
        let within = |values: &Values| values[&name].range(history.from * 1_000..history.to * 1_000).count();
        assert_eq!(within(&load) as i64, HOURS * 120, "a row for each step");
        for ts in (history.from..history.to).step_by(STEP as usize) {
            let at = ts * 1_000;
            let of = |values: &Values| values[&name][&at];
            assert_eq!(of(&ready), Some(f64::from(u8::from(history.is_ready(node, ts)))));
            assert_eq!(of(&allocatable), Some(15.5));
            // A sample lives for two scrape intervals, so the first step of a gap and the second still have a value.
            let scraped = (0..=1).all(|back| history.is_scraped(node, ts - back * STEP));
            if history.is_scraped(node, ts) {
                assert_near(of(&load), history.cores(node, ts), 1e-12, "load");
                assert_near(of(&memory), history.memory(node, ts), 1e-9, "memory");
                assert_near(of(&filesystem), 0.4, 1e-12, "file system");
                assert_near(of(&uptime), (ts - history.from + 1_000) as f64, 1e-12, "uptime");
            } else if !scraped && !history.is_scraped(node, ts - 2 * STEP) {
                assert_eq!(of(&load), None, "{} minutes after the start", (ts - history.from) / 60);
            }
        }
    }
}

/// A rate whose window is silent at an edge is too low, and a busy node would look idle: it is left out, and nothing else is.
fn rates_near_a_silence_are_gaps(store: &Store, history: History) {
    let cpu = &column(store, "cpu_used_cores")["worker-1"];
    for minute in [60, 120] {
        let begin = history.from + minute * 60;
        let end = (begin..).step_by(STEP as usize).find(|ts| history.is_scraped(1, *ts)).expect("it ends");
        // At the end of the shorter one it depends on Prometheus' version whether the window's very begin is part of it.
        for ts in (begin - 4 * STEP..end + 8 * STEP).step_by(STEP as usize).filter(|ts| *ts != end) {
            let value = cpu.get(&(ts * 1_000)).copied().flatten();
            // The last sample is a step old at first; later the first one has to be a step after the window's begin.
            let is_gap = (begin + STEP..end + 3 * STEP).contains(&ts);
            assert_eq!(value.is_none(), is_gap, "{} s after the end of the silence of minute {minute}", ts - end);
            if let Some(value) = value {
                assert_near(Some(value), history.cores(1, ts), 0.1, "cpu");
            }
        }
    }
}

/// A rate over two minutes is the mean of the four steps in it.
fn rates_are_means_of_four_steps(store: &Store, history: History) {
    let cpu = column(store, "cpu_used_cores");
    let constant = [
        ("network_receive_bytes_per_second", 1_000.0),
        ("network_transmit_bytes_per_second", 2_000.0),
        ("disk_read_bytes_per_second", 500.0),
        ("disk_write_bytes_per_second", 500.0),
        ("disk_io_time_ratio", 0.3),
        ("cpu_pressure_ratio", 0.05),
        ("memory_pressure_ratio", 0.01),
    ]
    .map(|(name, value)| (name, column(store, name), value));
    for node in 0..history.nodes {
        let name = format!("worker-{node}");
        for ts in (history.from + 4 * STEP..history.to).step_by(STEP as usize) {
            if !(0..=4).all(|back| history.is_scraped(node, ts - back * STEP)) {
                continue;
            }
            let mean = (0..4).map(|back| history.cores(node, ts - back * STEP)).sum::<f64>() / 4.0;
            assert_near(cpu[&name][&(ts * 1_000)], mean, 1e-9, "cpu");
            for (column, values, wanted) in &constant {
                assert_near(values[&name][&(ts * 1_000)], *wanted, 1e-9, column);
            }
        }
    }
    let running = column(store, "pods_running");
    let requested = column(store, "cpu_requested_cores");
    for (minute, pods) in [(10, 2.0), (80, 2.0), (100, 1.0), (170, 1.0)] {
        let at = (history.from + minute * 60) * 1_000;
        assert_eq!(running["worker-0"][&at], Some(pods), "minute {minute}");
        assert_eq!(requested["worker-0"][&at], Some(0.25 * pods), "minute {minute}");
        assert_eq!(running["worker-1"][&at], None, "no pod is known of there");
    }
}

fn incidents_are_found(store: &Store) {
    let day = store.days(&INCIDENTS).expect("days")[0];
    let frame = store.read_day(&INCIDENTS, day, &[]).expect("incidents");
    let text = |name: &str, at: usize| {
        frame.column(name).expect("column").str().expect("text").get(at).map(str::to_owned).expect("value")
    };
    let minute = |name: &str, at: usize| {
        let times = frame.column(name).expect("column").cast(&DataType::Int64).expect("times");
        times.i64().expect("times").get(at).map(|ts| (ts / 1_000 - FROM) as f64 / 60.0).expect("value")
    };
    assert_eq!(frame.height(), 2, "{frame}");
    assert_eq!(
        (text("node", 0), text("kind", 0), text("source", 0)),
        ("worker-1".into(), "DiskSlow".into(), "alert".into())
    );
    assert_eq!(minute("started_at", 0), 100.0);
    // Without the mark that a live server writes when an alert ends, it ends when its last sample is two minutes old.
    assert!((109.5..=111.5).contains(&minute("ended_at", 0)));
    assert_eq!(
        (text("node", 1), text("kind", 1), text("severity", 1)),
        ("worker-2".into(), "not_ready".into(), "critical".into())
    );
    assert_eq!((minute("started_at", 1), minute("ended_at", 1)), (30.0, 44.5));
}

fn pods_are_put_together(store: &Store) {
    let day = store.days(&PODS).expect("days")[0];
    let frame = store.read_day(&PODS, day, &[]).expect("pods");
    assert_eq!(frame.height(), 2, "{frame}");
    let text =
        |name: &str| frame.column(name).expect("column").str().expect("text").get(1).map(str::to_owned).expect("value");
    assert_eq!((text("pod_uid"), text("pod"), text("node")), ("uid-1".into(), "cart-7f-1".into(), "worker-0".into()));
    assert_eq!((text("workload_kind"), text("workload")), ("Deployment".into(), "cart".into()));
    assert_eq!(
        (text("phase"), text("qos_class"), text("labels")),
        ("Running".into(), "Burstable".into(), r#"{"app":"cart"}"#.into())
    );
    let number = |name: &str| frame.column(name).expect("column").f64().expect("floats").get(1).expect("value");
    assert_eq!((number("cpu_request_cores"), number("memory_request_bytes")), (0.25, 2e8));
    assert!((number("cpu_used_cores_mean") - 0.2).abs() < 1e-6 && (number("cpu_used_cores_p95") - 0.2).abs() < 0.006);
    assert_eq!(number("memory_used_bytes_max"), 1e8 + 1.0);
    let finished = frame.column("finished_at").expect("column").cast(&DataType::Int64).expect("times");
    let finished = finished.i64().expect("times");
    assert_eq!(finished.get(0), None, "the first pod lives");
    assert_eq!(finished.get(1).map(|ts| (ts / 1_000 - FROM) / 30), Some(179), "the last sample before minute 90");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_own_authority_and_a_password() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let openssl = |arguments: &str| {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(folder.path()).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1\n").expect("names");
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=own-authority");
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=prometheus");
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names");
    // bcrypt of `right-password`, cost 4.
    let web = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\nbasic_auth_users:\n  berth: $2b$04$w1cGWXCWrEykOJOybTrwqOvxNm8KZvo6Y3TrtyyiiCv5yt2BD/P0y\n";
    let web_file = folder.path().join("web.yml");
    std::fs::write(&web_file, web).expect("web configuration");
    let short = History { to: FROM + 600, nodes: 2, ..history() };
    let flag = format!("--web.config.file={}", web_file.display());
    let Some(server) = server(folder.path(), short, &[&flag]) else { return };
    let url = server.url().replace("http://", "https://");
    for (name, text) in [("right", "right-password\n"), ("wrong", "wrong-password\n")] {
        std::fs::write(folder.path().join(name), text).expect("password");
    }
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (authority, right, wrong) = (path("ca.pem"), path("right"), path("wrong"));
    let span = ["--prometheus", &url, "--from", "2026-01-01T04:00:00Z", "--to", "2026-01-01T04:10:00Z"];
    let fetch = |more: &[&str]| {
        let source = source(&[&span, more].concat());
        async move {
            let data = tempfile::tempdir().expect("temporary folder");
            backfill(&source, &Store::new(data.path()))
                .await
                .map(|summary| summary.rows)
                .map_err(|error| format!("{error:#}"))
        }
    };
    // A server that listens may still load its blocks and answer 503, so the first fetch has its retries.
    assert_eq!(fetch(&["--ca-file", &authority, "--username", "berth", "--password-file", &right]).await, Ok(40));
    let once = ["--retries", "0"];
    let refused =
        fetch(&[&once[..], &["--ca-file", &authority, "--username", "berth", "--password-file", &wrong]].concat())
            .await
            .expect_err("wrong password");
    assert!(refused.contains("401") && !refused.contains("wrong-password"), "{refused}");
    let unknown = fetch(&[&once[..], &["--username", "berth", "--password-file", &right]].concat())
        .await
        .expect_err("unknown authority");
    assert!(unknown.to_lowercase().contains("certificate") || unknown.contains("UnknownIssuer"), "{unknown}");
}

/// The whole way round: a synthetic cluster, its OpenMetrics text, a real Prometheus, and back into tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_synthetic_cluster_comes_back_as_it_was_made() {
    if program("prometheus").expect("prometheus").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let (made, text, fetched) = (folder.path().join("made"), folder.path().join("text"), folder.path().join("fetched"));
    let status = Command::new(env!("CARGO_BIN_EXE_collector"))
        .args(["synthesize", "--nodes", "2", "--days", "1", "--seed", "7", "--end", "2026-03-02"])
        .args(["--data", &made.to_string_lossy(), "--openmetrics", &text.to_string_lossy()])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .status()
        .expect("collector");
    assert!(status.success());
    let mut files: Vec<_> =
        std::fs::read_dir(&text).expect("texts").map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    // Eight hours: four files of two.
    for file in &files[..4] {
        load_openmetrics(file, folder.path()).expect("loaded");
    }
    let server = PrometheusServer::start(folder.path(), &[]).expect("started");
    let url = server.url();
    let (made, fetched) = (Store::new(made), Store::new(fetched));
    let first = column(&made, "load1").values().filter_map(|line| line.keys().min().copied()).min().expect("rows");
    let day = chrono::DateTime::from_timestamp_millis(first).expect("time").date_naive();
    let (from, to) = (format!("{day}T00:00:00Z"), format!("{day}T08:00:00Z"));
    let summary =
        backfill(&source(&["--prometheus", &url, "--from", &from, "--to", &to]), &fetched).await.expect("backfill");
    println!("{summary}");
    let end = store::day_start(day) + 8 * 3_600_000;

    // The text rounds: two decimals of the load, whole bytes, whole seconds.
    for (name, absolute) in [
        ("load1", 0.006),
        ("memory_used_bytes", 1.0),
        ("memory_allocatable_bytes", 1.0),
        ("cpu_allocatable_cores", 1e-4),
        ("filesystem_used_ratio", 1e-6),
        ("uptime_seconds", 1.0),
        ("ready", 0.0),
    ] {
        let (share, compared) = compare(
            &column(&made, name),
            &column(&fetched, name),
            end,
            |line, ts| line.get(&ts).copied().flatten(),
            absolute,
            0.0,
        );
        assert!(compared > 1_800 && share == 1.0, "{name}: {share} of {compared} agree");
    }
    // A rate over two minutes is the mean of four steps; counters have three decimals at least.
    let mean = |line: &std::collections::BTreeMap<i64, Option<f64>>, ts: i64| {
        let steps: Option<Vec<f64>> = (0..=4).map(|back| line.get(&(ts - back * 30_000)).copied().flatten()).collect();
        steps.map(|steps| steps[..4].iter().sum::<f64>() / 4.0)
    };
    for (name, absolute) in [
        ("cpu_used_cores", 5e-3),
        ("network_receive_bytes_per_second", 0.1),
        ("disk_write_bytes_per_second", 0.1),
        ("disk_io_time_ratio", 1e-4),
        ("cpu_pressure_ratio", 1e-6),
    ] {
        let (share, compared) = compare(&column(&made, name), &column(&fetched, name), end, mean, absolute, 1e-3);
        assert!(compared > 1_800 && share > 0.995, "{name}: {share} of {compared} agree");
    }
    // A pod that comes or goes within a step may be counted a step later.
    for name in ["pods_running", "cpu_requested_cores"] {
        let (share, compared) = compare(
            &column(&made, name),
            &column(&fetched, name),
            end,
            |line, ts| line.get(&ts).copied().flatten(),
            1e-3,
            0.0,
        );
        assert!(compared > 1_800 && share > 0.98, "{name}: {share} of {compared} agree");
    }
    let pods: usize = fetched
        .days(&PODS)
        .expect("days")
        .iter()
        .map(|day| fetched.read_day(&PODS, *day, &[]).expect("pods").height())
        .sum();
    assert!(pods > 10, "{pods} pods");
    assert_eq!(collector::sources::sources(&fetched).expect("ledger")[0].input.kind, "prometheus");
    let error = backfill(&source(&["--prometheus", &url]), &made)
        .await
        .expect_err("a real cluster must not join a made-up one");
    assert!(format!("{error:#}").contains("synthetic"), "{error:#}");
}

/// The share of steps before `end` at which the fetched value is the wanted one, and how many steps were compared:
/// those at which both are known.
fn compare(
    made: &Values,
    fetched: &Values,
    end: i64,
    wanted: impl Fn(&std::collections::BTreeMap<i64, Option<f64>>, i64) -> Option<f64>,
    absolute: f64,
    relative: f64,
) -> (f64, usize) {
    let (mut agree, mut compared) = (0, 0);
    for (node, line) in made {
        for ts in line.keys().filter(|ts| **ts < end) {
            let Some(wanted) = wanted(line, *ts) else { continue };
            let Some(got) = fetched.get(node).and_then(|line| line.get(ts)).copied().flatten() else { continue };
            compared += 1;
            let near = (got - wanted).abs() <= absolute + relative * wanted.abs();
            agree += usize::from(near);
            if !near && compared - agree <= 3 {
                println!("{node} at {ts}: {got}, want {wanted}");
            }
        }
    }
    (agree as f64 / compared.max(1) as f64, compared)
}

/// The real `collector watch`, stopped by its process id.
struct Watch(Child);

impl Watch {
    fn start(url: &str, data: &Path, log: &Path) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_collector"))
            .args(["watch", "--prometheus", url, "--since", "20m", "--step", "1s", "--scrape-interval", "30s"])
            .args(["--data", &data.to_string_lossy(), "--retries", "0"])
            .current_dir(data)
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(log).expect("log"))
            .spawn()
            .expect("collector");
        Self(process)
    }

    fn terminate(mut self) -> Option<i32> {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().expect("kill");
        wait_for("the end of watch", || self.0.try_wait().expect("process").is_some());
        self.0.wait().expect("ended").code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn watch_goes_on_after_an_outage_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let now = chrono::Utc::now().timestamp() / STEP * STEP;
    // The history reaches into the future, so that the server learns something new at every step.
    let live = History { nodes: 2, from: now - 1_800, to: now + 1_200 };
    let Some(server) = server(folder.path(), live, &[]) else { return };
    let data = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(data.path());
    let log = folder.path().join("watch.log");
    let said = |text: &str| std::fs::read_to_string(&log).unwrap_or_default().contains(text);
    let newest =
        || column(&store, "load1").get("worker-0").and_then(|line| line.keys().max().copied()).unwrap_or_default();
    let watch = Watch::start(&server.url(), data.path(), &log);
    wait_for("the first visit", || said("caught up"));
    let first = newest();
    wait_for("a new step", || newest() > first);
    let port = server.port();
    drop(server);
    wait_for("the word that the server is away", || said("is away"));
    let before_outage = newest();
    let server = PrometheusServer::start_on(folder.path(), port, &[]).expect("back");
    wait_for("the word that it is back", || said("prometheus is back"));
    assert_eq!(watch.terminate(), Some(0));
    assert!(said("stopped"));
    let again = Watch::start(&server.url(), data.path(), &log);
    let stopped = newest();
    assert!(stopped > before_outage);
    wait_for("a step after the restart", || newest() > stopped);
    assert_eq!(again.terminate(), Some(0));
    for line in column(&store, "load1").values() {
        let times: Vec<i64> = line.keys().copied().collect();
        assert!(times.iter().all(|ts| ts % 1_000 == 0), "every moment lies on the grid");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "every step is there, the outage's too");
    }
    let log = std::fs::read_to_string(&log).expect("log");
    assert_eq!(log.matches("is away").count(), 1, "one line for one outage: {log}");
}
