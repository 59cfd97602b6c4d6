//! One run of a scenario under a chooser that learns, and what its choices came to.

use super::observer::{Observer, ROW};
use super::reward::{Hindsight, Parts, Smoothing, Stay};
use crate::engine::{Ask, EngineSettings, Release, Simulation, View};
use crate::outcome::{CostWeights, Outcome};
use crate::policy::{Policy, Reach};
use crate::world::{NodeId, PodId, Scenario};
use cluster::HOUR_MS;
use std::collections::VecDeque;

/// Chooses among candidates, and which others to learn about.
pub trait Chooser: Send {
    /// The place of the chosen one of `rows`, which lie one after the other.
    fn choose(&mut self, rows: &[f32], count: usize) -> usize;

    /// Up to `wanted` places of `count` other than `chosen`, without repetition.
    fn others(&mut self, chosen: usize, wanted: usize, count: usize) -> Vec<usize>;
}

/// How an episode is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodeSettings {
    /// Candidates beside the chosen one whose outcome is worked out too.
    pub others: usize,
    /// Hours after which a placement is looked at again: what it cost until then is known, what follows is estimated.
    pub hours: u32,
    /// How limits and evenness count in what a choice came to.
    pub smoothing: Smoothing,
    /// Of so many decisions one is looked at, so that long episodes give no more than short ones.
    pub every: usize,
}

/// What one candidate of a decision came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Experience {
    /// Its row at the decision.
    pub row: Vec<f32>,
    /// Cost that the pod added there, or would have added, hour by hour.
    pub hours: Vec<Parts>,
    /// Its row when it was looked at again; empty when the pod had ended.
    pub after: Vec<f32>,
    /// The pod ended: nothing follows.
    pub terminated: bool,
    /// The scenario ended before the pod was looked at again.
    pub truncated: bool,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// An episode that is over.
#[derive(Debug, Clone)]
pub struct Played {
    /// The run's figures.
    pub outcome: Outcome,
    /// What was learned, by decision: of each the chosen candidate first.
    pub experience: Vec<Experience>,
    /// Decisions that were looked at.
    pub decisions: usize,
    /// Cost that the chosen candidates added until they were looked at again.
    pub cost: Parts,
}

/// A scenario to learn in.
#[derive(Debug, Clone, Copy)]
pub struct Episode<'a> {
    /// What is to be placed where.
    pub scenario: &'a Scenario,
    /// How the cluster behaves.
    pub engine: &'a EngineSettings,
    /// What outcomes cost.
    pub weights: &'a CostWeights,
    /// How it is looked at.
    pub settings: &'a EpisodeSettings,
}

impl Episode<'_> {
    /// Runs it. The same episode, chooser and seed give the same experience.
    pub fn play(&self, chooser: &mut dyn Chooser, seed: u64) -> Played {
        let mut simulation = Simulation::new(self.scenario, self.engine.clone(), seed);
        simulation.watch_workloads();
        let mut player = Player::new(*self, chooser);
        while let Some(pod) = simulation.next_pod() {
            simulation.decide(pod, &mut player);
        }
        player.look_again(&simulation.view(), i64::MAX);
        let Player { decisions, stays, .. } = player;
        let outcome = simulation.finish("learning", seed);
        self.judge(decisions, stays, outcome)
    }

    fn judge(&self, decisions: Vec<Decision>, stays: Vec<Stay>, outcome: Outcome) -> Played {
        let hindsight = Hindsight::new(self.scenario, self.weights.clone(), self.settings.smoothing, stays);
        let (mut experience, mut cost) = (Vec::new(), Parts::default());
        let count = decisions.len();
        for decision in decisions {
            let life = self.scenario.pod(decision.pod).runs_ms.unwrap_or(i64::MAX);
            let ends_ms = decision.at_ms.saturating_add(life);
            let terminated = ends_ms <= decision.again_ms;
            let until_ms = ends_ms.min(decision.again_ms);
            if until_ms <= decision.at_ms {
                continue;
            }
            let due_ms = decision.at_ms + i64::from(self.settings.hours) * HOUR_MS;
            for (at, (node, row)) in decision.options.into_iter().enumerate() {
                let chosen = at == 0;
                let stay = decision.stay.filter(|_| chosen);
                let hours = hindsight.added(decision.pod, node, stay, decision.before, (decision.at_ms, until_ms));
                if chosen {
                    hours.iter().for_each(|hour| {
                        cost.performance += hour.performance;
                        cost.stability += hour.stability;
                        cost.efficiency += hour.efficiency;
                    });
                }
                let after = if terminated { &[][..] } else { &decision.after[at * ROW..(at + 1) * ROW] };
                experience.push(Experience {
                    row,
                    hours,
                    after: after.to_vec(),
                    terminated,
                    truncated: !terminated && decision.again_ms < due_ms,
                    chosen,
                });
            }
        }
        Played { outcome, experience, decisions: count, cost }
    }
}

struct Decision {
    pod: PodId,
    at_ms: i64,
    /// The chosen node first.
    options: Vec<(NodeId, Vec<f32>)>,
    /// Stays that had begun before it.
    before: usize,
    /// Place of what came of it in the list of stays.
    stay: Option<usize>,
    /// When it was looked at again, and the rows of all options then.
    again_ms: i64,
    after: Vec<f32>,
}

struct Player<'a, 'c> {
    episode: Episode<'a>,
    chooser: &'c mut dyn Chooser,
    observer: Observer,
    rows: Vec<f32>,
    decisions: Vec<Decision>,
    made: usize,
    /// Places of decisions that are not looked at again yet, by time.
    open: VecDeque<usize>,
    stays: Vec<Stay>,
    /// Place of each pod's stay that goes on.
    running: Vec<Option<usize>>,
}

impl<'a, 'c> Player<'a, 'c> {
    fn new(episode: Episode<'a>, chooser: &'c mut dyn Chooser) -> Self {
        let running = vec![None; episode.scenario.pods.len()];
        Self {
            episode,
            chooser,
            observer: Observer::default(),
            rows: Vec::new(),
            decisions: Vec::new(),
            made: 0,
            open: VecDeque::new(),
            stays: Vec::new(),
            running,
        }
    }

    /// Looks again at the placements that were made long enough before `now_ms`.
    fn look_again(&mut self, view: &View<'_>, now_ms: i64) {
        let wait_ms = i64::from(self.episode.settings.hours) * HOUR_MS;
        while let Some(at) = self.open.front().copied() {
            let decision = &mut self.decisions[at];
            if now_ms != i64::MAX && decision.at_ms + wait_ms > now_ms {
                return;
            }
            self.open.pop_front();
            let there = self.running[decision.pod.index()].map(|stay| self.stays[stay].node);
            let nodes: Vec<NodeId> = decision.options.iter().map(|(node, _)| *node).collect();
            decision.again_ms = view.now_ms();
            self.observer.revisit(decision.pod, there, view, &nodes, &mut decision.after);
        }
    }
}

impl Policy for Player<'_, '_> {
    fn name(&self) -> &'static str {
        "learning"
    }

    fn reach(&self) -> Reach {
        Reach::Sampled
    }

    fn watches_workloads(&self) -> bool {
        true
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        self.look_again(view, view.now_ms());
        self.rows.clear();
        self.observer.observe(ask, view, candidates, &mut self.rows, |_| ());
        let chosen = self.chooser.choose(&self.rows, candidates.len()).min(candidates.len() - 1);
        scores[chosen] = 1.0;
        self.made += 1;
        if !self.made.is_multiple_of(self.episode.settings.every.max(1)) {
            return;
        }
        let others = self.chooser.others(chosen, self.episode.settings.others, candidates.len());
        let option = |place: usize| (candidates[place], self.rows[place * ROW..(place + 1) * ROW].to_vec());
        self.open.push_back(self.decisions.len());
        self.decisions.push(Decision {
            pod: ask.pod,
            at_ms: view.now_ms(),
            options: std::iter::once(chosen).chain(others).map(option).collect(),
            before: self.stays.len(),
            stay: None,
            again_ms: view.now_ms(),
            after: Vec::new(),
        });
    }

    fn bound(&mut self, pod: PodId, node: NodeId, now_ms: i64) {
        let place = self.stays.len();
        self.stays.push(Stay { pod, node, from_ms: now_ms, until_ms: self.episode.scenario.span_ms });
        self.running[pod.index()] = Some(place);
        if let Some(decision) = self.decisions.last_mut().filter(|last| last.pod == pod && last.at_ms == now_ms) {
            decision.stay = Some(place);
        }
    }

    fn released(&mut self, release: &Release) {
        if let Some(place) = self.running[release.pod.index()].take() {
            self.stays[place].until_ms = release.at_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Synthetic;

    /// Chooses the first candidate, and learns about the last ones.
    struct First;

    impl Chooser for First {
        fn choose(&mut self, rows: &[f32], count: usize) -> usize {
            assert_eq!(rows.len(), count * ROW);
            assert!(rows.iter().all(|value| value.is_finite()));
            0
        }

        fn others(&mut self, chosen: usize, wanted: usize, count: usize) -> Vec<usize> {
            (0..count).rev().filter(|place| *place != chosen).take(wanted).collect()
        }
    }

    fn played(seed: u64, hours: u32) -> Played {
        let scenario = Synthetic::small(seed).build().expect("a scenario");
        let settings = EpisodeSettings { others: 2, hours, smoothing: Smoothing::default(), every: 1 };
        let (engine, weights) = (EngineSettings::default(), CostWeights::default());
        Episode { scenario: &scenario, engine: &engine, weights: &weights, settings: &settings }.play(&mut First, 1)
    }

    #[test]
    fn every_decision_is_judged_and_the_same_every_time() {
        let first = played(1, 4);
        assert!(first.decisions > 100 && first.experience.len() > 2 * first.decisions, "{}", first.decisions);
        assert_eq!(first.experience, played(1, 4).experience);
        for experience in &first.experience {
            assert_eq!(experience.row.len(), ROW);
            assert_eq!(experience.terminated, experience.after.is_empty());
            assert!(!(experience.terminated && experience.truncated));
            assert!(experience.hours.iter().all(|parts| parts.sum().is_finite()));
        }
        assert!(first.experience.iter().any(|experience| experience.terminated));
        assert!(first.experience.iter().any(|experience| experience.truncated));
        assert!(first.experience.iter().any(|experience| !experience.terminated && !experience.truncated));
    }

    #[test]
    fn piling_up_adds_more_cost_where_it_piles_up() {
        // The first feasible node again and again: what was chosen costs more than what was not.
        let played = played(2, 4);
        let mean = |chosen: bool| {
            let of = played.experience.iter().filter(|experience| experience.chosen == chosen);
            let costs: Vec<f64> = of.map(|experience| experience.hours.iter().map(Parts::sum).sum()).collect();
            costs.iter().sum::<f64>() / costs.len() as f64
        };
        assert!(mean(true) > mean(false), "{} {}", mean(true), mean(false));
    }
}
