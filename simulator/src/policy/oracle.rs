//! A policy that reads the future.

use super::{Policy, Reach};
use crate::engine::{Ask, Release, View};
use crate::outcome::CostWeights;
use crate::world::{NodeId, PodId, Scenario};

/// Knows what every pod will use and how long it will run, but not which pods will come: it chooses the node on which the
/// pod adds least cost over its life, given all that runs now.
///
/// A strong reference rather than a bound: it decides one pod after the other and never moves one. The cost is that of
/// [`CostWeights`] for hot minutes, throttling and memory; among nodes that add the same, the one that stays lowest (least
/// sum of squared utilization) is chosen.
pub struct Oracle<'a> {
    scenario: &'a Scenario,
    weights: CostWeights,
    slots: usize,
    /// Millicores and bytes by node, then slot.
    future: Vec<(f32, f32)>,
    left_ms: Vec<Option<i64>>,
    bound_ms: Vec<i64>,
    /// The pod at hand at the slots that are looked at: slot, millicores, bytes.
    profile: Vec<(usize, f32, f32)>,
}

/// Slots of a pod's life that are looked at; a longer life is sampled evenly. Measured: 96 and 288 choose nearly the same.
const LOOKED_AT: usize = 96;
/// The part of squared utilization: decides among nodes of equal cost, and is worth less than any hot minute.
const SMOOTH: f64 = 0.01;

impl<'a> Oracle<'a> {
    /// Of one scenario.
    pub fn new(scenario: &'a Scenario, weights: CostWeights) -> Self {
        let slots = (scenario.span_ms as u64).div_ceil(scenario.usage_step_ms as u64) as usize;
        let mut future = vec![(0.0, 0.0); slots * scenario.nodes.len()];
        for (node, slot_values) in scenario.nodes.iter().zip(future.chunks_mut(slots)) {
            if let Some(baseline) = &node.baseline {
                for (slot, value) in slot_values.iter_mut().enumerate() {
                    let (cpu, memory) = baseline.at(&scenario.series, slot as u64);
                    *value = (cpu as f32, memory as f32);
                }
            }
        }
        Self {
            scenario,
            weights,
            slots,
            future,
            left_ms: scenario.pods.iter().map(|pod| pod.runs_ms).collect(),
            bound_ms: vec![0; scenario.pods.len()],
            profile: Vec::new(),
        }
    }

    /// First and last slot (exclusive) of a pod that runs from `from_ms`.
    fn life(&self, pod: PodId, from_ms: i64) -> (usize, usize) {
        let first = (self.scenario.slot(from_ms) as usize).min(self.slots);
        let end = self.left_ms[pod.index()].map_or(self.scenario.span_ms, |left| from_ms.saturating_add(left));
        let last = end.min(self.scenario.span_ms).max(from_ms + 1) as u64;
        (first, (last.div_ceil(self.scenario.usage_step_ms as u64) as usize).min(self.slots).max(first))
    }

    fn change(&mut self, pod: PodId, node: NodeId, slots: (usize, usize), sign: f32) {
        let usage = self.scenario.pod(pod).usage;
        let start = node.index() * self.slots;
        for slot in slots.0..slots.1 {
            let (cpu, memory) = usage.at(&self.scenario.series, slot as u64);
            let value = &mut self.future[start + slot];
            value.0 += sign * cpu as f32;
            value.1 += sign * memory as f32;
        }
    }

    /// The cost that the pod of `profile` adds to `node`, per slot looked at.
    fn added(&self, node: NodeId, cpu: f64, memory: f64, pods: f64) -> f64 {
        let future = &self.future[node.index() * self.slots..(node.index() + 1) * self.slots];
        let state = |cpu_used: f64, memory_used: f64| {
            let (cpu_share, memory_share) = (cpu_used / cpu, memory_used / memory);
            let mut cost = SMOOTH * cpu_share * cpu_share;
            if cpu_share > 0.8 {
                cost += self.weights.hot_80 + (cpu_share - 0.8);
            }
            if cpu_share > 0.9 {
                cost += self.weights.hot_90;
            }
            if cpu_share > 1.0 {
                cost += self.weights.throttled * pods * (cpu_share - 1.0).min(1.0);
            }
            if memory_share > 1.0 {
                cost += self.weights.eviction;
            } else if memory_share > 0.9 {
                cost += SMOOTH * memory_share;
            }
            cost
        };
        self.profile
            .iter()
            .map(|(slot, more_cpu, more_memory)| {
                let (cpu, memory) = (f64::from(future[*slot].0), f64::from(future[*slot].1));
                state(cpu + f64::from(*more_cpu), memory + f64::from(*more_memory)) - state(cpu, memory)
            })
            .sum()
    }
}

impl Policy for Oracle<'_> {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn reach(&self) -> Reach {
        Reach::All
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let (first, last) = self.life(ask.pod, view.now_ms());
        let usage = self.scenario.pod(ask.pod).usage;
        let step = (last - first).div_ceil(LOOKED_AT).max(1);
        self.profile.clear();
        self.profile.extend((first..last).step_by(step).map(|slot| {
            let (cpu, memory) = usage.at(&self.scenario.series, slot as u64);
            (slot, cpu as f32, memory as f32)
        }));
        for (score, node) in scores.iter_mut().zip(candidates) {
            let account = view.account(*node);
            *score = -self.added(*node, account.cpu as f64, account.memory as f64, f64::from(account.pods + 1));
        }
    }

    fn bound(&mut self, pod: PodId, node: NodeId, now_ms: i64) {
        self.bound_ms[pod.index()] = now_ms;
        let slots = self.life(pod, now_ms);
        self.change(pod, node, slots, 1.0);
    }

    fn released(&mut self, release: &Release) {
        if release.ended {
            return;
        }
        let bound = self.bound_ms[release.pod.index()];
        let (_, last) = self.life(release.pod, bound);
        let now = (self.scenario.slot(release.at_ms) as usize).min(last);
        self.change(release.pod, release.node, (now, last), -1.0);
        let left = &mut self.left_ms[release.pod.index()];
        *left = left.map(|left| (left - (release.at_ms - bound)).max(1));
    }
}
