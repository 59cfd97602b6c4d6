//! Trees whose splits look at one feature: Liu, Ting and Zhou, "Isolation Forest", 2008.

use super::depth::{average_depths, depth_limit};
use super::sample::{Range, Sample, generator, partition};
use crate::ModelError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// A split as it is kept: the fewer rows lie where `±value < threshold`. A missing value is never below, so it takes the
/// side of the more rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Split {
    /// Number of the feature; the topmost bit turns the value's sign.
    pub feature: u16,
    pub threshold: f32,
    /// Rows on the side below.
    pub fewer: u16,
}

/// Turns the sign of the value.
pub(super) const MIRRORED: u16 = 0x8000;

/// A tree from its root on, the side of the fewer rows first; `None` is a leaf.
pub(super) type Preorder = Vec<Option<Split>>;

/// A place of a full tree, eight bytes, so that a tree of 256 rows fits into half of a first-level cache.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    /// Number of the feature and, topmost, the bit that is turned in its value.
    feature: u32,
    /// Nothing is below minus infinity: such a place stands below a leaf and is passed through.
    threshold: f32,
}

const SIGN: u32 = 0x8000_0000;
const THROUGH: Place = Place { feature: 0, threshold: f32::NEG_INFINITY };

/// Rows that go down a tree together: enough that the processor always has a load in flight, few enough for registers
/// and first-level cache.
const TOGETHER: usize = 32;

/// Trees as full ones, level by level: every row takes the same number of steps, without a branch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StraightTrees {
    depth: usize,
    /// `2^depth − 1` per tree.
    places: Vec<Place>,
    /// Path length by place below the last level, `2^depth` per tree.
    lengths: Vec<f32>,
    /// Rows by place, `2^(depth + 1) − 1` per tree.
    rows: Vec<u16>,
    depths: Vec<f64>,
}

/// Grows one tree.
pub(super) fn grow(values: &[f32], width: usize, samples: usize, seed: u64, tree: usize) -> Preorder {
    let mut generator = generator(seed, tree);
    let sample = Sample::draw(values, width, samples, &mut generator);
    let mut rows: Vec<u16> = (0..sample.rows() as u16).collect();
    let mut features: Vec<u16> = (0..width as u16).collect();
    let mut nodes = Vec::with_capacity(2 * rows.len());
    let levels = depth_limit(sample.rows());
    grow_below(&sample, &mut rows, levels, &mut features, &mut generator, &mut nodes);
    nodes
}

fn grow_below(
    sample: &Sample,
    rows: &mut [u16],
    levels: usize,
    features: &mut [u16],
    generator: &mut ChaCha8Rng,
    nodes: &mut Preorder,
) {
    let found =
        if levels == 0 || rows.len() < 2 { Vec::new() } else { sample.splittable(rows, 1, features, generator) };
    let Some(&(feature, range)) = found.first() else {
        nodes.push(None);
        return;
    };
    let threshold = draw_threshold(range, generator);
    let column = sample.column(usize::from(feature));
    let below = rows.iter().filter(|row| column[usize::from(**row)] < threshold).count();
    let known = rows.iter().filter(|row| !column[usize::from(**row)].is_nan()).count();
    let split = if below <= known - below {
        Split { feature, threshold, fewer: below as u16 }
    } else {
        // `−x < −t'` with t' just below t says `x ≥ t`.
        Split { feature: feature | MIRRORED, threshold: -threshold.next_down(), fewer: (known - below) as u16 }
    };
    let count = partition(rows, |row| split.is_below(column[usize::from(row)]));
    debug_assert_eq!(count, usize::from(split.fewer));
    nodes.push(Some(split));
    let (fewer, more) = rows.split_at_mut(count);
    grow_below(sample, fewer, levels - 1, features, generator, nodes);
    grow_below(sample, more, levels - 1, features, generator, nodes);
}

/// Uniform above the lowest and up to the highest value, so that there are rows on both sides.
fn draw_threshold(range: Range, generator: &mut ChaCha8Rng) -> f32 {
    let share = generator.random::<f64>();
    let threshold = f64::from(range.high) - share * (f64::from(range.high) - f64::from(range.low));
    (threshold as f32).clamp(range.low.next_up(), range.high)
}

impl Split {
    fn place(self) -> Place {
        let sign = if self.feature & MIRRORED == 0 { 0 } else { SIGN };
        Place { feature: u32::from(self.feature & !MIRRORED) | sign, threshold: self.threshold }
    }

    fn is_below(self, value: f32) -> bool {
        self.place().is_below(value)
    }
}

impl Place {
    fn feature(self) -> usize {
        (self.feature & !SIGN) as usize
    }

    #[inline]
    fn is_below(self, value: f32) -> bool {
        f32::from_bits(value.to_bits() ^ (self.feature & SIGN)) < self.threshold
    }
}

impl StraightTrees {
    /// From grown trees, each on `samples` rows.
    ///
    /// # Errors
    /// A tree that is cut, too long, too deep, or splits more rows than it has.
    pub fn new(trees: &[Preorder], samples: usize) -> Result<Self, ModelError> {
        let depth = depth_limit(samples);
        let inner = (1 << depth) - 1;
        let mut all = Self {
            depth,
            places: vec![THROUGH; trees.len() * inner],
            lengths: vec![0.0; trees.len() << depth],
            rows: vec![0; trees.len() * (2 * inner + 1)],
            depths: average_depths(samples),
        };
        for (tree, nodes) in trees.iter().enumerate() {
            let mut next = nodes.iter();
            all.fill(tree, 0, 0, samples, &mut next).filter(|()| next.as_slice().is_empty()).ok_or_else(|| {
                ModelError::damaged("forest", format!("tree {tree} has {} nodes that make no tree", nodes.len()))
            })?;
        }
        Ok(all)
    }

    fn fill(
        &mut self,
        tree: usize,
        place: usize,
        level: usize,
        rows: usize,
        nodes: &mut std::slice::Iter<'_, Option<Split>>,
    ) -> Option<()> {
        let inner = (1 << self.depth) - 1;
        self.rows[tree * (2 * inner + 1) + place] = rows as u16;
        match nodes.next()? {
            None => {
                // Steps below a leaf change nothing: they all take the second side.
                let last = (level..self.depth).fold(place, |place, _| 2 * place + 2);
                self.lengths[(tree << self.depth) + last - inner] = (level as f64 + self.depths[rows]) as f32;
                Some(())
            }
            Some(split) => {
                let fewer = usize::from(split.fewer);
                if level == self.depth || fewer >= rows {
                    return None;
                }
                self.places[tree * inner + place] = split.place();
                self.fill(tree, 2 * place + 1, level + 1, fewer, nodes)?;
                self.fill(tree, 2 * place + 2, level + 1, rows - fewer, nodes)
            }
        }
    }

    fn trees(&self) -> impl Iterator<Item = (&[Place], &[f32])> {
        self.places.chunks_exact((1 << self.depth) - 1).zip(self.lengths.chunks_exact(1 << self.depth))
    }

    /// The largest feature number that a split looks at.
    pub fn highest_feature(&self) -> usize {
        self.places.iter().map(|place| place.feature()).max().unwrap_or(0)
    }

    /// Adds the path length of each row over all trees to `sums`. `values` is row-major.
    pub fn add_lengths(&self, values: &[f32], width: usize, sums: &mut [f64]) {
        for (places, lengths) in self.trees() {
            let rows = values.chunks_exact(width * TOGETHER);
            for (rows, sums) in rows.zip(sums.chunks_exact_mut(TOGETHER)) {
                let mut at = [0_usize; TOGETHER];
                for _ in 0..self.depth {
                    for (at, row) in at.iter_mut().zip(rows.chunks_exact(width)) {
                        let place = places[*at];
                        *at = 2 * *at + 2 - usize::from(place.is_below(row[place.feature()]));
                    }
                }
                for (sum, at) in sums.iter_mut().zip(at) {
                    *sum += f64::from(lengths[at - places.len()]);
                }
            }
        }
        let whole = sums.len() / TOGETHER * TOGETHER;
        for (row, sum) in values.chunks_exact(width).zip(sums).skip(whole) {
            *sum += self.length(row);
        }
    }

    /// The path length of one row over all trees. Some trees go down together, since each step of one alone would wait for
    /// the step before.
    fn length(&self, row: &[f32]) -> f64 {
        let inner = (1 << self.depth) - 1;
        let trees = self.places.chunks(TOGETHER * inner).zip(self.lengths.chunks(TOGETHER << self.depth));
        let mut sum = 0.0;
        for (places, lengths) in trees {
            let mut at = [0_usize; TOGETHER];
            let at = &mut at[..lengths.len() >> self.depth];
            for _ in 0..self.depth {
                for (at, places) in at.iter_mut().zip(places.chunks_exact(inner)) {
                    let place = places[*at];
                    *at = 2 * *at + 2 - usize::from(place.is_below(row[place.feature()]));
                }
            }
            for (at, lengths) in at.iter().zip(lengths.chunks_exact(1 << self.depth)) {
                sum += f64::from(lengths[at - inner]);
            }
        }
        sum
    }

    /// Adds to `credits`, by feature, how many splits each step saved; see `IsolationForest::contributions`.
    pub fn add_credits(&self, row: &[f32], credits: &mut [f64]) {
        let inner = (1 << self.depth) - 1;
        for (places, rows) in self.places.chunks_exact(inner).zip(self.rows.chunks_exact(2 * inner + 1)) {
            let mut at = 0;
            while at < inner && places[at].threshold > f32::NEG_INFINITY {
                let place = places[at];
                let next = 2 * at + 2 - usize::from(place.is_below(row[place.feature()]));
                let (before, after) = (self.depths[usize::from(rows[at])], self.depths[usize::from(rows[next])]);
                credits[place.feature()] += before - 1.0 - after;
                at = next;
            }
        }
    }

    /// The trees as they were grown.
    pub fn preorders(&self) -> Vec<Preorder> {
        let inner = (1 << self.depth) - 1;
        let trees = self.places.chunks_exact(inner).zip(self.rows.chunks_exact(2 * inner + 1));
        trees
            .map(|(places, rows)| {
                let mut nodes = Vec::new();
                collect(places, rows, 0, &mut nodes);
                nodes
            })
            .collect()
    }
}

fn collect(places: &[Place], rows: &[u16], at: usize, nodes: &mut Preorder) {
    match places.get(at).filter(|place| place.threshold > f32::NEG_INFINITY) {
        None => nodes.push(None),
        Some(place) => {
            let mirrored = if place.feature & SIGN == 0 { 0 } else { MIRRORED };
            let feature = place.feature() as u16 | mirrored;
            nodes.push(Some(Split { feature, threshold: place.threshold, fewer: rows[2 * at + 1] }));
            collect(places, rows, 2 * at + 1, nodes);
            collect(places, rows, 2 * at + 2, nodes);
        }
    }
}

/// Grows `trees` trees, the same whatever the number of threads.
pub(super) fn grow_all(values: &[f32], width: usize, samples: usize, trees: usize, seed: u64) -> Vec<Preorder> {
    (0..trees).into_par_iter().map(|tree| grow(values, width, samples, seed, tree)).collect()
}
