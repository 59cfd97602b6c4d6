//! A node's score for a pod, out of three parts (design, section 6). All parts and the score lie in 0..1, higher is better.

use serde::{Deserialize, Serialize};

/// Utilization that placement aims at.
pub const TARGET_UTILIZATION: f64 = 0.65;
/// From here on a node is saturated.
pub const SATURATED_UTILIZATION: f64 = 0.95;
/// An empty node is worth this much of one at the target: packing is worth something, but less than headroom.
const EMPTY: f64 = 0.7;
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
        let (mut sum, mut total) = (0.0, 0.0);
        for (weight, part) in listed {
            if let Some(part) = part {
                sum += weight * part;
                total += weight;
            }
        }
        (total > 0.0).then(|| sum / total)
    }
}

/// The load part: 1 at the target utilization, falling to 0 at saturation, and gently towards an empty node.
///
/// `utilization`: that which the node is expected to have with the pod, as a share of allocatable.
pub fn load_score(utilization: f64) -> f64 {
    if utilization <= TARGET_UTILIZATION {
        EMPTY + (1.0 - EMPTY) * utilization.max(0.0) / TARGET_UTILIZATION
    } else {
        ((SATURATED_UTILIZATION - utilization) / (SATURATED_UTILIZATION - TARGET_UTILIZATION)).max(0.0)
    }
}

/// Values of any scale into 0..1 over the candidates, keeping distances. Equal values all become 1.
pub fn unit(values: &[f32]) -> impl Iterator<Item = f64> {
    let (low, high) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    let span = f64::from(high - low);
    values.iter().map(move |value| if span > 0.0 { f64::from(value - low) / span } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_score_by_hand() {
        for (utilization, score) in [(0.0, 0.7), (0.325, 0.85), (0.65, 1.0), (0.8, 0.5), (0.95, 0.0), (1.4, 0.0)] {
            assert!((load_score(utilization) - score).abs() < 1e-9, "{utilization}");
        }
    }

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
    fn weights_that_do_not_sum_to_one_are_refused() {
        assert_eq!(PartWeights::DESIGN.check(), Ok(()));
        let error = PartWeights { load: 0.5, ..PartWeights::DESIGN }.check().expect_err("1.2");
        assert!(error.to_string().contains("load 0.5"), "{error}");
        assert!(PartWeights { load: -0.1, placement: 0.8, anomaly: 0.3 }.check().is_err());
        assert!(PartWeights { load: f64::NAN, ..PartWeights::DESIGN }.check().is_err());
    }

    #[test]
    fn units_keep_distances() {
        assert_eq!(unit(&[-2.0, 0.0, 2.0]).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
        assert_eq!(unit(&[3.0, 3.0]).collect::<Vec<_>>(), [1.0, 1.0]);
    }
}
