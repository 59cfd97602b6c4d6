//! What is settled at the start; what may change while the process runs is in the [rules file](crate::rules).

use crate::announce::OwnPod;
use clap::{Args, ValueEnum};
use runtime::WrongUse;
use runtime::http::{HttpArgs, SecretVariables};
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Answer whoever reaches the address, without knowing who it is. An address that others reach is refused without it, unless
    /// --tls-client-ca-file says whose clients are let in: every request costs work, and scores tell about the cluster
    #[arg(long, env = "BERTH_EXTENDER_INSECURE_ALLOW_ANY_CLIENT")]
    pub insecure_allow_any_client: bool,
    /// Address on which /healthz, /readyz and /metrics are answered in plain HTTP as well: a kubelet's probes have no certificate
    #[arg(long, env = "BERTH_EXTENDER_PROBE_LISTEN", value_name = "ADDRESS")]
    pub probe_listen: Option<SocketAddr>,
    /// Where scores come from: `embedded`, or the address of a serving
    #[arg(long, env = "BERTH_EXTENDER_SCORING", default_value = "embedded", value_name = "FROM")]
    pub scoring: ScoringFrom,
    /// File that holds the bearer token which that serving wants (or set BERTH_EXTENDER_SCORING_TOKEN); credentials of Prometheus are never
    /// sent to it
    #[arg(long, env = "BERTH_EXTENDER_SCORING_TOKEN_FILE", value_name = "FILE")]
    pub scoring_token_file: Option<PathBuf>,
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

/// How people's commands reach a running extender, section `[scheduler_extender.client]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientArgs {
    /// PEM file with the certificate authority that signed the extender's certificate
    #[arg(long, env = "BERTH_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// File that holds the bearer token which the extender wants, as its own --token-file does (or set BERTH_EXTENDER_TOKEN)
    #[arg(long, env = "BERTH_EXTENDER_TOKEN_FILE", visible_alias = "bearer-token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with the certificate to show to an extender that asks for one
    #[arg(long, env = "BERTH_CLIENT_CERT_FILE", value_name = "FILE")]
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the private key of --client-cert-file
    #[arg(long, env = "BERTH_CLIENT_KEY_FILE", value_name = "FILE")]
    pub client_key_file: Option<PathBuf>,
}

/// The variables that hold secrets for the extender: not those for Prometheus, so that no server gets what is meant for another.
const EXTENDER_SECRETS: SecretVariables =
    SecretVariables { password: "BERTH_EXTENDER_PASSWORD", bearer_token: "BERTH_EXTENDER_TOKEN" };
/// The same for a `serving` that scores.
const SCORING_SECRETS: SecretVariables =
    SecretVariables { password: "BERTH_EXTENDER_SCORING_PASSWORD", bearer_token: "BERTH_EXTENDER_SCORING_TOKEN" };

impl ClientArgs {
    /// The client, for a server at `url`.
    ///
    /// # Errors
    /// See [`HttpArgs::client`].
    pub fn client(&self, url: &reqwest::Url, limit: Duration) -> anyhow::Result<reqwest::Client> {
        let http = HttpArgs {
            ca_file: self.ca_file.clone(),
            bearer_token_file: self.token_file.clone(),
            client_cert_file: self.client_cert_file.clone(),
            client_key_file: self.client_key_file.clone(),
            ..HttpArgs::default()
        };
        warn_of_plain_token(url, &http, &EXTENDER_SECRETS);
        http.client_with(limit, &EXTENDER_SECRETS)
    }
}

impl ServerArgs {
    /// The client for a `serving` at `url` that scores: with the authority and the certificate of `http`, and a token of its own.
    ///
    /// # Errors
    /// See [`HttpArgs::client`].
    pub fn scoring_client(
        &self,
        http: &HttpArgs,
        url: &reqwest::Url,
        limit: Duration,
    ) -> anyhow::Result<reqwest::Client> {
        let http = HttpArgs {
            ca_file: http.ca_file.clone(),
            bearer_token_file: self.scoring_token_file.clone(),
            client_cert_file: http.client_cert_file.clone(),
            client_key_file: http.client_key_file.clone(),
            ..HttpArgs::default()
        };
        warn_of_plain_token(url, &http, &SCORING_SECRETS);
        http.client_with(limit, &SCORING_SECRETS)
    }
}

fn warn_of_plain_token(url: &reqwest::Url, http: &HttpArgs, variables: &SecretVariables) {
    let has_token = http.bearer_token_file.is_some() || std::env::var_os(variables.bearer_token).is_some();
    if has_token && is_plain(url) {
        tracing::warn!(%url, "a bearer token is sent in the clear: use https");
    }
}

/// Whether others can read what is sent there.
fn is_plain(url: &reqwest::Url) -> bool {
    let is_here = url.host_str().is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    url.scheme() == "http" && !is_here
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
    /// Pods that get an event, and an annotation where the rules say so, a second
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
    /// Checks that who may ask is settled: by client certificates (`knows_clients`), since only this machine reaches the address, or in so
    /// many words.
    ///
    /// # Errors
    /// Names the address and what to do.
    pub fn check_clients(&self, knows_clients: bool) -> Result<(), WrongUse> {
        if knows_clients || self.insecure_allow_any_client || self.listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(WrongUse(format!(
            "`listen` is {}, which others reach, and nothing says who may ask: give --tls-cert-file, --tls-key-file and --tls-client-ca-file, listen on 127.0.0.1, or say --insecure-allow-any-client",
            self.listen
        )))
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn server(arguments: &[&str]) -> ServerArgs {
        Cli::parse_from(std::iter::once(&"x").chain(arguments)).server
    }

    #[test]
    fn an_address_that_others_reach_needs_clients_that_are_known_or_so_many_words() {
        for address in ["127.0.0.1:8888", "[::1]:8888", "[::ffff:127.0.0.1]:8888"] {
            server(&["--listen", address]).check_clients(false).expect(address);
        }
        for address in ["0.0.0.0:8443", "[::]:8443", "10.0.0.7:8443"] {
            let error = server(&["--listen", address]).check_clients(false).expect_err(address).to_string();
            assert!(error.contains("--tls-client-ca-file") && error.contains("--insecure-allow-any-client"), "{error}");
            server(&["--listen", address]).check_clients(true).expect("clients are known");
            server(&["--listen", address, "--insecure-allow-any-client"]).check_clients(false).expect("so many words");
        }
    }

    #[test]
    fn tokens_in_the_clear_are_noticed() {
        let plain = |url: &str| is_plain(&url.parse().expect("an address"));
        assert!(plain("http://serving:8080") && plain("http://10.0.0.7/"));
        assert!(
            !plain("https://serving")
                && !plain("http://127.0.0.1:1")
                && !plain("http://[::1]:1")
                && !plain("http://localhost")
        );
    }
}
