//! The loop: play two episodes side by side, take in what they came to, update, look, write a checkpoint.

use super::search::{self, Round};
use super::start::{self, RULES, SEARCHED, Start};
use super::state::{CurvePoint, Look, State};
use super::{Clusters, PlacementSettings, REWARD_UNIT};
use agent::{End, Explorer, LearnError, Learner, Step, Transition, n_step};
use anyhow::Context;
use cluster::score::ValueScale;
use models::placement::PlacementNetwork;
use rayon::prelude::*;
use simulator::command::Network;
use simulator::compare::paired_ratio;
use simulator::engine::EngineSettings;
use simulator::learning::{Chooser, Episode, Experience, Played, Scores, measured_scale};
use simulator::outcome::CostWeights;
use simulator::policy::{PolicyKind, Scorer};
use simulator::world::Scenario;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Episodes that are played side by side with the same network. Part of the algorithm, not of the machine: the result does
/// not depend on how many cores there are.
const SIDE_BY_SIDE: u64 = 2;

/// A training that is over.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The best network at the looks.
    pub network: PlacementNetwork,
    /// What each rule came to that it could have begun as.
    pub starts: Vec<Start>,
    /// The search for one of them.
    pub rounds: Vec<Round>,
    /// By episode.
    pub curve: Vec<CurvePoint>,
    /// The looks.
    pub looks: Vec<Look>,
    /// Rows of decisions, for what mattered.
    pub sample: Vec<f32>,
    /// Updates of the network.
    pub updates: u64,
    /// Wall time, that before an interruption included.
    pub seconds: f64,
}

/// Trains. With a `checkpoint` it goes on from there, if there is one, and keeps it up to date; a run that was killed and
/// goes on ends with the same network as one that was not.
///
/// # Errors
/// A setting out of range, a checkpoint of another training, or a loss that is no number.
pub fn train(
    clusters: Clusters<'_>,
    weights: &CostWeights,
    checkpoint: Option<&Path>,
    mut told: impl FnMut(&CurvePoint),
) -> anyhow::Result<Trained> {
    let settings = clusters.settings;
    settings.check()?;
    let dataset = clusters.history.map(|history| history.dataset.id.as_str());
    let began = Instant::now();
    let resumed = checkpoint.map(|path| State::read(path, settings, dataset)).transpose()?.flatten();
    let looked_at = Looked::at(clusters.to_look_at()?, weights);
    let mut state = match resumed {
        Some(state) => {
            tracing::info!(episodes = state.learner.episodes(), "goes on from the checkpoint");
            state
        }
        None => begin(clusters, weights, &looked_at)?,
    };
    let before = state.seconds;
    let keep = |state: &mut State| {
        state.seconds = before + began.elapsed().as_secs_f64();
        checkpoint.map_or(Ok(()), |path| state.write(path, settings, dataset))
    };
    if state.learner.episodes() == 0 {
        // The search is not repeated.
        keep(&mut state)?;
    }
    let mut sample = Vec::new();
    while state.learner.episodes() < settings.episodes {
        let first = state.learner.episodes();
        let round: Vec<u64> = (first..settings.episodes.min(first + SIDE_BY_SIDE)).collect();
        let network = state.learner.network();
        let played: Vec<Played> = round
            .par_iter()
            .map(|episode| play(clusters, weights, network, *episode))
            .collect::<anyhow::Result<_>>()?;
        for (episode, played) in round.iter().zip(&played) {
            take_in(&mut state.learner, settings, &played.experience)?;
            let (loss, value) = update(&mut state.learner, settings.updates)?;
            let point = point(*episode, settings, weights, played, (loss, value));
            told(&point);
            state.curve.push(point);
            state.learner.end_episode();
        }
        let done = state.learner.episodes();
        if first / settings.look_every != done / settings.look_every || done == settings.episodes {
            let look = looked_at.look(done, state.learner.network(), weights);
            if state.looks.iter().all(|before| look.against_kube < before.against_kube) {
                state.best = state.learner.network().clone();
            }
            let (cost, against_kube) = (look.cost, look.against_kube);
            tracing::info!(episodes = done, cost, against_kube, "looked at clusters that are not learned in");
            state.looks.push(look);
            keep(&mut state)?;
        }
        sample = played.into_iter().flat_map(|played| played.experience).take(500).flat_map(|seen| seen.row).collect();
    }
    let State { learner, starts, rounds, curve, looks, best, .. } = state;
    let network = looked_at.scaled(best);
    let seconds = before + began.elapsed().as_secs_f64();
    Ok(Trained { network, starts, rounds, curve, looks, sample, updates: learner.updates(), seconds })
}

/// Looks at every rule, searches on from the cheapest, and begins as the cheapest of all.
fn begin(clusters: Clusters<'_>, weights: &CostWeights, looked_at: &Looked) -> anyhow::Result<State> {
    let settings = clusters.settings;
    let mut rules = RULES
        .iter()
        .map(|rule| looked_at.start(rule.name, rule.skip(), weights))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut rounds = Vec::new();
    if settings.search_rounds > 0 {
        let from = rules.iter().min_by(|a, b| a.1.against_kube.total_cmp(&b.1.against_kube));
        let (from, _) = from.context("there is no rule to search from")?;
        let found;
        (found, rounds) = search::search(clusters, weights, from)?;
        rules.push(looked_at.start(SEARCHED, found, weights)?);
    }
    State::new(settings, rules, rounds)
}

impl Trained {
    /// The rule that it began as.
    pub fn began_as(&self) -> Option<&Start> {
        start::cheapest(&self.starts).map(|place| &self.starts[place])
    }

    /// The look whose network was kept: the cheapest, the first of equals. After 0 episodes it is the rule.
    pub fn kept(&self) -> Option<&Look> {
        self.looks.iter().min_by(|a, b| a.against_kube.total_cmp(&b.against_kube))
    }
}

fn play(
    clusters: Clusters<'_>,
    weights: &CostWeights,
    network: &PlacementNetwork,
    episode: u64,
) -> anyhow::Result<Played> {
    let (settings, scenario) = (clusters.settings, clusters.of_episode(episode)?);
    let epsilon = settings.learner().epsilon_at(episode);
    let mut curious = Curious { explorer: Explorer::new(network, epsilon, settings.seed, episode), failed: None };
    let (engine, how) = (EngineSettings::default(), settings.episode());
    let played = Episode { scenario: &scenario, engine: &engine, weights, settings: &how }.play(&mut curious, episode);
    match curious.failed {
        None => Ok(played),
        Some(error) => Err(error).context("failed to choose among candidates"),
    }
}

/// The explorer as the simulator sees it. The simulator cannot fail, so the first error is kept for later.
struct Curious<'a> {
    explorer: Explorer<'a>,
    failed: Option<LearnError>,
}

impl Chooser for Curious<'_> {
    fn choose(&mut self, rows: &[f32], _count: usize) -> usize {
        self.explorer.choose(rows).unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            0
        })
    }

    fn others(&mut self, chosen: usize, wanted: usize, count: usize) -> Vec<usize> {
        self.explorer.others(chosen, wanted, count)
    }
}

/// Hourly costs into transitions, each relative to the mean of the candidates of its decision that were looked at: what all
/// of them would have cost says nothing about which is best, and differs far more from pod to pod than from node to node.
/// What was cut off before anything was seen teaches nothing.
fn take_in(learner: &mut Learner, settings: &PlacementSettings, experience: &[Experience]) -> Result<(), LearnError> {
    for decision in experience.chunk_by(|_, next| !next.chosen) {
        let made: Vec<Transition> = decision.iter().filter_map(|seen| transition(settings, seen)).collect();
        let mean = made.iter().map(|transition| transition.reward).sum::<f32>() / made.len().max(1) as f32;
        for transition in made {
            let reward = transition.reward - mean;
            learner.observe(Transition { reward, ..transition })?;
        }
    }
    Ok(())
}

fn transition(settings: &PlacementSettings, seen: &Experience) -> Option<Transition> {
    let last = seen.hours.len().checked_sub(1)?;
    let steps: Vec<Step> = seen
        .hours
        .iter()
        .enumerate()
        .map(|(hour, parts)| {
            let is_last = hour == last;
            Step {
                reward: (-parts.sum() / REWARD_UNIT) as f32,
                discount: settings.discount as f32,
                next: if is_last { seen.after.clone() } else { Vec::new() },
                end: End { terminated: is_last && seen.terminated, truncated: is_last && seen.truncated },
            }
        })
        .collect();
    n_step(&seen.row, &steps, steps.len()).ok()
}

/// Mean loss and value over `count` updates; 0 while there is too little to learn from.
fn update(learner: &mut Learner, count: u64) -> Result<(f64, f64), LearnError> {
    let (mut loss, mut value, mut done) = (0.0, 0.0, 0_u32);
    for _ in 0..count {
        if let Some(update) = learner.update()? {
            (loss, value, done) = (loss + update.loss, value + update.value, done + 1);
        }
    }
    let done = f64::from(done.max(1));
    Ok((loss / done, value / done))
}

fn point(
    episode: u64,
    settings: &PlacementSettings,
    weights: &CostWeights,
    played: &Played,
    (loss, value): (f64, f64),
) -> CurvePoint {
    let each = |cost: f64| -cost / REWARD_UNIT / played.decisions.max(1) as f64;
    CurvePoint {
        episode,
        scenario: played.outcome.scenario.clone(),
        cost: weights.cost(&played.outcome),
        reward: each(played.cost.sum()),
        parts: played.cost.list().map(each),
        loss,
        value,
        epsilon: settings.learner().epsilon_at(episode),
    }
}

/// Clusters that are not learned in, with what kube-scheduler's default scoring costs there.
struct Looked {
    scenarios: Vec<Scenario>,
    kube: Vec<f64>,
}

impl Looked {
    fn at(scenarios: Vec<Scenario>, weights: &CostWeights) -> Self {
        let kube = costs(&scenarios, weights, PolicyKind::KubeScheduler, &Scorer::default());
        Self { scenarios, kube }
    }

    /// A rule that learning can begin as.
    fn start(&self, name: &str, rule: Vec<f32>, weights: &CostWeights) -> anyhow::Result<(Vec<f32>, Start)> {
        let Look { cost, against_kube, .. } = self.look(0, &start::linear(rule.clone())?, weights);
        tracing::info!(rule = name, cost, against_kube, "looked at a rule to begin as");
        Ok((rule, Start { rule: name.to_owned(), cost, against_kube }))
    }

    /// The network with the scale by which differences of its values are read, measured where it did not learn. One that says
    /// the same of all candidates keeps the one that it has.
    fn scaled(&self, network: PlacementNetwork) -> PlacementNetwork {
        let agent: Arc<dyn Scores> = Arc::new(Network(network.clone()));
        match measured_scale(&self.scenarios, &EngineSettings::default(), &agent) {
            Some(scale) => {
                let ValueScale { full_difference, noise } = scale;
                tracing::info!(full_difference, noise, "measured how differences of the agent's values are to be read");
                network.with_scale(scale)
            }
            None => network,
        }
    }

    /// The network alone, without random choices.
    fn look(&self, episode: u64, network: &PlacementNetwork, weights: &CostWeights) -> Look {
        let own = costs(&self.scenarios, weights, PolicyKind::Agent, &by(network.clone()));
        let cost = own.iter().sum::<f64>() / own.len().max(1) as f64;
        Look { episode, cost, against_kube: paired_ratio(&own, &self.kube).mean }
    }
}

/// Scores by a network, as it is served.
pub(super) fn by(network: PlacementNetwork) -> Scorer {
    Scorer { agent: Some(Arc::new(Network(network))), ..Scorer::default() }
}

/// What a policy costs on each scenario.
pub(super) fn costs(scenarios: &[Scenario], weights: &CostWeights, policy: PolicyKind, scorer: &Scorer) -> Vec<f64> {
    let engine = EngineSettings::default();
    scenarios.par_iter().map(|scenario| weights.cost(&policy.run(scenario, &engine, weights, scorer, 1))).collect()
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
