use crate::conformance;
use crate::servers::{PostgresServer, skipped};
use tracking::*;

#[tokio::test]
async fn postgres_conforms() {
    if skipped("PostgreSQL") {
        return;
    }
    let server = PostgresServer::start();
    let folder = tempfile::tempdir().expect("folder");
    let settings = TrackingArgs { uri: Some(server.address()), ..TrackingArgs::default() };
    let tracker = open(&settings, folder.path()).await.expect("open");
    assert!(tracker.describe().starts_with("PostgreSQL postgres://berth@127.0.0.1:"), "{}", tracker.describe());
    conformance::holds_for(&*tracker).await;

    // A second process finds the tables in place, and numbers stay without gaps or doubles under concurrency.
    let second = open(&settings, folder.path()).await.expect("open again");
    let (first, second) = tokio::join!(many_versions(&*tracker), many_versions(&*second));
    let mut numbers: Vec<u64> = first.into_iter().chain(second).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());

    drop(server);
    let error = tracker.experiments().await.expect_err("the server is gone").to_string();
    assert!(error.contains("postgres://berth@127.0.0.1") && error.contains("list experiments"), "{error}");
}

async fn many_versions(tracker: &dyn Tracker) -> Vec<u64> {
    let experiment = tracker.experiment("shared").await.expect("experiment");
    tracker.register_model("shared", "").await.expect("model");
    let mut numbers = Vec::new();
    for _ in 0..10 {
        let run = tracker.create_run(NewRun::new(&experiment.id, "a")).await.expect("run");
        tracker.log_artifact(&run.id, "model/a", vec![1]).await.expect("artifact");
        let (model, artifact_path) = ("shared".to_owned(), "model".to_owned());
        let version =
            NewVersion { model, run_id: run.id, artifact_path, description: String::new(), tags: Labels::new() };
        numbers.push(tracker.create_version(version).await.expect("version").version.parse().expect("a number"));
    }
    numbers
}
