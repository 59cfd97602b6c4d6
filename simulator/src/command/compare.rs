//! `simulator compare`.

use super::{AgentArgs, OutputArgs, ScoreArgs, SeedArgs, checked_policies, input_error};
use crate::compare::{CompareSettings, LEGEND, ScenarioFigures, compare, figures, least_cost, page, table};
use crate::engine::EngineSettings;
use crate::input::{ScenarioArgs, ScenarioKind};
use crate::outcome::CostWeights;
use crate::policy::PolicyKind;
use clap::{ArgMatches, Args};
use runtime::{ConfigFile, WrongUse};
use store::Store;

/// What to compare.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Which policies, separated by commas [default: all that need no history]
    #[arg(long, env = "BERTH_SIMULATOR_POLICIES", value_delimiter = ',', value_name = "NAMES")]
    pub policies: Vec<PolicyKind>,
    /// What the others are compared with; several give one table each, the page shows the first
    #[arg(long, value_delimiter = ',', default_value = "kube-scheduler", value_name = "POLICIES")]
    pub base: Vec<PolicyKind>,
    /// Which seeds.
    #[command(flatten)]
    pub seeds: SeedArgs,
    /// Which scenarios.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
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

pub(super) fn run(args: &CompareArgs, config: &ConfigFile, given: &ArgMatches, store: &Store) -> anyhow::Result<()> {
    let scenario: ScenarioArgs = config.resolve("simulator.scenario", &args.scenario, given)?;
    let engine: EngineSettings = config.resolve("simulator.engine", &args.engine, given)?;
    let weights: CostWeights = config.resolve("simulator.cost", &args.weights, given)?;
    engine.check()?;
    weights.check()?;
    if scenario.scenario.is_empty() {
        return Err(WrongUse("--scenario names none".to_owned()).into());
    }
    let has_record = scenario.scenario == [ScenarioKind::History];
    let scorer = args.score.scorer(config, given, &args.agent)?;
    let has_agent = scorer.agent.is_some();
    let policies = if args.policies.is_empty() { default_policies(has_agent) } else { args.policies.clone() };
    let policies = checked_policies(&policies, has_record, has_agent)?;
    let settings = CompareSettings { policies, seeds: args.seeds.list()?, engine, weights, scorer };
    let sources = scenario.open(store).map_err(input_error)?;
    let runs = compare(&sources, &scenario.scenario, &settings).map_err(input_error)?;
    let bases = if args.base.is_empty() { &[PolicyKind::KubeScheduler][..] } else { &args.base };
    let figures: Vec<ScenarioFigures> =
        runs.iter().flat_map(|runs| bases.iter().map(|base| figures(runs, &settings.weights, *base))).collect();
    let first = figures.iter().step_by(bases.len()).cloned();
    let all: Vec<_> = runs.into_iter().zip(first).collect();
    if let Some(path) = &args.output.html_out {
        runtime::files::write_text(path, &page(&all, &settings.weights).html())?;
    }
    if let Some(path) = &args.output.json_out {
        runtime::files::write_json(path, &figures)?;
    }
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    for figures in &figures {
        print(figures);
    }
    println!("{LEGEND}");
    if let Some(path) = &args.output.html_out {
        println!("page: {}", path.display());
    }
    Ok(())
}

/// All that need no history; those that need a network when there is one, before the one that knows the future.
fn default_policies(has_agent: bool) -> Vec<PolicyKind> {
    let mut policies = PolicyKind::COMPARED.to_vec();
    if has_agent {
        let oracle = policies.pop();
        policies.extend([PolicyKind::Agent, PolicyKind::Combined]);
        policies.extend(oracle);
    }
    policies
}

pub(super) fn print(figures: &ScenarioFigures) {
    println!(
        "## {}: {} nodes, {:.0} pods, {:.1} days, {} seeds\n",
        figures.scenario, figures.nodes, figures.pods, figures.days, figures.seeds
    );
    println!("{}", table(figures).markdown());
    println!("{}\n", least_cost(figures));
    for (reason, count) in &figures.notes.counts {
        println!("- {reason}: {count}");
    }
    if !figures.notes.counts.is_empty() {
        println!();
    }
}
