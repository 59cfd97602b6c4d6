//! A node's score for a pod, out of three parts. All parts and the score lie in 0..1, higher is better. Server, extender and
//! simulator score by this code alone.

mod load;
mod value;

pub use load::{NORMAL_P90, Quantiles, Strategy, UnknownStrategy};
pub use value::{BadScale, ValueScale};

use serde::{Deserialize, Serialize};

/// Weights may miss their sum by rounding.
const SUM_TOLERANCE: f64 = 1e-6;

/// How much each part counts. They sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartWeights {
    /// Of the load score.
    pub load: f64,
    /// Of the agent's score.
    pub placement: f64,
    /// Of the anomaly score.
    pub anomaly: f64,
}

/// What is known of one node; a part that is missing or stale is `None`, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Parts {
    /// From the forecast.
    pub load: Option<f64>,
    /// From the placement agent.
    pub placement: Option<f64>,
    /// From the anomaly detector.
    pub anomaly: Option<f64>,
}

/// Weights that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("weights load {load}, placement {placement}, anomaly {anomaly} must be at least 0 and sum to 1")]
pub struct BadWeights {
    load: f64,
    placement: f64,
    anomaly: f64,
}

impl Default for PartWeights {
    fn default() -> Self {
        Self::DESIGN
    }
}

impl PartWeights {
    /// Load, placement, anomaly as the design combines them.
    pub const DESIGN: Self = Self { load: 0.3, placement: 0.4, anomaly: 0.3 };
    /// The forecast alone.
    pub const LOAD: Self = Self { load: 1.0, placement: 0.0, anomaly: 0.0 };
    /// The agent alone.
    pub const PLACEMENT: Self = Self { load: 0.0, placement: 1.0, anomaly: 0.0 };

    /// Checks the weights.
    ///
    /// # Errors
    /// A weight that is negative or no number, or a sum other than 1.
    pub fn check(&self) -> Result<(), BadWeights> {
        let Self { load, placement, anomaly } = *self;
        let fits = [load, placement, anomaly].iter().all(|weight| *weight >= 0.0)
            && (load + placement + anomaly - 1.0).abs() <= SUM_TOLERANCE;
        if fits { Ok(()) } else { Err(BadWeights { load, placement, anomaly }) }
    }

    /// The weighted mean of the parts that are there; `None` when nothing with a weight is left.
    pub fn combine(&self, parts: &Parts) -> Option<f64> {
        let listed = [(self.load, parts.load), (self.placement, parts.placement), (self.anomaly, parts.anomaly)];
        let there = || listed.iter().filter_map(|(weight, part)| Some((*weight, (*part)?)));
        let total: f64 = there().map(|(weight, _)| weight).sum();
        // Shares before products: a part that is alone is the score to the last digit.
        (total > 0.0).then(|| there().map(|(weight, part)| weight / total * part).sum())
    }

    /// By how much [`PartWeights::combine`] of `parts` moves when each part moves by its own amount: 0 for a part that is
    /// missing or has no weight.
    pub fn moved(&self, parts: &Parts, by: &Parts) -> Option<f64> {
        let only = |part: Option<f64>, by: Option<f64>| part.map(|_| by.unwrap_or_default().abs());
        self.combine(&Parts {
            load: only(parts.load, by.load),
            placement: only(parts.placement, by.placement),
            anomaly: only(parts.anomaly, by.anomaly),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_is_left_out_and_the_rest_scaled_up() {
        let all = Parts { load: Some(0.5), placement: Some(1.0), anomaly: Some(0.0) };
        let close = |got: Option<f64>, wanted: f64| got.is_some_and(|got| (got - wanted).abs() < 1e-12);
        // 0.3 × 0.5 + 0.4 × 1 = 0.55.
        assert!(close(PartWeights::DESIGN.combine(&all), 0.55));
        // Without the agent: 0.3 × 0.5 ÷ 0.6.
        assert!(close(PartWeights::DESIGN.combine(&Parts { placement: None, ..all }), 0.25));
        assert_eq!(PartWeights::DESIGN.combine(&Parts::default()), None);
        // A part without weight is as good as none.
        assert_eq!(PartWeights::LOAD.combine(&Parts { load: None, ..all }), None);
    }

    #[test]
    fn a_part_moves_the_score_by_its_share() {
        let all = Parts { load: Some(0.5), placement: Some(1.0), anomaly: Some(0.0) };
        let by = Parts { load: Some(-0.1), placement: Some(0.2), anomaly: None };
        let close = |got: Option<f64>, wanted: f64| got.is_some_and(|got| (got - wanted).abs() < 1e-12);
        // 0.3 × 0.1 + 0.4 × 0.2, and without the detector that ÷ 0.7.
        assert!(close(PartWeights::DESIGN.moved(&all, &by), 0.11));
        assert!(close(PartWeights::DESIGN.moved(&Parts { anomaly: None, ..all }, &by), 0.11 / 0.7));
        assert!(close(PartWeights::DESIGN.moved(&Parts { placement: None, ..all }, &by), 0.05));
        assert_eq!(PartWeights::DESIGN.moved(&Parts::default(), &by), None);
    }

    #[test]
    fn weights_that_do_not_sum_to_one_are_refused() {
        assert_eq!(PartWeights::DESIGN.check(), Ok(()));
        let error = PartWeights { load: 0.5, ..PartWeights::DESIGN }.check().expect_err("1.2");
        assert!(error.to_string().contains("load 0.5"), "{error}");
        assert!(PartWeights { load: -0.1, placement: 0.8, anomaly: 0.3 }.check().is_err());
        assert!(PartWeights { load: f64::NAN, ..PartWeights::DESIGN }.check().is_err());
    }
}
