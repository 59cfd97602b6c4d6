//! The memory that updates draw from.

use crate::settings::Priority;
use crate::transition::Transition;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A ring of transitions, drawn uniformly or by error.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    capacity: usize,
    pub(crate) ring: Vec<Transition>,
    /// Where the next one goes once the ring is full.
    pub(crate) next: usize,
    priority: Option<Priority>,
    pub(crate) tree: SumTree,
}

/// A transition that was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Its place.
    pub place: usize,
    /// What its error counts in the loss, 0..1: corrects the bias of drawing by error.
    pub weight: f32,
}

/// Added to errors, so that a transition without error can still be drawn (the paper's ε).
const LEAST_ERROR: f64 = 1e-3;

impl Replay {
    /// An empty one.
    pub fn new(capacity: usize, priority: Option<Priority>) -> Self {
        let tree = SumTree::new(if priority.is_some() { capacity } else { 0 });
        Self { capacity, ring: Vec::new(), next: 0, priority, tree }
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The transition at a place.
    pub fn get(&self, place: usize) -> &Transition {
        &self.ring[place]
    }

    /// Takes one in; the oldest makes room. A new one is drawn as if its error were the largest known.
    pub fn push(&mut self, transition: Transition) {
        let place = if self.ring.len() < self.capacity {
            self.ring.push(transition);
            self.ring.len() - 1
        } else {
            let place = self.next;
            self.ring[place] = transition;
            self.next = (place + 1) % self.capacity;
            place
        };
        if self.priority.is_some() {
            let highest = self.tree.highest.max(LEAST_ERROR);
            self.tree.set(place, highest);
        }
    }

    /// Draws `count`, with repetition. None when it is empty.
    pub fn draw(&self, count: usize, chance: &mut ChaCha8Rng) -> Vec<Drawn> {
        if self.ring.is_empty() {
            return Vec::new();
        }
        let Some(Priority { correction, .. }) = self.priority else {
            return (0..count).map(|_| Drawn { place: chance.random_range(0..self.ring.len()), weight: 1.0 }).collect();
        };
        let total = self.tree.total();
        let mut drawn: Vec<(usize, f64)> = (0..count)
            .map(|at| {
                // One from each of `count` equal parts of the sum, as in the paper.
                let place = self.tree.find(total * (at as f64 + chance.random::<f64>()) / count as f64);
                let share = self.tree.get(place) / total * self.ring.len() as f64;
                (place, share.max(f64::MIN_POSITIVE).powf(-correction))
            })
            .collect();
        let most = drawn.iter().map(|(_, weight)| *weight).fold(f64::MIN_POSITIVE, f64::max);
        drawn.drain(..).map(|(place, weight)| Drawn { place, weight: (weight / most) as f32 }).collect()
    }

    /// Tells the errors of what was drawn.
    pub fn judge(&mut self, drawn: &[Drawn], errors: &[f32]) {
        let Some(Priority { exponent, .. }) = self.priority else { return };
        for (drawn, error) in drawn.iter().zip(errors) {
            self.tree.set(drawn.place, (f64::from(error.abs()) + LEAST_ERROR).powf(exponent));
        }
    }
}

/// Values by place, with the sum over any prefix in logarithmic time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct SumTree {
    leaves: usize,
    /// Node 1 is the root, the children of `i` are `2 i` and `2 i + 1`.
    sums: Vec<f64>,
    /// The largest value ever set.
    pub(crate) highest: f64,
}

impl SumTree {
    fn new(places: usize) -> Self {
        let leaves = if places == 0 { 0 } else { places.next_power_of_two() };
        Self { leaves, sums: vec![0.0; 2 * leaves], highest: 0.0 }
    }

    fn total(&self) -> f64 {
        self.sums.get(1).copied().unwrap_or(0.0)
    }

    pub(crate) fn get(&self, place: usize) -> f64 {
        self.sums.get(self.leaves + place).copied().unwrap_or(0.0)
    }

    pub(crate) fn set(&mut self, place: usize, value: f64) {
        let mut at = self.leaves + place;
        self.sums[at] = value;
        self.highest = self.highest.max(value);
        while at > 1 {
            at /= 2;
            // From the children, not by adding the change: then no rounding piles up and a restored tree is equal.
            self.sums[at] = self.sums[2 * at] + self.sums[2 * at + 1];
        }
    }

    /// The place in whose share of the sum `point` lies.
    fn find(&self, point: f64) -> usize {
        let (mut at, mut point) = (1, point);
        while at < self.leaves {
            let left = self.sums[2 * at];
            // An empty right side is never entered, whatever rounding left of `point`.
            if point < left || self.sums[2 * at + 1] == 0.0 {
                at *= 2;
            } else {
                point -= left;
                at = 2 * at + 1;
            }
        }
        at - self.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    fn worth(reward: f32) -> Transition {
        Transition { reward, ..Transition::default() }
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut replay = Replay::new(3, None);
        (0..5).for_each(|at| replay.push(worth(at as f32)));
        let kept: Vec<f32> = (0..3).map(|place| replay.get(place).reward).collect();
        assert_eq!(kept, [3.0, 4.0, 2.0]);
        assert!(Replay::new(3, None).draw(4, &mut ChaCha8Rng::seed_from_u64(1)).is_empty());
    }

    #[test]
    fn large_errors_are_drawn_in_proportion_and_count_less() {
        let priority = Priority { exponent: 1.0, correction: 1.0 };
        let mut replay = Replay::new(4, Some(priority));
        (0..4).for_each(|at| replay.push(worth(at as f32)));
        let all: Vec<Drawn> = (0..4).map(|place| Drawn { place, weight: 1.0 }).collect();
        replay.judge(&all, &[1.0, 1.0, 2.0, 4.0]);
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let drawn = replay.draw(8_000, &mut chance);
        let count = |wanted: usize| drawn.iter().filter(|drawn| drawn.place == wanted).count();
        // Shares 1/8, 1/8, 1/4, 1/2; drawing by parts keeps them nearly exact.
        assert!(
            (count(3) as i64 - 4_000).abs() < 20 && (count(0) as i64 - 1_000).abs() < 20,
            "{} {}",
            count(3),
            count(0)
        );
        let weight = |wanted: usize| drawn.iter().find(|drawn| drawn.place == wanted).map_or(0.0, |drawn| drawn.weight);
        assert!((weight(3) - 0.25).abs() < 1e-3 && (weight(0) - 1.0).abs() < 1e-3, "{} {}", weight(3), weight(0));
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_a_walk_over_the_values_finds(
            values in prop::collection::vec(0.01_f64..5.0, 1..40), share in 0.0_f64..1.0,
        ) {
            let mut tree = SumTree::new(values.len());
            values.iter().enumerate().for_each(|(place, value)| tree.set(place, *value));
            let total: f64 = values.iter().sum();
            prop_assert!((tree.total() - total).abs() < 1e-9);
            let found = tree.find(share * tree.total());
            prop_assert!(found < values.len());
            let before: f64 = values[..found].iter().sum();
            prop_assert!(before <= share * total + 1e-9 && share * total <= before + values[found] + 1e-9);
        }
    }
}
