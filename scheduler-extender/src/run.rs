//! The process: everything put together, started, kept going, and ended in good order.

use crate::announce;
use crate::decide::{Decider, Places};
use crate::health::{Health, Signs};
use crate::http::{App, Beat, probes, router};
use crate::kubernetes::{Api, Node, Pod, Resource, watch};
use crate::ledger::{Hold, Ledger, News};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::notes::{Notes, write};
use crate::peers::Peers;
use crate::quarantine;
use crate::rules::Book;
use crate::scoring::{Embedded, EmbeddedSetup, Remote, Scoring};
use crate::settings::{ClusterArgs, Follow, LimitArgs, ScoringFrom, ServerArgs};
use crate::unobserved::counted;
use anyhow::Context;
use cluster::IgnoredNodes;
use collector::prometheus::Source;
use runtime::WrongUse;
use runtime::http::HttpArgs;
use serving::http::listen::{ConnectionLimits, Listening};
use serving::http::tls::{Tls, TlsArgs};
use serving::journal::{Journal, JournalArgs, Keeping};
use serving::nodes::{KeepArgs, RedisArgs};
use serving::registry::ModelName;
use serving::settings::read_token;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch as signal};
use tokio::task::JoinSet;
use tracking::TrackingArgs;

/// State, reservations and waiting decisions are looked at this often.
const TICK: Duration = Duration::from_millis(500);
/// Decisions that may be worked on after their answers.
const WATCHED: usize = 256;
/// The same on pods that the API server has not told of.
const WATCHED_UNKNOWN: usize = WATCHED / 8;
/// Only pods that are alive: whoever ends goes by itself. Those that wait for a node are among them, since only they are asked about.
const PODS: Resource =
    Resource { path: &["api", "v1", "pods"], fields: "status.phase!=Succeeded,status.phase!=Failed" };
const NODES: Resource = Resource { path: &["api", "v1", "nodes"], fields: "" };

/// All that is settled before the first request.
#[derive(Debug)]
pub struct Setup {
    /// Listener and scoring.
    pub server: ServerArgs,
    /// What a request may cost.
    pub limits: LimitArgs,
    /// Certificate and key, and whose clients are let in.
    pub tls: TlsArgs,
    /// How the cluster is followed.
    pub cluster: ClusterArgs,
    /// How nodes are kept.
    pub nodes: KeepArgs,
    /// What replicas share what one of them fetched by.
    pub redis: RedisArgs,
    /// How long decisions are kept.
    pub journal: JournalArgs,
    /// Where samples come from.
    pub source: Source,
    /// How to reach a `serving` elsewhere.
    pub http: HttpArgs,
    /// The data root.
    pub store: Store,
    /// The registry.
    pub tracking: TrackingArgs,
    /// Models from folders instead of the registry.
    pub folders: Vec<(ModelName, PathBuf)>,
}

impl Setup {
    /// Answers until `stop` resolves.
    ///
    /// # Errors
    /// Wrong settings, an address that cannot be listened on, or a part that has ended by itself.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let tls = self.tls.load()?;
        self.server.check_clients(tls.as_ref().is_some_and(Tls::knows_clients))?;
        let token = self.server.token_file.as_deref().map(read_token).transpose()?;
        let metrics = Arc::new(Metrics::default());
        let book = Book::open(self.server.rules.clone(), self.server.kill_file.clone(), Arc::clone(&metrics))?;
        let book = Arc::new(book);
        let api = self.api()?;
        let listener = bind(self.server.listen).await?;
        let probed = match self.server.probe_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let journal = match self.server.log_decisions {
            true => {
                let keeping = Keeping { retention: self.journal.retention(), ..Keeping::default() };
                Some(Journal::keeping(&self.store, keeping, metrics.clone())?)
            }
            false => None,
        };
        let memory = Arc::new(Memory::new(journal, self.cluster.outcome_wait.0, Arc::clone(&metrics)));
        let hold = Hold { settle: self.cluster.settle.millis(), most: self.cluster.reserve_at_most.0 };
        let ledger = Arc::new(Ledger::new(hold));
        let health = Arc::new(Health::new(Arc::clone(&metrics)));
        let (scoring, mut ended) = self.scoring()?;
        let scoring = Arc::new(scoring);
        let decider = Arc::new(Decider {
            scoring: Arc::clone(&scoring),
            book: Arc::clone(&book),
            ledger: Arc::clone(&ledger),
            health: Arc::clone(&health),
            memory: Arc::clone(&memory),
            metrics: Arc::clone(&metrics),
            deadline: self.limits.deadline.0,
            places: Places::new(self.limits.max_concurrent, WATCHED),
            unknown_places: Places::new(self.limits.max_concurrent.div_ceil(4), WATCHED_UNKNOWN),
            details: Mutex::default(),
        });
        let app = Arc::new(App {
            decider: Arc::clone(&decider),
            peers: Peers::new(self.server.peers.iter().map(|peer| peer.0.clone()).collect(), self.http.clone()),
            max_body: self.limits.max_body_bytes,
            body_time: self.limits.body_timeout.0,
            token,
            is_ending: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&book).keep_looking());
        tasks.spawn(tick(Arc::clone(&decider), api.is_some()));
        if let Scoring::Remote(_) = &*scoring {
            let scoring = Arc::clone(&scoring);
            tasks.spawn(async move {
                if let Scoring::Remote(remote) = &*scoring {
                    remote.keep_looking().await;
                }
            });
        }
        if let Some(api) = api {
            tracing::info!(server = api.server(), "following pods and nodes");
            let (notes, waiting) = Notes::new(Arc::clone(&metrics));
            tasks.spawn(write(
                api.clone(),
                Arc::clone(&book),
                waiting,
                self.cluster.notes_a_second,
                Arc::clone(&metrics),
            ));
            tasks.spawn(follow_pods(api.clone(), Arc::clone(&decider), notes));
            tasks.spawn(quarantine::keep(api.clone(), Arc::clone(&decider)));
            if let Some(pod) = self.cluster.own_pod() {
                tasks.spawn(announce::keep(api.clone(), pod, Arc::clone(&book), health));
            }
            tasks.spawn(follow_nodes(api, Arc::clone(&ledger), self.source.labels.ignored().clone()));
        }
        tracing::info!(address = %listener.local_addr()?, mode = book.rules().mode.as_str(), scoring = %self.server.scoring, "answering");
        let (stopping, stopped) = signal::channel(false);
        let beat = Beat::default();
        if self.server.insecure_allow_any_client && !tls.as_ref().is_some_and(Tls::knows_clients) {
            tracing::warn!(address = %self.server.listen, "insecure: whoever reaches this address is answered");
        }
        let limits = ConnectionLimits::default();
        let drain = self.limits.drain.0;
        if let Some(listener) = probed {
            let listening = Listening { listener, tls: None, limits, counters: metrics.connections.clone() };
            let routes = probes(Arc::clone(&app), beat.clone());
            // It ends with the process: until then a probe hears that it is ending.
            tasks.spawn(async move {
                listening.serve(routes, drain, std::future::pending()).await;
            });
        }
        let listening = Listening { listener, tls, limits, counters: metrics.connections.clone() };
        let routes = router(Arc::clone(&app));
        let until = beat.clone().until(stopped);
        let mut answering = tokio::spawn(async move { listening.serve(routes, drain, until).await });
        // Whatever ends by itself takes the process with it, so that it is started again; kube-scheduler goes on without us.
        let mut has_answered = None;
        let result: anyhow::Result<()> = tokio::select! {
            () = stop => Ok(()),
            ended = &mut answering => {
                has_answered = Some(true);
                Err(match ended {
                    Ok(_) => anyhow::anyhow!("the listener has ended by itself"),
                    Err(error) => anyhow::Error::new(error).context("the listener has failed"),
                })
            }
            ended = end_of(&mut ended) => Err(match ended {
                Ok(Err(error)) => error,
                Ok(Ok(())) => anyhow::anyhow!("the scorer has ended by itself"),
                Err(_) => anyhow::anyhow!("the scorer's thread has panicked"),
            }),
            task = tasks.join_next() => Err(match task {
                Some(Err(error)) => anyhow::Error::new(error).context("a part of the process has failed"),
                _ => anyhow::anyhow!("a part of the process has ended by itself"),
            }),
        };
        app.is_ending.store(true, Ordering::Relaxed);
        tracing::info!(linger = %self.limits.linger, "stopping: requests under way are answered");
        if result.is_ok() {
            tokio::time::sleep(self.limits.linger.0).await;
        }
        // Nobody listening means that the server has ended already.
        let _ = stopping.send(true);
        let all_ended = match has_answered {
            Some(all_ended) => all_ended,
            None => answering.await.context("the listener has failed")?,
        };
        if !all_ended {
            tracing::warn!(drain = %self.limits.drain, "requests were still under way at the end of the grace period");
        }
        // What goes on after the last answers.
        let after = decider.places.watched.acquire_many(WATCHED as u32);
        if tokio::time::timeout(self.limits.drain.0, after).await.is_err() {
            tracing::warn!("some of the last decisions were not kept in time");
        }
        tasks.shutdown().await;
        if let Scoring::Embedded(embedded) = &*scoring {
            embedded.stop();
            if result.is_ok() && tokio::time::timeout(self.limits.drain.0, end_of(&mut ended)).await.is_err() {
                tracing::warn!("the windows were not written in time");
            }
        }
        memory.close();
        result
    }

    fn api(&self) -> anyhow::Result<Option<Api>> {
        if self.cluster.follow == Follow::Never {
            return Ok(None);
        }
        let api = Api::connect(self.cluster.kubeconfig.as_deref())?;
        if api.is_none() {
            if self.cluster.follow == Follow::Always {
                let said =
                    "there is no cluster to follow: give --kubeconfig FILE, or run as a pod with a service account";
                return Err(WrongUse(said.to_owned()).into());
            }
            tracing::warn!("no cluster is followed: load on its way is not reserved, and outcomes are not seen");
        }
        Ok(api)
    }

    fn scoring(&self) -> anyhow::Result<(Scoring, Option<Ended>)> {
        match &self.server.scoring {
            ScoringFrom::Embedded => {
                let setup = EmbeddedSetup {
                    store: self.store.clone(),
                    tracking: self.tracking.clone(),
                    alias: self.server.alias.clone(),
                    folders: self.folders.clone(),
                    reload_every: self.server.reload_every.0,
                    nodes: self.nodes.clone(),
                    redis: self.redis.client()?,
                    source: self.source.clone(),
                    stale_after: self.server.stale_after.millis(),
                };
                let (embedded, ended) = Embedded::start(setup)?;
                Ok((Scoring::Embedded(embedded), Some(ended)))
            }
            ScoringFrom::Remote(url) => {
                // Longer than any deadline: whoever waits less drops the request.
                let client = self.server.scoring_client(&self.http, url, Duration::from_secs(10))?;
                Ok((Scoring::Remote(Box::new(Remote::new(url.clone(), client, self.limits.deadline.0))), None))
            }
        }
    }
}

/// Tells how the scorer's threads ended.
type Ended = oneshot::Receiver<anyhow::Result<()>>;

/// Waits for the scorer's end, where it has one.
async fn end_of(ended: &mut Option<Ended>) -> Result<anyhow::Result<()>, oneshot::error::RecvError> {
    match ended {
        Some(ended) => ended.await,
        None => std::future::pending().await,
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on `{address}`"))
}

/// Looks at state, reservations and waiting decisions for as long as the process lives.
async fn tick(decider: Arc<Decider>, has_cluster: bool) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (scoring, ledger, metrics) = (&decider.scoring, &decider.ledger, &decider.metrics);
        let mut condition = scoring.condition();
        // Taken before the ledger is held, which every answer waits for.
        let samples = scoring.samples();
        let there = ledger.nodes();
        let matched = (there > 0).then(|| {
            // Metrics know nodes for a while that the cluster has no more: stale are those that pods may be offered.
            condition.nodes = ledger.count(|node| samples.sampled_at(node).is_some());
            condition.stale = ledger.count(|node| samples.is_stale(node));
            condition.nodes as f64 / there as f64
        });
        let heard = ledger.is_heard();
        metrics.condition(&condition, matched, heard);
        let signs = Signs { condition, matched, heard: has_cluster.then_some(heard) };
        decider.health.look(&signs, &decider.book.rules().guard);
        let now = Instant::now();
        for (release, count) in ledger.settle(now, |node| samples.sampled_at(node)) {
            if count > 0 {
                metrics.released(release, count);
            }
        }
        metrics.reserved(&ledger.totals());
        decider.memory.sweep(now);
    }
}

async fn follow_pods(api: Api, decider: Arc<Decider>, notes: Notes) {
    let tell = |happened| {
        let (scoring, memory) = (&decider.scoring, &decider.memory);
        let expect = |pod: &Pod| scoring.expected(pod);
        for news in decider.ledger.pod(happened, Moment::now(), expect, |node| scoring.sampled_at(node)) {
            match news {
                News::Waits(pod) => memory.known(&pod.metadata),
                News::Bound(binding) => {
                    if let Some(decision) = memory.bound(binding)
                        && decision.neutral.is_none()
                    {
                        notes.put(decision);
                    }
                }
                News::Released(release, count) => decider.metrics.released(release, count),
            }
        }
    };
    watch::<Pod>(&api, PODS, tell).await;
}

async fn follow_nodes(api: Api, ledger: Arc<Ledger>, ignored: IgnoredNodes) {
    watch::<Node>(&api, NODES, |happened| ledger.node(counted(&ignored, happened))).await;
}
