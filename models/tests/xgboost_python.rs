//! Files of our making: Python's xgboost reads them and answers what we answer.

mod common;

use models::artifact::{Artifact, ArtifactDraft};
use models::learners::GradientBoosting;
use models::{FeatureMatrix, FitData, FitOptions, Loss, Regressor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What is left out without Python.
const UNCHECKED: &str = "Python's xgboost does not check our files";

fn ask<T: serde::de::DeserializeOwned>(python: &Path, folder: &Path, what: &str, x: &FeatureMatrix) -> T {
    let known = |value: &f32| (!value.is_nan()).then_some(*value);
    let rows: Vec<Vec<Option<f32>>> = (0..x.rows()).map(|row| x.row(row).iter().map(known).collect()).collect();
    let document = serde_json::json!({"features": x.names(), "rows": rows});
    std::fs::write(folder.join("rows.json"), document.to_string()).expect("the folder is ours");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check.py");
    let output = Command::new(python).arg(script).arg(folder).arg(what).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

fn assert_near(what: &str, ours: &[f32], theirs: &[Option<f32>]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let theirs = theirs.unwrap_or(f32::NAN);
        let equal = (ours - theirs).abs() <= 1e-5 || (ours.is_nan() && theirs.is_nan());
        assert!(equal, "{what}, value {at}: {ours} and {theirs}");
    }
}

#[derive(Deserialize)]
struct Answer {
    names: Vec<String>,
    refused_swapped_columns: bool,
    predictions: Vec<Option<f32>>,
    contributions: Vec<Vec<Option<f32>>>,
}

#[test]
fn python_predicts_and_explains_our_boosters_alike() {
    let Some(python) = common::python(UNCHECKED) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (x, y) = common::rows(1_000, 0.1, 30);
    let (valid, valid_y) = common::rows(400, 0.1, 31);
    let mut fitted = BTreeMap::new();
    for loss in [Loss::Squared, Loss::Absolute, Loss::PseudoHuber(0.05), Loss::Quantile(0.9)] {
        let learner = GradientBoosting {
            rounds: 60,
            subsample: 0.8,
            column_sample: 0.8,
            bags: if loss == Loss::Absolute { 2 } else { 1 },
            early_stopping: std::num::NonZeroUsize::new(10),
            ..GradientBoosting::with_loss(loss)
        };
        let data = FitData { valid: Some(models::FitRows::new(&valid, &valid_y)), ..FitData::new(&x, &y) };
        let model = learner.fit_trees(&data, &FitOptions::seeded(3)).expect("it fits");
        let stem = loss.to_string().replace(' ', "-");
        for (name, bytes) in
            [(format!("{stem}.ubj"), model.to_ubj()), (format!("{stem}.json"), model.to_xgboost_json())]
        {
            std::fs::write(folder.path().join(&name), bytes.expect("it writes")).expect("the folder is ours");
            fitted.insert(name, model.clone());
        }
    }
    let answers: BTreeMap<String, Answer> = ask(&python, folder.path(), "boosters", &valid);
    assert_eq!(answers.keys().collect::<Vec<_>>(), fitted.keys().collect::<Vec<_>>());
    for (name, answer) in answers {
        let model = &fitted[&name];
        assert_eq!(answer.names, common::FEATURES, "{name}");
        assert!(answer.refused_swapped_columns, "{name}: xgboost took the columns in another order");
        let mut forecasts = vec![0.0; valid.rows()];
        model.predict(&valid, &mut forecasts).expect("the same features");
        assert_near(&name, &forecasts, &answer.predictions);
        let contributions = model.contributions(&valid).expect("trees explain");
        for (row, theirs) in answer.contributions.iter().enumerate() {
            let mut ours = contributions.row(row).to_vec();
            ours.push(contributions.base());
            assert_near(&format!("{name}, contributions of row {row}"), &ours, theirs);
        }
    }
}

#[test]
fn the_python_loader_of_an_artifact_forecasts_alike() {
    let Some(python) = common::python(UNCHECKED) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let grouped = models::load::HeadSettings {
        groups: Some(models::load::ConformalGroups { column: "noise".to_owned(), edges: vec![0.3, 0.6] }),
        ..common::settings()
    };
    let mut heads = common::predictor().heads().to_vec();
    heads.push(common::fit(common::key(cluster::Resource::Memory, 1), &grouped, 0.1).head);
    let predictor = models::load::LoadPredictor::new(heads).expect("the heads fit together");
    let artifact = Artifact::of_load_predictor(&predictor, ArtifactDraft::default()).expect("it packs");
    for (name, bytes) in artifact.into_blobs().expect("it packs") {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is ours");
        std::fs::write(path, bytes).expect("the folder is ours");
    }
    let (x, _) = common::rows(300, 0.1, 40);
    let mut values = x.values().to_vec();
    for (at, value) in values.iter_mut().enumerate().take(60 * x.width()) {
        // The first rows lose one column of the baseline each, some all three.
        let (row, column) = (at / x.width(), at % x.width());
        if column < 3 && (row % 4 == 3 || column == row % 4) {
            *value = f32::NAN;
        }
    }
    let x = FeatureMatrix::new(x.names().clone(), x.rows(), values).expect("a matrix");
    let answers: BTreeMap<String, Vec<Option<f32>>> = ask(&python, folder.path(), "predictor", &x);
    assert_eq!(answers.len(), 6);
    for forecasts in predictor.predict(&x).expect("the same features") {
        let slug = forecasts.key.slug();
        assert_near(&format!("{slug}-p50"), &forecasts.p50, &answers[&format!("{slug}-p50")]);
        assert_near(&format!("{slug}-p90"), &forecasts.p90, &answers[&format!("{slug}-p90")]);
    }
}
