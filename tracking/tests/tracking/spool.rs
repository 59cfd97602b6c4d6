//! A server that is away, that dies in the middle, and whose answers get lost.

use crate::mlflow::open_at;
use crate::servers::{MlflowServer, free_port};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracking::*;

/// Logs a whole training: a run with a nested one, artifacts, a version, an alias. Returns run, child and version.
async fn train(tracker: &dyn Tracker, experiment: &str, model: &str) -> [String; 3] {
    let experiment = tracker.experiment(experiment).await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "daily").tag("kind", "spooled")).await.expect("run");
    let child = tracker.create_run(NewRun::new(&experiment.id, "fold").nested_in(&run.id)).await.expect("child");
    for step in 0..5 {
        let metrics =
            vec![Metric::now("mae", 1.0 / (step + 1) as f64).at_step(step), Metric::now("nan", f64::NAN).at_step(step)];
        let params = [("depth".to_owned(), "6".to_owned())].into();
        tracker.log_batch(&run.id, &Batch { metrics, params, tags: Labels::new() }).await.expect("logged");
    }
    tracker.log_artifact(&run.id, "model/a.ubj", vec![1; 100_000]).await.expect("artifact");
    tracker.log_artifact(&run.id, "model/a.ubj", vec![2; 100_000]).await.expect("replaced");
    tracker.set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now())).await.expect("ended");
    tracker.register_model(model, "load").await.expect("model");
    let (model_of, artifact_path) = (model.to_owned(), "model".to_owned());
    let version = NewVersion {
        model: model_of,
        run_id: run.id.clone(),
        artifact_path,
        description: String::new(),
        tags: Labels::new(),
    };
    let version = tracker.create_version(version).await.expect("version");
    tracker.set_version_tag(model, &version.version, "validation", "passed").await.expect("tag");
    tracker.set_alias(model, "champion", &version.version, &Decision::new("trainer", "first")).await.expect("alias");
    [run.id, child.id, version.version]
}

/// Everything that [`train`] logged is there, once.
async fn arrived(tracker: &dyn Tracker, experiment: &str, model: &str) {
    let experiment = tracker.experiment(experiment).await.expect("experiment");
    let runs = tracker.search_runs(&RunQuery::of(&experiment.id)).await.expect("runs");
    assert_eq!(runs.len(), 2, "{runs:?}");
    let run = runs.iter().find(|run| run.info.name == "daily").expect("daily");
    let child = runs.iter().find(|run| run.info.name == "fold").expect("fold");
    assert_eq!(child.info.parent_id.as_ref(), Some(&run.info.id));
    assert_eq!(
        (run.info.status, run.params["depth"].as_str(), run.tags["kind"].as_str()),
        (RunStatus::Finished, "6", "spooled")
    );
    assert_eq!(tracker.metric_history(&run.info.id, "mae").await.expect("history").len(), 5);
    assert_eq!(tracker.metric_history(&run.info.id, "nan").await.expect("history").len(), 5);
    assert_eq!(tracker.fetch_artifact(&run.info.id, "model/a.ubj").await.expect("artifact"), vec![2; 100_000]);
    let versions = tracker.versions(model).await.expect("versions");
    assert_eq!(versions.len(), 1);
    assert_eq!((versions[0].tags["validation"].as_str(), &versions[0].run_id), ("passed", &run.info.id));
    assert_eq!(tracker.version_by_alias(model, "champion").await.expect("champion").version, versions[0].version);
    let history = tracker.alias_history(model).await.expect("history");
    assert_eq!(history.iter().map(|change| change.decision.why.as_str()).collect::<Vec<_>>(), ["first"]);
}

/// No server at all: writes do not wait, what was made can be read, the rest fails clearly, and another process goes on.
#[tokio::test]
async fn without_a_server_writes_are_kept_and_reads_fail_clearly() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = TrackingArgs { uri: Some(format!("http://127.0.0.1:{}", free_port())), ..TrackingArgs::default() };
    let tracker = open(&settings, folder.path()).await.expect("open");
    let start = Instant::now();
    let [run, child, version] = train(&*tracker, "away", "load").await;
    assert!(start.elapsed() < Duration::from_secs(5), "writes took {:?}", start.elapsed());

    let waiting = tracker.flush().await.expect("flush");
    assert_eq!((waiting.writes, waiting.refused), (14, 0));
    assert!(
        waiting.since.is_some() && waiting.last_error.as_ref().is_some_and(|error| error.contains("away")),
        "{waiting:?}"
    );

    let read = tracker.run(&run).await.expect("the run is here");
    assert_eq!((read.info.status, read.metrics["mae"].step), (RunStatus::Finished, 4));
    assert_eq!(tracker.run(&child).await.expect("child").info.parent_id, Some(run.clone()));
    assert_eq!(tracker.fetch_artifact(&run, "model/a.ubj").await.expect("artifact"), vec![2; 100_000]);
    let champion = tracker.version_by_alias("load", "champion").await.expect("the alias moved here");
    assert_eq!((&champion.version, champion.tags["validation"].as_str()), (&version, "passed"));
    assert!(version.starts_with("pending-"), "{version}");
    let experiment = tracker.experiment("away").await.expect("experiment");
    assert_eq!(tracker.search_runs(&RunQuery::of(&experiment.id)).await.expect("local runs").len(), 2);

    for error in [
        tracker.versions("load").await.err(),
        tracker.version_by_alias("load", "challenger").await.err(),
        tracker.run("0123456789abcdef0123456789abcdef").await.err(),
        tracker.experiments().await.err(),
    ] {
        let error = error.expect("it needs the server");
        assert!(error.is_away() && error.to_string().contains("127.0.0.1"), "{error}");
    }
    assert!(tracker.log_batch("local-unknown", &Batch::default()).await.expect_err("no such run").is_not_found());

    drop(tracker);
    let second = open(&settings, folder.path()).await.expect("another process");
    assert_eq!(second.waiting().await.expect("waiting").writes, 14);
    second.log_artifact(&run, "late.txt", b"late".to_vec()).await.expect("it goes on with the local id");
    assert_eq!(second.waiting().await.expect("waiting").writes, 15);
}

#[tokio::test]
async fn a_damaged_write_is_put_aside() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = TrackingArgs { uri: Some(format!("http://127.0.0.1:{}", free_port())), ..TrackingArgs::default() };
    let outbox = folder.path().join("tracking/spool/outbox");
    std::fs::create_dir_all(&outbox).expect("folder");
    std::fs::write(outbox.join("0000000000000001.json"), "{\"queued_at\": ").expect("half a file");
    let tracker = open(&settings, folder.path()).await.expect("open");
    let waiting = tracker.flush().await.expect("flush");
    assert_eq!((waiting.writes, waiting.refused), (0, 1));
    assert!(folder.path().join("tracking/spool/refused/0000000000000001.reason.txt").exists());
}

/// The server is killed in the middle of a training and comes back later; meanwhile somebody else decides.
pub async fn survives_a_killed_server(server: &mut MlflowServer) {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open_at(server, folder.path()).await;
    let experiment = tracker.experiment("killed").await.expect("experiment");
    let before = tracker.create_run(NewRun::new(&experiment.id, "before")).await.expect("run");
    tracker
        .log_batch(&before.id, &Batch { metrics: vec![Metric::now("mae", 1.0)], ..Batch::default() })
        .await
        .expect("logged");
    server.kill();

    let late = Batch { metrics: vec![Metric::now("mae", 0.5).at_step(1)], ..Batch::default() };
    tracker.log_batch(&before.id, &late).await.expect("kept");
    tracker.set_status(&before.id, RunStatus::Finished, Some(chrono::Utc::now())).await.expect("kept");
    assert!(tracker.run(&before.id).await.expect_err("the server's run").is_away());
    let [run, _, version] = train(&*tracker, "all while away", "while away").await;
    // A write that the server will refuse must not hold up the rest.
    tracker.set_version_tag("no such model", "1", "a", "b").await.expect("kept");
    drop(tracker);

    server.start_again().await;
    let tracker = open_at(server, folder.path()).await;
    let waiting = tracker.flush().await.expect("flush");
    assert_eq!((waiting.writes, waiting.refused, waiting.last_error), (0, 1, None));
    arrived(&*tracker, "all while away", "while away").await;
    assert_eq!(tracker.metric_history(&before.id, "mae").await.expect("history").len(), 2);
    assert_eq!(tracker.run(&before.id).await.expect("run").info.status, RunStatus::Finished);
    // The local ids stay valid.
    assert_eq!(tracker.run(&run).await.expect("run").info.name, "daily");
    assert_eq!(tracker.version("while away", &version).await.expect("version").version, "1");
    tracker
        .set_alias("while away", "challenger", &version, &Decision::new("test", "by its local id"))
        .await
        .expect("alias");
    assert_eq!(tracker.registered_model("while away").await.expect("model").aliases["challenger"], "1");
    tracker.log_artifact(&run, "late.txt", b"late".to_vec()).await.expect("artifact");
    assert_eq!(tracker.fetch_artifact(&run, "late.txt").await.expect("artifact"), b"late");
    let left = std::fs::read_dir(folder.path().join("tracking/spool/files")).expect("files").count();
    assert_eq!(left, 0, "bytes that were sent are gone");
}

/// Every request reaches the server, but some answers never come back: nothing may be doubled.
pub async fn survives_lost_answers(server: &MlflowServer) {
    let folder = tempfile::tempdir().expect("folder");
    let port = lossy_proxy(server.port()).await;
    let settings = TrackingArgs { uri: Some(format!("http://127.0.0.1:{port}")), ..TrackingArgs::default() };
    let tracker = open(&settings, folder.path()).await.expect("open");
    train(&*tracker, "lost answers", "lost").await;
    let start = Instant::now();
    while tracker.flush().await.expect("flush").writes > 0 {
        assert!(start.elapsed() < Duration::from_secs(600), "everything arrives at last");
    }
    assert_eq!(tracker.waiting().await.expect("waiting").refused, 0);
    let direct_folder = tempfile::tempdir().expect("folder");
    arrived(&*open_at(server, direct_folder.path()).await, "lost answers", "lost").await;
}

/// Passes requests on; of about every fourth one it swallows the answer and hangs up. A fixed rhythm would hit the same
/// request of a write again and again, so the choice is scattered (by Knuth's multiplicative hash).
async fn lossy_proxy(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("address").port();
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let forward = tokio::io::copy(&mut from_client, &mut to_server);
                let backward = async {
                    let mut buffer = vec![0; 1 << 16];
                    loop {
                        let length = from_server.read(&mut buffer).await.unwrap_or(0);
                        let swallow = count.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B1) >> 16 & 3 == 0;
                        if length == 0 || swallow || to_client.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! { _ = forward => {}, () = backward => {} }
            });
        }
    });
    port
}
