//! The rows that a tree is grown on.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Some rows of a matrix, column by column: a tree looks at one feature of many rows at a time.
pub(super) struct Sample {
    values: Vec<f32>,
    rows: usize,
}

/// What the rows of a node have of one feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub low: f32,
    pub high: f32,
}

impl Sample {
    /// Draws `wanted` of the rows of `values` (row-major, `width` columns), each at most once.
    pub fn draw(values: &[f32], width: usize, wanted: usize, generator: &mut ChaCha8Rng) -> Self {
        let all = values.len() / width;
        let picked = rand::seq::index::sample(generator, all, wanted.min(all));
        let rows = picked.len();
        let mut columns = vec![f32::NAN; rows * width];
        for (place, row) in picked.iter().enumerate() {
            for (feature, value) in values[row * width..(row + 1) * width].iter().enumerate() {
                columns[feature * rows + place] = *value;
            }
        }
        Self { values: columns, rows }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All values of a feature.
    pub fn column(&self, feature: usize) -> &[f32] {
        &self.values[feature * self.rows..(feature + 1) * self.rows]
    }

    /// Smallest and largest known value among `rows`; `None` where they are the same or none is known, so that no split
    /// could part them.
    pub fn range(&self, feature: usize, rows: &[u16]) -> Option<Range> {
        let column = self.column(feature);
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for &row in rows {
            let value = column[usize::from(row)];
            // A comparison with NaN is false, which leaves both as they are.
            low = if value < low { value } else { low };
            high = if value > high { value } else { high };
        }
        (low < high).then_some(Range { low, high })
    }

    /// Draws one feature after the other, each once, until `rows` differ in `wanted` of them. `features` is any order of
    /// all features and is left in another.
    pub fn splittable(
        &self,
        rows: &[u16],
        wanted: usize,
        features: &mut [u16],
        generator: &mut ChaCha8Rng,
    ) -> Vec<(u16, Range)> {
        let mut found = Vec::with_capacity(wanted);
        for place in 0..features.len() {
            let other = generator.random_range(place..features.len());
            features.swap(place, other);
            let feature = features[place];
            if let Some(range) = self.range(usize::from(feature), rows) {
                found.push((feature, range));
                if found.len() == wanted {
                    break;
                }
            }
        }
        found
    }
}

/// Puts the rows that `is_first` holds for before the others and returns how many there are.
pub(super) fn partition(rows: &mut [u16], is_first: impl Fn(u16) -> bool) -> usize {
    let mut count = 0;
    for place in 0..rows.len() {
        if is_first(rows[place]) {
            rows.swap(count, place);
            count += 1;
        }
    }
    count
}

/// A generator of its own for each tree, so that trees do not depend on which thread grows which.
pub(super) fn generator(seed: u64, tree: usize) -> ChaCha8Rng {
    let mut generator = <ChaCha8Rng as rand::SeedableRng>::seed_from_u64(seed);
    generator.set_stream(tree as u64);
    generator
}
