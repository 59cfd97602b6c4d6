//! Scores by the same code as `serving`, in this process: models from the registry, nodes kept fresh from Prometheus. All of that
//! runs in threads of its own, so that a refresh of all nodes never keeps an answer waiting for a thread.

use super::{Condition, Preferences, Samples, Scores, ScoringError};
use crate::ledger::Usage;
use anyhow::Context;
use collector::prometheus::Source;
use features::cluster_state::Amount;
use models::anomaly::Severity;
use score_api::{ScoreAnswer, ScoreRequest};
use serving::metrics::Metrics;
use serving::nodes::{ClusterView, Feed, Fresh, KeepArgs, NodeView, Shared as SharedFeed, Tables, age_seconds, keep};
use serving::registry::{ModelName, Origin, Registry};
use serving::score::{ScoreRules, score};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::Store;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tracking::{Tracker, TrackingArgs};

/// A registry that cannot be opened is tried again after this.
const REGISTRY_AGAIN: Duration = Duration::from_secs(5);

/// All that is settled before the first score.
#[derive(Debug)]
pub struct EmbeddedSetup {
    /// The data root.
    pub store: Store,
    /// The registry.
    pub tracking: TrackingArgs,
    /// Which versions serve.
    pub alias: String,
    /// Models from folders instead.
    pub folders: Vec<(ModelName, PathBuf)>,
    /// How often the registry is looked at.
    pub reload_every: Duration,
    /// How nodes are kept.
    pub nodes: KeepArgs,
    /// What replicas share what one of them fetched by.
    pub redis: Option<redis::Client>,
    /// Where samples come from.
    pub source: Source,
    /// The age from which on samples are stale, milliseconds.
    pub stale_after: i64,
}

#[derive(Debug)]
struct Shared {
    fresh: Arc<Fresh>,
    registry: OnceLock<Arc<Registry>>,
    metrics: Arc<Metrics>,
    stale_after: i64,
}

/// The scorer in this process. Dropping it ends its threads, after what is known was written to disk.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

impl Shared {
    fn rules(&self, by: Preferences) -> ScoreRules {
        ScoreRules { weights: by.weights, strategy: by.strategy, stale_after: self.stale_after }
    }

    /// Whether what is known of a node may be acted on now.
    fn is_fresh(&self, view: &ClusterView, node: &NodeView) -> bool {
        // No preference moves the age from which on samples are stale.
        self.rules(Preferences::default()).is_fresh(view, self.fresh.now().saturating_sub(node.sampled_at))
    }
}

impl Embedded {
    /// Begins to load models and to read history. `ended` resolves when that has come to an end, which it does by itself only when it
    /// fails for good.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(setup: EmbeddedSetup) -> anyhow::Result<(Self, oneshot::Receiver<anyhow::Result<()>>)> {
        let shared = Arc::new(Shared {
            fresh: Arc::default(),
            registry: OnceLock::new(),
            metrics: Arc::default(),
            stale_after: setup.stale_after,
        });
        let (stop, stopped) = watch::channel(false);
        let (ended, has_ended) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("nodes".to_owned()).spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("nodes").enable_all().build();
            let result = runtime
                .context("failed to start the threads that keep nodes")
                .and_then(|runtime| runtime.block_on(work(setup, of_thread, stopped)));
            // Nobody listens any more when the process ends.
            let _ = ended.send(result);
        })?;
        Ok((Self { shared, stop }, has_ended))
    }

    /// Ends the threads; the receiver of [`Embedded::start`] tells when.
    pub fn stop(&self) {
        // Nobody listening means that they have ended already.
        let _ = self.stop.send(true);
    }

    /// What `serving` counts of the models and refreshes in this process.
    pub fn metrics_text(&self) -> String {
        self.shared.metrics.text()
    }

    pub(super) async fn score(
        &self,
        request: Arc<ScoreRequest>,
        by: Preferences,
        place: OwnedSemaphorePermit,
    ) -> Result<Scores, ScoringError> {
        Ok(Scores::of(self.answer(request, by, Some(place)).await?))
    }

    pub(super) async fn explain(
        &self,
        request: Arc<ScoreRequest>,
        by: Preferences,
    ) -> Result<ScoreAnswer, ScoringError> {
        self.answer(request, by, None).await
    }

    async fn answer(
        &self,
        request: Arc<ScoreRequest>,
        by: Preferences,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<ScoreAnswer, ScoringError> {
        let registry = self.shared.registry.get().ok_or(ScoringError::NotReady)?;
        let (shared, registry) = (Arc::clone(&self.shared), Arc::clone(registry));
        // Work for the processor: it leaves the threads that answer others. A panic ends there.
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            let rules = shared.rules(by);
            score(&request, &shared.fresh.view(), &registry, None, &rules, shared.fresh.now())
        });
        work.await.map_err(|_| ScoringError::Panicked)
    }

    pub(super) fn condition(&self) -> Condition {
        let (view, now) = (self.shared.fresh.view(), self.shared.fresh.now());
        let (mut models, mut lacking) = (BTreeMap::new(), Vec::new());
        if let Some(registry) = self.shared.registry.get() {
            for (name, slot) in registry.slots() {
                match (slot.current, slot.refused) {
                    (Some(model), _) => drop(models.insert(name.as_str().to_owned(), model.version.clone())),
                    (None, Some(refused)) => lacking.push(format!("{}: {}", name.as_str(), refused.reason)),
                    (None, None) => lacking.push(format!("{}: not loaded yet", name.as_str())),
                }
            }
        }
        Condition {
            models,
            lacking,
            nodes: view.nodes.len(),
            stale: view.nodes.values().filter(|node| !self.shared.is_fresh(&view, node)).count(),
            data_age_seconds: (view.at > 0).then(|| age_seconds(now.saturating_sub(view.at))),
            clock_skew: self.shared.fresh.skew(),
            away: false,
        }
    }

    pub(super) fn critical_nodes(&self) -> (BTreeSet<String>, usize) {
        let view = self.shared.fresh.view();
        let is_critical = |node: &NodeView| {
            self.shared.is_fresh(&view, node)
                && node.anomaly.as_ref().is_some_and(|anomaly| anomaly.severity == Some(Severity::Critical))
        };
        let critical = view.nodes.iter().filter(|(_, node)| is_critical(node));
        (critical.map(|(name, _)| name.as_str().to_owned()).collect(), view.nodes.len())
    }

    pub(super) fn sampled_at(&self, node: &str) -> Option<i64> {
        self.shared.fresh.view().nodes.get(node).map(|node| node.sampled_at)
    }

    pub(super) fn samples(&self) -> Samples {
        let now = self.shared.fresh.now();
        Samples::Embedded { view: self.shared.fresh.view(), rules: self.shared.rules(Preferences::default()), now }
    }

    pub(super) fn expected(&self, workload: Option<&str>, request: Usage) -> Usage {
        let request = Amount { cpu: request.cpu_cores as f32, memory: request.memory_bytes as f32 };
        let counted = self.shared.fresh.view().workloads.counted(workload, request).amount;
        Usage { cpu_cores: f64::from(counted.cpu), memory_bytes: f64::from(counted.memory) }
    }
}

async fn work(setup: EmbeddedSetup, shared: Arc<Shared>, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // A sender that is gone is an end as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let loading = async {
        let registry = Arc::new(Registry::new(origins(&setup).await, Arc::clone(&shared.metrics)));
        registry.refresh().await;
        Arc::clone(shared.registry.get_or_init(|| registry))
    };
    let registry = tokio::select! {
        registry = loading => registry,
        () = until(stopped.clone()) => return Ok(()),
    };
    let reloading = async {
        let mut ticks = tokio::time::interval(setup.reload_every);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            // Whoever has no model yet opens the registry anew: its files may have been put in place of others.
            if registry.slots().values().all(|slot| slot.current.is_none()) {
                registry.look_elsewhere(origins(&setup).await);
            }
            registry.refresh().await;
        }
    };
    let mut feed = match &setup.source.args.prometheus {
        Some(_) => Feed::prometheus(&setup.source)?,
        None => Feed::Tables(Tables::new(setup.store.clone())),
    };
    if let Some(client) = setup.redis.clone() {
        feed.share(SharedFeed::new(client, &feed.describe(), setup.nodes.every.0, Arc::clone(&shared.metrics)));
    }
    // Not the file of a `serving` on the same data root.
    let snapshot = setup.store.root().join("scheduler-extender/windows.snapshot");
    let keeping =
        keep(feed, &setup.nodes, &registry, &shared.fresh, None, &snapshot, &shared.metrics, until(stopped.clone()));
    tokio::select! {
        kept = keeping => kept.context("nodes are kept fresh no more"),
        () = reloading => Ok(()),
    }
}

/// A registry that is away is waited for: until then there are no scores, and the answers are neutral.
async fn origins(setup: &EmbeddedSetup) -> BTreeMap<ModelName, Origin> {
    let mut was_away = false;
    loop {
        match tracking::open(&setup.tracking, setup.store.root()).await {
            Ok(tracker) => {
                let tracker: Arc<dyn Tracker> = Arc::from(tracker);
                let of = |name| (name, Origin::Alias { tracker: Arc::clone(&tracker), alias: setup.alias.clone() });
                let mut origins: BTreeMap<ModelName, Origin> = ModelName::TRAINED.into_iter().map(of).collect();
                let folders = setup.folders.iter();
                origins.extend(folders.map(|(name, folder)| (*name, Origin::Folder(folder.clone()))));
                return origins;
            }
            Err(error) => {
                if !std::mem::replace(&mut was_away, true) {
                    tracing::warn!(error = format!("{error:#}"), "the registry cannot be opened, trying again");
                }
                tokio::time::sleep(REGISTRY_AGAIN).await;
            }
        }
    }
}
