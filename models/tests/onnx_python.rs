//! ONNX of our making: onnxruntime reads it and answers what we answer.

mod common;

use models::export;
use models::learners::GradientBoosting;
use models::placement::{Layer, PlacementNetwork, Scratch};
use models::{FitData, FitOptions, Loss, Regressor};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Files with their rows and our values.
#[derive(Default)]
struct Cases {
    rows: Map<String, Value>,
    ours: BTreeMap<String, Vec<f32>>,
}

impl Cases {
    fn push<'a>(
        &mut self,
        folder: &Path,
        name: &str,
        onnx: &[u8],
        rows: impl Iterator<Item = &'a [f32]>,
        ours: Vec<f32>,
    ) {
        std::fs::write(folder.join(name), onnx).expect("the folder is ours");
        // JSON has no NaN.
        let known = |row: &[f32]| row.iter().map(|value| (!value.is_nan()).then_some(*value)).collect::<Vec<_>>();
        self.rows.insert(name.to_owned(), json!(rows.map(known).collect::<Vec<_>>()));
        self.ours.insert(name.to_owned(), ours);
    }
}

fn booster(cases: &mut Cases, folder: &Path, loss: Loss) {
    let (x, y) = common::rows(1_000, 0.1, 30);
    let model = GradientBoosting {
        rounds: 60,
        bags: if loss == Loss::Absolute { 2 } else { 1 },
        ..GradientBoosting::with_loss(loss)
    }
    .fit_trees(&FitData::new(&x, &y), &FitOptions::seeded(3))
    .expect("it fits");
    let (mut valid, _) = common::rows(300, 0.1, 31);
    let mut values = valid.values().to_vec();
    values.iter_mut().step_by(7).for_each(|value| *value = f32::NAN);
    valid = models::FeatureMatrix::new(valid.names().to_vec(), valid.rows(), values).expect("a matrix");
    let mut forecasts = vec![0.0; valid.rows()];
    model.predict(&valid, &mut forecasts).expect("the same features");
    let name = format!("{}.onnx", loss.to_string().replace(' ', "-"));
    let onnx = export::booster_onnx(&name, &model).expect("it writes");
    cases.push(folder, &name, &onnx, (0..valid.rows()).map(|row| valid.row(row)), forecasts);
}

fn agent(cases: &mut Cases, folder: &Path, hidden: &[usize]) {
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let width = 38;
    let sizes: Vec<usize> = [width].into_iter().chain(hidden.iter().copied()).chain([1]).collect();
    let mut drawn = |count: usize| (0..count).map(|_| chance.random::<f32>() - 0.5).collect::<Vec<f32>>();
    let layers = sizes
        .windows(2)
        .map(|size| Layer {
            inputs: size[0],
            outputs: size[1],
            weights: drawn(size[0] * size[1]),
            bias: drawn(size[1]),
        })
        .collect();
    let names = (0..width).map(|feature| format!("f{feature}")).collect();
    let network = PlacementNetwork::new(names, drawn(width), layers).expect("a network");
    let rows = drawn(300 * width);
    let (mut scratch, mut values) = (Scratch::default(), Vec::new());
    network.score(&rows, &mut scratch, &mut values).expect("whole rows");
    cases.push(folder, &format!("agent-{}.onnx", hidden.len()), &export::agent(&network), rows.chunks(width), values);
}

#[test]
fn onnxruntime_answers_what_we_answer() {
    let Some(python) = common::python("onnxruntime does not check our ONNX files") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut cases = Cases::default();
    for loss in [Loss::Squared, Loss::Absolute, Loss::Quantile(0.9)] {
        booster(&mut cases, folder.path(), loss);
    }
    agent(&mut cases, folder.path(), &[64, 32]);
    agent(&mut cases, folder.path(), &[]);
    std::fs::write(folder.path().join("rows.json"), Value::Object(cases.rows).to_string()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/onnx_check.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: BTreeMap<String, Vec<f32>> = serde_json::from_slice(&output.stdout).expect("the script prints JSON");
    assert_eq!(theirs.keys().collect::<Vec<_>>(), cases.ours.keys().collect::<Vec<_>>());
    for (name, ours) in cases.ours {
        assert_eq!(ours.len(), theirs[&name].len(), "{name}");
        for (at, (ours, theirs)) in ours.iter().zip(&theirs[&name]).enumerate() {
            assert!((ours - theirs).abs() <= 1e-5, "{name}, row {at}: {ours} and {theirs}");
        }
    }
}

#[test]
fn a_predictor_comes_with_every_format_of_each_booster() {
    let files = export::predictor(&common::predictor()).expect("it writes");
    assert!(files.contains_key("heads.json"));
    let boosters: Vec<&str> = files.keys().filter_map(|name| name.strip_suffix(".ubj")).collect();
    assert!(!boosters.is_empty());
    for booster in boosters {
        for format in ["json", "onnx"] {
            assert!(files.contains_key(&format!("{booster}.{format}")), "{booster}.{format}");
        }
    }
}
