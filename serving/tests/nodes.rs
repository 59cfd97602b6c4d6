//! Scores of nodes from a real Prometheus.

mod support;

use cluster::score::{Quantiles, Strategy};
use cluster::{GRID_STEP_MS, NodeName, Resource};
use features::{OnlineFeatures, catalogue};
use models::artifact::Artifact;
use serde_json::{Value, json};
use support::{BUSY, BYTES, CORES, Cluster, NODES, Root, Server, rfc3339};

const NOON: i64 = 1_780_315_200;

fn node(answer: &Value, place: usize) -> &Value {
    &answer["pods"][0]["nodes"][place]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_busy_node_scores_last_and_every_part_says_why() {
    let root = Root::with_models().await;
    let cluster = Cluster::new(3, NOON);
    let Some(prometheus) = cluster.serve(root.path()) else { return };
    let mut server =
        Server::start(root.path(), &["--prometheus", &prometheus.url(), "--to", &rfc3339(NOON), "--warm", "3h"]).await;
    server.ready().await;

    let names: Vec<String> = (0..NODES).map(|node| format!("node-{node}")).collect();
    let pod = json!({ "namespace": "shop", "name": "cart-9", "workload": "shop/StatefulSet/cart", "cpu_request_cores": 4.0, "memory_request_bytes": 2e8 });
    let ask = json!({ "pods": [pod], "nodes": names });
    let (status, answer) = server.post("/v1/score", &ask).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["models"].as_object().map(serde_json::Map::len), Some(3), "{answer}");
    assert_eq!(answer["unknown_nodes"], json!([]));
    // The pods of the workload use half of their nodes' usage on average: by history, not by the 4 cores they request.
    let expected = &answer["pods"][0]["expected"];
    let mean = (0..NODES).map(|node| Cluster::cores(node, NOON - 300) / 2.0).sum::<f64>() / NODES as f64;
    assert_eq!(expected["source"], "workload");
    assert!((expected["cpu_cores"].as_f64().expect("cores") - mean).abs() < 0.05 * mean, "{expected}, {mean}");

    let scores: Vec<f64> = (0..NODES).map(|place| node(&answer, place)["score"].as_f64().expect("a score")).collect();
    let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(scores[BUSY], least, "{scores:?}");
    for place in 0..NODES {
        let node = node(&answer, place);
        let part = |name: &str| node["parts"][name].as_f64().unwrap_or_else(|| panic!("{name} of {node}"));
        let wanted = 0.3 * part("load") + 0.4 * part("placement") + 0.3 * part("anomaly");
        // In single precision.
        assert!((wanted - node["score"].as_f64().expect("a score")).abs() < 1e-6, "{node}");
        // The load part from the forecasts with what the pod is expected to use.
        let hours = |resource: Resource, amount: &str, size: f64| {
            let more = expected[amount].as_f64().expect("an amount") / size;
            ["1h", "2h", "4h"].map(|hours| {
                let line = &node["explanation"]["forecast"][resource.as_str()][hours];
                let with_pod = |quantile: &str| line[quantile].as_f64().expect("a forecast") + more;
                (resource, Quantiles { p50: with_pod("p50"), p90: with_pod("p90") })
            })
        };
        let all = [hours(Resource::Cpu, "cpu_cores", CORES), hours(Resource::Memory, "memory_bytes", BYTES)].concat();
        let peak = all.iter().map(|(_, hour)| hour.p90).fold(f64::MIN, f64::max);
        assert!((node["peak"].as_f64().expect("a peak") - peak).abs() < 1e-5, "{node}");
        let load = Strategy::Spread.load_part(all).expect("forecasts");
        assert!((part("load") - load).abs() < 1e-5, "{} {load}", part("load"));
        assert!(node["explanation"]["reasons"].as_array().is_some_and(|reasons| reasons.len() >= 3), "{node}");
        assert!(node["data_age_seconds"].as_f64().is_some_and(|age| age <= 60.0), "{node}");
    }

    // Without reasons the scores are the same, and those of the next pod of the kind are remembered.
    let mut plain = ask.clone();
    plain["explain"] = json!(false);
    for _ in 0..2 {
        let (_, answer) = server.post("/v1/score", &plain).await;
        let again: Vec<f64> =
            (0..NODES).map(|place| node(&answer, place)["score"].as_f64().expect("a score")).collect();
        assert_eq!(again, scores);
    }
    let counted = server.text("/metrics").await;
    assert!(counted.contains(&format!("candidates_total{{source=\"remembered\"}} {NODES}")), "{counted}");

    // Pods in flight make the best node worse; nodes that nobody knows are neither best nor worst.
    let best = (0..NODES).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).expect("a best one");
    let mut again = ask.clone();
    again["in_flight"] = json!({ names[best].clone(): { "cpu_cores": 6.0, "memory_bytes": 0.0 } });
    again["nodes"] = json!([&names[..], &["elsewhere".to_owned()][..]].concat());
    let (_, answer) = server.post("/v1/score", &again).await;
    assert!(node(&answer, best)["score"].as_f64() < Some(scores[best]), "{answer}");
    let mut plain = again.clone();
    plain["explain"] = json!(false);
    let (_, unexplained) = server.post("/v1/score", &plain).await;
    for place in 0..=NODES {
        assert_eq!(node(&unexplained, place)["score"], node(&answer, place)["score"], "what was in flight counts");
    }
    assert_eq!(answer["unknown_nodes"], json!(["elsewhere"]));
    let stranger = node(&answer, NODES);
    assert_eq!(stranger["missing"], json!(["node_unknown"]));
    let known: f64 =
        (0..NODES).map(|place| node(&answer, place)["score"].as_f64().expect("a score")).sum::<f64>() / NODES as f64;
    assert!((stranger["score"].as_f64().expect("a score") - known).abs() < 1e-6);

    // The same through the protocol.
    let combined = json!({ "inputs": [
        { "name": "node", "shape": [NODES], "datatype": "BYTES", "data": names },
        { "name": "cpu_request_cores", "shape": [1], "datatype": "FP64", "data": [4.0] },
        { "name": "memory_request_bytes", "shape": [1], "datatype": "FP64", "data": [2e8] },
        { "name": "workload", "shape": [1], "datatype": "BYTES", "data": ["shop/StatefulSet/cart"] },
    ] });
    let (status, answer) = server.post("/v2/models/combined/infer", &combined).await;
    assert_eq!(status, 200, "{answer}");
    let combined: Vec<f64> = serde_json::from_value(answer["outputs"][0]["data"].clone()).expect("numbers");
    // That one is in double precision.
    assert_eq!(combined.len(), NODES);
    assert!(combined.iter().zip(&scores).all(|(ours, theirs)| (ours - theirs).abs() < 1e-6), "{combined:?} {scores:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn features_of_the_server_are_those_of_the_windows_to_the_last_bit() {
    let root = Root::with_models().await;
    let cluster = Cluster::new(2, NOON);
    let Some(prometheus) = cluster.serve(root.path()) else { return };
    let arguments = [
        "--prometheus",
        &prometheus.url(),
        "--to",
        &rfc3339(NOON),
        "--warm",
        "90m",
        "--warm-step",
        "1m",
        "--every",
        "1m",
    ];
    let mut server = Server::start(root.path(), &arguments).await;
    server.ready().await;

    // The same samples, by way of Parquet: what `collector` writes from this server, through the windows of `features`.
    let from = rfc3339(NOON - 90 * 60);
    let offline = root.path().join("offline");
    let source = collector_source(&prometheus.url(), &from);
    let store = store::Store::new(&offline);
    collector::prometheus::backfill(&source, &store).await.expect("history");
    let rules = features::FeatureSettings::default().rules(60_000).expect("rules");
    let mut windows = OnlineFeatures::new(rules);
    let days = store.days(&cluster::NODE_METRICS).expect("days");
    for day in days {
        for (node, samples) in features::raw::samples(&store, day).expect("samples") {
            samples.iter().for_each(|sample| windows.push(&node, sample));
        }
    }
    let first_day = store::date_of((NOON - 90 * 60) * 1_000);
    let mut incidents = 0;
    for (node, of_node) in features::raw::incidents(&store, first_day).expect("incidents") {
        for incident in of_node {
            windows.push_incident(&NodeName::new(node.as_str()), incident);
            incidents += 1;
        }
    }
    assert_eq!(incidents, 3, "two that have ended and one that lasts");
    let rows = windows.rows(NOON * 1_000).expect("rows");
    assert_eq!((rows.nodes.len(), rows.ts % GRID_STEP_MS), (NODES, 0));
    for (place, name) in rows.nodes.iter().enumerate() {
        let served = server.get(&format!("/v1/nodes/{name}")).await;
        assert_eq!(served["features_at"], json!(rfc3339(NOON)));
        let mut known = 0;
        for (feature, value) in catalogue::all().iter().zip(rows.row(place)) {
            let got = served["features"][&feature.name].as_f64().map(|value| value as f32);
            assert_eq!(
                got.map(f32::to_bits),
                Some(*value).filter(|value| !value.is_nan()).map(f32::to_bits),
                "{name} {}",
                feature.name
            );
            known += usize::from(!value.is_nan());
        }
        assert!(known > 40, "{known} features are known");
    }
}

fn collector_source(url: &str, from: &str) -> collector::prometheus::Source {
    use clap::{Args, FromArgMatches};
    let command = runtime::http::HttpArgs::augment_args(collector::prometheus::PrometheusArgs::augment_args(
        clap::Command::new("test"),
    ));
    let to = rfc3339(NOON);
    let matches = command.get_matches_from(["test", "--prometheus", url, "--from", from, "--to", &to, "--step", "1m"]);
    let args = collector::prometheus::PrometheusArgs::from_arg_matches(&matches).expect("arguments");
    let http = runtime::http::HttpArgs::from_arg_matches(&matches).expect("arguments");
    collector::prometheus::Source::resolve(&runtime::ConfigFile::default(), &args, &http, &matches).expect("a source")
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_grew_old_is_missing_and_when_prometheus_is_back_all_is_well() {
    let root = Root::with_models().await;
    // Prometheus goes on to answer from its last samples for some minutes: ten are more than that.
    let ended = chrono::Utc::now().timestamp() / 60 * 60 - 600;
    let cluster = Cluster::new(1, ended);
    let Some(prometheus) = cluster.serve(root.path()) else { return };
    let port = prometheus.port();
    let arguments =
        ["--prometheus", &prometheus.url(), "--warm", "1h", "--every", "1s", "--stale-after", "15s", "--retries", "0"];
    let mut server = Server::start(root.path(), &arguments).await;
    server.ready().await;
    let ask = json!({ "pods": [{ "cpu_request_cores": 1.0 }] });
    server
        .wait("what is known is stale", async |server| {
            let (_, answer) = server.post("/v1/score", &ask).await;
            node(&answer, 0)["missing"] == json!(["data_stale"])
        })
        .await;
    let (_, answer) = server.post("/v1/score", &ask).await;
    let scores: Vec<&Value> = (0..NODES).map(|place| &node(&answer, place)["score"]).collect();
    assert_eq!(scores, [&json!(0.5); NODES], "all equal: {answer}");
    assert_eq!(server.get("/v1/nodes").await["nodes"][0]["stale"], true);

    drop(prometheus);
    server
        .wait("rounds fail", async |server| {
            server.text("/metrics").await.contains("refreshes_total{outcome=\"failed\"}")
        })
        .await;
    assert!(server.said().contains("no samples, trying again"), "{}", server.said());
    assert_eq!(server.post("/v1/score", &ask).await.0, 200);
    let _back = collector::testing::PrometheusServer::start_on(root.path(), port, &[]).expect("started again");
    server.wait("samples come again", async |server| server.said().contains("samples come again")).await;
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_prometheus_the_tables_answer_as_of_their_last_sample() {
    let root = Root::with_models().await;
    support::history(root.path(), 3);
    let mut server = Server::start(root.path(), &["--stale-after", "1ms"]).await;
    server.ready().await;
    let (status, answer) =
        server.post("/v1/score", &json!({ "pods": [{ "cpu_request_cores": 0.5 }], "explain": true })).await;
    assert_eq!(status, 200);
    assert_eq!(
        (answer["pods"][0]["nodes"].as_array().map(Vec::len), &answer["data_age_seconds"]),
        (Some(3), &json!(0.0))
    );
    for place in 0..3 {
        let node = node(&answer, place);
        // Samples are five minutes apart, so the newest is five minutes old and no older than it has to be.
        assert_eq!((&node["data_age_seconds"], &node["missing"]), (&json!(300.0), &json!([])), "{node}");
        assert!(
            node["parts"]["load"].is_f64() && node["parts"]["placement"].is_f64() && node["parts"]["anomaly"].is_f64()
        );
    }
    let nodes = server.get("/v1/nodes").await;
    assert!(nodes["workloads_known"].as_u64() > Some(0), "{nodes}");
    assert!(nodes["nodes"][0]["pods"].as_u64() > Some(0), "{nodes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenger_is_compared_and_never_answers() {
    let root = Root::with_models().await;
    support::history(root.path(), 4);
    let mut server = Server::start(root.path(), &["--reload-every", "100ms", "--every", "1s"]).await;
    server.ready().await;
    assert_eq!(server.get("/v1/shadow").await, json!({ "alias": "challenger", "models": {} }));
    let ask = json!({ "pods": [{ "cpu_request_cores": 0.5 }], "explain": true });
    let (_, before) = server.post("/v1/score", &ask).await;

    // Another predictor, and an agent that wants the opposite.
    let other = Artifact::of_load_predictor(&support::predictor(5), support::draft("1.1.0")).expect("sealed");
    let contrary = Artifact::of_placement_agent(&support::network(1.0), support::draft("1.1.0")).expect("sealed");
    for artifact in [other, contrary] {
        root.challenge(artifact).await;
    }
    server
        .wait("both are compared", async |server| {
            server.post("/v1/score", &ask).await;
            let found = server.get("/v1/shadow").await;
            ["load-predictor", "placement-agent"]
                .iter()
                .all(|name| found["models"][name]["comparisons"].as_u64() > Some(0))
        })
        .await;
    let found = server.get("/v1/shadow").await;
    let load = &found["models"]["load-predictor"];
    assert_eq!((&load["champion"], &load["challenger"]), (&json!("1"), &json!("2")));
    assert!(load["mean_difference"].as_f64().is_some_and(|difference| difference > 0.0 && difference < 0.2), "{found}");
    assert_eq!(found["models"]["placement-agent"]["agreement"], 0.0, "{found}");
    assert_eq!(found["models"].get("anomaly-detector"), None, "there is no challenger of it");
    // The answers are the champion's, as before.
    let (_, after) = server.post("/v1/score", &ask).await;
    assert_eq!((&after["pods"], &after["models"]), (&before["pods"], &before["models"]));
    assert!(
        server.text("/metrics").await.contains("berth_serving_shadow_agreement_ratio{model=\"placement-agent\"} 0.0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_the_windows_on_disk_and_reads_history_when_they_are_damaged() {
    let root = Root::with_models().await;
    let now = chrono::Utc::now().timestamp() / 60 * 60;
    let Some(prometheus) = Cluster::new(3, now).serve(root.path()) else { return };
    let arguments = ["--prometheus", &prometheus.url(), "--warm", "3h", "--every", "30s", "--stale-after", "1h"];
    let forecasts = async |said: &str| {
        let mut server = Server::start(root.path(), &arguments).await;
        server.ready().await;
        let nodes = server.get("/v1/nodes").await;
        assert_eq!(server.stop(), Some(0), "{}", server.said());
        assert!(server.said().contains(said), "`{said}` is not in\n{}", server.said());
        assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(NODES), "{nodes}");
        assert!(nodes["nodes"][0]["forecasts"][0]["p50"].is_f64(), "{nodes}");
        (0..NODES)
            .map(|node| nodes["nodes"][node]["forecasts"][0]["p50"].as_f64().expect("a forecast"))
            .collect::<Vec<_>>()
    };
    let cold = forecasts("reading history").await;
    let warm = forecasts("goes on from the windows on disk").await;
    // Some seconds lie between them: the newest slot may have got another sample.
    for (cold, warm) in cold.iter().zip(&warm) {
        assert!((cold - warm).abs() < 0.02, "{cold} {warm}");
    }
    let snapshot = root.path().join("serving/windows.snapshot");
    let mut bytes = std::fs::read(&snapshot).expect("a snapshot");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&snapshot, bytes).expect("written");
    forecasts("history is read instead").await;
}
