//! Split conformal correction: shifting an upper quantile until it covers what it promises.

use crate::{FeatureMatrix, ModelError, matrix::position_of};
use serde::{Deserialize, Serialize};

/// A group with fewer calibration rows uses the offset of all rows: below this the 0.9 quantile of a group is noise
/// (its standard error in coverage is √(0.9 × 0.1 ÷ 200) = 0.02).
const MINIMUM_GROUP_ROWS: usize = 200;

/// Groups with offsets of their own, by the value of one feature (Mondrian conformal prediction, Vovk 2003): the group
/// of a row is the number of edges at or below its value; a missing value belongs to the last group of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConformalGroups {
    /// The feature.
    pub column: String,
    /// Ascending borders; `n` edges make `n + 1` groups, and one more for missing values.
    pub edges: Vec<f32>,
}

/// The fitted correction of one head: what is added to the upper quantile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conformal {
    /// Promised share of observations at or below the upper quantile.
    pub level: f64,
    /// Shift from all calibration rows, in the unit of the target.
    pub offset: f32,
    /// Rows it was fitted on; 0 means not calibrated.
    pub rows: usize,
    /// Groups with shifts of their own.
    pub groups: Option<ConformalGroups>,
    /// One shift per group (see [`ConformalGroups`]); empty without groups.
    pub group_offsets: Vec<f32>,
}

/// The smallest shift that covers the promised share: the ⌈(n + 1) × level⌉-th smallest of `observed − upper`
/// (Vovk et al. 2005; Lei et al. 2018). On exchangeable rows, new observations are then covered with a probability of
/// at least `level`, and at most `level + 1 ÷ (n + 1)` when there are no ties. With too few rows for the level the
/// largest is taken. `None` without rows. NaN scores are left out.
pub fn conformal_offset(scores: impl IntoIterator<Item = f32>, level: f64) -> Option<f32> {
    let mut scores: Vec<f32> = scores.into_iter().filter(|score| !score.is_nan()).collect();
    if scores.is_empty() {
        return None;
    }
    // A hair is taken off before rounding up, so that 0.9 × 10 counts as 9 although the floats give 9.000000000000002.
    let rank = ((scores.len() as f64 + 1.0) * level - 1e-9).ceil().max(1.0) as usize;
    let at = rank.min(scores.len()) - 1;
    let (_, offset, _) = scores.select_nth_unstable_by(at, f32::total_cmp);
    Some(*offset)
}

impl Conformal {
    /// No shift: for a head without calibration rows.
    pub fn none(level: f64) -> Self {
        Self { level, offset: 0.0, rows: 0, groups: None, group_offsets: Vec::new() }
    }

    /// From calibration rows, which must lie after the rows of the fit: `upper` is the uncorrected upper quantile and
    /// `median` what the corrected one is never below. Rows with an unknown value (NaN) are left out.
    ///
    /// # Errors
    /// Lengths that differ, an unknown group column, edges that do not ascend.
    pub fn fit(
        level: f64,
        groups: Option<&ConformalGroups>,
        x: &FeatureMatrix,
        observed: &[f32],
        median: &[f32],
        upper: &[f32],
    ) -> Result<Self, ModelError> {
        ModelError::rows("target", x.rows(), observed.len())?;
        ModelError::rows("median", x.rows(), median.len())?;
        ModelError::rows("upper quantile", x.rows(), upper.len())?;
        let mut scores: Vec<f32> = observed.iter().zip(upper).map(|(observed, upper)| observed - upper).collect();
        // What lies at or below the median is covered by any shift: it gets the lowest score, so that the guarantee
        // holds for `max(median, upper + shift)`, which is what a forecast gives.
        let lowest = scores.iter().copied().filter(|score| !score.is_nan()).fold(f32::INFINITY, f32::min);
        for ((score, observed), median) in scores.iter_mut().zip(observed).zip(median) {
            if !score.is_nan() && observed <= median {
                *score = lowest;
            }
        }
        let Some(offset) = conformal_offset(scores.iter().copied(), level) else { return Ok(Self::none(level)) };
        let rows = scores.iter().filter(|score| !score.is_nan()).count();
        let mut conformal = Self { level, offset, rows, groups: None, group_offsets: Vec::new() };
        if let Some(groups) = groups {
            let column = groups.bind(x.names())?;
            let mut by_group = vec![Vec::new(); groups.count()];
            for (row, score) in scores.iter().enumerate().filter(|(_, score)| !score.is_nan()) {
                by_group[groups.of(x.row(row)[column])].push(*score);
            }
            conformal.group_offsets = by_group
                .into_iter()
                .map(|scores| {
                    if scores.len() < MINIMUM_GROUP_ROWS {
                        offset
                    } else {
                        conformal_offset(scores, level).unwrap_or(offset)
                    }
                })
                .collect();
            conformal.groups = Some(groups.clone());
        }
        Ok(conformal)
    }

    /// Finds the group column; checks a correction that came from a file.
    pub(crate) fn bind(&self, names: &[String]) -> Result<Option<usize>, ModelError> {
        let numbers = self.group_offsets.iter().chain([&self.offset]);
        if !(self.level > 0.0 && self.level < 1.0) || numbers.into_iter().any(|offset| !offset.is_finite()) {
            return Err(ModelError::Setting {
                setting: "conformal",
                rule: "a level within 0 to 1 and finite offsets",
                got: format!("{self:?}"),
            });
        }
        let Some(groups) = &self.groups else { return Ok(None) };
        let column = groups.bind(names)?;
        if self.group_offsets.len() != groups.count() {
            return Err(ModelError::Shape {
                what: "conformal correction",
                unit: "group offsets",
                expected: groups.count(),
                got: self.group_offsets.len(),
            });
        }
        Ok(Some(column))
    }

    /// The shift for a row; `column` as [`Conformal::bind`] found it.
    pub(crate) fn of(&self, column: Option<usize>, row: &[f32]) -> f32 {
        match (&self.groups, column) {
            (Some(groups), Some(column)) => self.group_offsets[groups.of(row[column])],
            _ => self.offset,
        }
    }
}

impl ConformalGroups {
    fn bind(&self, names: &[String]) -> Result<usize, ModelError> {
        if self.edges.iter().any(|edge| !edge.is_finite()) || self.edges.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(ModelError::Setting {
                setting: "conformal group edges",
                rule: "finite and ascending",
                got: format!("{:?}", self.edges),
            });
        }
        position_of(names, &self.column, "the conformal correction")
    }

    fn count(&self) -> usize {
        self.edges.len() + 2
    }

    fn of(&self, value: f32) -> usize {
        if value.is_nan() { self.edges.len() + 1 } else { self.edges.partition_point(|edge| *edge <= value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_offset_by_hand() {
        // Nine scores: ⌈(9 + 1) × 0.9⌉ = the 9th, the largest; of 19 scores ⌈20 × 0.9⌉ = the 18th.
        assert_eq!(conformal_offset((1..=9).map(|score| score as f32), 0.9), Some(9.0));
        assert_eq!(conformal_offset((1..=19).map(|score| score as f32), 0.9), Some(18.0));
        // Too few rows for the level: the largest.
        assert_eq!(conformal_offset([2.0, 1.0], 0.9), Some(2.0));
        assert_eq!(conformal_offset([f32::NAN], 0.9), None);
        assert_eq!(conformal_offset([], 0.9), None);
    }

    #[test]
    fn groups_have_offsets_of_their_own_when_they_are_large_enough() {
        let rows = 400;
        let mut values: Vec<f32> = (0..rows).map(|row| if row < 200 { 0.1 } else { 0.9 }).collect();
        values.extend([f32::NAN; 10]);
        let observed: Vec<f32> = (0..rows + 10).map(|row| if row < 200 { 0.1 } else { 0.5 }).collect();
        let x = FeatureMatrix::new(vec!["load".to_owned()], rows + 10, values).expect("a matrix");
        let groups = ConformalGroups { column: "load".to_owned(), edges: vec![0.5] };
        let conformal =
            Conformal::fit(0.9, Some(&groups), &x, &observed, &vec![-1.0; rows + 10], &vec![0.0; rows + 10])
                .expect("a fit");
        assert_eq!(conformal.group_offsets, [0.1, 0.5, 0.5]);
        let column = conformal.bind(x.names()).expect("it fits");
        assert_eq!(conformal.of(column, &[0.2]), 0.1);
        assert_eq!(conformal.of(column, &[0.5]), 0.5);
        assert_eq!(conformal.of(column, &[f32::NAN]), conformal.offset);
    }

    #[test]
    fn what_the_median_covers_needs_no_shift() {
        let x = FeatureMatrix::new(vec!["load".to_owned()], 10, vec![0.5; 10]).expect("a matrix");
        // Nine of ten lie below the median of 0.5 although the upper quantile of 0.2 misses five of them.
        let observed = [0.1, 0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.9];
        let conformal = Conformal::fit(0.8, None, &x, &observed, &[0.5; 10], &[0.2; 10]).expect("a fit");
        // ⌈11 × 0.8⌉ = the 9th smallest of nine times the lowest score, 0.1 − 0.2, and 0.9 − 0.2.
        assert!((conformal.offset + 0.1).abs() < 1e-6, "{}", conformal.offset);
    }

    #[test]
    fn edges_ascend() {
        let groups = ConformalGroups { column: "load".to_owned(), edges: vec![0.5, 0.5] };
        let x = FeatureMatrix::new(vec!["load".to_owned()], 1, vec![0.2]).expect("a matrix");
        let error = Conformal::fit(0.9, Some(&groups), &x, &[0.1], &[0.1], &[0.2]).expect_err("equal edges");
        assert_eq!(error.to_string(), "`conformal group edges` must be finite and ascending, got [0.5, 0.5]");
    }

    proptest! {
        /// The guarantee itself. Leave-one-out over exchangeable scores: in every set of n + 1 scores, at least
        /// ⌈(n + 1) × level⌉ of them are covered by the offset fitted on the other n.
        #[test]
        fn coverage_holds_on_exchangeable_rows(scores in prop::collection::vec(-1.0_f32..1.0, 12..60), level in 0.5_f64..0.9) {
            let covered = (0..scores.len())
                .filter(|left_out| {
                    let others = scores.iter().enumerate().filter(|(at, _)| at != left_out).map(|(_, score)| *score);
                    scores[*left_out] <= conformal_offset(others, level).expect("there are scores")
                })
                .count();
            prop_assert!(covered as f64 >= (scores.len() as f64 * level - 1e-6).ceil().min(scores.len() as f64 - 1.0), "{covered} of {}", scores.len());
        }

        #[test]
        fn a_shift_of_all_scores_shifts_the_offset(scores in prop::collection::vec(-1.0_f32..1.0, 1..60), shift in -8_i8..8) {
            let plain = conformal_offset(scores.iter().copied(), 0.9).expect("there are scores");
            let moved = conformal_offset(scores.iter().map(|score| score + f32::from(shift)), 0.9).expect("there are scores");
            prop_assert!((moved - plain - f32::from(shift)).abs() < 1e-5);
        }
    }
}
