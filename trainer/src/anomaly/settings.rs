//! The section `[trainer.anomaly]`.

use super::Costs;
use clap::Args;
use features::patterns::{ANOMALY_PATTERNS, Subject};
use models::anomaly::{
    AlarmSettings, AnomalyKind, ClassifierSettings, DetectorSettings, ForestSettings, MemberSettings, Rule, Side,
};
use serde::{Deserialize, Serialize};
use synthetic::InjectedFault;

/// How the anomaly detector is trained.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalySettings {
    /// Seed of every draw: the same data, seed and version give the same model files
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_SEED", default_value_t = 7, value_name = "SEED")]
    pub seed: u64,
    /// Trees of each forest
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_TREES", default_value_t = 100, value_name = "TREES")]
    pub trees: usize,
    /// Rows that each tree is grown on
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_SAMPLES", default_value_t = 256, value_name = "ROWS")]
    pub samples: usize,
    /// Features of a split beyond the first: 0 grows isolation forests, more extended ones
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_EXTENSION", default_value_t = 0, value_name = "FEATURES")]
    pub extension: usize,
    /// Share of the history, at its end, that the detector is tested on and never learns from
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_TEST_SHARE", default_value_t = 0.3, value_name = "SHARE")]
    pub test_share: f64,
    /// Incidents of each kind that are injected into replays of the history to learn from and to choose the threshold by; 0
    /// goes by labelled incidents alone
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_FAULTS_PER_KIND", default_value_t = 150, value_name = "COUNT")]
    pub faults_per_kind: usize,
    /// Kinds that are not injected: what is found of them later tells how the detector does on faults that it never met
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_WITHHELD_KINDS", value_enum, value_delimiter = ',', value_name = "KINDS")]
    #[serde(default)]
    pub withheld_kinds: Vec<InjectedFault>,
    /// Incidents per node and day that are expected where none are labelled; beside labelled ones it counts as a month of one node
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_EXPECTED_INCIDENTS", default_value_t = 0.1, value_name = "RATE")]
    pub expected_incidents: f64,
    /// Confidence with which alarms keep the least precision
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_CONFIDENCE", default_value_t = 0.9, value_name = "SHARE")]
    pub confidence: f64,
    /// What a missed incident costs
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_MISSED_COST", default_value_t = 10.0, value_name = "COST")]
    pub missed_cost: f64,
    /// What a false alarm costs
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_FALSE_ALARM_COST", default_value_t = 1.0, value_name = "COST")]
    pub false_alarm_cost: f64,
    /// Least share of alarms that meet an incident: the threshold is the cheapest of those that are expected to keep it, or the
    /// most precise where none is; 0 goes by cost alone
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_LEAST_PRECISION", default_value_t = 0.9, value_name = "SHARE")]
    pub least_precision: f64,
    /// Share of readings above the threshold where nothing is labelled and nothing can be injected
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_EXPECTED_SHARE", default_value_t = 0.002, value_name = "SHARE")]
    pub expected_share: f64,
    /// Hours after an incident that teach nothing, since windows still remember it
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_AFTERMATH_HOURS", default_value_t = 2.0, value_name = "HOURS")]
    pub aftermath_hours: f64,
    /// Fewest readings in a row that raise an alarm, and as many where no incident is labelled
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_RAISE_AFTER", default_value_t = 2, value_name = "READINGS")]
    pub raise_after: u16,
    /// Most readings in a row that raise an alarm: the number is chosen together with the threshold
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_RAISE_AFTER_AT_MOST", default_value_t = 4, value_name = "READINGS")]
    pub raise_after_at_most: u16,
    /// Usual readings in a row that end an alarm
    #[arg(long, env = "BERTH_TRAINER_ANOMALY_CLEAR_AFTER", default_value_t = 3, value_name = "READINGS")]
    pub clear_after: u16,
}

impl Default for AnomalySettings {
    fn default() -> Self {
        Self {
            seed: 7,
            trees: 100,
            samples: 256,
            extension: 0,
            test_share: 0.3,
            faults_per_kind: 150,
            withheld_kinds: Vec::new(),
            expected_incidents: 0.1,
            confidence: 0.9,
            missed_cost: 10.0,
            false_alarm_cost: 1.0,
            least_precision: 0.9,
            expected_share: 0.002,
            aftermath_hours: 2.0,
            raise_after: 2,
            raise_after_at_most: 4,
            clear_after: 3,
        }
    }
}

/// Each is some tens of rows.
const MOST_FAULTS: usize = 10_000;

/// A node that says it has been up for less was just restarted; three readings see it.
const JUST_RESTARTED_HOURS: f32 = 0.25;

impl AnomalySettings {
    /// Checks every value that `models` does not check.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), runtime::WrongUse> {
        let wrong = |key: &str, rule: &str, got: f64| {
            Err(runtime::WrongUse(format!("`{key}` of [trainer.anomaly] must be {rule}, got {got}")))
        };
        if !(0.05..=0.6).contains(&self.test_share) {
            return wrong("test_share", "between 0.05 and 0.6", self.test_share);
        }
        if self.faults_per_kind > MOST_FAULTS {
            return wrong("faults_per_kind", "at most 10000", self.faults_per_kind as f64);
        }
        if !(self.expected_incidents > 0.0 && self.expected_incidents <= 24.0) {
            return wrong("expected_incidents", "above 0 and at most 24", self.expected_incidents);
        }
        if !(0.5..1.0).contains(&self.confidence) {
            return wrong("confidence", "at least 0.5 and below 1", self.confidence);
        }
        for (key, cost) in [("missed_cost", self.missed_cost), ("false_alarm_cost", self.false_alarm_cost)] {
            if !(cost > 0.0 && cost.is_finite()) {
                return wrong(key, "finite and above 0", cost);
            }
        }
        if !(0.0..=1.0).contains(&self.least_precision) {
            return wrong("least_precision", "between 0 and 1", self.least_precision);
        }
        if !(self.expected_share > 0.0 && self.expected_share <= 0.5) {
            return wrong("expected_share", "above 0 and at most 0.5", self.expected_share);
        }
        if !(0.0..=168.0).contains(&self.aftermath_hours) {
            return wrong("aftermath_hours", "between 0 and 168", self.aftermath_hours);
        }
        if self.raise_after == 0 || self.clear_after == 0 {
            return wrong("raise_after and clear_after", "at least 1", 0.0);
        }
        if !(self.raise_after..=12).contains(&self.raise_after_at_most) {
            return wrong(
                "raise_after_at_most",
                "at least `raise_after` and at most 12",
                self.raise_after_at_most.into(),
            );
        }
        Ok(())
    }

    /// What a threshold is chosen by.
    pub fn costs(&self) -> Costs {
        Costs { missed: self.missed_cost, false_alarm: self.false_alarm_cost, least_precision: self.least_precision }
    }

    /// The classifier of faults that is wanted: shallow trees over every column of the patterns. Sizes are guesses that more of
    /// either did not improve on the built-in cluster and on the traces.
    pub fn classifier(&self) -> ClassifierSettings {
        let rules = features::patterns::RULE_COLUMNS;
        let columns = features::patterns::columns()
            .iter()
            .filter(|column| !rules.contains(column) || **column == "memory_utilization");
        ClassifierSettings {
            columns: columns.map(|column| (*column).to_owned()).collect(),
            rounds: 200,
            max_depth: 4,
            learning_rate: 0.08,
            most_usual_rows: 30_000,
        }
    }

    /// The detector that is wanted: one forest per pattern, rules on availability.
    pub fn detector(&self) -> DetectorSettings {
        let members = ANOMALY_PATTERNS.iter().map(|pattern| MemberSettings {
            name: pattern.name.to_owned(),
            kind: match pattern.subject {
                Subject::Cpu | Subject::Network => AnomalyKind::Performance,
                Subject::Memory | Subject::Disk => AnomalyKind::Resource,
            },
            columns: pattern.columns.iter().map(|column| (*column).to_owned()).collect(),
            // What falls is no shortage, and falls after every incident. Traffic can be too little or too much.
            side: match pattern.subject {
                Subject::Cpu | Subject::Memory | Subject::Disk => Side::Above,
                Subject::Network => Side::Both,
            },
        });
        DetectorSettings {
            forest: ForestSettings { trees: self.trees, samples: self.samples, extension: self.extension },
            members: members.collect(),
            rules: vec![
                // Memory is a gauge. A rate is missing for a window longer, while the node answers again.
                Rule::Missing { feature: "memory_utilization".to_owned(), while_known: "pods_running".to_owned() },
                Rule::Below { feature: "uptime_hours".to_owned(), limit: JUST_RESTARTED_HOURS },
            ],
            alarms: AlarmSettings {
                raise_after: self.raise_after,
                clear_after: self.clear_after,
                ..AlarmSettings::default()
            },
            expected_share: self.expected_share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_file_have_the_same_keys_and_defaults() {
        crate::testing::assert_flags_and_file_agree::<AnomalySettings>();
    }

    #[test]
    fn a_value_out_of_range_names_its_key() {
        let error = AnomalySettings { missed_cost: 0.0, ..AnomalySettings::default() }.validate().expect_err("free");
        assert_eq!(error.to_string(), "`missed_cost` of [trainer.anomaly] must be finite and above 0, got 0");
        assert!(AnomalySettings::default().validate().is_ok());
    }
}
