//! Samples of all nodes as they are now, without a store: for whoever watches a cluster rather than its history.

use super::backfill::{bad_moments, intervals, view};
use super::client::Client;
use super::columns::Asking;
use super::identity::Identity;
use super::incidents::BadMoments;
use super::pods::{self, PodFacts};
use super::settings::Source;
use crate::raw::DropCounts;
use cluster::{HOUR_MS, NodeName, NodeSample};
use std::collections::HashMap;
use std::ops::Range;

/// A server, and who its nodes are.
#[derive(Debug)]
pub struct Live<'a> {
    client: Client,
    source: &'a Source,
    cluster: Option<Cluster>,
    drops: DropCounts,
}

#[derive(Debug)]
struct Cluster {
    identity: Identity,
    targets: Vec<(String, String)>,
    intervals: HashMap<String, i64>,
    interval: i64,
    window: i64,
}

impl<'a> Live<'a> {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    /// When no address was given or a credential cannot be read.
    pub fn new(source: &'a Source) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(source)?, source, cluster: None, drops: DropCounts::default() })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        self.client.server()
    }

    /// The server's own clock in UTC milliseconds.
    ///
    /// # Errors
    /// See [`super::PrometheusError`].
    pub async fn now(&self) -> anyhow::Result<i64> {
        Ok(self.client.now().await?)
    }

    /// Requests that were sent, and how many of them again.
    pub fn sent(&self) -> (u64, u64) {
        self.client.sent()
    }

    /// Values that were left out, by reason.
    pub fn drops(&self) -> &DropCounts {
        &self.drops
    }

    /// Looks again who the nodes are and how often they are scraped, in the hour before `at`. Returns how many there are.
    ///
    /// # Errors
    /// When the server cannot be asked, or too few nodes can be told apart.
    pub async fn look_around(&mut self, at: i64) -> anyhow::Result<usize> {
        let (identity, report) = view(&self.client, self.source, &(at - HOUR_MS..at)).await?;
        report.check(self.source.args.min_matched)?;
        let (intervals, interval) = intervals(&self.client, self.source, at).await?;
        let window = self.source.args.rate_window.map_or(4 * interval, |window| window.millis());
        let targets = report.targets.iter().map(|(target, mapped)| (target.clone(), mapped.node.clone())).collect();
        self.cluster = Some(Cluster { identity, targets, intervals, interval, window });
        Ok(report.matched.max(report.targets.len()))
    }

    /// The samples of `times`, every `step` milliseconds, by node; both ends lie on the grid of steps.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn samples(&mut self, times: &Range<i64>, step: i64) -> anyhow::Result<Vec<(NodeName, Vec<NodeSample>)>> {
        if self.cluster.is_none() {
            self.look_around(times.end).await?;
        }
        let Some(cluster) = &self.cluster else { return Ok(Vec::new()) };
        let asking = Asking {
            client: &self.client,
            queries: &self.source.queries,
            identity: &cluster.identity,
            targets: &cluster.targets,
            step,
            window: cluster.window,
            intervals: &cluster.intervals,
            interval: cluster.interval,
            reply_points: self.source.args.reply_points,
            concurrency: self.source.args.concurrency,
        };
        let piece = asking.piece(times).await?;
        for count in piece.columns.values() {
            self.drops.merge(&count.drops);
        }
        Ok(piece.nodes)
    }

    /// What was bad about nodes at the steps of `times`: conditions and alerts.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn bad_moments(&mut self, times: &Range<i64>, step: i64) -> anyhow::Result<Vec<BadMoments>> {
        if self.cluster.is_none() {
            self.look_around(times.end).await?;
        }
        let Some(Cluster { identity, interval, .. }) = &self.cluster else { return Ok(Vec::new()) };
        Ok(bad_moments(&self.client, self.source, identity, times, step, *interval).await?)
    }

    /// The pods that were seen in `times`, with what they used.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn pods(&mut self, times: &Range<i64>) -> anyhow::Result<PodFacts> {
        if self.cluster.is_none() {
            self.look_around(times.end).await?;
        }
        let Some(cluster) = &self.cluster else { return Ok(PodFacts::default()) };
        let (queries, concurrency) = (&self.source.queries, self.source.args.concurrency);
        Ok(pods::fetch(&self.client, queries, &cluster.identity, times, concurrency, cluster.interval).await?)
    }
}
