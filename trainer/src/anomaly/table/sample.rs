//! Pass 2 and 3: rows drawn from a table that may be larger than memory, by where they lie in time.

use detection::plan::{InputPlan, TablePlan, Trail};
use detection::table::{Binding, Renamed, RowCounts, TableReader, TableRow};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::path::Path;

/// Where the table is cut: by time where there is one, else by the number of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// What comes from here on chooses the threshold.
    pub validation: i64,
    /// What comes from here on is tested on.
    pub test: i64,
}

/// The part that a row lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Learned from.
    Train,
    /// Chooses the threshold.
    Validation,
    /// Tested on.
    Test,
}

impl Cut {
    /// Cuts `from..=until` by shares.
    pub fn new(from: i64, until: i64, test_share: f64, validation_share: f64) -> Self {
        let length = (until - from + 1) as f64;
        let test = from + (length * (1.0 - test_share)).ceil() as i64;
        let validation = from + (length * (1.0 - test_share) * (1.0 - validation_share)).ceil() as i64;
        Self { validation, test }
    }

    /// Where a moment lies.
    pub fn part(&self, moment: i64) -> Part {
        if moment >= self.test {
            Part::Test
        } else if moment >= self.validation {
            Part::Validation
        } else {
            Part::Train
        }
    }
}

/// At most so many of all items that are offered, each as likely as the others (Vitter's algorithm R).
#[derive(Debug, Clone)]
pub struct Reservoir<T> {
    most: usize,
    offered: u64,
    kept: Vec<T>,
    generator: ChaCha8Rng,
}

impl<T> Reservoir<T> {
    /// An empty one.
    pub fn new(most: usize, seed: u64) -> Self {
        Self { most, offered: 0, kept: Vec::new(), generator: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Offers an item; it is only made where it is kept.
    pub fn offer(&mut self, item: impl FnOnce() -> T) {
        self.offered += 1;
        if self.kept.len() < self.most {
            self.kept.push(item());
            return;
        }
        let place = self.generator.random_range(0..self.offered);
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.kept.get_mut(place)) {
            *kept = item();
        }
    }

    /// How many were offered.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// Those that were kept.
    pub fn kept(&self) -> &[T] {
        &self.kept
    }
}

/// Entities whose windows fit into memory while a table is read.
const MOST_ENTITIES: usize = 100_000;

/// Walks through a table and hands every usable row's features to `visit`, with its part and its label.
///
/// # Errors
/// When the table cannot be read to its end, or `visit` fails.
pub(super) fn walk(
    path: &Path,
    plan: &TablePlan,
    cut: Cut,
    mut visit: impl FnMut(Part, &[f32], Option<bool>) -> anyhow::Result<()>,
    mut tick: impl FnMut(u64),
) -> anyhow::Result<RowCounts> {
    let mut reader = TableReader::open(path)?;
    let mut counts = RowCounts::default();
    let input = InputPlan::Table(plan.clone());
    let binding = Binding::new(&mut reader, &input, &Renamed::default(), false, &mut counts)?;
    let mut past: HashMap<String, (Trail, Option<i64>)> = HashMap::new();
    let (mut row, mut values, mut features) = (TableRow::default(), Vec::new(), Vec::new());
    while reader.next(&mut row)? {
        let number = counts.rows as i64;
        if counts.rows % 1_000 == 0 {
            tick(counts.rows);
        }
        let Ok(keys) = binding.read(&row, &mut values, &mut counts) else { continue };
        if !past.contains_key(&keys.entity) {
            anyhow::ensure!(
                past.len() < MOST_ENTITIES,
                "the table has more than {MOST_ENTITIES} entities by line {}. Is column `{}` the right one?",
                row.line,
                plan.entity.as_deref().unwrap_or_default()
            );
            past.insert(keys.entity.clone(), (Trail::default(), None));
        }
        let Some((trail, last)) = past.get_mut(&keys.entity) else { continue };
        plan.expand(trail, &values, &mut features);
        visit(cut.part(keys.time.unwrap_or(number)), &features, keys.label)?;
        if matches!((keys.time, *last), (Some(time), Some(last)) if time < last) {
            counts.late.add(|| format!("line {}", row.line));
        } else {
            trail.push(&values, plan.longest());
            *last = keys.time.or(*last);
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_leaves_the_end_for_the_test() {
        // 100 rows: 70 to learn from, of which the last 21 choose.
        let cut = Cut::new(0, 99, 0.3, 0.3);
        assert_eq!((cut.validation, cut.test), (49, 70));
        assert_eq!(
            [48, 49, 69, 70, 99].map(|row| cut.part(row)),
            [Part::Train, Part::Validation, Part::Validation, Part::Test, Part::Test]
        );
        assert_eq!(Cut::new(0, 99, 0.0, 0.3).part(99), Part::Validation);
    }

    #[test]
    fn a_reservoir_is_fair_and_keeps_all_that_fit() {
        let mut small = Reservoir::new(10, 1);
        (0..10).for_each(|item| small.offer(|| item));
        assert_eq!(small.kept(), (0..10).collect::<Vec<_>>());
        // Of 100 items 10 are kept, 2,000 times over: each about 200 times; five standard deviations are 67.
        let mut times = [0_u32; 100];
        for seed in 0..2_000 {
            let mut reservoir = Reservoir::new(10, seed);
            (0..100_usize).for_each(|item| reservoir.offer(|| item));
            assert_eq!((reservoir.kept().len(), reservoir.offered()), (10, 100));
            reservoir.kept().iter().for_each(|item| times[*item] += 1);
        }
        assert!(times.iter().all(|times| (133..=267).contains(times)), "{times:?}");
    }
}
