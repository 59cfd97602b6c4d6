//! Counts while a run goes on.

use super::summary::{Outcome, Series};
use crate::engine::Account;
use crate::world::{NodeId, Request, Scenario};
use cluster::{HOT_UTILIZATION, VERY_HOT_UTILIZATION};

/// Bins of the utilization's distribution: half a point each up to 100 %.
const LEVELS: usize = 201;
/// Bins of time that a chart shows.
const CHART_BINS: i64 = 168;

#[derive(Debug, Clone)]
pub(crate) struct Meter {
    hot_80_ms: f64,
    hot_90_ms: f64,
    memory_90_ms: f64,
    throttled_ms: f64,
    missing_milli_ms: f64,
    node_ms: f64,
    core_ms: f64,
    used_core_ms: f64,
    utilization_ms: f64,
    levels: Vec<f64>,
    evictions: u64,
    displaced: u64,
    completed: u64,
    decisions: u64,
    placed: u64,
    never_placed: u64,
    waiting: u64,
    pending_ms: f64,
    waits_ms: Vec<i64>,
    imbalance: (f64, u64),
    stranded: (f64, u64),
    reference: Request,
    /// What the median pod uses: millicores and bytes.
    reference_use: (f64, f64),
    total_cpu: f64,
    room_by_requests: Vec<u64>,
    room_by_usage: Vec<u64>,
    bin_ms: i64,
    bins: usize,
    hot_bins: Vec<f64>,
    node_bins: Vec<(f32, f32)>,
    cpu: Vec<f64>,
    memory: Vec<f64>,
}

impl Meter {
    pub fn new(scenario: &Scenario) -> Self {
        // Whole usage steps, since the state of a node never lasts over the border of one.
        let step = scenario.usage_step_ms;
        let bin_ms = (scenario.span_ms / CHART_BINS).div_euclid(step).max(1) * step;
        let bins = (scenario.span_ms as u64).div_ceil(bin_ms as u64) as usize;
        Self {
            hot_80_ms: 0.0,
            hot_90_ms: 0.0,
            memory_90_ms: 0.0,
            throttled_ms: 0.0,
            missing_milli_ms: 0.0,
            node_ms: 0.0,
            core_ms: 0.0,
            used_core_ms: 0.0,
            utilization_ms: 0.0,
            levels: vec![0.0; LEVELS],
            evictions: 0,
            displaced: 0,
            completed: 0,
            decisions: 0,
            placed: 0,
            never_placed: 0,
            waiting: 0,
            pending_ms: 0.0,
            waits_ms: Vec::with_capacity(scenario.pods.len()),
            imbalance: (0.0, 0),
            stranded: (0.0, 0),
            reference: scenario.reference_request(),
            reference_use: reference_use(scenario),
            total_cpu: scenario.total_cpu() as f64,
            room_by_requests: Vec::new(),
            room_by_usage: Vec::new(),
            bin_ms,
            bins,
            hot_bins: vec![0.0; bins],
            node_bins: vec![(0.0, 0.0); bins * scenario.nodes.len()],
            cpu: scenario.nodes.iter().map(|node| node.cpu.millicores() as f64).collect(),
            memory: scenario.nodes.iter().map(|node| node.memory.as_f64()).collect(),
        }
    }

    /// A node was in one state for a while: `span` is when that began and how long it lasted, in ms.
    #[allow(clippy::too_many_arguments)]
    pub fn node_time(
        &mut self,
        node: NodeId,
        span: (i64, f64),
        granted: f64,
        wanted: f64,
        memory: f64,
        throttled: u32,
        in_use: bool,
    ) {
        let (since_ms, lasted) = span;
        let at = node.index();
        let cpu = self.cpu[at];
        let bin = (since_ms / self.bin_ms) as usize;
        let utilization = granted / cpu;
        self.node_ms += lasted;
        self.core_ms += cpu * lasted;
        self.utilization_ms += utilization * lasted;
        self.levels[((utilization * 200.0) as usize).min(LEVELS - 1)] += lasted;
        if in_use {
            self.used_core_ms += cpu * lasted;
        }
        if wanted > HOT_UTILIZATION * cpu {
            self.hot_80_ms += lasted;
            self.hot_bins[bin] += lasted;
            if wanted > VERY_HOT_UTILIZATION * cpu {
                self.hot_90_ms += lasted;
            }
        }
        if memory > VERY_HOT_UTILIZATION * self.memory[at] {
            self.memory_90_ms += lasted;
        }
        self.throttled_ms += f64::from(throttled) * lasted;
        self.missing_milli_ms += (wanted - granted) * lasted;
        let cell = &mut self.node_bins[at * self.bins + bin];
        cell.0 += (utilization * lasted) as f32;
        cell.1 += lasted as f32;
    }

    /// A pod found a node after `waited_ms`.
    pub fn waited(&mut self, first: bool, waited_ms: i64) {
        self.decisions += 1;
        self.pending_ms += waited_ms as f64;
        if first {
            self.placed += 1;
            self.waits_ms.push(waited_ms);
        }
    }

    /// A pod waits when the run ends.
    pub fn still_waiting(&mut self, never_placed: bool, waited_ms: i64) {
        self.waiting += 1;
        self.pending_ms += waited_ms as f64;
        if never_placed {
            self.never_placed += 1;
            self.waits_ms.push(waited_ms);
        }
    }

    pub fn evicted(&mut self) {
        self.evictions += 1;
    }

    pub fn displaced(&mut self) {
        self.displaced += 1;
    }

    pub fn completed(&mut self) {
        self.completed += 1;
    }

    /// What is sampled: at every usage step, and the room for more pods at the border of every bin.
    pub fn step<'n>(
        &mut self,
        now_ms: i64,
        accounts: &[Account],
        nodes: impl ExactSizeIterator<Item = (f64, f64)> + Clone + 'n,
    ) {
        let there = || nodes.clone().zip(accounts).enumerate().filter(|(_, (_, account))| account.ready);
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for (at, ((granted, _), _)) in there() {
            let utilization = granted / self.cpu[at];
            count += 1.0;
            sum += utilization;
            squares += utilization * utilization;
        }
        if count > 0.0 {
            let mean = sum / count;
            self.imbalance.0 += (squares / count - mean * mean).max(0.0).sqrt();
            self.imbalance.1 += 1;
        }
        if now_ms % self.bin_ms != 0 {
            return;
        }
        let (mut stranded, mut by_requests, mut by_usage) = (0_u64, 0_u64, 0_u64);
        for (at, ((granted, memory), account)) in there() {
            let room = account.room_for(&self.reference);
            if room == 0 {
                stranded += account.cpu - account.cpu_requested.min(account.cpu);
            }
            by_requests += room;
            let free_cpu = (HOT_UTILIZATION * self.cpu[at] - granted).max(0.0) / self.reference_use.0;
            let free_memory = (VERY_HOT_UTILIZATION * self.memory[at] - memory).max(0.0) / self.reference_use.1;
            by_usage += free_cpu.min(free_memory) as u64;
        }
        self.stranded.0 += stranded as f64 / self.total_cpu;
        self.stranded.1 += 1;
        self.room_by_requests.push(by_requests);
        self.room_by_usage.push(by_usage);
    }

    pub fn into_outcome(mut self, scenario: &Scenario, policy: &str, seed: u64, running: u64) -> Outcome {
        const MINUTE: f64 = 60_000.0;
        let mean = |(sum, count): (f64, u64)| if count == 0 { 0.0 } else { sum / count as f64 };
        self.waits_ms.sort_unstable();
        self.room_by_requests.sort_unstable();
        self.room_by_usage.sort_unstable();
        let node_ms = self.node_ms.max(f64::MIN_POSITIVE);
        Outcome {
            scenario: scenario.name.clone(),
            policy: policy.to_owned(),
            seed,
            node_minutes: self.node_ms / MINUTE,
            hot_80_minutes: self.hot_80_ms / MINUTE,
            hot_90_minutes: self.hot_90_ms / MINUTE,
            memory_90_minutes: self.memory_90_ms / MINUTE,
            throttled_pod_minutes: self.throttled_ms / MINUTE,
            missing_core_minutes: self.missing_milli_ms / 1_000.0 / MINUTE,
            evictions: self.evictions,
            displaced: self.displaced,
            mean_utilization: self.utilization_ms / node_ms,
            p95_utilization: quantile_of_levels(&self.levels, 0.95),
            imbalance: mean(self.imbalance),
            stranded_share: mean(self.stranded),
            pending_pod_minutes: self.pending_ms / MINUTE,
            p99_wait_seconds: at_share(&self.waits_ms, 0.99).unwrap_or(0) as f64 / 1_000.0,
            pods: self.placed + self.never_placed,
            placed: self.placed,
            never_placed: self.never_placed,
            completed: self.completed,
            running,
            waiting: self.waiting,
            decisions: self.decisions,
            used_core_hours: self.used_core_ms / 1_000.0 / MINUTE / 60.0,
            core_hours: self.core_ms / 1_000.0 / MINUTE / 60.0,
            room_by_requests: at_share(&self.room_by_requests, 0.5).unwrap_or(0) as f64,
            room_by_requests_p5: at_share(&self.room_by_requests, 0.05).unwrap_or(0) as f64,
            room_by_usage: at_share(&self.room_by_usage, 0.5).unwrap_or(0) as f64,
            room_by_usage_p5: at_share(&self.room_by_usage, 0.05).unwrap_or(0) as f64,
            series: self.series(node_ms),
        }
    }

    fn series(&self, node_ms: f64) -> Series {
        let mean = |cell: &(f32, f32)| if cell.1 > 0.0 { cell.0 / cell.1 } else { f32::NAN };
        let mut utilization = vec![0.0; 100];
        for (level, lasted) in self.levels.iter().enumerate() {
            utilization[(level / 2).min(99)] += lasted / node_ms;
        }
        Series {
            bin_ms: self.bin_ms,
            hot_80: self.hot_bins.iter().map(|ms| ms / 60_000.0).collect(),
            nodes: self.node_bins.chunks(self.bins).map(|bins| bins.iter().map(mean).collect()).collect(),
            utilization,
        }
    }
}

/// What "such a pod" uses: the medians of the scenario's mean usages, over its plain pods.
fn reference_use(scenario: &Scenario) -> (f64, f64) {
    let mean = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
    let means: Vec<(f64, f64)> =
        scenario.series.iter().map(|series| (mean(&series.cpu), mean(&series.memory))).collect();
    let has_plain = scenario.pods.iter().any(|pod| pod.request.gpus == 0);
    let pods = || scenario.pods.iter().filter(|pod| !has_plain || pod.request.gpus == 0);
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(1.0).max(1.0)
    };
    let cpu = pods().map(|pod| means[pod.usage.series.0 as usize].0 * f64::from(pod.usage.cpu_milli));
    let memory = pods().map(|pod| means[pod.usage.series.0 as usize].1 * f64::from(pod.usage.memory_bytes));
    (middle(cpu.collect()), middle(memory.collect()))
}

/// The value below which `share` of a sorted list lies.
fn at_share<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get(((sorted.len() as f64 * share) as usize).min(last)).copied()
}

/// The upper edge of the level below which `share` of the time lies.
fn quantile_of_levels(levels: &[f64], share: f64) -> f64 {
    let wanted = levels.iter().sum::<f64>() * share;
    let mut sum = 0.0;
    for (level, lasted) in levels.iter().enumerate() {
        sum += lasted;
        if sum >= wanted && sum > 0.0 {
            return ((level + 1) as f64 / 200.0).min(1.0);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_upper_edge_of_its_level() {
        let mut levels = vec![0.0; LEVELS];
        levels[40] = 90.0; // 20.0 % to 20.5 %
        levels[160] = 10.0;
        assert_eq!(quantile_of_levels(&levels, 0.9), 41.0 / 200.0);
        assert_eq!(quantile_of_levels(&levels, 0.95), 161.0 / 200.0);
        assert_eq!(quantile_of_levels(&[0.0; LEVELS], 0.95), 0.0);
        assert_eq!(at_share(&[1, 2, 3, 4], 0.5), Some(3));
        assert_eq!(at_share::<u64>(&[], 0.5), None);
    }
}
