//! Finds out what a span of history is about: who the nodes are, which target is which of them, which are left out, and how
//! often the server scrapes them. Backfill and live asks share it.

use super::client::Client;
use super::clusters::{check_clusters, state_not_honored};
use super::columns::source_metrics;
use super::error::PrometheusError;
use super::identity::Identity;
use super::ignored::left_out;
use super::mapping::{Host, MappingReport};
use super::queries::{Fact, Group, Spans, fill, matcher};
use super::reply::Series;
use super::selector::ClusterSelector;
use super::settings::Source;
use cluster::{MINUTE_MS, SampleIntervals};
use std::collections::HashMap;
use std::ops::Range;

/// The span of raw samples from which the scrape interval is read.
const INTERVAL_SPAN: &str = "[15m]";
/// In how many places a history without nodes at its end is looked at for nodes.
const PROBES: usize = 24;
/// A name that was seen this lately is still held. Several scrapes of most servers; a hole in one holder's time counts as
/// its own anyway.
const HELD: i64 = 2 * MINUTE_MS;

/// The nodes of a span.
#[derive(Debug)]
pub struct View {
    /// Which series speaks of which node.
    pub identity: Identity,
    /// Which target is which node.
    pub report: MappingReport,
    /// What is asked for at once.
    pub hosts: Vec<Host>,
}

impl View {
    /// Whether the server knows nothing about the span.
    pub fn is_empty(&self) -> bool {
        self.report.nodes == 0
            && self.report.targets.is_empty()
            && self.report.unmatched_targets.is_empty()
            && self.identity.known().is_empty()
    }
}

/// How often the server scrapes.
#[derive(Debug, Clone)]
pub struct Scrapes {
    /// By the metric underneath, as [`super::queries::Query::metric`] has it, in milliseconds.
    pub intervals: HashMap<String, i64>,
    /// That of most metrics.
    pub interval: i64,
    /// The span over which rates are taken.
    pub window: i64,
}

impl Scrapes {
    /// Reads the intervals off the raw samples before `at`, where none is set.
    ///
    /// # Errors
    /// See [`PrometheusError`].
    pub async fn find(client: &Client, source: &Source, at: i64) -> Result<Self, PrometheusError> {
        let step = source.args.step.millis();
        let mut intervals = HashMap::new();
        let interval = match source.args.scrape_interval {
            Some(given) => given.millis(),
            None => {
                let spans = Spans { window: step, range: step, stale: step };
                for metric in source_metrics(&source.queries) {
                    let query = fill(&format!("{metric}{INTERVAL_SPAN}"), &Group::everything(), spans);
                    if let Some(interval) = scrape_interval(&client.instant(&query, at).await?) {
                        intervals.insert(metric, interval);
                    }
                }
                let mut all: Vec<i64> = intervals.values().copied().collect();
                all.sort_unstable();
                all.get(all.len() / 2).copied().unwrap_or(step)
            }
        };
        let window = source.args.rate_window.map_or(4 * interval, |window| window.millis());
        Ok(Self { intervals, interval, window })
    }
}

/// The usual distance of series' raw samples in milliseconds, in whole seconds.
fn scrape_interval(raw: &[Series]) -> Option<i64> {
    let mut intervals = SampleIntervals::default();
    raw.iter().for_each(|series| intervals.add(series.points.iter().map(|(ts, _)| *ts)));
    intervals.usual()
}

/// The nodes of the newest chunk that has any, looking in at most [`PROBES`] places, and the moment after it.
///
/// # Errors
/// See [`view`].
pub async fn newest_view(
    client: &Client,
    source: &Source,
    chunks: &[Range<i64>],
) -> anyhow::Result<Option<(View, i64)>> {
    let distance = chunks.len().div_ceil(PROBES).max(1);
    for times in chunks.iter().rev().step_by(distance) {
        let view = view(client, source, times).await?;
        if !view.is_empty() {
            return Ok(Some((view, times.end)));
        }
    }
    Ok(None)
}

/// The nodes of a span, and which target is which of them.
///
/// # Errors
/// When the server cannot be asked, holds several clusters, or scrapes kube-state-metrics so that no node can be named.
pub async fn view(client: &Client, source: &Source, times: &Range<i64>) -> anyhow::Result<View> {
    // What a query at the first moment may still see was scraped before it.
    let range = times.end - times.start + 5 * MINUTE_MS;
    let spans = Spans { window: range, range, stale: range };
    let ask = |fact: Fact| async move {
        match source.queries.fact(fact) {
            Some(query) => client.instant(&fill(query, &Group::everything(), spans), times.end).await,
            None => Ok(Vec::<Series>::new()),
        }
    };
    let (node_info, node_names) = (ask(Fact::NodeInfo).await?, ask(Fact::NodeNames).await?);
    let targets = ask(Fact::Targets).await?;
    check_clusters(client, source, &node_info, &targets, times).await?;
    if node_info.is_empty()
        && let Some(why) = state_not_honored(client, times.end, range).await?
    {
        return Err(why.into());
    }
    let mut identity = Identity::new(&node_info, &node_names, source.labels.clone());
    let mut windows = Vec::new();
    if !source.labels.ignored().rules().is_empty() && !node_info.is_empty() {
        let (labels, taints) = (ask(Fact::NodeLabels).await?, ask(Fact::NodeTaints).await?);
        windows = ask(Fact::WindowsTargets).await?;
        let windows: Vec<String> =
            windows.iter().filter_map(|one| Some(identity.node_at(&one.labels, times.end)?.0)).collect();
        identity.ignore(left_out(source.labels.ignored(), &node_info, &labels, &taints, &windows));
    }
    if identity.has_varying(&targets) || identity.has_varying(&windows) {
        let (addresses, instances) = identity.varying();
        let holders = held(client, source, times, Fact::NodeInfo, ("internal_ip", addresses)).await?;
        let hosts = held(client, source, times, Fact::NodeNames, ("instance", instances)).await?;
        identity.settle(&holders, &hosts, times.end - HELD);
    }
    let report = identity.report(&targets);
    let hosts = report.hosts();
    Ok(View { identity, report, hosts })
}

/// Who had a name at which moment of `times`: points of `fact` where each holder was seen lately, for some values of a label
/// alone.
async fn held(
    client: &Client,
    source: &Source,
    times: &Range<i64>,
    fact: Fact,
    (label, values): (&str, Vec<&str>),
) -> anyhow::Result<Vec<Series>> {
    let Some(query) = source.queries.fact(fact).filter(|_| !values.is_empty()) else { return Ok(Vec::new()) };
    let step = source.args.step.millis();
    // A rate at the first moment looks back into the time before it.
    let times = times.start - (5 * MINUTE_MS).div_euclid(step) * step..times.end;
    let spans = Spans { window: HELD, range: HELD, stale: HELD };
    let these = ClusterSelector::parse(&matcher(label, values.into_iter()))?;
    Ok(client.range(&these.apply(&fill(query, &Group::everything(), spans)), times, step).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::reply::Labels;

    #[test]
    fn the_scrape_interval_is_the_usual_distance_whatever_the_gaps() {
        let points = [0, 30_010, 59_990, 90_000, 400_000, 430_000].map(|ts| (ts, 1.0)).to_vec();
        let series = Series { labels: Labels::new(), points };
        assert_eq!(scrape_interval(&[series]), Some(30_000));
        assert_eq!(scrape_interval(&[]), None);
        let one = Series { labels: Labels::new(), points: vec![(0, 1.0)] };
        assert_eq!(scrape_interval(&[one]), None);
    }
}
