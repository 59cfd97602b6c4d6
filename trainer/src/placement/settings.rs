//! The section `[trainer.placement]`.

use agent::{DqnSettings, Priority};
use clap::Args;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use simulator::learning::{EpisodeSettings, Smoothing};

/// How the placement agent is trained.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementSettings {
    /// Episodes: simulated clusters that it learns in
    #[arg(long, env = "BERTH_PLACEMENT_EPISODES", default_value_t = 16, value_name = "COUNT")]
    pub episodes: u64,
    /// Rounds of the search for a rule to begin as, before the episodes; each runs 16 rules on 12 clusters, 0 leaves it out
    #[arg(long, env = "BERTH_PLACEMENT_SEARCH_ROUNDS", default_value_t = 8, value_name = "COUNT")]
    pub search_rounds: u64,
    /// Nodes of a cluster, on average; from six tenths to fourteen tenths of it
    #[arg(long, env = "BERTH_PLACEMENT_NODES", default_value_t = 30, value_name = "NODES")]
    pub nodes: usize,
    /// Days of an episode
    #[arg(long, env = "BERTH_PLACEMENT_DAYS", default_value_t = 1.5)]
    pub days: f64,
    /// Updates of the network after each episode
    #[arg(long, env = "BERTH_PLACEMENT_UPDATES", default_value_t = 250, value_name = "COUNT")]
    pub updates: u64,
    /// Units of the hidden layers, separated by commas
    #[arg(long, env = "BERTH_PLACEMENT_HIDDEN", value_delimiter = ',', default_value = "64,32", value_name = "UNITS")]
    pub hidden: Vec<usize>,
    /// Step size of Adam at the start; a tenth of it at the end
    #[arg(long, env = "BERTH_PLACEMENT_LEARNING_RATE", default_value_t = 3e-5, value_name = "RATE")]
    pub learning_rate: f64,
    /// Worth of the cost in an hour relative to that in the hour before it
    #[arg(long, env = "BERTH_PLACEMENT_DISCOUNT", default_value_t = 0.85, value_name = "SHARE")]
    pub discount: f64,
    /// Hours of cost that are added up before the rest is estimated (the n of n-step returns)
    #[arg(long, env = "BERTH_PLACEMENT_HOURS", default_value_t = 20, value_name = "HOURS")]
    pub hours: u32,
    /// Candidates beside the chosen one whose outcome is worked out for each decision
    #[arg(long, env = "BERTH_PLACEMENT_OTHERS", default_value_t = 8, value_name = "COUNT")]
    pub others: usize,
    /// Half-width of the ramp that a limit of utilization is taken for when a choice is judged
    #[arg(long, env = "BERTH_PLACEMENT_RAMP", default_value_t = 0.1, value_name = "RATIO")]
    pub ramp: f64,
    /// Cost of squared utilization per node-minute when a choice is judged, for what may come
    #[arg(long, env = "BERTH_PLACEMENT_EVEN", default_value_t = 0.0, value_name = "WEIGHT")]
    pub even: f64,
    /// Share of random choices at the start; a tenth of it at the end
    #[arg(long, env = "BERTH_PLACEMENT_EPSILON", default_value_t = 0.2, value_name = "SHARE")]
    pub epsilon: f64,
    /// Draw transitions by their error
    #[arg(long, env = "BERTH_PLACEMENT_PRIORITISED")]
    pub prioritised: bool,
    /// Episodes between two looks at clusters that it does not learn in; the best network seen there is kept
    #[arg(long, env = "BERTH_PLACEMENT_LOOK_EVERY", default_value_t = 2, value_name = "COUNT")]
    pub look_every: u64,
    /// Seed of every draw: the same seed, settings and version give the same network
    #[arg(long, env = "BERTH_PLACEMENT_SEED", default_value_t = 7, value_name = "SEED")]
    pub seed: u64,
}

impl Default for PlacementSettings {
    fn default() -> Self {
        Self {
            episodes: 16,
            search_rounds: 8,
            nodes: 30,
            days: 1.5,
            updates: 250,
            hidden: vec![64, 32],
            learning_rate: 3e-5,
            discount: 0.85,
            hours: 20,
            others: 8,
            ramp: 0.1,
            even: 0.0,
            epsilon: 0.2,
            prioritised: false,
            look_every: 2,
            seed: 7,
        }
    }
}

/// Cost in the worth of hot node-minutes that makes a reward of −1: one hot node-hour.
pub const REWARD_UNIT: f64 = 60.0;
/// Errors of up to five hot node-hours count squared: costs are rare and large, and their mean is what matters.
const HUBER: f64 = 5.0;
/// Transitions kept; at 38 features each takes 320 bytes.
const CAPACITY: usize = 120_000;

impl PlacementSettings {
    /// Checks the values that the learner does not check.
    ///
    /// # Errors
    /// [`WrongUse`] that names the setting, the limit and the value.
    pub fn check(&self) -> Result<(), WrongUse> {
        let wrong = |name: &str, got: String, wanted: &str| Err(WrongUse(format!("--{name} is {got}, want {wanted}")));
        if !(1..=500).contains(&self.episodes) {
            return wrong("episodes", self.episodes.to_string(), "1 to 500");
        }
        if self.search_rounds > 500 {
            return wrong("search-rounds", self.search_rounds.to_string(), "at most 500");
        }
        if !(4..=1_000).contains(&self.nodes) {
            return wrong("nodes", self.nodes.to_string(), "4 to 1000");
        }
        if !(0.25..=14.0).contains(&self.days) {
            return wrong("days", self.days.to_string(), "0.25 to 14");
        }
        if !(0.0..1.0).contains(&self.discount) {
            return wrong("discount", self.discount.to_string(), "0 up to but not 1");
        }
        if !(1..=48).contains(&self.hours) {
            return wrong("hours", self.hours.to_string(), "1 to 48");
        }
        if !(self.ramp > 0.0 && self.ramp <= 0.5) {
            return wrong("ramp", self.ramp.to_string(), "above 0, at most 0.5");
        }
        if !(self.even >= 0.0 && self.even.is_finite()) {
            return wrong("even", self.even.to_string(), "at least 0");
        }
        if self.updates == 0 || self.look_every == 0 {
            return wrong(
                "updates",
                format!("{} and --look-every {}", self.updates, self.look_every),
                "at least 1 each",
            );
        }
        self.learner().check().map_err(|error| WrongUse(error.to_string()))
    }

    /// The learner's part.
    pub fn learner(&self) -> DqnSettings {
        DqnSettings {
            hidden: self.hidden.clone(),
            learning_rate: self.learning_rate,
            final_learning_rate: self.learning_rate / 10.0,
            capacity: CAPACITY,
            huber: HUBER,
            epsilon: self.epsilon,
            final_epsilon: self.epsilon / 10.0,
            decay_episodes: (self.episodes * 8 / 10).max(1),
            priority: self.prioritised.then(Priority::default),
            seed: self.seed,
            ..DqnSettings::default()
        }
    }

    /// The environment's part.
    pub fn episode(&self) -> EpisodeSettings {
        let smoothing = Smoothing { ramp: self.ramp, even: self.even };
        EpisodeSettings { others: self.others, hours: self.hours, smoothing, every: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{FromArgMatches, Parser};

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        settings: PlacementSettings,
    }

    #[test]
    fn the_defaults_are_the_same_twice_and_are_fine() {
        let parsed = Only::from_arg_matches(&<Only as clap::CommandFactory>::command().get_matches_from(["x"]));
        assert_eq!(parsed.expect("defaults").settings, PlacementSettings::default());
        assert!(PlacementSettings::default().check().is_ok());
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (bad, named) in [
            (PlacementSettings { episodes: 0, ..Default::default() }, "--episodes is 0"),
            (PlacementSettings { discount: 1.0, ..Default::default() }, "--discount is 1"),
            (PlacementSettings { hidden: vec![0], ..Default::default() }, "`hidden` is [0]"),
        ] {
            assert!(bad.check().expect_err(named).to_string().contains(named));
        }
    }
}
