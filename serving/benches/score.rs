//! Scores of all nodes for one pod, without HTTP: what the scheduler extender waits for. One thread; an agent of the default
//! size with drawn weights, since the values that it gives cost the same whatever they are.

use chrono::Utc;
use cluster::{NodeName, Resource};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use features::cluster_state::{Amount, ClusterFacts, NodeFacts};
use models::anomaly::AnomalyKind;
use models::artifact::{Artifact, ArtifactDraft};
use models::load::{HeadKey, LoadForecast};
use models::placement::{Layer, PlacementNetwork};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use score_api::{PodRequest, ScoreRequest};
use serving::metrics::Metrics;
use serving::nodes::{Anomaly, ClusterView, NodePods, NodeView};
use serving::registry::{ModelName, Origin, Registry};
use serving::score::{ScoreRules, score};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

const GIB: f32 = (1_u64 << 30) as f32;

fn agent() -> PlacementNetwork {
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let features = features::cluster_state::names();
    let sizes = [features.len(), 64, 32, 1];
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
    let skip = drawn(sizes[0]);
    PlacementNetwork::new(features, skip, layers).expect("a network")
}

fn registry(folder: &std::path::Path) -> Registry {
    let artifact = Artifact::of_placement_agent(&agent(), ArtifactDraft::default()).expect("sealed");
    for (name, bytes) in artifact.into_blobs().expect("blobs") {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }
    let origins = BTreeMap::from([(ModelName::PlacementAgent, Origin::Folder(folder.to_owned()))]);
    let registry = Registry::new(origins, Arc::new(Metrics::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(registry.refresh());
    assert!(registry.current(ModelName::PlacementAgent).is_some(), "{:?}", registry.slots());
    registry
}

fn view(nodes: usize, now: i64) -> ClusterView {
    let mut chance = ChaCha8Rng::seed_from_u64(2);
    let mut node = || {
        let used = chance.random::<f32>();
        let forecast = |key: HeadKey| {
            let level = if key.resource == Resource::Cpu { used } else { 0.5 };
            LoadForecast { key, p50: Some(level), p90: Some(level + 0.05), fallback: false }
        };
        let facts = NodeFacts {
            allocatable: Amount { cpu: 16.0, memory: 64.0 * GIB },
            requested: Amount { cpu: 16.0 * used, memory: 32.0 * GIB },
            cpu_seen: used,
            memory_seen: 0.5,
            cpu_mean: used,
            cpu_deviation: 0.02,
            hours: [16.0 * used; 24],
            memory_peak: 32.0 * GIB,
            pods: 20,
            ..NodeFacts::default()
        };
        NodeView {
            sampled_at: now,
            facts,
            pods: NodePods::default(),
            forecasts: Some(HeadKey::all().map(forecast).collect()),
            anomaly: Some(Anomaly {
                score: 0.2 * used,
                severity: None,
                kind: AnomalyKind::Performance,
                blame: Vec::new(),
            }),
            row: None,
        }
    };
    let nodes = (0..nodes).map(|place| (NodeName::new(format!("gke-pool-a-5f3c9d1e-{place:05}")), node())).collect();
    ClusterView { at: now, step: 30_000, nodes, cluster: ClusterFacts::default(), ..ClusterView::default() }
}

fn scores(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (registry, now) = (registry(folder.path()), Utc::now().timestamp_millis());
    let rules = ScoreRules {
        weights: cluster::score::PartWeights::DESIGN,
        strategy: cluster::score::Strategy::default(),
        stale_after: 180_000,
    };
    let mut group = criterion.benchmark_group("score of all candidates for a pod");
    for count in [100, 500, 5_000] {
        let view = view(count, now);
        let request = ScoreRequest {
            pods: vec![PodRequest { cpu_request_cores: 0.5, memory_request_bytes: 1e9, ..PodRequest::default() }],
            nodes: view.nodes.keys().map(|name| name.as_str().to_owned()).collect(),
            explain: Some(false),
            ..ScoreRequest::default()
        };
        group.throughput(Throughput::Elements(count as u64));
        // Another kind of pod each time, so that nothing is remembered.
        let mut other = request.clone();
        let mut score_another = || {
            other.pods[0].cpu_request_cores += 1e-4;
            score(black_box(&other), &view, &registry, None, &rules, now)
        };
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| bencher.iter(&mut score_another));
        group.bench_function(BenchmarkId::new("as JSON", count), |bencher| {
            bencher.iter(|| serde_json::to_vec(&score_another()));
        });
        group.bench_with_input(BenchmarkId::new("the next of a kind", count), &request, |bencher, request| {
            bencher.iter(|| score(black_box(request), &view, &registry, None, &rules, now));
        });
    }
    group.finish();
}

criterion_group!(benches, scores);
criterion_main!(benches);
