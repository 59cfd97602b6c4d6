//! How good a quantile forecast is.

use super::errors::{POINTS, mean, pairs};

/// Pinball loss of the `quantile` (0..1) in points; better when lower. An observation above the forecast costs
/// `quantile` per point, one below it costs `1 − quantile`.
pub fn pinball_loss(observed: &[f64], predicted: &[f64], quantile: f64) -> f64 {
    let loss = |(y, p): (f64, f64)| if y >= p { quantile * (y - p) } else { (1.0 - quantile) * (p - y) };
    mean(pairs(observed, predicted).map(loss)) * POINTS
}

/// Share (0..1) of observations at or below the forecast. A calibrated P90 has 0.9.
pub fn coverage(observed: &[f64], predicted: &[f64]) -> f64 {
    mean(pairs(observed, predicted).map(|(y, p)| f64::from(y <= p)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinball_and_coverage_agree_with_a_calculation_by_hand() {
        let observed = [0.5, 0.7, 0.2, 0.4];
        let predicted = [0.6, 0.6, 0.3, 0.4];
        // 0.1·0.1 + 0.9·0.1 + 0.1·0.1 + 0 = 0.11; mean 0.0275.
        assert!((pinball_loss(&observed, &predicted, 0.9) - 2.75).abs() < 1e-9);
        assert!((coverage(&observed, &predicted) - 0.75).abs() < 1e-12);
    }

    #[test]
    fn half_the_absolute_error_is_the_pinball_loss_of_the_median() {
        let (observed, predicted) = ([0.1, 0.9, 0.4], [0.4, 0.5, 0.4]);
        let absolute = super::super::mean_absolute_error(&observed, &predicted);
        assert!((pinball_loss(&observed, &predicted, 0.5) - absolute / 2.0).abs() < 1e-9);
    }
}
