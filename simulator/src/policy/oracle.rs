//! A policy that reads the future.

mod room;

use super::{Policy, Reach};
use crate::engine::{Account, Ask, Release, View};
use crate::outcome::CostWeights;
use crate::world::{NodeId, PodId, Request, Scenario};
use cluster::{HOT_UTILIZATION, VERY_HOT_UTILIZATION};
use room::{large, room, size};

/// Knows what every pod will use and how long it will run: it chooses the node on which the pod adds least cost over its
/// life, given all that runs now. Of the pods to come it knows how scarce they will make the requests, and how large a
/// large pod is (90th percentile): where room will be scarce, a place that takes away room for a large pod costs as much
/// as that pod's waiting.
///
/// A strong reference and no bound: it decides one pod after the other and never moves one, and policies that know less can be
/// cheaper. The cost is that of
/// [`CostWeights`] for hot minutes, throttling, memory and waiting; among nodes that add the same, the one that stays
/// lowest (least sum of squared utilization) is chosen.
///
/// How much room for later pods and evenness are worth at the moment of a decision cannot be told from the pods alone, so
/// there are several ways to weigh them ([`Foresight::ALL`]); the reference of a comparison is the best of them, known
/// after the fact ([`super::PolicyKind::run`]).
pub struct GreedyOracle<'a> {
    foresight: Foresight,
    scenario: &'a Scenario,
    weights: CostWeights,
    slots: usize,
    /// Millicores and bytes by node, then slot.
    future: Vec<(f32, f32)>,
    left_ms: Vec<Option<i64>>,
    bound_ms: Vec<i64>,
    /// The pod at hand at the slots that are looked at: slot, millicores, bytes.
    profile: Vec<(usize, f32, f32)>,
    /// A large pod without and with GPUs, and how scarce room for it will be, 0..1.
    large: [(Request, f64); 2],
}

/// How an oracle weighs what it cannot know: the effect on pods that will come later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Foresight {
    /// Factor on the waiting of large pods for which room is taken away.
    pub room: f64,
    /// Cost of squared utilization of CPU and memory per node-minute: evenness, for what may come.
    pub even: f64,
}

impl Foresight {
    /// From pure avoidance of hot minutes to evenness and room above all.
    pub const ALL: [Self; 6] = [
        Self { room: 0.0, even: 0.01 },
        Self { room: 0.0, even: 0.3 },
        Self { room: 0.3, even: 0.1 },
        Self { room: 1.0, even: 0.03 },
        Self { room: 1.0, even: 0.3 },
        Self { room: 3.0, even: 3.0 },
    ];
}

/// Slots of a pod's life that are looked at; a longer life is sampled evenly. Measured: 96 and 288 choose nearly the same.
const LOOKED_AT: usize = 96;

impl<'a> GreedyOracle<'a> {
    /// Of one scenario.
    pub fn new(scenario: &'a Scenario, weights: CostWeights, foresight: Foresight) -> Self {
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
            foresight,
            scenario,
            weights,
            slots,
            future,
            left_ms: scenario.pods.iter().map(|pod| pod.runs_ms).collect(),
            bound_ms: vec![0; scenario.pods.len()],
            profile: Vec::new(),
            large: [large(scenario, false), large(scenario, true)],
        }
    }

    /// What the waiting of the large pods costs, per slot, for which `request` takes away the room on a node.
    fn room_taken(&self, account: &Account, gpus: u8, request: &Request) -> f64 {
        let mut cost = 0.0;
        for (large, scarcity) in self.large.iter().filter(|(_, scarcity)| *scarcity > 0.0) {
            if large.gpus > 0 && gpus == 0 {
                continue;
            }
            let (before, after) = (room(account, large, &Request::default()), room(account, large, request));
            // What the pod needs for itself is no loss.
            let own = size(request, large).min(before);
            cost += self.foresight.room * scarcity * self.weights.pending * (before - after - own).max(0.0);
        }
        cost
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
        let (per_cpu, per_memory) = (cpu.recip(), memory.recip());
        let state = |cpu: f64, memory: f64| {
            node_cost(&self.weights, self.foresight.even, cpu * per_cpu, memory * per_memory, pods)
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

/// The cost of a minute of a node by its shares of CPU and memory, which only grows with both: hot minutes, throttling as far as it can
/// be told from sums, a kill while memory is short, and `even` times the squares of both shares.
pub(crate) fn node_cost(weights: &CostWeights, even: f64, cpu: f64, memory: f64, pods: f64) -> f64 {
    let mut cost = even * (cpu * cpu + memory * memory);
    if cpu > HOT_UTILIZATION {
        cost += weights.hot_80 + (cpu - HOT_UTILIZATION);
    }
    if cpu > VERY_HOT_UTILIZATION {
        cost += weights.hot_90;
    }
    if cpu > 1.0 {
        cost += weights.throttled * pods * (cpu - 1.0).min(1.0);
    }
    if memory > 1.0 {
        cost += weights.eviction;
    }
    cost
}

impl Policy for GreedyOracle<'_> {
    fn name(&self) -> &'static str {
        "greedy-oracle"
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
            let added = self.added(*node, account.cpu as f64, account.memory as f64, f64::from(account.pods + 1));
            let taken = self.room_taken(account, account.gpus, &ask.request);
            *score = -added - taken * self.profile.len() as f64;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineSettings, run};
    use crate::policy::KubeScheduler;
    use crate::testing::{PodWords, node, pod, scenario};
    use cluster::MINUTE_MS;

    #[test]
    fn it_keeps_apart_what_will_be_hot_together() {
        // Both nodes look the same now; the pods of workload 1 will need 3 of 4 cores each in the second half hour.
        let mut two = scenario(
            vec![node("a", "4", 16), node("b", "4", 16)],
            vec![
                pod("calm", "1", 1).uses(100.0, 0.1),
                pod("late-1", "1", 1),
                pod("late-2", "1", 1).arrives_at(MINUTE_MS),
            ],
        );
        let course: Vec<f32> = (0..60).map(|minute| if minute < 30 { 0.1 } else { 3.0 }).collect();
        two.series.push(crate::world::UsageSeries::new(course.clone(), vec![0.1; 60]).expect("a series"));
        for pod in &mut two.pods[1..] {
            pod.usage.series = crate::world::SeriesId(1);
        }
        let two = two.checked().expect("a scenario");
        let weights = CostWeights::default();
        let outcome =
            run(&two, &EngineSettings::default(), &mut GreedyOracle::new(&two, weights, Foresight::ALL[0]), 1);
        assert_eq!(outcome.hot_80_minutes, 0.0);
        // Whatever sees only the present may be unlucky: the third pod sees the same requests on both.
        let unlucky = (1..20).any(|seed| {
            run(&two, &EngineSettings::default(), &mut KubeScheduler::default(), seed).hot_80_minutes > 0.0
        });
        assert!(unlucky);
    }
}
