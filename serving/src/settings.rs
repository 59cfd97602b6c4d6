//! How the server listens and what it allows, section `[serving.server]`.

use crate::http::listen::ConnectionLimits;
use crate::registry::ModelName;
use clap::{Args, FromArgMatches};
use cluster::score::{PartWeights, Strategy};
use runtime::settings::Span;
use runtime::{ConfigFile, WrongUse};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

pub use server::token::read_token;

/// The listener and its limits.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerArgs {
    /// Address to listen on
    #[arg(long, env = "BERTH_SERVING_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Models to serve
    #[arg(
        long,
        env = "BERTH_SERVING_MODELS",
        value_delimiter = ',',
        default_value = "load-predictor,placement-agent,anomaly-detector,combined"
    )]
    pub models: Vec<ModelName>,
    /// The registry's alias that serves
    #[arg(long, env = "BERTH_SERVING_ALIAS", default_value = tracking::promotion::CHAMPION)]
    pub alias: String,
    /// Alias whose versions are asked beside, compared, and never answered; empty for none
    #[arg(long, env = "BERTH_SERVING_SHADOW", default_value = tracking::promotion::CHALLENGER, value_name = "ALIAS")]
    pub shadow: String,
    /// How often the registry is asked for a newer version
    #[arg(long, env = "BERTH_SERVING_RELOAD_EVERY", default_value = "30s", value_name = "SPAN")]
    pub reload_every: Span,
    /// Largest body of a request, in bytes, once it is decompressed
    #[arg(long, env = "BERTH_SERVING_MAX_BODY_BYTES", default_value_t = 16 << 20, value_name = "BYTES")]
    pub max_body_bytes: usize,
    /// Memory that the requests under way may take together, in bytes; a body takes eight times its length. What would go beyond is
    /// answered 503 with Retry-After
    #[arg(long, env = "BERTH_SERVING_MAX_REQUEST_MEMORY", default_value_t = 256 << 20, value_name = "BYTES")]
    pub max_request_memory: usize,
    /// Bytes of answers that clients have not read yet, over all connections; one client may leave half of them
    #[arg(long, env = "BERTH_SERVING_MAX_UNREAD_BYTES", default_value_t = 64 << 20, value_name = "BYTES")]
    pub max_unread_bytes: usize,
    /// Rows of one request, or scores of one: pods times nodes
    #[arg(long, env = "BERTH_SERVING_MAX_ROWS", default_value_t = 100_000, value_name = "COUNT")]
    pub max_rows: usize,
    /// Requests under way at once; more are answered 503 with Retry-After
    #[arg(long, env = "BERTH_SERVING_MAX_CONCURRENT", default_value_t = 64, value_name = "COUNT")]
    pub max_concurrent: usize,
    /// Connections open at once; more wait until one is closed
    #[arg(long, env = "BERTH_SERVING_MAX_CONNECTIONS", default_value_t = 1_024, value_name = "COUNT")]
    pub max_connections: usize,
    /// Connections of one client (an IPv4 address, or a /64 network of IPv6) open at once; more are closed at once
    #[arg(long, env = "BERTH_SERVING_MAX_CONNECTIONS_PER_CLIENT", default_value_t = 256, value_name = "COUNT")]
    pub max_connections_per_client: usize,
    /// A connection on which nothing is asked, or an answer is not read, for so long is closed
    #[arg(long, env = "BERTH_SERVING_IDLE_TIMEOUT", default_value = "2m", value_name = "SPAN")]
    pub idle_timeout: Span,
    /// Longest time for one request, its body included; a client may ask for less with the header x-berth-timeout-ms
    #[arg(long, env = "BERTH_SERVING_REQUEST_TIMEOUT", default_value = "10s", value_name = "SPAN")]
    pub request_timeout: Span,
    /// How long requests under way may go on after SIGTERM
    #[arg(long, env = "BERTH_SERVING_DRAIN", default_value = "10s", value_name = "SPAN")]
    pub drain: Span,
    /// A node whose newest sample is older has no score parts
    #[arg(long, env = "BERTH_SERVING_STALE_AFTER", default_value = "3m", value_name = "SPAN")]
    pub stale_after: Span,
    /// How much the load part counts in a score; the three sum to 1
    #[arg(long, env = "BERTH_SERVING_WEIGHT_LOAD", default_value_t = 0.3, value_name = "SHARE")]
    pub weight_load: f64,
    /// How much the placement part counts
    #[arg(long, env = "BERTH_SERVING_WEIGHT_PLACEMENT", default_value_t = 0.4, value_name = "SHARE")]
    pub weight_placement: f64,
    /// How much the anomaly part counts
    #[arg(long, env = "BERTH_SERVING_WEIGHT_ANOMALY", default_value_t = 0.3, value_name = "SHARE")]
    pub weight_anomaly: f64,
    /// Which nodes the load part prefers: `spread` those that are unlikely to become hot, `pack` those that come near 65 %, for
    /// clusters that remove empty nodes
    #[arg(long, env = "BERTH_SERVING_STRATEGY", default_value_t = Strategy::Spread, value_name = "spread|pack")]
    pub strategy: Strategy,
    /// File that holds the bearer token which clients must send; without it everyone is answered
    #[arg(long, env = "BERTH_SERVING_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Keep every prediction below the data folder, as JSON Lines rolled to Parquet
    #[arg(long, env = "BERTH_SERVING_LOG_PREDICTIONS", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub log_predictions: bool,
}

impl ServerArgs {
    /// The settings of a command that has none of these as flags: environment, file, default.
    ///
    /// # Errors
    /// See [`ConfigFile::resolve`].
    pub fn without_flags(config: &ConfigFile) -> anyhow::Result<Self> {
        let matches = Self::augment_args(clap::Command::new("serving").no_binary_name(true))
            .try_get_matches_from(std::iter::empty::<&str>())
            .map_err(|error| WrongUse(error.to_string()))?;
        let parsed = Self::from_arg_matches(&matches).map_err(|error| WrongUse(error.to_string()))?;
        config.resolve("serving.server", &parsed, &matches)
    }

    /// How much each part counts.
    pub fn weights(&self) -> PartWeights {
        PartWeights { load: self.weight_load, placement: self.weight_placement, anomaly: self.weight_anomaly }
    }

    /// What is allowed of connections.
    pub fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            most: self.max_connections,
            per_client: self.max_connections_per_client,
            idle: self.idle_timeout.0,
            answers: self.max_unread_bytes,
            ..ConnectionLimits::default()
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        let wrong = |text: String| Err(WrongUse(format!("{text} in [serving.server]")));
        if let Err(error) = self.weights().check() {
            return wrong(error.to_string());
        }
        if self.models.is_empty() {
            return wrong("`models` is empty, want at least one".to_owned());
        }
        for (key, value) in [
            ("max_body_bytes", self.max_body_bytes),
            ("max_request_memory", self.max_request_memory),
            ("max_unread_bytes", self.max_unread_bytes),
            ("max_connections_per_client", self.max_connections_per_client),
            ("max_rows", self.max_rows),
            ("max_concurrent", self.max_concurrent),
            ("max_connections", self.max_connections),
        ] {
            if value == 0 {
                return wrong(format!("`{key}` is 0, want at least 1"));
            }
        }
        let largest = self.max_body_bytes.saturating_mul(server::body::PARSED);
        if self.max_request_memory < largest {
            let memory = self.max_request_memory;
            return wrong(format!(
                "`max_request_memory` is {memory}, want at least {largest}: {} times `max_body_bytes`, or the largest body is never read",
                server::body::PARSED
            ));
        }
        for (key, span) in [
            ("reload_every", self.reload_every),
            ("idle_timeout", self.idle_timeout),
            ("request_timeout", self.request_timeout),
            ("stale_after", self.stale_after),
        ] {
            if span.millis() < 1 {
                return wrong(format!("`{key}` is {span}, want at least 1ms"));
            }
        }
        Ok(())
    }
}

/// Reads `NAME=DIR`, a model in a folder.
///
/// # Errors
/// What is wrong with it, for clap.
pub fn model_folder(text: &str) -> Result<(ModelName, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("want NAME=DIR")?;
    let model = ModelName::TRAINED.into_iter().find(|model| model.as_str() == name);
    Ok((model.ok_or_else(|| format!("`{name}` is no trained model"))?, PathBuf::from(folder)))
}
