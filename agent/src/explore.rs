//! How actions are chosen while an episode runs.

use crate::learner::LearnError;
use models::placement::{PlacementNetwork, Scratch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Chooses the best action, or any with the chance ε. It has a generator of its own, so that episodes can run side by
/// side and still each be the same every time.
pub struct Explorer<'a> {
    network: &'a PlacementNetwork,
    epsilon: f64,
    chance: ChaCha8Rng,
    scratch: Scratch,
    scores: Vec<f32>,
}

impl<'a> Explorer<'a> {
    /// For one episode.
    pub fn new(network: &'a PlacementNetwork, epsilon: f64, seed: u64, episode: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(episode + 1);
        Self { network, epsilon, chance, scratch: Scratch::default(), scores: Vec::new() }
    }

    /// The place of the chosen row. No rows give 0.
    ///
    /// # Errors
    /// When `rows` is not whole rows.
    pub fn choose(&mut self, rows: &[f32]) -> Result<usize, LearnError> {
        let count = rows.len() / self.network.features().len();
        // Drawn whether needed or not, so that what follows does not depend on ε.
        let (roll, any) = (self.chance.random::<f64>(), self.chance.random_range(0..count.max(1)));
        if roll < self.epsilon || count < 2 {
            return Ok(any);
        }
        self.network.score(rows, &mut self.scratch, &mut self.scores)?;
        Ok(best(&self.scores))
    }

    /// Up to `count` places other than `chosen`, without repetition, from `total`.
    pub fn others(&mut self, chosen: usize, count: usize, total: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..total).filter(|place| *place != chosen).collect();
        let count = count.min(places.len());
        for at in 0..count {
            let other = self.chance.random_range(at..places.len());
            places.swap(at, other);
        }
        places.truncate(count);
        places
    }
}

/// The place of the highest score; the first among equals.
pub(crate) fn best(scores: &[f32]) -> usize {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = place;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::placement::Layer;

    #[test]
    fn epsilon_is_the_share_of_random_actions() {
        let layer = Layer { inputs: 1, outputs: 1, weights: vec![1.0], bias: vec![0.0] };
        let network = PlacementNetwork::new(vec!["x".into()], vec![0.0], vec![layer]).expect("a network");
        let mut explorer = Explorer::new(&network, 0.4, 1, 0);
        let rows = [0.0, 1.0, 0.5, 0.2];
        let best = (0..4_000).filter(|_| explorer.choose(&rows).expect("a choice") == 1).count();
        // 60 % by value and a quarter of the rest by chance: 70 %.
        assert!((best as f64 / 4_000.0 - 0.7).abs() < 0.03, "{best}");
        let mut others = explorer.others(1, 3, 4);
        others.sort_unstable();
        assert_eq!(others, [0, 2, 3]);
        assert_eq!(explorer.others(0, 5, 1), [0; 0]);
    }
}
