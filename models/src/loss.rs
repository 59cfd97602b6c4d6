//! What a fit makes small.

use crate::ModelError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The loss that a learner minimises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Loss {
    /// (y − ŷ)²: forecasts the mean.
    Squared,
    /// |y − ŷ|: forecasts the median.
    Absolute,
    /// The pinball loss: forecasts the quantile `alpha`, strictly between 0 and 1.
    Quantile(f64),
    /// δ²(√(1 + ((y − ŷ) ÷ δ)²) − 1) with the slope δ > 0: quadratic near zero, linear far away.
    PseudoHuber(f64),
    /// log(1 + e^ŷ) − y ŷ for a label y of 0 or 1: forecasts the natural logarithm of the odds of 1.
    Logistic,
}

impl Loss {
    /// Checks the parameter.
    ///
    /// # Errors
    /// [`ModelError::Setting`].
    pub fn validate(self) -> Result<Self, ModelError> {
        match self {
            Self::Quantile(alpha) if !(alpha > 0.0 && alpha < 1.0) => Err(ModelError::Setting {
                setting: "quantile",
                rule: "strictly between 0 and 1",
                got: alpha.to_string(),
            }),
            Self::PseudoHuber(slope) if !(slope > 0.0 && slope.is_finite()) => Err(ModelError::Setting {
                setting: "pseudo_huber",
                rule: "a finite slope above 0",
                got: slope.to_string(),
            }),
            loss => Ok(loss),
        }
    }

    /// The loss of one forecast.
    pub fn of(self, observed: f32, predicted: f32) -> f64 {
        let difference = f64::from(observed) - f64::from(predicted);
        match self {
            Self::Squared => difference * difference,
            Self::Absolute => difference.abs(),
            Self::Quantile(alpha) => (alpha * difference).max((alpha - 1.0) * difference),
            Self::PseudoHuber(slope) => slope * slope * ((1.0 + (difference / slope).powi(2)).sqrt() - 1.0),
            Self::Logistic => {
                let (label, logit) = (f64::from(observed), f64::from(predicted));
                // The same for large logits of either sign without an overflow.
                logit.max(0.0) + (-logit.abs()).exp().ln_1p() - label * logit
            }
        }
    }

    /// The mean loss, each row with its weight (1 without weights). NaN when there are no rows.
    pub fn mean(self, observed: &[f32], predicted: &[f32], weight: Option<&[f32]>) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (row, (observed, predicted)) in observed.iter().zip(predicted).enumerate() {
            let weight = weight.map_or(1.0, |weight| f64::from(weight[row]));
            sum += weight * self.of(*observed, *predicted);
            total += weight;
        }
        sum / total
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Squared => f.write_str("squared error"),
            Self::Absolute => f.write_str("absolute error"),
            Self::Quantile(alpha) => write!(f, "quantile {alpha}"),
            Self::PseudoHuber(slope) => write!(f, "pseudo-huber {slope}"),
            Self::Logistic => f.write_str("log loss"),
        }
    }
}

/// Mean pinball loss of forecasts of the quantile `alpha` (Koenker and Bassett, 1978): `alpha × (y − ŷ)` where the
/// forecast is too low, `(1 − alpha) × (ŷ − y)` where it is too high.
pub fn pinball_loss(observed: &[f32], predicted: &[f32], alpha: f64) -> f64 {
    Loss::Quantile(alpha).mean(observed, predicted, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_by_hand() {
        assert_eq!(Loss::Squared.of(3.0, 1.0), 4.0);
        assert_eq!(Loss::Absolute.of(1.0, 3.0), 2.0);
        // Two too low costs 0.9 × 2, two too high 0.1 × 2.
        assert!((Loss::Quantile(0.9).of(3.0, 1.0) - 1.8).abs() < 1e-12);
        assert!((Loss::Quantile(0.9).of(1.0, 3.0) - 0.2).abs() < 1e-12);
        // 4 × (√(1 + (3 ÷ 2)²) − 1) = 4 × (√3.25 − 1) = 3.2111025509.
        assert!((Loss::PseudoHuber(2.0).of(3.0, 0.0) - 3.211_102_550_9).abs() < 1e-9);
        // Odds of 3 to 1: the chance of 1 is 0.75, so −ln 0.75 where the label is 1 and −ln 0.25 where it is 0.
        let logit = 3.0_f32.ln();
        assert!((Loss::Logistic.of(1.0, logit) + 0.75_f64.ln()).abs() < 1e-6);
        assert!((Loss::Logistic.of(0.0, logit) + 0.25_f64.ln()).abs() < 1e-6);
        assert!((Loss::Logistic.of(0.0, 800.0) - 800.0).abs() < 1e-9 && Loss::Logistic.of(1.0, 800.0) < 1e-9);
    }

    #[test]
    fn pinball_by_hand() {
        // Differences 1, -1, 2: (0.75 × 1 + 0.25 × 1 + 0.75 × 2) ÷ 3 = 2.5 ÷ 3.
        let loss = pinball_loss(&[1.0, 1.0, 4.0], &[0.0, 2.0, 2.0], 0.75);
        assert!((loss - 2.5 / 3.0).abs() < 1e-12, "{loss}");
    }

    #[test]
    fn weights_count() {
        let loss = Loss::Absolute.mean(&[1.0, 4.0], &[0.0, 0.0], Some(&[3.0, 1.0]));
        assert!((loss - 7.0 / 4.0).abs() < 1e-12, "{loss}");
        assert!(Loss::Absolute.mean(&[], &[], None).is_nan());
    }

    #[test]
    fn a_parameter_out_of_range_names_the_rule() {
        let error = Loss::Quantile(1.0).validate().expect_err("1 is no quantile");
        assert_eq!(error.to_string(), "`quantile` must be strictly between 0 and 1, got 1");
        assert!(Loss::PseudoHuber(f64::NAN).validate().is_err());
    }
}
