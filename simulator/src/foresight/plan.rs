//! Placements as data: what a run chose, and a policy that repeats a plan.

use crate::engine::{Ask, EngineSettings, Release, View, run};
use crate::outcome::Outcome;
use crate::policy::{KubeScheduler, Policy, Reach};
use crate::world::{NodeId, PodId, Scenario};

/// A node for each pod; none where the policy at hand may choose.
pub(super) type Plan = Vec<Option<NodeId>>;

/// From when until when a pod ran, in ms from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stay {
    pub from_ms: i64,
    pub until_ms: i64,
}

/// What a run came to, and where it put each pod first.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub outcome: Outcome,
    pub plan: Plan,
    /// Of pods that found a node.
    pub stays: Vec<Option<Stay>>,
}

/// Runs a policy and notes what it chooses.
pub(super) fn noted(scenario: &Scenario, engine: &EngineSettings, policy: &mut dyn Policy, seed: u64) -> Run {
    let count = scenario.pods.len();
    let mut noting = Noting { scenario, policy, plan: vec![None; count], stays: vec![None; count] };
    let outcome = run(scenario, engine, &mut noting, seed);
    Run { outcome, plan: noting.plan, stays: noting.stays }
}

struct Noting<'a> {
    scenario: &'a Scenario,
    policy: &'a mut dyn Policy,
    plan: Plan,
    stays: Vec<Option<Stay>>,
}

impl Policy for Noting<'_> {
    fn name(&self) -> &'static str {
        self.policy.name()
    }

    fn reach(&self) -> Reach {
        self.policy.reach()
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        self.policy.score(ask, view, candidates, scores);
    }

    fn watches_workloads(&self) -> bool {
        self.policy.watches_workloads()
    }

    fn bound(&mut self, pod: PodId, node: NodeId, now_ms: i64) {
        let place = pod.index();
        if self.plan[place].is_none() {
            self.plan[place] = Some(node);
            let runs_ms = self.scenario.pod(pod).runs_ms.unwrap_or(i64::MAX);
            let until_ms = now_ms.saturating_add(runs_ms).min(self.scenario.span_ms);
            self.stays[place] = Some(Stay { from_ms: now_ms, until_ms });
        }
        self.policy.bound(pod, node, now_ms);
    }

    fn released(&mut self, release: &Release) {
        self.policy.released(release);
    }
}

/// Puts each pod where the plan wants it. A pod that the plan leaves open, that does not fit there, or that was killed there goes
/// where kube-scheduler would put it.
pub(super) struct Planned<'a> {
    plan: &'a Plan,
    starts: Vec<u32>,
    otherwise: KubeScheduler,
}

impl<'a> Planned<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, starts: vec![0; plan.len()], otherwise: KubeScheduler::default() }
    }
}

impl Policy for Planned<'_> {
    fn name(&self) -> &'static str {
        "planned"
    }

    fn reach(&self) -> Reach {
        Reach::All
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let wanted = self.plan[ask.pod.index()].filter(|_| self.starts[ask.pod.index()] == 0);
        match candidates.iter().position(|node| Some(*node) == wanted) {
            Some(place) => scores[place] = 1.0,
            None => self.otherwise.score(ask, view, candidates, scores),
        }
    }

    fn bound(&mut self, pod: PodId, _node: NodeId, _now_ms: i64) {
        self.starts[pod.index()] += 1;
    }
}
