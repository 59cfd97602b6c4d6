//! What every backend must do, in the same words.

use chrono::{DateTime, Utc};
use serde_json::json;
use tracking::*;

/// Runs the whole suite. Names carry a fresh mark, so that it can run against a store that holds other things.
pub async fn holds_for(tracker: &dyn Tracker) {
    let mark = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    experiments_are_found_or_made(tracker, &mark).await;
    a_run_keeps_what_it_logs(tracker, &mark).await;
    twice_is_once(tracker, &mark).await;
    large_batches_arrive_whole(tracker, &mark).await;
    runs_are_searched(tracker, &mark).await;
    artifacts_are_kept(tracker, &mark).await;
    versions_and_aliases(tracker, &mark).await;
    unknown_things_are_not_found(tracker, &mark).await;
    bad_values_are_refused(tracker, &mark).await;
    tables_show_it_all(tracker, &mark).await;
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_760_000_000_000 + second * 1000).expect("a time")
}

fn metric(key: &str, value: f64, step: i64) -> Metric {
    Metric { key: key.into(), value, at: at(step), step }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn experiments_are_found_or_made(tracker: &dyn Tracker, mark: &str) {
    // A name as people give it.
    let name = format!("load / cpu & \"memory\" ü {mark}");
    let made = tracker.experiment(&name).await.expect("made");
    let found = tracker.experiment(&name).await.expect("found");
    assert_eq!((&made.id, &made.name), (&found.id, &name));
    let all = tracker.experiments().await.expect("all");
    assert!(all.iter().any(|known| known.id == made.id && known.name == name));
}

async fn a_run_keeps_what_it_logs(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("runs {mark}")).await.expect("experiment");
    let new = NewRun { started_at: at(0), ..NewRun::new(&experiment.id, "daily retrain").tag("dataset", "nodes-1") };
    let parent = tracker.create_run(new).await.expect("parent");
    assert_eq!((parent.status, parent.started_at, parent.ended_at), (RunStatus::Running, at(0), None));
    let child = tracker.create_run(NewRun::new(&experiment.id, "fold 1").nested_in(&parent.id)).await.expect("child");
    assert_eq!(tracker.run(&child.id).await.expect("child").info.parent_id, Some(parent.id.clone()));

    let batch = Batch {
        metrics: vec![
            metric("mae", 0.05, 1),
            metric("mae", 0.03, 3),
            metric("mae", 0.04, 2),
            metric("cpu 1h/loss", f64::NAN, 0),
            metric("bound", f64::INFINITY, 0),
            metric("bound", f64::NEG_INFINITY, 1),
        ],
        params: labels(&[("depth", "6"), ("features", "a, b = ü'\"\nsecond line"), ("empty", "")]),
        tags: labels(&[("step", "load"), ("note", "line 1\nline 2")]),
    };
    tracker.log_batch(&parent.id, &batch).await.expect("logged");
    tracker.set_status(&parent.id, RunStatus::Finished, Some(at(60))).await.expect("ended");

    let run = tracker.run(&parent.id).await.expect("run");
    assert_eq!(
        (run.info.name.as_str(), run.info.status, run.info.ended_at),
        ("daily retrain", RunStatus::Finished, Some(at(60)))
    );
    assert_eq!(run.params, batch.params);
    assert_eq!(run.tags, labels(&[("dataset", "nodes-1"), ("step", "load"), ("note", "line 1\nline 2")]));
    assert_eq!(run.metrics["mae"], metric("mae", 0.03, 3), "the greatest step is the latest");
    assert!(run.metrics["cpu 1h/loss"].value.is_nan());
    assert_eq!(run.metrics["bound"].value, f64::NEG_INFINITY);

    let history = tracker.metric_history(&parent.id, "mae").await.expect("history");
    assert_eq!(history, [metric("mae", 0.05, 1), metric("mae", 0.04, 2), metric("mae", 0.03, 3)]);
    assert!(tracker.metric_history(&parent.id, "cpu 1h/loss").await.expect("history")[0].value.is_nan());
    assert_eq!(tracker.metric_history(&parent.id, "never").await.expect("no error"), []);
}

async fn twice_is_once(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("runs {mark}")).await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "twice")).await.expect("run");
    let mut batch = Batch {
        metrics: vec![metric("mae", 0.5, 1), metric("mae", f64::NAN, 2)],
        params: labels(&[("depth", "6")]),
        tags: labels(&[("step", "first")]),
    };
    for _ in 0..2 {
        tracker.log_batch(&run.id, &batch).await.expect("logged");
    }
    assert_eq!(tracker.metric_history(&run.id, "mae").await.expect("history").len(), 2);

    let other = Batch { params: labels(&[("depth", "7")]), ..Batch::default() };
    let error = tracker.log_batch(&run.id, &other).await.expect_err("a second value");
    assert!(matches!(error, TrackingError::AlreadyExists { what: "parameter", .. }), "{error}");
    assert!(error.to_string().contains('6') && error.to_string().contains('7'), "{error}");

    batch.tags = labels(&[("step", "second")]);
    tracker.log_batch(&run.id, &batch).await.expect("logged");
    let run = tracker.run(&run.id).await.expect("run");
    assert_eq!((run.tags["step"].as_str(), run.params["depth"].as_str()), ("second", "6"));
    tracker.log_batch(&run.info.id, &Batch::default()).await.expect("an empty batch is none");
}

async fn large_batches_arrive_whole(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("runs {mark}")).await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "large")).await.expect("run");
    let batch = Batch {
        metrics: (0..2500)
            .map(|step| metric("loss", f64::from(i32::try_from(step).expect("small")) / 8.0, step))
            .collect(),
        params: (0..230).map(|number| (format!("p{number}"), "ü".repeat(1000))).collect(),
        tags: (0..120).map(|number| (format!("t{number}"), number.to_string())).collect(),
    };
    tracker.log_batch(&run.id, &batch).await.expect("logged");
    let history = tracker.metric_history(&run.id, "loss").await.expect("history");
    assert_eq!(history, batch.metrics);
    let run = tracker.run(&run.id).await.expect("run");
    assert_eq!((run.params.len(), run.tags.len()), (230, 120));
    assert_eq!(run.params, batch.params);
}

async fn runs_are_searched(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("search {mark}")).await.expect("experiment");
    for (position, (name, mae, kind)) in
        [("a", 0.3, "load"), ("b", 0.1, "load"), ("c", 0.2, "it's \"odd\""), ("d", 0.4, "load")].iter().enumerate()
    {
        let started_at = at(i64::try_from(position).expect("small"));
        let run = tracker.create_run(NewRun { started_at, ..NewRun::new(&experiment.id, *name) }).await.expect("run");
        let metrics = if *name == "d" { vec![] } else { vec![metric("mae 1h", *mae, 0)] };
        let batch =
            Batch { metrics, params: labels(&[("depth", name)]), tags: labels(&[("kind", &kind.replace('"', ""))]) };
        tracker.log_batch(&run.id, &batch).await.expect("logged");
        if *name == "b" {
            tracker.set_status(&run.id, RunStatus::Failed, Some(at(9))).await.expect("failed");
        }
    }
    let of = || RunQuery::of(&experiment.id);
    let names = async |query: RunQuery| -> Vec<String> {
        let runs = tracker.search_runs(&query).await.expect("search");
        runs.into_iter().map(|run| run.info.name).collect()
    };
    let mae = || Field::Metric("mae 1h".into());
    assert_eq!(names(of()).await, ["d", "c", "b", "a"], "newest first");
    assert_eq!(names(of().limit(2)).await, ["d", "c"]);
    assert_eq!(names(of().ordered(mae(), Direction::Ascending)).await, ["b", "c", "a", "d"], "without the metric last");
    assert_eq!(names(of().ordered(mae(), Direction::Descending)).await, ["a", "c", "b", "d"]);
    // By what breaks ties as well, which a server may not be told twice.
    assert_eq!(names(of().ordered(Field::StartedAt, Direction::Descending)).await, ["d", "c", "b", "a"]);
    assert_eq!(names(of().ordered(Field::StartedAt, Direction::Ascending)).await, ["a", "b", "c", "d"]);
    assert_eq!(names(of().ordered(Field::Name, Direction::Ascending)).await, ["a", "b", "c", "d"]);
    assert_eq!(names(of().and(Condition::metric("mae 1h", Comparison::Less, 0.25))).await, ["c", "b"]);
    assert_eq!(names(of().and(Condition::tag("kind", "it's odd"))).await, ["c"]);
    assert_eq!(names(of().and(Condition::param("depth", "a"))).await, ["a"]);
    assert_eq!(names(of().and(Condition::status(RunStatus::Failed))).await, ["b"]);
    let filter = "metrics.`mae 1h` >= 0.1 and tags.kind = 'load' and attributes.status != 'FAILED'";
    assert_eq!(names(of().filter(filter).expect("filter")).await, ["a"]);
    assert_eq!(names(of().filter("tags.kind = 'never'").expect("filter")).await, Vec::<String>::new());
    let everywhere =
        tracker.search_runs(&RunQuery::default().and(Condition::param("depth", "c"))).await.expect("all experiments");
    assert!(everywhere.iter().any(|run| run.info.experiment_id == experiment.id));
}

async fn artifacts_are_kept(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("runs {mark}")).await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "files")).await.expect("run");
    let id = run.id.as_str();
    assert_eq!(tracker.artifacts(id, "").await.expect("none yet"), []);

    let folder = tempfile::tempdir().expect("folder");
    let model = folder.path().join("model");
    std::fs::create_dir_all(model.join("boosters")).expect("folder");
    std::fs::write(model.join("MLmodel"), "flavors: {}\n").expect("file");
    let booster: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(model.join("boosters/cpu 1h.ubj"), &booster).expect("file");
    tracker.log_artifacts(id, "model", &model).await.expect("folder logged");
    tracker.log_artifact(id, "report.html", b"<p>old</p>".to_vec()).await.expect("bytes logged");
    tracker.log_artifact(id, "report.html", b"<p>new</p>".to_vec()).await.expect("replaced");
    tracker.log_artifact(id, "empty.txt", Vec::new()).await.expect("an empty file");
    tracker.log_artifact_file(id, "copy/MLmodel", &model.join("MLmodel")).await.expect("file logged");

    let paths = async |path: &str| -> Vec<(String, bool, Option<u64>)> {
        let listed = tracker.artifacts(id, path).await.expect("list");
        listed.into_iter().map(|artifact| (artifact.path, artifact.is_folder, artifact.bytes)).collect()
    };
    let file = |path: &str, bytes: u64| (path.to_owned(), false, Some(bytes));
    let directory = |path: &str| (path.to_owned(), true, None);
    assert_eq!(paths("").await, [directory("copy"), file("empty.txt", 0), directory("model"), file("report.html", 10)]);
    assert_eq!(paths("model").await, [file("model/MLmodel", 12), directory("model/boosters")]);
    assert_eq!(paths("model/nothing").await, []);
    assert_eq!(tracker.fetch_artifact(id, "report.html").await.expect("fetch"), b"<p>new</p>");
    assert_eq!(tracker.fetch_artifact(id, "model/boosters/cpu 1h.ubj").await.expect("fetch"), booster);

    let to = tempfile::tempdir().expect("folder");
    assert_eq!(tracker.fetch_artifacts(id, "model", to.path()).await.expect("fetch all"), 2);
    assert_eq!(std::fs::read(to.path().join("boosters/cpu 1h.ubj")).expect("file"), booster);
    assert!(tracker.fetch_artifact(id, "nothing.txt").await.expect_err("no artifact").is_not_found());
    assert!(tracker.fetch_artifacts(id, "nothing", to.path()).await.expect_err("no folder").is_not_found());

    for path in ["../escape", "/etc/passwd", "a/../../b", ""] {
        let error = tracker.log_artifact(id, path, b"x".to_vec()).await.expect_err(path);
        assert!(matches!(error, TrackingError::Invalid { .. }), "{path}: {error}");
        assert!(tracker.fetch_artifact(id, path).await.is_err(), "{path}");
    }
}

async fn versions_and_aliases(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("runs {mark}")).await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "model")).await.expect("run");
    tracker.log_artifact(&run.id, "model/metadata.json", b"{}".to_vec()).await.expect("artifact");
    let name = format!("load predictor {mark}");
    let model = tracker.register_model(&name, "CPU and memory").await.expect("model");
    assert_eq!((model.name.as_str(), model.description.as_str()), (name.as_str(), "CPU and memory"));
    let again = tracker.register_model(&name, "another text").await.expect("found");
    assert_eq!(again.description, "CPU and memory");
    assert_eq!(tracker.versions(&name).await.expect("none yet"), []);

    let new = |tag: &str| NewVersion {
        model: name.clone(),
        run_id: run.id.clone(),
        artifact_path: "model".into(),
        description: "daily".into(),
        tags: labels(&[("semantic_version", tag)]),
    };
    let first = tracker.create_version(new("1.0.0")).await.expect("first");
    let second = tracker.create_version(new("1.0.1")).await.expect("second");
    assert_eq!((first.version.as_str(), second.version.as_str()), ("1", "2"));
    assert_eq!((first.run_id.as_str(), first.artifact_path.as_str()), (run.id.as_str(), "model"));
    let missing = NewVersion { artifact_path: "nothing".into(), ..new("9") };
    assert!(tracker.create_version(missing).await.expect_err("no files").is_not_found());

    let promote = Decision {
        who: "trainer".into(),
        why: "it beats the champion".into(),
        evidence: json!({"mae": 0.031, "champion": 0.034}),
    };
    assert!(tracker.version_by_alias(&name, "champion").await.expect_err("no champion").is_not_found());
    tracker.set_alias(&name, "champion", "1", &promote).await.expect("first champion");
    tracker.set_alias(&name, "champion", "1", &promote).await.expect("no move");
    tracker.set_alias(&name, "champion", "2", &promote).await.expect("second champion");
    tracker.set_alias(&name, "previous", "1", &promote).await.expect("previous");
    tracker.set_version_tag(&name, "2", "validation", "passed").await.expect("tag");
    tracker.set_version_tag(&name, "2", "validation", "passed twice").await.expect("tag again");

    let champion = tracker.version_by_alias(&name, "champion").await.expect("champion");
    assert_eq!((champion.version.as_str(), champion.aliases.as_slice()), ("2", ["champion".to_owned()].as_slice()));
    assert_eq!(champion.tags, labels(&[("semantic_version", "1.0.1"), ("validation", "passed twice")]));
    assert_eq!(
        tracker.registered_model(&name).await.expect("model").aliases,
        labels(&[("champion", "2"), ("previous", "1")])
    );
    let versions = tracker.versions(&name).await.expect("versions");
    let seen: Vec<_> = versions.iter().map(|version| (version.version.as_str(), version.aliases.join(","))).collect();
    assert_eq!(seen, [("2", "champion".to_owned()), ("1", "previous".to_owned())]);
    assert_eq!(tracker.version(&name, "1").await.expect("version").aliases, ["previous"]);
    let all = tracker.registered_models().await.expect("models");
    let listed = all.iter().find(|model| model.name == name).expect("listed");
    assert_eq!(listed.aliases, labels(&[("champion", "2"), ("previous", "1")]));

    let back = Decision::new("ops", "errors in production");
    tracker.set_alias(&name, "champion", "1", &back).await.expect("rolled back");
    tracker.delete_alias(&name, "previous", &back).await.expect("deleted");
    tracker.delete_alias(&name, "previous", &back).await.expect("nothing to delete");
    let history = tracker.alias_history(&name).await.expect("history");
    let moves: Vec<_> =
        history.iter().map(|change| (change.alias.as_str(), change.from.as_deref(), change.to.as_deref())).collect();
    assert_eq!(
        moves,
        [
            ("champion", None, Some("1")),
            ("champion", Some("1"), Some("2")),
            ("previous", None, Some("1")),
            ("champion", Some("2"), Some("1")),
            ("previous", Some("1"), None)
        ]
    );
    assert_eq!(history[1].decision, promote);
    assert_eq!(history[3].decision.why, "errors in production");
    assert!(history.windows(2).all(|pair| pair[0].at <= pair[1].at));

    let to = tempfile::tempdir().expect("folder");
    assert_eq!(tracker.fetch_version(&name, "2", to.path()).await.expect("files"), 1);
    assert_eq!(std::fs::read(to.path().join("metadata.json")).expect("file"), b"{}");
}

async fn unknown_things_are_not_found(tracker: &dyn Tracker, mark: &str) {
    let id = "0123456789abcdef0123456789abcdef";
    let batch = Batch { metrics: vec![Metric::now("mae", 1.0)], ..Batch::default() };
    let model = format!("unknown {mark}");
    let decision = Decision::new("test", "nothing there");
    let version = NewVersion {
        model: model.clone(),
        run_id: id.into(),
        artifact_path: "model".into(),
        description: String::new(),
        tags: Labels::new(),
    };
    let errors = [
        tracker.run(id).await.err(),
        tracker.log_batch(id, &batch).await.err(),
        tracker.set_status(id, RunStatus::Finished, None).await.err(),
        tracker.metric_history(id, "mae").await.err(),
        tracker.log_artifact(id, "a.txt", b"x".to_vec()).await.err(),
        tracker.artifacts(id, "").await.err(),
        tracker.registered_model(&model).await.err(),
        tracker.versions(&model).await.err(),
        tracker.version(&model, "1").await.err(),
        tracker.version(&model, "one").await.err(),
        tracker.version_by_alias(&model, "champion").await.err(),
        tracker.set_alias(&model, "champion", "1", &decision).await.err(),
        tracker.set_version_tag(&model, "1", "a", "b").await.err(),
        tracker.alias_history(&model).await.err(),
        tracker.create_version(version).await.err(),
        tracker.create_run(NewRun::new("987654321", "of no experiment")).await.err(),
    ];
    for (position, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("call {position} found something"));
        assert!(error.is_not_found(), "call {position}: {error}");
    }
}

async fn bad_values_are_refused(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("runs {mark}")).await.expect("experiment");
    let run = tracker.create_run(NewRun::new(&experiment.id, "bad values")).await.expect("run");
    let good = Metric::now("good", 1.0);
    let batches = [
        Batch { metrics: vec![good.clone(), Metric::now("", 1.0)], ..Batch::default() },
        Batch { metrics: vec![good.clone(), Metric::now("a#b", 1.0)], ..Batch::default() },
        Batch { metrics: vec![good.clone(), Metric::now("../a", 1.0)], ..Batch::default() },
        Batch { metrics: vec![good.clone()], params: [("k".repeat(251), "v".to_owned())].into(), ..Batch::default() },
        Batch { metrics: vec![good.clone()], params: [("k".to_owned(), "v".repeat(6001))].into(), ..Batch::default() },
        Batch { metrics: vec![good], tags: [("k".to_owned(), "v".repeat(8001))].into(), ..Batch::default() },
    ];
    for batch in &batches {
        let error = tracker.log_batch(&run.id, batch).await.expect_err("a bad value");
        assert!(matches!(error, TrackingError::Invalid { .. }), "{error}");
    }
    assert!(tracker.run(&run.id).await.expect("run").metrics.is_empty(), "nothing of a refused batch is written");
    let limits = Batch {
        params: [("k".repeat(250), "v".repeat(6000))].into(),
        tags: [("k".to_owned(), "v".repeat(8000))].into(),
        ..Batch::default()
    };
    tracker.log_batch(&run.id, &limits).await.expect("at the limits");
    assert_eq!(tracker.run(&run.id).await.expect("run").params, limits.params);

    let invalid = |error: TrackingError| assert!(matches!(error, TrackingError::Invalid { .. }), "{error}");
    invalid(tracker.experiment("  ").await.expect_err("a blank name"));
    invalid(tracker.register_model("a/b", "").await.expect_err("a slash in a model's name"));
    let name = format!("named {mark}");
    tracker.register_model(&name, "").await.expect("model");
    tracker.log_artifact(&run.id, "model/a", b"a".to_vec()).await.expect("artifact");
    let version = NewVersion {
        model: name.clone(),
        run_id: run.id,
        artifact_path: "model".into(),
        description: String::new(),
        tags: Labels::new(),
    };
    invalid(
        tracker
            .create_version(NewVersion { artifact_path: "../model".into(), ..version.clone() })
            .await
            .expect_err("a path out"),
    );
    tracker.create_version(version).await.expect("version");
    for alias in ["latest", "v1", "a b", ""] {
        invalid(tracker.set_alias(&name, alias, "1", &Decision::new("test", "bad alias")).await.expect_err(alias));
    }
    invalid(tracker.set_alias(&name, "champion", "1", &Decision::new("", "")).await.expect_err("no reason"));
    let endless = Decision { evidence: json!("x".repeat(5000)), ..Decision::new("test", "too much") };
    invalid(tracker.set_alias(&name, "champion", "1", &endless).await.expect_err("too much evidence"));
}

async fn tables_show_it_all(tracker: &dyn Tracker, mark: &str) {
    let experiment = tracker.experiment(&format!("search {mark}")).await.expect("experiment");
    let runs = view::runs(tracker, &RunQuery::of(&experiment.id), &[]).await.expect("runs");
    assert_eq!(runs.rows.len(), 4);
    assert!(runs.columns.contains(&"mae 1h".to_owned()), "{:?}", runs.columns);
    assert!(runs.to_string().contains("0.3000") && runs.to_string().contains("FAILED"), "{runs}");
    assert_eq!(runs.json["runs"][2]["metrics"]["mae 1h"]["value"], 0.1);

    let name = format!("load predictor {mark}");
    let models = view::models(tracker).await.expect("models");
    let row = models.rows.iter().find(|row| row[0] == name && row[1] == "1").expect("version 1");
    assert!(row[2].contains("champion") && row[5].contains("semantic_version=1.0.0"), "{row:?}");

    let model = view::show(tracker, &name).await.expect("model").to_string();
    assert!(model.contains("champion: 2 → 1, by ops: errors in production"), "{model}");
    let version = view::show(tracker, &format!("{name}@champion")).await.expect("version");
    assert_eq!(version.json["version"], "1");
    assert_eq!(view::show(tracker, &format!("{name}/1")).await.expect("version"), version);
    let id = version.json["run_id"].as_str().expect("run");
    assert!(view::show(tracker, id).await.expect("run").to_string().contains("model/"));
    assert!(view::show(tracker, "nothing").await.expect_err("nothing").is_not_found());
}
