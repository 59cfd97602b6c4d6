//! The placement part of a score: what the agent says of a node, on a scale that does not depend on the other candidates.

use serde::{Deserialize, Serialize};

/// How differences of an agent's value are read. Both are in the unit of its value (hot node-hours saved) and are measured in
/// clusters that it did not learn in, since how large an agent's values are says nothing by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValueScale {
    /// A candidate that is so far below the best one has a placement part of 0: the median over decisions of what lies between
    /// the best and the worst candidate.
    pub full_difference: f64,
    /// Values that are closer than this are as good as equal: what one sample of telemetry moves a value by.
    pub noise: f64,
}

/// A scale that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "value scale with full difference {full_difference} and noise {noise}: want a full difference above 0 and a noise of 0 up to it"
)]
pub struct BadScale {
    full_difference: f64,
    noise: f64,
}

impl ValueScale {
    /// A checked scale.
    ///
    /// # Errors
    /// When a number is not finite, the full difference is not above 0, or the noise is not between 0 and it.
    pub fn new(full_difference: f64, noise: f64) -> Result<Self, BadScale> {
        let fits = full_difference.is_finite() && full_difference > 0.0 && (0.0..=full_difference).contains(&noise);
        if fits { Ok(Self { full_difference, noise }) } else { Err(BadScale { full_difference, noise }) }
    }

    /// The placement part of each candidate, 0..1: 1 for the best one, 0 for those that are the full difference below it.
    /// Equal values have equal parts, and nearly equal ones nearly equal parts, whatever the other candidates are.
    pub fn parts(self, values: &[f32]) -> impl Iterator<Item = f64> {
        let best = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        values.iter().map(move |value| 1.0 - (f64::from(best - value) / self.full_difference).clamp(0.0, 1.0))
    }

    /// What the noise is worth in a placement part.
    pub fn uncertainty(self) -> f64 {
        self.noise / self.full_difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_by_hand() {
        let scale = ValueScale::new(2.0, 0.1).expect("a scale");
        assert_eq!(scale.parts(&[1.0, 0.5, -1.0, -9.0]).collect::<Vec<_>>(), [1.0, 0.75, 0.0, 0.0]);
        assert_eq!(scale.parts(&[3.0, 3.0]).collect::<Vec<_>>(), [1.0, 1.0]);
        assert_eq!(scale.parts(&[]).count(), 0);
        assert!((scale.uncertainty() - 0.05).abs() < 1e-12);
    }

    #[test]
    fn a_scale_that_says_nothing_is_refused() {
        for (full, noise) in [(0.0, 0.0), (-1.0, 0.0), (1.0, 1.5), (1.0, -0.1), (f64::NAN, 0.0), (1.0, f64::NAN)] {
            assert!(ValueScale::new(full, noise).is_err(), "{full} {noise}");
        }
        let error = ValueScale::new(0.0, 0.5).expect_err("refused").to_string();
        assert!(error.contains("full difference 0 and noise 0.5"), "{error}");
    }

    proptest! {
        #[test]
        fn a_candidate_more_changes_the_others_only_by_a_new_best(
            values in prop::collection::vec(-5.0..5.0f32, 2..20), more in -5.0..5.0f32,
        ) {
            let scale = ValueScale::new(1.0, 0.01).expect("a scale");
            let best = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let before: Vec<f64> = scale.parts(&values).collect();
            let with: Vec<f32> = values.iter().copied().chain([more.min(best)]).collect();
            let after: Vec<f64> = scale.parts(&with).take(values.len()).collect();
            prop_assert_eq!(before, after);
        }

        #[test]
        fn parts_are_in_range_whatever_the_values(values in prop::collection::vec(any::<f32>(), 0..20)) {
            let scale = ValueScale::new(0.5, 0.01).expect("a scale");
            prop_assert!(scale.parts(&values).all(|part| part.is_nan() || (0.0..=1.0).contains(&part)));
        }
    }
}
