//! Sections `[collector.prometheus]`, `[collector.http]` and `[collector.queries]`: read, laid over one another, checked.

use super::labels::NodeLabels;
use super::queries::{Queries, QuerySettings};
use super::selector::ClusterSelector;
use chrono::{DateTime, NaiveDate};
use clap::{ArgMatches, Args, FromArgMatches};
use cluster::{DAY_MS, HOUR_MS, IGNORED_NODES, IgnoredNodes, MINUTE_MS, grid_floor};
use runtime::http::HttpArgs;
use runtime::settings::Span;
use runtime::{ConfigFile, WrongUse};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::PathBuf;
use url::Url;

use super::client::MAX_POINTS;

/// Section `[collector.prometheus]`: which server, which span of its history, and how gently to ask.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusArgs {
    /// Address of the Prometheus server, such as http://prometheus:9090
    #[arg(long = "prometheus", id = "prometheus", env = "BERTH_PROMETHEUS_URL", value_name = "URL")]
    pub prometheus: Option<String>,
    /// Which cluster, where the store holds several: a label and its value there, such as cluster=prod
    #[arg(long, env = "BERTH_PROMETHEUS_CLUSTER_LABEL", value_name = "NAME=VALUE")]
    pub cluster_label: Option<String>,
    /// Matchers for every selector of every query, such as {cluster="prod",region=~"eu-.*"}
    #[arg(long, env = "BERTH_PROMETHEUS_SELECTOR", value_name = "MATCHERS")]
    pub selector: Option<String>,
    /// Labels that name a series' node, beside node, kubernetes_node, node_name and the like
    #[arg(
        long = "node-label",
        id = "node_labels",
        env = "BERTH_PROMETHEUS_NODE_LABELS",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    #[serde(default)]
    pub node_labels: Vec<String>,
    /// Nodes that are left out, since node_exporter cannot run there: labels or taints (key or key=value), or names
    /// (name=edge-*); an empty text leaves out none
    #[arg(long, env = "BERTH_IGNORE_NODES", value_delimiter = ',', default_values_t = IGNORED_NODES.map(str::to_owned), value_name = "RULE")]
    #[serde(default)]
    pub ignore_nodes: Vec<String>,
    /// File with headers to send, a line `Name: value` for each, such as `X-Scope-OrgID: team-a`; lines that begin with
    /// # are remarks
    #[arg(long, env = "BERTH_PROMETHEUS_HEADER_FILE", value_name = "FILE")]
    pub header_file: Option<PathBuf>,
    /// Take answers that lack series by the server's own word (Thanos' warnings, VictoriaMetrics' isPartial) as they are;
    /// for stores whose replicas each hold everything
    #[arg(long, env = "BERTH_PROMETHEUS_ACCEPT_PARTIAL")]
    #[serde(default)]
    pub accept_partial: bool,
    /// How far back history is wanted
    #[arg(long, env = "BERTH_PROMETHEUS_SINCE", default_value = "35d")]
    pub since: Span,
    /// First moment (RFC 3339, or a day in UTC); wins over --since
    #[arg(long, env = "BERTH_PROMETHEUS_FROM", value_name = "TIME")]
    pub from: Option<String>,
    /// Moment after the last (RFC 3339, or a day in UTC) [default: now]
    #[arg(long, env = "BERTH_PROMETHEUS_TO", value_name = "TIME")]
    pub to: Option<String>,
    /// Distance of samples; the same for all history below one data root
    #[arg(long, env = "BERTH_PROMETHEUS_STEP", default_value = "30s")]
    pub step: Span,
    /// Distance of the server's own samples; one that is two intervals old is no value [default: detected per metric]
    #[arg(long, env = "BERTH_PROMETHEUS_SCRAPE_INTERVAL", value_name = "SPAN")]
    pub scrape_interval: Option<Span>,
    /// Span over which rates are taken, $window in queries [default: four scrape intervals]
    #[arg(long, env = "BERTH_PROMETHEUS_RATE_WINDOW", value_name = "SPAN")]
    pub rate_window: Option<Span>,
    /// How late a sample may arrive at the server: the last so much of what was fetched is fetched again
    #[arg(long, env = "BERTH_PROMETHEUS_LATE", default_value = "10m")]
    pub late: Span,
    /// Share of the cluster's nodes that must have metrics of their own, or the node identity is taken for wrong
    #[arg(long, env = "BERTH_PROMETHEUS_MIN_MATCHED", default_value_t = 0.9, value_name = "RATIO")]
    pub min_matched: f64,
    /// Requests under way at the same time
    #[arg(long, env = "BERTH_PROMETHEUS_CONCURRENCY", default_value_t = 4, value_name = "N")]
    pub concurrency: usize,
    /// Points that one reply may have; a larger one (about 25 bytes a point) is asked for by groups of nodes
    #[arg(long, env = "BERTH_PROMETHEUS_REPLY_POINTS", default_value_t = 1_000_000, value_name = "N")]
    pub reply_points: i64,
    /// Time limit of one request
    #[arg(long, env = "BERTH_PROMETHEUS_TIMEOUT", default_value = "2m")]
    pub timeout: Span,
    /// How often a request is sent again after a connection error, a time limit, 429 or 5xx
    #[arg(long, env = "BERTH_PROMETHEUS_RETRIES", default_value_t = 5, value_name = "N")]
    pub retries: usize,
    /// Pause before the first retry; it doubles each time, with jitter
    #[arg(long, env = "BERTH_PROMETHEUS_RETRY_DELAY", default_value = "500ms")]
    pub retry_delay: Span,
}

impl Default for PrometheusArgs {
    /// The defaults of the flags, whatever the environment holds.
    fn default() -> Self {
        let command = Self::augment_args(clap::Command::new("defaults")).mut_args(|arg| arg.env(None::<&str>));
        let parsed = command.try_get_matches_from(["defaults"]).and_then(|matches| Self::from_arg_matches(&matches));
        // No flag is required, and a test parses all defaults.
        parsed.unwrap_or_else(|error| unreachable!("the defaults of the flags are valid: {error}"))
    }
}

/// A server with its settings resolved and checked.
#[derive(Debug, Clone)]
pub struct Source {
    /// What was asked for.
    pub args: PrometheusArgs,
    /// How to reach the server.
    pub http: HttpArgs,
    /// What to ask it.
    pub queries: Queries,
    /// Of which cluster.
    pub selector: ClusterSelector,
    /// How its nodes are told apart.
    pub labels: NodeLabels,
}

impl Source {
    /// Lays the configuration file under what was given, and checks it. The address may still be missing, see
    /// [`Source::address`].
    ///
    /// # Errors
    /// When a setting is not valid.
    pub fn resolve(
        config: &ConfigFile,
        args: &PrometheusArgs,
        http: &HttpArgs,
        given: &ArgMatches,
    ) -> anyhow::Result<Self> {
        let mut args: PrometheusArgs = config.resolve("collector.prometheus", args, given)?;
        if args.prometheus.as_deref() == Some("") {
            args.prometheus = address_without_flag(config)?;
        }
        let http = config.resolve("collector.http", http, given)?;
        let queries: QuerySettings = config.resolve("collector.queries", &QuerySettings::default(), given)?;
        Self::new(args, http, queries)
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// When a setting is not valid.
    pub fn new(args: PrometheusArgs, http: HttpArgs, queries: QuerySettings) -> anyhow::Result<Self> {
        args.check()?;
        let mut selector = match &args.selector {
            Some(text) => ClusterSelector::parse(text).map_err(|error| wrong(&format!("selector: {error}")))?,
            None => ClusterSelector::default(),
        };
        if let Some(label) = args.cluster_label.as_deref().filter(|label| !label.is_empty()) {
            selector = selector.with_label(label).map_err(|error| wrong(&format!("cluster_label: {error}")))?;
        }
        let ignored =
            IgnoredNodes::parse(&args.ignore_nodes).map_err(|error| wrong(&format!("ignore_nodes: {error}")))?;
        let labels = NodeLabels::new(&args.node_labels, ignored);
        let queries = Queries::new(queries, &labels)?;
        Ok(Self { args, http, queries, selector, labels })
    }

    /// A name for what is read: the server, and which cluster of it.
    pub fn name(&self, server: &str) -> String {
        if self.selector.is_empty() { server.to_owned() } else { format!("{server} {}", self.selector) }
    }

    /// A fingerprint of what is asked: history that was fetched otherwise is other history.
    pub fn fingerprint(&self) -> String {
        let rules = self.labels.ignored().rules().iter().map(|rule| format!("{rule}\n")).collect::<String>();
        runtime::files::sha256(format!("{}{}{rules}", self.queries.fingerprint(), self.selector).as_bytes())
    }

    /// Where the server is.
    ///
    /// # Errors
    /// When no address was given, or it is none, or it holds a password.
    pub fn address(&self) -> anyhow::Result<Url> {
        let Some(text) = &self.args.prometheus else {
            return Err(wrong(
                "no server: give --prometheus URL, BERTH_PROMETHEUS_URL, or `prometheus` in `[collector.prometheus]`",
            ));
        };
        let url = Url::parse(text).map_err(|error| {
            WrongUse(format!("`{}` is not an address such as http://prometheus:9090: {error}", shown(text)))
        })?;
        if url.password().is_some() {
            return Err(wrong(
                "the address of prometheus holds a password: use --username and --password-file instead",
            ));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong(&format!("`{}` is not an address such as http://prometheus:9090", shown(text))));
        }
        Ok(url)
    }

    /// The span of history that is wanted, on the grid of steps: its first moment, and the one after its last.
    ///
    /// # Errors
    /// When the moments cannot be read or are in the wrong order.
    pub fn span(&self, now: i64) -> anyhow::Result<Range<i64>> {
        let step = self.args.step.millis();
        let end = match &self.args.to {
            Some(text) => moment("--to", text)?.min(now),
            None => now,
        };
        let start = match &self.args.from {
            Some(text) => moment("--from", text)?,
            None => end - self.args.since.millis(),
        };
        // A point at the very end would have been scraped before it; the first grid point at or after `end` is not wanted.
        let ceil = |ts: i64| grid_floor(ts + step - 1, step);
        let span = ceil(start)..ceil(end);
        if span.is_empty() {
            let (from, to) = (iso(start), iso(end));
            return Err(wrong(&format!(
                "no history between `{from}` and `{to}`: --from must lie before --to, and not in the server's future"
            )));
        }
        Ok(span)
    }

    /// One raw part holds this much history: the longest span that divides a day, is at most six hours, and stays below
    /// the server's limit of points. It follows from the step alone, so that every run cuts in the same places.
    pub fn chunk(&self) -> i64 {
        let step = self.args.step.millis();
        let hours = [6, 4, 3, 2, 1].map(|hours| hours * HOUR_MS);
        let minutes = [30, 15, 10, 5, 1].map(|minutes| minutes * MINUTE_MS);
        let fits = |length: &&i64| **length % step == 0 && **length / step <= MAX_POINTS;
        hours.iter().chain(&minutes).find(fits).copied().unwrap_or(DAY_MS)
    }
}

impl PrometheusArgs {
    fn check(&self) -> anyhow::Result<()> {
        let step = self.step.millis();
        if step < 1_000 || HOUR_MS % step != 0 {
            return Err(wrong(&format!("step `{}` must be at least one second and divide one hour", self.step)));
        }
        if !(0.0..=1.0).contains(&self.min_matched) {
            return Err(wrong(&format!("min_matched `{}` must lie between 0 and 1", self.min_matched)));
        }
        if self.concurrency == 0 || self.reply_points < 1_000 {
            return Err(wrong("concurrency must be at least 1, and reply_points at least 1000"));
        }
        let is_label = |name: &&String| {
            name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
                && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
        };
        if let Some(name) = self.node_labels.iter().find(|name| !is_label(name)) {
            return Err(wrong(&format!("node_labels: `{name}` is not a valid label name")));
        }
        if self.timeout.millis() == 0 {
            return Err(wrong("timeout must be longer than `0s`"));
        }
        for (name, span) in [("scrape_interval", self.scrape_interval), ("rate_window", self.rate_window)] {
            if let Some(span) = span
                && span.millis() < 1_000
            {
                return Err(wrong(&format!("{name} `{span}` must be at least one second")));
            }
        }
        Ok(())
    }
}

fn wrong(text: &str) -> anyhow::Error {
    WrongUse(text.to_owned()).into()
}

fn moment(flag: &str, text: &str) -> anyhow::Result<i64> {
    let day = || text.parse::<NaiveDate>().ok().map(store::day_start);
    let time = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
    time()
        .or_else(day)
        .ok_or_else(|| wrong(&format!("{flag} `{text}` is no time such as `2026-11-01T06:00:00Z` or `2026-11-01`")))
}

/// A moment as people and JSON read it.
pub fn iso(ts: i64) -> String {
    DateTime::from_timestamp_millis(ts)
        .map_or_else(|| ts.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// A pipeline hands on an empty address when it was given none: as if the flag were not there, so the environment and the
/// configuration file have their say.
fn address_without_flag(config: &ConfigFile) -> anyhow::Result<Option<String>> {
    let not_empty = |address: &String| !address.is_empty();
    if let Some(address) = std::env::var("BERTH_PROMETHEUS_URL").ok().filter(not_empty) {
        return Ok(Some(address));
    }
    let section: toml::Table = config.resolve("collector.prometheus", &toml::Table::new(), &ArgMatches::default())?;
    Ok(section.get("prometheus").and_then(toml::Value::as_str).map(str::to_owned).filter(not_empty))
}

/// An address for a message: whatever stands before its `@` may be a password, also where it is not a valid one.
fn shown(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn source(flags: &[&str]) -> anyhow::Result<Source> {
        let command = HttpArgs::augment_args(PrometheusArgs::augment_args(clap::Command::new("test")));
        let matches = command.get_matches_from([&["test"], flags].concat());
        let args = PrometheusArgs::from_arg_matches(&matches)?;
        let http = HttpArgs::from_arg_matches(&matches)?;
        Source::resolve(&ConfigFile::default(), &args, &http, &matches)
    }

    #[test]
    fn a_chunk_divides_the_day_and_stays_below_the_limit() {
        for (step, hours) in [("30s", 6.0), ("1s", 2.0), ("5m", 6.0), ("15s", 6.0), ("1h", 6.0)] {
            let source = source(&["--step", step]).expect("source");
            assert_eq!(source.chunk() as f64 / HOUR_MS as f64, hours, "{step}");
            assert_eq!(DAY_MS % source.chunk(), 0);
        }
    }

    #[test]
    fn the_end_is_left_out_and_both_ends_lie_on_the_grid() {
        let source = source(&["--from", "1970-01-01T00:00:10Z", "--to", "1970-01-01T00:02:00Z"]).expect("source");
        assert_eq!(source.span(DAY_MS).expect("span"), 30_000..120_000);
        assert_eq!(source.span(61_000).expect("now comes first"), 30_000..90_000);
    }

    #[test]
    fn wrong_settings_are_named() {
        for (flags, named) in [
            (&["--step", "7s"][..], "7s"),
            (&["--min-matched", "1.5"], "1.5"),
            (&["--concurrency", "0"], "concurrency"),
            (&["--scrape-interval", "1ms"], "scrape_interval"),
            (&["--cluster-label", "prod"], "cluster_label: `prod`"),
            (&["--selector", "{cluster=prod}"], "selector: `{cluster=prod}`"),
            (&["--node-label", "a-b"], "node_labels: `a-b`"),
            (&["--ignore-nodes", "a=b=c"], "ignore_nodes: `a=b=c`"),
        ] {
            let error = format!("{:#}", source(flags).expect_err("wrong"));
            assert!(error.contains(named), "{error}");
        }
        for (flags, named) in [
            (&["--from", "yesterday"][..], "`yesterday`"),
            (&["--from", "2026-01-02", "--to", "2026-01-01"], "--from must lie before --to"),
        ] {
            let error = format!("{:#}", source(flags).expect("source").span(1_800_000_000_000).expect_err("wrong"));
            assert!(error.contains(named), "{error}");
        }
        for (address, named) in [
            ("http://me:secret@host", "--password-file"),
            ("host:9090", "is not an address"),
            ("nonsense", "is not an address"),
        ] {
            let error =
                format!("{:#}", source(&["--prometheus", address]).expect("source").address().expect_err("wrong"));
            assert!(error.contains(named) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_cluster_is_named_by_label_by_selector_or_by_both() {
        let both = source(&["--cluster-label", "cluster=prod", "--selector", "region=\"eu\""]).expect("source");
        assert_eq!(both.selector.to_string(), r#"{region="eu",cluster="prod"}"#);
        assert_eq!(both.name("http://p"), r#"http://p {region="eu",cluster="prod"}"#);
        let one = source(&[]).expect("source");
        assert_eq!(one.name("http://p"), "http://p");
        assert_ne!(one.fingerprint(), both.fingerprint());
        assert_ne!(one.fingerprint(), source(&["--ignore-nodes", ""]).expect("source").fingerprint());
    }

    #[test]
    fn defaults_without_a_command_line_are_those_of_the_flags() {
        let typed = source(&[]).expect("source").args;
        assert_eq!(format!("{:?}", PrometheusArgs::default()), format!("{typed:?}"));
        assert_eq!(typed.ignore_nodes, IGNORED_NODES);
        assert!(source(&["--ignore-nodes", ""]).expect("none").labels.ignored().rules().is_empty());
    }

    #[test]
    fn an_empty_address_counts_as_none() {
        assert_eq!(source(&["--prometheus", ""]).expect("source").args.prometheus, None);
    }

    #[test]
    fn an_address_that_cannot_be_read_does_not_tell_its_password() {
        for address in
            ["http://user:secret@host:port", "user:secret@host", "ftp://user:secret@host", "http://a:secret@b@c:d"]
        {
            let error = source(&["--prometheus", address]).and_then(|source| source.address()).expect_err(address);
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
    }
}
