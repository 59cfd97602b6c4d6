//! One node while it runs: what its pods want, what they get, how much of it has passed.

use super::contention::{CRITICAL_PRIORITY, CpuClaim, eviction_order, share_cpu};
use crate::outcome::Meter;
use crate::world::{NodeId, PodId, Scenario};

/// The state of a node between two events, in which nothing changes.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeRun {
    pub pods: Vec<PodId>,
    /// Since when it is as it is.
    since_ms: i64,
    /// Millicores wanted, those of the baseline included.
    wanted: f64,
    /// Bytes used.
    pub memory: f64,
    /// Millicores granted.
    pub granted: f64,
    /// Pods that get less CPU than they want.
    throttled: u32,
    /// When the kubelet takes back its memory pressure.
    pub pressure_ends_ms: i64,
    /// Millicores × ms granted up to `since_ms`.
    granted_ms: f64,
    /// `granted_ms` at the last scrape.
    scraped_ms: f64,
}

impl NodeRun {
    /// Notes the time from the last change to `now_ms`.
    pub fn pass(&mut self, id: NodeId, now_ms: i64, meter: &mut Meter) {
        let lasted = (now_ms - self.since_ms) as f64;
        if lasted > 0.0 {
            let span = (self.since_ms, lasted);
            meter.node_time(id, span, self.granted, self.wanted, self.memory, self.throttled, !self.pods.is_empty());
            self.granted_ms += self.granted * lasted;
        }
        self.since_ms = now_ms;
    }

    /// Millicores that its pods want, those of the baseline included.
    pub const fn wanted(&self) -> f64 {
        self.wanted
    }

    /// Starts the clock of a node that joins.
    pub fn start(&mut self, now_ms: i64) {
        self.since_ms = now_ms;
    }

    /// Works out anew what all pods want in `slot` of the usage grid.
    pub fn refresh(&mut self, id: NodeId, scenario: &Scenario, slot: u64) {
        let baseline = scenario.nodes[id.index()].baseline.map_or((0.0, 0.0), |usage| usage.at(&scenario.series, slot));
        let mut sum = baseline;
        for pod in &self.pods {
            let (cpu, memory) = scenario.pods[pod.index()].usage.at(&scenario.series, slot);
            sum.0 += cpu;
            sum.1 += memory;
        }
        (self.wanted, self.memory) = sum;
    }

    /// A pod starts.
    pub fn add(&mut self, pod: PodId, scenario: &Scenario, slot: u64) {
        let (cpu, memory) = scenario.pods[pod.index()].usage.at(&scenario.series, slot);
        self.pods.push(pod);
        self.wanted += cpu;
        self.memory += memory;
    }

    /// A pod ends.
    pub fn remove(&mut self, pod: PodId, scenario: &Scenario, slot: u64) {
        if let Some(at) = self.pods.iter().position(|other| *other == pod) {
            self.pods.remove(at);
            let (cpu, memory) = scenario.pods[pod.index()].usage.at(&scenario.series, slot);
            self.wanted = (self.wanted - cpu).max(0.0);
            self.memory = (self.memory - memory).max(0.0);
        }
    }

    /// The pod that the kubelet evicts next; `None` while memory suffices or nothing is left to evict.
    pub fn next_eviction(&self, id: NodeId, scenario: &Scenario, slot: u64) -> Option<PodId> {
        if self.memory <= scenario.nodes[id.index()].memory.as_f64() {
            return None;
        }
        let used = |pod: &PodId| (*pod, scenario.pods[pod.index()].usage.at(&scenario.series, slot).1);
        let evictable = self.pods.iter().filter(|pod| scenario.pods[pod.index()].priority < CRITICAL_PRIORITY);
        evictable.map(used).min_by(|a, b| eviction_order(&scenario.pods, *a, *b)).map(|(pod, _)| pod)
    }

    /// Shares the CPU among the pods. The baseline is served first: the kubelet reserves for the system.
    pub fn share(&mut self, id: NodeId, scenario: &Scenario, slot: u64, scratch: &mut Vec<CpuClaim>) {
        let node = &scenario.nodes[id.index()];
        let capacity = node.cpu.millicores() as f64;
        (self.granted, self.throttled) = (self.wanted, 0);
        if self.wanted <= capacity {
            return;
        }
        let system = node.baseline.map_or(0.0, |usage| usage.at(&scenario.series, slot).0).min(capacity);
        scratch.clear();
        scratch.extend(self.pods.iter().map(|pod| {
            let pod = &scenario.pods[pod.index()];
            let wants = pod.usage.at(&scenario.series, slot).0;
            CpuClaim { wants, requests: pod.request.cpu.millicores() as f64 }
        }));
        let share = share_cpu(capacity - system, scratch);
        (self.granted, self.throttled) = (system + share.granted, share.throttled);
    }

    /// CPU utilization since the last scrape and memory utilization now.
    pub fn scrape(&mut self, id: NodeId, now_ms: i64, step_ms: i64, scenario: &Scenario) -> (f32, f32) {
        let node = &scenario.nodes[id.index()];
        let granted_ms = self.granted_ms + self.granted * (now_ms - self.since_ms) as f64;
        let mean = (granted_ms - self.scraped_ms) / step_ms as f64;
        self.scraped_ms = granted_ms;
        ((mean / node.cpu.millicores() as f64) as f32, (self.memory / node.memory.as_f64()) as f32)
    }
}
