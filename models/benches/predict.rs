//! Forecasts of one booster and of a whole head: one row, and batches in decades. One thread; 200 trees of depth 6 on
//! 60 features. Limits of the design: one row of one model below 20 µs, 5,000 rows below 10 ms.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use models::learners::GradientBoosting;
use models::load::{HeadData, HeadKey, HeadSettings, Horizon, LoadHead, fit_head};
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

criterion_group!(benches, predict);
criterion_main!(benches);
