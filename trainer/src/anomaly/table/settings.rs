//! The section `[trainer.anomaly_table]`, and which columns are what.

use clap::Args;
use models::anomaly::{AlarmSettings, ForestSettings};
use runtime::WrongUse;
use serde::{Deserialize, Serialize};

/// How a detector is trained on a table.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    /// Seed of every draw: the same table, seed and version give the same model files
    #[arg(long, env = "BERTH_ANOMALY_TABLE_SEED", default_value_t = 7, value_name = "SEED")]
    pub seed: u64,
    /// Trees of each forest
    #[arg(long, env = "BERTH_ANOMALY_TABLE_TREES", default_value_t = 100, value_name = "TREES")]
    pub trees: usize,
    /// Rows that each tree is grown on
    #[arg(long, env = "BERTH_ANOMALY_TABLE_SAMPLES", default_value_t = 256, value_name = "ROWS")]
    pub samples: usize,
    /// Features of a split beyond the first: 0 grows isolation forests, more extended ones
    #[arg(long, env = "BERTH_ANOMALY_TABLE_EXTENSION", default_value_t = 0, value_name = "FEATURES")]
    pub extension: usize,
    /// Rows kept in memory to learn from; of a longer table so many are drawn, each as likely as the others
    #[arg(long, env = "BERTH_ANOMALY_TABLE_SAMPLE_ROWS", default_value_t = 100_000, value_name = "ROWS")]
    pub sample_rows: usize,
    /// Share of readings above the threshold where labels do not choose it
    #[arg(long, env = "BERTH_ANOMALY_TABLE_CONTAMINATION", default_value_t = 0.005, value_name = "SHARE")]
    pub contamination: f64,
    /// Share of the table, at its end, that the detector is tested on and never learns from; 0 tests nothing
    #[arg(long, env = "BERTH_ANOMALY_TABLE_TEST_SHARE", default_value_t = 0.3, value_name = "SHARE")]
    pub test_share: f64,
    /// Share of the rest, at its end, that chooses the threshold where it has labels of both classes
    #[arg(long, env = "BERTH_ANOMALY_TABLE_VALIDATION_SHARE", default_value_t = 0.3, value_name = "SHARE")]
    pub validation_share: f64,
    /// What a missed reading costs
    #[arg(long, env = "BERTH_ANOMALY_TABLE_MISSED_COST", default_value_t = 10.0, value_name = "COST")]
    pub missed_cost: f64,
    /// What a usual reading that is flagged costs
    #[arg(long, env = "BERTH_ANOMALY_TABLE_FALSE_ALARM_COST", default_value_t = 1.0, value_name = "COST")]
    pub false_alarm_cost: f64,
    /// Rows that trailing windows look back, where there is a time column; 0 looks at each row alone
    #[arg(
        long,
        env = "BERTH_ANOMALY_TABLE_WINDOWS",
        value_delimiter = ',',
        default_value = "10,60",
        value_name = "ROWS"
    )]
    pub windows: Vec<usize>,
    /// Readings in a row that raise an alarm
    #[arg(long, env = "BERTH_ANOMALY_TABLE_RAISE_AFTER", default_value_t = 2, value_name = "READINGS")]
    pub raise_after: u16,
    /// Usual readings in a row that end an alarm
    #[arg(long, env = "BERTH_ANOMALY_TABLE_CLEAR_AFTER", default_value_t = 3, value_name = "READINGS")]
    pub clear_after: u16,
}

impl Default for TableSettings {
    fn default() -> Self {
        Self {
            seed: 7,
            trees: 100,
            samples: 256,
            extension: 0,
            sample_rows: 100_000,
            contamination: 0.005,
            test_share: 0.3,
            validation_share: 0.3,
            missed_cost: 10.0,
            false_alarm_cost: 1.0,
            windows: vec![10, 60],
            raise_after: 2,
            clear_after: 3,
        }
    }
}

/// Rows that a window may look back: each entity keeps so many in memory.
const LONGEST_WINDOW: usize = 10_000;

impl TableSettings {
    /// Checks every value that `models` does not check.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        let wrong = |key: &str, rule: &str, got: String| {
            Err(WrongUse(format!("`{key}` of [trainer.anomaly_table] must be {rule}, got {got}")))
        };
        if !(self.contamination > 0.0 && self.contamination <= 0.5) {
            return wrong("contamination", "above 0 and at most 0.5", self.contamination.to_string());
        }
        if !(0.0..=0.8).contains(&self.test_share) {
            return wrong("test_share", "between 0 and 0.8", self.test_share.to_string());
        }
        if !(0.05..=0.6).contains(&self.validation_share) {
            return wrong("validation_share", "between 0.05 and 0.6", self.validation_share.to_string());
        }
        for (key, cost) in [("missed_cost", self.missed_cost), ("false_alarm_cost", self.false_alarm_cost)] {
            if !(cost > 0.0 && cost.is_finite()) {
                return wrong(key, "finite and above 0", cost.to_string());
            }
        }
        if self.sample_rows < 100 {
            return wrong("sample_rows", "at least 100", self.sample_rows.to_string());
        }
        if self.windows.iter().any(|window| *window > LONGEST_WINDOW) || self.windows.len() > 4 {
            return wrong("windows", "at most 4 lengths of at most 10000 rows", format!("{:?}", self.windows));
        }
        if self.raise_after == 0 || self.clear_after == 0 {
            return wrong("raise_after and clear_after", "at least 1", "0".to_owned());
        }
        Ok(())
    }

    /// The windows, ascending, each once; none without a time column.
    pub fn windows(&self, has_time: bool) -> Vec<usize> {
        let mut windows: Vec<usize> = self.windows.iter().copied().filter(|window| has_time && *window > 0).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    pub(super) fn forest(&self) -> ForestSettings {
        ForestSettings { trees: self.trees, samples: self.samples, extension: self.extension }
    }

    pub(super) fn alarms(&self) -> AlarmSettings {
        AlarmSettings { raise_after: self.raise_after, clear_after: self.clear_after, ..AlarmSettings::default() }
    }
}

/// Which columns of the table are what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct TableColumns {
    /// Columns to learn from [default: every column of numbers that varies]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Vec<String>,
    /// Column of times; with it rows are a sequence, which windows look back on and the test cuts off at its end
    #[arg(long, value_name = "NAME")]
    pub time: Option<String>,
    /// Column that says whose row it is, such as a node's name; its windows and alarms are its own
    #[arg(long, value_name = "NAME")]
    pub entity: Option<String>,
    /// Column that says whether a row was an anomaly: 0 or 1, false or true, normal or anomaly
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_file_have_the_same_keys_and_defaults() {
        crate::testing::assert_flags_and_file_agree::<TableSettings>();
    }

    #[test]
    fn a_value_out_of_range_names_its_key() {
        for contamination in [0.0, -0.1, 0.51, f64::NAN] {
            let error =
                TableSettings { contamination, ..TableSettings::default() }.validate().expect_err("out of range");
            assert!(
                error.to_string().contains("`contamination` of [trainer.anomaly_table] must be above 0"),
                "{error}"
            );
        }
        assert!(TableSettings { windows: vec![20_000], ..TableSettings::default() }.validate().is_err());
        let settings = TableSettings { windows: vec![60, 0, 10, 60], ..TableSettings::default() };
        assert_eq!((settings.windows(true), settings.windows(false)), (vec![10, 60], vec![]));
    }
}
