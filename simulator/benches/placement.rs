//! Decisions per second with candidate sampling, and a simulated day, by cluster size. One thread.
//!
//! Limits of the design: 200,000 placements a second for the simple policies at 1,500 nodes.

use cluster::{Bytes, Cores, MINUTE_MS};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use simulator::engine::{EngineSettings, Simulation, run};
use simulator::input::{Shape, Synthetic};
use simulator::outcome::CostWeights;
use simulator::policy::{PolicyKind, Scorer};
use simulator::world::{
    Node, Notes, Pod, QosClass, Request, Rules, Scenario, SeriesId, Usage, UsageSeries, Workload, WorkloadId, ZoneId,
};
use std::hint::black_box;

const PODS: usize = 10_000;

/// Equal nodes with room for all pods, which come one per millisecond after half an hour of telemetry.
fn stream(nodes: usize) -> Scenario {
    let node = |at: usize| {
        let mut node = Node::new(format!("node-{at}"), Cores::from_millicores(64_000), Bytes::new(256 << 30));
        node.zone = Some(ZoneId((at % 3) as u16));
        node
    };
    let pod = |at: usize| {
        let request =
            Request::new(Cores::from_millicores(250 + (at % 4) as u64 * 250), Bytes::new((1 + at as u64 % 3) << 30));
        Pod {
            name: format!("pod-{at}"),
            workload: WorkloadId((at % 200) as u32),
            priority: 0,
            qos: QosClass::Burstable,
            arrives_ms: 30 * MINUTE_MS + at as i64,
            runs_ms: None,
            request,
            usage: Usage::constant(SeriesId(0), 300.0, 1e9),
            recorded: None,
        }
    };
    Scenario {
        name: "stream".into(),
        origin_ms: 0,
        span_ms: 31 * MINUTE_MS,
        usage_step_ms: MINUTE_MS,
        nodes: (0..nodes).map(node).collect(),
        pods: (0..PODS).map(pod).collect(),
        workloads: (0..200).map(|at| Workload { name: format!("workload-{at}"), rules: 0 }).collect(),
        rules: vec![Rules::default()],
        series: vec![UsageSeries::constant()],
        notes: Notes::default(),
    }
    .checked()
    .expect("a scenario")
}

fn placements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("placements");
    group.throughput(Throughput::Elements(PODS as u64)).sample_size(10);
    for nodes in [150, 1_500, 5_000] {
        let scenario = stream(nodes);
        for kind in PolicyKind::COMPARED.into_iter().filter(|kind| *kind != PolicyKind::GreedyOracle) {
            group.bench_function(BenchmarkId::new(kind.name(), nodes), |bencher| {
                // The half hour of telemetry before the first pod is not part of the time.
                let ready = || {
                    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 1);
                    let first = simulation.next_pod();
                    (simulation, first, kind.build(&scenario, &CostWeights::default(), &Scorer::default()))
                };
                bencher.iter_batched(
                    ready,
                    |(mut simulation, mut pod, mut policy)| {
                        while let Some(next) = pod {
                            simulation.decide(next, policy.as_mut());
                            pod = if next.0 as usize + 1 < PODS { simulation.next_pod() } else { None };
                        }
                        black_box(simulation.now_ms())
                    },
                    criterion::BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

fn days(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulated day");
    group.sample_size(10);
    for nodes in [15, 150, 1_500] {
        let scenario =
            Synthetic { shape: Shape::Mixed, nodes, days: 1.0, load: 0.75, seed: 1 }.build().expect("a scenario");
        group.throughput(Throughput::Elements(scenario.pods.len() as u64));
        group.bench_function(BenchmarkId::new("kube-scheduler", nodes), |bencher| {
            bencher.iter(|| {
                let mut policy =
                    PolicyKind::KubeScheduler.build(&scenario, &CostWeights::default(), &Scorer::default());
                run(black_box(&scenario), &EngineSettings::default(), policy.as_mut(), 1)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, placements, days);
criterion_main!(benches);
