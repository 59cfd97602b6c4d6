//! Trees whose splits are slanted: Hariri, Kind and Brunner, "Extended Isolation Forest", 2019.
//!
//! Two things differ from the paper. A coefficient is divided by the feature's range in the tree's rows, since bytes
//! would otherwise drown ratios. A split that leaves all rows on one side is drawn again, up to eight times.

use super::depth::{average_depths, depth_limit};
use super::sample::{Range, Sample, generator, partition};
use crate::ModelError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// One feature's part in a split: `coefficient × (x − point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Term {
    pub feature: u16,
    pub coefficient: f32,
    pub point: f32,
}

/// The fewer rows lie where the sum over the terms is below 0. The sum of a row that misses one of the features is no
/// number and never below, so the row takes the side of the more rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slant {
    pub terms: Vec<Term>,
    pub fewer: u16,
}

/// A tree from its root on, the side of the fewer rows first; `None` is a leaf.
pub(super) type Preorder = Vec<Option<Slant>>;

/// Draws of a split before its rows become a leaf.
const DRAWS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Leaf {
        length: f32,
    },
    /// The side below follows the node itself; the other begins at `more`.
    Split {
        terms: (u32, u32),
        more: u32,
    },
}

/// All trees, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SlantedTrees {
    roots: Vec<u32>,
    nodes: Vec<Node>,
    rows: Vec<u16>,
    terms: Vec<Term>,
    depths: Vec<f64>,
}

/// Grows `trees` trees, the same whatever the number of threads.
pub(super) fn grow_all(
    values: &[f32],
    width: usize,
    samples: usize,
    trees: usize,
    extension: usize,
    seed: u64,
) -> Vec<Preorder> {
    let grow = |tree| {
        let mut generator = generator(seed, tree);
        let sample = Sample::draw(values, width, samples, &mut generator);
        let mut rows: Vec<u16> = (0..sample.rows() as u16).collect();
        let scales = (0..width).map(|feature| scale(&sample, feature, &rows)).collect();
        let levels = depth_limit(sample.rows());
        let mut growth = Growth { sample, scales, extension, generator, nodes: Vec::new() };
        let mut features: Vec<u16> = (0..width as u16).collect();
        growth.below(&mut rows, levels, &mut features);
        growth.nodes
    };
    (0..trees).into_par_iter().map(grow).collect()
}

fn scale(sample: &Sample, feature: usize, rows: &[u16]) -> f64 {
    sample.range(feature, rows).map_or(1.0, |range| f64::from(range.high) - f64::from(range.low))
}

struct Growth {
    sample: Sample,
    scales: Vec<f64>,
    extension: usize,
    generator: ChaCha8Rng,
    nodes: Preorder,
}

impl Growth {
    fn below(&mut self, rows: &mut [u16], levels: usize, features: &mut [u16]) {
        let split = if levels == 0 || rows.len() < 2 { None } else { self.split(rows, features) };
        let Some((terms, count)) = split else {
            self.nodes.push(None);
            return;
        };
        let is_below = |row: u16| projection(&terms, |term| self.value(term, row)) < 0.0;
        partition(rows, is_below);
        self.nodes.push(Some(Slant { terms, fewer: count as u16 }));
        let (fewer, more) = rows.split_at_mut(count);
        self.below(fewer, levels - 1, features);
        self.below(more, levels - 1, features);
    }

    fn value(&self, term: &Term, row: u16) -> f32 {
        self.sample.column(usize::from(term.feature))[usize::from(row)]
    }

    /// Terms, and how many rows are below.
    fn split(&mut self, rows: &[u16], features: &mut [u16]) -> Option<(Vec<Term>, usize)> {
        let found = self.sample.splittable(rows, self.extension + 1, features, &mut self.generator);
        for _ in 0..DRAWS {
            let mut terms: Vec<Term> = found.iter().map(|(feature, range)| self.term(*feature, *range)).collect();
            let sums: Vec<f32> = rows.iter().map(|row| projection(&terms, |term| self.value(term, *row))).collect();
            let mut below = sums.iter().filter(|sum| **sum < 0.0).count();
            let above = sums.iter().filter(|sum| **sum > 0.0).count();
            if below > above {
                for term in &mut terms {
                    term.coefficient = -term.coefficient;
                }
                below = above;
            }
            if below > 0 {
                return Some((terms, below));
            }
        }
        None
    }

    fn term(&mut self, feature: u16, range: Range) -> Term {
        let (low, high) = (f64::from(range.low), f64::from(range.high));
        let point = low + self.generator.random::<f64>() * (high - low);
        let coefficient = self.normal() / self.scales[usize::from(feature)];
        Term { feature, coefficient: coefficient as f32, point: point as f32 }
    }

    /// Box and Muller, 1958.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.generator.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.generator.random::<f64>()).cos()
    }
}

#[inline]
fn projection(terms: &[Term], value: impl Fn(&Term) -> f32) -> f32 {
    terms.iter().map(|term| term.coefficient * (value(term) - term.point)).sum()
}

impl SlantedTrees {
    /// From grown trees, each on `samples` rows.
    ///
    /// # Errors
    /// A tree that is cut, too long, too deep, or splits more rows than it has.
    pub fn new(trees: &[Preorder], samples: usize) -> Result<Self, ModelError> {
        let (nodes, rows, terms) = (Vec::new(), Vec::new(), Vec::new());
        let mut all = Self { roots: Vec::new(), nodes, rows, terms, depths: average_depths(samples) };
        for (tree, nodes) in trees.iter().enumerate() {
            all.roots.push(all.nodes.len() as u32);
            let mut next = nodes.iter();
            let levels = depth_limit(samples);
            all.fill(levels, levels, samples, &mut next).filter(|()| next.as_slice().is_empty()).ok_or_else(|| {
                ModelError::damaged("forest", format!("tree {tree} has {} nodes that make no tree", nodes.len()))
            })?;
        }
        Ok(all)
    }

    fn fill(
        &mut self,
        levels: usize,
        left: usize,
        rows: usize,
        nodes: &mut std::slice::Iter<'_, Option<Slant>>,
    ) -> Option<()> {
        let at = self.nodes.len();
        self.rows.push(rows as u16);
        match nodes.next()? {
            None => self.nodes.push(Node::Leaf { length: ((levels - left) as f64 + self.depths[rows]) as f32 }),
            Some(slant) => {
                let fewer = usize::from(slant.fewer);
                if left == 0 || fewer >= rows {
                    return None;
                }
                let first = self.terms.len() as u32;
                self.terms.extend_from_slice(&slant.terms);
                let terms = (first, self.terms.len() as u32);
                self.nodes.push(Node::Split { terms, more: 0 });
                self.fill(levels, left - 1, fewer, nodes)?;
                self.nodes[at] = Node::Split { terms, more: self.nodes.len() as u32 };
                self.fill(levels, left - 1, rows - fewer, nodes)?;
            }
        }
        Some(())
    }

    /// The largest feature number that a split looks at.
    pub fn highest_feature(&self) -> usize {
        self.terms.iter().map(|term| usize::from(term.feature)).max().unwrap_or(0)
    }

    fn terms(&self, (from, until): (u32, u32)) -> &[Term] {
        &self.terms[from as usize..until as usize]
    }

    fn step(&self, at: usize, terms: &[Term], more: u32, row: &[f32]) -> usize {
        let is_below = projection(terms, |term| row[usize::from(term.feature)]) < 0.0;
        if is_below { at + 1 } else { more as usize }
    }

    /// Adds the path length of each row over all trees to `sums`. `values` is row-major.
    pub fn add_lengths(&self, values: &[f32], width: usize, sums: &mut [f64]) {
        for &root in &self.roots {
            for (row, sum) in values.chunks_exact(width).zip(sums.iter_mut()) {
                let mut at = root as usize;
                *sum += loop {
                    match self.nodes[at] {
                        Node::Leaf { length } => break f64::from(length),
                        Node::Split { terms, more } => at = self.step(at, self.terms(terms), more, row),
                    }
                };
            }
        }
    }

    /// Adds to `credits`, by feature, how many splits each step saved, shared among the features of a split by their part
    /// in the sum that decided; see `IsolationForest::contributions`.
    pub fn add_credits(&self, row: &[f32], credits: &mut [f64]) {
        let part = |term: &Term| {
            let part = (term.coefficient * (row[usize::from(term.feature)] - term.point)).abs();
            if part.is_nan() { 0.0 } else { f64::from(part) }
        };
        for &root in &self.roots {
            let mut at = root as usize;
            while let Node::Split { terms, more } = self.nodes[at] {
                let terms = self.terms(terms);
                let next = self.step(at, terms, more, row);
                let credit = self.depths[usize::from(self.rows[at])] - 1.0 - self.depths[usize::from(self.rows[next])];
                let whole: f64 = terms.iter().map(part).sum();
                for term in terms {
                    let share = if whole > 0.0 { part(term) / whole } else { 1.0 / terms.len() as f64 };
                    credits[usize::from(term.feature)] += credit * share;
                }
                at = next;
            }
        }
    }

    /// The trees as they were grown.
    pub fn preorders(&self) -> Vec<Preorder> {
        let ends = self.roots.iter().skip(1).map(|root| *root as usize).chain([self.nodes.len()]);
        let node = |at: usize| match self.nodes[at] {
            Node::Leaf { .. } => None,
            Node::Split { terms, .. } => Some(Slant { terms: self.terms(terms).to_vec(), fewer: self.rows[at + 1] }),
        };
        self.roots.iter().zip(ends).map(|(from, until)| (*from as usize..until).map(node).collect()).collect()
    }
}
