//! Readings of the detector: one node, and all nodes of a large cluster at once, on one thread. Eight members of a hundred trees
//! on six features each, about as `trainer train anomaly` grows them. Limits of the design: one node below 50 µs, 5,000
//! nodes below 100 ms.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use models::FeatureMatrix;
use models::anomaly::{
    AlarmSettings, AnomalyKind, Detector, DetectorSettings, ForestSettings, LabelledRows, MemberSettings, Side,
    fit_detector,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

const MEMBERS: usize = 8;
const COLUMNS: usize = 6;

fn rows(count: usize, seed: u64) -> FeatureMatrix {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let width = MEMBERS * COLUMNS;
    let names: Vec<String> = (0..width).map(|column| format!("f{column}")).collect();
    FeatureMatrix::new(names, count, (0..count * width).map(|_| chance.random()).collect()).expect("a matrix")
}

fn detector() -> Detector {
    let x = rows(4_000, 1);
    let member = |member: usize| MemberSettings {
        name: format!("m{member}"),
        kind: AnomalyKind::Performance,
        columns: (0..COLUMNS).map(|column| format!("f{}", member * COLUMNS + column)).collect(),
        side: Side::Both,
    };
    let settings = DetectorSettings {
        forest: ForestSettings::default(),
        members: (0..MEMBERS).map(member).collect(),
        rules: Vec::new(),
        alarms: AlarmSettings::default(),
        expected_share: 0.01,
    };
    let (odd, usual) = (vec![false; x.rows()], vec![true; x.rows()]);
    fit_detector(&LabelledRows { x: &x, odd: &odd, usual: &usual }, &settings, 7).expect("a detector")
}

fn readings(criterion: &mut Criterion) {
    let detector = detector();
    let mut group = criterion.benchmark_group("readings of the anomaly detector");
    let x = rows(5_000, 2);
    let mut place = 0;
    group.bench_function("one node", |bencher| {
        bencher.iter(|| {
            place = (place + 1) % x.rows();
            detector.read(black_box(x.row(place)))
        });
    });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    group.throughput(Throughput::Elements(x.rows() as u64));
    group.sample_size(10);
    group.bench_with_input(BenchmarkId::new("all nodes", x.rows()), &x, |bencher, x| {
        bencher.iter(|| pool.install(|| detector.surprises(black_box(x))));
    });
    group.finish();
}

criterion_group!(benches, readings);
criterion_main!(benches);
