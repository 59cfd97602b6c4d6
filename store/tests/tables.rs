//! The tables and dataset versions as other crates use them, damage included.

use chrono::NaiveDate;
use cluster::{INCIDENTS, NODE_METRICS};
use polars::prelude::*;
use std::path::{Path, PathBuf};
use store::{DatasetInput, Store, VersionDraft, day_start, polars_type};

fn day(number: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, number).expect("a date")
}

/// Rows of one node at minutes of a day, with the minute as the CPU value.
fn rows(date: NaiveDate, node: &str, minutes: &[i64]) -> DataFrame {
    let times = minutes.iter().map(|minute| day_start(date) + minute * 60_000).collect();
    let times = Int64Chunked::from_vec("ts".into(), times).into_series();
    let cpu: Vec<Option<f64>> = minutes.iter().map(|minute| Some(*minute as f64)).collect();
    let columns = vec![
        times.cast(&polars_type(cluster::ColumnKind::Timestamp)).expect("timestamps").into(),
        StringChunked::from_iter_values("node".into(), minutes.iter().map(|_| node)).into_series().into(),
        Float64Chunked::from_iter_options("cpu_used_cores".into(), cpu.into_iter()).into_series().into(),
    ];
    DataFrame::new(minutes.len(), columns).expect("frame")
}

fn cpu(frame: &DataFrame) -> Vec<f64> {
    frame.column("cpu_used_cores").expect("column").f64().expect("floats").iter().flatten().collect()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = Store::new(folder.path());
    (folder, store)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("listing") {
        let path = entry.expect("entry").path();
        if path.is_dir() { all.extend(files_below(&path)) } else { all.push(path) }
    }
    all
}

fn draft() -> VersionDraft {
    let input = DatasetInput { kind: "csv".into(), name: "a.csv".into(), hash: None };
    VersionDraft { inputs: vec![input], quality: [("coverage".to_owned(), 0.99)].into(), code: "test 1".into() }
}

#[test]
fn a_day_is_read_in_order_and_without_duplicates() {
    let (_folder, store) = store();
    store.write_part(&NODE_METRICS, day(2), "b", &rows(day(2), "n", &[3, 1])).expect("part b");
    store.write_part(&NODE_METRICS, day(2), "a", &rows(day(2), "n", &[1, 2])).expect("part a");
    assert_eq!(cpu(&store.read_day(&NODE_METRICS, day(2), &[]).expect("day")), [1.0, 2.0, 3.0]);
    let narrow = store.read_day(&NODE_METRICS, day(2), &["cpu_used_cores"]).expect("columns");
    assert_eq!(narrow.width(), 3, "the key and the column");
    assert_eq!(store.days(&NODE_METRICS).expect("days"), [day(2)]);
    assert_eq!(store.read_day(&NODE_METRICS, day(9), &[]).expect("no such day").height(), 0);
}

#[test]
fn a_part_of_before_a_column_came_has_nothing_in_it() {
    let (_folder, store) = store();
    let old = store.write_part(&NODE_METRICS, day(2), "old", &rows(day(2), "n", &[1])).expect("a part");
    // As an earlier version wrote it: without the columns that came since.
    let file = std::fs::File::create(&old).expect("a file");
    ParquetWriter::new(file).finish(&mut rows(day(2), "n", &[1])).expect("written");
    store.write_part(&NODE_METRICS, day(2), "new", &rows(day(2), "n", &[2])).expect("a part");
    for columns in [&[][..], &["load1", "cpu_used_cores"]] {
        let frame = store.read_day(&NODE_METRICS, day(2), columns).expect("both parts");
        assert_eq!(cpu(&frame), [1.0, 2.0]);
        assert_eq!(frame.column("load1").expect("the column").null_count(), 2);
        let width = if columns.is_empty() { NODE_METRICS.columns.len() } else { 4 };
        assert_eq!(frame.width(), width);
    }
}

#[test]
fn a_replaced_day_is_one_part() {
    let (_folder, store) = store();
    for part in ["00-08", "08-16"] {
        store.write_part(&NODE_METRICS, day(2), part, &rows(day(2), "n", &[1])).expect("part");
    }
    store.replace_day(&NODE_METRICS, day(2), &rows(day(2), "n", &[5, 4])).expect("replaced");
    assert_eq!(store.parts(&NODE_METRICS, day(2)).expect("parts").len(), 1);
    assert_eq!(cpu(&store.read_day(&NODE_METRICS, day(2), &[]).expect("day")), [4.0, 5.0]);
}

#[test]
fn a_frame_that_does_not_fit_is_refused_and_leaves_nothing() {
    let (folder, store) = store();
    let mut unknown = rows(day(2), "n", &[1]);
    unknown.rename("cpu_used_cores", "cpu".into()).expect("renamed");
    let error = store.write_part(&NODE_METRICS, day(2), "day", &unknown).expect_err("unknown column");
    assert!(error.to_string().contains("`cpu`"), "{error}");
    let without_time = rows(day(2), "n", &[1]).drop("ts").expect("dropped");
    let error = store.write_part(&NODE_METRICS, day(2), "day", &without_time).expect_err("missing column");
    assert!(error.to_string().contains("`ts`"), "{error}");
    let shorter = rows(day(2), "n", &[1]).lazy().with_column(col("cpu_used_cores").cast(DataType::Float32)).collect();
    let error = store.write_part(&NODE_METRICS, day(2), "day", &shorter.expect("cast")).expect_err("other type");
    assert!(error.to_string().contains("Float64") && error.to_string().contains("Float32"), "{error}");
    assert!(files_below(folder.path()).is_empty());
}

#[test]
fn a_damaged_part_is_named_by_every_reader() {
    let (_folder, store) = store();
    let path = store.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "n", &[1, 2])).expect("part");
    let whole = std::fs::read(&path).expect("bytes");
    for damaged in [&whole[..whole.len() / 2], b"PAR1", b"", b"not Parquet at all, but long enough for a footer PAR1"] {
        std::fs::write(&path, damaged).expect("damage");
        let error = store.read_day(&NODE_METRICS, day(2), &[]).expect_err("damaged");
        assert!(error.to_string().contains("day.parquet"), "{error}");
        let error = store.freeze(&[&NODE_METRICS], draft()).expect_err("damaged");
        assert!(error.to_string().contains("day.parquet"), "{error}");
    }
    let left: Vec<_> = store.versions().expect("versions");
    assert!(left.is_empty(), "nothing was frozen");
}

#[test]
fn a_root_that_cannot_be_written_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    let store = Store::new(file.path());
    let error = store.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "n", &[1])).expect_err("no folder");
    assert!(error.to_string().contains("day.parquet"), "{error}");
}

#[test]
fn the_same_content_is_the_same_version() {
    let (_folder, store) = store();
    store.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "n", &[1, 2])).expect("part");
    let first = store.freeze(&[&NODE_METRICS, &INCIDENTS], draft()).expect("frozen");
    let again = store.freeze(&[&NODE_METRICS, &INCIDENTS], VersionDraft::default()).expect("frozen");
    assert_eq!(first, again, "the first manifest stays");
    assert_eq!(first.rows["raw/node_metrics"], 2);
    assert_eq!(first.days, Some((day(2), day(2))));
    assert_eq!(first.quality["coverage"], 0.99);
    assert_eq!(store.versions().expect("versions").len(), 1);
    store.write_part(&NODE_METRICS, day(3), "day", &rows(day(3), "n", &[1])).expect("part");
    let second = store.freeze(&[&NODE_METRICS, &INCIDENTS], draft()).expect("frozen");
    assert_ne!(first.id, second.id);
    assert_eq!(store.newest_version(&NODE_METRICS).expect("newest").id, second.id);
}

#[test]
fn the_manifest_says_how_far_apart_the_samples_are() {
    let (_folder, store) = store();
    // By hand: node `a` every 2 minutes with one sample lost, node `b` every 4 minutes; 2 is the most frequent distance.
    let frame = rows(day(2), "a", &[0, 2, 4, 8, 10]).vstack(&rows(day(2), "b", &[1, 5, 9])).expect("rows");
    store.write_part(&NODE_METRICS, day(2), "day", &frame).expect("part");
    assert_eq!(store.sample_interval(&NODE_METRICS).expect("interval"), Some(120_000));
    let version = store.freeze(&[&NODE_METRICS], draft()).expect("frozen");
    assert_eq!(version.sample_interval_ms, Some(120_000));
    assert_eq!(store.version(&version.id).expect("read again").sample_interval_ms, Some(120_000));
    let (_folder, single) = self::store();
    single.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "a", &[3])).expect("part");
    assert_eq!(single.freeze(&[&NODE_METRICS], draft()).expect("frozen").sample_interval_ms, None);
}

#[test]
fn another_content_under_the_same_id_is_refused() {
    let (_folder, store) = store();
    store.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "n", &[1])).expect("part");
    let version = store.freeze(&[&NODE_METRICS], draft()).expect("frozen");
    // As a content would look whose hash begins with the same twelve digits.
    let manifest = store.root().join("datasets").join(&version.id).join("manifest.json");
    let other = format!("{}{}", &version.hash[..12], "0".repeat(52));
    let text = std::fs::read_to_string(&manifest).expect("text").replace(&version.hash, &other);
    std::fs::write(&manifest, text).expect("written");
    let error = store.freeze(&[&NODE_METRICS], draft()).expect_err("another content").to_string();
    assert!(error.contains(&version.id) && error.contains(&version.hash) && error.contains(&other), "{error}");
}

#[test]
fn a_version_keeps_its_rows_when_the_table_goes_on() {
    let (_folder, store) = store();
    store.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "n", &[1, 2])).expect("part");
    let version = store.freeze(&[&NODE_METRICS], draft()).expect("frozen");
    store.replace_day(&NODE_METRICS, day(2), &rows(day(2), "n", &[7])).expect("replaced");
    let frozen = store.open_version(&version.id).expect("version");
    assert_eq!(cpu(&frozen.read_day(&NODE_METRICS, day(2), &[]).expect("day")), [1.0, 2.0]);
    assert_eq!(store.verify(&version.id).expect("verified"), []);
}

#[test]
fn verify_finds_what_was_changed_or_lost() {
    let (folder, store) = store();
    for number in [2, 3] {
        store.write_part(&NODE_METRICS, day(number), "day", &rows(day(number), "n", &[1])).expect("part");
    }
    let version = store.freeze(&[&NODE_METRICS], draft()).expect("frozen");
    let frozen = folder.path().join("datasets").join(&version.id);
    let (changed, lost) = (frozen.join(&version.files[0].path), frozen.join(&version.files[1].path));
    std::fs::remove_file(&changed).expect("unlinked");
    std::fs::write(&changed, b"something else").expect("changed");
    std::fs::remove_file(&lost).expect("lost");
    let problems = store.verify(&version.id).expect("verified");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].problem.contains("hash is") && problems[1].problem.contains("read"), "{problems:?}");
}

#[test]
fn a_version_that_is_not_there_or_leads_outside_is_refused() {
    let (folder, store) = store();
    std::fs::create_dir(folder.path().join("datasets")).expect("folder");
    std::fs::write(folder.path().join("manifest.json"), "{}").expect("a decoy");
    for id in ["nothing", "..", "../", "a/b", ""] {
        let error = store.version(id).expect_err(id);
        assert!(error.to_string().contains("no dataset version"), "{id}: {error}");
    }
    let error = store.freeze(&[&NODE_METRICS], draft()).expect_err("empty");
    assert!(error.to_string().contains("is empty"), "{error}");
}

#[test]
fn what_a_killed_freeze_left_is_no_version() {
    let (folder, store) = store();
    store.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "n", &[1])).expect("part");
    let version = store.freeze(&[&NODE_METRICS], draft()).expect("frozen");
    let datasets = folder.path().join("datasets");
    let left = datasets.join(format!(".{}.1.tmp", version.id));
    std::fs::create_dir(&left).expect("folder");
    std::fs::copy(datasets.join(&version.id).join("manifest.json"), left.join("manifest.json")).expect("copied");
    assert_eq!(store.versions().expect("versions").len(), 1);
}

#[test]
fn a_damaged_manifest_is_named() {
    let (folder, store) = store();
    store.write_part(&NODE_METRICS, day(2), "day", &rows(day(2), "n", &[1])).expect("part");
    let version = store.freeze(&[&NODE_METRICS], draft()).expect("frozen");
    let manifest = folder.path().join("datasets").join(&version.id).join("manifest.json");
    std::fs::write(&manifest, "{\"id\": ").expect("damage");
    let error = store.version(&version.id).expect_err("damaged");
    assert!(error.to_string().contains("manifest.json"), "{error}");
}
