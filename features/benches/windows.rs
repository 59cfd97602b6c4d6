//! Two weeks of one node on the 5-minute grid: the windows that serve online, in one pass over the slots, beside Polars'
//! rolling expressions over the same columns. One thread each, given `POLARS_MAX_THREADS=1`.
//!
//! The one pass gives the whole catalogue, the expressions only what [`wanted`] names. Before anything is measured, both
//! have to give the same values.

#[path = "../tests/common/mod.rs"]
mod common;

use cluster::{NodeMetric, NodeSample};
use common::{Random, START};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use features::windows::ClusterContext;
use features::{GRID_STEP_MS, NodeWindows, WindowRules, catalogue};
use polars::prelude::*;
use std::hint::black_box;
use std::sync::Arc;

const SLOTS: usize = 14 * 288;
const RESOURCES: [&str; 2] = ["cpu", "memory"];
const MEANS: [(usize, &str); 7] =
    [(3, "15m"), (6, "30m"), (12, "1h"), (24, "2h"), (72, "6h"), (288, "24h"), (2016, "7d")];
/// Windows of [`MEANS`] that have order statistics.
const LONG: [(usize, &str); 4] = [(12, "1h"), (72, "6h"), (288, "24h"), (2016, "7d")];
const TOLERANCE: f64 = 1e-6;

/// Utilization of CPU and memory by slot, a daily wave with noise; 2 % of the values are missing.
fn utilization() -> [Vec<Option<f64>>; 2] {
    let mut random = Random(1);
    RESOURCES.map(|_| {
        let mut slot = |at: usize| {
            let wave = (at as f64 / 288.0 * std::f64::consts::TAU).sin();
            let value = 0.4 + 0.2 * wave + 0.2 * random.next();
            // Slots are single precision; both sides begin with the same numbers.
            (random.next() >= 0.02).then_some(f64::from(value as f32))
        };
        (0..SLOTS).map(&mut slot).collect()
    })
}

/// One sample per slot, of a node with one core and one byte, so that usage is utilization.
fn samples(utilization: &[Vec<Option<f64>>; 2]) -> Vec<NodeSample> {
    let sample = |at: usize| {
        let mut sample = NodeSample::empty(START + at as i64 * GRID_STEP_MS);
        sample.set(NodeMetric::CpuAllocatable, 1.0);
        sample.set(NodeMetric::MemoryAllocatable, 1.0);
        for (metric, values) in [NodeMetric::CpuUsed, NodeMetric::MemoryUsed].into_iter().zip(utilization) {
            sample.set(metric, values[at].unwrap_or(f64::NAN));
        }
        sample
    };
    (0..SLOTS).map(sample).collect()
}

/// Every row of the catalogue, one after the other.
fn one_pass(samples: &[NodeSample], rules: &Arc<WindowRules>) -> Vec<f32> {
    let width = NodeWindows::row_len();
    let mut windows = NodeWindows::new(Arc::clone(rules));
    let mut rows = vec![f32::NAN; width * samples.len()];
    for (sample, row) in samples.iter().zip(rows.chunks_exact_mut(width)) {
        windows.push(sample);
        windows.row(sample.ts + GRID_STEP_MS, &ClusterContext::UNKNOWN, row).expect("time rises");
    }
    rows
}

/// The expressions whose values the catalogue has under the same names.
fn wanted() -> Vec<Expr> {
    let options = |slots: usize| RollingOptionsFixedWindow {
        window_size: slots,
        min_periods: slots.div_ceil(4),
        weights: None,
        center: false,
        fn_params: None,
    };
    let mut expressions = Vec::new();
    for name in RESOURCES {
        for (slots, window) in MEANS {
            expressions.push(col(name).rolling_mean(options(slots)).alias(format!("{name}_mean_{window}")));
        }
        for (slots, window) in LONG {
            let p95 = col(name).rolling_quantile(QuantileMethod::Linear, 0.95, options(slots));
            expressions.push(p95.alias(format!("{name}_p95_{window}")));
            expressions.push(col(name).rolling_min(options(slots)).alias(format!("{name}_min_{window}")));
            expressions.push(col(name).rolling_max(options(slots)).alias(format!("{name}_max_{window}")));
        }
    }
    expressions
}

fn rolling(frame: &DataFrame) -> DataFrame {
    frame.clone().lazy().select(wanted()).collect().expect("rolling expressions")
}

/// The largest difference between the two, which must be none to speak of.
fn check(rows: &[f32], frame: &DataFrame) {
    let width = NodeWindows::row_len();
    for column in frame.columns() {
        let place = catalogue::index(column.name()).expect("the catalogue has the feature");
        let values = column.f64().expect("floats");
        for (row, value) in rows.chunks_exact(width).zip(values.iter()) {
            match value {
                None => assert!(row[place].is_nan(), "{}: {} where Polars has nothing", column.name(), row[place]),
                Some(value) => {
                    let difference = (f64::from(row[place]) - value).abs();
                    assert!(difference <= TOLERANCE, "{}: {} and {value}", column.name(), row[place]);
                }
            }
        }
    }
}

fn windows(criterion: &mut Criterion) {
    let utilization = utilization();
    let samples = samples(&utilization);
    let rules = Arc::new(WindowRules::default());
    let columns = RESOURCES.iter().zip(&utilization).map(|(name, values)| Column::new((*name).into(), values));
    let frame = DataFrame::new(SLOTS, columns.collect()).expect("a frame");
    check(&one_pass(&samples, &rules), &rolling(&frame));

    let mut group = criterion.benchmark_group("windows of one node, two weeks");
    group.sample_size(10).throughput(Throughput::Elements(SLOTS as u64));
    group.bench_function(format!("one pass, {} features", catalogue::len()), |bencher| {
        bencher.iter(|| one_pass(black_box(&samples), &rules));
    });
    group.bench_function(format!("Polars rolling, {} features", wanted().len()), |bencher| {
        bencher.iter(|| rolling(black_box(&frame)));
    });
    group.finish();
}

criterion_group!(benches, windows);
criterion_main!(benches);
