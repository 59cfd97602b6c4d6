//! The section `[trainer.anomaly_compare]`.

use clap::{Args, ValueEnum};
use runtime::WrongUse;
use serde::{Deserialize, Serialize};

/// The figure that decides between peers that qualify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Primary {
    /// Missed incidents and false alarms, weighed; less is better
    Cost,
    /// Area under the precision–recall curve of single readings
    PrAuc,
    /// Area under the ROC curve of single readings
    RocAuc,
    /// Share of incidents that an alarm meets
    Recall,
    /// Share of alarms that meet an incident
    Precision,
}

/// How detectors are compared.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareSettings {
    /// Seed of every draw
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_SEED", default_value_t = 7, value_name = "SEED")]
    pub seed: u64,
    /// Share of the history, at its end, that figures come from
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_TEST_SHARE", default_value_t = 0.4, value_name = "SHARE")]
    pub test_share: f64,
    /// Share of the history, before the test, that chooses thresholds
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_VALIDATION_SHARE", default_value_t = 0.2, value_name = "SHARE")]
    pub validation_share: f64,
    /// What a missed incident costs
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_MISSED_COST", default_value_t = 10.0, value_name = "COST")]
    pub missed_cost: f64,
    /// What a false alarm costs
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_FALSE_ALARM_COST", default_value_t = 1.0, value_name = "COST")]
    pub false_alarm_cost: f64,
    /// Share of readings above the threshold where the validation slice has no labelled incident
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_EXPECTED_SHARE", default_value_t = 0.002, value_name = "SHARE")]
    pub expected_share: f64,
    /// Readings in a row that raise an alarm
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_RAISE_AFTER", default_value_t = 2, value_name = "READINGS")]
    pub raise_after: u16,
    /// Usual readings in a row that end an alarm
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_CLEAR_AFTER", default_value_t = 3, value_name = "READINGS")]
    pub clear_after: u16,
    /// The figure that picks the best
    #[arg(long, value_enum, env = "BERTH_ANOMALY_COMPARE_PRIMARY", default_value = "pr-auc", value_name = "FIGURE")]
    pub primary: Primary,
    /// Least share of readings that are flagged as labelled
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_MIN_ACCURACY", default_value_t = 0.9, value_name = "SHARE")]
    pub min_accuracy: f64,
    /// Least share of alarms that meet an incident
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_MIN_PRECISION", default_value_t = 0.5, value_name = "SHARE")]
    pub min_precision: f64,
    /// Least share of incidents that an alarm meets
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_MIN_RECALL", default_value_t = 0.6, value_name = "SHARE")]
    pub min_recall: f64,
    /// Trees of the random forest
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_FOREST_TREES", default_value_t = 50, value_name = "TREES")]
    pub forest_trees: usize,
    /// Training rows of the supervised peers, at most; odd ones are all kept
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_MAX_ROWS", default_value_t = 12_000, value_name = "ROWS")]
    pub max_rows: usize,
    /// Readings of a sequence that the LSTM reads
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_LSTM_SEQUENCE", default_value_t = 12, value_name = "READINGS")]
    pub lstm_sequence: usize,
    /// Layers of the LSTM
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_LSTM_LAYERS", default_value_t = 1, value_name = "LAYERS")]
    pub lstm_layers: usize,
    /// Units of each layer of the LSTM
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_LSTM_UNITS", default_value_t = 24, value_name = "UNITS")]
    pub lstm_units: usize,
    /// Passes of the LSTM over its training sequences
    #[arg(long, env = "BERTH_ANOMALY_COMPARE_LSTM_EPOCHS", default_value_t = 8, value_name = "EPOCHS")]
    pub lstm_epochs: usize,
}

impl Default for CompareSettings {
    fn default() -> Self {
        Self {
            seed: 7,
            test_share: 0.4,
            validation_share: 0.2,
            missed_cost: 10.0,
            false_alarm_cost: 1.0,
            expected_share: 0.002,
            raise_after: 2,
            clear_after: 3,
            primary: Primary::PrAuc,
            min_accuracy: 0.9,
            min_precision: 0.5,
            min_recall: 0.6,
            forest_trees: 50,
            max_rows: 12_000,
            lstm_sequence: 12,
            lstm_layers: 1,
            lstm_units: 24,
            lstm_epochs: 8,
        }
    }
}

impl CompareSettings {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        let wrong = |key: &str, rule: &str, got: f64| {
            Err(WrongUse(format!("`{key}` of [trainer.anomaly_compare] must be {rule}, got {got}")))
        };
        for (key, share) in [("test_share", self.test_share), ("validation_share", self.validation_share)] {
            if !(0.05..=0.6).contains(&share) {
                return wrong(key, "between 0.05 and 0.6", share);
            }
        }
        for (key, cost) in [("missed_cost", self.missed_cost), ("false_alarm_cost", self.false_alarm_cost)] {
            if !(cost > 0.0 && cost.is_finite()) {
                return wrong(key, "finite and above 0", cost);
            }
        }
        if !(self.expected_share > 0.0 && self.expected_share <= 0.5) {
            return wrong("expected_share", "above 0 and at most 0.5", self.expected_share);
        }
        for (key, share) in [
            ("min_accuracy", self.min_accuracy),
            ("min_precision", self.min_precision),
            ("min_recall", self.min_recall),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return wrong(key, "between 0 and 1", share);
            }
        }
        for (key, count, most) in [
            ("raise_after", usize::from(self.raise_after), 10_000),
            ("clear_after", usize::from(self.clear_after), 10_000),
            ("forest_trees", self.forest_trees, 10_000),
            ("max_rows", self.max_rows, 10_000_000),
            ("lstm_sequence", self.lstm_sequence, 1_000),
            ("lstm_layers", self.lstm_layers, 8),
            ("lstm_units", self.lstm_units, 1_024),
            ("lstm_epochs", self.lstm_epochs, 10_000),
        ] {
            if !(1..=most).contains(&count) {
                return wrong(key, &format!("between 1 and {most}"), count as f64);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_file_have_the_same_keys_and_defaults() {
        crate::testing::assert_flags_and_file_agree::<CompareSettings>();
    }

    #[test]
    fn a_value_out_of_range_names_its_key() {
        let refused = |settings: CompareSettings| settings.validate().expect_err("refused").to_string();
        let base = CompareSettings::default();
        assert!(base.validate().is_ok());
        assert_eq!(
            refused(CompareSettings { lstm_layers: 9, ..base.clone() }),
            "`lstm_layers` of [trainer.anomaly_compare] must be between 1 and 8, got 9"
        );
        assert!(refused(CompareSettings { min_recall: 1.2, ..base }).contains("`min_recall`"));
    }
}
