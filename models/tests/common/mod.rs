//! A small cluster's worth of rows for the tests of the load predictor, and the Python that checks our files.
#![allow(dead_code)]

use cluster::Resource;
use models::learners::GradientBoosting;
use models::load::{FittedHead, HeadData, HeadKey, HeadSettings, Horizon, LoadPredictor, fit_head};
use models::{FeatureMatrix, FitOptions, FitRows};
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};

/// The interpreter of the virtual environment that `make test-setup` makes; none when tests with peers are switched off,
/// which leaves `unchecked`.
pub fn python(unchecked: &str) -> Option<PathBuf> {
    if std::env::var_os("BERTH_SKIP_SERVERS").is_some_and(|value| value == "1") {
        eprintln!("SKIPPED: BERTH_SKIP_SERVERS=1, so {unchecked}");
        return None;
    }
    let cache = std::env::var_os("BERTH_CACHE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache/berth"))
    });
    let python = cache.expect("neither BERTH_CACHE nor HOME is set").join("venv-xgboost/bin/python");
    assert!(
        python.exists(),
        "`{}` is missing. `make test-setup` installs it; BERTH_SKIP_SERVERS=1 skips this test",
        python.display()
    );
    Some(python)
}

pub const FEATURES: [&str; 5] = ["last", "mean_15m", "mean_1h", "slot_of_day", "noise"];

pub fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub fn key(resource: Resource, hours: u32) -> HeadKey {
    HeadKey { resource, horizon: Horizon::from_hours(hours).expect("above 0") }
}

/// Load that keeps its level and adds a daily wave which only `slot_of_day` knows; noise grows with the level.
pub fn rows(rows: usize, wave: f32, seed: u64) -> (FeatureMatrix, Vec<f32>) {
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut values, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let level: f32 = 0.1 + 0.6 * generator.random::<f32>();
        let slot: f32 = generator.random();
        let mut near = || level + 0.02 * (generator.random::<f32>() - 0.5);
        let (last, short, hour) = (near(), near(), near());
        let target =
            level + wave * (slot * std::f32::consts::TAU).sin() + 0.3 * level * (generator.random::<f32>() - 0.5);
        let noise = if generator.random::<f32>() < 0.1 { f32::NAN } else { generator.random() };
        values.extend([last, short, hour, slot, noise]);
        targets.push(target.max(0.0));
    }
    (FeatureMatrix::new(names(&FEATURES), rows, values).expect("a matrix"), targets)
}

pub fn settings() -> HeadSettings {
    let quick = |booster: GradientBoosting| GradientBoosting {
        rounds: 40,
        learning_rate: 0.15,
        min_child_weight: 5.0,
        ..booster
    };
    let default = HeadSettings::default();
    HeadSettings {
        baseline: names(&["last", "mean_15m", "mean_1h"]),
        median: quick(default.median.clone()),
        upper: quick(default.upper.clone()),
        ..default
    }
}

pub fn fit(key: HeadKey, settings: &HeadSettings, wave: f32) -> FittedHead {
    let (train, train_y) = rows(3_000, wave, 1);
    let (calibration, calibration_y) = rows(1_500, wave, 2);
    let data = HeadData {
        train: FitRows::new(&train, &train_y),
        selection: None,
        calibration: Some(FitRows::new(&calibration, &calibration_y)),
    };
    fit_head(key, settings, &data, &FitOptions::seeded(3)).expect("it fits")
}

/// Two heads: one with skill, and one whose boosters read a subset of the features.
pub fn predictor() -> LoadPredictor {
    let subset = HeadSettings { features: names(&["slot_of_day", "last"]), ..settings() };
    let heads =
        vec![fit(key(Resource::Memory, 4), &subset, 0.1).head, fit(key(Resource::Cpu, 1), &settings(), 0.1).head];
    LoadPredictor::new(heads).expect("the heads fit together")
}
