//! Everything that a Prometheus server, its data or this process can do wrong, against a made-up server.

mod support;

use collector::prometheus::{BackfillSummary, Live, backfill};
use collector::raw::DropReason;
use serde_json::json;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::Store;
use support::fake::{DAY, Fake, Metric, STEP, World, load};
use support::{column, source};
use wiremock::ResponseTemplate;

const HOUR: i64 = 3_600_000;
const FROM: &str = "2026-01-01T00:00:00Z";

fn metric(of: impl Fn(usize, i64) -> Option<f64> + Send + Sync + 'static) -> Arc<Metric> {
    Arc::new(move |node, ts| of(node, ts).map(|value| format!("{value}")))
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    (folder, store)
}

async fn fetch(fake: &Fake, store: &Store, more: &[&str]) -> anyhow::Result<BackfillSummary> {
    let url = fake.url();
    backfill(&source(&[&["--prometheus", &url, "--from", FROM], more].concat()), store).await
}

async fn failure(world: World, more: &[&str]) -> (String, Fake, u64) {
    let fake = Fake::start(world).await;
    let (_folder, store) = store();
    let error = fetch(&fake, &store, more).await.expect_err("the server fails");
    let rows = column(&store, "load1").len() as u64;
    (format!("{error:#}"), fake, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_named() {
    let port = collector::testing::free_port().expect("port");
    let (_folder, store) = store();
    let url = format!("http://127.0.0.1:{port}");
    let error =
        backfill(&source(&["--prometheus", &url, "--retries", "1"]), &store).await.expect_err("nobody is there");
    let error = format!("{error:#}");
    assert!(error.contains(&url) && error.contains("is away"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_meets_the_time_limit() {
    let world = World { delay: Duration::from_secs(3), ..World::new(2, 1) };
    let (error, ..) = failure(world, &["--timeout", "200ms", "--retries", "0"]).await;
    assert!(error.contains("no answer within 200ms") && error.contains("--timeout"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_not_repeated_and_keeps_the_servers_words() {
    let refuse = |asked: &support::fake::Asked| {
        let body = json!({ "status": "error", "errorType": "bad_data", "error": "parse error: unexpected `)`" });
        asked.is_range.then(|| ResponseTemplate::new(400).set_body_json(body))
    };
    let world = World { twist: Arc::new(refuse), ..World::new(2, 1) };
    let (error, fake, rows) = failure(world, &["--concurrency", "1"]).await;
    assert!(error.contains("400 (bad_data): parse error: unexpected `)`"), "{error}");
    assert_eq!(fake.asked().iter().filter(|asked| asked.is_range).count(), 1);
    assert_eq!(rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_is_repeated_until_it_passes() {
    let fail_twice = |asked: &support::fake::Asked| match asked.number {
        3 => Some(ResponseTemplate::new(503).set_body_string("upstream connect error")),
        4 => Some(ResponseTemplate::new(429).insert_header("Retry-After", "0")),
        _ => None,
    };
    let fake = Fake::start(World { twist: Arc::new(fail_twice), ..World::new(2, 1) }).await;
    let (_folder, store) = store();
    let summary = fetch(&fake, &store, &[]).await.expect("it passes");
    assert_eq!((summary.retries, summary.rows), (2, 240));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_that_stays_ends_the_run_after_all_tries() {
    let body = || ResponseTemplate::new(500).set_body_string("<html><body>out of order</body></html>");
    let world = World { twist: Arc::new(move |asked| asked.is_range.then(body)), ..World::new(2, 1) };
    let (error, fake, rows) = failure(world, &["--retries", "2", "--concurrency", "1"]).await;
    assert!(error.contains("answered 500") && error.contains("out of order"), "{error}");
    assert_eq!(fake.asked().iter().filter(|asked| asked.is_range).count(), 3);
    assert_eq!(rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_json_is_told_from_other_nonsense() {
    let half = || {
        ResponseTemplate::new(200).set_body_string(
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"#,
        )
    };
    let (error, ..) =
        failure(World { twist: Arc::new(move |asked| asked.is_range.then(half)), ..World::new(2, 1) }, &[]).await;
    assert!(error.contains("breaks off after 86 bytes"), "{error}");
    let foreign = || ResponseTemplate::new(200).set_body_string(r#"{"hello":"world"}"#);
    let (error, ..) =
        failure(World { twist: Arc::new(move |asked| asked.is_range.then(foreign)), ..World::new(2, 1) }, &[]).await;
    assert!(error.contains("not of its HTTP API"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_page_is_called_what_it_is() {
    let page = || ResponseTemplate::new(200).set_body_raw("<!doctype html>\n<title>Sign in</title>", "text/html");
    let (error, ..) = failure(World { twist: Arc::new(move |_| Some(page())), ..World::new(2, 1) }, &[]).await;
    assert!(error.contains("`text/html` instead of JSON") && error.contains("Sign in"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_range_is_said_and_asked_for_again() {
    let fake = Fake::start(World::new(2, 1)).await;
    fake.clock.store(DAY + 100 * 24 * HOUR, Ordering::SeqCst);
    let (_folder, store) = store();
    let span = ["--from", "2026-02-01", "--to", "2026-02-02"];
    let url = fake.url();
    for _ in 0..2 {
        let summary =
            backfill(&source(&[&["--prometheus", url.as_str()], &span[..]].concat()), &store).await.expect("no error");
        assert_eq!((summary.rows, summary.chunks, summary.chunks_empty), (0, 4, 4));
        assert!(
            summary.warnings.iter().any(|warning| warning.contains("no node metrics between 2026-02-01T00:00:00Z")),
            "{:?}",
            summary.warnings
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_that_half_of_the_nodes_have_is_null_for_the_rest() {
    let mut world = World::new(4, 1);
    world.metrics[0].1 = metric(|node, ts| (node < 2).then(|| load(node, ts)));
    let fake = Fake::start(world).await;
    let (_folder, store) = store();
    let summary = fetch(&fake, &store, &[]).await.expect("summary");
    let (loads, memory) = (column(&store, "load1"), column(&store, "memory_used_bytes"));
    assert!(loads["node-0"].values().all(Option::is_some) && loads["node-3"].values().all(Option::is_none));
    assert!(memory.values().all(|line| line.len() == 120 && line.values().all(Option::is_some)));
    let warned = |text: &str| summary.warnings.iter().any(|warning| warning.contains(text));
    assert!(warned("`load1` has values for 2 of 4 nodes"), "{:?}", summary.warnings);
    assert!(warned("`uptime_seconds` has no value"), "{:?}", summary.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_nodes_with_metrics_are_an_error_that_names_the_others() {
    let (error, _, rows) = failure(World { targets: 3, ..World::new(4, 1) }, &[]).await;
    assert!(error.contains("3 of 4 nodes") && error.contains("`node-3`"), "{error}");
    assert_eq!(rows, 0);
    let fake = Fake::start(World { targets: 3, ..World::new(4, 1) }).await;
    let (_folder, store) = store();
    fetch(&fake, &store, &["--min-matched", "0.7"]).await.expect("enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn nan_infinite_and_negative_values_become_null_and_are_counted() {
    let mut world = World::new(1, 1);
    world.metrics[0].1 = Arc::new(|_, ts| {
        let text = ["NaN", "+Inf", "-Inf", "-1", "2.5"][((ts - DAY) / STEP % 5) as usize];
        Some(text.to_owned())
    });
    let fake = Fake::start(world).await;
    let (_folder, store) = store();
    let summary = fetch(&fake, &store, &[]).await.expect("summary");
    let values: Vec<Option<f64>> = column(&store, "load1")["node-0"].values().copied().collect();
    assert_eq!(values.len(), 120);
    assert!(values.chunks(5).all(|five| five == [None, None, None, None, Some(2.5)]), "{values:?}");
    let drops = &summary.columns["load1"].drops;
    assert_eq!((drops.get(DropReason::NotFinite), drops.get(DropReason::Negative)), (72, 24));
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicated_out_of_order_and_foreign_points_are_put_right_and_counted() {
    let mut world = World::new(1, 1);
    world.points = Arc::new(|name, _, mut points| {
        if name != "age" && points.len() > 20 {
            points.swap(3, 4);
            points.push(points[10].clone());
            points.push(json!([(DAY + 500 * HOUR) as f64 / 1_000.0, "1"]));
            points.push(json!([(DAY + 1_234) as f64 / 1_000.0, "1"]));
        }
        points
    });
    let fake = Fake::start(world).await;
    let (_folder, store) = store();
    let summary = fetch(&fake, &store, &[]).await.expect("summary");
    let values = column(&store, "load1");
    assert!(values["node-0"].iter().all(|(ts, value)| *value == Some(load(0, *ts))), "{values:?}");
    assert_eq!(values["node-0"].len(), 120);
    let drops = &summary.columns["load1"].drops;
    assert_eq!((drops.get(DropReason::Duplicate), drops.get(DropReason::OffGrid)), (1, 2));
    assert!(drops.get(DropReason::OutOfOrder) >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_series_for_a_node_are_counted_and_the_first_is_kept() {
    let fake = Fake::start(World { twins: true, ..World::new(2, 1) }).await;
    let (_folder, store) = store();
    let summary = fetch(&fake, &store, &[]).await.expect("summary");
    assert_eq!(summary.columns["load1"].drops.get(DropReason::SeveralSeries), 240);
    assert!(
        summary.warnings.iter().any(|warning| warning.contains("several series for node `node-0`")),
        "{:?}",
        summary.warnings
    );
    assert!(column(&store, "load1")["node-1"].iter().all(|(ts, value)| *value == Some(load(1, *ts))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_older_than_two_scrape_intervals_is_a_gap() {
    let gap = DAY + HOUR / 2..DAY + HOUR / 2 + 4 * 60_000;
    let silent = gap.clone();
    let mut world = World::new(1, 1);
    world.metrics[0].1 = metric(move |node, ts| (!silent.contains(&ts)).then(|| load(node, ts)));
    let fake = Fake::start(world).await;
    let (_folder, store) = store();
    let summary = fetch(&fake, &store, &[]).await.expect("summary");
    // The last sample before the gap is 30 s old at its first step and 60 s at its second: two intervals, still a value.
    for (ts, value) in &column(&store, "load1")["node-0"] {
        let is_gap = (gap.start + 2 * STEP..gap.end).contains(ts);
        assert_eq!(value.is_none(), is_gap, "{} s into the gap", (ts - gap.start) / 1_000);
    }
    assert_eq!(summary.columns["load1"].drops.get(DropReason::Stale), 6);
    assert_eq!(summary.scrape_interval_seconds, 30.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_warns_of_is_shown_and_fetched_again() {
    let fake = Fake::start(World { warnings: vec!["store 2 is away".into()], ..World::new(1, 1) }).await;
    let (_folder, store) = store();
    for _ in 0..2 {
        let summary = fetch(&fake, &store, &["--to", "2026-01-01T00:30:00Z"]).await.expect("summary");
        assert_eq!(summary.rows, 60, "fetched again, for it may lack series");
        assert!(summary.warnings.iter().any(|warning| warning.contains("store 2 is away")), "{:?}", summary.warnings);
    }
    assert_eq!(column(&store, "load1")["node-0"].len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_fetches_only_what_is_new_and_the_late_span() {
    let fake = Fake::start(World::new(2, 14)).await;
    let (_folder, store) = store();
    fake.clock.store(DAY + 7 * HOUR, Ordering::SeqCst);
    assert_eq!(fetch(&fake, &store, &[]).await.expect("first").rows, 2 * 7 * 120);
    let before = fake.asked().len();
    fake.clock.store(DAY + 8 * HOUR, Ordering::SeqCst);
    let second = fetch(&fake, &store, &[]).await.expect("second");
    assert_eq!(second.rows, 2 * (120 + 20), "one new hour, and ten minutes in which samples may have come late");
    let earliest = fake.asked()[before..]
        .iter()
        .filter(|asked| asked.is_range && asked.query.contains("node_load1"))
        .map(|asked| asked.start)
        .min();
    assert_eq!(earliest, Some(DAY + 7 * HOUR - 10 * 60_000));
    assert_eq!(column(&store, "load1")["node-1"].len(), 8 * 120);
    fake.clock.store(DAY + 14 * HOUR, Ordering::SeqCst);
    fetch(&fake, &store, &[]).await.expect("third");
    let values = column(&store, "load1");
    let times: Vec<i64> = values["node-1"].keys().copied().collect();
    assert_eq!(
        times,
        (DAY..DAY + 14 * HOUR).step_by(STEP as usize).collect::<Vec<_>>(),
        "no point lost or twice at a border"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_clock_that_jumps_loses_nothing() {
    let fake = Fake::start(World::new(1, 4)).await;
    let (_folder, store) = store();
    for now in [2 * HOUR, 30 * HOUR, 3 * HOUR, 4 * HOUR] {
        fake.clock.store(DAY + now, Ordering::SeqCst);
        fetch(&fake, &store, &[]).await.expect("summary");
    }
    let values = column(&store, "load1");
    assert_eq!(values["node-0"].iter().filter(|(ts, value)| **value == Some(load(0, **ts))).count(), 4 * 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_span_is_added_to_a_chunk_that_is_there() {
    let fake = Fake::start(World::new(1, 6)).await;
    let (_folder, store) = store();
    let url = fake.url();
    let part = |from: &'static str, to: &'static str| source(&["--prometheus", &url, "--from", from, "--to", to]);
    for (from, to, rows) in
        [("03:00", "04:00", 120), ("05:00", "05:30", 180), ("01:00", "02:00", 240), ("00:00", "06:00", 180)]
    {
        let (from, to) = (format!("2026-01-01T{from}:00Z"), format!("2026-01-01T{to}:00Z"));
        let source = part(from.leak(), to.leak());
        assert_eq!(backfill(&source, &store).await.expect("summary").rows, rows);
    }
    assert_eq!(column(&store, "load1")["node-0"].len(), 6 * 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_cluster_is_asked_for_in_groups_of_nodes() {
    let (_whole_folder, whole) = store();
    let (_cut_folder, cut) = store();
    let fake = Fake::start(World::new(5, 6)).await;
    fetch(&fake, &whole, &[]).await.expect("whole");
    let before = fake.asked().len();
    fetch(&fake, &cut, &["--reply-points", "1500"]).await.expect("cut");
    let groups = fake.asked()[before..]
        .iter()
        .filter(|asked| asked.is_range && asked.query.contains("(node_load1{") && !asked.query.contains("timestamp"))
        .count();
    assert_eq!(groups, 3, "two nodes of 720 points at once");
    assert_eq!(column(&cut, "load1"), column(&whole, "load1"));
    assert_eq!(column(&cut, "load1").len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_that_is_too_much_for_the_server_is_asked_for_in_halves() {
    let too_much = |asked: &support::fake::Asked| {
        let body = json!({ "status": "error", "errorType": "execution", "error": "query processing would load too many samples into memory in query execution" });
        (asked.is_range && asked.end - asked.start > 2 * HOUR).then(|| ResponseTemplate::new(422).set_body_json(body))
    };
    let fake = Fake::start(World { twist: Arc::new(too_much), ..World::new(1, 6) }).await;
    let (_folder, store) = store();
    assert_eq!(fetch(&fake, &store, &[]).await.expect("summary").rows, 720);
    assert_eq!(column(&store, "load1")["node-0"].len(), 720);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_files_and_a_refusal_says_which_flags() {
    let world = || {
        let twist = |asked: &support::fake::Asked| match asked.authorization.as_deref() {
            Some("Bearer open-sesame" | "Basic YmVydGg6c2VjcmV0") => None,
            _ => Some(ResponseTemplate::new(401).set_body_string("Unauthorized")),
        };
        World { twist: Arc::new(twist), ..World::new(1, 1) }
    };
    let (error, ..) = failure(world(), &[]).await;
    assert!(error.contains("401") && error.contains("--bearer-token-file"), "{error}");
    let folder = tempfile::tempdir().expect("temporary folder");
    let (token, password) = (folder.path().join("token"), folder.path().join("password"));
    std::fs::write(&token, "open-sesame\n").expect("token");
    std::fs::write(&password, "secret\n").expect("password");
    let (token, password) = (token.to_string_lossy().into_owned(), password.to_string_lossy().into_owned());
    for flags in [&["--bearer-token-file", token.as_str()][..], &["--username", "berth", "--password-file", &password]]
    {
        let fake = Fake::start(world()).await;
        let (_folder, store) = store();
        fetch(&fake, &store, flags).await.expect("let in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_come_from_a_file_and_a_missing_tenant_is_named() {
    let world = || {
        let twist = |asked: &support::fake::Asked| {
            asked.tenant.is_none().then(|| ResponseTemplate::new(401).set_body_string("no org id\n"))
        };
        World { twist: Arc::new(twist), ..World::new(1, 1) }
    };
    let (error, ..) = failure(world(), &[]).await;
    assert!(error.contains("X-Scope-OrgID: TENANT") && error.contains("--header-file"), "{error}");
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("headers");
    std::fs::write(&file, "# Mimir\nX-Scope-OrgID: team-a\n").expect("headers");
    let fake = Fake::start(world()).await;
    let (_folder, store) = store();
    fetch(&fake, &store, &["--header-file", &file.to_string_lossy()]).await.expect("let in");
    assert!(fake.asked().iter().all(|asked| asked.tenant.as_deref() == Some("team-a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_partial_does_not_count_as_fetched() {
    let fake = Fake::start(World { partial: true, ..World::new(1, 1) }).await;
    let (_folder, store) = store();
    let until = ["--to", "2026-01-01T00:30:00Z"];
    for _ in 0..2 {
        let summary = fetch(&fake, &store, &until).await.expect("summary");
        assert_eq!((summary.rows, summary.chunks_fetched), (60, 1), "asked for again");
        assert!(summary.warnings.iter().any(|warning| warning.contains("isPartial")), "{:?}", summary.warnings);
    }
    // Who knows that each replica holds everything says so; then it counts.
    let accept = [&until[..], &["--accept-partial"]].concat();
    assert_eq!(fetch(&fake, &store, &accept).await.expect("summary").rows, 60);
    assert_eq!(fetch(&fake, &store, &accept).await.expect("summary").rows, 0);
    // For whoever watches, half of a node's CPUs would be an idle node.
    let url = fake.url();
    let live = source(&["--prometheus", &url]);
    let error = Live::new(&live).expect("live").look_around(DAY + HOUR).await.expect_err("not complete");
    assert!(error.to_string().contains("not complete") && error.to_string().contains("isPartial"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn remarks_on_a_query_are_no_missing_data() {
    let remark =
        "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"node_load1\"";
    let fake = Fake::start(World { warnings: vec![remark.into()], ..World::new(1, 1) }).await;
    let (_folder, store) = store();
    let until = ["--to", "2026-01-01T00:30:00Z"];
    let first = fetch(&fake, &store, &until).await.expect("summary");
    assert!(
        first.rows == 60 && !first.warnings.iter().any(|warning| warning.contains("PromQL")),
        "{:?}",
        first.warnings
    );
    assert_eq!(fetch(&fake, &store, &until).await.expect("summary").rows, 0, "fetched is fetched");
    let fake = Fake::start(World {
        warnings: vec!["PromQL warning: a mix of histograms and floats".into()],
        ..World::new(1, 1)
    })
    .await;
    let (_folder, store) = self::store();
    let first = fetch(&fake, &store, &until).await.expect("summary");
    assert!(first.warnings.iter().any(|warning| warning.contains("a mix of histograms")), "{:?}", first.warnings);
    assert_eq!(fetch(&fake, &store, &until).await.expect("summary").rows, 0, "asking again would not change it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_series_is_met_by_asking_for_half_of_the_nodes() {
    let at_most_two = |asked: &support::fake::Asked| {
        let hosts = if asked.query.contains("=~\".*\"") { 5 } else { asked.query.matches(":9100").count() };
        let text = "the query exceeded the maximum number of series (limit: 2 series) (err-mimir-max-series-per-query)";
        let body = json!({ "status": "error", "errorType": "execution", "error": text });
        (asked.is_range && asked.query.contains("(node_load1{") && hosts > 2)
            .then(|| ResponseTemplate::new(422).set_body_json(body))
    };
    let fake = Fake::start(World { twist: Arc::new(at_most_two), ..World::new(5, 1) }).await;
    let (_folder, store) = store();
    assert_eq!(fetch(&fake, &store, &[]).await.expect("summary").rows, 5 * 120);
    assert!(column(&store, "load1").values().all(|line| line.values().all(Option::is_some)));
    // No span was cut in half for it: half a span has as many series.
    let spans = fake.asked().into_iter().filter(|asked| asked.query.contains("(node_load1{") && asked.is_range);
    assert!(spans.into_iter().all(|asked| asked.end - asked.start == HOUR - STEP));
    let (error, ..) = failure(
        World { twist: Arc::new(move |asked| asked.is_range.then(|| ResponseTemplate::new(413))), ..World::new(2, 1) },
        &[],
    )
    .await;
    assert!(error.contains("413"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_cannot_be_are_refused_in_every_answer() {
    let point = |seconds: &str| {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"instance":"10.0.0.0:9100"}},"values":[[{seconds},"1"]]}}]}}}}"#
        );
        ResponseTemplate::new(200).set_body_raw(body, "application/json")
    };
    for seconds in ["-1e300", "1e300", "0", "1767225600000"] {
        let twist = move |asked: &support::fake::Asked| asked.is_range.then(|| point(seconds));
        let (error, ..) = failure(World { twist: Arc::new(twist), ..World::new(1, 1) }, &[]).await;
        assert!(error.contains("not in the years 2000 to 2199"), "{seconds}: {error}");
        let raw = move |asked: &support::fake::Asked| asked.query.ends_with("[15m]").then(|| point(seconds));
        let (error, ..) = failure(World { twist: Arc::new(raw), ..World::new(1, 1) }, &[]).await;
        assert!(error.contains("not in the years 2000 to 2199"), "{seconds}: {error}");
    }
    for (clock, said) in [("1e300", "1e300"), ("NaN", "NaN"), ("-5", "-5")] {
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1767225600,"{clock}"]}}}}"#);
        let twist = move |asked: &support::fake::Asked| {
            (asked.query == "time()").then(|| ResponseTemplate::new(200).set_body_raw(body.clone(), "application/json"))
        };
        let (error, ..) = failure(World { twist: Arc::new(twist), ..World::new(1, 1) }, &[]).await;
        let told = format!("{:?}", said.parse::<f64>().expect("a number"));
        assert!(error.contains("not in the years 2000 to 2199") && error.contains(&told), "{error}");
    }
    let nothing = |asked: &support::fake::Asked| {
        let body = json!({ "status": "success", "data": { "resultType": "vector", "result": [] } });
        (asked.query == "time()").then(|| ResponseTemplate::new(200).set_body_json(body))
    };
    let (error, ..) = failure(World { twist: Arc::new(nothing), ..World::new(1, 1) }, &[]).await;
    assert!(error.contains("did not answer `time()`"), "{error}");
}

/// gzip of spaces, which stand for a thousand times their packed size.
fn packed_spaces(bytes: usize) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..bytes >> 20 {
        packer.write_all(&[b' '; 1 << 20]).expect("packed");
    }
    packer.finish().expect("packed")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_unpacks_without_end_is_read_up_to_the_limit() {
    let bomb = packed_spaces(600 << 20);
    assert!(bomb.len() < 1 << 20, "{} bytes on the wire", bomb.len());
    let twist = move |asked: &support::fake::Asked| {
        let reply = ResponseTemplate::new(200).insert_header("Content-Encoding", "gzip");
        (asked.query == "time()").then(|| reply.set_body_raw(bomb.clone(), "application/json"))
    };
    let (error, ..) = failure(World { twist: Arc::new(twist), ..World::new(1, 1) }, &[]).await;
    assert!(error.contains("larger than 536870912 bytes") && error.contains("--reply-points"), "{error}");
}

/// The real program, on a data root of its own.
fn program(url: &str, data: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collector"));
    command
        .args(["backfill", "--prometheus", url, "--from", FROM, "--to", "2026-01-02T00:00:00Z", "--concurrency", "2"])
        .args(["--data", &data.to_string_lossy(), "--retry-delay", "10ms", "--json"])
        .current_dir(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_again_and_again_ends_with_the_same_tables() {
    let fake = Fake::start(World { delay: Duration::from_millis(4), ..World::new(3, 24) }).await;
    fake.clock.store(DAY + 48 * HOUR, Ordering::SeqCst);
    let unbroken = tempfile::tempdir().expect("temporary folder");
    let url = fake.url();
    let data = unbroken.path().to_owned();
    let ran = tokio::task::spawn_blocking({
        let url = url.clone();
        move || program(&url, &data).status().expect("program").success()
    });
    assert!(ran.await.expect("run"), "the unbroken run");
    let killed = tempfile::tempdir().expect("temporary folder");
    let data = killed.path().to_owned();
    let kills = tokio::task::spawn_blocking(move || {
        for life in 1_u64.. {
            let mut process = program(&url, &data).spawn().expect("program");
            // Each life is a little longer, so that the kill meets every part of the work, and one life is the last.
            std::thread::sleep(Duration::from_millis(60 * life));
            if let Some(status) = process.try_wait().expect("process") {
                assert!(status.success());
                return life - 1;
            }
            process.kill().expect("killed");
            process.wait().expect("ended");
        }
        0
    });
    let kills = kills.await.expect("lives");
    assert!(kills >= 2, "killed {kills} times");
    let (a, b) = (Store::new(unbroken.path()), Store::new(killed.path()));
    for name in ["load1", "memory_used_bytes"] {
        let (a, b) = (column(&a, name), column(&b, name));
        assert_eq!(a["node-2"].len(), 24 * 120);
        assert_eq!(a, b, "{name} after {kills} kills");
    }
}

#[test]
fn a_misspelt_key_and_a_misspelt_query_are_wrong_use() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (file, named) in
        [("[collector.prometheus]\nstpe = \"1m\"\n", "`stpe`"), ("[collector.queries]\nlaod1 = \"x\"\n", "`laod1`")]
    {
        std::fs::write(folder.path().join("berth.toml"), file).expect("file");
        let output = program("http://127.0.0.1:1", folder.path()).stderr(Stdio::piped()).output().expect("program");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
}
