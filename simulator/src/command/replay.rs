//! `simulator replay`.

use super::{AgentArgs, OutputArgs, ScoreArgs, SeedArgs, checked_policies, input_error};
use crate::engine::EngineSettings;
use crate::input::{HistorySettings, read_history};
use crate::outcome::CostWeights;
use crate::policy::PolicyKind;
use crate::replay::{ReplaySettings, budget, page, replay};
use clap::{ArgMatches, Args};
use runtime::{ConfigFile, WrongUse};
use store::Store;

/// What to replay.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// The last so many days of the history
    #[arg(long, env = "BERTH_REPLAY_DAYS", default_value_t = 7.0)]
    pub days: f64,
    /// Price of a core-hour, in your currency
    #[arg(long, env = "BERTH_CORE_HOUR_PRICE", default_value_t = 0.04, value_name = "PRICE")]
    pub price: f64,
    /// Which policies beside what was recorded, separated by commas
    #[arg(
        long,
        env = "BERTH_REPLAY_POLICIES",
        value_delimiter = ',',
        default_value = "kube-scheduler,target-load-packing,load-variation-risk-balancing,least-used,greedy-oracle",
        value_name = "NAMES"
    )]
    pub policies: Vec<PolicyKind>,
    /// Which seeds.
    #[command(flatten)]
    pub seeds: SeedArgs,
    /// Where the learned network is.
    #[command(flatten)]
    pub agent: AgentArgs,
    /// How its parts are combined.
    #[command(flatten, next_help_heading = "Score")]
    pub score: ScoreArgs,
    /// How the cluster behaves.
    #[command(flatten, next_help_heading = "Cluster")]
    pub engine: EngineSettings,
    /// What outcomes cost.
    #[command(flatten, next_help_heading = "Cost")]
    pub weights: CostWeights,
    /// Where results go.
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,
}

pub(super) fn run(args: &ReplayArgs, config: &ConfigFile, given: &ArgMatches, store: &Store) -> anyhow::Result<()> {
    let engine: EngineSettings = config.resolve("simulator.engine", &args.engine, given)?;
    let weights: CostWeights = config.resolve("simulator.cost", &args.weights, given)?;
    engine.check()?;
    weights.check()?;
    if !(args.price.is_finite() && args.price >= 0.0) {
        return Err(WrongUse(format!("--price is {}, want a number of at least 0", args.price)).into());
    }
    let scenario = read_history(store, &HistorySettings { days: args.days }).map_err(input_error)?;
    let scorer = args.score.scorer(config, given, &args.agent)?;
    let settings = ReplaySettings {
        policies: checked_policies(&args.policies, true, scorer.agent.is_some())?,
        seeds: args.seeds.list()?,
        price_per_core_hour: args.price,
        engine,
        weights,
        scorer,
    };
    let replayed = replay(&scenario, &settings)?;
    if let Some(path) = &args.output.html_out {
        runtime::files::write_text(path, &page(&replayed).html())?;
    }
    if let Some(path) = &args.output.json_out {
        runtime::files::write_json(path, &replayed)?;
    }
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(&replayed)?);
        return Ok(());
    }
    super::compare::print(&replayed.figures);
    println!("{}", budget(&replayed).markdown());
    println!("room: more pods of {}; price: {} per core-hour", replayed.reference, replayed.price_per_core_hour);
    if replayed.moved > 0 {
        println!("{} recorded placements do not fit by the tables and were put elsewhere", replayed.moved);
    }
    if let Some(path) = &args.output.html_out {
        println!("page: {}", path.display());
    }
    Ok(())
}
