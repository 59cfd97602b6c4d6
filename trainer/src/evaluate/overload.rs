//! Figures for heavy load, which decide whether a node is safe to place on.

use super::errors::{mean_absolute_error, pairs};
use serde::{Deserialize, Serialize};

/// A node is overloaded above this utilization.
pub const OVERLOAD: f64 = cluster::HOT_UTILIZATION;

/// How a forecast does where the load is heavy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OverloadScores {
    /// Rows whose observed utilization is above [`OVERLOAD`].
    pub rows: usize,
    /// Mean absolute error over these rows in points; absent when there is none.
    pub mae_points: Option<f64>,
    /// Share of the overloaded rows that the forecast put above the limit; absent when there is none.
    pub recall: Option<f64>,
    /// Share of the rows put above the limit that were overloaded; absent when none was put there.
    pub precision: Option<f64>,
}

impl OverloadScores {
    /// Scores ratios; `predicted` may be the P50 or, for a cautious alarm, the P90.
    pub fn of(observed: &[f64], predicted: &[f64]) -> Self {
        let (heavy_observed, heavy_predicted): (Vec<f64>, Vec<f64>) =
            pairs(observed, predicted).filter(|(y, _)| *y > OVERLOAD).unzip();
        let alarms = predicted.iter().filter(|p| **p > OVERLOAD).count();
        let right = heavy_predicted.iter().filter(|p| **p > OVERLOAD).count();
        let rows = heavy_observed.len();
        Self {
            rows,
            mae_points: (rows > 0).then(|| mean_absolute_error(&heavy_observed, &heavy_predicted)),
            recall: (rows > 0).then(|| right as f64 / rows as f64),
            precision: (alarms > 0).then(|| right as f64 / alarms as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_and_precision_agree_with_a_count_by_hand() {
        // Overloaded: rows 0, 1 and 2. Alarms: rows 0 and 3. Right: row 0.
        let scores = OverloadScores::of(&[0.9, 0.85, 1.2, 0.5, 0.8], &[0.95, 0.75, 0.8, 0.9, 0.2]);
        assert_eq!(scores.rows, 3);
        assert_eq!(scores.recall, Some(1.0 / 3.0));
        assert_eq!(scores.precision, Some(0.5));
        // (0.05 + 0.10 + 0.40) / 3.
        assert!((scores.mae_points.expect("three rows") - 55.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn without_heavy_load_there_is_no_figure() {
        let scores = OverloadScores::of(&[0.1, 0.2], &[0.1, 0.3]);
        assert_eq!(scores, OverloadScores { rows: 0, mae_points: None, recall: None, precision: None });
    }
}
