use crate::conformance;
use crate::promotion::{self, Registry};
use std::sync::Arc;
use tracking::*;

#[tokio::test]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open(&TrackingArgs::default(), folder.path()).await.expect("open");
    assert_eq!(tracker.describe(), format!("SQLite {}/tracking/berth.db", folder.path().display()));
    conformance::holds_for(&*tracker).await;
    assert_eq!(tracker.flush().await.expect("flush"), Waiting::default());
    assert!(folder.path().join("tracking/berth.db").exists());
}

#[tokio::test]
async fn a_promotion_that_is_killed_loses_no_way_back() {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open(&TrackingArgs::default(), folder.path()).await.expect("open");
    promotion::survives_kills(&Registry::Calls(&*tracker), "sqlite").await;
    promotion::refuses_what_may_not_be(&*tracker, "sqlite").await;
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("folder");
    let open = || async { open(&TrackingArgs::default(), folder.path()).await.expect("open") };
    let first = open().await;
    let experiment = first.experiment("load").await.expect("experiment");
    let run = first.create_run(NewRun::new(experiment.id, "a")).await.expect("run");
    drop(first);
    let second = open().await;
    assert_eq!(second.run(&run.id).await.expect("run").info.name, "a");
}

/// Several processes share the file: separate stores on it here.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let open_one =
        || async { Arc::<dyn Tracker>::from(open(&TrackingArgs::default(), folder.path()).await.expect("open")) };
    let stores = [open_one(), open_one(), open_one()];
    let mut writers = Vec::new();
    for store in futures::future::join_all(stores).await {
        for writer in 0..4 {
            let store = store.clone();
            writers.push(tokio::spawn(async move {
                let experiment = store.experiment("shared").await?;
                for number in 0..5 {
                    let run = store.create_run(NewRun::new(&experiment.id, format!("{writer}/{number}"))).await?;
                    store
                        .log_batch(&run.id, &Batch { metrics: vec![Metric::now("mae", 0.5)], ..Batch::default() })
                        .await?;
                    store.log_artifact(&run.id, "model/a", vec![1]).await?;
                    store.register_model("model", "").await?;
                    let (model, artifact_path) = ("model".to_owned(), "model".to_owned());
                    let version = NewVersion {
                        model,
                        run_id: run.id,
                        artifact_path,
                        description: String::new(),
                        tags: Labels::new(),
                    };
                    let version = store.create_version(version).await?;
                    store.set_alias("model", "champion", &version.version, &Decision::new("test", "newest")).await?;
                }
                Ok::<_, TrackingError>(())
            }));
        }
    }
    for writer in writers {
        writer.await.expect("no panic").expect("written");
    }
    let store = open_one().await;
    assert_eq!(store.experiments().await.expect("experiments").len(), 1);
    assert_eq!(store.search_runs(&RunQuery::default()).await.expect("runs").len(), 60);
    let versions = store.versions("model").await.expect("versions");
    assert_eq!(versions.first().map(|version| version.version.as_str()), Some("60"));
    let history = store.alias_history("model").await.expect("history");
    assert!(history.windows(2).all(|pair| pair[0].to == pair[1].from), "the history is one unbroken chain");
}
