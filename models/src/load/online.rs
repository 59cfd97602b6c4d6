//! Keeping the promised coverage while the world drifts: one node, one head.

use crate::ModelError;
use serde::{Deserialize, Serialize};

/// A shift of the upper quantile that follows the misses it sees: after each observation it moves by
/// `rate × (missed − (1 − level))`, up when the load was above the forecast, a little down when it was not
/// (quantile tracking, Angelopoulos, Candès and Tibshirani 2023; adaptive conformal inference, Gibbs and Candès 2021).
///
/// Over `T` observations whose scores stay within a range `B`, the share of misses differs from `1 − level` by at most
/// `(B + rate) ÷ (rate × T)`, whatever the drift. [`super::OffsetTracker`] keeps one per node and head and adds
/// [`OnlineOffset::offset`] to the forecast's P90.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineOffset {
    level: f64,
    rate: f64,
    offset: f64,
}

impl OnlineOffset {
    /// Starts at 0. `level` as promised, such as 0.9; `rate` in the unit of the target, such as 0.01 (one point).
    ///
    /// # Errors
    /// A level outside 0 to 1, a rate that is not above 0.
    pub fn new(level: f64, rate: f64) -> Result<Self, ModelError> {
        if !(level > 0.0 && level < 1.0) {
            return Err(ModelError::Setting {
                setting: "level",
                rule: "strictly between 0 and 1",
                got: level.to_string(),
            });
        }
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(ModelError::Setting { setting: "rate", rule: "finite and above 0", got: rate.to_string() });
        }
        Ok(Self { level, rate, offset: 0.0 })
    }

    /// The same that begins with a shift learned elsewhere.
    #[must_use]
    pub fn starting_at(self, offset: f32) -> Self {
        Self { offset: f64::from(offset), ..self }
    }

    /// What to add to the P90 now.
    pub fn offset(&self) -> f32 {
        self.offset as f32
    }

    /// Learns from one outcome: `shifted_p90` is the forecast as it was given, this shift included. An unknown outcome
    /// (NaN) teaches nothing. Whether the forecast missed; `None` where that is unknown.
    pub fn observe(&mut self, observed: f32, shifted_p90: f32) -> Option<bool> {
        if observed.is_nan() || shifted_p90.is_nan() {
            return None;
        }
        let missed = observed > shifted_p90;
        self.offset += self.rate * (f64::from(u8::from(missed)) - (1.0 - self.level));
        Some(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn coverage_follows_a_level_shift() {
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut online = OnlineOffset::new(0.9, 0.02).expect("valid settings");
        let mut covered = 0_u32;
        for step in 0..4_000 {
            // Halfway the load rises by 0.3 and the forecast of 0.5 does not know it.
            let level = if step < 2_000 { 0.3 } else { 0.6 };
            let observed = level + 0.2 * generator.random::<f32>();
            let p90 = 0.5 + online.offset();
            covered += u32::from(observed <= p90);
            online.observe(observed, p90);
        }
        // Bound by hand: scores span at most 0.5, so (0.5 + 0.02) ÷ (0.02 × 4000) = 0.0065.
        let coverage = f64::from(covered) / 4_000.0;
        assert!((coverage - 0.9).abs() < 0.0066, "{coverage}");
    }

    #[test]
    fn one_step_by_hand() {
        let mut online = OnlineOffset::new(0.9, 0.1).expect("valid settings");
        assert_eq!(online.observe(0.8, 0.5), Some(true));
        assert!((online.offset() - 0.09).abs() < 1e-7);
        assert_eq!(online.observe(0.2, 0.5), Some(false));
        assert!((online.offset() - 0.08).abs() < 1e-7);
        assert_eq!(online.observe(f32::NAN, 0.5), None);
        assert!((online.offset() - 0.08).abs() < 1e-7);
        assert!(OnlineOffset::new(0.9, 0.0).is_err());
    }
}
