//! A small cluster for tests: samples with gaps, made by a fixed generator.

#![allow(dead_code, reason = "each test file uses its own part")]

use cluster::{DAY_MS, NODE_METRICS, NodeMetric, NodeName, NodeSample};
use polars::prelude::*;
use store::{DatasetVersion, Store, VersionDraft, date_of};

/// Monday, 2 November 2026, 00:00 UTC.
pub const START: i64 = 1_793_577_600_000;

/// SplitMix64 (Steele, Lea and Flood, 2014): enough for test data, the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One node's samples over `days` days every `step_ms`, with noise, a daily wave, single missing values, missing
/// samples, and one outage of 26 hours.
pub fn samples(seed: u64, days: i64, step_ms: i64) -> Vec<NodeSample> {
    let mut random = Random(seed);
    let outage = START + 2 * DAY_MS + (random.next() * DAY_MS as f64) as i64;
    let mut samples = Vec::new();
    for step in 0..days * DAY_MS / step_ms {
        let ts = START + step * step_ms + (random.next() * step_ms as f64 * 0.3) as i64;
        let wave = (ts as f64 / DAY_MS as f64 * std::f64::consts::TAU).sin();
        if random.next() < 0.02 || (outage..outage + 26 * 3_600_000).contains(&ts) {
            continue;
        }
        let mut sample = NodeSample::empty(ts);
        for metric in NodeMetric::ALL {
            let noise = random.next();
            let value = match metric {
                NodeMetric::CpuUsed => 8.0 + 4.0 * wave + 3.0 * noise,
                NodeMetric::CpuAllocatable => 16.0,
                NodeMetric::MemoryUsed => 3e10 + 1e9 * wave + 1e9 * noise,
                NodeMetric::MemoryAllocatable => 6.4e10,
                NodeMetric::Uptime => (ts - START) as f64 / 1e3 + 1e5,
                NodeMetric::Ready => f64::from(noise > 0.01),
                NodeMetric::PodsRunning => 20.0 + (noise * 5.0).floor(),
                metric if metric.unit() == "bytes/s" => 1e6 * noise,
                _ => noise,
            };
            if random.next() > 0.02 {
                sample.set(*metric, value);
            }
        }
        samples.push(sample);
    }
    samples
}

/// A cluster of `nodes` nodes, by name.
pub fn cluster(nodes: u64, days: i64, step_ms: i64) -> Vec<(NodeName, Vec<NodeSample>)> {
    (0..nodes).map(|node| (NodeName::new(format!("node-{node:02}")), samples(node + 1, days, step_ms))).collect()
}

/// Writes samples as `raw/node_metrics` and freezes them.
pub fn write_raw(store: &Store, nodes: &[(NodeName, Vec<NodeSample>)]) -> DatasetVersion {
    let mut days: Vec<_> =
        nodes.iter().flat_map(|(_, samples)| samples.iter().map(|sample| date_of(sample.ts))).collect();
    days.sort_unstable();
    days.dedup();
    for date in days {
        let rows: Vec<(&str, &NodeSample)> = nodes
            .iter()
            .flat_map(|(node, samples)| samples.iter().map(move |sample| (node.as_str(), sample)))
            .filter(|(_, sample)| date_of(sample.ts) == date)
            .collect();
        let ts: Vec<i64> = rows.iter().map(|(_, sample)| sample.ts).collect();
        let mut columns = vec![
            Int64Chunked::from_vec("ts".into(), ts)
                .into_datetime(TimeUnit::Milliseconds, Some(TimeZone::UTC))
                .into_column(),
            StringChunked::from_iter_values("node".into(), rows.iter().map(|(node, _)| *node)).into_column(),
        ];
        for metric in NodeMetric::ALL {
            let values = rows.iter().map(|(_, sample)| Some(sample.get(*metric)).filter(|value| !value.is_nan()));
            columns.push(Float64Chunked::from_iter_options(metric.column().into(), values).into_column());
        }
        let frame = DataFrame::new(rows.len(), columns).expect("frame");
        store.replace_day(&NODE_METRICS, date, &frame).expect("raw day");
    }
    store.freeze(&[&NODE_METRICS], VersionDraft::default()).expect("raw version")
}

/// Equal, with NaN equal to NaN.
pub fn same(one: &[f32], other: &[f32]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one == other || (one.is_nan() && other.is_nan()))
}

/// The names of the features in which two rows differ, with both values.
pub fn differences(one: &[f32], other: &[f32]) -> Vec<String> {
    features::catalogue::all()
        .iter()
        .zip(one.iter().zip(other))
        .filter(|(_, (one, other))| !(one == other || (one.is_nan() && other.is_nan())))
        .map(|(feature, (one, other))| format!("{}: {one} and {other}", feature.name))
        .collect()
}
