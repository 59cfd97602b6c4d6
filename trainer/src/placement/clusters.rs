//! The clusters that the agent learns in, is looked at in, and is judged in: made-up ones, and where there is a history
//! with pods, parts of that. No seed and no hour is in two of these groups.

use super::PlacementSettings;
use super::history::{OwnHistory, Part};
use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use simulator::input::{Shape, Synthetic};
use simulator::world::Scenario;

/// Kinds of cluster that it learns in. `misrequested` and `pools` are kept for judging what it makes of others.
pub const LEARNED: [Shape; 3] = [Shape::Mixed, Shape::Bursts, Shape::Memory];
/// Kinds of cluster that it is judged in: one that it knows and one that it does not.
pub const JUDGED: [Shape; 2] = [Shape::Mixed, Shape::Misrequested];

/// Seeds of comparisons start at 1 and are never learned from; these groups start far above. Learning and searching use
/// less than a million each.
const LEARN_FROM: u64 = 1_000_000;
const LOOK_FROM: u64 = 2_000_000;
const JUDGE_FROM: u64 = 3_000_000;
const SEARCH_FROM: u64 = 4_000_000;
const WEIGH_FROM: u64 = 5_000_000;
/// Made-up clusters that it is looked at in, four of each kind, and as many parts of the history: what is cheapest there
/// is to count as much.
const LOOKS: u64 = 4 * LEARNED.len() as u64;

/// Clusters of a round of the search, four of each kind; half of them are of the history, if there is one.
const SEARCHED: u64 = 4 * LEARNED.len() as u64;

/// Where clusters come from.
#[derive(Debug, Clone, Copy)]
pub struct Clusters<'a> {
    /// How large and how long.
    pub settings: &'a PlacementSettings,
    /// The user's own, if there is one to learn from.
    pub history: Option<&'a OwnHistory>,
}

impl Clusters<'_> {
    /// The cluster of an episode. Every second one is of the history, if there is one; made-up ones take turns in kind.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn of_episode(&self, episode: u64) -> anyhow::Result<Scenario> {
        let seed = LEARN_FROM + self.settings.seed.wrapping_mul(10_007) % 900_000 + episode;
        self.scenario_to_learn(seed, episode)
    }

    fn scenario_to_learn(&self, seed: u64, turn: u64) -> anyhow::Result<Scenario> {
        match self.history {
            Some(history) if turn % 2 == 1 => {
                history.draw(Part::Learn, self.settings, &mut ChaCha8Rng::seed_from_u64(seed))
            }
            Some(_) => self.made_up(seed, turn / 2),
            None => self.made_up(seed, turn),
        }
    }

    /// The clusters of a round of the search for a rule: other ones in each round.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn to_search_in(&self, round: u64) -> anyhow::Result<Vec<Scenario>> {
        let first = SEARCH_FROM + self.settings.seed.wrapping_mul(10_007) % 900_000 + round * SEARCHED;
        (0..SEARCHED).map(|at| self.scenario_to_learn(first + at, at)).collect()
    }

    /// The clusters of a round of the search for weights: other ones in each round, and none that the agent has seen.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn to_weigh_in(&self, round: u64) -> anyhow::Result<Vec<Scenario>> {
        let first = WEIGH_FROM + self.settings.seed.wrapping_mul(10_007) % 900_000 + round * SEARCHED;
        (0..SEARCHED).map(|at| self.made_up(first + at, at)).collect()
    }

    /// The clusters that networks are compared in while learning goes on.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn to_look_at(&self) -> anyhow::Result<Vec<Scenario>> {
        let mut list: Vec<Scenario> =
            (0..LOOKS).map(|at| self.made_up(LOOK_FROM + at, at)).collect::<anyhow::Result<_>>()?;
        if let Some(history) = self.history {
            let draw = |at| history.draw(Part::Look, self.settings, &mut ChaCha8Rng::seed_from_u64(LOOK_FROM + at));
            list.extend((0..LOOKS).map(draw).collect::<anyhow::Result<Vec<_>>>()?);
        }
        Ok(list)
    }

    /// The made-up clusters that the gate judges in: `seeds` of each kind, of one size and load.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn to_judge(&self, seeds: u64) -> anyhow::Result<Vec<Scenario>> {
        let PlacementSettings { nodes, days, .. } = *self.settings;
        let build = |shape, seed| {
            let cluster = Synthetic { shape, nodes, days, load: 0.75, seed: JUDGE_FROM + seed };
            cluster.build().context("failed to make a cluster to judge in")
        };
        JUDGED.into_iter().flat_map(|shape| (0..seeds).map(move |seed| build(shape, seed))).collect()
    }

    /// `seeds` parts of the end of the history, which nothing was learned from; they may overlap. Empty without one.
    ///
    /// # Errors
    /// When the history has no pod there.
    pub fn of_own_history(&self, seeds: u64) -> anyhow::Result<Vec<Scenario>> {
        let draw = |history: &OwnHistory, seed| {
            history.draw(Part::Judge, self.settings, &mut ChaCha8Rng::seed_from_u64(JUDGE_FROM + seed))
        };
        self.history.into_iter().flat_map(|history| (0..seeds).map(move |seed| draw(history, seed))).collect()
    }

    fn made_up(&self, seed: u64, turn: u64) -> anyhow::Result<Scenario> {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let shape = LEARNED[(turn % LEARNED.len() as u64) as usize];
        let nodes = (self.settings.nodes as f64 * chance.random_range(0.6..1.4)) as usize;
        let load = chance.random_range(0.6..0.8);
        Synthetic { shape, nodes: nodes.max(3), days: self.settings.days, load, seed }
            .build()
            .context("failed to make a cluster to learn in")
    }
}
