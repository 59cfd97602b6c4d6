//! Samples of all nodes as they are now, without a store: for whoever watches a cluster rather than its history.

use super::backfill::bad_moments;
use super::client::Client;
use super::columns::Asking;
use super::discover::{Scrapes, View, view};
use super::incidents::BadMoments;
use super::pods::{self, PodAsking, PodFacts};
use super::settings::Source;
use crate::raw::DropCounts;
use cluster::{HOUR_MS, NodeName, NodeSample};
use std::ops::Range;

/// A server, and who its nodes are.
#[derive(Debug)]
pub struct Live<'a> {
    client: Client,
    source: &'a Source,
    cluster: Option<Cluster>,
    /// Who the nodes were in a span of the past that was asked for last.
    past: Option<(Range<i64>, View)>,
    drops: DropCounts,
}

#[derive(Debug)]
struct Cluster {
    /// From the hour before this moment.
    at: i64,
    view: View,
    scrapes: Scrapes,
}

impl<'a> Live<'a> {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    /// When no address was given or a credential cannot be read.
    pub fn new(source: &'a Source) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(source)?, source, cluster: None, past: None, drops: DropCounts::default() })
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
    /// When the server cannot be asked, holds several clusters, or too few nodes can be told apart.
    pub async fn look_around(&mut self, at: i64) -> anyhow::Result<usize> {
        self.client.take_notes();
        let view = view(&self.client, self.source, &(at - HOUR_MS..at)).await?;
        view.report.check(self.source.args.min_matched)?;
        let scrapes = Scrapes::find(&self.client, self.source, at).await?;
        self.client.refuse_partial()?;
        let found = view.report.matched.max(view.report.targets.len());
        (self.cluster, self.past) = (Some(Cluster { at, view, scrapes }), None);
        Ok(found)
    }

    /// Makes sure that it is known who the nodes are now, and who they were in `times`: an address may have belonged to
    /// another node then.
    async fn look_at(&mut self, times: &Range<i64>) -> anyhow::Result<()> {
        let at = match &self.cluster {
            Some(cluster) => cluster.at,
            None => {
                self.look_around(times.end).await?;
                times.end
            }
        };
        if times.end <= at - HOUR_MS && self.past.as_ref().is_none_or(|(span, _)| span != times) {
            let view = view(&self.client, self.source, times).await?;
            self.past = Some((times.clone(), view));
        }
        Ok(())
    }

    /// The nodes of `times`, as far as the server knows any; and how they are scraped.
    fn known(&self, times: &Range<i64>) -> Option<(&View, &Cluster)> {
        let cluster = self.cluster.as_ref()?;
        let past = self.past.as_ref().filter(|(span, view)| span == times && !view.identity.known().is_empty());
        Some((past.map_or(&cluster.view, |(_, view)| view), cluster))
    }

    /// The samples of `times`, every `step` milliseconds, by node; both ends lie on the grid of steps. Nodes that are gone
    /// by now are left out.
    ///
    /// # Errors
    /// When the server cannot be asked, or says that its answer lacks series.
    pub async fn samples(&mut self, times: &Range<i64>, step: i64) -> anyhow::Result<Vec<(NodeName, Vec<NodeSample>)>> {
        self.client.take_notes();
        self.look_at(times).await?;
        let Some((view, cluster)) = self.known(times) else { return Ok(Vec::new()) };
        let asking = Asking {
            client: &self.client,
            queries: &self.source.queries,
            identity: &view.identity,
            hosts: &view.hosts,
            step,
            scrapes: &cluster.scrapes,
            reply_points: self.source.args.reply_points,
            concurrency: self.source.args.concurrency,
        };
        let mut piece = asking.piece(times).await?;
        self.client.refuse_partial()?;
        let there = cluster.view.identity.known();
        piece.nodes.retain(|(node, _)| there.is_empty() || there.contains(node.as_str()));
        for count in piece.columns.values() {
            self.drops.merge(&count.drops);
        }
        Ok(piece.nodes)
    }

    /// What was bad about nodes at the steps of `times`: conditions and alerts.
    ///
    /// # Errors
    /// See [`Live::samples`].
    pub async fn bad_moments(&mut self, times: &Range<i64>, step: i64) -> anyhow::Result<Vec<BadMoments>> {
        self.client.take_notes();
        self.look_at(times).await?;
        let Some((view, cluster)) = self.known(times) else { return Ok(Vec::new()) };
        let interval = cluster.scrapes.interval;
        let bad = bad_moments(&self.client, self.source, &view.identity, times, step, interval).await?;
        self.client.refuse_partial()?;
        Ok(bad)
    }

    /// The pods that were seen in `times`, with what they used.
    ///
    /// # Errors
    /// See [`Live::samples`].
    pub async fn pods(&mut self, times: &Range<i64>) -> anyhow::Result<PodFacts> {
        self.client.take_notes();
        if self.cluster.is_none() {
            self.look_around(times.end).await?;
        }
        let Some(cluster) = &self.cluster else { return Ok(PodFacts::default()) };
        let asking = PodAsking {
            client: &self.client,
            queries: &self.source.queries,
            identity: &cluster.view.identity,
            concurrency: self.source.args.concurrency,
            interval: cluster.scrapes.interval,
        };
        let facts = pods::fetch(asking, times.clone()).await?;
        self.client.refuse_partial()?;
        for warning in &facts.warnings {
            tracing::warn!(warning, "pods are not read in full");
        }
        Ok(facts)
    }
}
