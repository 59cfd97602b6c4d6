//! The command line.

use crate::doctor::Patient;
use crate::explain::Explanation;
use crate::history::{compared, explained};
use crate::run::Setup;
use crate::settings::{ClientArgs, ClusterArgs, LimitArgs, ServerArgs};
use crate::shadow::{Comparison, Shadow};
use anyhow::Context;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use collector::prometheus::{PrometheusArgs, Source};
use features::FeatureSettings;
use report::printable;
use reqwest::Url;
use runtime::http::HttpArgs;
use runtime::settings::{ConfigArgs, innermost};
use runtime::telemetry::TelemetryArgs;
use runtime::{ConfigFile, WrongUse};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serving::http::tls::TlsArgs;
use serving::journal::JournalArgs;
use serving::nodes::{KeepArgs, RedisArgs};
use serving::registry::ModelName;
use serving::settings::model_folder;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use store::{Store, StoreArgs};
use tracking::TrackingArgs;

/// Most bytes of what a running extender answers: an explanation has some ten kilobytes.
const MOST_BYTES: usize = 4 << 20;

const EXAMPLES: &str = "Examples:
  scheduler-extender run --prometheus http://prometheus:9090        in a pod: shadow, models of the registry below --data
  scheduler-extender run --kubeconfig ~/.kube/config --rules rules.toml --kill-file /run/berth/kill
  scheduler-extender run --scoring http://serving:8080              scores of a serving elsewhere
  scheduler-extender explain shop/cart-7d4b9-x2x9k                  why a pod went where it went
  scheduler-extender report                                         what shadow has found so far
  scheduler-extender doctor --prometheus http://prometheus:9090     what may be wrong around it

Exit codes: 0 done, 1 failed, 2 wrong use, 3 a check said no";

/// The webhook that kube-scheduler calls: node scores from the cluster's own history, neutral whenever in doubt
///
/// Without a command: `run` with its defaults.
#[derive(Debug, Parser)]
#[command(name = "scheduler-extender", version, after_help = EXAMPLES)]
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
    /// Answer kube-scheduler until SIGTERM
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Tell why a pod went where it went
    #[command(
        after_help = "Example:\n  scheduler-extender explain shop/cart-7d4b9-x2x9k --server http://127.0.0.1:8888     as it is remembered\n  scheduler-extender --data DIR explain shop/cart-7d4b9-x2x9k --days 7                of all that were kept"
    )]
    Explain(ExplainArgs),
    /// Tell how kube-scheduler's choices compare with the best candidates
    #[command(
        after_help = "Example:\n  scheduler-extender report --server http://127.0.0.1:8888     since it began\n  scheduler-extender --data DIR report --days 7                of all that were kept"
    )]
    Report(ReportArgs),
    /// Check Prometheus, models, node mapping, RBAC, certificates, clocks and kube-scheduler's configuration
    #[command(
        after_help = "Example:\n  scheduler-extender doctor --prometheus http://prometheus:9090 --scheduler-config /etc/kubernetes/scheduler.yaml\n\nTakes what `run` takes. Exit codes: 0 nothing is broken, 1 failed, 2 wrong use, 3 a check failed"
    )]
    Doctor(Box<DoctorArgs>),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    nodes: KeepArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    prometheus: PrometheusArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// A model from a folder instead of the registry; may be given for several
    #[arg(long = "model", value_name = "NAME=DIR", value_parser = model_folder)]
    folders: Vec<(ModelName, PathBuf)>,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    #[command(flatten)]
    of: RunArgs,
    /// kube-scheduler's configuration file
    #[arg(long, env = "BERTH_EXTENDER_SCHEDULER_CONFIG", value_name = "FILE")]
    scheduler_config: Option<PathBuf>,
    /// Write JSON for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ServerOf {
    /// The running extender
    #[arg(long, env = "BERTH_EXTENDER_SERVER", default_value = "http://127.0.0.1:8888", value_name = "URL")]
    server: Url,
    /// Write JSON for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// Which pod
    #[arg(value_name = "NAMESPACE/POD", value_parser = pod_name)]
    pod: (String, String),
    /// Read the table `raw/decisions` below --data instead: the last so many days that have decisions
    #[arg(long, value_name = "DAYS")]
    days: Option<usize>,
    #[command(flatten)]
    of: ServerOf,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Read the table `raw/decisions` below --data instead: the last so many days that have decisions
    #[arg(long, value_name = "DAYS")]
    days: Option<usize>,
    #[command(flatten)]
    of: ServerOf,
}

fn pod_name(text: &str) -> Result<(String, String), String> {
    let (namespace, pod) = text.split_once('/').ok_or("want NAMESPACE/POD")?;
    if namespace.is_empty() || pod.is_empty() || pod.contains('/') {
        return Err("want NAMESPACE/POD".to_owned());
    }
    Ok((namespace.to_owned(), pod.to_owned()))
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
/// Wrong settings; an address that cannot be listened on; a running extender that does not answer.
pub fn run(cli: &Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = ConfigFile::load(&cli.config)?;
    let inner = innermost(matches);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kept_in = || -> anyhow::Result<Store> {
        let store: StoreArgs = config.resolve("store", &cli.store, matches)?;
        Ok(Store::new(store.data))
    };
    match &cli.command {
        Some(Command::Run(args)) => {
            let setup = settled(cli, &config, args, matches, inner)?;
            runtime.block_on(setup.run(async { runtime::shutdown::requested().await.unwrap_or(()) }))
        }
        Some(Command::Doctor(args)) => {
            let of = settled(cli, &config, &args.of, matches, inner)?;
            let patient = Patient { of, scheduler_config: args.scheduler_config.clone() };
            crate::doctor::print(&runtime.block_on(patient.look()), args.json)
        }
        Some(Command::Explain(args)) => {
            let explanation = match args.days {
                Some(days) => kept(&kept_in()?, &args.pod, days)?,
                None => runtime.block_on(remembered(&config, args, inner))?,
            };
            print_explanation(&explanation, args.of.json)
        }
        Some(Command::Report(args)) => match args.days {
            Some(days) => {
                let (comparison, count) = compared(&kept_in()?, days)?;
                told(&comparison, args.of.json, &format!("{count} decisions"))
            }
            None => runtime.block_on(report(&config, args, inner)),
        },
        None => Ok(()),
    }
}

fn settled(
    cli: &Cli,
    config: &ConfigFile,
    args: &RunArgs,
    matches: &ArgMatches,
    inner: &ArgMatches,
) -> anyhow::Result<Setup> {
    let store: StoreArgs = config.resolve("store", &cli.store, matches)?;
    let server: ServerArgs = config.resolve("scheduler_extender.server", &args.server, inner)?;
    let limits: LimitArgs = config.resolve("scheduler_extender.limits", &args.limits, inner)?;
    let cluster: ClusterArgs = config.resolve("scheduler_extender.cluster", &args.cluster, inner)?;
    let mut nodes: KeepArgs = config.resolve("serving.nodes", &args.nodes, inner)?;
    nodes.features = FeatureSettings::as_built(config)?;
    server.validate()?;
    limits.validate()?;
    cluster.validate()?;
    nodes.validate()?;
    let source = Source::resolve(config, &args.prometheus, &args.http, inner)?;
    if source.args.prometheus.is_some() {
        source.address()?;
    }
    Ok(Setup {
        tls: config.resolve("scheduler_extender.tls", &args.tls, inner)?,
        server,
        limits,
        cluster,
        nodes,
        redis: config.resolve("serving.redis", &args.redis, inner)?,
        journal: config.resolve("scheduler_extender.journal", &args.journal, inner)?,
        http: source.http.clone(),
        source,
        store: Store::new(store.data),
        tracking: config.resolve("tracking", &cli.tracking, matches)?,
        folders: args.folders.clone(),
    })
}

impl ServerOf {
    /// Asks the running extender for a path.
    async fn get<T: DeserializeOwned>(
        &self,
        config: &ConfigFile,
        matches: &ArgMatches,
        path: &[&str],
    ) -> anyhow::Result<T> {
        let client: ClientArgs = config.resolve("scheduler_extender.client", &self.client, matches)?;
        let mut url = self.server.clone();
        url.path_segments_mut()
            .map_err(|()| WrongUse(format!("--server `{}` is no address", self.server)))?
            .pop_if_empty()
            .extend(path);
        let asked = client.client(&url, Duration::from_secs(30))?.get(url.clone()).send().await;
        let response = asked.with_context(|| format!("failed to ask `{url}`: is the extender running there?"))?;
        if !response.status().is_success() {
            #[derive(Deserialize)]
            struct Said {
                error: String,
            }
            let status = response.status();
            let said =
                runtime::body::json::<Said>(response, MOST_BYTES).await.map(|said| said.error).unwrap_or_default();
            anyhow::bail!("`{url}` answered {status}: {}", printable(&said));
        }
        Ok(runtime::body::json(response, MOST_BYTES).await?)
    }
}

async fn remembered(config: &ConfigFile, args: &ExplainArgs, matches: &ArgMatches) -> anyhow::Result<Explanation> {
    args.of.get(config, matches, &["explain", &args.pod.0, &args.pod.1]).await
}

fn kept(store: &Store, (namespace, pod): &(String, String), days: usize) -> anyhow::Result<Explanation> {
    explained(store, namespace, pod, days)?.with_context(|| {
        format!(
            "no decision on `{namespace}/{pod}` in the last {days} days that have any, below `{}`: kube-scheduler asks only where it has a choice of two nodes, and each replica keeps its own",
            store.root().display()
        )
    })
}

fn print_explanation(explanation: &Explanation, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(explanation)?);
    } else {
        print!("{}", explanation.text());
    }
    Ok(())
}

async fn report(config: &ConfigFile, args: &ReportArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let shadow: Shadow = args.of.get(config, matches, &["v1", "shadow"]).await?;
    shadow.silent.iter().for_each(|one| eprintln!("warning: a replica is silent and left out: {}", printable(one)));
    let replicas = if shadow.replicas == 1 { String::new() } else { format!(", {} replicas", shadow.replicas) };
    told(&shadow.comparison, args.of.json, &format!("since the extender began{replicas}"))
}

fn told(comparison: &Comparison, as_json: bool, what: &str) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(comparison)?);
    } else {
        println!("{what}:");
        comparison.sentences().iter().for_each(|sentence| println!("- {sentence}"));
    }
    Ok(())
}
