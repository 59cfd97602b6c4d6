//! Forecasts of one booster and of a whole head: one row, and batches in decades. One thread; 200 trees of depth 6 on
//! 60 features. Limits of the design: one row of one model below 20 µs, 5,000 rows below 10 ms. And the placement network's
//! values for the candidates of one pod, of the size that the trainer makes by default: 500 below 1 ms, 5,000 below 8 ms.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use models::learners::GradientBoosting;
use models::load::{HeadData, HeadKey, HeadSettings, Horizon, LoadHead, fit_head};
use models::placement::{Layer, PlacementNetwork, Scratch};
use models::{FeatureMatrix, FitData, FitOptions, FitRows, Regressor};
use rand::{Rng, SeedableRng};
use std::hint::black_box;

const WIDTH: usize = 60;

fn rows(rows: usize, seed: u64) -> (FeatureMatrix, Vec<f32>) {
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::with_capacity(rows * WIDTH);
    let mut targets = Vec::with_capacity(rows);
    for _ in 0..rows {
        let row: Vec<f32> = (0..WIDTH).map(|_| generator.random()).collect();
        let wave = (0..8).map(|at| (row[at] * (at + 1) as f32).sin()).sum::<f32>() / 8.0;
        targets.push(0.5 * row[0] + 0.3 * wave + 0.1 * generator.random::<f32>());
        values.extend(row.into_iter().map(|value| if generator.random::<f32>() < 0.02 { f32::NAN } else { value }));
    }
    let names: Vec<String> = (0..WIDTH).map(|feature| format!("f{feature}")).collect();
    (FeatureMatrix::new(names, rows, values).expect("a matrix"), targets)
}

fn booster() -> GradientBoosting {
    GradientBoosting { rounds: 200, max_depth: 6, learning_rate: 0.1, ..GradientBoosting::default() }
}

fn head(x: &FeatureMatrix, y: &[f32]) -> LoadHead {
    let settings = HeadSettings {
        baseline: vec!["f0".to_owned(), "f1".to_owned()],
        median: booster(),
        upper: booster(),
        refit: false,
        ..HeadSettings::default()
    };
    let key = HeadKey { resource: cluster::Resource::Cpu, horizon: Horizon::ALL[0] };
    let data = HeadData { train: FitRows::new(x, y), selection: None, calibration: None };
    fit_head(key, &settings, &data, &FitOptions::seeded(1)).expect("it fits").head
}

fn predict(criterion: &mut Criterion) {
    let (x, y) = rows(20_000, 1);
    let model = booster().fit_trees(&FitData::new(&x, &y), &FitOptions::seeded(1)).expect("it fits");
    let head = head(&x, &y);

    let mut group = criterion.benchmark_group("one row");
    let mut at = 0;
    let mut next = || {
        at = (at + 1) % x.rows();
        at
    };
    group.bench_function("booster", |bencher| bencher.iter(|| model.predict_row(black_box(x.row(next())))));
    group.bench_function("head, both quantiles", |bencher| bencher.iter(|| head.predict_row(black_box(x.row(next())))));
    group.finish();

    let mut group = criterion.benchmark_group("batch");
    for rows in [50, 500, 5_000] {
        let selection: Vec<usize> = (0..rows).collect();
        let batch = x.select_rows(&selection).expect("they exist");
        let mut forecasts = vec![0.0; rows];
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_with_input(BenchmarkId::new("booster", rows), &batch, |bencher, batch| {
            bencher.iter(|| model.predict(black_box(batch), &mut forecasts));
        });
        group.bench_with_input(BenchmarkId::new("head, both quantiles", rows), &batch, |bencher, batch| {
            bencher.iter(|| head.predict(black_box(batch)));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("explain");
    group.sample_size(10);
    let selection: Vec<usize> = (0..100).collect();
    let batch = x.select_rows(&selection).expect("they exist");
    group.bench_function("booster, 100 rows", |bencher| bencher.iter(|| model.contributions(black_box(&batch))));
    group.finish();
}

/// 38 features, hidden layers of 64 and 32.
fn network() -> PlacementNetwork {
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut draw = |count: usize| (0..count).map(|_| generator.random_range(-0.3..0.3)).collect::<Vec<f32>>();
    let mut layer = |inputs, outputs| Layer { inputs, outputs, weights: draw(inputs * outputs), bias: draw(outputs) };
    let layers = vec![layer(38, 64), layer(64, 32), layer(32, 1)];
    let names = (0..38).map(|feature| format!("f{feature}")).collect();
    PlacementNetwork::new(names, vec![0.1; 38], layers).expect("a network")
}

fn place(criterion: &mut Criterion) {
    let network = network();
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let (mut scratch, mut values) = (Scratch::default(), Vec::new());
    let mut group = criterion.benchmark_group("candidates of a pod");
    for candidates in [500, 5_000] {
        let rows: Vec<f32> = (0..candidates * 38).map(|_| generator.random()).collect();
        group.throughput(Throughput::Elements(candidates as u64));
        group.bench_with_input(BenchmarkId::new("placement network", candidates), &rows, |bencher, rows| {
            bencher.iter(|| network.score(black_box(rows), &mut scratch, &mut values));
        });
    }
    group.finish();
}

criterion_group!(benches, predict, place);
criterion_main!(benches);
