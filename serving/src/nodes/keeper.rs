//! Keeps the view fresh: reads history once, then what is new, every half a minute.

use super::clock::{self, ClockError};
use super::feed::Feed;
use super::offsets::LiveOffsets;
use super::view::{Anomaly, ClusterView, Fresh, NodeView, Nodes, cluster_facts};
use super::watch::{Departure, FreshWatch};
use super::workloads::Workloads;
use crate::metrics::Metrics;
use crate::registry::{AllReadings, ModelName, Registry, ServedModel};
use crate::rollout::Rollout;
use crate::score::Memo;
use clap::Args;
use cluster::{DAY_MS, HOUR_MS, MINUTE_MS, NodeMetric, NodeName, NodeSample, grid_floor};
use detection::watch::SlidingFeatures;
use features::cluster_state::{Amount, NodeFacts};
use features::{FeatureSettings, GRID_STEP_MS, GridRows};
use futures::FutureExt;
use runtime::WrongUse;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::block_in_place;
use tracking::Decision;

/// How the view is kept, section `[serving.nodes]`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepArgs {
    /// How often samples are fetched and all nodes are forecast anew
    #[arg(long, env = "BERTH_SERVING_EVERY", default_value = "30s", value_name = "SPAN")]
    pub every: Span,
    /// How much history to read first: long windows look back seven days
    #[arg(long, env = "BERTH_SERVING_WARM", default_value = "7d", value_name = "SPAN")]
    pub warm: Span,
    /// Distance of samples in that history; it divides five minutes
    #[arg(long, env = "BERTH_SERVING_WARM_STEP", default_value = "1m", value_name = "SPAN")]
    pub warm_step: Span,
    /// How often the windows are written to disk, so that a restart is warm; they are written at the end as well
    #[arg(long, env = "BERTH_SERVING_SNAPSHOT_EVERY", default_value = "5m", value_name = "SPAN")]
    pub snapshot_every: Span,
    /// Hours and holidays as the models were trained on: section `[features.build]`.
    #[arg(skip)]
    #[serde(skip)]
    pub features: FeatureSettings,
    /// A fresh fit of the load predictor whose forecasts miss by so much more than the judged model's in its first day, beyond chance,
    /// is taken back: mean utilization, 0.01 is one point
    #[arg(long, env = "BERTH_SERVING_FRESH_MAX_LOSS", default_value_t = 0.005, value_name = "SHARE")]
    pub fresh_max_loss: f64,
}

impl KeepArgs {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        let divides = |span: Span| span.millis() >= 1_000 && GRID_STEP_MS % span.millis() == 0;
        for (key, span) in [("every", self.every), ("warm_step", self.warm_step)] {
            if !divides(span) {
                return Err(WrongUse(format!(
                    "`{key}` of [serving.nodes] must be at least 1s and divide 5m, got {span}"
                )));
            }
        }
        if !(0.0..=1.0).contains(&self.fresh_max_loss) {
            return Err(WrongUse(format!(
                "`fresh_max_loss` of [serving.nodes] must be a share from 0 to 1, got {}",
                self.fresh_max_loss
            )));
        }
        Ok(())
    }
}

/// The agent reads the mean of so much CPU.
const RECENT: i64 = 15 * MINUTE_MS;
/// A node of which nothing was heard for so long is there no more: features have no row of it either.
const GONE: i64 = HOUR_MS;
/// Pods are asked for this often: their usage is taken every five minutes.
const PODS_EVERY: i64 = 5 * MINUTE_MS;
/// Four times as many nodes as Kubernetes is made for (5,000): more are no nodes, and each takes some ten kilobytes.
const MOST_NODES: usize = 20_000;
/// Features that are blamed at most.
const MOST_BLAMED: usize = 5;

/// Keeps the view fresh until `stop` resolves. A source that is away is waited for; what is known grows old meanwhile and says so.
///
/// # Errors
/// Settings out of range.
#[expect(clippy::too_many_arguments, reason = "each is another part of the process, and there are two callers")]
pub async fn keep(
    mut feed: Feed<'_>,
    args: &KeepArgs,
    registry: &Registry,
    fresh: &Fresh,
    beside: Option<&Rollout>,
    snapshot: &Path,
    metrics: &Metrics,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    args.validate()?;
    super::snapshot::sweep(snapshot);
    tokio::pin!(stop);
    let mut ticks = tokio::time::interval(args.every.0);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut keeper: Option<Keeper> = None;
    // Windows on disk that led to nothing are not gone on from again.
    let mut trusts_snapshot = true;
    let mut was_away = false;
    let mut saved = Instant::now();
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = ticks.tick() => {}
        }
        let round = async {
            let kept = match &mut keeper {
                Some(kept) => kept,
                None => {
                    let usable = Some(snapshot).filter(|_| trusts_snapshot);
                    keeper.insert(Keeper::begin(&mut feed, args, usable, fresh).await?)
                }
            };
            kept.warm(&mut feed, args).await?;
            kept.round(&mut feed, args, metrics, &load_predictors(registry, beside)).await?;
            let began = Instant::now();
            let mut view = block_in_place(|| kept.view(registry))?;
            view.memo = metrics.memo();
            metrics.refreshed(view.nodes.len(), began.elapsed());
            kept.has_refreshed = true;
            fresh.put(view);
            if let Some(rollout) = beside {
                block_in_place(|| rollout.take_in(&fresh.view(), |challengers| kept.view(challengers)));
            }
            block_in_place(|| kept.watch_fresh_fit(&fresh.view(), registry, args.fresh_max_loss, metrics))?;
            kept.give_back(registry).await;
            anyhow::Ok(())
        };
        // Something that no test has thought of is a failed refresh and not the end of the process.
        let round = AssertUnwindSafe(round).catch_unwind();
        let done = tokio::select! {
            () = &mut stop => break,
            done = round => done.unwrap_or_else(|_| Err(Panicked.into())),
        };
        if let Some(skew) = feed.skew() {
            metrics.clock_skew(skew);
            fresh.put_skew(Some(skew));
        }
        match &done {
            Ok(()) => trusts_snapshot = true,
            Err(error) if leaves_nothing(error) => {
                trusts_snapshot = keeper.take().is_some_and(|kept| kept.has_refreshed);
            }
            Err(_) => {}
        }
        if let Some(kept) = keeper.as_ref().filter(|_| done.is_ok() && saved.elapsed() >= args.snapshot_every.0) {
            saved = Instant::now();
            block_in_place(|| {
                kept.save(&feed, snapshot);
                beside.inspect(|rollout| rollout.save());
            });
        }
        match done {
            Ok(()) if std::mem::take(&mut was_away) => tracing::info!(source = feed.describe(), "samples come again"),
            Ok(()) => {}
            Err(error) => {
                metrics.refresh_failed();
                if !std::mem::replace(&mut was_away, true) {
                    tracing::warn!(source = feed.describe(), error = format!("{error:#}"), "no samples, trying again");
                }
            }
        }
    }
    block_in_place(|| {
        keeper.filter(|kept| kept.is_warm).inspect(|kept| kept.save(&feed, snapshot));
        beside.inspect(|rollout| rollout.save());
    });
    Ok(())
}

/// A refresh ended by a panic.
#[derive(Debug, thiserror::Error)]
#[error("a refresh ended by a panic: the windows are started anew")]
struct Panicked;

/// Whether nothing can be gone on from after this: the windows hold samples of a time that has not come, or what a panic left.
fn leaves_nothing(error: &anyhow::Error) -> bool {
    error.is::<Panicked>() || matches!(error.downcast_ref(), Some(ClockError::WentBack { .. }))
}

/// The load predictors at work: the champion first, then the challenger where it is another.
fn load_predictors(registry: &Registry, beside: Option<&Rollout>) -> Vec<Arc<ServedModel>> {
    let challengers = beside.map(|rollout| &rollout.shadow.challengers);
    let all = [Some(registry), challengers].into_iter().flatten();
    all.filter_map(|registry| registry.current(ModelName::LoadPredictor)).collect()
}

/// A node's last minutes.
#[derive(Debug, Default)]
struct Recent {
    /// Moment and CPU utilization.
    cpu: VecDeque<(i64, f64)>,
    newest: Option<NodeSample>,
    /// Its newest sample that has usage: the cluster may know a node that does not answer.
    measured_at: i64,
}

struct Keeper {
    sliding: SlidingFeatures,
    recent: BTreeMap<NodeName, Recent>,
    workloads: Arc<Workloads>,
    /// The first moment that was not taken in.
    next: i64,
    /// History has been read.
    is_warm: bool,
    /// A view was made.
    has_refreshed: bool,
    pods_until: i64,
    step: i64,
    /// The coarsest distance of samples, which the windows' rules follow from.
    coarsest: i64,
    rows: Arc<GridRows>,
    /// What makes each P90 the one that is served.
    offsets: LiveOffsets,
    /// A fresh fit in its first day.
    watch: FreshWatch,
    /// A fresh fit that was taken back and that the registry still names.
    departed: Option<Departure>,
}

impl Keeper {
    /// Goes on from a snapshot, or knows nothing yet.
    async fn begin(
        feed: &mut Feed<'_>,
        args: &KeepArgs,
        snapshot: Option<&Path>,
        fresh: &Fresh,
    ) -> anyhow::Result<Self> {
        let now = feed.now().await?;
        if feed.is_fixed() {
            fresh.fix(now);
        }
        let step = feed.step(args.every.millis())?;
        // A slot has to have a share of the samples that come in it, at the coarsest distance that they come in.
        let coarsest = if matches!(feed, Feed::Tables(_)) { step } else { step.max(args.warm_step.millis()) };
        let rules = args.features.rules(coarsest)?;
        let end = if feed.is_fixed() { now } else { grid_floor(now, args.every.millis()) };
        let from = grid_floor(end - args.warm.millis().max(HOUR_MS), GRID_STEP_MS);
        let mut kept = Self {
            sliding: SlidingFeatures::new(rules, from),
            recent: BTreeMap::new(),
            workloads: Arc::default(),
            next: from,
            is_warm: false,
            has_refreshed: false,
            pods_until: 0,
            step,
            coarsest,
            rows: Arc::default(),
            offsets: LiveOffsets::default(),
            watch: FreshWatch::default(),
            departed: None,
        };
        if let Some(snapshot) = snapshot.filter(|_| !feed.is_fixed())
            && kept.resume(feed, snapshot, from..now)
        {
            kept.is_warm = true;
            return Ok(kept);
        }
        for (node, incidents) in feed.incidents(from)? {
            kept.sliding.push_incidents(&NodeName::new(node), incidents);
        }
        tracing::info!(source = feed.describe(), from, end, "reading history");
        Ok(kept)
    }

    /// Reads history up to now, piece by piece: where one cannot be had, the next try goes on from there.
    async fn warm(&mut self, feed: &mut Feed<'_>, args: &KeepArgs) -> anyhow::Result<()> {
        if self.is_warm {
            return Ok(());
        }
        // It ends on the grid, so that its last slot is not half of one kind and half of another.
        let end = grid_floor(feed.now().await? - GRID_STEP_MS, GRID_STEP_MS);
        while self.next < end {
            let piece = self.next..feed.piece_end(self.next).min(end);
            self.take_in(feed, &piece, args.warm_step.millis()).await?;
            self.next = piece.end;
            block_in_place(|| self.sliding.settle(piece.end))?;
        }
        self.is_warm = true;
        Ok(())
    }

    /// Goes on from a snapshot, if there is one that is of use and was taken in `times`.
    fn resume(&mut self, feed: &Feed<'_>, path: &Path, times: Range<i64>) -> bool {
        let snapshot = match super::snapshot::read(path, &feed.describe(), self.coarsest, times.end) {
            Ok(Some(snapshot)) if snapshot.grid > times.start => snapshot,
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "history is read instead");
                return false;
            }
        };
        tracing::info!(grid = snapshot.grid, "goes on from the windows on disk");
        self.sliding = SlidingFeatures::resume(snapshot.windows, snapshot.grid);
        self.workloads = Arc::new(snapshot.workloads);
        self.offsets = snapshot.offsets;
        self.watch = snapshot.watch;
        self.next = snapshot.grid;
        true
    }

    /// Puts the windows aside. That it cannot be done costs the next start some time, and nothing else.
    fn save(&self, feed: &Feed<'_>, path: &Path) {
        if feed.is_fixed() {
            return;
        }
        let (source, forecasts) = (feed.describe(), (&self.offsets, &self.watch));
        let windows = self.sliding.settled();
        if let Err(error) = super::snapshot::write(path, (&source, self.coarsest), windows, &self.workloads, forecasts)
        {
            tracing::warn!(error = format!("{error:#}"), "the windows could not be written to disk");
        }
    }

    /// Takes in what is new.
    async fn round(
        &mut self,
        feed: &mut Feed<'_>,
        args: &KeepArgs,
        metrics: &Metrics,
        models: &[Arc<ServedModel>],
    ) -> anyhow::Result<()> {
        let (now, every) = (feed.now().await?, args.every.millis());
        // The sample of this very moment counts: a row ends where the next sample would be.
        let until = if feed.is_fixed() { now } else { grid_floor(now, every) + every };
        if !feed.is_fixed() {
            clock::check_order(self.next, until)?;
        }
        if until > self.next {
            let mut start = self.next;
            while start < until {
                let piece = start..feed.piece_end(start).min(until);
                self.take_in(feed, &piece, every).await?;
                start = piece.end;
            }
            self.next = until;
            // A node that is gone is no node with stale samples: clusters that scale would soon know more of those than of others.
            self.recent.retain(|_, recent| recent.newest.is_some_and(|newest| newest.ts >= until - GONE));
            block_in_place(|| self.follow(until, models))?;
            self.offsets.take_tallies().for_each(|(head, tally)| metrics.p90_outcomes(head, tally));
            let began = Instant::now();
            self.rows = Arc::new(block_in_place(|| self.sliding.ending_at(until))?);
            metrics.features_took(began.elapsed());
        }
        // On the grid, so that replicas ask for the same times.
        if grid_floor(until, PODS_EVERY) > grid_floor(self.pods_until, PODS_EVERY) {
            let from = if self.pods_until == 0 { until - DAY_MS } else { self.pods_until - PODS_EVERY };
            let facts = feed.pods(&(from..until)).await?;
            Arc::make_mut(&mut self.workloads).take_in(&facts, until);
            self.pods_until = until;
        }
        Ok(())
    }

    /// Goes through the grid times up to `until` that have not been: what became known moves the P90.
    fn follow(&mut self, until: i64, models: &[Arc<ServedModel>]) -> anyhow::Result<()> {
        for at in self.offsets.due(until) {
            self.offsets.step(&self.sliding.ending_at(at)?, models)?;
        }
        Ok(())
    }

    /// Takes in what there is of `times`, every `step`: all of it or nothing.
    async fn take_in(&mut self, feed: &mut Feed<'_>, times: &Range<i64>, step: i64) -> anyhow::Result<()> {
        let samples = feed.samples(times, step).await?;
        check_nodes(samples.len())?;
        if let Some(bad) = feed.bad_moments(times, step).await? {
            self.sliding.push_bad_moments(times, step, &bad);
        }
        for (node, samples) in &samples {
            self.sliding.push(node, samples);
            let recent = self.recent.entry(node.clone()).or_default();
            samples.iter().for_each(|sample| recent.push(sample));
        }
        Ok(())
    }

    /// Compares a fresh fit in its first day with the judged model, which takes its place at once when it departs.
    fn watch_fresh_fit(
        &mut self,
        view: &ClusterView,
        registry: &Registry,
        limit: f64,
        metrics: &Metrics,
    ) -> anyhow::Result<()> {
        let name = ModelName::LoadPredictor;
        if self.departed.is_some() {
            // What is known stays until the registry knows it too: a restart would let the fresh fit serve again.
            return Ok(());
        }
        let Some((fresh, judged)) = registry.current(name).zip(registry.judged(name)) else {
            self.watch.forget();
            return Ok(());
        };
        let rows = &self.rows;
        self.watch.take_in(view, &fresh, &judged, |judged| {
            let forecasts = judged.all_forecasts(rows)?.unwrap_or_default();
            Ok(rows.nodes.iter().cloned().zip(forecasts).collect())
        })?;
        if let Some(errors) = self.watch.errors() {
            metrics.fresh_fit(&errors);
        }
        if let Some(departure) = self.watch.departure(limit) {
            let (fresh, judged, why) = (&departure.fresh, &departure.judged, &departure.why);
            tracing::warn!(fresh, judged, why, "fresh fit rejected, the judged model serves");
            registry.take_back(name);
            metrics.fresh_fit_taken_back();
            self.departed = Some(departure);
        }
        Ok(())
    }

    /// Writes down in the registry what was taken back here. Who cannot be reached is tried again at the next refresh.
    async fn give_back(&mut self, registry: &Registry) {
        let Some(departure) = &self.departed else { return };
        let evidence = serde_json::json!({ "forecasts": departure.evidence });
        let decision = Decision { who: "serving".to_owned(), why: departure.why.clone(), evidence };
        let versions = (departure.fresh.as_str(), departure.judged.as_str());
        match registry.give_back(ModelName::LoadPredictor, versions, &decision).await {
            Ok(moved) => {
                tracing::info!(
                    fresh = departure.fresh,
                    judged = departure.judged,
                    moved,
                    "the registry was told of the rejected fresh fit"
                );
                self.departed = None;
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "failed to move the registry back to the judged model, retrying"
                );
            }
        }
    }

    /// All nodes as they are now, forecast and judged by the models that serve.
    fn view(&self, registry: &Registry) -> anyhow::Result<ClusterView> {
        let (load, anomaly) =
            (registry.current(ModelName::LoadPredictor), registry.current(ModelName::AnomalyDetector));
        let mut forecasts = match &load {
            Some(model) => match model.all_forecasts(&self.rows)? {
                Some(raw) => Some(self.offsets.served(model, &self.rows.nodes, raw)?),
                None => None,
            },
            None => None,
        };
        let readings = match &anomaly {
            Some(model) => model.all_readings(&self.rows)?,
            None => None,
        };
        let hour = (self.next / HOUR_MS) as usize;
        let mut pods = self.workloads.by_node(hour);
        let mut nodes = Nodes::with_capacity_and_hasher(self.recent.len(), Default::default());
        for (name, recent) in &self.recent {
            let Some(newest) = &recent.newest else { continue };
            let row = self.rows.nodes.binary_search(name).ok();
            let pods = pods.remove(name).unwrap_or_default();
            let facts = recent.facts(newest, &pods);
            nodes.insert(
                name.clone(),
                NodeView {
                    sampled_at: recent.measured_at,
                    facts,
                    pods,
                    forecasts: row
                        .zip(forecasts.as_mut())
                        .and_then(|(row, forecasts)| forecasts.get_mut(row).map(std::mem::take)),
                    anomaly: match row.zip(readings.as_ref()) {
                        Some((row, readings)) => Some(judge(readings, row)?),
                        None => None,
                    },
                    row,
                },
            );
        }
        let cluster = cluster_facts(&nodes, &self.workloads, self.next);
        let served = [load, anomaly, registry.current(ModelName::PlacementAgent)];
        Ok(ClusterView {
            at: self.next,
            step: self.step,
            nodes,
            cluster,
            workloads: Arc::clone(&self.workloads),
            versions: served.into_iter().flatten().map(|model| (model.name, model.version.clone())).collect(),
            rows: Arc::clone(&self.rows),
            memo: Memo::default(),
        })
    }
}

/// Refuses more nodes than a cluster has.
pub(super) fn check_nodes(count: usize) -> anyhow::Result<()> {
    anyhow::ensure!(
        count <= MOST_NODES,
        "samples name {count} nodes, at most {MOST_NODES} are known at once: is another label read as the node?"
    );
    Ok(())
}

impl Recent {
    fn push(&mut self, sample: &NodeSample) {
        if self.newest.as_ref().is_some_and(|newest| sample.ts <= newest.ts) {
            return;
        }
        let utilization = sample.get(NodeMetric::CpuUsed) / sample.get(NodeMetric::CpuAllocatable);
        if utilization.is_finite() {
            self.cpu.push_back((sample.ts, utilization));
            self.measured_at = sample.ts;
        }
        while self.cpu.front().is_some_and(|(ts, _)| *ts <= sample.ts - RECENT) {
            self.cpu.pop_front();
        }
        // A sample without usage is a node that does not answer; what was known of it counts until it is stale.
        self.newest = Some(match &self.newest {
            Some(before) => filled(sample, before),
            None => *sample,
        });
    }

    fn facts(&self, newest: &NodeSample, pods: &super::NodePods) -> NodeFacts {
        let amount = |cpu: NodeMetric, memory: NodeMetric| Amount {
            cpu: or_zero(newest.get(cpu)),
            memory: or_zero(newest.get(memory)),
        };
        let allocatable = amount(NodeMetric::CpuAllocatable, NodeMetric::MemoryAllocatable);
        let share = |used: NodeMetric, of: NodeMetric| (newest.get(used) / newest.get(of)) as f32;
        let count = self.cpu.len() as f64;
        let mean = self.cpu.iter().map(|(_, cpu)| cpu).sum::<f64>() / count;
        let variance = self.cpu.iter().map(|(_, cpu)| (cpu - mean).powi(2)).sum::<f64>() / count;
        NodeFacts {
            allocatable,
            requested: amount(NodeMetric::CpuRequested, NodeMetric::MemoryRequested),
            cpu_seen: share(NodeMetric::CpuUsed, NodeMetric::CpuAllocatable),
            memory_seen: share(NodeMetric::MemoryUsed, NodeMetric::MemoryAllocatable),
            cpu_mean: mean as f32,
            cpu_deviation: if count > 0.0 { variance.sqrt() as f32 } else { 0.0 },
            in_flight: Amount::default(),
            hours: pods.hours,
            memory_peak: pods.memory_peak,
            pods: pods.count,
            same_workload: 0,
            includes_pod: false,
        }
    }
}

fn or_zero(value: f64) -> f32 {
    if value.is_finite() { value as f32 } else { 0.0 }
}

/// What a sample lacks stays as it was. For usage this holds as long as [`Recent::measured_at`] is fresh, and nobody looks at it later:
/// were it missing at once, a cluster of which no node answers would look idle, and the agent, told so, prefers nodes that were busy before.
fn filled(sample: &NodeSample, before: &NodeSample) -> NodeSample {
    let mut sample = *sample;
    for metric in [
        NodeMetric::CpuAllocatable,
        NodeMetric::MemoryAllocatable,
        NodeMetric::CpuRequested,
        NodeMetric::MemoryRequested,
        NodeMetric::CpuUsed,
        NodeMetric::MemoryUsed,
    ] {
        if sample.get(metric).is_nan() {
            sample.set(metric, before.get(metric));
        }
    }
    sample
}

fn judge(all: &AllReadings<'_>, row: usize) -> anyhow::Result<Anomaly> {
    let (detector, reading) = (all.detector, &all.readings[row]);
    let severity = detector.severity(reading);
    let blame = match severity {
        Some(_) => detector.explain(all.x.row(row), MOST_BLAMED)?.blame,
        None => Vec::new(),
    };
    Ok(Anomaly { score: detector.score(reading), severity, kind: reading.kind, blame })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_that_a_sample_lacks_is_what_it_was_and_no_news() {
        let sample = |ts, used: f64| {
            let mut sample = NodeSample::empty(ts);
            sample.set(NodeMetric::CpuAllocatable, 8.0);
            sample.set(NodeMetric::CpuUsed, used);
            sample
        };
        let mut recent = Recent::default();
        recent.push(&sample(1_000, 6.0));
        recent.push(&sample(2_000, f64::NAN));
        let newest = recent.newest.expect("a sample");
        assert_eq!((newest.ts, newest.get(NodeMetric::CpuUsed)), (2_000, 6.0));
        assert_eq!((recent.measured_at, recent.cpu.len()), (1_000, 1));
    }
}
