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
    #[error("prometheus at `{server}` answered {status}{}: {text}{}", kind_of(.kind), hint(*.status, .text))]
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
    /// The body is larger than is read.
    #[error(
        "the answer of prometheus at `{server}` is larger than {limit} bytes, the most that is read. Lower --reply-points to ask for less at a time"
    )]
    TooLarge {
        /// Which server.
        server: String,
        /// The most that is read, in bytes, after decompression.
        limit: usize,
    },
    /// A sample, or the server's clock, has a time that no history can have.
    #[error(
        "the answer of prometheus at `{server}` has the time `{seconds:?}` (seconds since 1970), which is not in the years 2000 to 2199. See that the server's clock and what writes its samples are right"
    )]
    ImpossibleTime {
        /// Which server.
        server: String,
        /// As it came.
        seconds: f64,
    },
    /// The server was asked for its clock and named no time.
    #[error("prometheus at `{server}` did not answer `time()`: the result is empty")]
    NoTime {
        /// Which server.
        server: String,
    },
    /// The answer lacks series, by the server's own word.
    #[error(
        "the answer of prometheus at `{server}` is not complete: {said}. Where another replica holds the same series, --accept-partial takes such answers as they are"
    )]
    Partial {
        /// Which server.
        server: String,
        /// What it says.
        said: String,
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
            Self::Away { .. } | Self::Slow { .. } | Self::Partial { .. } => true,
            // A query that was too much stays too much.
            Self::Refused { status, .. } => (*status == 429 || *status >= 500) && !self.is_too_much(),
            _ => false,
        }
    }

    /// Whether less of it may get an answer where the whole did not: half the time span, or half of the nodes.
    pub fn is_too_much(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Refused { status: 413, .. } => true,
            Self::Refused { text, .. } => TOO_MUCH.iter().any(|sign| text.contains(sign)),
            _ => false,
        }
    }

    /// Whether it is the number of series that is too large: then a shorter span has as many.
    pub fn is_too_many_series(&self) -> bool {
        matches!(self, Self::Refused { text, .. } if TOO_MANY_SERIES.iter().any(|sign| text.contains(sign)))
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

fn hint(status: u16, text: &str) -> &'static str {
    match status {
        // Mimir's and Cortex' word, and Loki's gateway's.
        401 | 403 if ["org id", "X-Scope-OrgID", "tenant"].iter().any(|sign| text.contains(sign)) => {
            ". The server holds several tenants: write the line `X-Scope-OrgID: TENANT` into a file and give it with --header-file"
        }
        401 | 403 => ". Give --username with --password-file, --bearer-token-file, or --header-file",
        404 => ". --prometheus wants the address below which /api/v1/query is",
        _ if TOO_MUCH.iter().any(|sign| text.contains(sign)) => {
            ". Less at a time was tried already: lower --reply-points to ask for fewer nodes at once, or raise the server's limit"
        }
        _ => "",
    }
}

/// Signs of a query that reads or returns more than the server allows, in the words of each:
/// Prometheus (`promql/engine.go`, `web/api/v1`), VictoriaMetrics (each of its limits is a flag `-search.max…`), Mimir
/// (<https://grafana.com/docs/mimir/latest/references/error-catalog/>), Cortex (`pkg/util/validation`, `pkg/querier`), Thanos
/// (`pkg/store/limiter.go`), Amazon's and Google's managed services, and gRPC between the parts of any of them.
const TOO_MUCH: [&str; 19] = [
    "too many samples",
    "maximum resolution",
    "query timed out",
    "too many points",
    "-search.max",
    "not enough memory for processing",
    "samples per series",
    "err-mimir-max-",
    "exceeded the maximum number of",
    "exceeded the aggregated",
    "hit the max number of",
    "hit the aggregated",
    "the query time range exceeds",
    "exceeds the limit",
    "too long",
    " limit: limit ", // "exceeded series limit: limit 5 violated (got 6)"
    "ResourceExhausted",
    "received message larger than max",
    "query samples limit",
];

/// Those of them that count series.
const TOO_MANY_SERIES: [&str; 5] = [
    "number of matching timeseries",
    "err-mimir-max-series",
    "exceeded the maximum number of series",
    "max number of series",
    "series limit",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, text: &str) -> PrometheusError {
        PrometheusError::Refused {
            server: "http://p".into(),
            status,
            kind: String::new(),
            text: text.into(),
            retry_after: None,
        }
    }

    #[test]
    fn limits_are_known_in_each_servers_own_words() {
        for (text, series) in [
            ("query processing would load too many samples into memory in query execution", false),
            (
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
                false,
            ),
            ("query timed out in query execution", false),
            ("cannot select more than -search.maxSamplesPerQuery=1000000 samples; possible solutions: …", false),
            (
                "the number of matching timeseries exceeds 300000; either narrow down the search or increase -search.maxUniqueTimeseries",
                true,
            ),
            (
                "not enough memory for processing 12 data points across 4 time series with 3 points in each time series",
                false,
            ),
            (
                "the query exceeded the maximum number of chunks (limit: 20000 chunks) (err-mimir-max-chunks-per-query)",
                false,
            ),
            (
                "the query exceeded the maximum number of series (limit: 10 series) (err-mimir-max-series-per-query)",
                true,
            ),
            (
                "the query exceeded the aggregated chunks size limit (limit: 1000000 bytes) (err-mimir-max-chunks-bytes-per-query)",
                false,
            ),
            ("the query hit the max number of chunks limit (limit: 2000000 chunks)", false),
            ("the query hit the max number of series limit (limit: 100 series)", true),
            ("the query hit the aggregated data size limit (limit: 5 bytes)", false),
            ("the query time range exceeds the limit (query length: 744h0m0s, limit: 720h0m0s)", false),
            ("rpc error: code = Aborted desc = fetch series: exceeded series limit: limit 5 violated (got 6)", true),
            ("rpc error: code = Aborted desc = exceeded chunks limit: limit 5 violated (got 6)", false),
            ("rpc error: code = ResourceExhausted desc = grpc: received message larger than max (1 vs. 2)", false),
        ] {
            let error = refused(422, text);
            assert!(error.is_too_much(), "{text}");
            assert_eq!(error.is_too_many_series(), series, "{text}");
        }
        assert!(refused(413, "Request Entity Too Large").is_too_much());
        for text in
            ["parse error: unexpected `)`", "too many outstanding requests", "Unauthorized", "tenant is unknown"]
        {
            assert!(!refused(429, text).is_too_much(), "{text}");
        }
    }

    #[test]
    fn a_query_that_timed_out_is_made_smaller_rather_than_repeated() {
        assert!(!refused(503, "query timed out in query execution").is_transient());
        assert!(refused(503, "service unavailable").is_transient());
    }

    #[test]
    fn a_missing_tenant_is_told_from_missing_credentials() {
        let tenant = refused(401, "no org id").to_string();
        assert!(
            tenant.contains("X-Scope-OrgID") && tenant.contains("--header-file") && !tenant.contains("--password-file"),
            "{tenant}"
        );
        let nobody = refused(401, "Unauthorized").to_string();
        assert!(nobody.contains("--bearer-token-file") && !nobody.contains("X-Scope-OrgID"), "{nobody}");
    }
}
