//! Columns of a view on one scale: mean 0 and deviation 1 over the training.

use super::views::ViewRows;
use serde::{Deserialize, Serialize};

/// Means and deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scaling {
    /// Places of the columns that change.
    used: Vec<usize>,
    means: Vec<f64>,
    deviations: Vec<f64>,
}

/// A deviation below this share of the largest value is what rounding left.
const ROUNDING: f64 = 1e-6;

impl Scaling {
    pub fn fit(rows: &ViewRows) -> Self {
        let (mut used, mut means, mut deviations) = (Vec::new(), Vec::new(), Vec::new());
        for column in 0..rows.width {
            let values = || {
                rows.values
                    .iter()
                    .skip(column)
                    .step_by(rows.width)
                    .map(|value| f64::from(*value))
                    .filter(|v| !v.is_nan())
            };
            let count = values().count() as f64;
            let mean = values().sum::<f64>() / count;
            let deviation = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            let largest = values().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            if deviation > ROUNDING * largest {
                used.push(column);
                means.push(mean);
                deviations.push(deviation);
            }
        }
        Self { used, means, deviations }
    }

    pub fn width(&self) -> usize {
        self.used.len()
    }

    /// The columns that change, scaled, row-major; missing stays missing.
    pub fn apply(&self, rows: &ViewRows) -> Vec<f32> {
        let mut scaled = Vec::with_capacity(rows.values.len() / rows.width * self.used.len());
        for row in rows.values.chunks_exact(rows.width) {
            for (place, column) in self.used.iter().enumerate() {
                scaled.push(((f64::from(row[*column]) - self.means[place]) / self.deviations[place]) as f32);
            }
        }
        scaled
    }
}
