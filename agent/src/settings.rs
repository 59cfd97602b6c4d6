//! What a learner is told.

use serde::{Deserialize, Serialize};

/// Settings of the learner. The same settings and transitions give the same network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DqnSettings {
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// Step size of Adam at the start.
    pub learning_rate: f64,
    /// Step size at the end, reached linearly over `decay_episodes`.
    pub final_learning_rate: f64,
    /// Transitions per update.
    pub batch: usize,
    /// Transitions kept; the oldest make room.
    pub capacity: usize,
    /// Updates between two copies of the weights to the target network.
    pub target_every: u64,
    /// Errors above this count linearly (Huber).
    pub huber: f64,
    /// Share of random actions at the start.
    pub epsilon: f64,
    /// Share of random actions at the end.
    pub final_epsilon: f64,
    /// Episodes over which the share of random actions and the step size go from start to end.
    pub decay_episodes: u64,
    /// Draws by error instead of uniformly.
    pub priority: Option<Priority>,
    /// Seed of initial weights and draws.
    pub seed: u64,
}

/// Prioritised replay (Schaul et al. 2016, proportional variant).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priority {
    /// How much the error counts: 0 is uniform, 1 proportional. The paper's value is 0.6.
    pub exponent: f64,
    /// How far the bias of drawing by error is corrected: 0 not, 1 fully. The paper goes from 0.4 to 1.
    pub correction: f64,
}

impl Default for Priority {
    fn default() -> Self {
        Self { exponent: 0.6, correction: 0.7 }
    }
}

impl Default for DqnSettings {
    fn default() -> Self {
        Self {
            hidden: vec![64, 32],
            learning_rate: 1e-3,
            final_learning_rate: 1e-4,
            batch: 128,
            capacity: 60_000,
            target_every: 200,
            huber: 1.0,
            epsilon: 0.2,
            final_epsilon: 0.02,
            decay_episodes: 100,
            priority: None,
            seed: 7,
        }
    }
}

/// A setting out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is {got}, want {wanted}")]
pub struct SettingError {
    /// Which.
    pub name: &'static str,
    /// Its value.
    pub got: String,
    /// What it may be.
    pub wanted: &'static str,
}

impl DqnSettings {
    /// Checks the values.
    ///
    /// # Errors
    /// [`SettingError`] that names the first setting out of range.
    pub fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, got: String, wanted| Err(SettingError { name, got, wanted });
        if self.hidden.is_empty() || self.hidden.iter().any(|units| !(1..=1_024).contains(units)) {
            return wrong("hidden", format!("{:?}", self.hidden), "one or more layers of 1 to 1024 units");
        }
        for (name, rate) in [("learning_rate", self.learning_rate), ("final_learning_rate", self.final_learning_rate)] {
            if !(rate > 0.0 && rate <= 0.1) {
                return wrong(name, rate.to_string(), "above 0, at most 0.1");
            }
        }
        if self.batch == 0 || self.capacity < self.batch {
            return wrong("batch", format!("{} of {}", self.batch, self.capacity), "1 up to the capacity");
        }
        if self.target_every == 0 {
            return wrong("target_every", "0".into(), "at least 1");
        }
        if !(self.huber > 0.0 && self.huber.is_finite()) {
            return wrong("huber", self.huber.to_string(), "above 0");
        }
        for (name, share) in [("epsilon", self.epsilon), ("final_epsilon", self.final_epsilon)] {
            if !(0.0..=1.0).contains(&share) {
                return wrong(name, share.to_string(), "0 to 1");
            }
        }
        if let Some(Priority { exponent, correction }) = self.priority {
            for (name, value) in [("priority exponent", exponent), ("priority correction", correction)] {
                if !(0.0..=1.0).contains(&value) {
                    return wrong(name, value.to_string(), "0 to 1");
                }
            }
        }
        Ok(())
    }

    /// Share of random actions in `episode`, counted from 0.
    pub fn epsilon_at(&self, episode: u64) -> f64 {
        self.between(self.epsilon, self.final_epsilon, episode)
    }

    /// Step size of Adam in `episode`.
    pub fn learning_rate_at(&self, episode: u64) -> f64 {
        self.between(self.learning_rate, self.final_learning_rate, episode)
    }

    fn between(&self, start: f64, end: f64, episode: u64) -> f64 {
        let share = (episode as f64 / self.decay_episodes.max(1) as f64).min(1.0);
        start + (end - start) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_go_in_a_straight_line_and_stay() {
        let settings = DqnSettings { epsilon: 0.5, final_epsilon: 0.1, decay_episodes: 10, ..DqnSettings::default() };
        let at: Vec<f64> = [0, 5, 10, 99].map(|episode| settings.epsilon_at(episode)).to_vec();
        assert!(at.iter().zip([0.5, 0.3, 0.1, 0.1]).all(|(a, b)| (a - b).abs() < 1e-12), "{at:?}");
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let good = DqnSettings::default();
        assert_eq!(good.check(), Ok(()));
        for (bad, named) in [
            (DqnSettings { hidden: vec![], ..good.clone() }, "`hidden` is []"),
            (DqnSettings { learning_rate: 0.0, ..good.clone() }, "`learning_rate` is 0"),
            (DqnSettings { batch: 10, capacity: 5, ..good.clone() }, "`batch` is 10 of 5"),
            (DqnSettings { epsilon: 1.5, ..good.clone() }, "`epsilon` is 1.5"),
            (DqnSettings { huber: f64::NAN, ..good }, "`huber` is NaN"),
        ] {
            assert!(bad.check().expect_err(named).to_string().contains(named));
        }
    }
}
