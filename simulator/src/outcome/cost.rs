//! One number for a run: outcome metrics, weighted in the open.

use super::Outcome;
use clap::Args;
use cluster::TARGET_UTILIZATION;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};

/// Section `[simulator.cost]`: what a unit of each outcome costs, in the worth of one node-minute over 80 % CPU.
///
/// The weights are judgements, and are printed beside every cost. Why these: a node-minute over 90 % is three times as bad
/// as one over 80 % (both are counted for it); a throttled pod-minute is half a hot node-minute, since it is one pod of
/// several; a memory kill takes a pod half an hour to make good; a pod that waits is as bad as one that is throttled.
/// Imbalance, stranded capacity and P95 utilization over the target are ratios for the whole cluster, so they are
/// multiplied by its node-minutes; their weights are small, since they matter through the others: an imbalance of 10 points costs as
/// much as two of 1,000 node-minutes over 80 %.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostWeights {
    /// Cost of a node-minute over 80 % CPU
    #[arg(long, env = "BERTH_COST_HOT_80", default_value_t = 1.0, value_name = "WEIGHT")]
    pub hot_80: f64,
    /// Cost of a node-minute over 90 % CPU, on top of that over 80 %
    #[arg(long, env = "BERTH_COST_HOT_90", default_value_t = 2.0, value_name = "WEIGHT")]
    pub hot_90: f64,
    /// Cost of a pod-minute in which a pod gets less CPU than it wants
    #[arg(long, env = "BERTH_COST_THROTTLED", default_value_t = 0.5, value_name = "WEIGHT")]
    pub throttled: f64,
    /// Cost of a pod killed for memory
    #[arg(long, env = "BERTH_COST_EVICTION", default_value_t = 30.0, value_name = "WEIGHT")]
    pub eviction: f64,
    /// Cost of a minute in which a pod waits for a node
    #[arg(long, env = "BERTH_COST_PENDING", default_value_t = 0.5, value_name = "WEIGHT")]
    pub pending: f64,
    /// Cost of the standard deviation of CPU utilization over the nodes, per node-minute
    #[arg(long, env = "BERTH_COST_IMBALANCE", default_value_t = 0.02, value_name = "WEIGHT")]
    pub imbalance: f64,
    /// Cost of the share of capacity that no median pod can use, per node-minute
    #[arg(long, env = "BERTH_COST_STRANDED", default_value_t = 0.02, value_name = "WEIGHT")]
    pub stranded: f64,
    /// Cost of P95 utilization over the target of 0.65, per node-minute
    #[arg(long, env = "BERTH_COST_P95", default_value_t = 0.02, value_name = "WEIGHT")]
    pub p95_over_target: f64,
}

impl Default for CostWeights {
    fn default() -> Self {
        Self {
            hot_80: 1.0,
            hot_90: 2.0,
            throttled: 0.5,
            eviction: 30.0,
            pending: 0.5,
            imbalance: 0.02,
            stranded: 0.02,
            p95_over_target: 0.02,
        }
    }
}

/// One part of a cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CostPart {
    /// Which outcome.
    pub name: &'static str,
    /// Its weight.
    pub weight: f64,
    /// What it adds, per 1,000 node-minutes.
    pub cost: f64,
}

impl CostWeights {
    /// Checks the weights.
    ///
    /// # Errors
    /// [`WrongUse`] that names the weight.
    pub fn check(&self) -> Result<(), WrongUse> {
        for (name, weight, _) in self.terms(&Outcome::default()) {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(WrongUse(format!("cost weight `{name}` is {weight}, want a number of at least 0")));
            }
        }
        Ok(())
    }

    /// The parts, per 1,000 node-minutes of the run.
    pub fn parts(&self, outcome: &Outcome) -> Vec<CostPart> {
        let scale = 1_000.0 / outcome.node_minutes.max(f64::MIN_POSITIVE);
        let part = |(name, weight, amount)| CostPart { name, weight, cost: weight * amount * scale };
        self.terms(outcome).into_iter().map(part).collect()
    }

    /// The cost: the sum of the parts, per 1,000 node-minutes. 1 means that of 1,000 node-minutes one is over 80 %.
    pub fn cost(&self, outcome: &Outcome) -> f64 {
        self.parts(outcome).iter().map(|part| part.cost).sum()
    }

    fn terms(&self, outcome: &Outcome) -> [(&'static str, f64, f64); 8] {
        let whole = outcome.node_minutes;
        [
            ("hot_80", self.hot_80, outcome.hot_80_minutes),
            ("hot_90", self.hot_90, outcome.hot_90_minutes),
            ("throttled", self.throttled, outcome.throttled_pod_minutes),
            ("eviction", self.eviction, outcome.evictions as f64),
            ("pending", self.pending, outcome.pending_pod_minutes),
            ("imbalance", self.imbalance, outcome.imbalance * whole),
            ("stranded", self.stranded, outcome.stranded_share * whole),
            ("p95_over_target", self.p95_over_target, (outcome.p95_utilization - TARGET_UTILIZATION).max(0.0) * whole),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_the_weighted_sum_per_thousand_node_minutes() {
        let outcome = Outcome {
            node_minutes: 2_000.0,
            hot_80_minutes: 40.0,
            hot_90_minutes: 10.0,
            throttled_pod_minutes: 20.0,
            evictions: 1,
            pending_pod_minutes: 8.0,
            imbalance: 0.2,
            stranded_share: 0.1,
            p95_utilization: 0.85,
            ..Outcome::default()
        };
        // By hand: (40 + 20 + 10 + 30 + 4) ÷ 2 = 52, and 20 × (0.2 + 0.1 + 0.2) = 10.
        let cost = CostWeights::default().cost(&outcome);
        assert!((cost - 62.0).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn a_weight_below_zero_is_named() {
        let weights = CostWeights { pending: -1.0, ..CostWeights::default() };
        assert!(weights.check().expect_err("refused").to_string().contains("`pending` is -1"));
    }
}
