//! What is settled at the start; what may change while the process runs is in the [rules file](crate::rules).

use crate::announce::OwnPod;
use clap::{Args, ValueEnum};
use runtime::WrongUse;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where scores come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ScoringFrom {
    /// This process.
    Embedded,
    /// A `serving` at this address.
    Remote(reqwest::Url),
}

impl std::str::FromStr for ScoringFrom {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let url = server_url(text).map_err(|said| format!("want `embedded` or the address of a serving: {said}"))?;
        Ok(Self::Remote(url))
    }
}

impl TryFrom<String> for ScoringFrom {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ScoringFrom> for String {
    fn from(from: ScoringFrom) -> Self {
        from.to_string()
    }
}

impl std::fmt::Display for ScoringFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Remote(url) => url.fmt(f),
        }
    }
}

/// An address of replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Peer(pub reqwest::Url);

impl std::str::FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        server_url(text).map(Self)
    }
}

impl TryFrom<String> for Peer {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> Self {
        peer.0.into()
    }
}

fn server_url(text: &str) -> Result<reqwest::Url, String> {
    let url: reqwest::Url = text.parse().map_err(|error| format!("`{text}` is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("want http://HOST:PORT or https://HOST:PORT, got `{text}`"));
    }
    Ok(url)
}

/// The listener and where scores come from, section `[scheduler_extender.server]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerArgs {
    /// Address to listen on
    #[arg(long, env = "BERTH_EXTENDER_LISTEN", default_value = "127.0.0.1:8888", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address on which /healthz, /readyz and /metrics are answered in plain HTTP as well: a kubelet's probes have no certificate
    #[arg(long, env = "BERTH_EXTENDER_PROBE_LISTEN", value_name = "ADDRESS")]
    pub probe_listen: Option<SocketAddr>,
    /// Where scores come from: `embedded`, or the address of a serving
    #[arg(long, env = "BERTH_EXTENDER_SCORING", default_value = "embedded", value_name = "FROM")]
    pub scoring: ScoringFrom,
    /// Rules file: mode, share, scope, weights, limits; looked at all the time. Without one: shadow
    #[arg(long, env = "BERTH_EXTENDER_RULES", value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// While this file exists, every answer is neutral
    #[arg(long, env = "BERTH_EXTENDER_KILL_FILE", value_name = "FILE")]
    pub kill_file: Option<PathBuf>,
    /// The registry's alias that scores
    #[arg(long, env = "BERTH_EXTENDER_ALIAS", default_value = tracking::promotion::CHAMPION)]
    pub alias: String,
    /// How often the registry is asked for a newer version
    #[arg(long, env = "BERTH_EXTENDER_RELOAD_EVERY", default_value = "30s", value_name = "SPAN")]
    pub reload_every: Span,
    /// A node whose newest sample is older has no score
    #[arg(long, env = "BERTH_EXTENDER_STALE_AFTER", default_value = "3m", value_name = "SPAN")]
    pub stale_after: Span,
    /// Keep every decision below the data folder, as JSON Lines rolled to Parquet
    #[arg(long, env = "BERTH_EXTENDER_LOG_DECISIONS", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub log_decisions: bool,
    /// Address of all replicas, such as that of a headless Service: explanations are the newest that any of them has, and reports sum up
    /// what all have seen; may be given for several
    #[arg(long, env = "BERTH_EXTENDER_PEERS", value_delimiter = ',', value_name = "URL")]
    pub peers: Vec<Peer>,
    /// File that holds the bearer token which readers of explanations and reports must send; kube-scheduler sends none
    #[arg(long, env = "BERTH_EXTENDER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What a request may cost, section `[scheduler_extender.limits]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitArgs {
    /// Scores must be there after this, or the answer is neutral; keep it well below kube-scheduler's httpTimeout
    #[arg(long, env = "BERTH_EXTENDER_DEADLINE", default_value = "20ms", value_name = "SPAN")]
    pub deadline: Span,
    /// Largest body of a request, in bytes: 5,000 whole nodes are about 50 MB, their names 200 KB
    #[arg(long, env = "BERTH_EXTENDER_MAX_BODY_BYTES", default_value_t = 64 << 20, value_name = "BYTES")]
    pub max_body_bytes: usize,
    /// Longest time for a body to arrive
    #[arg(long, env = "BERTH_EXTENDER_BODY_TIMEOUT", default_value = "5s", value_name = "SPAN")]
    pub body_timeout: Span,
    /// Pods that are scored at once; others wait until their deadline
    #[arg(long, env = "BERTH_EXTENDER_MAX_CONCURRENT", default_value_t = 16, value_name = "COUNT")]
    pub max_concurrent: usize,
    /// How long requests under way may go on after SIGTERM
    #[arg(long, env = "BERTH_EXTENDER_DRAIN", default_value = "10s", value_name = "SPAN")]
    pub drain: Span,
    /// How long to go on answering after SIGTERM, as not ready, until nobody sends requests here any more
    #[arg(long, env = "BERTH_EXTENDER_LINGER", default_value = "0s", value_name = "SPAN")]
    pub linger: Span,
}

/// How the cluster is followed, section `[scheduler_extender.cluster]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterArgs {
    /// Kubeconfig file; without one the service account of the pod
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Whether to follow a cluster: `auto` does so in a pod or with a kubeconfig
    #[arg(long, env = "BERTH_EXTENDER_FOLLOW", default_value = "auto", value_name = "WHEN")]
    pub follow: Follow,
    /// A sample that is so much younger than a pod's binding shows the pod: four scrape intervals, the window of rates
    #[arg(long, env = "BERTH_EXTENDER_SETTLE", default_value = "2m", value_name = "SPAN")]
    pub settle: Span,
    /// Longest time to reserve a pod's load, whatever its node's metrics do
    #[arg(long, env = "BERTH_EXTENDER_RESERVE_AT_MOST", default_value = "15m", value_name = "SPAN")]
    pub reserve_at_most: Span,
    /// How long a decision waits to be written until it is seen where its pod went
    #[arg(long, env = "BERTH_EXTENDER_OUTCOME_WAIT", default_value = "2m", value_name = "SPAN")]
    pub outcome_wait: Span,
    /// Annotations and events on pods, a second
    #[arg(long, env = "BERTH_EXTENDER_NOTES_A_SECOND", default_value_t = 2, value_name = "COUNT")]
    pub notes_a_second: u32,
    /// Name of the pod that this process runs in, from the downward API: events on rules and state are written to it
    #[arg(long, env = "POD_NAME", requires = "pod_namespace", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// Its namespace
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub pod_namespace: Option<String>,
    /// Its UID
    #[arg(long, env = "POD_UID", default_value = "", value_name = "UID")]
    pub pod_uid: String,
}

/// Whether a cluster is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Follow {
    /// Where there is one
    Auto,
    /// It is an error that there is none
    Always,
    /// No reservations, no outcomes
    Never,
}

fn at_least(section: &str, spans: &[(&str, Span)]) -> Result<(), WrongUse> {
    match spans.iter().find(|(_, span)| span.millis() < 1) {
        Some((key, span)) => Err(WrongUse(format!("`{key}` is {span}, want at least 1ms, in [{section}]"))),
        None => Ok(()),
    }
}

impl ServerArgs {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        at_least("scheduler_extender.server", &[("reload_every", self.reload_every), ("stale_after", self.stale_after)])
    }
}

impl LimitArgs {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        let section = "scheduler_extender.limits";
        at_least(section, &[("deadline", self.deadline), ("body_timeout", self.body_timeout)])?;
        for (key, value) in [("max_body_bytes", self.max_body_bytes), ("max_concurrent", self.max_concurrent)] {
            if value == 0 {
                return Err(WrongUse(format!("`{key}` is 0, want at least 1, in [{section}]")));
            }
        }
        Ok(())
    }
}

impl ClusterArgs {
    /// The pod that this process runs in, where it is told.
    pub fn own_pod(&self) -> Option<OwnPod> {
        let (name, namespace) = self.pod_name.clone().zip(self.pod_namespace.clone())?;
        Some(OwnPod { namespace, name, uid: self.pod_uid.clone() })
    }

    /// Checks the values.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        if self.reserve_at_most <= self.settle {
            return Err(WrongUse(format!(
                "`reserve_at_most` is {}, want more than `settle`, which is {}, in [scheduler_extender.cluster]",
                self.reserve_at_most, self.settle
            )));
        }
        Ok(())
    }
}
