//! The command line.

use crate::http::tls::TlsArgs;
use crate::journal::JournalArgs;
use crate::nodes::{KeepArgs, RedisArgs};
use crate::registry::{ModelName, Origin};
use crate::rollout::RolloutArgs;
use crate::rollout::command::RolloutCommand;
use crate::run::Setup;
use crate::settings::{ServerArgs, model_folder};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use collector::prometheus::{PrometheusArgs, Source};
use features::FeatureSettings;
use runtime::http::HttpArgs;
use runtime::settings::{ConfigArgs, innermost};
use runtime::telemetry::TelemetryArgs;
use runtime::{ConfigFile, WrongUse};
use server::token::{Token, read_token};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use store::{Store, StoreArgs};
use tracking::{Tracker, TrackingArgs};

const EXAMPLES: &str = "Examples:
  serving run --prometheus http://prometheus:9090       models of the registry, nodes of a live cluster
  serving                                               the same on the history below --data, as of its last sample
  serving run --models load-predictor --listen 0.0.0.0:8080
  serving run --tls-cert-file tls.crt --tls-key-file tls.key --tls-client-ca-file ca.crt
  serving run --model placement-agent=DIR               a model from a folder instead of the registry
  serving rollout set 5 --reason 'first look'            five percent of the workloads for the challenger
  curl -s 127.0.0.1:8080/v1/score -d '{\"pods\":[{\"cpu_request_cores\":0.5}]}'

Then see http://127.0.0.1:8080/docs. Exit codes: 0 done, 1 failed, 2 wrong use";

/// Serves the registered models: Open Inference Protocol v2, and one score per node
///
/// Without a command: `run` with its defaults.
#[derive(Debug, Parser)]
#[command(name = "serving", version, after_help = EXAMPLES)]
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

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests until SIGTERM
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Give a challenger a share of the workloads, look at how it does, promote it or take it back
    Rollout(RolloutCommand),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    rollout: RolloutArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    nodes: KeepArgs,
    #[command(flatten)]
    prometheus: PrometheusArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// A model from a folder instead of the registry; may be given for several
    #[arg(long = "model", value_name = "NAME=DIR", value_parser = model_folder)]
    folders: Vec<(ModelName, PathBuf)>,
}

/// Reads the command line; ends the process on `--help` and on wrong use.
pub fn parse() -> (Cli, ArgMatches) {
    let mut matches = Cli::command().get_matches();
    if matches.subcommand().is_none() {
        matches = Cli::command().get_matches_from(std::env::args_os().chain([OsString::from("run")]));
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, matches),
        Err(error) => error.exit(),
    }
}

/// Runs the command.
///
/// # Errors
/// Wrong settings; an address that cannot be listened on; a registry that cannot be opened.
pub fn run(cli: &Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = ConfigFile::load(&cli.config)?;
    let store: StoreArgs = config.resolve("store", &cli.store, matches)?;
    let tracking: TrackingArgs = config.resolve("tracking", &cli.tracking, matches)?;
    match &cli.command {
        Some(Command::Run(args)) => answer(&config, store, &tracking, args, innermost(matches)),
        Some(Command::Rollout(command)) => {
            let server = ServerArgs::without_flags(&config)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(crate::rollout::command::run(command, &store.data, &tracking, &server))
        }
        None => Ok(()),
    }
}

fn answer(
    config: &ConfigFile,
    store: StoreArgs,
    tracking: &TrackingArgs,
    args: &RunArgs,
    matches: &ArgMatches,
) -> anyhow::Result<()> {
    let server: ServerArgs = config.resolve("serving.server", &args.server, matches)?;
    let tls: TlsArgs = config.resolve("serving.tls", &args.tls, matches)?;
    let limits: RolloutArgs = config.resolve("serving.rollout", &args.rollout, matches)?;
    let redis: RedisArgs = config.resolve("serving.redis", &args.redis, matches)?;
    let journal: JournalArgs = config.resolve("serving.journal", &args.journal, matches)?;
    let mut nodes: KeepArgs = config.resolve("serving.nodes", &args.nodes, matches)?;
    nodes.features = FeatureSettings::as_built(config)?;
    server.validate()?;
    nodes.validate()?;
    limits.validate()?;
    let source = Source::resolve(config, &args.prometheus, &args.http, matches)?;
    if source.args.prometheus.is_some() {
        source.address()?;
    }
    let (tls, redis) = (tls.load()?, redis.client()?);
    let token = server.token_file.as_deref().map(read_token).transpose()?.map(Token::new);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let tracker: Arc<dyn Tracker> = Arc::from(tracking::open(tracking, &store.data).await?);
        let origins = origins(&server, &args.folders, &tracker)?;
        let shadow = (!server.shadow.is_empty()).then(|| aliased(&server, &server.shadow, &tracker));
        let setup = Setup {
            shadow,
            limits,
            server,
            tls,
            nodes,
            redis,
            source,
            store: Store::new(store.data),
            origins,
            journal,
            token,
        };
        setup.serve(async { runtime::shutdown::requested().await.unwrap_or(()) }).await
    })
}

fn origins(
    server: &ServerArgs,
    folders: &[(ModelName, PathBuf)],
    tracker: &Arc<dyn Tracker>,
) -> anyhow::Result<BTreeMap<ModelName, Origin>> {
    let mut origins = aliased(server, &server.alias, tracker);
    for (name, folder) in folders {
        if !origins.contains_key(name) {
            return Err(WrongUse(format!("--model {} is given, and --models does not name it", name.as_str())).into());
        }
        origins.insert(*name, Origin::Folder(folder.clone()));
    }
    Ok(origins)
}

/// The wanted models by an alias. The combination is made of all three.
fn aliased(server: &ServerArgs, alias: &str, tracker: &Arc<dyn Tracker>) -> BTreeMap<ModelName, Origin> {
    let wants_all = server.models.contains(&ModelName::Combined);
    let wanted = ModelName::TRAINED.into_iter().filter(|name| wants_all || server.models.contains(name));
    wanted.map(|name| (name, Origin::Alias { tracker: Arc::clone(tracker), alias: alias.to_owned() })).collect()
}
