//! `simulator what-if`.

use super::{AgentArgs, OutputArgs, ScoreArgs, SeedArgs, checked_policies, input_error};
use crate::compare::{CompareSettings, Interval, ScenarioFigures, figures, number, paired_difference, run_all};
use crate::engine::EngineSettings;
use crate::input::{ScenarioArgs, ScenarioKind};
use crate::outcome::{CostWeights, Outcome};
use crate::policy::PolicyKind;
use crate::replay::{NodeChange, change_nodes};
use crate::world::Scenario;
use clap::{ArgMatches, Args};
use report::{Page, Table, Tone};
use runtime::{ConfigFile, WrongUse};
use serde::Serialize;
use store::Store;

/// The question.
#[derive(Debug, Clone, Args)]
pub struct WhatIfArgs {
    /// Which policy places the pods
    #[arg(long, default_value = "kube-scheduler", value_name = "POLICY")]
    pub policy: PolicyKind,
    /// Nodes of the most common shape that come or go, such as +2 or -1
    #[arg(long, allow_hyphen_values = true, value_name = "CHANGE")]
    pub nodes: NodeChange,
    /// Which seeds.
    #[command(flatten)]
    pub seeds: SeedArgs,
    /// Which scenario: exactly one.
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

/// One outcome before and after.
#[derive(Debug, Clone, Serialize)]
struct Line {
    what: &'static str,
    now: f64,
    then: f64,
    /// Then − now, paired by seed.
    difference: Interval,
    /// Whether more is worse.
    more_is_worse: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Answer {
    scenario: String,
    policy: String,
    nodes_now: usize,
    nodes_then: usize,
    seeds: usize,
    lines: Vec<Line>,
    now: ScenarioFigures,
    then: ScenarioFigures,
}

pub(super) fn run(args: &WhatIfArgs, config: &ConfigFile, given: &ArgMatches, store: &Store) -> anyhow::Result<()> {
    let scenario: ScenarioArgs = config.resolve("simulator.scenario", &args.scenario, given)?;
    let engine: EngineSettings = config.resolve("simulator.engine", &args.engine, given)?;
    let weights: CostWeights = config.resolve("simulator.cost", &args.weights, given)?;
    engine.check()?;
    weights.check()?;
    let [kind] = scenario.scenario[..] else {
        let count = scenario.scenario.len();
        return Err(WrongUse(format!("--scenario names {count} scenarios, a planning question wants one")).into());
    };
    let scorer = args.score.scorer(config, given, &args.agent)?;
    let policies = checked_policies(&[args.policy], kind == ScenarioKind::History, scorer.agent.is_some())?;
    let settings = CompareSettings { policies, seeds: args.seeds.list()?, engine, weights, scorer };
    let sources = scenario.open(store).map_err(input_error)?;
    let now = settings.seeds.iter().map(|seed| sources.build(kind, *seed)).collect::<Result<Vec<_>, _>>();
    let now = now.map_err(input_error)?;
    let then = now.iter().map(|scenario| change_nodes(scenario, args.nodes)).collect::<Result<Vec<_>, _>>()?;
    let answer = answer(&now, &then, &settings, args.policy);
    write(&answer, args, &settings)
}

fn answer(now: &[Scenario], then: &[Scenario], settings: &CompareSettings, policy: PolicyKind) -> Answer {
    let bar = runtime::progress::bar(2 * settings.seeds.len() as u64, "simulating");
    let (before, after) = (run_all(now, settings, || bar.inc(1)), run_all(then, settings, || bar.inc(1)));
    bar.finish_and_clear();
    let outcomes = (&before.outcomes[0].1, &after.outcomes[0].1);
    let line = |what, more_is_worse, value: &dyn Fn(&Outcome) -> f64| {
        let values = |outcomes: &[Outcome]| outcomes.iter().map(value).collect::<Vec<f64>>();
        let (now, then) = (values(outcomes.0), values(outcomes.1));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let difference = paired_difference(&then, &now);
        Line { what, now: mean(&now), then: mean(&then), difference, more_is_worse }
    };
    Answer {
        scenario: before.name.clone(),
        policy: policy.name(),
        nodes_now: before.nodes.len(),
        nodes_then: after.nodes.len(),
        seeds: settings.seeds.len(),
        lines: vec![
            line("cost per 1,000 node-minutes", true, &|outcome| settings.weights.cost(outcome)),
            line("node-hours over 80 % CPU", true, &|outcome| outcome.hot_80_minutes / 60.0),
            line("node-hours over 90 % CPU", true, &|outcome| outcome.hot_90_minutes / 60.0),
            line("throttled pod-hours", true, &|outcome| outcome.throttled_pod_minutes / 60.0),
            line("evictions", true, &|outcome| outcome.evictions as f64),
            line("pods that never found a node", true, &|outcome| outcome.never_placed as f64),
            line("pending pod-hours", true, &|outcome| outcome.pending_pod_minutes / 60.0),
            line("P95 CPU utilization, %", true, &|outcome| 100.0 * outcome.p95_utilization),
            line("mean CPU utilization, %", true, &|outcome| 100.0 * outcome.mean_utilization),
            line("room for median pods by requests, tightest 5 %", false, &|outcome| outcome.room_by_requests_p5),
            line("room for median pods by usage, tightest 5 %", false, &|outcome| outcome.room_by_usage_p5),
        ],
        now: figures(&before, &settings.weights, policy),
        then: figures(&after, &settings.weights, policy),
    }
}

fn write(answer: &Answer, args: &WhatIfArgs, settings: &CompareSettings) -> anyhow::Result<()> {
    let heading = format!(
        "{} on {}: {} nodes now, {} then, {} seeds",
        answer.policy, answer.scenario, answer.nodes_now, answer.nodes_then, answer.seeds
    );
    if let Some(path) = &args.output.html_out {
        let page = Page::new("What if?", &heading)
            .table(&table(answer))
            .text("The difference is paired by seed; brackets hold its 95 % interval (Student's t).");
        let weights: Vec<String> = settings
            .weights
            .parts(&Outcome::default())
            .iter()
            .map(|part| format!("{} {}", part.name, part.weight))
            .collect();
        let page = page.text(&format!("Weights of the cost: {}.", weights.join(", ")));
        let page = answer.then.notes.assumptions.iter().fold(page, |page, sentence| page.note(sentence, Tone::Plain));
        runtime::files::write_text(path, &page.html())?;
    }
    if let Some(path) = &args.output.json_out {
        runtime::files::write_json(path, answer)?;
    }
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(answer)?);
        return Ok(());
    }
    println!("{heading}\n\n{}", table(answer).markdown());
    for (reason, count) in &answer.then.notes.counts {
        println!("- {reason}: {count}");
    }
    Ok(())
}

fn table(answer: &Answer) -> Table {
    let mut table = Table::new(["what", "now", "then", "difference"]);
    for line in &answer.lines {
        let difference = &line.difference;
        let text = if difference.low.is_nan() {
            number(difference.mean)
        } else {
            format!("{} [{}, {}]", number(difference.mean), number(difference.low), number(difference.high))
        };
        let (worse, better) = if line.more_is_worse {
            (difference.is_above_zero(), difference.is_below_zero())
        } else {
            (difference.is_below_zero(), difference.is_above_zero())
        };
        let tone = if worse {
            Tone::Bad
        } else if better {
            Tone::Good
        } else {
            Tone::Plain
        };
        table.toned_row([
            (line.what.to_owned(), Tone::Plain),
            (number(line.now), Tone::Plain),
            (number(line.then), Tone::Plain),
            (text, tone),
        ]);
    }
    table
}
