//! Which scenarios a command runs.

use super::{
    CombineSettings, HistorySettings, InputError, OpenbTrace, PodLives, Shape, Synthetic, UsageLibrary, UsageSet,
    combine, read_history,
};
use crate::world::Scenario;
use clap::{Args, ValueEnum};
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use store::Store;

/// A scenario by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScenarioKind {
    /// Made up: services with daily courses and batch jobs
    Mixed,
    /// Made up: services that use far more or far less than they request
    Misrequested,
    /// Made up: mostly jobs, which come in bursts
    Bursts,
    /// Made up: memory is what is short
    Memory,
    /// Made up: tainted and labelled pools, zones, affinity and spread constraints
    Pools,
    /// Real: nodes and pods of openb with the usage of real machines (needs --trace)
    Openb,
    /// Your own: the tables that `collector` wrote
    History,
}

impl ScenarioKind {
    const fn shape(self) -> Option<Shape> {
        match self {
            Self::Mixed => Some(Shape::Mixed),
            Self::Misrequested => Some(Shape::Misrequested),
            Self::Bursts => Some(Shape::Bursts),
            Self::Memory => Some(Shape::Memory),
            Self::Pools => Some(Shape::Pools),
            Self::Openb | Self::History => None,
        }
    }
}

/// Section `[simulator.scenario]`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioArgs {
    /// Which scenarios, separated by commas
    #[arg(
        long,
        env = "BERTH_SIMULATOR_SCENARIO",
        value_delimiter = ',',
        default_value = "mixed",
        value_name = "NAMES"
    )]
    pub scenario: Vec<ScenarioKind>,
    /// How many nodes a made-up cluster has
    #[arg(long, env = "BERTH_SIMULATOR_SIZE", default_value_t = 60, value_name = "NODES")]
    pub size: usize,
    /// How many days; of a history the last ones
    #[arg(long, env = "BERTH_SIMULATOR_DAYS", default_value_t = 2.0)]
    pub days: f64,
    /// Share of its CPU that a made-up cluster requests
    #[arg(long, env = "BERTH_SIMULATOR_LOAD", default_value_t = 0.75, value_name = "RATIO")]
    pub load: f64,
    /// Folder of the public traces: openb, and bitbrains-rnd or planetlab for usage
    #[arg(long, env = "BERTH_TRACES", value_name = "DIR")]
    pub trace: Option<PathBuf>,
    /// Where the pods of openb take their usage from
    #[arg(long, env = "BERTH_SIMULATOR_USAGE", default_value = "bitbrains", value_name = "SET")]
    pub usage: UsageSet,
    /// How long the pods of openb live
    #[arg(long, env = "BERTH_SIMULATOR_LIVES", default_value = "stay", value_name = "RULE")]
    pub lives: PodLives,
    /// Mean CPU usage of the pods of openb, as a share of their requests
    #[arg(long, env = "BERTH_SIMULATOR_CPU_RATIO", default_value_t = 0.8, value_name = "RATIO")]
    pub cpu_ratio: f64,
    /// Mean memory usage of the pods of openb, as a share of their requests
    #[arg(long, env = "BERTH_SIMULATOR_MEMORY_RATIO", default_value_t = 0.6, value_name = "RATIO")]
    pub memory_ratio: f64,
    /// Share of openb's nodes and pods that is taken
    #[arg(long, env = "BERTH_SIMULATOR_SHARE", default_value_t = 1.0, value_name = "RATIO")]
    pub share: f64,
}

/// Sources that are read once for all seeds.
#[derive(Debug)]
pub struct Sources<'a> {
    args: &'a ScenarioArgs,
    store: &'a Store,
    traces: Option<(OpenbTrace, UsageLibrary)>,
}

impl ScenarioArgs {
    /// Reads what the scenarios need.
    ///
    /// # Errors
    /// When a trace is wanted and no folder is named, or it cannot be read.
    pub fn open<'a>(&'a self, store: &'a Store) -> Result<Sources<'a>, InputError> {
        let traces = if self.scenario.contains(&ScenarioKind::Openb) {
            let folder = self.trace.as_deref().ok_or_else(|| {
                WrongUse("scenario `openb` needs the folder of the traces: --trace DIR or BERTH_TRACES".to_owned())
            })?;
            Some((OpenbTrace::read(folder)?, UsageLibrary::read(folder, self.usage)?))
        } else {
            None
        };
        Ok(Sources { args: self, store, traces })
    }
}

impl Sources<'_> {
    /// Makes a scenario. A history is the same for every seed.
    ///
    /// # Errors
    /// When a setting is out of range or a source cannot be read.
    pub fn build(&self, kind: ScenarioKind, seed: u64) -> Result<Scenario, InputError> {
        let args = self.args;
        if let Some(shape) = kind.shape() {
            return Synthetic { shape, nodes: args.size, days: args.days, load: args.load, seed }.build();
        }
        match (&self.traces, kind) {
            (Some((trace, library)), ScenarioKind::Openb) => {
                let settings = CombineSettings {
                    days: args.days,
                    seed,
                    lives: args.lives,
                    cpu_ratio: args.cpu_ratio,
                    memory_ratio: args.memory_ratio,
                    share: args.share,
                };
                combine(trace, library, &settings)
            }
            _ => read_history(self.store, &HistorySettings { days: args.days }),
        }
    }
}
