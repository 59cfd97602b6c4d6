//! The command line of `simulator`.

mod agent;
mod compare;
mod replay;
mod score;
mod what_if;

pub use agent::{AgentArgs, Network};
pub use score::ScoreArgs;

use crate::input::InputError;
use crate::policy::PolicyKind;
use clap::{ArgMatches, Args, Parser, Subcommand};
use runtime::settings::{ConfigArgs, innermost};
use runtime::telemetry::TelemetryArgs;
use runtime::{ConfigFile, WrongUse};
use std::path::PathBuf;
use store::{Store, StoreArgs};

const EXAMPLES: &str = "\
Examples:
  simulator compare --seeds 5 --html-out compare.html
  simulator compare --scenario mixed,bursts,memory --policies kube-scheduler,least-used,greedy-oracle
  simulator compare --scenario openb --trace traces/ --days 7 --seeds 5
  simulator replay --days 7 --price 0.04 --html-out replay.html
  simulator compare --agent .berth/models/placement-agent --policies kube-scheduler,agent,combined,search-oracle
  simulator what-if --policy least-used --nodes +2 --scenario history --days 7
  simulator what-if --policy kube-scheduler --nodes -4 --scenario mixed";

/// Asks a simulated cluster what another placement would have come to.
#[derive(Debug, Parser)]
#[command(name = "simulator", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Where the configuration file is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How to log.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Where the data is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run policies × seeds on scenarios: a table with intervals, one page with charts
    Compare(compare::CompareArgs),
    /// Replay your own history (the tables that `collector` wrote) under other placements
    Replay(replay::ReplayArgs),
    /// Answer a planning question: the same pods on more or fewer nodes
    WhatIf(what_if::WhatIfArgs),
}

/// Where results go.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Write a self-contained HTML page here
    #[arg(long, value_name = "FILE")]
    pub html_out: Option<PathBuf>,
    /// Write the figures as JSON here
    #[arg(long, value_name = "FILE")]
    pub json_out: Option<PathBuf>,
}

/// Which seeds.
#[derive(Debug, Clone, Args)]
pub struct SeedArgs {
    /// How many seeds; every policy gets each. Intervals need two, a claim five
    #[arg(long, env = "BERTH_SIMULATOR_SEEDS", default_value_t = 5, value_name = "COUNT")]
    pub seeds: u64,
    /// The first of them
    #[arg(long, env = "BERTH_SIMULATOR_FIRST_SEED", default_value_t = 1, value_name = "SEED")]
    pub first_seed: u64,
}

impl SeedArgs {
    fn list(&self) -> Result<Vec<u64>, WrongUse> {
        const MOST: u64 = 1_000;
        if !(1..=MOST).contains(&self.seeds) {
            return Err(WrongUse(format!("--seeds is {}, want 1 to {MOST}", self.seeds)));
        }
        Ok((0..self.seeds).map(|at| self.first_seed.wrapping_add(at)).collect())
    }
}

/// Runs the subcommand. `matches` tells which values were given, so that the configuration file may fill the rest.
///
/// # Errors
/// When the subcommand fails; see each.
pub fn run(cli: &Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = ConfigFile::load(&cli.config)?;
    let given = innermost(matches);
    let place = config.resolve("store", &cli.store, given)?;
    let store = Store::new(place.data);
    match &cli.command {
        Command::Compare(args) => compare::run(args, &config, given, &store),
        Command::Replay(args) => replay::run(args, &config, given, &store),
        Command::WhatIf(args) => what_if::run(args, &config, given, &store),
    }
}

/// Policies without repetition; the recorded placement and a learned network only where there is one.
fn checked_policies(policies: &[PolicyKind], has_record: bool, has_agent: bool) -> Result<Vec<PolicyKind>, WrongUse> {
    if policies.contains(&PolicyKind::Recorded) && !has_record {
        return Err(WrongUse(
            "policy `recorded` needs scenario `history` alone, where placements were recorded".to_owned(),
        ));
    }
    if let Some(needy) = policies.iter().find(|policy| policy.needs_agent() && !has_agent) {
        return Err(WrongUse(format!(
            "policy `{}` needs a trained network: --agent DIR or BERTH_AGENT names the folder that `trainer train placement` wrote",
            needy.name()
        )));
    }
    let mut once: Vec<PolicyKind> = Vec::new();
    for policy in policies {
        if !once.contains(policy) {
            once.push(*policy);
        }
    }
    Ok(once)
}

/// A wrong setting ends the command with exit code 2, anything else with 1.
fn input_error(error: InputError) -> anyhow::Error {
    match error {
        InputError::Setting(wrong) => wrong.into(),
        other => other.into(),
    }
}
