//! How far a row lies from the middle of the training.

use crate::ModelError;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The length of a row over a member's columns, each in units of its usual spread. A forest takes whatever lies beyond its
/// training for as odd as the oddest row of it; a length goes on growing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    medians: Vec<f32>,
    /// The distance of the 5 % and the 95 % quantile ÷ 3.29, which is the standard deviation of a normal distribution; the
    /// standard deviation where these are equal; 0 where a column never changed, which leaves it out.
    spans: Vec<f32>,
}

/// Distances beyond so many spans count as so many, so that one column cannot be all that counts.
const FARTHEST: f64 = 50.0;
/// Keeps the logarithm of nothing finite.
const NOTHING: f64 = 1e-9;

impl Reach {
    /// Learns the middle and the spread of each column of `values`, row-major with `width` columns, NaN where unknown.
    pub fn fit(values: &[f32], width: usize) -> Self {
        let (medians, spans) = (0..width).map(|column| of_column(values.iter().skip(column).step_by(width))).unzip();
        Self { medians, spans }
    }

    /// Columns of a row.
    pub fn width(&self) -> usize {
        self.medians.len()
    }

    /// The logarithm of the squared length of a row; NaN for a row without any value. Missing values are not far.
    ///
    /// # Errors
    /// A row of another width.
    pub fn score_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        ModelError::columns(self.width(), row.len())?;
        Ok(self.score(row))
    }

    /// [`Reach::score_row`] for rows one after the other.
    pub(super) fn scores(&self, values: &[f32]) -> Vec<f32> {
        values.par_chunks(self.width()).map(|row| self.score(row)).collect()
    }

    /// What each column puts into the squared length.
    pub(super) fn credits(&self, row: &[f32], credits: &mut [f64]) {
        for (column, credit) in credits.iter_mut().enumerate() {
            *credit = self.squared(row, column);
        }
    }

    fn score(&self, row: &[f32]) -> f32 {
        if row.iter().all(|value| value.is_nan()) {
            return f32::NAN;
        }
        let length: f64 = (0..self.width()).map(|column| self.squared(row, column)).sum();
        (length + NOTHING).ln() as f32
    }

    fn squared(&self, row: &[f32], column: usize) -> f64 {
        let (value, span) = (f64::from(row[column]), f64::from(self.spans[column]));
        if value.is_nan() || span <= 0.0 {
            return 0.0;
        }
        ((value - f64::from(self.medians[column])).abs() / span).min(FARTHEST).powi(2)
    }

    pub(super) fn is_sound(&self) -> bool {
        let numbers = self.medians.iter().chain(&self.spans);
        self.medians.len() == self.spans.len()
            && numbers.clone().all(|number| number.is_finite())
            && self.spans.iter().all(|span| *span >= 0.0)
    }
}

fn of_column<'a>(values: impl Iterator<Item = &'a f32>) -> (f32, f32) {
    let mut sorted: Vec<f32> = values.copied().filter(|value| value.is_finite()).collect();
    if sorted.is_empty() {
        return (0.0, 0.0);
    }
    sorted.sort_by(f32::total_cmp);
    let at = |level: f64| f64::from(sorted[(level * (sorted.len() - 1) as f64).round() as usize]);
    let span = (at(0.95) - at(0.05)) / 3.29;
    let deviation = || {
        let mean = sorted.iter().map(|value| f64::from(*value)).sum::<f64>() / sorted.len() as f64;
        (sorted.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / sorted.len() as f64).sqrt()
    };
    (at(0.5) as f32, if span > 0.0 { span } else { deviation() } as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_agree_with_a_calculation_by_hand() {
        // 0 to 100: median 50, quantiles 5 and 95, span 90 ÷ 3.29. The second column never changes.
        let values: Vec<f32> = (0..=100).flat_map(|value| [value as f32, 7.0]).collect();
        let reach = Reach::fit(&values, 2);
        let span = 90.0_f64 / 3.29;
        let score = |row: &[f32]| f64::from(reach.score_row(row).expect("two columns"));
        assert!((score(&[50.0 + 4.0 * span as f32, 7.0]) - 16.0_f64.ln()).abs() < 1e-4);
        assert_eq!(
            score(&[f32::NAN, 900.0]),
            score(&[50.0, 7.0]),
            "missing is not far, a constant column is not looked at"
        );
        assert!((score(&[1e9, 7.0]) - 2_500.0_f64.ln()).abs() < 1e-4, "50 spans at most");
        assert!(reach.score_row(&[f32::NAN; 2]).expect("two columns").is_nan() && reach.score_row(&[1.0]).is_err());
        let mut credits = [0.0; 2];
        reach.credits(&[50.0 - 2.0 * span as f32, 0.0], &mut credits);
        assert!((credits[0] - 4.0).abs() < 1e-4 && credits[1] == 0.0, "{credits:?}");
    }

    #[test]
    fn a_column_that_hardly_ever_moves_has_the_span_of_its_deviation() {
        let mut values = vec![0.0; 1_000];
        values[3] = 10.0;
        // The mean is 0.01, the variance 0.1 − 0.0001.
        let reach = Reach::fit(&values, 1);
        assert!((f64::from(reach.spans[0]) - 0.0999_f64.sqrt()).abs() < 1e-5, "{:?}", reach.spans);
    }
}
