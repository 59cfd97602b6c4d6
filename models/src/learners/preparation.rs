//! Filling gaps and scaling, for the algorithms that know no missing values.

use crate::FeatureMatrix;
use serde::{Deserialize, Serialize};

/// A column whose variance lies below this share of its squared mean (plus 1e-12) is constant in `f32`.
const CONSTANT: f64 = 1e-12;
/// A column is a combination of others when less than this share of its variance is left after them. Its coefficient
/// would be noise, and the least-squares solver refuses exact combinations.
const COLLINEAR: f64 = 1e-6;

/// Mean imputation and standardisation, fitted on training rows only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// What stands in for a missing value: the mean of the known ones, 0 in a column without any.
    pub means: Vec<f64>,
    /// Standard deviation after imputation; 1 in a constant column.
    pub scales: Vec<f64>,
}

impl Preparation {
    /// Learns means and scales.
    pub fn fit(x: &FeatureMatrix) -> Self {
        let width = x.width();
        let (mut sums, mut known) = (vec![0.0_f64; width], vec![0_u64; width]);
        for row in 0..x.rows() {
            for (column, value) in x.row(row).iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                sums[column] += f64::from(*value);
                known[column] += 1;
            }
        }
        let means: Vec<f64> =
            sums.iter().zip(&known).map(|(sum, known)| if *known == 0 { 0.0 } else { sum / *known as f64 }).collect();
        let mut squares = vec![0.0_f64; width];
        for row in 0..x.rows() {
            for (column, value) in x.row(row).iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                squares[column] += (f64::from(*value) - means[column]).powi(2);
            }
        }
        let rows = x.rows().max(1) as f64;
        let scales = squares
            .iter()
            .zip(&means)
            .map(|(square, mean)| {
                let variance = square / rows;
                if variance <= CONSTANT * (mean * mean + 1.0) { 1.0 } else { variance.sqrt() }
            })
            .collect();
        Self { means, scales }
    }

    /// A value of a column with gaps filled.
    pub fn imputed(&self, column: usize, value: f32) -> f64 {
        if value.is_nan() { self.means[column] } else { f64::from(value) }
    }

    /// All columns imputed and scaled to mean 0 and variance 1, column by column: `rows × width` values.
    pub fn standardised_columns(&self, x: &FeatureMatrix) -> Vec<Vec<f64>> {
        (0..x.width())
            .map(|column| {
                x.column(column)
                    .map(|value| (self.imputed(column, value) - self.means[column]) / self.scales[column])
                    .collect()
            })
            .collect()
    }

    /// All values imputed, row by row.
    pub fn imputed_rows(&self, x: &FeatureMatrix) -> Vec<f32> {
        let width = x.width();
        x.values().iter().enumerate().map(|(at, value)| self.imputed(at % width, *value) as f32).collect()
    }
}

/// The columns that are neither constant nor a linear combination of earlier ones, in order: a Cholesky factorisation
/// of the correlation matrix that passes over columns with nothing left.
pub(super) fn independent_columns(standardised: &[Vec<f64>]) -> Vec<usize> {
    let rows = standardised.first().map_or(0, Vec::len) as f64;
    let dot = |left: usize, right: usize| -> f64 {
        standardised[left].iter().zip(&standardised[right]).map(|(left, right)| left * right).sum::<f64>() / rows
    };
    let mut kept: Vec<usize> = Vec::new();
    let mut factor: Vec<Vec<f64>> = Vec::new();
    for column in 0..standardised.len() {
        let mut line = Vec::with_capacity(kept.len() + 1);
        for (at, earlier) in kept.iter().enumerate() {
            let explained: f64 = line.iter().zip(&factor[at]).map(|(left, right): (&f64, &f64)| left * right).sum();
            line.push((dot(column, *earlier) - explained) / factor[at][at]);
        }
        let left = dot(column, column) - line.iter().map(|value| value * value).sum::<f64>();
        if left > COLLINEAR {
            line.push(left.sqrt());
            factor.push(line);
            kept.push(column);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(columns: &[&[f32]]) -> FeatureMatrix {
        let names: Vec<String> = (0..columns.len()).map(|column| format!("f{column}")).collect();
        FeatureMatrix::from_columns(names, columns).expect("a matrix")
    }

    #[test]
    fn gaps_become_the_mean_and_scales_are_standard_deviations() {
        let x = matrix(&[&[1.0, 3.0, f32::NAN, 8.0], &[5.0; 4], &[f32::NAN; 4]]);
        let preparation = Preparation::fit(&x);
        assert_eq!(preparation.means, [4.0, 5.0, 0.0]);
        // Deviations -3, -1, 0, 4: variance 26 ÷ 4.
        assert!((preparation.scales[0] - 6.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(preparation.scales[1..], [1.0, 1.0]);
        assert_eq!(preparation.imputed_rows(&x)[6], 4.0);
        assert_eq!(preparation.standardised_columns(&x)[1], [0.0; 4]);
    }

    #[test]
    fn constant_and_combined_columns_are_passed_over() {
        let first = [1.0, 2.0, 4.0, 7.0, 3.0];
        let second = [2.0, 0.0, 1.0, 5.0, 9.0];
        let sum: Vec<f32> = first.iter().zip(&second).map(|(first, second)| 2.0 * first - second + 1.0).collect();
        let x = matrix(&[&first, &[4.0; 5], &second, &sum]);
        let standardised = Preparation::fit(&x).standardised_columns(&x);
        assert_eq!(independent_columns(&standardised), [0, 2]);
    }
}
