//! Files of XGBoost's own making: we read them and answer what XGBoost answers. `fixtures/make_xgboost_fixtures.py`
//! made them.

use models::learners::BoostedTrees;
use models::{FeatureMatrix, Regressor, load_regressor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    features: Vec<String>,
    rows: Vec<Vec<Option<f32>>>,
    models: BTreeMap<String, Answers>,
}

#[derive(Deserialize)]
struct Answers {
    predictions: Vec<f32>,
    contributions: Vec<Vec<f32>>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expected() -> (Expected, FeatureMatrix) {
    let text = std::fs::read(fixture("expected.json")).expect("the fixture is committed");
    let expected: Expected = serde_json::from_slice(&text).expect("the fixture is sound");
    let values = expected.rows.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect();
    let x = FeatureMatrix::new(expected.features.clone(), expected.rows.len(), values).expect("a matrix");
    (expected, x)
}

#[test]
fn xgboost_files_predict_and_explain_as_xgboost_does() {
    let (expected, x) = expected();
    assert_eq!(expected.models.len(), 3);
    for (name, answers) in &expected.models {
        let bytes = std::fs::read(fixture(name)).expect("the fixture is committed");
        let model = load_regressor(name, &bytes, &expected.features).expect("XGBoost wrote it");
        let mut forecasts = vec![0.0; x.rows()];
        model.predict(&x, &mut forecasts).expect("the same features");
        for (row, (ours, theirs)) in forecasts.iter().zip(&answers.predictions).enumerate() {
            assert!((ours - theirs).abs() <= 1e-6, "{name} row {row}: {ours} and {theirs}");
            let alone = model.predict_row(x.row(row)).expect("the same features");
            assert_eq!(alone.to_bits(), ours.to_bits(), "{name} row {row}: alone and in a batch");
        }
        let contributions = model.contributions(&x).expect("trees explain");
        for (row, theirs) in answers.contributions.iter().enumerate() {
            let ours = contributions.row(row).iter().chain([contributions.base()].iter()).copied().collect::<Vec<_>>();
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert!((ours - theirs).abs() <= 1e-5, "{name} row {row}: {ours} and {theirs}");
            }
        }
    }
}

#[test]
fn names_inside_the_file_must_be_ours() {
    let (expected, _) = expected();
    for name in expected.models.keys() {
        let bytes = std::fs::read(fixture(name)).expect("the fixture is committed");
        let mut other = expected.features.clone();
        other.swap(0, 1);
        let error = BoostedTrees::from_bytes(name, &bytes, &other).expect_err("two features changed places");
        assert!(
            error.to_string().ends_with("it was fitted with feature `cpu_last` where `cpu_mean_1h` is expected"),
            "{error}"
        );
        let error = BoostedTrees::from_bytes(name, &bytes, &other[..3]).expect_err("two features are gone");
        assert!(error.to_string().ends_with("it reads 5 features, expected 3"), "{error}");
    }
}

#[test]
fn our_files_carry_the_names_and_read_back_bit_for_bit() {
    let (expected, x) = expected();
    let bytes = std::fs::read(fixture("absolute.ubj")).expect("the fixture is committed");
    let model = BoostedTrees::from_bytes("absolute.ubj", &bytes, &expected.features).expect("XGBoost wrote it");
    let mut before = vec![0.0; x.rows()];
    model.predict(&x, &mut before).expect("the same features");
    for written in [model.to_ubj().expect("it writes"), model.to_xgboost_json().expect("it writes")] {
        let again = BoostedTrees::from_bytes("again", &written, &expected.features).expect("we wrote it");
        let mut after = vec![0.0; x.rows()];
        again.predict(&x, &mut after).expect("the same features");
        assert_eq!(before, after);
        let mut other = expected.features.clone();
        other[4] = "disk".to_owned();
        assert!(BoostedTrees::from_bytes("again", &written, &other).is_err(), "the name was lost");
    }
}

#[test]
fn cut_and_foreign_bytes_are_refused() {
    let (expected, _) = expected();
    let bytes = std::fs::read(fixture("absolute.ubj")).expect("the fixture is committed");
    for cut in [0, 1, 10, bytes.len() / 2, bytes.len() - 1] {
        let error = load_regressor("absolute.ubj", &bytes[..cut], &expected.features).expect_err("it was cut");
        assert!(error.to_string().starts_with("`absolute.ubj` is no usable model file: "), "{error}");
    }
    for foreign in
        [&b"{}"[..], b"PK\x03\x04", br#"{"format":"other","version":1,"learner":"x","features":[],"model":null}"#]
    {
        assert!(load_regressor("foreign", foreign, &expected.features).is_err());
    }
}
