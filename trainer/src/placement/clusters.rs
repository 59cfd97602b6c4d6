//! The clusters that the agent learns in, is looked at in, and is judged in. No seed is in two of these groups.

use super::PlacementSettings;
use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use simulator::input::{Shape, Synthetic};
use simulator::world::Scenario;

/// Kinds of cluster that it learns in. `misrequested` and `pools` are kept for judging what it makes of others.
pub const LEARNED: [Shape; 3] = [Shape::Mixed, Shape::Bursts, Shape::Memory];
/// Kinds of cluster that it is judged in: one that it knows and one that it does not.
pub const JUDGED: [Shape; 2] = [Shape::Mixed, Shape::Misrequested];

/// Seeds of comparisons start at 1 and are never learned from; these groups start far above.
const LEARN_FROM: u64 = 1_000_000;
const LOOK_FROM: u64 = 2_000_000;
const JUDGE_FROM: u64 = 3_000_000;
/// Clusters that it is looked at in.
const LOOKS: u64 = 4;

/// The cluster of an episode: its kind in turn, its size and load by chance.
///
/// # Errors
/// When a setting is out of range.
pub fn of_episode(settings: &PlacementSettings, episode: u64) -> anyhow::Result<Scenario> {
    drawn(settings, LEARN_FROM + settings.seed.wrapping_mul(10_007) % 900_000 + episode, episode)
}

/// The clusters that networks are compared in while learning goes on.
///
/// # Errors
/// When a setting is out of range.
pub fn to_look_at(settings: &PlacementSettings) -> anyhow::Result<Vec<Scenario>> {
    (0..LOOKS).map(|at| drawn(settings, LOOK_FROM + at, at)).collect()
}

/// The clusters that the gate judges in: `seeds` of each kind, of one size and load.
///
/// # Errors
/// When a setting is out of range.
pub fn to_judge(settings: &PlacementSettings, seeds: u64) -> anyhow::Result<Vec<Scenario>> {
    let build = |shape, seed| {
        let cluster =
            Synthetic { shape, nodes: settings.nodes, days: settings.days, load: 0.75, seed: JUDGE_FROM + seed };
        cluster.build().context("failed to make a cluster to judge in")
    };
    JUDGED.into_iter().flat_map(|shape| (0..seeds).map(move |seed| build(shape, seed))).collect()
}

fn drawn(settings: &PlacementSettings, seed: u64, turn: u64) -> anyhow::Result<Scenario> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let shape = LEARNED[(turn % LEARNED.len() as u64) as usize];
    let nodes = (settings.nodes as f64 * chance.random_range(0.6..1.4)) as usize;
    let load = chance.random_range(0.6..0.8);
    Synthetic { shape, nodes: nodes.max(3), days: settings.days, load, seed }
        .build()
        .context("failed to make a cluster to learn in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cluster_is_in_two_groups_and_kinds_take_turns() {
        let settings = PlacementSettings { nodes: 6, days: 0.25, ..PlacementSettings::default() };
        let learned: Vec<Scenario> = (0..4).map(|at| of_episode(&settings, at).expect("a cluster")).collect();
        let names: Vec<&str> = learned.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names, ["mixed", "bursts", "memory", "mixed"]);
        assert_ne!(learned[0].pods, learned[3].pods);
        assert_eq!(learned[1].pods, of_episode(&settings, 1).expect("a cluster").pods);
        let looked = to_look_at(&settings).expect("clusters");
        let judged = to_judge(&settings, 2).expect("clusters");
        assert_eq!((looked.len(), judged.len()), (4, 4));
        for other in looked.iter().chain(&judged) {
            assert!(learned.iter().all(|scenario| scenario.pods != other.pods));
        }
    }
}
