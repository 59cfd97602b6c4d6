//! Isolation forests: what takes few random splits to be alone is unlike the rest.

mod bytes;
mod depth;
mod sample;
mod settings;
mod slanted;
mod straight;

#[cfg(test)]
mod tests;

pub use depth::average_depth;
pub use settings::ForestSettings;
pub(super) use settings::MOST_PLACES;

use crate::ModelError;
use rayon::prelude::*;
use slanted::SlantedTrees;
use straight::StraightTrees;

/// Rows that are scored as one piece of work: their values and sums stay in the second-level cache while the trees pass.
const BLOCK: usize = 512;

/// A forest of isolation trees over columns without names; whoever owns it knows them.
///
/// Missing values (NaN) are not odd: where a split asks for one, the row goes with the more rows, in growth and in
/// scoring alike. A row without any value has no score.
#[derive(Debug, Clone, PartialEq)]
pub struct IsolationForest {
    settings: ForestSettings,
    width: usize,
    /// Rows that each tree was grown on: `settings.samples`, or all where there are fewer.
    samples: usize,
    trees: Trees,
}

#[derive(Debug, Clone, PartialEq)]
enum Trees {
    Straight(StraightTrees),
    Slanted(SlantedTrees),
}

impl IsolationForest {
    /// Grows a forest on `values`, row-major with `width` columns, NaN where unknown. The same values, settings and seed
    /// give the same forest, whatever the number of threads; trees are grown on the pool that the caller is in.
    ///
    /// # Errors
    /// Settings out of range, values that are not whole rows or infinite, fewer than two rows.
    pub fn fit(values: &[f32], width: usize, settings: &ForestSettings, seed: u64) -> Result<Self, ModelError> {
        settings.validate(width)?;
        check_shape(values, width)?;
        let rows = values.len() / width;
        if rows < 2 {
            return Err(ModelError::Shape {
                what: "isolation forest",
                unit: "rows, at least 2",
                expected: 2,
                got: rows,
            });
        }
        if let Some(at) = values.iter().position(|value| value.is_infinite()) {
            return Err(ModelError::NotFinite {
                what: "isolation forest",
                row: at / width,
                column: None,
                value: values[at],
            });
        }
        let samples = settings.samples.min(rows);
        check_places(settings.places(samples))?;
        let trees = if settings.extension == 0 {
            let grown = straight::grow_all(values, width, samples, settings.trees, seed);
            Trees::Straight(StraightTrees::new(&grown, samples)?)
        } else {
            let grown = slanted::grow_all(values, width, samples, settings.trees, settings.extension, seed);
            Trees::Slanted(SlantedTrees::new(&grown, samples)?)
        };
        Ok(Self { settings: *settings, width, samples, trees })
    }

    /// Columns of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Places for splits that it takes memory for.
    pub(super) fn places(&self) -> usize {
        self.settings.places(self.samples)
    }

    /// What it was grown with.
    pub fn settings(&self) -> &ForestSettings {
        &self.settings
    }

    /// The score of one row: `2^(−h ÷ c)`, where `h` is the mean path length over the trees and `c` the average depth for
    /// the rows of a tree. Near 1 is odd, one half is usual; NaN for a row without any value. Nothing is allocated.
    ///
    /// # Errors
    /// A row of another width.
    pub fn score_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        ModelError::columns(self.width, row.len())?;
        let mut score = [0.0];
        self.score_block(row, &mut score);
        Ok(score[0])
    }

    /// The scores of rows, row-major, each as [`IsolationForest::score_row`] gives it, on the pool that the caller is in.
    ///
    /// # Errors
    /// Values that are not whole rows, another number of scores than of rows.
    pub fn score(&self, values: &[f32], scores: &mut [f32]) -> Result<(), ModelError> {
        check_shape(values, self.width)?;
        ModelError::rows("scores", values.len() / self.width, scores.len())?;
        let blocks = values.par_chunks(BLOCK * self.width).zip(scores.par_chunks_mut(BLOCK));
        blocks.for_each(|(values, scores)| self.score_block(values, scores));
        Ok(())
    }

    /// At most [`BLOCK`] rows.
    fn score_block(&self, values: &[f32], scores: &mut [f32]) {
        let mut sums = [0.0; BLOCK];
        let sums = &mut sums[..scores.len()];
        match &self.trees {
            Trees::Straight(trees) => trees.add_lengths(values, self.width, sums),
            Trees::Slanted(trees) => trees.add_lengths(values, self.width, sums),
        }
        let scale = -1.0 / (average_depth(self.samples) * self.settings.trees as f64);
        for ((score, sum), row) in scores.iter_mut().zip(sums).zip(values.chunks_exact(self.width)) {
            *score = if row.iter().all(|value| value.is_nan()) { f32::NAN } else { (*sum * scale).exp2() as f32 };
        }
    }

    /// Which features made the row's path short, in splits, into `credits`, one per feature.
    ///
    /// Method: where a split of `n` rows sends the row to a side of `m`, the path was expected to be `c(n)` splits long
    /// from here and now is `1 + c(m)`; what it gets shorter is credited to the feature of the split (and charged to it
    /// where it gets longer), averaged over the trees. The credits telescope: they sum to `c − h`, so that the score is
    /// `2^(Σ credits ÷ c − 1)`. A credit says what this forest went by, not what caused the trouble.
    ///
    /// # Errors
    /// A row of another width, another number of credits than of features.
    pub fn contributions(&self, row: &[f32], credits: &mut [f64]) -> Result<(), ModelError> {
        ModelError::columns(self.width, row.len())?;
        ModelError::columns(self.width, credits.len())?;
        credits.fill(0.0);
        match &self.trees {
            Trees::Straight(trees) => trees.add_credits(row, credits),
            Trees::Slanted(trees) => trees.add_credits(row, credits),
        }
        for credit in credits {
            *credit /= self.settings.trees as f64;
        }
        Ok(())
    }

    /// `c`: the average depth for the rows of a tree.
    pub fn expected_length(&self) -> f64 {
        average_depth(self.samples)
    }
}

/// Refuses forests that take more memory than a detector may have.
pub(super) fn check_places(places: usize) -> Result<(), ModelError> {
    if places <= MOST_PLACES {
        return Ok(());
    }
    let rule = "trees times places for splits at most 8388608 over all forests: fewer trees, or fewer samples";
    Err(ModelError::Setting { setting: "trees", rule, got: places.to_string() })
}

fn check_shape(values: &[f32], width: usize) -> Result<(), ModelError> {
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(ModelError::Shape {
            what: "isolation forest",
            unit: "values beyond whole rows",
            expected: 0,
            got: values.len().checked_rem(width).unwrap_or(values.len()),
        });
    }
    Ok(())
}
