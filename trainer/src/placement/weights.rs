//! Search for the weights of a score's parts, by whole runs of the policy `combined` in simulated clusters that nothing else was learned
//! or judged in. The simulator has no anomaly detector: the weight of that part stays, and what is searched is how load and placement
//! share the rest. One number is searched best by trying it.

use super::Clusters;
use super::train::{by, costs};
use cluster::score::{PartWeights, Strategy};
use models::placement::PlacementNetwork;
use serde::Serialize;
use simulator::compare::{Interval, paired_ratio};
use simulator::outcome::CostWeights;
use simulator::policy::{PolicyKind, Scorer};
use simulator::world::Scenario;

/// Shares that the load part has of load and placement together.
const SHARES: [f64; 11] = [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0];

/// Weights that were tried, and what they came to: typical ratios of costs, less 1, paired by cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// The weights.
    pub weights: PartWeights,
    /// Against kube-scheduler's default scoring.
    pub against_kube: Interval,
    /// Against the weights that are the default.
    pub against_default: Interval,
    /// Against the agent alone.
    pub against_agent: Interval,
    /// Against the forecast alone.
    pub against_load: Interval,
}

/// All that was tried, the default weights first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightSearch {
    /// Which nodes the load part preferred.
    pub strategy: Strategy,
    /// In how many clusters.
    pub clusters: usize,
    /// In the order of the share of the load part, the default weights first.
    pub tried: Vec<Tried>,
}

impl WeightSearch {
    /// The cheapest.
    pub fn cheapest(&self) -> Option<&Tried> {
        self.tried.iter().min_by(|a, b| a.against_kube.mean.total_cmp(&b.against_kube.mean))
    }

    /// The cheapest, if it is cheaper than the default for sure; else the default.
    pub fn proposed(&self) -> Option<&Tried> {
        self.cheapest().filter(|tried| tried.against_default.is_below_zero()).or(self.tried.first())
    }
}

/// Tries shares of the load part, beside those of the default weights.
///
/// # Errors
/// When a setting is out of range.
pub fn search_weights(
    clusters: Clusters<'_>,
    weights: &CostWeights,
    network: &PlacementNetwork,
    strategy: Strategy,
    rounds: u64,
    mut told: impl FnMut(&PartWeights),
) -> anyhow::Result<WeightSearch> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for round in 0..rounds {
        scenarios.extend(clusters.to_weigh_in(round)?);
    }
    let run = |kind: PolicyKind, parts: PartWeights| {
        costs(&scenarios, weights, kind, &Scorer { weights: parts, strategy, ..by(network.clone()) })
    };
    let default = PartWeights::default();
    let kube = run(PolicyKind::KubeScheduler, default);
    let of_default = run(PolicyKind::Combined, default);
    let (agent, load) = (run(PolicyKind::Agent, default), run(PolicyKind::Predictor, default));
    let tried = |parts: PartWeights, own: &[f64]| Tried {
        weights: parts,
        against_kube: paired_ratio(own, &kube),
        against_default: paired_ratio(own, &of_default),
        against_agent: paired_ratio(own, &agent),
        against_load: paired_ratio(own, &load),
    };
    let mut all = vec![tried(default, &of_default)];
    for share in SHARES {
        let rest = 1.0 - default.anomaly;
        let parts = PartWeights { load: rest * share, placement: rest * (1.0 - share), ..default };
        let own = run(PolicyKind::Combined, parts);
        all.push(tried(parts, &own));
        told(&parts);
    }
    Ok(WeightSearch { strategy, clusters: scenarios.len(), tried: all })
}

/// How many settings a search tries, for progress.
pub const WEIGHTS_TRIED: usize = SHARES.len();

#[cfg(test)]
mod tests {
    use super::super::PlacementSettings;
    use super::super::start::{RULES, linear};
    use super::*;

    #[test]
    fn parts_alone_are_among_what_is_tried_and_the_default_stays_without_evidence() {
        let settings = PlacementSettings { nodes: 6, days: 0.25, ..PlacementSettings::default() };
        let clusters = Clusters { settings: &settings, history: None };
        let network = linear(RULES[0].skip()).expect("a network");
        let mut told = 0;
        let found = search_weights(clusters, &CostWeights::default(), &network, Strategy::Spread, 1, |_| told += 1)
            .expect("found");
        assert_eq!((found.clusters, found.tried.len(), told), (12, WEIGHTS_TRIED + 1, WEIGHTS_TRIED));
        assert!(found.tried.iter().all(|tried| tried.weights.check().is_ok()));
        // Without a weight of the other part it is that part.
        let close = |interval: Interval| interval.mean.abs() < 1e-12;
        assert!(close(found.tried[0].against_default) && close(found.tried[1].against_agent));
        assert!(close(found.tried[WEIGHTS_TRIED].against_load));
        let unsure = |mean: f64, low: f64, high: f64| Tried {
            against_kube: Interval { mean, low, high },
            against_default: Interval { mean, low, high },
            ..found.tried[0].clone()
        };
        let with = |second: Tried| WeightSearch { tried: vec![unsure(0.0, 0.0, 0.0), second], ..found.clone() };
        let few = with(unsure(-0.1, -0.3, 0.2));
        assert_eq!(few.proposed(), few.tried.first());
        let clear = with(unsure(-0.1, -0.15, -0.05));
        assert_eq!(clear.proposed(), clear.tried.get(1));
    }
}
