//! How the load predictor is made by default: which features, how many rows, which booster. Chosen by cross-validation
//! inside the first seven tenths of two public traces (`trainer compare` repeats the comparison); no test row was used.

use cluster::Resource;
use models::Loss;
use models::learners::GradientBoosting;
use models::load::HeadSettings;
use serde::{Deserialize, Serialize};

/// Features that only a long history can pay for: the same hour on earlier days. Without gain on both traces.
pub const SEASONAL: &[&str] =
    &["next_{h}h_yesterday - {r}_mean_1h", "next_{h}h_daily_mean - {r}_mean_1h", "hour_yesterday - {r}_mean_1h"];

/// The node's own level relative to the mean of its last hour, which is the one absolute level among them.
const OWN: &[&str] = &[
    "{r}_mean_1h",
    "{r}_utilization - {r}_mean_1h",
    "{r}_lag_5m - {r}_mean_1h",
    "{r}_lag_10m - {r}_mean_1h",
    "{r}_lag_15m - {r}_mean_1h",
    "{r}_lag_30m - {r}_mean_1h",
    "{r}_lag_45m - {r}_mean_1h",
    "{r}_lag_1h - {r}_mean_1h",
    "{r}_lag_2h - {r}_mean_1h",
    "{r}_mean_15m - {r}_mean_1h",
    "{r}_mean_30m - {r}_mean_1h",
    "{r}_mean_2h - {r}_mean_1h",
    "{r}_mean_6h - {r}_mean_1h",
    "{r}_mean_24h - {r}_mean_1h",
    "{r}_ewma_1h - {r}_mean_1h",
    "{r}_ewma_3h - {r}_mean_1h",
];

/// How restless the level is and where it is going.
const SHAPE: &[&str] = &[
    "{r}_std_1h",
    "{r}_std_6h",
    "{r}_std_24h",
    "{r}_max_1h - {r}_mean_1h",
    "{r}_max_6h - {r}_mean_1h",
    "{r}_max_24h - {r}_mean_1h",
    "{r}_min_1h - {r}_mean_1h",
    "{r}_min_6h - {r}_mean_1h",
    "{r}_min_24h - {r}_mean_1h",
    "{r}_change_1h",
    "{r}_change_1h_before",
    "{r}_slope_1h",
    "{r}_restlessness_1h",
    "{r}_restlessness_24h",
];

/// What kind of node it is.
const NODE: &[&str] = &["{r}_mean_7d - {r}_mean_1h", "{r}_std_7d", "{r}_max_7d - {r}_mean_1h", "{r}_min_7d"];

/// Time of day. Weekday and minute of the hour lose on short histories and are left out.
const CALENDAR: &[&str] = &["minute_of_day", "day_sin", "day_cos"];

/// The other resource and the other nodes: a gain on many nodes over weeks, a loss on few nodes over days.
const SURROUNDINGS: &[&str] = &[
    "{o}_mean_1h",
    "{o}_utilization - {o}_mean_1h",
    "{o}_mean_15m - {o}_mean_1h",
    "{o}_mean_24h - {o}_mean_1h",
    "{o}_change_1h",
    "{o}_std_1h",
    "cluster_{r}_mean_1h",
    "cluster_{r}_utilization - cluster_{r}_mean_1h",
    "cluster_{r}_mean_24h - cluster_{r}_mean_1h",
    "cluster_{r}_change_1h",
    "{r}_over_cluster",
];

/// Training history from which [`SURROUNDINGS`] pay: two weeks.
const SURROUNDINGS_FROM_HOURS: f64 = 14.0 * 24.0;

/// What the baseline mixes: the last value, the last quarter of an hour, the last hour.
const BASELINE: &[&str] = &["{r}_utilization", "{r}_mean_15m", "{r}_mean_1h"];

fn filled(patterns: &[&str], resource: Resource) -> Vec<String> {
    let other = match resource {
        Resource::Cpu => Resource::Memory,
        Resource::Memory => Resource::Cpu,
    };
    patterns.iter().map(|pattern| pattern.replace("{r}", resource.as_str()).replace("{o}", other.as_str())).collect()
}

/// A set of columns that a head may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnSet {
    /// The node's own series and the time of day.
    Lean,
    /// The same with the other resource and the other nodes.
    WithSurroundings,
}

impl ColumnSet {
    /// The set for a training history of `hours`: below two weeks the other nodes say more about the few days that were
    /// seen than about those to come. By the length of the history and not by the error on a slice of it, which chose
    /// differently from fold to fold.
    pub fn for_history(hours: f64) -> Self {
        if hours < SURROUNDINGS_FROM_HOURS { Self::Lean } else { Self::WithSurroundings }
    }

    /// The columns that a booster of `resource` reads.
    pub fn columns(self, resource: Resource) -> Vec<String> {
        let mut columns = [OWN, SHAPE, NODE, CALENDAR].map(|group| filled(group, resource)).concat();
        if self == Self::WithSurroundings {
            columns.extend(filled(SURROUNDINGS, resource));
        }
        columns
    }
}

/// Calendar columns taken out.
pub fn without_calendar(columns: &[String]) -> Vec<String> {
    columns.iter().filter(|column| !CALENDAR.contains(&column.as_str())).cloned().collect()
}

/// The same hour on earlier days, for one resource and horizon.
pub fn seasonal_columns(resource: Resource, horizon_hours: u32) -> Vec<String> {
    let own = |pattern: &&str| {
        format!("{resource}_{}", pattern.replace("{h}", &horizon_hours.to_string()).replace("{r}", resource.as_str()))
    };
    SEASONAL.iter().map(own).collect()
}

/// All columns that any head, baseline or variant reads: what is loaded from a dataset.
pub fn all_columns() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for resource in Resource::ALL {
        let seasonal =
            models::load::Horizon::ALL.into_iter().flat_map(|horizon| seasonal_columns(resource, horizon.hours()));
        for column in
            filled(BASELINE, resource).into_iter().chain(ColumnSet::WithSurroundings.columns(resource)).chain(seasonal)
        {
            if !all.contains(&column) {
                all.push(column);
            }
        }
    }
    all
}

/// The columns that the load predictor itself reads: its schema.
pub fn schema_columns() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for resource in Resource::ALL {
        for column in filled(BASELINE, resource).into_iter().chain(ColumnSet::WithSurroundings.columns(resource)) {
            if !all.contains(&column) {
                all.push(column);
            }
        }
    }
    all
}

/// Hyper-parameters of the boosters, section `[trainer.booster]`; the rest of a head's settings follows from them.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Trees of the median, at most
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_ROUNDS",
        default_value_t = 200,
        value_name = "TREES",
        help_heading = "Booster"
    )]
    pub rounds: usize,
    /// Trees of the P90, at most
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_UPPER_ROUNDS",
        default_value_t = 120,
        value_name = "TREES",
        help_heading = "Booster"
    )]
    pub upper_rounds: usize,
    /// Shrinkage of each tree
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_LEARNING_RATE",
        default_value_t = 0.04,
        value_name = "RATE",
        help_heading = "Booster"
    )]
    pub learning_rate: f64,
    /// Splits from root to leaf
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_MAX_DEPTH",
        default_value_t = 4,
        value_name = "DEPTH",
        help_heading = "Booster"
    )]
    pub max_depth: usize,
    /// Rows in a leaf, at least
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_MIN_CHILD_WEIGHT",
        default_value_t = 50.0,
        value_name = "ROWS",
        help_heading = "Booster"
    )]
    pub min_child_weight: f64,
    /// Share of the rows per tree
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_SUBSAMPLE",
        default_value_t = 0.7,
        value_name = "SHARE",
        help_heading = "Booster"
    )]
    pub subsample: f64,
    /// Share of the features per tree
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_COLUMN_SAMPLE",
        default_value_t = 0.5,
        value_name = "SHARE",
        help_heading = "Booster"
    )]
    pub column_sample: f64,
    /// L2 penalty on leaf values
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_LAMBDA",
        default_value_t = 5.0,
        value_name = "PENALTY",
        help_heading = "Booster"
    )]
    pub lambda: f64,
    /// Histogram bins per feature
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_MAX_BINS",
        default_value_t = 64,
        value_name = "BINS",
        help_heading = "Booster"
    )]
    pub max_bins: usize,
    /// Models from different seeds that are averaged into one file
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_BAGS",
        default_value_t = 1,
        value_name = "MODELS",
        help_heading = "Booster"
    )]
    pub bags: usize,
    /// Stop after so many rounds without a better loss; 0 grows all rounds
    #[arg(
        long,
        env = "BERTH_TRAINER_BOOSTER_EARLY_STOPPING",
        default_value_t = 40,
        value_name = "ROUNDS",
        help_heading = "Booster"
    )]
    pub early_stopping: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rounds: 200,
            upper_rounds: 120,
            learning_rate: 0.04,
            max_depth: 4,
            min_child_weight: 50.0,
            subsample: 0.7,
            column_sample: 0.5,
            lambda: 5.0,
            max_bins: 64,
            bags: 1,
            early_stopping: 40,
        }
    }
}

impl Recipe {
    /// A booster with these hyper-parameters and all rounds, without early stopping.
    pub fn booster(&self, loss: Loss) -> GradientBoosting {
        GradientBoosting {
            loss,
            rounds: self.rounds,
            learning_rate: self.learning_rate,
            max_depth: self.max_depth,
            min_child_weight: self.min_child_weight,
            subsample: self.subsample,
            column_sample: self.column_sample,
            lambda: self.lambda,
            max_bins: self.max_bins,
            bags: self.bags,
            ..GradientBoosting::default()
        }
    }

    /// The settings of a head of `resource` that reads `columns`.
    pub fn head(&self, resource: Resource, columns: ColumnSet) -> HeadSettings {
        let early_stopping = std::num::NonZeroUsize::new(self.early_stopping);
        HeadSettings {
            baseline: filled(BASELINE, resource),
            features: columns.columns(resource),
            median: GradientBoosting { early_stopping, ..self.booster(Loss::Absolute) },
            upper: GradientBoosting { early_stopping, rounds: self.upper_rounds, ..self.booster(Loss::Quantile(0.9)) },
            ..HeadSettings::default()
        }
    }

    /// Checks what the boosters do not check with a name that the user knows.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), runtime::WrongUse> {
        let wrong = |key: &str, rule: &str, got: &dyn std::fmt::Display| {
            Err(runtime::WrongUse(format!("`{key}` of [trainer.booster] must be {rule}, got {got}")))
        };
        if self.rounds == 0 || self.upper_rounds == 0 {
            return wrong("rounds", "at least 1", &0);
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return wrong("learning_rate", "above 0, at most 1", &self.learning_rate);
        }
        if !(1..=16).contains(&self.max_depth) {
            return wrong("max_depth", "between 1 and 16", &self.max_depth);
        }
        for (key, share) in [("subsample", self.subsample), ("column_sample", self.column_sample)] {
            if !(share > 0.0 && share <= 1.0) {
                return wrong(key, "above 0, at most 1", &share);
            }
        }
        if !(1..=20).contains(&self.bags) {
            return wrong("bags", "between 1 and 20", &self.bags);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    #[test]
    fn every_column_is_in_the_catalogue() {
        features::Selection::new(&all_columns()).expect("known features");
        assert!(schema_columns().iter().all(|column| all_columns().contains(column)));
    }

    #[test]
    fn the_flags_default_to_the_recipe() {
        let matches = <Recipe as clap::Args>::augment_args(clap::Command::new("test")).get_matches_from(["test"]);
        assert_eq!(Recipe::from_arg_matches(&matches).expect("parsed"), Recipe::default());
    }

    #[test]
    fn a_recipe_out_of_range_names_the_key() {
        let error = Recipe { subsample: 0.0, ..Recipe::default() }.validate().expect_err("no rows");
        assert_eq!(error.to_string(), "`subsample` of [trainer.booster] must be above 0, at most 1, got 0");
    }
}
