//! A long local search for a cheap placement, by who knows the usage, arrival and life of every pod.
//!
//! It begins as the cheapest of some runs. Each pod in turn is taken away and put where it adds least, given all others, those that
//! come later included; then pairs of pods change places; then some pods of hot nodes are moved at random and all of that begins
//! anew, and what is cheaper is kept (iterated local search, Lourenço, Martin and Stützle, 2003). What a placement costs is told by
//! the engine alone: the search's own arithmetic knows no waiting and no evictions, so its plans are run, and the cheapest run is
//! the result. In small scenarios single moves and exchanges are tried by whole runs as well.

use super::board::Board;
use super::plan::{Plan, Planned, Run, noted};
use crate::engine::EngineSettings;
use crate::outcome::{CostWeights, Outcome};
use crate::policy::{Foresight, GreedyOracle, KubeScheduler, LeastUsed, Policy};
use crate::world::{NodeId, PodId, Scenario};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How long to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchSettings {
    /// Runs that it begins as, the cheapest first.
    pub starts: usize,
    /// Passes over all pods at most, each time it goes for the nearest best.
    pub passes: usize,
    /// Times that it is moved away from there,
    pub kicks: usize,
    /// as long as it has not looked at so many steps of nodes.
    pub work: u64,
    /// Share of the pods that such a kick moves.
    pub kicked: f64,
    /// Runs times pods that single moves are tried by.
    pub tries: usize,
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self { starts: 2, passes: 10, kicks: 24, work: 1_500_000_000, kicked: 0.03, tries: 40_000 }
    }
}

/// Worth of evenness among placements that cost the same: as in the first [`Foresight`].
const EVEN: f64 = 0.01;
/// A pass that gains less than this share of what all did is the last one.
const WORTH_A_PASS: f64 = 0.01;
/// Gains below this are rounding.
const LEAST_GAIN: f64 = 1e-6;

/// The cheapest outcome that the search finds. The same scenario, settings and seed give the same one.
pub fn search(
    scenario: &Scenario,
    engine: &EngineSettings,
    weights: &CostWeights,
    settings: &SearchSettings,
    seed: u64,
) -> Outcome {
    let once = |policy: &mut dyn Policy| noted(scenario, engine, policy, seed);
    let mut runs = vec![once(&mut KubeScheduler::default()), once(&mut LeastUsed)];
    runs.extend(Foresight::ALL.map(|foresight| once(&mut GreedyOracle::new(scenario, weights.clone(), foresight))));
    runs.sort_by(|a, b| weights.cost(&a.outcome).total_cmp(&weights.cost(&b.outcome)));
    runs.truncate(settings.starts.max(1));
    let mut searcher = Searcher {
        scenario,
        engine,
        weights,
        settings,
        seed,
        allowed: allowed(scenario),
        chance: ChaCha8Rng::seed_from_u64(seed),
        best: runs[0].clone(),
    };
    for run in &runs {
        searcher.from(run);
    }
    searcher.try_runs();
    Outcome { policy: "search-oracle".to_owned(), ..searcher.best.outcome }
}

/// The nodes that each set of rules admits, for all time.
fn allowed(scenario: &Scenario) -> Vec<Vec<NodeId>> {
    let admitted = |rules: &crate::world::Rules| {
        (0..scenario.nodes.len() as u32).map(NodeId).filter(|node| rules.admits(scenario.node(*node))).collect()
    };
    scenario.rules.iter().map(admitted).collect()
}

struct Searcher<'a> {
    scenario: &'a Scenario,
    engine: &'a EngineSettings,
    weights: &'a CostWeights,
    settings: &'a SearchSettings,
    seed: u64,
    allowed: Vec<Vec<NodeId>>,
    chance: ChaCha8Rng,
    best: Run,
}

impl<'a> Searcher<'a> {
    /// Searches on from a run, and again from what comes of that, since other waits may follow from it.
    fn from(&mut self, run: &Run) {
        let mut board = Board::new(self.scenario, self.weights, EVEN, &run.stays);
        let mut plan = run.plan.clone();
        for (pod, node) in plan.iter().enumerate() {
            if let Some((node, guest)) = node.zip(board.guest(PodId(pod as u32))) {
                board.change(&guest, node, 1.0);
            }
        }
        self.descend(&mut board, &mut plan);
        self.try_plan(&plan);
        for kick in 0..self.settings.kicks {
            if board.work() > self.settings.work {
                break;
            }
            let (before, kept) = (board.clone(), plan.clone());
            let mut gained = self.kick(&mut board, &mut plan);
            gained += self.descend(&mut board, &mut plan);
            if gained > LEAST_GAIN {
                // Runs are dear beside the search: the last plan is run in any case.
                if kick % 8 == 7 {
                    self.try_plan(&plan);
                }
            } else {
                // What was done in vain was done all the same.
                let work = board.work();
                (board, plan) = (before, kept);
                board.worked(work);
            }
        }
        self.try_plan(&plan);
    }

    /// Runs a plan; whether it is the cheapest so far.
    fn try_plan(&mut self, plan: &Plan) -> bool {
        let run = noted(self.scenario, self.engine, &mut Planned::new(plan), self.seed);
        let cheaper = self.weights.cost(&run.outcome) + LEAST_GAIN < self.weights.cost(&self.best.outcome);
        if cheaper {
            self.best = run;
        }
        cheaper
    }

    fn nodes(&self, pod: PodId) -> &[NodeId] {
        let workload = self.scenario.pod(pod).workload;
        &self.allowed[self.scenario.workloads[workload.index()].rules as usize]
    }

    /// One of the nodes that a pod may run on, by a number of 0 up to 1.
    fn any_node(&self, pod: PodId, draw: f64) -> Option<NodeId> {
        let nodes = self.nodes(pod);
        nodes.get((draw * nodes.len() as f64) as usize).copied()
    }

    /// Puts each pod where it adds least until little is gained any more; how much was.
    fn descend(&mut self, board: &mut Board<'a>, plan: &mut Plan) -> f64 {
        let mut order: Vec<PodId> = (0..plan.len() as u32).map(PodId).collect();
        let mut all = 0.0;
        for _ in 0..self.settings.passes {
            order.shuffle(&mut self.chance);
            let mut gained = 0.0;
            for pod in &order {
                gained += self.settle(board, plan, *pod);
            }
            for _ in 0..plan.len() {
                gained += self.exchange(board, plan);
            }
            all += gained;
            if gained <= LEAST_GAIN.max(WORTH_A_PASS * all) || board.work() > self.settings.work {
                break;
            }
        }
        all
    }

    /// Puts one pod where it adds least; what that gains.
    fn settle(&self, board: &mut Board<'a>, plan: &mut Plan, pod: PodId) -> f64 {
        let Some((home, guest)) = plan[pod.index()].zip(board.guest(pod)) else { return 0.0 };
        board.change(&guest, home, -1.0);
        // Where it is it may stay, even where nodes are fuller than they should be.
        let here = board.added(&guest, home, f64::INFINITY).unwrap_or(f64::INFINITY);
        let (mut best, mut least) = (home, here - LEAST_GAIN);
        for node in self.nodes(pod).iter().filter(|node| **node != home && self.is_there(pod, **node)) {
            if let Some(added) = board.added(&guest, *node, least) {
                (best, least) = (*node, added);
            }
        }
        board.change(&guest, best, 1.0);
        plan[pod.index()] = Some(best);
        if best == home || here == f64::INFINITY { 0.0 } else { here - least }
    }

    /// Whether the node is there when the pod arrives, and does not leave before it ends.
    fn is_there(&self, pod: PodId, node: NodeId) -> bool {
        let (spec, node) = (self.scenario.pod(pod), self.scenario.node(node));
        let ends_ms = spec.arrives_ms.saturating_add(spec.runs_ms.unwrap_or(i64::MAX)).min(self.scenario.span_ms);
        node.joins_ms <= spec.arrives_ms && node.leaves_ms.is_none_or(|leaves| leaves >= ends_ms)
    }

    /// Two pods of different nodes change places if that is cheaper; what it gains.
    fn exchange(&mut self, board: &mut Board<'a>, plan: &mut Plan) -> f64 {
        let mut draw = || PodId(self.chance.random_range(0..plan.len() as u32));
        let (one, other) = (draw(), draw());
        let (Some(here), Some(there)) = (plan[one.index()], plan[other.index()]) else { return 0.0 };
        let may = |pod: PodId, node: NodeId| self.nodes(pod).contains(&node) && self.is_there(pod, node);
        let is_of_use = here != there && (board.is_hot(one, here) || board.is_hot(other, there));
        if !is_of_use || !may(one, there) || !may(other, here) {
            return 0.0;
        }
        let Some((first, second)) = board.guest(one).zip(board.guest(other)) else { return 0.0 };
        board.change(&first, here, -1.0);
        board.change(&second, there, -1.0);
        // The second one is added beside the first, in case that they meet where they go.
        let both = |board: &mut Board<'a>, one_to: NodeId, other_to: NodeId, enough: f64| {
            let added = board.added(&first, one_to, enough)?;
            board.change(&first, one_to, 1.0);
            let beside = board.added(&second, other_to, enough - added);
            board.change(&first, one_to, -1.0);
            Some(added + beside?)
        };
        let before = both(board, here, there, f64::INFINITY).unwrap_or(f64::INFINITY);
        let after = both(board, there, here, before - LEAST_GAIN);
        let (one_to, other_to) = if after.is_some() { (there, here) } else { (here, there) };
        board.change(&first, one_to, 1.0);
        board.change(&second, other_to, 1.0);
        (plan[one.index()], plan[other.index()]) = (Some(one_to), Some(other_to));
        after.filter(|_| before.is_finite()).map_or(0.0, |after| before - after)
    }

    /// Moves some pods of hot nodes to any nodes that can take them; what that gains, mostly less than nothing.
    fn kick(&mut self, board: &mut Board<'a>, plan: &mut Plan) -> f64 {
        let count = (plan.len() as f64 * self.settings.kicked).ceil() as usize;
        let mut gained = 0.0;
        for _ in 0..count {
            let pod = PodId(self.chance.random_range(0..plan.len() as u32));
            let Some(home) = plan[pod.index()] else { continue };
            if !board.is_hot(pod, home) && self.chance.random::<f64>() < 0.8 {
                continue;
            }
            let draw = self.chance.random::<f64>();
            let Some(node) = self.any_node(pod, draw).filter(|node| self.is_there(pod, *node)) else { continue };
            let Some(guest) = board.guest(pod) else { continue };
            board.change(&guest, home, -1.0);
            let here = board.added(&guest, home, f64::INFINITY);
            let (to, by) = match board.added(&guest, node, f64::INFINITY).zip(here) {
                Some((there, here)) => (node, here - there),
                None => (home, 0.0),
            };
            board.change(&guest, to, 1.0);
            plan[pod.index()] = Some(to);
            gained += by;
        }
        gained
    }

    /// Single moves and exchanges by whole runs, for as long as the number of tries allows; then from a plan drawn at random.
    fn try_runs(&mut self) {
        let count = self.scenario.pods.len();
        let mut left = (self.settings.tries / count.max(1)).min(self.settings.tries / 10);
        while left > 0 {
            let mut plan = self.best.plan.clone();
            // From the second time on from elsewhere.
            if !self.improve(&mut plan, &mut left) {
                for (pod, node) in plan.iter_mut().enumerate() {
                    let draw = self.chance.random::<f64>();
                    *node = self.any_node(PodId(pod as u32), draw);
                }
                self.improve(&mut plan, &mut left);
            }
        }
    }

    /// Goes from `plan` to the nearest plan that no single move and no exchange makes cheaper; whether any was the cheapest so far.
    fn improve(&mut self, plan: &mut Plan, left: &mut usize) -> bool {
        let mut found = false;
        let mut cost = self.cost_of(plan, left, &mut found);
        loop {
            let before = cost;
            for pod in 0..plan.len() {
                for node in self.nodes(PodId(pod as u32)).to_vec() {
                    let home = plan[pod];
                    if home == Some(node) || *left == 0 {
                        continue;
                    }
                    plan[pod] = Some(node);
                    let moved = self.cost_of(plan, left, &mut found);
                    if moved + LEAST_GAIN < cost { cost = moved } else { plan[pod] = home }
                }
                for other in 0..pod {
                    if plan[pod] == plan[other] || *left == 0 {
                        continue;
                    }
                    plan.swap(pod, other);
                    let moved = self.cost_of(plan, left, &mut found);
                    if moved + LEAST_GAIN < cost { cost = moved } else { plan.swap(pod, other) }
                }
            }
            if *left == 0 || cost >= before {
                return found;
            }
        }
    }

    fn cost_of(&mut self, plan: &Plan, left: &mut usize, found: &mut bool) -> f64 {
        *left = left.saturating_sub(1);
        let run = noted(self.scenario, self.engine, &mut Planned::new(plan), self.seed);
        let cost = self.weights.cost(&run.outcome);
        if cost + LEAST_GAIN < self.weights.cost(&self.best.outcome) {
            // The plan as it was meant: what does not fit at once may fit after another move.
            self.best = Run { plan: plan.clone(), ..run };
            *found = true;
        }
        cost
    }
}
