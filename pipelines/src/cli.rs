//! The command line.

use crate::plan::{Plan, PlanError};
use crate::run::{Layout, Options, RunError, RunRecord, RunState, Selection};
use crate::spec::{Definition, SpecError};
use crate::summary::Summary;
use anyhow::Context;
use clap::{ArgMatches, Args, Parser, Subcommand};
use runtime::settings::{ConfigArgs, DEFAULT_FILE, innermost};
use runtime::telemetry::TelemetryArgs;
use runtime::{ConfigFile, GateRefused, WrongUse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store::StoreArgs;

const EXAMPLES: &str = "\
Examples:
  pipelines run
  pipelines run --param prometheus_url=http://prometheus:9090
  pipelines run --resume
  pipelines run --from train-load
  pipelines run --pipeline my-pipeline.yaml --json
  pipelines check pipelines/daily-retrain.yaml
  pipelines show";

/// The definition that is run when none is named: the daily retrain.
pub const DAILY_RETRAIN: &str = include_str!("../daily-retrain.yaml");

/// Runs a Kubeflow pipeline definition on this machine.
#[derive(Debug, Parser)]
#[command(name = "pipelines", version, about, after_help = EXAMPLES)]
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
    /// Run a pipeline; steps whose inputs did not change are skipped. Exit code 3 when a gate said no
    Run(RunArgs),
    /// Check a definition: fields, names, types, placeholders, circles
    Check {
        /// The definition [default: the built-in daily retrain]
        file: Option<PathBuf>,
    },
    /// Show the steps of a definition in the order in which they run
    Show {
        /// The definition [default: the built-in daily retrain]
        file: Option<PathBuf>,
    },
    /// List the runs of this data root, oldest first
    Runs {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What to run and how.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// What may stand in the configuration file too.
    #[command(flatten)]
    pub settings: RunSettings,
    /// Value of a parameter of the pipeline; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub parameters: Vec<(String, String)>,
    /// Run every step, also those whose inputs did not change
    #[arg(long, conflicts_with_all = ["only", "from", "resume"])]
    pub force: bool,
    /// Run this step alone, on the last results of the steps before it
    #[arg(long, value_name = "STEP", conflicts_with_all = ["from", "resume"])]
    pub only: Option<String>,
    /// Run this step, on the last results of the steps before it, and those that depend on it
    #[arg(long, value_name = "STEP", conflicts_with = "resume")]
    pub from: Option<String>,
    /// Go on with the newest run, which failed or was stopped: only what is missing runs
    #[arg(long, conflicts_with = "parameters")]
    pub resume: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// Section `[pipelines.run]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// The definition [default: the built-in daily retrain]
    #[arg(long, env = "BERTH_PIPELINES_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// At most this many steps at the same time; a step may use all cores by itself
    #[arg(long, env = "BERTH_PIPELINES_PARALLEL", default_value_t = 2, value_name = "STEPS")]
    pub parallel: usize,
    /// Keep the files of this many newest runs
    #[arg(long, env = "BERTH_PIPELINES_KEEP", default_value_t = 10, value_name = "RUNS")]
    pub keep: usize,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`, want NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the subcommand.
///
/// # Errors
/// When a definition is not valid, a step failed or a gate said no.
pub fn run(cli: &Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = ConfigFile::load(&cli.config)?;
    let given = innermost(matches);
    let data = config.resolve("store", &cli.store, given)?.data;
    match &cli.command {
        Command::Run(args) => {
            let settings = config.resolve("pipelines.run", &args.settings, given)?;
            let config_file = config_file(cli.config.config.as_deref())?;
            start(args, settings, data, config_file)
        }
        Command::Check { file } => {
            let plan = plan(file.as_deref())?;
            println!(
                "pipeline `{}` is valid: {} steps, {} parameters",
                plan.name,
                plan.steps.len(),
                plan.parameters.len()
            );
            Ok(())
        }
        Command::Show { file } => {
            print!("{}", crate::summary::Outline(&plan(file.as_deref())?));
            Ok(())
        }
        Command::Runs { json } => runs(&Layout::new(&data), *json),
    }
}

/// The configuration file that the steps will read, with its absolute path.
fn config_file(named: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let absolute = path.canonicalize();
    absolute.map(Some).with_context(|| format!("failed to find configuration file `{}`", path.display()))
}

fn plan(file: Option<&Path>) -> anyhow::Result<Plan> {
    let definition = match file {
        Some(path) => Definition::read(path),
        None => Definition::parse(DAILY_RETRAIN),
    };
    let name = file.map_or_else(|| "built-in daily retrain".to_owned(), |path| path.display().to_string());
    let definition = definition.map_err(|error| match error {
        SpecError::Parse(source) => WrongUse(format!("pipeline definition `{name}` is not valid: {source}")).into(),
        other => anyhow::Error::new(other),
    })?;
    let wrong = |error: PlanError| anyhow::Error::new(WrongUse(error.to_string())).context(format!("`{name}`"));
    Plan::new(&definition).map_err(wrong)
}

fn start(args: &RunArgs, settings: RunSettings, data: PathBuf, config: Option<PathBuf>) -> anyhow::Result<()> {
    let plan = plan(settings.pipeline.as_deref())?;
    let selection = match (&args.only, &args.from) {
        (Some(step), _) => Selection::Only(step.clone()),
        (None, Some(step)) => Selection::From(step.clone()),
        (None, None) if args.force => Selection::Force,
        (None, None) => Selection::All,
    };
    let program = std::env::current_exe().context("failed to find the runner's own program")?;
    let options = Options {
        data,
        parameters: args.parameters.iter().cloned().collect::<BTreeMap<_, _>>(),
        selection,
        resume: args.resume,
        parallel: settings.parallel,
        keep: settings.keep,
        config,
        program_folder: program.parent().map(Path::to_owned),
    };
    let record = until_asked_to_stop(&plan, &options)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&record)?);
    } else {
        print!("{}", Summary { record: &record, plan: &plan });
    }
    verdict(&record)
}

fn until_asked_to_stop(plan: &Plan, options: &Options) -> anyhow::Result<RunRecord> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    threads.block_on(async {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let listener = tokio::spawn(async move {
            match runtime::shutdown::requested().await {
                Ok(()) => tracing::warn!("asked to stop: ending the steps that are going on"),
                Err(error) => tracing::error!(%error, "cannot listen for signals: stopping"),
            }
            // The receiver is gone only when the run has ended by itself.
            let _ = stop.send(true);
        });
        let record = crate::run::execute(plan, options, stopped).await;
        listener.abort();
        record.map_err(|error: RunError| match error.is_wrong_use() {
            true => WrongUse(error.to_string()).into(),
            false => anyhow::Error::new(error),
        })
    })
}

fn verdict(record: &RunRecord) -> anyhow::Result<()> {
    let steps = |state| {
        let names = record.steps.iter().filter(|step| step.state == state).map(|step| step.name.as_str());
        names.collect::<Vec<_>>().join("`, `")
    };
    match record.state {
        RunState::Done | RunState::Running => Ok(()),
        RunState::Refused => Err(GateRefused(format!("`{}` said no", steps(crate::run::StepState::Refused))).into()),
        RunState::Failed => anyhow::bail!("step `{}` failed", steps(crate::run::StepState::Failed)),
        RunState::Stopped => anyhow::bail!("stopped before the end. `pipelines run --resume` goes on from here"),
    }
}

fn runs(layout: &Layout, json: bool) -> anyhow::Result<()> {
    let records = layout.run_ids()?.iter().map(|id| layout.read_run(id)).collect::<Result<Vec<_>, _>>()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&records)?);
        return Ok(());
    }
    print!("{}", crate::summary::Runs(&records));
    Ok(())
}
