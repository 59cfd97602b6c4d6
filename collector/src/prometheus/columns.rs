//! One piece of history: every column asked for, its points put on the grid of steps, and what is no value left out.

use super::client::{Client, MAX_POINTS};
use super::discover::Scrapes;
use super::error::PrometheusError;
use super::identity::{Identity, Owner};
use super::mapping::Host;
use super::queries::{Group, Queries, Query, Spans, can_be_cut, fill};
use super::reply::{Labels, Series};
use crate::raw::{DropCounts, DropReason, implausible};
use cluster::{NodeMetric, NodeName, NodeSample};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// What came for one column, over all pieces of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ColumnCounts {
    /// Values kept.
    pub values: u64,
    /// Nodes that had a value.
    pub nodes: BTreeSet<String>,
    /// What was left out, and why.
    pub drops: DropCounts,
    /// Chunks in which the metric underneath could not show whether values are repeated.
    pub unchecked_chunks: u64,
    /// Chunks without any value.
    pub absent_chunks: u64,
    /// An example of several series for one node, or of a series that leads to no node.
    pub example: Option<String>,
}

impl ColumnCounts {
    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        self.values += other.values;
        self.nodes.extend(other.nodes);
        self.drops.merge(&other.drops);
        self.unchecked_chunks += other.unchecked_chunks;
        self.absent_chunks += other.absent_chunks;
        self.example = self.example.take().or(other.example);
    }
}

/// How a piece is asked for.
#[derive(Debug)]
pub struct Asking<'a> {
    /// Whom.
    pub client: &'a Client,
    /// What.
    pub queries: &'a Queries,
    /// Which node a series speaks of.
    pub identity: &'a Identity,
    /// What can be asked for at once, for queries that are cut by node.
    pub hosts: &'a [Host],
    /// Distance of samples in milliseconds.
    pub step: i64,
    /// How often the server scrapes.
    pub scrapes: &'a Scrapes,
    /// See `PrometheusArgs::reply_points`.
    pub reply_points: i64,
    /// Queries under way.
    pub concurrency: usize,
}

/// The rows of a piece, and what was counted on the way.
#[derive(Debug, Default)]
pub struct Piece {
    /// By node, on the grid; rows without any value are left out.
    pub nodes: Vec<(NodeName, Vec<NodeSample>)>,
    /// By column.
    pub columns: BTreeMap<&'static str, ColumnCounts>,
}

/// One value per step, NaN where there is none.
type Lines = BTreeMap<String, Vec<f64>>;

/// An edge of the span that a value stands for: a rate looks back over a window, anything else has an end alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Edge {
    Begin,
    End,
}

impl Edge {
    /// Where a query's values need samples of the metric underneath.
    fn of(query: &Query) -> impl Iterator<Item = (&str, Self)> {
        let edges: &[Self] = if query.is_rate() { &[Self::End, Self::Begin] } else { &[Self::End] };
        query.metric.iter().flat_map(|metric| edges.iter().map(|edge| (metric.as_str(), *edge)))
    }

    /// Why a value without such a sample is left out.
    const fn reason(self) -> DropReason {
        match self {
            Self::Begin => DropReason::WindowNotFull,
            Self::End => DropReason::Stale,
        }
    }
}

impl Asking<'_> {
    /// Fetches all columns of `times`.
    ///
    /// # Errors
    /// See [`PrometheusError`]; a column whose metric does not exist is no error, but null and counted.
    pub async fn piece(&self, times: &Range<i64>) -> Result<Piece, PrometheusError> {
        let edges: BTreeSet<(&str, Edge)> = self.queries.columns().flat_map(|(_, query)| Edge::of(query)).collect();
        let sampled: HashMap<(&str, Edge), Lines> = stream::iter(edges)
            .map(|(metric, edge)| async move {
                Ok::<_, PrometheusError>(((metric, edge), self.sample_times(metric, edge, times).await?))
            })
            .buffer_unordered(self.concurrency)
            .try_collect()
            .await?;
        let mut rows: BTreeMap<String, Vec<NodeSample>> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        let mut columns = stream::iter(self.queries.columns().collect::<Vec<_>>())
            .map(|(column, query)| async move {
                Ok::<_, PrometheusError>((column, query, self.series(&query.query, times).await?))
            })
            .buffer_unordered(self.concurrency);
        while let Some((column, query, series)) = columns.try_next().await? {
            let mut count = ColumnCounts::default();
            let mut lines = self.lines(series, times, (column, query), &mut count);
            for (metric, edge) in Edge::of(query) {
                if sampled[&(metric, Edge::End)].is_empty() {
                    count.unchecked_chunks += u64::from(edge == Edge::End && count.values > 0);
                } else {
                    let limit = self.limit(metric, query.is_rate());
                    self.drop_unsampled(
                        (metric, edge),
                        limit,
                        &sampled[&(metric, edge)],
                        times,
                        &mut lines,
                        &mut count,
                    );
                }
            }
            count.absent_chunks = u64::from(count.values == 0);
            for (node, line) in lines {
                let samples = rows
                    .entry(node)
                    .or_insert_with(|| times.clone().step_by(self.step as usize).map(NodeSample::empty).collect());
                samples.iter_mut().zip(line).for_each(|(sample, value)| sample.set(column, value));
            }
            counts.insert(column.column(), count);
        }
        for samples in rows.values_mut() {
            samples.retain(|sample| sample.values.iter().any(|value| !value.is_nan()));
        }
        rows.retain(|_, samples| !samples.is_empty());
        Ok(Piece {
            nodes: rows.into_iter().map(|(node, samples)| (NodeName::new(node), samples)).collect(),
            columns: counts,
        })
    }

    /// When the newest sample at an edge of each step's window was taken, in seconds, by node.
    async fn sample_times(&self, metric: &str, edge: Edge, times: &Range<i64>) -> Result<Lines, PrometheusError> {
        let offset = match self.before(metric, edge) {
            0 => String::new(),
            before => format!(" offset {before}ms"),
        };
        let query = format!("max by ({}) (timestamp({metric}{offset}))", self.queries.target());
        let series = self.series(&query, times).await?;
        let mut newest: Lines = BTreeMap::new();
        for one in series {
            let Some(owner) = self.identity.owner(&one.labels) else { continue };
            for (ts, value) in one.points {
                let Some(at) = self.slot(times, ts) else { continue };
                let Some(node) = self.node_during(&owner, &one.labels, ts, 0) else { continue };
                let line = newest.entry(node).or_insert_with(|| vec![f64::NAN; self.steps(times)]);
                line[at] = line[at].max(value); // `max` prefers a number to NaN
            }
        }
        Ok(newest)
    }

    /// The node that a series speaks of at `ts`, and spoke of `before` milliseconds earlier as well.
    fn node_during(&self, owner: &Owner, labels: &Labels, ts: i64, before: i64) -> Option<String> {
        match owner {
            Owner::Always(node) => Some(node.clone()),
            Owner::Varies => {
                let (node, _) = self.identity.node_at(labels, ts)?;
                let same = before == 0 || self.identity.node_at(labels, ts - before).is_some_and(|then| then.0 == node);
                same.then_some(node)
            }
        }
    }

    /// The answer to a query, by groups of nodes where the whole would be too large.
    async fn series(&self, query: &str, times: &Range<i64>) -> Result<Vec<Series>, PrometheusError> {
        let points = (self.steps(times) as i64).min(MAX_POINTS);
        let at_once = (self.reply_points / points.max(1)).max(1) as usize;
        if !can_be_cut(query) || self.hosts.len() <= at_once {
            return self.series_of(query, times, None).await;
        }
        let mut all = Vec::new();
        for hosts in self.hosts.chunks(at_once) {
            all.extend(self.series_of(query, times, Some(hosts)).await?);
        }
        Ok(all)
    }

    /// The answer for some hosts, or for all there are; where the server finds that too much, for half of them at a time.
    fn series_of<'b>(
        &'b self,
        query: &'b str,
        times: &'b Range<i64>,
        hosts: Option<&'b [Host]>,
    ) -> BoxFuture<'b, Result<Vec<Series>, PrometheusError>> {
        Box::pin(async move {
            let scrapes = self.scrapes;
            let spans = Spans { window: scrapes.window, range: times.end - times.start, stale: 2 * scrapes.interval };
            let group = hosts.map_or_else(Group::everything, group);
            let hosts = hosts.unwrap_or(self.hosts);
            match self.client.range(&fill(query, &group, spans), times.clone(), self.step).await {
                Err(error) if error.is_too_much() && can_be_cut(query) && hosts.len() > 1 => {
                    tracing::debug!(hosts = hosts.len(), "the server finds it too much, asking for half of the nodes");
                    let (first, second) = hosts.split_at(hosts.len() / 2);
                    let mut all = self.series_of(query, times, Some(first)).await?;
                    all.extend(self.series_of(query, times, Some(second)).await?);
                    Ok(all)
                }
                answer => answer,
            }
        })
    }

    fn steps(&self, times: &Range<i64>) -> usize {
        times.clone().step_by(self.step as usize).count()
    }

    fn slot(&self, times: &Range<i64>, ts: i64) -> Option<usize> {
        let offset = ts - times.start;
        (times.contains(&ts) && offset % self.step == 0).then_some((offset / self.step) as usize)
    }

    /// Puts the points of a column on the grid, node by node. The order of series does not matter: of several for one
    /// node the first by its labels wins, and of several mount points of one host the first by name is the one that is meant.
    fn lines(
        &self,
        mut series: Vec<Series>,
        times: &Range<i64>,
        (column, query): (NodeMetric, &Query),
        count: &mut ColumnCounts,
    ) -> Lines {
        series.sort_by(|a, b| by_host_and_mount(&a.labels, &b.labels));
        series.dedup_by(|next, kept| is_other_mount(&next.labels, &kept.labels));
        // A value rests on samples from before it: where an address has passed on since then, it belongs to nobody.
        let looks_back = if query.is_rate() { self.scrapes.window } else { 2 * self.scrapes.interval };
        let mut lines: Lines = BTreeMap::new();
        for one in series {
            let Some(owner) = self.identity.owner(&one.labels) else {
                count.drops.add(DropReason::UnknownNode);
                count.example.get_or_insert_with(|| format!("{:?} leads to no node", one.labels));
                continue;
            };
            if matches!(&owner, Owner::Always(node) if self.identity.is_ignored(node)) {
                count.drops.add(DropReason::IgnoredNode);
                continue;
            }
            let mut before = i64::MIN;
            let mut own = BTreeSet::new();
            for (ts, value) in one.points {
                if ts < before {
                    count.drops.add(DropReason::OutOfOrder);
                }
                before = before.max(ts);
                let Some(at) = self.slot(times, ts) else {
                    count.drops.add(DropReason::OffGrid);
                    continue;
                };
                if !own.insert(at) {
                    count.drops.add(DropReason::Duplicate);
                    continue;
                }
                let varying;
                let node = match &owner {
                    Owner::Always(node) => node,
                    Owner::Varies => {
                        varying = self.node_during(&owner, &one.labels, ts, looks_back);
                        let Some(node) = varying.as_ref().filter(|node| !self.identity.is_ignored(node)) else {
                            count.drops.add(DropReason::AddressPassedOn);
                            continue;
                        };
                        node
                    }
                };
                let refused = if value.is_nan() { Some(DropReason::NotFinite) } else { implausible(column, value) };
                if let Some(reason) = refused {
                    count.drops.add(reason);
                    continue;
                }
                if !lines.contains_key(node) {
                    lines.insert(node.clone(), vec![f64::NAN; self.steps(times)]);
                }
                let Some(line) = lines.get_mut(node) else { continue };
                if line[at].is_nan() {
                    line[at] = value;
                } else {
                    count.drops.add(DropReason::SeveralSeries);
                    count.example.get_or_insert_with(|| {
                        format!("several series for node `{node}`, one of them {:?}", one.labels)
                    });
                }
            }
        }
        for (node, line) in &lines {
            let values = line.iter().filter(|value| !value.is_nan()).count() as u64;
            count.values += values;
            if values > 0 {
                count.nodes.insert(node.clone());
            }
        }
        lines
    }

    /// How far from an edge the nearest sample may be, in milliseconds. Prometheus repeats a sample for up to five minutes. A rate lives on
    /// for its whole window, and what lies further from its edges than 1.1 usual distances of samples counts as idle, but for half of one.
    fn limit(&self, metric: &str, is_rate: bool) -> i64 {
        let interval = self.scrapes.intervals.get(metric).copied().unwrap_or(self.scrapes.interval);
        if is_rate { interval + interval / 2 } else { 2 * interval }
    }

    /// How long before a step its edge is looked at, in milliseconds: for the begin of a window so late that a sample near enough lies in
    /// the window.
    fn before(&self, metric: &str, edge: Edge) -> i64 {
        match edge {
            Edge::End => 0,
            Edge::Begin => (self.scrapes.window - self.limit(metric, true)).max(0),
        }
    }

    /// Leaves out values that have no sample near an edge of the span that they stand for.
    fn drop_unsampled(
        &self,
        (metric, edge): (&str, Edge),
        limit: i64,
        newest: &Lines,
        times: &Range<i64>,
        lines: &mut Lines,
        count: &mut ColumnCounts,
    ) {
        let before = self.before(metric, edge);
        for (node, line) in lines.iter_mut() {
            let sampled = newest.get(node);
            let mut kept = 0;
            for (at, value) in line.iter_mut().enumerate().filter(|(_, value)| !value.is_nan()) {
                let looked_at = times.start + at as i64 * self.step - before;
                let taken = sampled.and_then(|line| line.get(at)).map_or(f64::NAN, |seconds| seconds * 1_000.0);
                let fresh = !taken.is_nan() && looked_at as f64 - taken <= limit as f64;
                if fresh {
                    kept += 1;
                } else {
                    *value = f64::NAN;
                    count.values -= 1;
                    count.drops.add(edge.reason());
                }
            }
            if kept == 0 {
                count.nodes.remove(node);
            }
        }
    }
}

/// The matchers of some hosts.
fn group(hosts: &[Host]) -> Group {
    Group::of(
        hosts.iter().filter_map(|host| host.instance.as_deref()),
        hosts.iter().flat_map(|host| host.nodes.iter().map(String::as_str)),
    )
}

/// The label of a filesystem's place.
const MOUNT: &str = "mountpoint";

/// All labels but the place of a filesystem.
fn host_labels(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
    labels.iter().filter(|(name, _)| *name != MOUNT)
}

fn by_host_and_mount(one: &Labels, other: &Labels) -> Ordering {
    host_labels(one).cmp(host_labels(other)).then_with(|| one.get(MOUNT).cmp(&other.get(MOUNT)))
}

/// Whether two series differ in the label `mountpoint` alone.
fn is_other_mount(one: &Labels, other: &Labels) -> bool {
    one.contains_key(MOUNT) && other.contains_key(MOUNT) && host_labels(one).eq(host_labels(other))
}

/// The metrics underneath the columns, without repetition.
pub fn source_metrics(queries: &Queries) -> BTreeSet<String> {
    queries.columns().filter_map(|(_, Query { metric, .. })| metric.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_mount_points_of_a_host_the_first_by_name_stays() {
        let labels = |all: &[(&str, &str)]| -> Labels {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut all = vec![
            labels(&[("instance", "a"), ("mountpoint", "/var"), ("node", "x")]),
            labels(&[("instance", "a"), ("mountpoint", "/local"), ("node", "y")]),
            labels(&[("instance", "a"), ("mountpoint", "/"), ("node", "x")]),
            labels(&[("instance", "a"), ("mountpoint", "/var"), ("node", "y")]),
            labels(&[("instance", "c")]),
        ];
        all.sort_by(by_host_and_mount);
        all.dedup_by(|next, kept| is_other_mount(next, kept));
        let mounts: Vec<_> = all.iter().map(|labels| labels.get("mountpoint").map(String::as_str)).collect();
        assert_eq!(mounts, [Some("/"), Some("/local"), None]);
    }
}
