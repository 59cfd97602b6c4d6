//! History from the Prometheus HTTP API.

use crate::raw::DropCounts;
use clap::{ArgMatches, Args};
use runtime::ConfigFile;
use runtime::http::HttpArgs;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::fmt;
use store::Store;

/// Section `[collector.prometheus]`: which server, and which span of its history.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusArgs {
    /// Address of the Prometheus server, such as http://prometheus:9090
    #[arg(long = "prometheus", id = "prometheus", env = "BERTH_PROMETHEUS_URL", value_name = "URL")]
    pub prometheus: Option<String>,
    /// How far back history is wanted
    #[arg(long, env = "BERTH_PROMETHEUS_SINCE", default_value = "35d")]
    pub since: Span,
    /// First moment (RFC 3339); wins over --since
    #[arg(long, env = "BERTH_PROMETHEUS_FROM", value_name = "TIME")]
    pub from: Option<String>,
    /// Last moment (RFC 3339) [default: now]
    #[arg(long, env = "BERTH_PROMETHEUS_TO", value_name = "TIME")]
    pub to: Option<String>,
    /// Distance of samples
    #[arg(long, env = "BERTH_PROMETHEUS_STEP", default_value = "30s")]
    pub step: Span,
}

/// A server with its settings resolved and checked.
#[derive(Debug, Clone)]
pub struct Source {
    /// What was asked for.
    pub args: PrometheusArgs,
    /// How to reach the server.
    pub http: HttpArgs,
}

impl Source {
    /// Lays the configuration file under what was given, and checks it.
    ///
    /// # Errors
    /// When a setting is not valid.
    pub fn resolve(
        config: &ConfigFile,
        args: &PrometheusArgs,
        http: &HttpArgs,
        given: &ArgMatches,
    ) -> anyhow::Result<Self> {
        Ok(Self { args: config.resolve("collector.prometheus", args, given)?, http: http.clone() })
    }
}

/// What a backfill did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BackfillSummary {
    /// The server's address, without credentials.
    pub server: String,
    /// Rows written to `raw/node_metrics`.
    pub rows: u64,
    /// What was counted and left out.
    pub drops: DropCounts,
}

impl fmt::Display for BackfillSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows from `{}`; left out: {}", self.rows, self.server, self.drops)
    }
}

/// Fetches the history that the tables do not have yet.
///
/// # Errors
/// When the server cannot be reached or answers nonsense, or when the disk is full.
pub async fn backfill(source: &Source, _store: &Store) -> anyhow::Result<BackfillSummary> {
    anyhow::bail!("backfill from {:?} is not available yet", source.args.prometheus)
}

/// Fetches every step until SIGTERM.
///
/// # Errors
/// When the disk is full; a server that is away is waited for.
pub async fn watch(source: &Source, _store: &Store) -> anyhow::Result<()> {
    anyhow::bail!("watch of {:?} is not available yet", source.args.prometheus)
}
