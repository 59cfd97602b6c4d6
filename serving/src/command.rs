//! The command line.

use crate::http::listen::Listening;
use crate::http::tls::{Tls, TlsArgs};
use crate::http::{App, Limits, router};
use crate::metrics::Metrics;
use crate::nodes::{Feed, Fresh, KeepArgs, Tables, keep};
use crate::predictions::PredictionLog;
use crate::registry::{ModelName, Origin, Registry};
use crate::score::ScoreRules;
use crate::settings::ServerArgs;
use crate::shadow::Shadow;
use anyhow::Context;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use collector::prometheus::{PrometheusArgs, Source};
use runtime::http::HttpArgs;
use runtime::settings::{ConfigArgs, innermost};
use runtime::telemetry::TelemetryArgs;
use runtime::{ConfigFile, WrongUse};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use store::{Store, StoreArgs};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracking::{Tracker, TrackingArgs};

const EXAMPLES: &str = "Examples:
  serving run --prometheus http://prometheus:9090       models of the registry, nodes of a live cluster
  serving                                               the same on the history below --data, as of its last sample
  serving run --models load-predictor --listen 0.0.0.0:8080
  serving run --tls-cert-file tls.crt --tls-key-file tls.key --tls-client-ca-file ca.crt
  serving run --model placement-agent=DIR               a model from a folder instead of the registry
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
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    nodes: KeepArgs,
    #[command(flatten)]
    prometheus: PrometheusArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// A model from a folder instead of the registry; may be given for several
    #[arg(long = "model", value_name = "NAME=DIR", value_parser = folder)]
    folders: Vec<(ModelName, PathBuf)>,
}

fn folder(text: &str) -> Result<(ModelName, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("want NAME=DIR")?;
    let model = ModelName::TRAINED.into_iter().find(|model| model.as_str() == name);
    Ok((model.ok_or_else(|| format!("`{name}` is no trained model"))?, PathBuf::from(folder)))
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
    let nodes: KeepArgs = config.resolve("serving.nodes", &args.nodes, matches)?;
    server.validate()?;
    nodes.validate()?;
    let source = Source::resolve(config, &args.prometheus, &args.http, matches)?;
    if source.args.prometheus.is_some() {
        source.address()?;
    }
    let tls = tls.load()?;
    let token = server.token_file.as_deref().map(read_token).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let tracker: Arc<dyn Tracker> = Arc::from(tracking::open(tracking, &store.data).await?);
        let origins = origins(&server, &args.folders, &tracker)?;
        let shadow = (!server.shadow.is_empty()).then(|| aliased(&server, &server.shadow, &tracker));
        let setup = Setup { shadow, server, tls, nodes, source, store: Store::new(store.data), origins, token };
        setup.serve(async { runtime::shutdown::requested().await.unwrap_or(()) }).await
    })
}

fn read_token(path: &std::path::Path) -> anyhow::Result<String> {
    let text = runtime::files::read_text(path)?;
    let token = text.trim();
    anyhow::ensure!(!token.is_empty(), WrongUse(format!("token file `{}` is empty", path.display())));
    Ok(token.to_owned())
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

/// All that is settled before the first request.
struct Setup {
    server: ServerArgs,
    tls: Option<Tls>,
    nodes: KeepArgs,
    source: Source,
    store: Store,
    origins: BTreeMap<ModelName, Origin>,
    /// Where challengers come from, if there may be some.
    shadow: Option<BTreeMap<ModelName, Origin>>,
    token: Option<String>,
}

impl Setup {
    async fn serve(self, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self { server, tls, nodes, source, store, origins, shadow, token } = self;
        let metrics = Arc::new(Metrics::default());
        let registry = Arc::new(Registry::new(origins, Arc::clone(&metrics)));
        let fresh = Arc::new(Fresh::default());
        let listener = TcpListener::bind(server.listen)
            .await
            .with_context(|| format!("failed to listen on `{}`", server.listen))?;
        let knows_clients = tls.as_ref().is_some_and(Tls::knows_clients);
        let serves_scores = server.models.contains(&ModelName::Combined);
        let log = match server.log_predictions {
            true => Some(PredictionLog::open(&store, metrics.clone())?),
            false => None,
        };
        let shadow = match shadow {
            Some(origins) => {
                let challengers = Registry::optional(origins, Arc::clone(&metrics));
                Some(Arc::new(Shadow::start(server.shadow.clone(), challengers, Arc::clone(&metrics))?))
            }
            None => None,
        };
        let limits = Limits {
            body: server.max_body_bytes,
            rows: server.max_rows,
            concurrent: server.max_concurrent,
            time: server.request_timeout.0,
        };
        let rules = ScoreRules { weights: server.weights(), stale_after: server.stale_after.millis() };
        let app = Arc::new(App::new(
            Arc::clone(&registry),
            Arc::clone(&fresh),
            Arc::clone(&metrics),
            rules,
            limits,
            serves_scores,
            shadow.clone(),
            log,
            token,
        ));
        if app.token.is_none() && !knows_clients && !server.listen.ip().is_loopback() {
            tracing::warn!(address = %server.listen, "whoever reaches this address is answered: set --token-file or --tls-client-ca-file, or keep the network closed");
        }
        registry.refresh().await;
        if let Some(shadow) = &shadow {
            shadow.challengers.refresh().await;
        }
        tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "serving");
        let (stopping, stopped) = watch::channel(false);
        let until = |mut stopped: watch::Receiver<bool>| async move {
            // The sender lives as long as this function.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let listening =
            Listening { listener, tls, limits: server.connections(), counters: metrics.connections.clone() };
        let answering = tokio::spawn(listening.serve(router(Arc::clone(&app)), server.drain.0, until(stopped.clone())));
        let reloading = async {
            let mut ticks = tokio::time::interval(server.reload_every.0);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                registry.refresh().await;
                if let Some(shadow) = &shadow {
                    shadow.challengers.refresh().await;
                }
            }
        };
        let keeping = async {
            if !serves_scores {
                until(stopped.clone()).await;
                return Ok(());
            }
            let feed = match &source.args.prometheus {
                Some(_) => Feed::prometheus(&source)?,
                None => Feed::Tables(Tables::new(store.clone())),
            };
            let snapshot = store.root().join("serving/windows.snapshot");
            let stop = until(stopped.clone());
            keep(feed, &nodes, &registry, &fresh, shadow.as_deref(), &snapshot, &metrics, stop).await
        };
        tokio::pin!(keeping);
        let mut keeps = true;
        // Whatever ends by itself takes the process with it, so that it is started again.
        let ended: anyhow::Result<()> = tokio::select! {
            () = stop => Ok(()),
            () = reloading => Ok(()),
            kept = &mut keeping => {
                keeps = false;
                kept.context("nodes are kept fresh no more")
            }
        };
        tracing::info!("stopping: requests under way are answered");
        // Nobody listening means that the server has ended already.
        let _ = stopping.send(true);
        if !answering.await.context("the server ended by a panic")? {
            tracing::warn!(drain = %server.drain, "requests were still under way at the end of the grace period");
        }
        if keeps && tokio::time::timeout(server.drain.0, keeping).await.is_err() {
            tracing::warn!("the windows were not written in time");
        }
        if let Some(log) = &app.log {
            log.close();
        }
        ended
    }
}
