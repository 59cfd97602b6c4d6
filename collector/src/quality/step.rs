//! How far apart the samples are.

use std::collections::{BTreeMap, HashMap};

/// How often each distance between neighbouring samples occurs, in milliseconds rounded to [`StepCounts::GRAIN_MS`].
#[derive(Debug, Clone, Default)]
pub(super) struct StepCounts(HashMap<i64, u64>);

impl StepCounts {
    /// Scrapes jitter by some tens of milliseconds; no one scrapes more often than once a second.
    const GRAIN_MS: i64 = 1_000;

    /// Adds the distances of times that rise.
    pub fn add(&mut self, times: impl Iterator<Item = i64>) {
        let mut last: Option<i64> = None;
        for ts in times {
            if let Some(before) = last {
                let steps = (ts - before + Self::GRAIN_MS / 2) / Self::GRAIN_MS;
                *self.0.entry(steps.max(1) * Self::GRAIN_MS).or_insert(0) += 1;
            }
            last = Some(ts);
        }
    }

    /// The most frequent distance; of two that are equally frequent the shorter one.
    pub fn most_frequent(&self) -> Option<i64> {
        self.0.iter().max_by_key(|(step, count)| (**count, -**step)).map(|(step, _)| *step)
    }
}

/// The dataset's step: the most frequent distance over all nodes. One for all, since one grid of scrapes is what the
/// features expect: a node that is sampled half as often as the others has half of the coverage.
pub(super) fn dataset_step(counts: &BTreeMap<String, StepCounts>) -> Option<i64> {
    let mut all = StepCounts::default();
    for node in counts.values() {
        for (step, count) in &node.0 {
            *all.0.entry(*step).or_insert(0) += count;
        }
    }
    all.most_frequent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_distance_survives_jitter_and_losses() {
        let mut counts = StepCounts::default();
        counts.add([0, 30_020, 59_990, 90_000, 150_010, 180_000, 600_000].into_iter());
        assert_eq!(counts.most_frequent(), Some(30_000));
        assert_eq!(StepCounts::default().most_frequent(), None);
    }

    #[test]
    fn the_dataset_follows_the_majority() {
        let mut nodes = BTreeMap::new();
        for (node, step, samples) in [("a", 30_000, 100), ("b", 30_000, 100), ("c", 60_000, 50)] {
            nodes.entry(node.to_owned()).or_insert_with(StepCounts::default).add((0..samples).map(|at| at * step));
        }
        assert_eq!(dataset_step(&nodes), Some(30_000));
        assert_eq!(nodes["c"].most_frequent(), Some(60_000));
    }
}
