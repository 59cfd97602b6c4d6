//! The run of a scenario, from decision to decision.

use super::account::{Account, Gpus, Room};
use super::contention::CpuClaim;
use super::filter::{Admitted, drawn_by, repelled_by, visiting_order};
use super::habits::Habits;
use super::node_run::NodeRun;
use super::presence::Presence;
use super::queue::{Timer, Timers, Waiting};
use super::settings::EngineSettings;
use super::telemetry::Telemetry;
use super::view::{Ask, InFlight, View};
use crate::outcome::{Meter, Outcome};
use crate::policy::Policy;
use crate::world::{NodeId, PodId, QosClass, Request, Scenario, Topology, WorkloadId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashSet, VecDeque};

/// How far back before a node's newest sample its bindings are kept, for policies that count pods in flight.
const KEPT_BINDINGS_MS: i64 = 120_000;

/// Why a pod is not on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not there yet, or over.
    Absent,
    /// In the queue, or parked until room is made.
    Pending,
    /// Killed, and not yet back in the queue.
    Returning,
    /// On a node.
    Running,
}

#[derive(Debug, Clone)]
pub(super) struct PodRun {
    pub(super) phase: Phase,
    pub(super) node: NodeId,
    /// GPUs in use, as bits.
    pub(super) gpus: u16,
    /// How often it was started: tells the timers of this start from earlier ones.
    pub(super) starts: u32,
    /// Kills in a row without a sound run in between.
    pub(super) kills: u32,
    /// Since when it waits or runs.
    pub(super) since_ms: i64,
    /// How long it still has to run.
    pub(super) left_ms: Option<i64>,
}

/// A pod has left its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Which pod.
    pub pod: PodId,
    /// Which node.
    pub node: NodeId,
    /// When, in ms from the start.
    pub at_ms: i64,
    /// Whether its life is over; else it comes back to the queue.
    pub ended: bool,
}

/// A scenario in progress.
///
/// [`Simulation::next_pod`] runs it to the next pod that wants a node; [`Simulation::decide`] lets a policy answer. An
/// environment for learning does the same with [`Simulation::candidates`], [`Simulation::view`] and
/// [`Simulation::bind`] or [`Simulation::park`].
pub struct Simulation<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) settings: EngineSettings,
    pub(super) accounts: Vec<Account>,
    pub(super) presence: Vec<Presence>,
    /// Room of the nodes in the order in which they are visited.
    pub(super) rooms: Vec<Room>,
    /// Place of each node in `rooms`.
    pub(super) places: Vec<u32>,
    pub(super) next_start: usize,
    pub(super) admitted: Admitted,
    pub(super) repelled_by: Vec<Vec<(WorkloadId, Topology)>>,
    pub(super) drawn_by: Vec<Vec<(WorkloadId, Topology, f64)>>,
    pub(super) now_ms: i64,
    pub(super) zones: usize,
    pub(super) tainted: bool,
    pub(super) gpus: Vec<Gpus>,
    pub(super) nodes: Vec<NodeRun>,
    pub(super) pods: Vec<PodRun>,
    pub(super) next_arrival: usize,
    pub(super) next_usage_ms: i64,
    pub(super) next_scrape_ms: i64,
    pub(super) timers: Timers,
    pub(super) waiting: Waiting,
    pub(super) parked: Vec<PodId>,
    pub(super) retry_set: bool,
    /// Kinds of pods that found no node, save perhaps one of `freed`.
    pub(super) hopeless: HashSet<(WorkloadId, Request, QosClass)>,
    /// Nodes on which room was made since parked pods were last tried.
    pub(super) freed: Vec<NodeId>,
    pub(super) telemetry: Telemetry,
    pub(super) habits: Habits,
    pub(super) recent: Vec<VecDeque<InFlight>>,
    pub(super) released: Vec<Release>,
    pub(super) meter: Meter,
    pub(super) chance: ChaCha8Rng,
    pub(super) found: Vec<NodeId>,
    pub(super) scores: Vec<f64>,
    pub(super) claims: Vec<CpuClaim>,
}

/// Runs `scenario` under `policy`. The same scenario, settings, policy and seed give the same outcome.
pub fn run(scenario: &Scenario, settings: &EngineSettings, policy: &mut dyn Policy, seed: u64) -> Outcome {
    let mut simulation = Simulation::new(scenario, settings.clone(), seed);
    if policy.watches_workloads() {
        simulation.watch_workloads();
    }
    while let Some(pod) = simulation.next_pod() {
        simulation.decide(pod, policy);
    }
    simulation.finish(policy.name(), seed)
}

impl<'a> Simulation<'a> {
    /// The scenario at its start. `seed` decides the choice among nodes of equal score.
    pub fn new(scenario: &'a Scenario, settings: EngineSettings, seed: u64) -> Self {
        let zones = scenario.nodes.iter().filter_map(|node| node.zone).map(|zone| usize::from(zone.0) + 1).max();
        let zones = zones.unwrap_or(0);
        let count = scenario.nodes.len();
        let step = settings.telemetry_step.millis();
        let order = visiting_order(scenario, zones);
        let mut places = vec![0; count];
        for (place, node) in order.iter().enumerate() {
            places[node.index()] = place as u32;
        }
        let mut timers = Timers::default();
        for (at, node) in scenario.nodes.iter().enumerate() {
            let id = NodeId(at as u32);
            timers.set(node.joins_ms.max(0), Timer::NodeJoins(id));
            if let Some(leaves) = node.leaves_ms {
                timers.set(leaves, Timer::NodeLeaves(id));
            }
        }
        let fresh =
            PodRun { phase: Phase::Absent, node: NodeId(0), gpus: 0, starts: 0, kills: 0, since_ms: 0, left_ms: None };
        Self {
            accounts: scenario.nodes.iter().map(Account::new).collect(),
            presence: vec![Presence::new(zones); scenario.workloads.len()],
            rooms: order.iter().map(|node| Room::of(&Account::new(scenario.node(*node)), node.0)).collect(),
            places,
            next_start: 0,
            admitted: Admitted::default(),
            repelled_by: repelled_by(scenario),
            drawn_by: drawn_by(scenario),
            now_ms: 0,
            zones,
            tainted: scenario.nodes.iter().any(|node| !node.taints.is_empty()),
            gpus: scenario.nodes.iter().map(|node| Gpus::new(node.gpus)).collect(),
            nodes: vec![NodeRun::default(); count],
            pods: scenario.pods.iter().map(|pod| PodRun { left_ms: pod.runs_ms, ..fresh.clone() }).collect(),
            next_arrival: 0,
            next_usage_ms: scenario.usage_step_ms,
            next_scrape_ms: step,
            timers,
            waiting: Waiting::default(),
            parked: Vec::new(),
            retry_set: false,
            hopeless: HashSet::new(),
            freed: Vec::new(),
            telemetry: Telemetry::new(count, step, settings.telemetry_delay.millis()),
            habits: Habits::default(),
            recent: vec![VecDeque::new(); count],
            released: Vec::new(),
            meter: Meter::new(scenario),
            chance: ChaCha8Rng::seed_from_u64(seed),
            found: Vec::new(),
            scores: Vec::new(),
            claims: Vec::new(),
            scenario,
            settings,
        }
    }

    /// Gathers the usage of each workload's pods from now on, for policies that know a workload's history.
    pub fn watch_workloads(&mut self) {
        let mut requested = vec![0.0; self.scenario.workloads.len()];
        for pod in self.scenario.pods.iter().rev() {
            requested[pod.workload.index()] = pod.request.cpu.millicores() as f64;
        }
        self.habits.watch(requested);
    }

    /// Runs on until a pod wants a node; `None` at the end of the scenario.
    pub fn next_pod(&mut self) -> Option<PodId> {
        loop {
            if let Some(pod) = self.waiting.pop() {
                return Some(pod);
            }
            let arrival = self.scenario.pods.get(self.next_arrival).map_or(i64::MAX, |pod| pod.arrives_ms);
            let (timer, usage, scrape) = (self.timers.next_ms(), self.next_usage_ms, self.next_scrape_ms);
            let sample = self.telemetry.next_arrival_ms();
            let next = timer.min(usage).min(scrape).min(sample).min(arrival);
            if next >= self.scenario.span_ms {
                self.now_ms = self.scenario.span_ms;
                return None;
            }
            self.now_ms = next;
            // At the same moment: what ends, then what is measured, then what begins.
            if timer == next {
                self.timer_goes_off();
            } else if usage == next {
                self.usage_step();
            } else if scrape == next {
                self.scrape();
            } else if sample == next {
                self.sample_arrives();
            } else {
                let pod = PodId(self.next_arrival as u32);
                self.next_arrival += 1;
                self.enqueue(pod);
            }
        }
    }

    /// Lets `policy` choose a node for `pod`; where none is feasible the pod is parked until room is made.
    pub fn decide(&mut self, pod: PodId, policy: &mut dyn Policy) {
        for release in self.released.drain(..) {
            policy.released(&release);
        }
        let mut found = std::mem::take(&mut self.found);
        let mut scores = std::mem::take(&mut self.scores);
        self.candidates(pod, policy.reach(), &mut found);
        if found.is_empty() {
            self.park(pod);
        } else {
            scores.clear();
            scores.resize(found.len(), 0.0);
            if found.len() > 1 {
                policy.score(&self.ask(pod), &self.view(), &found, &mut scores);
            }
            let node = found[best(&scores, &mut self.chance)];
            self.bind(pod, node);
            policy.bound(pod, node, self.now_ms);
        }
        (self.found, self.scores) = (found, scores);
    }

    /// Fills `found` with the nodes that `pod` may go to.
    pub fn candidates(&mut self, pod: PodId, reach: crate::policy::Reach, found: &mut Vec<NodeId>) {
        if self.is_hopeless(pod) {
            found.clear();
        } else {
            self.find_feasible(pod, reach, found);
        }
    }

    /// The pod's side of a decision.
    pub fn ask(&self, pod: PodId) -> Ask<'a> {
        Ask::of(self.scenario, pod)
    }

    /// The cluster's side of a decision.
    pub fn view(&self) -> View<'_> {
        View {
            now_ms: self.now_ms,
            scenario: self.scenario,
            accounts: &self.accounts,
            telemetry: &self.telemetry,
            recent: &self.recent,
            presence: &self.presence,
            drawn_by: &self.drawn_by,
            nodes: &self.nodes,
            habits: &self.habits,
            zones: self.zones,
            tainted: self.tainted,
        }
    }

    /// Binds a pod to one of its candidates.
    pub fn bind(&mut self, pod: PodId, node: NodeId) {
        let (spec, now, slot) = (self.scenario.pod(pod), self.now_ms, self.scenario.slot(self.now_ms));
        let run = &mut self.pods[pod.index()];
        self.meter.waited(run.starts == 0, now - run.since_ms);
        run.phase = Phase::Running;
        (run.node, run.since_ms, run.starts) = (node, now, run.starts + 1);
        if let Some(left) = run.left_ms {
            self.timers.set(now.saturating_add(left), Timer::PodEnds(pod, run.starts));
        }
        let account = &mut self.accounts[node.index()];
        account.add(&spec.request);
        if spec.request.gpus > 0 {
            run.gpus = self.gpus[node.index()].take(&spec.request, account);
        }
        self.rooms[self.places[node.index()] as usize] = Room::of(account, node.0);
        self.presence[spec.workload.index()].add(node, self.scenario.node(node).zone);
        let recent = &mut self.recent[node.index()];
        let kept = self.telemetry.seen(node.index()).map_or(now - 3_600_000, |seen| seen.at_ms) - KEPT_BINDINGS_MS;
        while recent.front().is_some_and(|entry| entry.at_ms < kept) {
            recent.pop_front();
        }
        recent.push_back(InFlight { at_ms: now, pod, request: spec.request });
        let state = &mut self.nodes[node.index()];
        state.pass(node, now, &mut self.meter);
        state.add(pod, self.scenario, slot);
        self.resolve(node);
    }

    /// Puts a pod aside until room is made.
    pub fn park(&mut self, pod: PodId) {
        let rules = self.scenario.rules_of(self.scenario.pod(pod).workload);
        // Where a pod may go by affinity and spread depends on others: a start elsewhere may make room too.
        if rules.affinity.is_empty() && rules.spread.is_empty() {
            self.hopeless.insert(self.kind(pod));
        } else {
            self.try_again();
        }
        self.parked.push(pod);
    }

    /// Counts what is left and gives the outcome.
    pub fn finish(mut self, policy: &str, seed: u64) -> Outcome {
        let end = self.scenario.span_ms;
        for (at, node) in self.nodes.iter_mut().enumerate().filter(|(at, _)| self.accounts[*at].ready) {
            node.pass(NodeId(at as u32), end, &mut self.meter);
        }
        for run in self.pods.iter().filter(|run| matches!(run.phase, Phase::Pending | Phase::Returning)) {
            self.meter.still_waiting(run.starts == 0, end - run.since_ms);
        }
        let running = self.pods.iter().filter(|run| run.phase == Phase::Running).count();
        self.meter.into_outcome(self.scenario, policy, seed, running as u64)
    }

    /// Now, in ms from the start.
    pub const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The node that a pod runs on.
    pub fn node_of(&self, pod: PodId) -> Option<NodeId> {
        let run = &self.pods[pod.index()];
        (run.phase == Phase::Running).then_some(run.node)
    }

    /// Whether a pod of this kind has found no node and none of those on which room was made since can take it.
    pub(super) fn is_hopeless(&self, pod: PodId) -> bool {
        let request = &self.scenario.pod(pod).request;
        self.hopeless.contains(&self.kind(pod))
            && !self.freed.iter().any(|node| self.accounts[node.index()].fits(request))
    }

    pub(super) fn kind(&self, pod: PodId) -> (WorkloadId, Request, QosClass) {
        let pod = self.scenario.pod(pod);
        (pod.workload, pod.request, pod.qos)
    }
}

/// The place of the highest score, by chance among equals (kube-scheduler's `selectHost`). NaN never wins.
fn best(scores: &[f64], chance: &mut ChaCha8Rng) -> usize {
    let highest = highest(scores);
    let equals = scores.iter().filter(|score| **score == highest).count();
    if equals == 0 {
        return chance.random_range(0..scores.len());
    }
    let chosen = if equals == 1 { 0 } else { chance.random_range(0..equals) };
    let mut places = scores.iter().enumerate().filter(|(_, score)| **score == highest);
    places.nth(chosen).map_or(0, |(place, _)| place)
}

/// The highest score; minus infinity where there is none. In lanes, so that no comparison waits for the one before it.
fn highest(scores: &[f64]) -> f64 {
    let greater = |most: f64, score: f64| if score > most { score } else { most };
    let (lanes, rest) = scores.as_chunks::<8>();
    let mut most = [f64::NEG_INFINITY; 8];
    for lane in lanes {
        for (most, score) in most.iter_mut().zip(lane) {
            *most = greater(*most, *score);
        }
    }
    most.iter().chain(rest).fold(f64::NEG_INFINITY, |most, score| greater(most, *score))
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
