use super::*;
use crate::anomaly::KindScores;
use std::io::Write;
use std::path::PathBuf;

fn quick() -> CompareSettings {
    CompareSettings { forest_trees: 15, max_rows: 3_000, lstm_epochs: 6, lstm_units: 12, ..CompareSettings::default() }
}

#[test]
fn every_peer_does_better_than_a_coin_and_the_supervised_ones_better_than_the_zscore() {
    let settings = quick();
    let task = generate(Scenario::HighAnomaly, 3, &settings).expect("a task");
    let comparison = compare(&task, &PeerKind::ALL, &settings, |_| {}).expect("a comparison");
    let auc = |kind: PeerKind| {
        let peer = comparison.peers.iter().find(|peer| peer.kind == kind).expect("took part");
        assert!(peer.fit_seconds > 0.0 && peer.test_scores.len() == comparison.slices[2].rows, "{kind:?}");
        peer.scores.points.roc_auc.expect("two classes")
    };
    for kind in PeerKind::ALL {
        assert!(auc(kind) > 0.6, "{kind:?} {}", auc(kind));
    }
    for kind in [PeerKind::RandomForest, PeerKind::Lstm, PeerKind::Detector] {
        assert!(auc(kind) > auc(PeerKind::ZScore), "{kind:?} {} {}", auc(kind), auc(PeerKind::ZScore));
    }
    let html = page(&comparison, &["column `x` is left out".to_owned()]);
    for word in ["random forest", "LSTM", "column `x` is left out.", "<svg", "best"] {
        assert!(html.contains(word), "{word}");
    }
    assert!(!html.contains("http://") || html.matches("http://").all(|_| html.contains("http://www.w3.org/2000/svg")));
}

#[test]
fn the_same_seed_gives_the_same_scores() {
    let settings = CompareSettings { lstm_epochs: 1, max_rows: 500, forest_trees: 5, ..quick() };
    let task = generate(Scenario::Standard, 5, &settings).expect("a task");
    let scores = || -> Vec<Vec<f32>> {
        let comparison = compare(&task, &PeerKind::ALL, &settings, |_| {}).expect("a comparison");
        comparison.peers.into_iter().map(|peer| peer.test_scores).collect()
    };
    assert_eq!(scores(), scores());
}

#[test]
fn without_labels_in_the_training_the_supervised_stay_out_and_say_why() {
    let settings = quick();
    let mut task = generate(Scenario::Standard, 3, &settings).expect("a task");
    for row in task.train_rows() {
        task.odd[row] = false;
    }
    let comparison = compare(&task, &PeerKind::ALL, &settings, |_| {}).expect("a comparison");
    let kinds: Vec<PeerKind> = comparison.peers.iter().map(|peer| peer.kind).collect();
    assert_eq!(kinds, [PeerKind::Detector, PeerKind::ZScore]);
    assert!(comparison.left_out.len() == 3 && comparison.left_out[0].1.contains("one class only"));
    let error = compare(&task, &[PeerKind::Lstm], &settings, |_| {}).expect_err("nobody").to_string();
    assert!(error.contains("no peer can take part"), "{error}");
}

fn peer(kind: PeerKind, pr_auc: f64, precision: Option<f64>, cost: f64) -> PeerResult {
    let points = crate::anomaly::PointScores {
        rows: 100,
        odd_rows: 10,
        precision: Some(0.5),
        recall: Some(0.5),
        false_positive_rate: Some(0.0),
        roc_auc: Some(0.9),
        pr_auc: Some(pr_auc),
    };
    PeerResult {
        kind,
        threshold: 1.0,
        choice: ThresholdChoice::ByShare(0.01),
        scores: AlarmScores {
            alarms: 10,
            right_alarms: 8,
            incidents: 10,
            found: 8,
            precision,
            recall: Some(0.8),
            critical_recall: None,
            node_days: 1.0,
            false_alarms_per_node_day: Some(2.0),
            delay_minutes: None,
            kinds: [("leak".to_owned(), KindScores { incidents: 10, found: 8 })].into(),
            critical: KindScores::default(),
            points,
        },
        accuracy: Some(0.95),
        cost,
        fit_seconds: 1.0,
        score_seconds: 1.0,
        test_scores: Vec::new(),
    }
}

#[test]
fn the_best_has_the_largest_figure_among_those_that_qualify() {
    let peers = [
        peer(PeerKind::Detector, 0.6, Some(0.8), 30.0),
        peer(PeerKind::Linear, 0.9, Some(0.4), 5.0),
        peer(PeerKind::Lstm, 0.7, Some(0.9), 40.0),
        peer(PeerKind::ZScore, 0.8, None, 1.0),
    ];
    let settings = CompareSettings::default();
    let choice = choose(&peers, &settings);
    assert_eq!(choice.best, Some(PeerKind::Lstm));
    let reasons: Vec<&str> = choice.refused.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["alarm precision 0.4000 is below 0.5", "alarm precision is not defined on the test, 0.5 is wanted"]
    );
    let by_cost = CompareSettings { primary: Primary::Cost, ..settings.clone() };
    assert_eq!(choose(&peers, &by_cost).best, Some(PeerKind::Detector), "30 is less than 40");
    let strict = CompareSettings { min_recall: 0.95, ..settings };
    assert_eq!(choose(&peers, &strict).best, None);
}

fn file(folder: &std::path::Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
    path
}

fn table(data: Vec<PathBuf>) -> TableSettings {
    TableSettings { input: data, label: "label".into(), time: Some("t".into()), entity: None, step_minutes: 5.0 }
}

#[test]
fn files_are_put_in_order_and_what_is_no_number_is_counted_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "a.csv", "t,cpu,host,label\n3,0.3,x,0\n1,oops,x,1\n2,,x,true\n");
    let read = read_tables(&table(vec![path]), true).expect("read");
    assert_eq!(read.columns, ["cpu"]);
    let series = &read.series[0];
    assert_eq!((series.name.as_str(), series.odd.as_slice()), ("a", &[true, true, false][..]));
    assert!(series.values[0].is_nan() && series.values[1].is_nan() && series.values[2] == 0.3);
    assert!(read.notes.iter().any(|note| note.contains("`host`") && note.contains("has no number in 3 rows")));
    assert!(read.notes.iter().any(|note| note.contains("1 values that are no finite numbers, the first in line 3")));
}

#[test]
fn parquet_and_csv_give_the_same_series_and_entities_part_them() {
    use polars::prelude::{ParquetWriter, df};
    let folder = tempfile::tempdir().expect("a folder");
    let mut frame = df!("t" => [1_i64, 2, 1, 2], "node" => ["b", "b", "a", "a"], "cpu" => [0.1_f64, 0.2, 0.3, 0.4],
        "label" => [0_i64, 1, 0, 0])
    .expect("a frame");
    let path = folder.path().join("nodes.parquet");
    ParquetWriter::new(std::fs::File::create(&path).expect("a file")).finish(&mut frame).expect("written");
    let csv = file(folder.path(), "nodes.csv", "t,node,cpu,label\n1,b,0.1,0\n2,b,0.2,1\n1,a,0.3,0\n2,a,0.4,0\n");
    let of = |path: PathBuf| {
        let read =
            read_tables(&TableSettings { entity: Some("node".into()), ..table(vec![path]) }, true).expect("read");
        read.series.into_iter().map(|series| (series.name, series.values, series.odd)).collect::<Vec<_>>()
    };
    assert_eq!(of(csv), of(path.clone()));
    assert_eq!(of(path)[1], ("b".to_owned(), vec![0.1, 0.2], vec![false, true]));
}

#[test]
fn files_that_cannot_be_used_say_what_and_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |files: Vec<PathBuf>| format!("{:#}", read_tables(&table(files), true).expect_err("refused"));
    let write = |name: &str, text: &str| file(folder.path(), name, text);
    assert!(refused(vec![write("empty.csv", "t,cpu,label\n")]).contains("a header and no readings"));
    assert!(refused(vec![write("no-label.csv", "t,cpu\n1,2\n")]).contains("no column `label`, which --label names"));
    assert!(
        refused(vec![write("bad.csv", "t,cpu,label\n1,2,0\n2,3,maybe\n")]).contains("line 3 has the label `maybe`")
    );
    assert!(refused(vec![write("time.csv", "t,cpu,label\nnoon,2,0\n")]).contains("line 2 has the time `noon`"));
    assert!(refused(vec![write("x.txt", "t")]).contains("must end in .csv, .csv.gz or .parquet"));
    let (one, two) = (write("one.csv", "t,cpu,label\n1,2,0\n"), write("two.csv", "t,mem,label\n1,2,0\n"));
    assert!(refused(vec![one, two]).contains("`cpu` is in one of them only"));
    assert!(refused(vec![folder.path().join("absent.csv")]).contains("absent.csv"));
    let short = read_tables(&table(vec![write("short.csv", "t,cpu,label\n1,2,0\n2,2,1\n")]), true).expect("read");
    let task = Task::new("short".into(), short.columns, short.series, 5.0, &quick()).expect_err("too short");
    assert!(task.to_string().contains("the longest series has 2 readings"), "{task}");
}
