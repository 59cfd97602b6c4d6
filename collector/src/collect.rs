//! The first step of the daily retrain: bring the raw tables up to date, freeze them as a dataset version.

use crate::prometheus::{PrometheusArgs, Source, backfill};
use crate::sources;
use crate::synthesize::{SynthesizeArgs, holds_other_history, present_cluster, synthesize};
use clap::{ArgMatches, Args, FromArgMatches};
use cluster::{INCIDENTS, NODE_METRICS, PODS};
use runtime::ConfigFile;
use runtime::http::HttpArgs;
use std::path::PathBuf;
use store::{DatasetVersion, Store};
use tracing::info;

/// Where the history comes from and where the manifest goes.
#[derive(Debug, Clone, Args)]
pub struct CollectArgs {
    /// Write the manifest of the dataset version to this file
    #[arg(long, value_name = "FILE")]
    pub manifest_out: Option<PathBuf>,
    /// Print the manifest
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Time limits, authority, credentials.
    #[command(flatten)]
    pub http: HttpArgs,
}

/// Runs the step: with a server's address a backfill of what is new; without one, imported history stays as it is, and
/// empty tables get the synthetic cluster of section `[collector.synthesize]`.
///
/// # Errors
/// When the source fails or the tables cannot be frozen.
pub fn run(args: &CollectArgs, config: &ConfigFile, given: &ArgMatches, store: &Store) -> anyhow::Result<()> {
    let source = Source::resolve(config, &args.prometheus, &args.http, given)?;
    if source.args.prometheus.is_some() {
        let summary = crate::cli::block_on(backfill(&source, store))?;
        info!("{summary}");
    } else if holds_other_history(store)? {
        info!(root = %store.root().display(), "no server is named, the imported history stays as it is");
    } else {
        let summary = synthesize(&wanted_cluster(config, store)?, store)?;
        info!("{summary}");
    }
    let version = freeze(store)?;
    if let Some(path) = &args.manifest_out {
        runtime::files::write_json(path, &version)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&version)?);
    } else {
        let rows =
            version.rows.iter().map(|(table, rows)| format!("{rows} rows of {table}")).collect::<Vec<_>>().join(", ");
        println!("dataset `{}`: {rows}", version.id);
    }
    Ok(())
}

/// The made-up cluster that environment, file and defaults ask for. Where nothing is asked for, the one that is there.
fn wanted_cluster(config: &ConfigFile, store: &Store) -> anyhow::Result<SynthesizeArgs> {
    // Flags of the generator are no flags of this step.
    let matches = SynthesizeArgs::augment_args(clap::Command::new("collect")).get_matches_from(["collect"]);
    let parsed = SynthesizeArgs::from_arg_matches(&matches)?;
    let asked = config.resolve("collector.synthesize", &parsed, &matches)?;
    let present = if asked == SynthesizeArgs::default() { present_cluster(store)? } else { None };
    Ok(present.unwrap_or(asked))
}

/// Freezes the raw tables as they are, with the inputs and counts that the ledger holds.
///
/// # Errors
/// When the tables are empty or a file is damaged.
pub fn freeze(store: &Store) -> anyhow::Result<DatasetVersion> {
    Ok(store.freeze(&[&NODE_METRICS, &PODS, &INCIDENTS], sources::draft(store)?)?)
}
