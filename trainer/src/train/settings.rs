//! The section `[trainer.load]`.

use crate::folds::SplitSettings;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// How the load predictor is trained.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSettings {
    /// Seed of every draw: the same data, seed, version and threads give the same model files
    #[arg(long, env = "BERTH_TRAINER_LOAD_SEED", default_value_t = 7, value_name = "SEED")]
    pub seed: u64,
    /// Threads of the boosters [default: 2]. Stated, because counting cores is wrong in a container
    #[arg(long, env = "BERTH_TRAINER_LOAD_THREADS", default_value = "2", value_name = "THREADS")]
    pub threads: NonZeroUsize,
    /// Share of the history, at its end, that the model is tested on and never learns from
    #[arg(long, env = "BERTH_TRAINER_LOAD_TEST_SHARE", default_value_t = crate::heads::DEFAULT_SPLIT.test_share, value_name = "SHARE")]
    pub test_share: f64,
    /// Share of the rest, at its end, that calibrates the P90
    #[arg(long, env = "BERTH_TRAINER_LOAD_CALIBRATION_SHARE", default_value_t = crate::heads::DEFAULT_SPLIT.calibration_share, value_name = "SHARE")]
    pub calibration_share: f64,
    /// Share of what is then left, at its end, that stops the boosting
    #[arg(long, env = "BERTH_TRAINER_LOAD_STOP_SHARE", default_value_t = crate::heads::DEFAULT_SPLIT.stop_share, value_name = "SHARE")]
    pub stop_share: f64,
    /// Training rows per head, at most; more history is thinned evenly in time
    #[arg(long, env = "BERTH_TRAINER_LOAD_MAX_ROWS", default_value_t = 60_000, value_name = "ROWS")]
    pub max_rows: usize,
    /// Share of the nodes that never train and are scored apart, for the claim that new nodes are served well
    #[arg(long, env = "BERTH_TRAINER_LOAD_HELD_OUT_NODES", default_value_t = 0.0, value_name = "SHARE")]
    pub held_out_nodes: f64,
    /// Rolling origins of the cross-validation before the test; 0 leaves it out
    #[arg(long, env = "BERTH_TRAINER_LOAD_FOLDS", default_value_t = 2, value_name = "FOLDS")]
    pub folds: usize,
    /// Fit the recipe that is judged once more, up to the end of the history, and serve that fit when the recipe has passed
    #[arg(long, env = "BERTH_TRAINER_LOAD_FRESH_FIT", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub fresh_fit: bool,
}

impl Default for LoadSettings {
    fn default() -> Self {
        let split = crate::heads::DEFAULT_SPLIT;
        Self {
            seed: 7,
            threads: NonZeroUsize::MIN.saturating_add(1),
            test_share: split.test_share,
            calibration_share: split.calibration_share,
            stop_share: split.stop_share,
            max_rows: 60_000,
            held_out_nodes: 0.0,
            folds: 2,
            fresh_fit: true,
        }
    }
}

impl LoadSettings {
    /// The shares of the final cut.
    pub fn split(&self) -> SplitSettings {
        SplitSettings {
            test_share: self.test_share,
            calibration_share: self.calibration_share,
            stop_share: self.stop_share,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), runtime::WrongUse> {
        let wrong = |key: &str, rule: &str, got: &dyn std::fmt::Display| {
            Err(runtime::WrongUse(format!("`{key}` of [trainer.load] must be {rule}, got {got}")))
        };
        for (key, share) in [
            ("test_share", self.test_share),
            ("calibration_share", self.calibration_share),
            ("stop_share", self.stop_share),
        ] {
            if !(0.01..=0.5).contains(&share) {
                return wrong(key, "between 0.01 and 0.5", &share);
            }
        }
        if !(0.0..=0.5).contains(&self.held_out_nodes) {
            return wrong("held_out_nodes", "between 0 and 0.5", &self.held_out_nodes);
        }
        if self.max_rows < 500 {
            return wrong("max_rows", "at least 500", &self.max_rows);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_file_have_the_same_keys_and_defaults() {
        crate::testing::assert_flags_and_file_agree::<LoadSettings>();
    }

    #[test]
    fn a_value_out_of_range_names_its_key() {
        let error = LoadSettings { test_share: 0.9, ..LoadSettings::default() }
            .validate()
            .expect_err("nothing left to train on");
        assert_eq!(error.to_string(), "`test_share` of [trainer.load] must be between 0.01 and 0.5, got 0.9");
    }
}
