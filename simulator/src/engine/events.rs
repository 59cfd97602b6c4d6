//! What happens between two decisions: nodes and pods come and go, usage steps on, samples are taken.

use super::account::Room;
use super::queue::Timer;
use super::simulation::{Phase, Release, Simulation};
use crate::world::{NodeId, PodId};

/// How long the kubelet reports memory pressure after it is over (`evictionPressureTransitionPeriod`, default 5 m).
const PRESSURE_MS: i64 = 5 * 60_000;
/// A killed pod comes back after the restart delay, doubled with each kill up to this (the kubelet's CrashLoopBackOff;
/// the Job controller backs off likewise).
const LONGEST_RESTART_MS: i64 = 5 * 60_000;
/// A pod that has run for this long starts over with the plain delay, as a container does after twice the longest delay.
const SOUND_RUN_MS: i64 = 10 * 60_000;

impl Simulation<'_> {
    pub(super) fn enqueue(&mut self, pod: PodId) {
        let run = &mut self.pods[pod.index()];
        if run.phase == Phase::Absent {
            run.since_ms = self.now_ms;
        }
        run.phase = Phase::Pending;
        self.waiting.push(pod, self.scenario.pod(pod).priority, run.since_ms);
    }

    pub(super) fn timer_goes_off(&mut self) {
        let Some((_, timer)) = self.timers.pop() else { return };
        match timer {
            Timer::NodeJoins(node) => {
                self.set_ready(node, true);
                self.nodes[node.index()].start(self.now_ms);
                self.change(node);
                self.room_made(node);
            }
            Timer::NodeLeaves(node) => {
                self.nodes[node.index()].pass(node, self.now_ms, &mut self.meter);
                for pod in self.nodes[node.index()].pods.clone() {
                    self.meter.displaced();
                    self.kill(pod);
                }
                self.set_ready(node, false);
            }
            Timer::PodEnds(pod, starts) => {
                let run = &self.pods[pod.index()];
                if run.phase == Phase::Running && run.starts == starts {
                    let node = run.node;
                    self.unbind(pod, true);
                    self.pods[pod.index()].phase = Phase::Absent;
                    self.meter.completed();
                    self.resolve(node);
                    self.room_made(node);
                }
            }
            Timer::PodReturns(pod) => self.enqueue(pod),
            // Each eviction sets a timer; only the last one counts.
            Timer::PressureEnds(node) => {
                if self.nodes[node.index()].pressure_ends_ms == self.now_ms {
                    self.accounts[node.index()].memory_pressure = false;
                    self.room_made(node);
                }
            }
            Timer::Retry => {
                self.retry_set = false;
                let (stay, try_again): (Vec<PodId>, Vec<PodId>) =
                    std::mem::take(&mut self.parked).into_iter().partition(|pod| self.is_hopeless(*pod));
                self.parked = stay;
                self.freed.clear();
                for pod in try_again {
                    self.hopeless.remove(&self.kind(pod));
                    self.enqueue(pod);
                }
            }
        }
    }

    pub(super) fn set_ready(&mut self, node: NodeId, ready: bool) {
        let account = &mut self.accounts[node.index()];
        account.ready = ready;
        self.rooms[self.places[node.index()] as usize] = Room::of(account, node.0);
    }

    pub(super) fn room_made(&mut self, node: NodeId) {
        if !self.parked.is_empty() {
            if !self.freed.contains(&node) {
                self.freed.push(node);
            }
            self.try_again();
        }
    }

    pub(super) fn try_again(&mut self) {
        if !self.retry_set {
            self.retry_set = true;
            self.timers.set(self.now_ms + self.settings.retry_delay.millis(), Timer::Retry);
        }
    }

    /// Demand changes everywhere.
    pub(super) fn usage_step(&mut self) {
        for at in 0..self.nodes.len() {
            if self.accounts[at].ready {
                self.change(NodeId(at as u32));
            }
        }
        self.meter.step(self.now_ms, &self.accounts, self.nodes.iter().map(|node| (node.granted, node.memory)));
        self.next_usage_ms += self.scenario.usage_step_ms;
    }

    /// Works out anew what a node's pods want and get.
    pub(super) fn change(&mut self, node: NodeId) {
        let state = &mut self.nodes[node.index()];
        state.pass(node, self.now_ms, &mut self.meter);
        state.refresh(node, self.scenario, self.scenario.slot(self.now_ms));
        self.resolve(node);
    }

    /// Evicts while memory is short, then shares the CPU.
    pub(super) fn resolve(&mut self, node: NodeId) {
        let slot = self.scenario.slot(self.now_ms);
        while let Some(pod) = self.nodes[node.index()].next_eviction(node, self.scenario, slot) {
            self.meter.evicted();
            self.kill(pod);
            let ends = self.now_ms + PRESSURE_MS;
            self.accounts[node.index()].memory_pressure = true;
            if self.nodes[node.index()].pressure_ends_ms != ends {
                self.nodes[node.index()].pressure_ends_ms = ends;
                self.timers.set(ends, Timer::PressureEnds(node));
            }
        }
        self.nodes[node.index()].share(node, self.scenario, slot, &mut self.claims);
    }

    /// Takes a pod from its node; its controller makes it anew, so it comes back to the queue.
    pub(super) fn kill(&mut self, pod: PodId) {
        let node = self.pods[pod.index()].node;
        let ran_ms = self.now_ms - self.pods[pod.index()].since_ms;
        self.unbind(pod, false);
        let run = &mut self.pods[pod.index()];
        run.phase = Phase::Returning;
        run.kills = if ran_ms >= SOUND_RUN_MS { 1 } else { run.kills + 1 };
        let delay = self.settings.restart_delay.millis();
        let backed_off = delay.saturating_mul(1 << (run.kills - 1).min(20)).min(LONGEST_RESTART_MS.max(delay));
        self.timers.set(self.now_ms + backed_off, Timer::PodReturns(pod));
        self.room_made(node);
    }

    pub(super) fn unbind(&mut self, pod: PodId, ended: bool) {
        let (spec, now, slot) = (self.scenario.pod(pod), self.now_ms, self.scenario.slot(self.now_ms));
        let run = &mut self.pods[pod.index()];
        let node = run.node;
        run.left_ms = run.left_ms.map(|left| (left - (now - run.since_ms)).max(1));
        run.since_ms = now;
        let account = &mut self.accounts[node.index()];
        account.remove(&spec.request);
        if spec.request.gpus > 0 {
            self.gpus[node.index()].give_back(run.gpus, &spec.request, account);
        }
        self.rooms[self.places[node.index()] as usize] = Room::of(account, node.0);
        self.presence[spec.workload.index()].remove(node, self.scenario.node(node).zone);
        let state = &mut self.nodes[node.index()];
        state.pass(node, now, &mut self.meter);
        state.remove(pod, self.scenario, slot);
        if ended {
            let life_ms = spec.runs_ms.unwrap_or_default();
            self.habits.ended(spec.workload.0, life_ms);
        }
        self.released.push(Release { pod, node, at_ms: now, ended });
    }

    pub(super) fn scrape(&mut self) {
        let now = self.now_ms;
        let mut scrape = self.telemetry.blank(now);
        for (at, node) in self.nodes.iter_mut().enumerate() {
            scrape.values.push(if self.accounts[at].ready {
                node.scrape(NodeId(at as u32), now, self.telemetry.step_ms, self.scenario)
            } else {
                (f32::NAN, f32::NAN)
            });
        }
        if self.habits.is_watched() {
            self.scrape_pods();
            self.habits.means(&mut scrape.workloads);
        }
        self.telemetry.send(scrape);
        self.next_scrape_ms += self.telemetry.step_ms;
    }

    /// What each pod uses now. On a node that is short of CPU all are taken to get the same share of what they want.
    fn scrape_pods(&mut self) {
        let slot = self.scenario.slot(self.now_ms);
        for (node, account) in self.nodes.iter().zip(&self.accounts).filter(|(_, account)| account.ready) {
            let granted = if node.wanted() > account.cpu as f64 { node.granted / node.wanted() } else { 1.0 };
            for pod in &node.pods {
                let spec = &self.scenario.pods[pod.index()];
                let (cpu, memory) = spec.usage.at(&self.scenario.series, slot);
                self.habits.sample(spec.workload.0, cpu * granted, memory);
            }
        }
    }

    pub(super) fn sample_arrives(&mut self) {
        let habits = &mut self.habits;
        self.telemetry.arrive(|at_ms, samples| habits.arrive(at_ms, samples));
    }
}
