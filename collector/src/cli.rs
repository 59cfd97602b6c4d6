//! The command line: which subcommand does what.

use crate::collect::CollectArgs;
use crate::datasets::DatasetsCommand;
use crate::import::ImportCommand;
use crate::inject::InjectArgs;
use crate::openmetrics::ExportCommand;
use crate::prometheus::PrometheusArgs;
use crate::quality::QualityArgs;
use crate::synthesize::SynthesizeArgs;
use anyhow::Context;
use clap::{ArgMatches, Args, Parser, Subcommand};
use runtime::ConfigFile;
use runtime::http::HttpArgs;
use runtime::settings::{ConfigArgs, innermost};
use runtime::telemetry::TelemetryArgs;
use std::future::Future;
use store::{Store, StoreArgs};

const EXAMPLES: &str = "\
Examples:
  collector synthesize --nodes 12 --days 35 --seed 1
  collector backfill --prometheus http://prometheus:9090 --since 35d
  collector import csv --mapping collector/mappings/alibaba2018-nodes.toml usage_5min.csv.gz
  collector --data .berth-injected inject --from .berth --seed 1 --late-kinds disk_saturation,noisy_neighbour
  collector collect --manifest-out dataset.json
  collector quality --dataset dataset.json --json-out quality.json --html-out quality.html
  collector datasets list";

/// Turns cluster history into raw Parquet tables, and judges it.
#[derive(Debug, Parser)]
#[command(name = "collector", version, about, after_help = EXAMPLES)]
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

/// Which server, and who we are to it.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// What to fetch from where.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Time limits, authority, credentials.
    #[command(flatten)]
    pub http: HttpArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the raw tables up to date and freeze them as a dataset version (the first step of the daily retrain)
    Collect(CollectArgs),
    /// Fetch history from a Prometheus server; a second run fetches only what is new
    Backfill {
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
        /// Print the summary as JSON
        #[arg(long)]
        json: bool,
        /// Only print which target is which node; nothing is fetched or written
        #[arg(long)]
        show_mapping: bool,
    },
    /// Fetch every step from a Prometheus server until SIGTERM; catches up after an outage
    Watch {
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Read history from files
    #[command(subcommand)]
    Import(ImportCommand),
    /// Write the raw tables in another form
    #[command(subcommand)]
    Export(ExportCommand),
    /// Make up the history of a cluster that looks like one
    Synthesize(SynthesizeArgs),
    /// Copy a history and let things go wrong in the copy, at times that are labelled, to judge detectors on
    Inject(InjectArgs),
    /// Judge a dataset version: coverage, gaps, duplicates, out of range, flat lines; exit code 3 when the gate says no
    Quality(QualityArgs),
    /// List, show and verify dataset versions
    #[command(subcommand)]
    Datasets(DatasetsCommand),
}

/// Runs the subcommand. `matches` tells which values were given, so that the configuration file may fill the rest.
///
/// # Errors
/// When the subcommand fails; see each.
pub fn run(cli: &Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = ConfigFile::load(&cli.config)?;
    let place = config.resolve("store", &cli.store, innermost(matches))?;
    let store = Store::new(place.data);
    let given = innermost(matches);
    match &cli.command {
        Command::Collect(args) => crate::collect::run(args, &config, given, &store),
        Command::Backfill { server, json, show_mapping } => {
            let source = crate::prometheus::Source::resolve(&config, &server.prometheus, &server.http, given)?;
            if *show_mapping {
                let mapping = block_on(crate::prometheus::show_mapping(&source))?;
                println!("{}", if *json { serde_json::to_string_pretty(&mapping)? } else { mapping.to_string() });
                return Ok(());
            }
            let summary = block_on(crate::prometheus::backfill(&source, &store))?;
            if *json {
                println!("{}", serde_json::to_string_pretty(&summary)?);
            } else {
                println!("{summary}");
            }
            Ok(())
        }
        Command::Watch { server } => {
            let source = crate::prometheus::Source::resolve(&config, &server.prometheus, &server.http, given)?;
            block_on(crate::prometheus::watch(&source, &store))
        }
        Command::Import(command) => crate::import::run(command, &config, given, &store),
        Command::Export(command) => crate::openmetrics::run_export(command, &store),
        Command::Synthesize(args) => {
            crate::synthesize::run(&config.resolve("collector.synthesize", args, given)?, &store)
        }
        Command::Inject(args) => crate::inject::run(args, &store),
        Command::Quality(args) => {
            let mut args: QualityArgs = config.resolve("collector.quality", args, given)?;
            // One setting for all who leave nodes out, where this section has none of its own.
            if args.ignore_nodes.is_none() {
                let server: toml::Table = config.resolve("collector.prometheus", &toml::Table::new(), given)?;
                let rules = server.get("ignore_nodes").cloned().map(toml::Value::try_into).transpose();
                args.ignore_nodes =
                    rules.context("`ignore_nodes` in `[collector.prometheus]` is not a list of texts")?;
            }
            crate::quality::run(&args, &store)
        }
        Command::Datasets(command) => crate::datasets::run(command, &store),
    }
}

/// Runs a future to its end on a runtime of its own.
///
/// # Errors
/// When the runtime cannot start, or what the future says.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
