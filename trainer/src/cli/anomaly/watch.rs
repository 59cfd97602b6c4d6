//! `trainer anomaly watch`.

use super::super::Context;
use super::model::ModelArgs;
use chrono::{DateTime, SecondsFormat};
use clap::{ArgMatches, Args};
use collector::prometheus::{PrometheusArgs, Source};
use detection::metrics::{self, Metrics};
use detection::scorer::blame_text;
use detection::watch::alarms::{Change, ChangeKind};
use detection::watch::{WatchArgs, watch};
use runtime::http::HttpArgs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

const EXAMPLES: &str = "Examples:
  trainer anomaly watch --prometheus http://prometheus:9090 --alertmanager http://alertmanager:9093
  trainer anomaly watch --prometheus http://prometheus:9090 --json --metrics-address 127.0.0.1:9464
  trainer anomaly watch --prometheus http://prometheus:9090 --from 2026-11-20T06:00:00Z --to 2026-11-20T09:00:00Z

With --from or --to it walks through that span of history as if it were now, then ends. The recommended response is a
recommendation: nothing is tainted or evicted. Exit codes: 0 done, 1 failed, 2 wrong use";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct WatchCommand {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    prometheus: PrometheusArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// Serve Prometheus metrics on this address, such as 127.0.0.1:9464
    #[arg(long, env = "BERTH_ANOMALY_METRICS_ADDRESS", value_name = "ADDRESS")]
    metrics_address: Option<SocketAddr>,
    /// Where to write the closing summary as JSON
    #[arg(long, value_name = "FILE")]
    summary_out: Option<PathBuf>,
    /// Print findings as JSON lines instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(context: &Context, args: &WatchCommand, matches: &ArgMatches) -> anyhow::Result<()> {
    let mut settings: WatchArgs = context.config.resolve("trainer.anomaly_watch", &args.watch, matches)?;
    settings.features = features::FeatureSettings::as_built(&context.config)?;
    settings.validate()?;
    let source = Source::resolve(&context.config, &args.prometheus, &args.http, matches)?;
    source.address()?;
    let loaded = args.model.load(context)?;
    let metrics = Arc::new(Metrics::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let summary = runtime.block_on(async {
        if let Some(address) = args.metrics_address {
            metrics::serve(address, Arc::clone(&metrics)).await?;
        }
        let print = |change: &Change| print(change, args.json);
        watch(
            &source,
            &alertmanager_http(&source.http),
            &loaded,
            &settings,
            metrics,
            print,
            runtime::shutdown::requested(),
        )
        .await
    })?;
    if let Some(path) = &args.summary_out {
        runtime::files::write_json(path, &summary)?;
    }
    eprint!("{}", summary.text());
    Ok(())
}

/// The certificate authority is shared with Prometheus, credentials never are.
fn alertmanager_http(prometheus: &HttpArgs) -> HttpArgs {
    HttpArgs {
        ca_file: prometheus.ca_file.clone(),
        username: std::env::var("BERTH_ALERTMANAGER_USERNAME").ok(),
        ..HttpArgs::default()
    }
}

fn print(change: &Change, as_json: bool) -> anyhow::Result<()> {
    let line = if as_json { serde_json::to_string(change)? } else { text(change) };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn text(change: &Change) -> String {
    let alarm = &change.alarm;
    let time = DateTime::from_timestamp_millis(change.at)
        .map_or_else(|| change.at.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    let (node, severity, kind) = (&alarm.node, alarm.severity.as_str(), alarm.kind.as_str());
    match change.change {
        ChangeKind::Raised => format!(
            "{time} {severity:8} {node} {kind}: {} (score {:.2}); {}",
            alarm.response.as_str(),
            alarm.finding.score,
            blame_text(&alarm.finding.blame)
        ),
        ChangeKind::Cleared => format!("{time} cleared  {node} {kind}, was {severity}"),
        ChangeKind::Gone => format!("{time} gone     {node} {kind}, was {severity}: no sample for an hour"),
    }
}
