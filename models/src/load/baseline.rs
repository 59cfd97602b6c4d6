//! The simple forecast that a head corrects: a mixture of columns.

use crate::{FeatureMatrix, ModelError, matrix::position_of};
use serde::{Deserialize, Serialize};

/// Weights are searched in steps of an eighth: the error is flat around its minimum, so finer steps would only fit noise,
/// and three columns need just 45 mixtures.
const STEPS: usize = 8;

/// One column of a [`Baseline`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselinePart {
    /// The feature, in the unit of the target.
    pub column: String,
    /// All weights of a baseline sum to 1. A column of weight 0 stands in where none with a weight is known.
    pub weight: f64,
    /// The feature's mean over the rows of the fit: the point from which explanations count.
    pub mean: f64,
}

/// `Σ weight × column` over the columns known in a row, the weights of missing columns shared out among the others. Where
/// no column with a weight is known, the first known column answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline {
    parts: Vec<BaselinePart>,
}

/// A baseline with its columns found in a list of features.
#[derive(Debug, Clone)]
pub(crate) struct BoundBaseline {
    parts: Vec<(usize, f64)>,
}

/// Such as `0.75 × cpu_utilization + 0.25 × cpu_mean_1h`; columns that only stand in are left out.
impl std::fmt::Display for Baseline {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, part) in self.parts.iter().filter(|part| part.weight > 0.0).enumerate() {
            let plus = if place == 0 { "" } else { " + " };
            write!(formatter, "{plus}{} × {}", part.weight, part.column)?;
        }
        Ok(())
    }
}

impl Baseline {
    /// The mixture of `candidates` with the smallest mean absolute error on the rows (least absolute deviations over a
    /// grid of weights). Of equal mixtures the first wins, so that order states preference.
    ///
    /// # Errors
    /// No candidates, an unknown column, rows and targets of different length, candidates missing in all rows.
    pub fn fit(x: &FeatureMatrix, y: &[f32], candidates: &[String]) -> Result<Self, ModelError> {
        ModelError::rows("target", x.rows(), y.len())?;
        if candidates.is_empty() {
            return Err(ModelError::Setting {
                setting: "baseline",
                rule: "at least one column",
                got: "none".to_owned(),
            });
        }
        let positions = candidates
            .iter()
            .map(|name| position_of(x.names(), name, "the baseline"))
            .collect::<Result<Vec<_>, _>>()?;
        let mut best: Option<(f64, Vec<usize>)> = None;
        for shares in compositions(STEPS, candidates.len()) {
            let bound = BoundBaseline {
                parts: positions.iter().zip(&shares).map(|(position, share)| (*position, *share as f64)).collect(),
            };
            let Some(error) = bound.mean_absolute_error(x, y) else { continue };
            if best.as_ref().is_none_or(|(smallest, _)| error < *smallest) {
                best = Some((error, shares));
            }
        }
        let (_, shares) = best.ok_or(ModelError::Empty { what: "the baseline" })?;
        let parts = candidates
            .iter()
            .zip(positions)
            .zip(shares)
            .map(|((column, position), share)| BaselinePart {
                column: column.clone(),
                weight: share as f64 / STEPS as f64,
                mean: known_mean(x.column(position)),
            })
            .collect();
        Ok(Self { parts })
    }

    /// The columns with their weights.
    pub fn parts(&self) -> &[BaselinePart] {
        &self.parts
    }

    /// One value per row; NaN where no column is known.
    ///
    /// # Errors
    /// A column that is absent.
    pub fn predict(&self, x: &FeatureMatrix) -> Result<Vec<f32>, ModelError> {
        let bound = self.bind(x.names())?;
        Ok((0..x.rows()).map(|row| bound.of(x.row(row))).collect())
    }

    /// Finds the columns; checks a baseline that came from a file.
    pub(crate) fn bind(&self, names: &[String]) -> Result<BoundBaseline, ModelError> {
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            if !(part.weight >= 0.0 && part.weight.is_finite() && part.mean.is_finite()) {
                return Err(ModelError::Setting {
                    setting: "baseline weight",
                    rule: "finite and at least 0",
                    got: part.weight.to_string(),
                });
            }
            parts.push((position_of(names, &part.column, "the baseline")?, part.weight));
        }
        if parts.is_empty() {
            return Err(ModelError::Setting {
                setting: "baseline",
                rule: "at least one column",
                got: "none".to_owned(),
            });
        }
        Ok(BoundBaseline { parts })
    }
}

impl BoundBaseline {
    /// The baseline of one row, NaN when no column is known.
    pub(crate) fn of(&self, row: &[f32]) -> f32 {
        let (mut sum, mut total) = (0.0, 0.0);
        for &(position, weight) in &self.parts {
            let value = row[position];
            if weight > 0.0 && !value.is_nan() {
                sum += weight * f64::from(value);
                total += weight;
            }
        }
        if total > 0.0 { (sum / total) as f32 } else { self.stand_in(row).map_or(f32::NAN, |position| row[position]) }
    }

    /// The first known column.
    fn stand_in(&self, row: &[f32]) -> Option<usize> {
        self.parts.iter().map(|(position, _)| *position).find(|position| !row[*position].is_nan())
    }

    /// The columns with the weights that apply in this row.
    pub(crate) fn weights(&self, row: &[f32]) -> impl Iterator<Item = (usize, f64)> {
        let weighty = |(position, weight): &&(usize, f64)| *weight > 0.0 && !row[*position].is_nan();
        let known = self.parts.iter().filter(weighty);
        let total: f64 = known.clone().map(|(_, weight)| weight).sum();
        let stand_in = if total > 0.0 { None } else { self.stand_in(row) };
        known.map(move |(position, weight)| (*position, weight / total)).chain(stand_in.map(|position| (position, 1.0)))
    }

    fn mean_absolute_error(&self, x: &FeatureMatrix, y: &[f32]) -> Option<f64> {
        let (mut sum, mut rows) = (0.0, 0_u32);
        for (row, target) in y.iter().enumerate() {
            let error = (f64::from(self.of(x.row(row))) - f64::from(*target)).abs();
            if !error.is_nan() {
                sum += error;
                rows += 1;
            }
        }
        (rows > 0).then(|| sum / f64::from(rows))
    }
}

/// Mean of the values that are known; 0 when none is.
fn known_mean(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, known) = values
        .filter(|value| !value.is_nan())
        .fold((0.0, 0_u64), |(sum, known), value| (sum + f64::from(value), known + 1));
    if known == 0 { 0.0 } else { sum / known as f64 }
}

/// All ways to share `total` steps among `parts`, the whole on the first part first.
fn compositions(total: usize, parts: usize) -> Vec<Vec<usize>> {
    if parts == 1 {
        return vec![vec![total]];
    }
    (0..=total)
        .rev()
        .flat_map(|first| {
            compositions(total - first, parts - 1).into_iter().map(move |mut rest| {
                rest.insert(0, first);
                rest
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_grid_finds_the_mixture_that_made_the_target() {
        let last = [0.1, 0.5, 0.9, 0.2, 0.7];
        let mean = [0.3, 0.2, 0.4, 0.8, 0.1];
        let target: Vec<f32> = last.iter().zip(&mean).map(|(last, mean)| 0.75 * last + 0.25 * mean).collect();
        let x = FeatureMatrix::from_columns(names(&["last", "hour", "noise"]), &[&last, &mean, &[0.0; 5]])
            .expect("a matrix");
        let baseline = Baseline::fit(&x, &target, &names(&["last", "hour", "noise"])).expect("a fit");
        let weights: Vec<_> = baseline.parts().iter().map(|part| (part.column.as_str(), part.weight)).collect();
        assert_eq!(weights, [("last", 0.75), ("hour", 0.25), ("noise", 0.0)]);
        assert!((baseline.parts()[0].mean - 0.48).abs() < 1e-7);
        assert_eq!(baseline.to_string(), "0.75 × last + 0.25 × hour");
    }

    #[test]
    fn a_missing_column_leaves_its_weight_to_the_others() {
        let x = FeatureMatrix::new(names(&["last", "hour"]), 3, vec![0.2, 0.4, f32::NAN, 0.4, f32::NAN, f32::NAN])
            .expect("a matrix");
        let part = |column: &str, weight| BaselinePart { column: column.to_owned(), weight, mean: 0.0 };
        let baseline = Baseline { parts: vec![part("last", 0.5), part("hour", 0.5)] };
        let values = baseline.predict(&x).expect("known columns");
        assert!((values[0] - 0.3).abs() < 1e-7);
        assert_eq!(values[1], 0.4);
        assert!(values[2].is_nan());
        let only_hour = Baseline { parts: vec![part("last", 0.0), part("hour", 1.0)] };
        let x = FeatureMatrix::new(names(&["last", "hour"]), 2, vec![0.2, 0.4, 0.2, f32::NAN]).expect("a matrix");
        assert_eq!(only_hour.predict(&x).expect("known columns"), [0.4, 0.2], "the column without weight stands in");
        let weights: Vec<_> = only_hour.bind(x.names()).expect("known columns").weights(x.row(1)).collect();
        assert_eq!(weights, [(0, 1.0)], "an explanation names the one that stood in");
    }

    #[test]
    fn an_unknown_column_is_named_with_those_there_are() {
        let x = FeatureMatrix::new(names(&["last"]), 1, vec![0.2]).expect("a matrix");
        let error = Baseline::fit(&x, &[0.2], &names(&["hour"])).expect_err("there is no such column");
        assert_eq!(
            error.to_string(),
            "the features have no column `hour`, which the baseline reads. The columns are: last"
        );
    }

    #[test]
    fn three_parts_of_four_steps_make_fifteen_mixtures() {
        // (4 + 3 - 1) choose (3 - 1) = 15.
        let all = compositions(4, 3);
        assert_eq!(all.len(), 15);
        assert_eq!(all[0], [4, 0, 0]);
        assert!(all.iter().all(|shares| shares.iter().sum::<usize>() == 4));
    }
}
