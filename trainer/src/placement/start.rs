//! What learning begins as: one of a few linear rules or one that was searched from them, whichever is cheapest in clusters
//! that are not learned in.

use models::ModelError;
use models::placement::{Layer, PlacementNetwork};
use serde::{Deserialize, Serialize};

/// A simple policy as the linear part of a network. Weights are in rewards (hot node-hours) per unit of the feature; how
/// they stand to each other decides where pods go, how large they are is a guess that learning corrects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// What it is called in reports.
    pub name: &'static str,
    weights: &'static [(&'static str, f32)],
}

/// The rules to choose among. Of equally cheap ones the first is taken.
pub const RULES: [Rule; 4] = [
    // Found by the search of `search.rs`, from a rule like `course`: 19 rounds of 20 rules on 15 made-up clusters of the kinds
    // `LEARNED` with 30 nodes, a day and seeds above 7,000,000; the mean of the last 13 centres, rounded. On 18 fresh ones of 60 nodes it was typically 38 % cheaper than
    // kube-scheduler, and 16 % cheaper than `course`, which was written by hand. Weights of either sign belong together:
    // load now and in a day count little while there is room, and much near a limit.
    Rule {
        name: "found",
        weights: &[
            ("cpu_after", -0.5),
            ("cpu_mean_15m", 0.2),
            ("cpu_deviation_15m", 0.4),
            ("cpu_after_over_target", -1.2),
            ("cpu_after_hot", -1.0),
            ("cpu_course_mean_after", 0.4),
            ("cpu_course_peak_after", -1.0),
            ("cpu_course_hot_added", -0.7),
            ("cpu_course_over_added", -2.5),
            ("memory_after", -0.3),
            ("memory_peak_after", -0.2),
            ("memory_tight_after", -1.5),
            ("cpu_requested_after", -0.1),
            ("memory_requested_after", -0.1),
            ("requests_skew_after", -0.3),
            ("room_for_large_after", -0.1),
            ("same_workload_share", -0.3),
        ],
    },
    // Less used now and in the day to come.
    Rule { name: "course", weights: &[("cpu_after", -0.5), ("cpu_course_peak_after", -0.5), ("memory_after", -0.3)] },
    // The policy of that name of the simulator: CPU and memory now, equally.
    Rule { name: "least-used", weights: &[("cpu_after", -0.5), ("memory_after", -0.5)] },
    // For clusters whose usage says little: what kube-scheduler goes by, room and balance of requests.
    Rule {
        name: "least-requested",
        weights: &[("cpu_requested_after", -0.5), ("memory_requested_after", -0.5), ("requests_skew_after", -0.5)],
    },
];

impl Rule {
    /// Its weights by feature, in the order of a row.
    pub(super) fn skip(&self) -> Vec<f32> {
        let weight = |name: &String| self.weights.iter().find(|(feature, _)| feature == name).map_or(0.0, |of| of.1);
        features::cluster_state::names().iter().map(weight).collect()
    }
}

/// A network that scores as the linear rule does.
pub(super) fn linear(skip: Vec<f32>) -> Result<PlacementNetwork, ModelError> {
    let inputs = features::cluster_state::WIDTH;
    let silent = Layer { inputs, outputs: 1, weights: vec![0.0; inputs], bias: vec![0.0] };
    PlacementNetwork::new(features::cluster_state::names(), skip, vec![silent])
}

/// The name of the rule that was searched for in this training.
pub(super) const SEARCHED: &str = "searched";

/// What a rule came to before learning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The rule's name.
    pub rule: String,
    /// Mean cost in the clusters that are looked at.
    pub cost: f64,
    /// The typical ratio of it to kube-scheduler's on the same clusters, less 1.
    pub against_kube: f64,
}

/// The place of the cheapest.
pub(super) fn cheapest(starts: &[Start]) -> Option<usize> {
    (0..starts.len()).min_by(|a, b| starts[*a].against_kube.total_cmp(&starts[*b].against_kube))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_weighs_features_that_exist_and_scores_by_them() {
        for rule in RULES {
            let weighed = rule.skip().iter().filter(|weight| **weight != 0.0).count();
            assert_eq!(weighed, rule.weights.len(), "{}", rule.name);
            let mut row = vec![0.0; features::cluster_state::WIDTH];
            let (feature, weight) = rule.weights[0];
            row[features::cluster_state::index(feature).expect("a feature")] = 2.0;
            let mut scores = Vec::new();
            linear(rule.skip()).expect("a network").score(&row, &mut Default::default(), &mut scores).expect("a row");
            assert_eq!(scores, [2.0 * weight], "{}", rule.name);
        }
    }

    #[test]
    fn the_cheapest_is_begun_with_and_the_first_of_equals() {
        let starts =
            |ratios: [f64; 3]| ratios.map(|against_kube| Start { rule: String::new(), cost: 0.0, against_kube });
        assert_eq!(cheapest(&starts([-0.1, -0.3, 0.2])), Some(1));
        assert_eq!(cheapest(&starts([0.1, 0.1, 0.2])), Some(0));
        assert_eq!(cheapest(&[]), None);
    }
}
