//! Isolation forests beside scikit-learn's, and our files read by their Python loader.

mod common;

use models::anomaly::{
    AlarmSettings, AnomalyKind, ClassifierSettings, DetectorSettings, ForestSettings, IsolationForest, LabelledRows,
    MemberSettings, Rule, Side, fit_detector,
};
use models::artifact::{Artifact, ArtifactDraft};
use models::{FeatureMatrix, FitOptions};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// What is left out without Python.
const UNCHECKED: &str = "scikit-learn and Python do not check our forests";

fn ask<T: serde::de::DeserializeOwned>(python: &Path, what: &str, folder: &Path) -> T {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/forest.py");
    let output = Command::new(python).arg(script).arg(what).arg(folder).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

const WIDTH: usize = 8;

/// Columns that follow two hidden ones; one row in thirty is odd: a shift in two columns, or columns that no longer follow.
fn rows(count: usize, seed: u64) -> (Vec<f32>, Vec<u8>) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || (0..6).map(|_| generator.random::<f32>() - 0.5).sum::<f32>() * 1.4;
    let mixing: Vec<f32> = (0..2 * WIDTH).map(|_| normal()).collect();
    let (mut values, mut odd) = (Vec::new(), Vec::new());
    for row in 0..count {
        let hidden = [normal(), normal()];
        let is_odd = row % 30 == 0;
        for column in 0..WIDTH {
            let usual = hidden[0] * mixing[2 * column] + hidden[1] * mixing[2 * column + 1] + 0.4 * normal();
            let shift = if is_odd && row % 60 == 0 && column < 2 { 3.0 } else { 0.0 };
            values.push(if is_odd && row % 60 != 0 { 2.2 * normal() } else { usual + shift });
        }
        odd.push(u8::from(is_odd));
    }
    (values, odd)
}

fn auc(scores: &[f32], odd: &[u8]) -> f64 {
    let of =
        |wanted: u8| -> Vec<f32> { (0..odd.len()).filter(|row| odd[*row] == wanted).map(|row| scores[row]).collect() };
    let (high, mut low) = (of(1), of(0));
    low.sort_by(f32::total_cmp);
    let below = |score: &f32| {
        let (less, not_more) =
            (low.partition_point(|other| other < score), low.partition_point(|other| other <= score));
        (less + not_more) as f64 / 2.0
    };
    high.iter().map(below).sum::<f64>() / (high.len() * low.len()) as f64
}

#[test]
fn our_forest_tells_apart_what_scikit_learns_does() {
    let Some(python) = common::python(UNCHECKED) else { return };
    let (values, odd) = rows(6_000, 3);
    let folder = tempfile::tempdir().expect("a folder");
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.path().join("rows.f32"), bytes).expect("the folder is ours");
    std::fs::write(folder.path().join("labels.u8"), &odd).expect("the folder is ours");
    let theirs: Vec<f64> = ask(&python, "sklearn", folder.path());
    let ours: Vec<f64> = (0..5)
        .map(|seed| {
            let forest = IsolationForest::fit(&values, WIDTH, &ForestSettings::default(), seed).expect("a forest");
            let mut scores = vec![0.0; odd.len()];
            forest.score(&values, &mut scores).expect("whole rows");
            auc(&scores, &odd)
        })
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    assert!(mean(&theirs) > 0.7, "the rows can be told apart: {theirs:?}");
    assert!((mean(&ours) - mean(&theirs)).abs() < 0.01, "ours {ours:?}, theirs {theirs:?}");
}

#[derive(Deserialize)]
struct Answer {
    vote: Vec<f64>,
    score: Vec<f64>,
    alarm: Vec<bool>,
}

#[test]
fn the_python_loader_of_an_artifact_votes_alike() {
    let Some(python) = common::python(UNCHECKED) else { return };
    for extension in [0, 1] {
        let (mut values, odd) = rows(1_500, 5);
        for (at, value) in values.iter_mut().enumerate() {
            if at % 37 == 0 {
                *value = f32::NAN;
            }
        }
        values[..WIDTH].fill(f32::NAN);
        let names: Vec<String> = (0..WIDTH).map(|column| format!("column {column}")).collect();
        let x = FeatureMatrix::new(names.clone(), odd.len(), values).expect("a matrix");
        let odd: Vec<bool> = odd.iter().map(|odd| *odd == 1).collect();
        let usual: Vec<bool> = odd.iter().map(|odd| !odd).collect();
        let member = |name: &str, columns: &[String]| MemberSettings {
            name: name.to_owned(),
            kind: AnomalyKind::Performance,
            columns: columns.to_vec(),
            side: Side::Both,
        };
        let settings = DetectorSettings {
            forest: ForestSettings { trees: 20, samples: 64, extension },
            members: vec![member("first", &names[..3]), member("second", &names[2..])],
            rules: vec![
                Rule::Missing { feature: names[7].clone(), while_known: names[0].clone() },
                Rule::Below { feature: names[1].clone(), limit: -2.0 },
            ],
            alarms: AlarmSettings::default(),
            expected_share: 0.02,
        };
        let labelled = LabelledRows { x: &x, odd: &odd, usual: &usual };
        let classifier = ClassifierSettings {
            columns: names[..5].to_vec(),
            rounds: 20,
            max_depth: 3,
            learning_rate: 0.2,
            most_usual_rows: 1_000,
        };
        let lessons: Vec<f32> = odd.iter().map(|odd| f32::from(u8::from(*odd))).collect();
        // With and without a classifier of faults.
        let mut detector = fit_detector(&labelled, &settings, 1).expect("a detector");
        if extension == 0 {
            let options = FitOptions::seeded(1);
            detector = detector.with_classifier(&labelled, &lessons, &classifier, &options).expect("a classifier");
            assert_eq!(detector.members().len(), 3);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let artifact = Artifact::of_anomaly_detector(&detector, ArtifactDraft::default()).expect("it packs");
        let read = Artifact::from_blobs(artifact.clone().into_blobs().expect("it packs")).expect("it is whole");
        assert_eq!(read.anomaly_detector().expect("a detector"), detector);
        for (name, bytes) in artifact.into_blobs().expect("it packs") {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is ours");
            std::fs::write(path, bytes).expect("the folder is ours");
        }
        let known = |value: &f32| (!value.is_nan()).then_some(*value);
        let listed: Vec<Vec<Option<f32>>> = (0..x.rows()).map(|row| x.row(row).iter().map(known).collect()).collect();
        let document = serde_json::json!({"features": names, "rows": listed});
        std::fs::write(folder.path().join("rows.json"), document.to_string()).expect("the folder is ours");
        let answer: Answer = ask(&python, "detector", folder.path());
        let mut certain = 0;
        for row in 0..x.rows() {
            let reading = detector.read(x.row(row)).expect("a row");
            certain += usize::from(reading.certain);
            let near = |ours: f32, theirs: f64| (f64::from(ours) - theirs).abs() < 2e-3;
            assert!(near(reading.vote, answer.vote[row]), "row {row}: {reading:?} and {}", answer.vote[row]);
            assert!(near(detector.score(&reading), answer.score[row]), "row {row}");
            let at_the_edge = (reading.vote - detector.threshold()).abs() < 2e-3;
            let alarm = reading.certain || reading.vote >= detector.threshold();
            assert!(alarm == answer.alarm[row] || at_the_edge, "row {row}");
        }
        assert!(certain > 10, "the rules were tried: {certain}");
    }
}
