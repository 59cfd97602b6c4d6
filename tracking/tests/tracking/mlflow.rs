//! Against a real MLflow server. It takes half a minute to start, so one test uses it for everything.

use crate::promotion::{self, CutOff, Registry};
use crate::servers::{MlflowServer, skipped};
use crate::{conformance, spool};
use std::path::{Path, PathBuf};
use tracking::*;

pub async fn open_at(server: &MlflowServer, folder: &Path) -> Box<dyn Tracker> {
    let settings = TrackingArgs { uri: Some(server.address()), ..TrackingArgs::default() };
    open(&settings, folder).await.expect("open")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_mlflow_server() {
    if skipped("MLflow") {
        return;
    }
    let server = MlflowServer::start().await;
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open_at(&server, folder.path()).await;
    conformance::holds_for(&*tracker).await;
    assert_eq!(tracker.flush().await.expect("flush"), Waiting::default(), "nothing had to wait");
    python_reads_what_was_written(&server, &*tracker).await;
    promotions_are_killed(&server).await;
}

/// Between any two requests that write: an alias takes two of them, since its history is kept first.
async fn promotions_are_killed(server: &MlflowServer) {
    let folder = tempfile::tempdir().expect("folder");
    let (cut, port) = CutOff::before(server).await;
    let settings = TrackingArgs { uri: Some(format!("http://127.0.0.1:{port}")), ..TrackingArgs::default() };
    let tracker = open(&settings, folder.path()).await.expect("open");
    promotion::survives_kills(&Registry::Requests(&*tracker, &cut), "requests").await;
    promotion::survives_kills(&Registry::Calls(&*tracker), "calls").await;
    promotion::refuses_what_may_not_be(&*tracker, "mlflow").await;
    assert_eq!(tracker.waiting().await.expect("waiting"), Waiting::default(), "nothing had to wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_mlflow_server_that_comes_and_goes() {
    if skipped("MLflow") {
        return;
    }
    let mut server = MlflowServer::start().await;
    spool::survives_a_killed_server(&mut server).await;
    spool::survives_lost_answers(&server).await;
    artifacts_elsewhere_are_refused_at_once(&mut server).await;
}

/// Before anything is trained: an experiment says so when it is opened.
async fn artifacts_elsewhere_are_refused_at_once(server: &mut MlflowServer) {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open_at(server, folder.path()).await;
    let client = runtime::http::HttpArgs::default().client(std::time::Duration::from_secs(60)).expect("client");
    let body = serde_json::json!({ "name": "in a bucket", "artifact_location": "s3://bucket/of/a/team" });
    let create = format!("{}/api/2.0/mlflow/experiments/create", server.address());
    client.post(create).json(&body).send().await.expect("an answer").error_for_status().expect("made");
    let said = tracker.experiment("in a bucket").await.expect_err("elsewhere").to_string();
    assert!(said.contains("s3://bucket/of/a/team") && said.contains("--artifacts-destination"), "{said}");
    tracker.experiment("here").await.expect("behind the proxy");

    server.kill();
    server.serve_no_artifacts();
    server.start_again().await;
    // A connection of before would look like a server that is away.
    let tracker = open_at(server, folder.path()).await;
    let error = tracker.experiment("new").await.expect_err("no proxy");
    assert!(!error.is_away() && error.to_string().contains("--serve-artifacts"), "{error}");
    let names: Vec<String> = tracker.experiments().await.expect("listed").into_iter().map(|it| it.name).collect();
    assert!(!names.contains(&"new".to_owned()), "none is made whose location would stay unusable: {names:?}");
    // One that was made before is refused when it is written to, instead of waiting for ever.
    let here = tracker.experiment("here").await.expect("it was made behind the proxy");
    let run = tracker.create_run(NewRun::new(here.id, "a run")).await.expect("a run");
    let error = tracker.log_artifact(&run.id, "model/a", vec![1]).await.expect_err("no proxy");
    assert!(error.to_string().contains("--serve-artifacts"), "{error}");
    assert_eq!(tracker.waiting().await.expect("waiting").writes, 0);
}

async fn python_reads_what_was_written(server: &MlflowServer, tracker: &dyn Tracker) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tracking/read_with_python.py");
    let model = tempfile::tempdir().expect("folder");
    let predictions = server.run_python(&script, &["train", &model.path().display().to_string()]);
    let flavors = "flavors:\n  python_function: {loader_module: mlflow.xgboost, data: model.ubj}\n  \
                   xgboost: {data: model.ubj, model_class: xgboost.core.Booster, model_format: ubj}\n";
    std::fs::write(model.path().join("MLmodel"), flavors).expect("MLmodel");

    let experiment = tracker.experiment("read by python").await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "daily").tag("dataset", "nodes-1")).await.expect("run");
    tracker.create_run(NewRun::new(&experiment.id, "fold 1").nested_in(&run.id)).await.expect("child");
    let metrics =
        vec![Metric::now("mae", 0.5).at_step(1), Metric::now("mae", 0.25).at_step(2), Metric::now("bad", f64::NAN)];
    let params = [("depth".to_owned(), "6".to_owned()), ("note".to_owned(), "ü / \"x\"".to_owned())].into();
    tracker.log_batch(&run.id, &Batch { metrics, params, tags: Labels::new() }).await.expect("logged");
    tracker.log_artifacts(&run.id, "model", model.path()).await.expect("model");
    tracker.set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now())).await.expect("ended");
    tracker.register_model("python-reads", "").await.expect("model");
    let version = NewVersion {
        model: "python-reads".into(),
        run_id: run.id.clone(),
        artifact_path: "model".into(),
        description: "for python".into(),
        tags: [("semantic_version".to_owned(), "1.0.0".to_owned())].into(),
    };
    let version = tracker.create_version(version).await.expect("version");
    let decision = Decision::new("test", "python shall read it");
    tracker.set_alias("python-reads", "champion", &version.version, &decision).await.expect("alias");

    let seen = server.run_python(&script, &["read", &run.id, "python-reads", "champion"]);
    let last = seen.lines().last().expect("a line");
    let seen: serde_json::Value = serde_json::from_str(last).expect("JSON");
    let expected = serde_json::json!({
        "name": "daily",
        "status": "FINISHED",
        "params": {"depth": "6", "note": "ü / \"x\""},
        "metrics": {"mae": "0.25", "bad": "nan"},
        "tag": "nodes-1",
        "history": [[1, 0.5], [2, 0.25]],
        "children": ["fold 1"],
        "artifacts": [["model/MLmodel", false], ["model/model.ubj", false]],
        "version": "1",
        "version_tags": {"semantic_version": "1.0.0"},
        "predictions": serde_json::from_str::<serde_json::Value>(&predictions).expect("JSON"),
    });
    assert_eq!(seen, expected);
}
