//! What a choice came to, worked out afterwards.
//!
//! The cost of a run is a sum over nodes and minutes, and a pod's part of it is what would not have been without the pod
//! (the difference reward of Wolpert and Tumer, 2002): the cost of its node with it minus that without it. It has far less
//! variance than the change of the whole cluster's cost between two decisions. The same sum tells what the pod would have
//! added on a node that was not chosen, so one decision teaches about several candidates.
//!
//! Of the other pods only those count that were there at the decision, for as long as they stayed. With later ones the sum
//! would be wrong where it matters: a policy that sees fills up the nodes that are low now, so in hindsight the full ones
//! look better than they were.

use crate::engine::{CpuClaim, share_cpu};
use crate::outcome::CostWeights;
use crate::world::{NodeId, PodId, Scenario};
use cluster::{HOT_UTILIZATION, HOUR_MS, MINUTE_MS, VERY_HOT_UTILIZATION};

/// Names of the parts of a reward.
pub const PARTS: [&str; 3] = ["performance", "stability", "efficiency"];

/// Cost that a pod added, in the worth of node-minutes over 80 % CPU.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Parts {
    /// Throttled pod-minutes and memory kills.
    pub performance: f64,
    /// Hot node-minutes and imbalance.
    pub stability: f64,
    /// Minutes that other pods waited for the room that it took.
    pub efficiency: f64,
}

impl Parts {
    /// Their sum, as the cost weights have weighted them.
    pub fn sum(&self) -> f64 {
        self.performance + self.stability + self.efficiency
    }

    fn add(&mut self, other: Self) {
        self.performance += other.performance;
        self.stability += other.stability;
        self.efficiency += other.efficiency;
    }

    /// In the order of [`PARTS`].
    pub const fn list(&self) -> [f64; 3] {
        [self.performance, self.stability, self.efficiency]
    }
}

/// What makes the steps of the cost teachable. The cost of a hot minute is a step: a pod on a node that is hot already adds
/// nothing, so a learner that took it at its word would pile up on nodes that it believes lost. But what came is one of
/// many things that could have come, and what is even leaves room for what may come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// A limit is taken for a ramp of this half-width around it, in utilization: near misses teach too.
    pub ramp: f64,
    /// Cost of squared utilization of CPU and memory per minute of a node of mean size; a larger node counts by its size.
    /// Without that a pod would always add least on the largest node, until it is far fuller than the others.
    pub even: f64,
}

impl Default for Smoothing {
    fn default() -> Self {
        Self { ramp: 0.1, even: 0.0 }
    }
}

/// A pod on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stay {
    pub pod: PodId,
    pub node: NodeId,
    pub from_ms: i64,
    pub until_ms: i64,
}

/// Distance of the moments that are looked at.
const STEP_MS: i64 = 5 * MINUTE_MS;
/// A kill sends one pod elsewhere, which mostly is enough; while memory stays short, there is another one after so long.
const KILLED_AGAIN_MS: i64 = HOUR_MS;
/// Shorter waits are those of the queue itself.
const LEAST_WAIT_MS: i64 = MINUTE_MS;

/// A run that is over.
pub struct Hindsight<'a> {
    scenario: &'a Scenario,
    weights: CostWeights,
    smoothing: Smoothing,
    slots: usize,
    /// Mean millicores and bytes of the nodes.
    mean_size: (f64, f64),
    stays: Vec<Stay>,
    /// Places in `stays` by node.
    by_node: Vec<Vec<u32>>,
    /// Millicores and bytes by node, then slot.
    load: Vec<(f32, f32)>,
    /// Mean and standard deviation of CPU utilization over the nodes, by slot.
    spread: Vec<(f64, f64)>,
    /// Minutes of others' waiting by stay, weighted.
    waits: Vec<f64>,
}

impl<'a> Hindsight<'a> {
    pub(super) fn new(scenario: &'a Scenario, weights: CostWeights, smoothing: Smoothing, stays: Vec<Stay>) -> Self {
        let slots = (scenario.span_ms as u64).div_ceil(STEP_MS as u64) as usize;
        let mut load = vec![(0.0, 0.0); slots * scenario.nodes.len()];
        let mut by_node = vec![Vec::new(); scenario.nodes.len()];
        let count = scenario.nodes.len() as f64;
        let mean_size = scenario.nodes.iter().fold((0.0, 0.0), |(cpu, memory), node| {
            (cpu + node.cpu.millicores() as f64 / count, memory + node.memory.as_f64() / count)
        });
        for (node, slots) in scenario.nodes.iter().zip(load.chunks_mut(slots.max(1))) {
            let Some(baseline) = &node.baseline else { continue };
            for (slot, sum) in slots.iter_mut().enumerate() {
                let (cpu, memory) = baseline.at(&scenario.series, usage_slot(scenario, slot));
                *sum = (cpu as f32, memory as f32);
            }
        }
        for (at, stay) in stays.iter().enumerate() {
            by_node[stay.node.index()].push(at as u32);
            let usage = &scenario.pod(stay.pod).usage;
            let from = stay.node.index() * slots;
            for slot in slots_of(stay, slots) {
                let (cpu, memory) = usage.at(&scenario.series, usage_slot(scenario, slot));
                let sum = &mut load[from + slot];
                *sum = (sum.0 + cpu as f32, sum.1 + memory as f32);
            }
        }
        let waits = vec![0.0; stays.len()];
        let mut hindsight =
            Self { scenario, weights, smoothing, slots, mean_size, by_node, load, spread: Vec::new(), waits, stays };
        hindsight.spread = (0..slots).map(|slot| hindsight.spread_in(slot)).collect();
        hindsight.charge_waits();
        hindsight
    }

    fn spread_in(&self, slot: usize) -> (f64, f64) {
        let share = |(node, of): (&[(f32, f32)], &crate::world::Node)| {
            (f64::from(node[slot].0) / of.cpu.millicores() as f64).min(1.0)
        };
        let shares = || self.load.chunks(self.slots).zip(&self.scenario.nodes).map(share);
        let count = self.scenario.nodes.len() as f64;
        let mean = shares().sum::<f64>() / count;
        let variance = shares().map(|share| (share - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    }

    /// Where a pod waited for room, those pods pay in equal parts without any one of which it would have fitted.
    fn charge_waits(&mut self) {
        let mut started = vec![i64::MAX; self.scenario.pods.len()];
        for stay in &self.stays {
            let first = &mut started[stay.pod.index()];
            *first = (*first).min(stay.from_ms);
        }
        for (at, pod) in self.scenario.pods.iter().enumerate() {
            let waited_ms = started[at].min(self.scenario.span_ms) - pod.arrives_ms;
            if waited_ms < LEAST_WAIT_MS || !self.scenario.fits_somewhere(&pod.request) {
                continue;
            }
            let pivotal = self.pivotal(pod.arrives_ms, &pod.request);
            let each = self.weights.pending * waited_ms as f64 / MINUTE_MS as f64 / pivotal.len().max(1) as f64;
            for stay in pivotal {
                self.waits[stay] += each;
            }
        }
    }

    fn pivotal(&self, now_ms: i64, wanted: &crate::world::Request) -> Vec<usize> {
        let mut pivotal = Vec::new();
        let runs = |stay: &Stay| stay.from_ms <= now_ms && now_ms < stay.until_ms;
        for (node, stays) in self.scenario.nodes.iter().zip(&self.by_node) {
            let there = || stays.iter().map(|at| *at as usize).filter(|at| runs(&self.stays[*at]));
            let request = |at: usize| self.scenario.pod(self.stays[at].pod).request;
            let cpu: u64 = there().map(|at| request(at).cpu.millicores()).sum();
            let memory: u64 = there().map(|at| request(at).memory.get()).sum();
            let fits = |at: usize| {
                let gone = request(at);
                cpu - gone.cpu.millicores() + wanted.cpu.millicores() <= node.cpu.millicores()
                    && memory - gone.memory.get() + wanted.memory.get() <= node.memory.get()
            };
            pivotal.extend(there().filter(|at| fits(*at)));
        }
        pivotal
    }

    /// What `pod` added, or would have added, on `node` from `from_ms` to `until_ms`, by hours, beside the pods of the first
    /// `before` stays. `stay` is the place of its own stay, if it was on that node.
    pub(super) fn added(
        &self,
        pod: PodId,
        node: NodeId,
        stay: Option<usize>,
        before: usize,
        (from_ms, until_ms): (i64, i64),
    ) -> Vec<Parts> {
        let count = (until_ms - from_ms).max(1).unsigned_abs().div_ceil(HOUR_MS as u64) as usize;
        let mut hours = vec![Parts::default(); count];
        let earlier = self.by_node[node.index()].iter().map(|at| *at as usize).take_while(|at| *at < before);
        let there: Vec<&Stay> = earlier.map(|at| &self.stays[at]).filter(|other| other.until_ms > from_ms).collect();
        let span = Stay { pod, node, from_ms, until_ms };
        let mut killed_ms = None;
        let mut claims = Vec::new();
        for slot in slots_of(&span, self.slots) {
            // A slot counts as far as the stay covers it.
            let (start, end) = (slot as i64 * STEP_MS, (slot as i64 + 1) * STEP_MS);
            let minutes = (end.min(until_ms) - start.max(from_ms)).max(0) as f64 / MINUTE_MS as f64;
            let (mut added, over_memory) = self.in_slot(pod, node, slot, &there, &mut claims);
            added = Parts {
                performance: added.performance * minutes,
                stability: added.stability * minutes,
                efficiency: 0.0,
            };
            if over_memory && killed_ms.is_none_or(|at| start - at >= KILLED_AGAIN_MS) {
                killed_ms = Some(start);
                added.performance += self.weights.eviction;
            }
            let hour = ((start.max(from_ms) - from_ms) / HOUR_MS) as usize;
            if let Some(parts) = hours.get_mut(hour) {
                parts.add(added);
            }
        }
        if let (Some(at), Some(first)) = (stay, hours.first_mut()) {
            first.efficiency += self.waits[at];
        }
        hours
    }

    /// Cost per minute that `pod` adds on `node` by CPU, and whether memory is short because of it, beside those `there`.
    fn in_slot(
        &self,
        pod: PodId,
        node: NodeId,
        slot: usize,
        there: &[&Stay],
        claims: &mut Vec<CpuClaim>,
    ) -> (Parts, bool) {
        let usage_slot = usage_slot(self.scenario, slot);
        let shape = self.scenario.node(node);
        let (cpu, memory) = (shape.cpu.millicores() as f64, shape.memory.as_f64());
        let use_of = |pod: PodId| self.scenario.pod(pod).usage.at(&self.scenario.series, usage_slot);
        let claim = |pod: PodId, wants: f64| CpuClaim {
            wants,
            requests: self.scenario.pod(pod).request.cpu.millicores() as f64,
        };
        claims.clear();
        let (mut without, mut without_memory) =
            shape.baseline.map_or((0.0, 0.0), |baseline| baseline.at(&self.scenario.series, usage_slot));
        // The system is served first, as in the engine.
        let left = cpu - without.min(cpu);
        for other in there.iter().filter(|other| slot as i64 * STEP_MS < other.until_ms) {
            let (other_cpu, other_memory) = use_of(other.pod);
            without += other_cpu;
            without_memory += other_memory;
            claims.push(claim(other.pod, other_cpu));
        }
        let (own, own_memory) = use_of(pod);
        let (with, with_memory) = (without + own, without_memory + own_memory);

        let Smoothing { ramp, even } = self.smoothing;
        let over = |share: f64, limit: f64| ((share - limit + ramp) / (2.0 * ramp)).clamp(0.0, 1.0);
        let hot = |share: f64| {
            self.weights.hot_80 * over(share, HOT_UTILIZATION) + self.weights.hot_90 * over(share, VERY_HOT_UTILIZATION)
        };
        let (mean, deviation) = self.spread[slot];
        // The deviation over N nodes changes by (u − mean) du ÷ (N deviation) and costs as much for each of them.
        let uneven = |share: f64| {
            self.weights.imbalance * (share.min(1.0) - mean).powi(2) / (2.0 * deviation.max(0.02))
                + even * (cpu / self.mean_size.0) * share * share
        };
        let (share_with, share_without) = (with / cpu, without / cpu);
        let mut stability = hot(share_with) - hot(share_without) + uneven(share_with) - uneven(share_without);
        let fuller = (with_memory / memory).powi(2) - (without_memory / memory).powi(2);
        stability += even * (memory / self.mean_size.1) * fuller;

        let mut performance = 0.0;
        if with > cpu {
            let before = if without > cpu { share_cpu(left, claims).throttled } else { 0 };
            claims.push(claim(pod, own));
            let after = share_cpu(left, claims).throttled;
            performance += self.weights.throttled * (f64::from(after) - f64::from(before));
        }
        let over_memory = with_memory > memory && without_memory <= memory;
        (Parts { performance, stability, efficiency: 0.0 }, over_memory)
    }
}

/// The slots that a stay touches, its last moment not included.
fn slots_of(stay: &Stay, slots: usize) -> std::ops::Range<usize> {
    let first = (stay.from_ms.max(0) / STEP_MS) as usize;
    let last = stay.until_ms.max(0).unsigned_abs().div_ceil(STEP_MS as u64) as usize;
    first.min(slots)..last.clamp(first, slots.max(first)).min(slots)
}

/// The scenario's slot at the start of one of ours.
fn usage_slot(scenario: &Scenario, slot: usize) -> u64 {
    scenario.slot(slot as i64 * STEP_MS)
}

#[cfg(test)]
#[path = "reward_tests.rs"]
mod tests;
