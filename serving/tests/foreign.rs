//! Clients and judges that others wrote: KServe's and Triton's Python clients over REST and gRPC, and schemathesis on our own
//! description of the interface.

mod support;

use models::FeatureMatrix;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Root, Server, predictor};

/// A program of the environment that `make test-setup` makes; `None`, said loudly, where tests may go without it.
fn tool(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("BERTH_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/berth"));
    let program = cache.join("venv-serving/bin").join(name);
    if program.exists() {
        return Some(program);
    }
    assert!(
        std::env::var("BERTH_SKIP_SERVERS").is_ok_and(|value| value == "1"),
        "`{}` is absent: run `make test-setup`, or set BERTH_SKIP_SERVERS=1 to go without such tests",
        program.display()
    );
    eprintln!("SKIPPED: {name} is not installed and BERTH_SKIP_SERVERS=1 is set; this test proves nothing");
    None
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn kserves_and_tritons_clients_get_the_predictors_own_forecasts() {
    let Some(python) = tool("python") else { return };
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &["--models", "load-predictor,anomaly-detector"]).await;
    server.ready().await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let output =
        tokio::task::spawn_blocking(move || Command::new(python).arg(beside("foreign.py")).arg(address).output());
    let output = output.await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", server.said());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));

    let own = predictor(1);
    let rows = vec![0.4, 0.45, 0.6, 0.55, 0.1, 0.15, 0.2, 0.25];
    let x = FeatureMatrix::new(own.features().clone(), 2, rows).expect("rows");
    let wanted = own.heads()[0].predict(&x).expect("forecasts").p50;
    for line in
        [&told["triton"]["line"], &told["triton_json"]["line"], &told["kserve"]["rest"], &told["kserve"]["grpc"]]
    {
        let got: Vec<f32> =
            line.as_array().expect("a line").iter().map(|value| value.as_f64().expect("a number") as f32).collect();
        assert_eq!(got, wanted, "{told:#}");
    }
    assert_eq!(told["triton"]["width"], 4);
    assert!(told["triton"]["refusal"].as_str().is_some_and(|said| said.contains("1 columns")), "{told:#}");
    assert_eq!(told["kserve"]["refusal"], "NOT_FOUND");
    assert_eq!(told["kinds"].as_array().map(Vec::len), Some(2));
}

/// Runs schemathesis, which has to ask so many operations and find nothing.
async fn schemathesis(server: &Server, root: &Root, config: &str, arguments: &[&str], operations: usize) {
    let Some(program) = tool("schemathesis") else { return };
    let mut command = Command::new(program);
    command.arg("--config-file").arg(beside(config)).arg("run").args(arguments);
    command.args(["--max-examples", "25", "--seed", "7", "--no-color"]).current_dir(root.path());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}\n{}", String::from_utf8_lossy(&output.stderr), server.said());
    // It really asked.
    assert!(said.contains(&format!("{operations} selected / {operations} total")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_in_our_own_description() {
    let root = Root::with_models().await;
    support::history(root.path(), 3);
    let mut server = Server::start(root.path(), &[]).await;
    server.ready().await;
    let url = format!("{}/openapi.json", server.url);
    schemathesis(&server, &root, "schemathesis.toml", &[&url, "--phases", "coverage,fuzzing"], 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_in_the_protocols_description() {
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &["--models", "load-predictor"]).await;
    server.ready().await;
    let description = beside("open_inference_protocol.yaml");
    let arguments =
        [description.to_str().expect("text"), "--url", &server.url, "--phases", "examples,coverage,fuzzing"];
    schemathesis(&server, &root, "open_inference_protocol.toml", &arguments, 9).await;
    // The examples are no empty exercise: they are forecasts.
    let metrics = server.text("/metrics").await;
    let line = "berth_serving_requests_total{model=\"load-predictor\",outcome=\"ok\"} ";
    let answered = metrics.lines().find_map(|found| found.strip_prefix(line)).map(str::parse::<u64>);
    assert!(answered.is_some_and(|count| count.is_ok_and(|count| count > 0)), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kserves_logger_sends_is_kept_in_pairs() {
    let Some(python) = tool("python") else { return };
    let root = Root::with_models().await;
    let mut server = Server::start(root.path(), &["--models", "load-predictor"]).await;
    server.ready().await;
    let mut command = Command::new(python);
    command.arg(beside("logger.py")).arg(&server.url);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), server.said());
    let metrics = server.text("/metrics").await;
    for line in ["{outcome=\"paired\"} 4", "{outcome=\"refused\"} 1"] {
        assert!(metrics.contains(&format!("berth_serving_inference_events_total{line}")), "{metrics}");
    }
    assert_eq!(server.stop(), Some(0), "{}", server.said());
    let store = store::Store::new(root.path());
    let days = store.days(&cluster::PREDICTIONS).expect("days");
    let frames = days.iter().map(|day| store.read_day(&cluster::PREDICTIONS, *day, &[]).expect("a day"));
    let text = |frame: &polars::prelude::DataFrame, name: &str, row: usize| -> String {
        frame.column(name).expect("a column").str().expect("text").get(row).expect("a value").to_owned()
    };
    let mut kept = Vec::new();
    for frame in frames {
        for row in 0..frame.height() {
            kept.push(["id", "model", "version", "inputs", "outputs"].map(|name| text(&frame, name, row)));
        }
    }
    kept.sort();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!([&kept[0][0], &kept[0][1], &kept[0][2]], ["binary", "iris", "3"]);
    // What was sent is kept as it was written, spaces and all.
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(json(&kept[0][3]), serde_json::json!({ "x": { "shape": [1, 2], "data": [1.5, 2.5] } }));
    assert_eq!(json(&kept[0][4]), serde_json::json!({ "y": { "shape": [1], "data": [7] } }));
    assert_eq!((kept[1][0].as_str(), kept[1][1].as_str()), ("structured", "iris"));
}
