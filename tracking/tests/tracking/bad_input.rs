//! Damaged files, a locked database, writes that fail.

use std::path::Path;
use std::time::Duration;
use tracking::*;

async fn open_at(folder: &Path) -> Result<Box<dyn Tracker>, TrackingError> {
    open(&TrackingArgs::default(), folder).await
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_damaged_database_is_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("tracking/berth.db");
    std::fs::create_dir_all(folder.path().join("tracking")).expect("folder");
    let damaged = b"this was a database once".repeat(500);
    std::fs::write(&file, &damaged).expect("file");
    let error = open_at(folder.path()).await.err().expect("no database");
    let text = chain(&error);
    assert!(text.contains("berth.db") && text.contains("damaged") && text.contains("backup"), "{text}");
    assert_eq!(std::fs::read(&file).expect("file"), damaged);
}

#[tokio::test]
async fn a_database_damaged_in_the_middle_is_named_when_it_is_read() {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open_at(folder.path()).await.expect("open");
    let experiment = tracker.experiment("load").await.expect("experiment");
    for number in 0..200 {
        let run = NewRun::new(&experiment.id, format!("run {number}")).tag("note", "x".repeat(200));
        tracker.create_run(run).await.expect("run");
    }
    drop(tracker);
    // The pool closes its connections behind our back; with the last one SQLite takes its log into the file and removes it.
    let log = folder.path().join("tracking/berth.db-wal");
    for _ in 0..3_000 {
        if !log.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!log.exists(), "the log is still there");
    // Everything after the first page, which holds the schema.
    let file = folder.path().join("tracking/berth.db");
    let mut bytes = std::fs::read(&file).expect("file");
    bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0xA5);
    std::fs::write(&file, bytes).expect("file");
    let error = match open_at(folder.path()).await {
        Ok(tracker) => tracker.search_runs(&RunQuery::default()).await.err(),
        Err(error) => Some(error),
    };
    let text = chain(&error.expect("damage is found"));
    assert!(text.contains("berth.db") && text.contains("malformed"), "{text}");
}

#[tokio::test]
async fn a_database_locked_for_long_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open_at(folder.path()).await.expect("open");
    let experiment = tracker.experiment("load").await.expect("experiment");
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}/tracking/berth.db", folder.path().display());
    let other = sqlx::AnyPool::connect(&url).await.expect("another program");
    let mut hold = other.acquire().await.expect("connection");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *hold).await.expect("lock");
    // A read goes on beside a writer.
    tracker.experiments().await.expect("read");
    let error = tracker.create_run(NewRun::new(&experiment.id, "a")).await.expect_err("locked");
    let text = chain(&error);
    assert!(text.contains("berth.db") && text.contains("another process") | text.contains("Another process"), "{text}");
    sqlx::query("ROLLBACK").execute(&mut *hold).await.expect("unlock");
    tracker.create_run(NewRun::new(&experiment.id, "a")).await.expect("free again");
}

#[tokio::test]
async fn a_short_lock_is_waited_for() {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open_at(folder.path()).await.expect("open");
    let experiment = tracker.experiment("load").await.expect("experiment");
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}/tracking/berth.db", folder.path().display());
    let other = sqlx::AnyPool::connect(&url).await.expect("another program");
    let mut hold = other.acquire().await.expect("connection");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *hold).await.expect("lock");
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sqlx::query("ROLLBACK").execute(&mut *hold).await.expect("unlock");
    };
    let (run, ()) = tokio::join!(tracker.create_run(NewRun::new(&experiment.id, "a")), release);
    run.expect("written after the lock");
}

#[tokio::test]
async fn an_artifact_that_cannot_be_written_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().expect("folder");
    let tracker = open_at(folder.path()).await.expect("open");
    let experiment = tracker.experiment("load").await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "a")).await.expect("run");
    let artifacts = folder.path().join("tracking/artifacts").join(&run.id);
    std::fs::create_dir_all(&artifacts).expect("folder");
    let error = tracker.log_artifact_file(&run.id, "model.ubj", Path::new("/no/such/file")).await.expect_err("no file");
    assert!(chain(&error).contains("/no/such/file"), "{}", chain(&error));
    std::fs::write(artifacts.join("blocked"), "a file where a folder is needed").expect("file");
    let error = tracker.log_artifact(&run.id, "blocked/model.ubj", vec![1]).await.expect_err("not a folder");
    assert!(chain(&error).contains("blocked"), "{}", chain(&error));
    assert!(tracker.fetch_artifact(&run.id, "blocked/model.ubj").await.expect_err("nothing").is_not_found());
    assert_eq!(tracker.artifacts(&run.id, "").await.expect("list").len(), 1, "nothing half written is left");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    drop(open_at(folder.path()).await.expect("open"));
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}/tracking/berth.db", folder.path().display());
    let other = sqlx::AnyPool::connect(&url).await.expect("another program");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'later', 1, x'00', 0)";
    sqlx::query(newer).execute(&other).await.expect("a later migration");
    let error = open_at(folder.path()).await.err().expect("newer tables");
    assert!(chain(&error).contains("99") && chain(&error).contains("berth.db"), "{}", chain(&error));
}
