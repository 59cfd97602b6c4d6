//! Brings the tables up to date: chunk by chunk, oldest first, each written before the next is asked for.

use super::client::Client;
use super::columns::Asking;
use super::cover::{Cover, Journal, Lock};
use super::discover::{Scrapes, View, newest_view, view};
use super::identity::Identity;
use super::incidents::{self, Book};
use super::mapping::MappingReport;
use super::pods::{self, PodAsking, PodBook, UsageBook};
use super::queries::{Fact, Group, Spans, fill};
use super::reply::Series;
use super::settings::{Source, iso};
use super::summary::BackfillSummary;
use super::{error::PrometheusError, parts};
use crate::sources;
use cluster::{DAY_MS, grid_floor};
use runtime::WrongUse;
use std::collections::HashSet;
use std::ops::Range;
use std::time::Instant;
use store::{DatasetInput, Store};
use tokio::task::block_in_place;

/// Fetches the history that the tables do not have yet.
///
/// # Errors
/// When the server cannot be reached or answers nonsense, when too few nodes can be told apart, or when the disk is
/// full. What was fetched until then stays, and the next run goes on from there.
pub async fn backfill(source: &Source, store: &Store) -> anyhow::Result<BackfillSummary> {
    let now = Client::new(source)?.now().await?;
    let summary = fetch(source, store, &source.span(now)?, now).await?;
    record(store, &summary)?;
    Ok(summary)
}

/// Fetches what the tables do not have yet of `span`, on the grid of steps; `now` is the moment up to which samples may
/// have come.
pub(crate) async fn fetch(
    source: &Source,
    store: &Store,
    span: &Range<i64>,
    now: i64,
) -> anyhow::Result<BackfillSummary> {
    let mut collector = Collector::open(source, store).await?;
    collector.catch_up(span, now, true).await?;
    collector.pods(span, now, true).await?;
    Ok(collector.take_summary())
}

/// Which target is which node in the newest history of the wanted span, without fetching or writing anything.
///
/// # Errors
/// When the server cannot be reached or answers nonsense.
pub async fn show_mapping(source: &Source) -> anyhow::Result<MappingReport> {
    let client = Client::new(source)?;
    let now = client.now().await?;
    let chunks = cut(&source.span(now)?, source.chunk());
    Ok(newest_view(&client, source, &chunks).await?.map(|(view, _)| view.report).unwrap_or_default())
}

/// Notes the server in the ledger of sources. What was left out adds up from run to run.
pub(super) fn record(store: &Store, summary: &BackfillSummary) -> anyhow::Result<()> {
    let input = DatasetInput { kind: "prometheus".into(), name: summary.server.clone(), hash: None };
    let known = sources::sources(store)?.into_iter().find(|entry| entry.input == input);
    if known.is_none() && summary.rows == 0 {
        return Ok(());
    }
    let mut drops = known.map(|entry| entry.drops).unwrap_or_default();
    drops.merge(&summary.drops);
    sources::record(store, input, &drops)
}

/// A made-up history and a real one in the same tables would train a model on both.
fn refuse_synthetic(store: &Store) -> anyhow::Result<()> {
    if sources::sources(store)?.iter().any(|entry| entry.input.kind == "synthetic") {
        let root = store.root().display();
        return Err(WrongUse(format!(
            "`{root}` holds the history of a synthetic cluster, which a real one must not join. Choose another --data"
        ))
        .into());
    }
    Ok(())
}

/// A server and a store, and what is known of both between two visits.
pub(super) struct Collector<'a> {
    pub(super) client: Client,
    source: &'a Source,
    store: &'a Store,
    journal: Journal,
    book: Book,
    _lock: Lock,
    setting: Option<Setting>,
    /// Chunks for which the server had nothing during this process.
    empty: HashSet<i64>,
    pub(super) summary: BackfillSummary,
    begun: Instant,
}

/// What is detected once per run.
struct Setting {
    view: View,
    scrapes: Scrapes,
}

impl<'a> Collector<'a> {
    pub(super) async fn open(source: &'a Source, store: &'a Store) -> anyhow::Result<Self> {
        let client = Client::new(source)?;
        refuse_synthetic(store)?;
        let lock = Lock::take(store.root())?;
        parts::finish_compactions(store)?;
        let name = source.name(client.server());
        let journal = Journal::open(
            store.root(),
            (client.server(), &source.selector.to_string()),
            &source.fingerprint(),
            source.args.step.millis(),
        )?;
        let summary = BackfillSummary { server: name, ..BackfillSummary::default() };
        Ok(Self {
            book: Book::read(store)?,
            _lock: lock,
            setting: None,
            empty: HashSet::new(),
            begun: Instant::now(),
            client,
            source,
            store,
            journal,
            summary,
        })
    }

    /// Fetches what the tables lack of `span`. `bar` draws a progress bar.
    pub(super) async fn catch_up(&mut self, span: &Range<i64>, now: i64, bar: bool) -> anyhow::Result<()> {
        let chunk = self.source.chunk();
        let limit = self.settled(now);
        let chunks = cut(span, chunk);
        (self.summary.from, self.summary.to) = (iso(span.start), iso(span.end));
        self.summary.chunks = chunks.len() as u64;
        let mut wanted = Vec::new();
        for times in chunks {
            let start = grid_floor(times.start, chunk);
            let mut cover = self.journal.chunks.get(&start).copied();
            if cover.is_some_and(|cover| cover.rows > 0) && !parts::exists(self.store, start)? {
                tracing::warn!(chunk = %iso(start), "the part of a chunk is gone, fetching it again");
                cover = None;
                self.journal.chunks.remove(&start);
            }
            if !self.empty.contains(&start) && !Cover::pieces(cover.as_ref(), &times, limit).is_empty() {
                wanted.push((start, times));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.prepare(&wanted.iter().map(|(_, times)| times.clone()).collect::<Vec<_>>()).await?;
        let bar = bar.then(|| runtime::progress::bar(wanted.len() as u64, "node metrics"));
        for (start, times) in wanted {
            self.chunk(start, &times, limit, span.end).await?;
            if let Some(bar) = &bar {
                bar.inc(1);
            }
        }
        Ok(())
    }

    /// Up to here nothing can arrive any more. On the grid: the next piece begins here.
    fn settled(&self, now: i64) -> i64 {
        grid_floor(now - self.source.args.late.millis(), self.source.args.step.millis())
    }

    /// Finds out who the nodes are and how often the server scrapes them, and refuses when too few nodes are known.
    async fn prepare(&mut self, chunks: &[Range<i64>]) -> anyhow::Result<()> {
        if self.setting.is_some() {
            return Ok(());
        }
        let Some((view, at)) = newest_view(&self.client, self.source, chunks).await? else { return Ok(()) };
        view.report.check(self.source.args.min_matched)?;
        let scrapes = Scrapes::find(&self.client, self.source, at).await?;
        tracing::info!(
            nodes = view.report.nodes,
            matched = view.report.matched,
            ignored = view.report.ignored.len(),
            scrape_interval_ms = scrapes.interval,
            window_ms = scrapes.window,
            "found the cluster"
        );
        if scrapes.interval > self.source.args.step.millis() {
            let (interval, step) = (scrapes.interval / 1_000, self.source.args.step);
            self.summary.warnings.insert(format!("the server scrapes every {interval} s, so values at a step of {step} repeat: --step {interval}s holds the same with fewer rows"));
        }
        self.summary.scrape_interval_seconds = scrapes.interval as f64 / 1_000.0;
        self.summary.rate_window_seconds = scrapes.window as f64 / 1_000.0;
        self.summary.mapping = Some(view.report.clone());
        self.setting = Some(Setting { view, scrapes });
        Ok(())
    }

    /// Lets the next visit look again who the nodes are.
    pub(super) fn forget_setting(&mut self) {
        self.setting = None;
        self.empty.clear();
    }

    /// Fetches the pieces of one chunk that are not there, writes the part, then notes it.
    async fn chunk(&mut self, start: i64, times: &Range<i64>, limit: i64, newest: i64) -> anyhow::Result<()> {
        let cover = self.journal.chunks.get(&start).copied();
        self.client.take_notes();
        let View { identity, report, hosts } = {
            let view = view(&self.client, self.source, times).await?;
            if view.is_empty() || self.setting.is_none() {
                // Not noted in the journal: history may still be loaded into the server.
                self.summary.chunks_empty += 1;
                self.empty.insert(start);
                return Ok(());
            }
            view
        };
        let Some(setting) = self.setting.as_ref() else { return Ok(()) };
        // A chunk without kube-state-metrics knows no nodes, though the cluster does.
        let identity = if identity.known().is_empty() { &setting.view.identity } else { &identity };
        let asking = Asking {
            client: &self.client,
            queries: &self.source.queries,
            identity,
            hosts: &hosts,
            step: self.source.args.step.millis(),
            scrapes: &setting.scrapes,
            reply_points: self.source.args.reply_points,
            concurrency: self.source.args.concurrency,
        };
        let mut rows = cover.map_or(0, |cover| cover.rows);
        for piece in Cover::pieces(cover.as_ref(), times, limit) {
            let fetched = asking.piece(&piece).await?;
            let interval = setting.scrapes.interval;
            let bad = bad_moments(&self.client, self.source, identity, &piece, asking.step, interval).await?;
            self.summary.rows += fetched.nodes.iter().map(|(_, samples)| samples.len() as u64).sum::<u64>();
            block_in_place(|| {
                rows = parts::write(self.store, start, &fetched.nodes)?;
                self.book.absorb(&piece, &bad, piece.end >= newest);
                self.book.save(self.store)
            })?;
            self.summary.count(fetched.columns);
        }
        if report.ratio() < self.source.args.min_matched {
            self.summary.warnings.insert(format!(
                "{} of {} nodes have metrics of their own in the hours from {}",
                report.matched,
                report.nodes,
                iso(times.start)
            ));
        }
        self.summary.chunks_fetched += 1;
        // An answer that lacks series leaves the chunk as not fetched.
        if self.is_complete(times) {
            let cover = Cover::after(cover.as_ref(), times, limit, rows);
            self.journal.chunks.insert(start, cover);
            self.journal.save(self.store.root())?;
        }
        Ok(())
    }

    /// Whether the answers since the last look had all series. What the server says of them goes to the summary.
    fn is_complete(&mut self, times: &Range<i64>) -> bool {
        let notes = self.client.take_notes();
        for remark in notes.remarks {
            self.summary.warnings.insert(format!("the server says: {remark}"));
        }
        for missing in &notes.missing {
            tracing::warn!(said = %missing, from = %iso(times.start), "the answer of the server is not complete");
            self.summary
                .warnings
                .insert(format!("the server says: {missing}. What it touches is fetched again by the next run"));
        }
        notes.missing.is_empty()
    }

    /// Brings `raw/pods` up to date, day by day. What lies before the known history is fetched backwards, so that a kill
    /// never leaves a hole.
    pub(super) async fn pods(&mut self, span: &Range<i64>, now: i64, bar: bool) -> anyhow::Result<()> {
        let limit = self.settled(now);
        let known = self.journal.pods;
        let mut windows = Vec::new();
        for piece in Cover::pieces(known.as_ref(), span, limit) {
            let mut days = cut(&piece, DAY_MS);
            if known.is_some_and(|known| piece.end <= known.from) {
                days.reverse();
            }
            windows.extend(days);
        }
        if windows.is_empty() {
            return Ok(());
        }
        self.prepare(&cut(span, self.source.chunk())).await?;
        if self.setting.is_none() {
            return Ok(());
        }
        let mut usage = if known.is_some() { UsageBook::open(self.store.root())? } else { UsageBook::default() };
        let bar = bar.then(|| runtime::progress::bar(windows.len() as u64, "pods"));
        let mut without_creation = 0;
        self.client.take_notes();
        for times in windows {
            let newer = known.is_none_or(|known| times.start >= known.from);
            let Some(setting) = &self.setting else { return Ok(()) };
            let asking = PodAsking {
                client: &self.client,
                queries: &self.source.queries,
                identity: &setting.view.identity,
                concurrency: self.source.args.concurrency,
                interval: setting.scrapes.interval,
            };
            let mut facts = pods::fetch(asking, times.clone()).await?;
            self.summary.warnings.append(&mut facts.warnings);
            // A pod that an answer lacks would pass for one that has ended. Days are fetched in order, so the rest waits.
            if !self.is_complete(&times) {
                break;
            }
            without_creation += facts.without_creation;
            let settled = limit.min(times.end);
            facts.count_usage(&mut usage, settled);
            usage.pass(&times, settled);
            usage.forget_finished(&facts.rows, times.start - DAY_MS);
            self.summary.pods += block_in_place(|| {
                let mut book = PodBook::default();
                for row in std::mem::take(&mut facts.rows) {
                    book.put(self.store, row, newer)?;
                }
                let written = book.save(self.store)?;
                usage.save(self.store.root())?;
                anyhow::Ok(written)
            })?;
            self.journal.pods = Some(Cover::after(self.journal.pods.as_ref(), &times, limit, 0));
            self.journal.save(self.store.root())?;
            if let Some(bar) = &bar {
                bar.inc(1);
            }
        }
        if without_creation > 0 {
            self.summary
                .warnings
                .insert(format!("{without_creation} pods have no `kube_pod_created`: they are not in the table"));
        }
        Ok(())
    }

    /// How many nodes the cluster has.
    pub(super) fn nodes(&self) -> usize {
        self.summary.mapping.as_ref().map_or(0, |mapping| mapping.nodes)
    }

    /// Makes one part of each day whose history is settled.
    pub(super) fn compact(&self, now: i64) -> anyhow::Result<()> {
        let settled = self.settled(now);
        for date in self.store.days(&cluster::NODE_METRICS)? {
            if store::day_start(date) + DAY_MS <= settled && block_in_place(|| parts::compact(self.store, date))? {
                tracing::info!(%date, "compacted a day");
            }
        }
        Ok(())
    }

    /// The summary so far; a new one begins.
    pub(super) fn take_summary(&mut self) -> BackfillSummary {
        let fresh = BackfillSummary { server: self.summary.server.clone(), ..BackfillSummary::default() };
        let mut summary = std::mem::replace(&mut self.summary, fresh);
        summary.incidents = self.book.count() as u64;
        (summary.requests, summary.retries) = self.client.sent();
        summary.seconds = self.begun.elapsed().as_secs_f64();
        summary.draw_conclusions();
        summary
    }
}

/// Cuts a span at the borders of chunks.
fn cut(span: &Range<i64>, chunk: i64) -> Vec<Range<i64>> {
    let first = grid_floor(span.start, chunk);
    (first..span.end)
        .step_by(chunk as usize)
        .map(|start| start.max(span.start)..(start + chunk).min(span.end))
        .collect()
}

/// What was bad at the steps of `times`.
pub(super) async fn bad_moments(
    client: &Client,
    source: &Source,
    identity: &Identity,
    times: &Range<i64>,
    step: i64,
    interval: i64,
) -> Result<Vec<incidents::BadMoments>, PrometheusError> {
    let spans = Spans { window: 4 * interval, range: times.end - times.start, stale: 2 * interval };
    let mut bad = Vec::new();
    for (fact, read) in [
        (Fact::NodeConditions, incidents::from_conditions as fn(&[Series], &Identity) -> Vec<incidents::BadMoments>),
        (Fact::Alerts, incidents::from_alerts),
    ] {
        if let Some(query) = source.queries.fact(fact) {
            bad.extend(read(
                &client.range(&fill(query, &Group::everything(), spans), times.clone(), step).await?,
                identity,
            ));
        }
    }
    Ok(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_without_overlap_and_begin_at_the_same_places_in_every_run() {
        assert_eq!(cut(&(5..25), 10), [5..10, 10..20, 20..25]);
        assert_eq!(cut(&(7..20), 10), [7..10, 10..20]);
        assert_eq!(cut(&(10..12), 10), vec![10..12; 1]);
    }
}
