//! What principal components cannot tell: columns that usually move together and now do not.

use crate::ModelError;
use rayon::prelude::*;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linalg::traits::evd::EVDDecomposable;

/// The directions that hold most of the variance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Principal {
    width: usize,
    /// One direction after the other.
    directions: Vec<f32>,
}

impl Principal {
    /// Learns the fewest directions that keep a share of `kept` of the variance of `values`, which are scaled, row-major,
    /// without gaps.
    pub fn fit(values: &[f32], width: usize, kept: f64) -> Result<Self, ModelError> {
        let failed = |reason: String| ModelError::library("principal components", "decompose the covariance", reason);
        let covariance = covariance(values, width);
        let matrix = DenseMatrix::new(width, width, covariance, false).map_err(|error| failed(error.to_string()))?;
        let parts = matrix.evd(true).map_err(|error| failed(error.to_string()))?;
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|left, right| parts.d[*right].total_cmp(&parts.d[*left]).then(left.cmp(right)));
        let all: f64 = parts.d.iter().map(|share| share.max(0.0)).sum();
        let mut directions = Vec::new();
        let mut sum = 0.0;
        for direction in order {
            if sum >= kept * all {
                break;
            }
            sum += parts.d[direction].max(0.0);
            directions.extend((0..width).map(|column| *parts.V.get((column, direction)) as f32));
        }
        Ok(Self { width, directions })
    }

    /// The squared length of what is left of each row beside the directions.
    pub fn residuals(&self, values: &[f32]) -> Vec<f32> {
        let of = |row: &[f32]| {
            let length: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
            let told: f64 = self.directions.chunks_exact(self.width).map(|direction| dot(row, direction).powi(2)).sum();
            (length - told).max(0.0) as f32
        };
        values.par_chunks(self.width).map(of).collect()
    }
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    f64::from(left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>())
}

/// Rows that are summed as one piece, in a fixed order: the sum does not depend on the number of threads.
const BLOCK: usize = 4096;

fn covariance(values: &[f32], width: usize) -> Vec<f64> {
    let rows = (values.len() / width) as f64;
    let means: Vec<f64> = (0..width)
        .map(|column| values.iter().skip(column).step_by(width).map(|value| f64::from(*value)).sum::<f64>() / rows)
        .collect();
    let blocks: Vec<Vec<f64>> = values
        .par_chunks(BLOCK * width)
        .map(|block| {
            let mut sums = vec![0.0; width * width];
            let mut distances = vec![0.0; width];
            for row in block.chunks_exact(width) {
                for (distance, (value, mean)) in distances.iter_mut().zip(row.iter().zip(&means)) {
                    *distance = f64::from(*value) - mean;
                }
                for (left, sums) in distances.iter().zip(sums.chunks_exact_mut(width)) {
                    for (sum, right) in sums.iter_mut().zip(&distances) {
                        *sum += left * right;
                    }
                }
            }
            sums
        })
        .collect();
    let mut all = vec![0.0; width * width];
    for block in blocks {
        for (sum, part) in all.iter_mut().zip(block) {
            *sum += part / rows;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residuals_agree_with_a_calculation_by_hand() {
        // Two columns that are always equal: one direction, (1, 1) ÷ √2, tells everything.
        let values: Vec<f32> = (0..200).flat_map(|at| [(at % 7) as f32 - 3.0, (at % 7) as f32 - 3.0]).collect();
        let principal = Principal::fit(&values, 2, 0.9).expect("components");
        assert_eq!(principal.directions.len(), 2);
        // (3, 1) lies (3 − 1)² ÷ 2 = 2 off the diagonal, (2, 2) lies on it.
        let residuals = principal.residuals(&[3.0, 1.0, 2.0, 2.0]);
        assert!((residuals[0] - 2.0).abs() < 1e-4 && residuals[1] < 1e-4, "{residuals:?}");
    }
}
