//! What can go wrong between us and a Prometheus server.

use std::time::Duration;

/// A request that gave no usable answer. `server` is the address without credentials.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// No connection, or it broke off.
    #[error("prometheus at `{server}` is away. Check the address and that the server runs")]
    Away {
        /// Which server.
        server: String,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error(
        "prometheus at `{server}` gave no answer within {limit:?}. Raise --timeout, or lower --reply-points to ask for less at a time"
    )]
    Slow {
        /// Which server.
        server: String,
        /// The time limit of one request.
        limit: Duration,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// A status other than 200.
    #[error("prometheus at `{server}` answered {status}{}: {text}{}", kind_of(.kind), hint(*.status))]
    Refused {
        /// Which server.
        server: String,
        /// The HTTP status.
        status: u16,
        /// Prometheus' `errorType`, such as `bad_data`; empty when something else answered.
        kind: String,
        /// Prometheus' `error`, or the beginning of the body.
        text: String,
        /// How long the server asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The body ends in the middle.
    #[error(
        "the reply of prometheus at `{server}` breaks off after {bytes} bytes. A proxy may cut it: lower --reply-points"
    )]
    Truncated {
        /// Which server.
        server: String,
        /// How much came.
        bytes: usize,
        /// Where the JSON ends.
        source: serde_json::Error,
    },
    /// The body is a web page or the like.
    #[error(
        "`{server}` answered with `{content_type}` instead of JSON: `{beginning}`. Is it a proxy's or a login page? --prometheus wants the address below which /api/v1/query is"
    )]
    NotJson {
        /// Which server.
        server: String,
        /// What the reply calls itself.
        content_type: String,
        /// Its first characters.
        beginning: String,
    },
    /// JSON, but not of Prometheus' HTTP API.
    #[error("the reply of prometheus at `{server}` is not of its HTTP API")]
    Unexpected {
        /// Which server.
        server: String,
        /// What is missing.
        source: serde_json::Error,
    },
    /// The query gives another kind of result than its place needs.
    #[error("query `{query}` gives a {got}, want a {wanted}")]
    ResultKind {
        /// The PromQL.
        query: String,
        /// What came.
        got: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
}

impl PrometheusError {
    /// Whether the same request may succeed a moment later: connection errors, time limits, 429 and 5xx.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Slow { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// Whether half the time span may get an answer where the whole did not.
    pub fn is_too_much(&self) -> bool {
        let Self::Refused { text, .. } = self else { return false };
        ["too many samples", "maximum resolution", "too long", "exceeds the limit", "too many points"]
            .iter()
            .any(|sign| text.contains(sign))
    }

    /// How long the server asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn kind_of(kind: &str) -> String {
    if kind.is_empty() { String::new() } else { format!(" ({kind})") }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ". Give --username with --password-file, or --bearer-token-file",
        404 => ". --prometheus wants the address below which /api/v1/query is",
        _ => "",
    }
}
