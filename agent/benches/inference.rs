//! Scores of candidates on one core, by cluster size, and one update. Limits of the design: 500 candidates under 1 ms,
//! 5,000 under 8 ms.

use agent::{DqnSettings, End, Learner, Transition};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use models::placement::Scratch;
use std::hint::black_box;

const WIDTH: usize = 38;

fn learner() -> Learner {
    let names = (0..WIDTH).map(|at| format!("feature_{at}")).collect();
    Learner::new(DqnSettings::default(), names, vec![0.1; WIDTH]).expect("a learner")
}

fn value(at: usize) -> f32 {
    (at * 7_919 % 1_000) as f32 / 1_000.0
}

fn candidates(criterion: &mut Criterion) {
    let learner = learner();
    let mut group = criterion.benchmark_group("placement network, candidates");
    for count in [5, 50, 500, 5_000] {
        let rows: Vec<f32> = (0..count * WIDTH).map(value).collect();
        let (mut scratch, mut scores) = (Scratch::default(), Vec::new());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| learner.network().score(black_box(&rows), &mut scratch, &mut scores).expect("whole rows"));
        });
    }
    group.finish();
}

fn update(criterion: &mut Criterion) {
    let mut learner = learner();
    for at in 0..2_000 {
        let row = (0..WIDTH).map(|feature| value(at * WIDTH + feature)).collect();
        let next = (0..WIDTH * 4).map(|feature| value(at + feature)).collect();
        let end = End { terminated: at % 5 == 0, truncated: false };
        learner.observe(Transition { row, reward: value(at), discount: 0.9, next, end }).expect("taken in");
    }
    criterion.bench_function("placement network, update of 128", |bencher| {
        bencher.iter(|| learner.update().expect("an update"))
    });
}

criterion_group!(benches, candidates, update);
criterion_main!(benches);
