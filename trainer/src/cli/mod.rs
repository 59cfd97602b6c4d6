//! The command line.

mod anomaly;
mod commands;
mod gate_results;
mod inputs;
mod peer_script;
mod placement;
mod retrain;
mod train_anomaly;

use crate::anomaly::{AnomalyGate, AnomalySettings};
use crate::placement::{PlacementGate, PlacementSettings};
use crate::recipe::Recipe;
use crate::train::LoadSettings;
use crate::validate::GateSettings;
use anyhow::Context as _;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use cluster::score::Strategy;
use models::load::{HeadKey, Quantile};
use runtime::ConfigFile;
use runtime::settings::{ConfigArgs, innermost};
use runtime::telemetry::TelemetryArgs;
use simulator::outcome::CostWeights;
use std::path::PathBuf;
use store::StoreArgs;
use tracking::TrackingArgs;

/// Trains, compares, validates, registers and explains models
///
/// Without a command: retrains everything from the newest features dataset (train, validate, register).
#[derive(Debug, Parser)]
#[command(name = "trainer", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    tracking: TrackingArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// How to log.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  trainer                                                  retrain everything from the newest features
  trainer train load --features features.json --model-out model
  trainer train placement --model-out agent --json-out verdict.json
  trainer train anomaly --model-out detector --json-out verdict.json
  trainer validate --model model --features features.json --json-out validation.json
  trainer register --model model --validation validation.json
  trainer rollback --reason 'P90 too low on gpu nodes'
  trainer weights --agent agent --rounds 4
  trainer compare --out comparison
  trainer anomaly compare --models all --scenario standard
  trainer explain --node worker-3 --at 2026-11-20T14:00:00Z
  trainer show load-predictor@champion
  trainer export placement-agent@champion --out onnx

Exit codes: 0 done, 1 failed, 2 wrong use, 3 a validation said no";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model from a features dataset
    #[command(subcommand)]
    Train(TrainCommand),
    /// A detector of node or table anomalies at work: on files, on streams, on a live Prometheus
    #[command(subcommand)]
    Anomaly(anomaly::AnomalyCommand),
    /// Judge a model on hours that it has not learned from; exit code 3 when it must not be registered
    Validate(ValidateArgs),
    /// Register a validated model; it becomes champion
    Register(RegisterArgs),
    /// Make the former champion champion again
    Rollback(RollbackArgs),
    /// Search the weights of a score's parts by whole runs in simulated clusters, and print what was tried
    Weights(Box<WeightsArgs>),
    /// Compare references, learners and variants on the same folds
    Compare(CompareArgs),
    /// Say why a forecast is what it is
    Explain(ExplainArgs),
    /// Write a model in formats that other programs read: XGBoost UBJ and JSON, ONNX
    Export(ExportArgs),
    /// Figures against the references and Python's XGBoost on a features dataset
    Results(ResultsArgs),
    /// How often the gate and the limits of rollouts err, by stored forecasts of models that are as good, better and worse
    GateResults(gate_results::GateResultsArgs),
    /// List runs
    Runs(RunsArgs),
    /// List registered models and their versions
    Models(JsonArgs),
    /// Show a run or a model version
    Show(ShowArgs),
}

#[derive(Debug, Subcommand)]
enum TrainCommand {
    /// The load predictor: P50 and P90 of CPU and memory at 1h, 2h and 4h
    Load(Box<TrainLoadArgs>),
    /// The placement agent, in simulated clusters; judged in others, exit code 3 when it must not be registered
    Placement(Box<TrainPlacementArgs>),
    /// The anomaly detector, judged on hours it has not learned from; exit code 3 when it must not be registered
    Anomaly(Box<TrainAnomalyArgs>),
}

/// A features dataset: a manifest file, a dataset id, or the newest.
#[derive(Debug, Clone, Args)]
struct FeaturesArgs {
    /// Manifest file or id of the features dataset [default: the newest]
    #[arg(long, env = "BERTH_FEATURES", value_name = "FILE|ID")]
    features: Option<String>,
}

#[derive(Debug, Args)]
struct JsonArgs {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct TrainLoadArgs {
    #[command(flatten)]
    features: FeaturesArgs,
    /// Folder to write the model to; it is replaced whole
    #[arg(long, value_name = "DIR")]
    model_out: PathBuf,
    #[command(flatten)]
    settings: LoadSettings,
    #[command(flatten)]
    recipe: Recipe,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct TrainPlacementArgs {
    /// Raw dataset whose pods and nodes it learns from beside made-up clusters: a manifest file, an id, `latest`, or `none`
    #[arg(long, env = "BERTH_PLACEMENT_HISTORY", default_value = "latest", value_name = "DATASET")]
    history: String,
    /// Folder to write the model to; it is replaced whole
    #[arg(long, value_name = "DIR")]
    model_out: PathBuf,
    /// Where to write the verdict as JSON
    #[arg(long, value_name = "FILE")]
    json_out: Option<PathBuf>,
    /// Where to write learning curves and verdict as a page
    #[arg(long, value_name = "FILE")]
    html_out: Option<PathBuf>,
    /// File that a killed training goes on from [default: checkpoints/placement-agent below the data folder]
    #[arg(long, env = "BERTH_PLACEMENT_CHECKPOINT", value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Begin anew, whatever the checkpoint holds
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    settings: PlacementSettings,
    #[command(flatten)]
    gate: PlacementGate,
    #[command(flatten, next_help_heading = "Cost")]
    weights: CostWeights,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct WeightsArgs {
    /// Folder of the placement agent, as `trainer train placement` writes it
    #[arg(long, env = "BERTH_AGENT", value_name = "DIR")]
    agent: PathBuf,
    /// Rounds: each adds 12 clusters
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100), value_name = "COUNT")]
    rounds: u64,
    /// Which nodes the load part prefers
    #[arg(long, default_value_t = Strategy::Spread, value_name = "spread|pack")]
    strategy: Strategy,
    #[command(flatten)]
    settings: PlacementSettings,
    #[command(flatten, next_help_heading = "Cost")]
    weights: CostWeights,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct TrainAnomalyArgs {
    #[command(flatten)]
    features: FeaturesArgs,
    /// Folder to write the model to; it is replaced whole
    #[arg(long, value_name = "DIR")]
    model_out: PathBuf,
    /// Where to write the verdict as JSON
    #[arg(long, value_name = "FILE")]
    json_out: Option<PathBuf>,
    /// Where to write the report, beside the one in the folder
    #[arg(long, value_name = "FILE")]
    html_out: Option<PathBuf>,
    #[command(flatten)]
    settings: AnomalySettings,
    #[command(flatten)]
    gate: AnomalyGate,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct ValidateArgs {
    /// Folder of the model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    features: FeaturesArgs,
    /// Where to write the verdict as JSON
    #[arg(long, value_name = "FILE")]
    json_out: Option<PathBuf>,
    /// Where to write the verdict as a page
    #[arg(long, value_name = "FILE")]
    html_out: Option<PathBuf>,
    #[command(flatten)]
    limits: GateSettings,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct RegisterArgs {
    /// Folder of the model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The verdict of `trainer validate` or `trainer train anomaly` on this folder
    #[arg(long, value_name = "FILE")]
    validation: PathBuf,
    /// Register as challenger only, the champion stays
    #[arg(long)]
    keep_champion: bool,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct RollbackArgs {
    /// Which registered model: load-predictor, placement-agent or anomaly-detector
    #[arg(long, default_value = crate::registry::MODEL, value_name = "NAME")]
    name: String,
    /// Go back to this version instead of the previous champion
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Why; kept with the version and in the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct CompareArgs {
    #[command(flatten)]
    features: FeaturesArgs,
    /// Folder for comparison.json, comparison.md and comparison.html [default: reports/compare below the data folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Heads to compare on
    #[arg(long, value_delimiter = ',', default_value = "cpu-1h,cpu-4h,memory-1h", value_parser = head_key, value_name = "HEADS")]
    heads: Vec<HeadKey>,
    /// Compare on the 5-minute value instead of the mean of the hour
    #[arg(long)]
    five_minute: bool,
    /// Rolling origins
    #[arg(long, default_value_t = 3, value_name = "FOLDS")]
    folds: usize,
    /// Hours per validation window [default: a tenth of the history, at most 24]
    #[arg(long, value_name = "HOURS")]
    validation_hours: Option<f64>,
    /// Training rows per fold, at most
    #[arg(long, default_value_t = 30_000, value_name = "ROWS")]
    max_rows: usize,
    /// Seed of every draw
    #[arg(long, default_value_t = 7, value_name = "SEED")]
    seed: u64,
    /// Threads per fit
    #[arg(long, default_value = "2", value_name = "THREADS")]
    threads: std::num::NonZeroUsize,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The node's name
    #[arg(long, value_name = "NODE")]
    node: String,
    /// When, such as 2026-11-20T14:00:00Z; the newest row at or before it is explained
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: i64,
    /// Only this head, such as cpu-1h
    #[arg(long, value_parser = head_key, value_name = "HEAD")]
    head: Option<HeadKey>,
    /// Which line of the forecast
    #[arg(long, value_parser = quantile, default_value = "p50", value_name = "p50|p90")]
    quantile: Quantile,
    /// Folder of the model [default: the champion]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    features: FeaturesArgs,
    /// Also write a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// `load-predictor@champion`, `placement-agent/3`; or name a folder with --model
    #[arg(value_name = "ID", required_unless_present = "model", conflicts_with = "model")]
    id: Option<String>,
    /// Folder of the model
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder to write the files to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct ResultsArgs {
    #[command(flatten)]
    features: FeaturesArgs,
    /// Name of the set in the table, such as alibaba2018-nodes
    #[arg(long, value_name = "NAME")]
    set: String,
    /// Folder for <set>.json and <set>.md
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Python interpreter that has xgboost; without it the peer's lines are left out
    #[arg(long, env = "BERTH_XGBOOST_PYTHON", value_name = "FILE")]
    peer_python: Option<PathBuf>,
    /// Another peer script than the one that comes with this program
    #[arg(long, value_name = "FILE")]
    peer_script: Option<PathBuf>,
    /// Seeds; figures get intervals over them
    #[arg(long, value_delimiter = ',', default_value = "1,2,3", value_name = "SEEDS")]
    seeds: Vec<u64>,
    /// Share of the history, at its end, that is tested on
    #[arg(long, default_value_t = 0.3, value_name = "SHARE")]
    test_share: f64,
    /// Also retrain every so many days within the test, as the pipeline does; 0 leaves these lines out
    #[arg(long, default_value_t = 0, value_name = "DAYS")]
    retrain_days: u32,
    /// Also test on this share of nodes that never train; 0 leaves these lines out
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    held_out_nodes: f64,
    /// Training rows per head, at most
    #[arg(long, default_value_t = 60_000, value_name = "ROWS")]
    max_rows: usize,
    /// Threads
    #[arg(long, default_value = "2", value_name = "THREADS")]
    threads: std::num::NonZeroUsize,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct RunsArgs {
    /// Only this experiment
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Only runs that match, such as "metrics.training_seconds < 60 and tags.step = 'train load'"
    #[arg(long, default_value = "", value_name = "CONDITIONS", hide_default_value = true)]
    filter: String,
    /// At most this many
    #[arg(long, default_value_t = 30, value_name = "COUNT")]
    limit: usize,
    /// Nested runs too
    #[arg(long)]
    nested: bool,
    #[command(flatten)]
    output: JsonArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// A run's id or its beginning, `load-predictor/3`, or `load-predictor@champion`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    output: JsonArgs,
}

fn head_key(text: &str) -> Result<HeadKey, String> {
    HeadKey::all()
        .find(|key| key.slug() == text)
        .ok_or_else(|| format!("heads are {}", crate::validate::wanted_heads().join(", ")))
}

fn quantile(text: &str) -> Result<Quantile, String> {
    [Quantile::P50, Quantile::P90]
        .into_iter()
        .find(|quantile| quantile.as_str() == text)
        .ok_or_else(|| "it is p50 or p90".to_owned())
}

fn time(text: &str) -> Result<i64, String> {
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|error| format!("a time is like 2026-11-20T14:00:00Z: {error}"))
}

/// What every command has at hand.
struct Context {
    store: store::Store,
    tracking: TrackingArgs,
    config: ConfigFile,
}

impl Context {
    /// Opens the experiment that a run will be logged to, so that a store which cannot take it says so before the training and not after it.
    fn experiment(&self, name: &str) -> anyhow::Result<()> {
        self.with_tracker(async |tracker| {
            let opened = tracker.experiment(name).await;
            opened.map(drop).with_context(|| format!("the run could not be logged to {}", tracker.describe()))
        })
    }

    /// Opens the tracking store and runs `work` with it.
    fn with_tracker<T>(
        &self,
        work: impl AsyncFnOnce(&dyn tracking::Tracker) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let tracker = tracking::open(&self.tracking, self.store.root()).await?;
            let result = work(tracker.as_ref()).await?;
            let waiting = tracker.flush().await?;
            if waiting.writes > 0 {
                tracing::warn!(writes = waiting.writes, "the tracking server is away, writes are kept and sent later");
            }
            Ok(result)
        })
    }
}

/// Parses the command line.
pub fn parse() -> (Cli, ArgMatches) {
    let matches = Cli::command().get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, matches),
        Err(error) => error.exit(),
    }
}

/// Runs the command.
///
/// # Errors
/// What the command says; [`runtime::GateRefused`] and [`runtime::WrongUse`] keep their exit codes.
pub fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = ConfigFile::load(&cli.config)?;
    let store: StoreArgs = config.resolve("store", &cli.store, matches)?;
    let tracking: TrackingArgs = config.resolve("tracking", &cli.tracking, matches)?;
    let context = Context { store: store::Store::new(store.data), tracking, config };
    let inner = innermost(matches);
    match cli.command {
        None => retrain::run(&context),
        Some(Command::Train(TrainCommand::Load(args))) => commands::train_load(&context, &args, inner),
        Some(Command::Train(TrainCommand::Placement(args))) => placement::train(&context, &args, inner),
        Some(Command::Train(TrainCommand::Anomaly(args))) => train_anomaly::train(&context, &args, inner),
        Some(Command::Anomaly(command)) => anomaly::run(&context, &command, inner),
        Some(Command::Weights(args)) => placement::weights(&context, &args, inner),
        Some(Command::Validate(args)) => commands::validate(&context, &args, inner),
        Some(Command::Register(args)) => commands::register(&context, &args),
        Some(Command::Rollback(args)) => commands::rollback(&context, &args),
        Some(Command::Compare(args)) => commands::compare(&context, &args),
        Some(Command::Explain(args)) => commands::explain(&context, &args),
        Some(Command::Export(args)) => commands::export(&context, &args),
        Some(Command::Results(args)) => commands::results(&context, &args),
        Some(Command::GateResults(args)) => gate_results::run(&context, &args),
        Some(Command::Runs(args)) => commands::runs(&context, &args),
        Some(Command::Models(args)) => commands::models(&context, &args),
        Some(Command::Show(args)) => commands::show(&context, &args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        assert!(head_key("cpu-3h").expect_err("no such head").contains("memory-4h"));
        assert_eq!(time("1970-01-01T01:00:00+01:00"), Ok(0));
    }
}
