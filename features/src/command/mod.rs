//! The command line of `features`.

mod show;

use crate::catalogue::{self, NODE_HISTORY, Topic};
use crate::settings::FeatureSettings;
use crate::{cluster_state, docs, offline};
use clap::{ArgMatches, Args, Parser, Subcommand};
use cluster::NODE_METRICS;
use runtime::ConfigFile;
use runtime::settings::{ConfigArgs, innermost};
use runtime::telemetry::TelemetryArgs;
use std::path::PathBuf;
use std::time::Instant;
use store::{Store, StoreArgs};

const EXAMPLES: &str = "\
Examples:
  features build --dataset latest --manifest-out features.json
  features list
  features show --node node-01 --at 2026-11-20T12:00:00Z
  features docs --out docs/features.md";

/// Computes the features of every node from its raw samples.
#[derive(Debug, Parser)]
#[command(name = "features", version, about, after_help = EXAMPLES)]
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
    /// Build features/node_history from a raw dataset version and freeze it; days that did not change are kept
    Build(BuildArgs),
    /// Write the reference of all features with their distributions
    Docs(DocsArgs),
    /// List the catalogue
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show one row: every feature of a node at one time, with its meaning
    Show(show::ShowArgs),
}

/// What to build from what.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Raw dataset version: an id, a manifest file, or `latest`
    #[arg(long, value_name = "DATASET", default_value = "latest")]
    pub dataset: String,
    /// Write the manifest of the features dataset here
    #[arg(long, value_name = "FILE")]
    pub manifest_out: Option<PathBuf>,
    /// Compute every day, also those that did not change
    #[arg(long)]
    pub rebuild: bool,
    /// Print the result as one JSON document
    #[arg(long)]
    pub json: bool,
    /// Rules of slots and windows, and the calendar.
    #[command(flatten)]
    pub settings: FeatureSettings,
}

/// Where the reference goes.
#[derive(Debug, Args)]
pub struct DocsArgs {
    /// Write the reference as Markdown here
    #[arg(long, value_name = "FILE", default_value = "docs/features.md")]
    pub out: PathBuf,
    /// Write it as a self-contained HTML page with charts as well
    #[arg(long, value_name = "FILE")]
    pub html_out: Option<PathBuf>,
    /// Features dataset whose distributions are shown: an id, a manifest file, or `latest`
    #[arg(long, value_name = "DATASET", default_value = "latest")]
    pub dataset: String,
}

/// Runs the subcommand. `matches` tells which values were given, so that the configuration file may fill the rest.
///
/// # Errors
/// When the subcommand fails; see each.
pub fn run(cli: &Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = ConfigFile::load(&cli.config)?;
    let place = config.resolve("store", &cli.store, innermost(matches))?;
    let store = Store::new(place.data);
    match &cli.command {
        Command::Build(args) => {
            let settings = config.resolve("features.build", &args.settings, innermost(matches))?;
            build(args, &settings, &store)
        }
        Command::Docs(args) => write_docs(args, &store),
        Command::List { json } => list(*json),
        Command::Show(args) => show::run(args, &store),
    }
}

fn build(args: &BuildArgs, settings: &FeatureSettings, store: &Store) -> anyhow::Result<()> {
    let started = Instant::now();
    let raw = store.find_version(&args.dataset, &NODE_METRICS)?;
    let report = offline::build(store, &raw.id, settings, args.rebuild)?;
    if let Some(path) = &args.manifest_out {
        runtime::files::write_json(path, &report.version)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let rows = report.version.rows.get(NODE_HISTORY.name).copied().unwrap_or_default();
    println!(
        "dataset {} has {rows} rows of {} features; {} days built, {} kept, {:.1} s",
        report.version.id,
        catalogue::len(),
        report.days_built,
        report.days_kept,
        started.elapsed().as_secs_f64()
    );
    let dropped = report.dropped;
    if dropped != crate::Dropped::default() {
        println!(
            "not used: {} duplicated samples, {} out of order, {} impossible values",
            dropped.duplicates, dropped.out_of_order, dropped.implausible
        );
    }
    Ok(())
}

fn write_docs(args: &DocsArgs, store: &Store) -> anyhow::Result<()> {
    let version = store.find_version(&args.dataset, &NODE_HISTORY)?;
    let shapes = docs::Shapes::read(&store.open_version(&version.id)?)?;
    runtime::files::write_text(&args.out, &docs::markdown(&shapes))?;
    println!("wrote {}", args.out.display());
    if let Some(path) = &args.html_out {
        runtime::files::write_text(path, &docs::html(&shapes, &version))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn list(json: bool) -> anyhow::Result<()> {
    let groups = [catalogue::all(), cluster_state::all()];
    if json {
        println!("{}", serde_json::to_string_pretty(&groups.concat())?);
        return Ok(());
    }
    for features in groups {
        let group = features.first().map_or("", |feature| feature.group);
        for topic in Topic::ALL {
            let of_topic: Vec<_> = features.iter().filter(|feature| feature.topic == topic).collect();
            if of_topic.is_empty() {
                continue;
            }
            println!("{group}: {}", topic.title());
            for feature in of_topic {
                println!("  {:<28} {:<11} {:<12} {}", feature.name, feature.unit, feature.window, feature.formula);
            }
        }
        println!("{} features in the group `{group}`\n", features.len());
    }
    Ok(())
}
