//! What the policies that combine parts score by, section `[simulator.score]`: the same settings as those of `serving`.

use super::AgentArgs;
use crate::policy::Scorer;
use clap::{ArgMatches, Args};
use cluster::score::{PartWeights, Strategy};
use runtime::{ConfigFile, WrongUse};
use serde::{Deserialize, Serialize};

/// Weights and strategy of the policies `predictor`, `agent` and `combined`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreArgs {
    /// Which nodes the load part prefers: `spread` those that are unlikely to become hot, `pack` those that come near 65 %, for
    /// clusters that remove empty nodes
    #[arg(long, env = "BERTH_SIMULATOR_STRATEGY", default_value_t = Strategy::Spread, value_name = "spread|pack")]
    pub strategy: Strategy,
    /// How much the load part counts in `combined`; the three sum to 1
    #[arg(long, env = "BERTH_SIMULATOR_WEIGHT_LOAD", default_value_t = PartWeights::DESIGN.load, value_name = "SHARE")]
    pub weight_load: f64,
    /// How much the placement part counts
    #[arg(long, env = "BERTH_SIMULATOR_WEIGHT_PLACEMENT", default_value_t = PartWeights::DESIGN.placement, value_name = "SHARE")]
    pub weight_placement: f64,
    /// How much the anomaly part counts; the simulator has no anomaly detector, so the others stand in for it
    #[arg(long, env = "BERTH_SIMULATOR_WEIGHT_ANOMALY", default_value_t = PartWeights::DESIGN.anomaly, value_name = "SHARE")]
    pub weight_anomaly: f64,
}

impl ScoreArgs {
    /// Settles the values and reads the network.
    ///
    /// # Errors
    /// Weights that do not sum to 1; see [`AgentArgs::load`].
    pub(super) fn scorer(&self, config: &ConfigFile, given: &ArgMatches, agent: &AgentArgs) -> anyhow::Result<Scorer> {
        let Self { strategy, weight_load, weight_placement, weight_anomaly } =
            config.resolve("simulator.score", self, given)?;
        let weights = PartWeights { load: weight_load, placement: weight_placement, anomaly: weight_anomaly };
        weights.check().map_err(|error| WrongUse(format!("{error} in [simulator.score]")))?;
        Ok(Scorer { agent: agent.load()?, weights, strategy })
    }
}
