//! The P90 that is judged is the P90 that is served: the trainer's replay beside the server's refresh loop, on the same samples.

use cluster::{DAY_MS, GRID_STEP_MS, HOUR_MS, MINUTE_MS, NODE_METRICS, NodeMetric, NodeName, NodeSample};
use detection::watch::SlidingFeatures;
use features::{FeatureSettings, Selection, TargetKind};
use models::artifact::{Artifact, ArtifactDraft};
use models::load::{HeadKey, OffsetRule};
use polars::prelude::*;
use serving::nodes::LiveOffsets;
use serving::registry::{ModelName, ServedModel};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{Store, VersionDraft, date_of};
use trainer::evaluate::{ReplayInput, replay};
use trainer::folds::Window;
use trainer::recipe::{Recipe, schema_columns};
use trainer::rows::LoadRows;
use trainer::train::{LoadSettings, TrainedLoad, train_load};

const MONDAY: i64 = 1_780_272_000_000; // 2026-06-01T00:00:00Z
const DAYS: i64 = 7;
const NODES: usize = 3;
const STEP: i64 = MINUTE_MS;

/// Samples of a node, one a minute: a wave with noise that grows in the last days, so that the P90 has to follow. One node
/// is silent for forty minutes and later for more than a day, one loses its CPU values for twenty minutes.
fn samples(node: usize) -> Vec<NodeSample> {
    let sample = |at: i64| {
        let since = at - MONDAY;
        let silent = 5 * DAY_MS + HOUR_MS..5 * DAY_MS + HOUR_MS + 40 * MINUTE_MS;
        let gone = 5 * DAY_MS + 6 * HOUR_MS..6 * DAY_MS + 7 * HOUR_MS;
        if node == 1 && (silent.contains(&since) || gone.contains(&since)) {
            return None;
        }
        let turn = (at % DAY_MS) as f64 / DAY_MS as f64 * std::f64::consts::TAU;
        let noise = ((at / MINUTE_MS * 7_919 + node as i64 * 104_729) % 1_009) as f64 / 1_009.0 - 0.5;
        let slow = ((at / (47 * MINUTE_MS) * 31 + node as i64) % 17) as f64 / 17.0 - 0.5;
        let restless = if since > 5 * DAY_MS { 0.35 } else { 0.1 };
        let load = 0.45 + 0.2 * (turn + node as f64).sin() + 0.05 * noise + restless * slow;
        let mut sample = NodeSample::empty(at);
        sample.set(NodeMetric::CpuAllocatable, 8.0);
        sample.set(NodeMetric::MemoryAllocatable, 1e9);
        sample.set(NodeMetric::MemoryUsed, (0.5 + 0.3 * slow) * 1e9);
        let lost = 5 * DAY_MS + 3 * HOUR_MS..5 * DAY_MS + 3 * HOUR_MS + 20 * MINUTE_MS;
        if !(node == 2 && lost.contains(&since)) {
            sample.set(NodeMetric::CpuUsed, load * 8.0);
        }
        Some(sample)
    };
    (MONDAY..MONDAY + DAYS * DAY_MS).step_by(STEP as usize).filter_map(sample).collect()
}

fn name(node: usize) -> NodeName {
    NodeName::new(format!("node-{node}"))
}

/// The samples as `collector` writes them, and their features as `features build` makes them.
fn rows(store: &Store, all: &[Vec<NodeSample>]) -> LoadRows {
    for day in 0..DAYS {
        let within = MONDAY + day * DAY_MS..MONDAY + (day + 1) * DAY_MS;
        let mut columns: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
        let (mut ts, mut names) = (Vec::new(), Vec::new());
        for (node, samples) in all.iter().enumerate() {
            for sample in samples.iter().filter(|sample| within.contains(&sample.ts)) {
                ts.push(sample.ts);
                names.push(name(node).to_string());
                for (column, metric) in [
                    ("cpu_used_cores", NodeMetric::CpuUsed),
                    ("cpu_allocatable_cores", NodeMetric::CpuAllocatable),
                    ("memory_used_bytes", NodeMetric::MemoryUsed),
                    ("memory_allocatable_bytes", NodeMetric::MemoryAllocatable),
                ] {
                    let value = sample.get(metric);
                    columns.entry(column).or_default().push(Some(value).filter(|value| !value.is_nan()));
                }
            }
        }
        let rows = ts.len();
        let times =
            Column::new("ts".into(), ts).cast(&store::polars_type(cluster::ColumnKind::Timestamp)).expect("times");
        let mut all = vec![times, Column::new("node".into(), names)];
        all.extend(columns.into_iter().map(|(column, values)| Column::new(column.into(), values)));
        let frame = DataFrame::new(rows, all).expect("a frame");
        store.write_part(&NODE_METRICS, date_of(within.start), "day", &frame).expect("raw metrics");
    }
    let raw = store.freeze(&[&NODE_METRICS], VersionDraft::default()).expect("raw dataset");
    features::offline::build(store, &raw.id, &FeatureSettings::default(), false).expect("features");
    let selection = Selection::new(&schema_columns()).expect("columns");
    LoadRows::load(store, &selection).expect("rows")
}

fn trained(rows: &LoadRows) -> TrainedLoad {
    let recipe = Recipe { rounds: 30, upper_rounds: 20, ..Recipe::default() };
    let settings = LoadSettings { folds: 0, ..LoadSettings::default() };
    train_load(rows, &settings, &recipe, |_| ()).expect("trained")
}

/// By head, node and time: bits of the P90.
type Served = BTreeMap<(HeadKey, NodeName, i64), u32>;

fn replayed(rows: &LoadRows, trained: &TrainedLoad, window: Window) -> Served {
    let nodes: BTreeSet<u32> = (0..rows.nodes.len() as u32).collect();
    let mut served = Served::new();
    for head in &trained.heads {
        let input = ReplayInput { rows, nodes: &nodes, window, kind: TargetKind::HourMean };
        let issued = input.issued();
        let fitted = &head.fit.fitted;
        let x = rows.x.select_rows(&issued).expect("rows").select_columns(fitted.head.features()).expect("columns");
        let raw = fitted.head.predict(&x).expect("forecasts");
        let rule = OffsetRule::of(&fitted.head, fitted.evidence.median_error);
        let replay = replay(&input, rule, &raw, models::load::StartOffsets::default()).expect("a replay");
        for row in issued {
            let node = rows.nodes[rows.node[row] as usize].clone();
            served.insert((head.key, node, rows.ts[row]), replay.served[row].to_bits());
        }
    }
    served
}

/// What the server does at each refresh, once a minute, from `window.from` on; it is restarted once, and the source is away
/// once for eighteen minutes.
fn refreshed(all: &[Vec<NodeSample>], model: &Arc<ServedModel>, window: Window) -> (Served, usize) {
    let rules = FeatureSettings::default().rules(STEP).expect("rules");
    let mut sliding = SlidingFeatures::new(rules, MONDAY);
    let mut offsets = LiveOffsets::default();
    let mut next = vec![0; all.len()];
    let (mut served, mut moved) = (Served::new(), 0);
    let mut at = MONDAY + STEP;
    while at < window.until {
        let away = window.from + 7 * HOUR_MS + 2 * MINUTE_MS..window.from + 7 * HOUR_MS + 20 * MINUTE_MS;
        if away.contains(&at) {
            at += STEP;
            continue;
        }
        for (node, samples) in all.iter().enumerate() {
            let new = samples[next[node]..].partition_point(|sample| sample.ts < at);
            sliding.push(&name(node), &samples[next[node]..next[node] + new]);
            next[node] += new;
        }
        if at < window.from {
            sliding.settle(at - GRID_STEP_MS).expect("settled");
            at += STEP;
            continue;
        }
        for step in offsets.due(at).collect::<Vec<_>>() {
            let rows = sliding.ending_at(step).expect("rows");
            offsets.step(&rows, std::slice::from_ref(model)).expect("a step");
            let raw = model.all_forecasts(&rows).expect("forecasts").expect("a load predictor");
            let ours = offsets.served(model, &rows.nodes, raw.clone()).expect("forecasts");
            for ((node, ours), raw) in rows.nodes.iter().zip(ours).zip(raw) {
                for (ours, raw) in ours.into_iter().zip(raw) {
                    moved += usize::from(ours.p90 != raw.p90);
                    served.insert((ours.key, node.clone(), step), ours.p90.unwrap_or(f32::NAN).to_bits());
                }
            }
        }
        if at == window.from + 11 * HOUR_MS + 3 * MINUTE_MS {
            let bytes = rmp_serde::to_vec(&offsets).expect("bytes");
            offsets = rmp_serde::from_slice(&bytes).expect("offsets");
        }
        at += STEP;
    }
    (served, moved)
}

#[test]
fn the_replay_of_the_trainer_and_the_refresh_loop_of_the_server_give_the_same_p90_to_the_bit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let all: Vec<Vec<NodeSample>> = (0..NODES).map(samples).collect();
    let rows = rows(&Store::new(folder.path()), &all);
    let trained = trained(&rows);
    let window = Window { from: MONDAY + 5 * DAY_MS, until: rows.span().until };
    let judged = replayed(&rows, &trained, window);

    let draft = ArtifactDraft {
        heads: trained.heads.iter().map(|head| head.fit.fitted.evidence.clone()).collect(),
        ..ArtifactDraft::default()
    };
    let artifact = Artifact::of_load_predictor(&trained.predictor, draft).expect("sealed");
    let model = ServedModel::read(ModelName::LoadPredictor, "1", artifact.into_blobs().expect("blobs")).expect("read");
    let (live, moved) = refreshed(&all, &Arc::new(model), window);

    assert!(judged.len() > 6 * 2 * 500, "{} forecasts", judged.len());
    assert!(moved > judged.len() / 2, "the shifts moved {moved} of {} forecasts", judged.len());
    for (key, p90) in &judged {
        assert_eq!(live.get(key), Some(p90), "{key:?}: {:?}", live.get(key).map(|bits| f32::from_bits(*bits)));
    }
    assert_eq!(live.len(), judged.len());
}
