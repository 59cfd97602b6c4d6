//! The process: everything put together, started, kept going, and ended in good order.

use crate::announce;
use crate::decide::Decider;
use crate::health::{Health, Signs};
use crate::http::{App, probes, router};
use crate::kubernetes::{Api, Node, Pod, Resource, watch};
use crate::ledger::{Hold, Ledger};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::notes::{Notes, write};
use crate::peers::Peers;
use crate::quarantine;
use crate::rules::Book;
use crate::scoring::{Embedded, EmbeddedSetup, Remote, Scoring};
use crate::settings::{ClusterArgs, Follow, LimitArgs, ScoringFrom, ServerArgs};
use anyhow::Context;
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
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch as signal};
use tokio::task::JoinSet;
use tracking::TrackingArgs;

/// State, reservations and waiting decisions are looked at this often.
const TICK: Duration = Duration::from_millis(500);
/// Decisions that may be worked on after their answers.
const WATCHED: usize = 256;
/// Only pods that are bound and alive: whoever is bound or ends comes and goes by itself.
const PODS: Resource = Resource {
    path: "/api/v1/pods",
    fields: "&fieldSelector=spec.nodeName%21%3D%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
};
const NODES: Resource = Resource { path: "/api/v1/nodes", fields: "" };

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
        let memory = Arc::new(Memory::new(journal, self.cluster.outcome_wait.millis(), Arc::clone(&metrics)));
        let hold = Hold { settle: self.cluster.settle.millis(), most: self.cluster.reserve_at_most.millis() };
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
            gate: Arc::new(Semaphore::new(self.limits.max_concurrent)),
            watched: Arc::new(Semaphore::new(WATCHED)),
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
        tasks.spawn({
            let book = Arc::clone(&book);
            async move { book.keep_looking().await }
        });
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
            tasks.spawn(write(api.clone(), waiting, self.cluster.notes_a_second, Arc::clone(&metrics)));
            tasks.spawn(follow_pods(api.clone(), Arc::clone(&decider), notes));
            tasks.spawn(quarantine::keep(api.clone(), Arc::clone(&decider)));
            if let Some(pod) = self.cluster.own_pod() {
                tasks.spawn(announce::keep(api.clone(), pod, Arc::clone(&book), health));
            }
            tasks.spawn(follow_nodes(api, Arc::clone(&ledger)));
        }
        tracing::info!(address = %listener.local_addr()?, mode = book.rules().mode.as_str(), scoring = %self.server.scoring, "answering");
        let (stopping, stopped) = signal::channel(false);
        let until = async move {
            let mut stopped = stopped;
            // The sender lives as long as this function.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        if !tls.as_ref().is_some_and(Tls::knows_clients) && !self.server.listen.ip().is_loopback() {
            tracing::warn!(address = %self.server.listen, "whoever reaches this address is answered: set --tls-client-ca-file, or keep the network closed");
        }
        let limits = ConnectionLimits::default();
        let drain = self.limits.drain.0;
        if let Some(listener) = probed {
            let listening = Listening { listener, tls: None, limits, counters: metrics.connections.clone() };
            let routes = probes(Arc::clone(&app));
            // It ends with the process: until then a probe hears that it is ending.
            tasks.spawn(async move {
                listening.serve(routes, drain, std::future::pending()).await;
            });
        }
        let listening = Listening { listener, tls, limits, counters: metrics.connections.clone() };
        let routes = router(Arc::clone(&app));
        let answering = tokio::spawn(async move { listening.serve(routes, drain, until).await });
        // Whatever ends by itself takes the process with it, so that it is started again; kube-scheduler goes on without us.
        let result: anyhow::Result<()> = tokio::select! {
            () = stop => Ok(()),
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
        if !answering.await.context("the server ended by a panic")? {
            tracing::warn!(drain = %self.limits.drain, "requests were still under way at the end of the grace period");
        }
        // What goes on after the last answers.
        let after = decider.watched.acquire_many(WATCHED as u32);
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
                let client = self.http.client(Duration::from_secs(10))?;
                Ok((Scoring::Remote(Box::new(Remote::new(url.clone(), client))), None))
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
        let there = ledger.nodes();
        let matched = (there > 0).then(|| {
            // Metrics know nodes for a while that the cluster has no more: stale are those that pods may be offered.
            condition.nodes = ledger.count(|node| scoring.sampled_at(node).is_some());
            condition.stale = ledger.count(|node| scoring.is_stale(node));
            condition.nodes as f64 / there as f64
        });
        let heard = ledger.is_heard();
        metrics.condition(&condition, matched, heard);
        let signs = Signs { condition, matched, heard: has_cluster.then_some(heard) };
        decider.health.look(&signs, &decider.book.rules().guard);
        let now = chrono::Utc::now().timestamp_millis();
        for (release, count) in ledger.settle(now, |node| scoring.sampled_at(node)) {
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
        let bound = |binding| {
            if let Some(decision) = memory.bound(binding)
                && decision.neutral.is_none()
                && decider.book.rules().annotate
            {
                notes.put(decision);
            }
        };
        let now = chrono::Utc::now().timestamp_millis();
        let released =
            decider.ledger.pod(happened, now, |pod| scoring.expected(pod), |node| scoring.sampled_at(node), bound);
        if let Some((release, count)) = released {
            decider.metrics.released(release, count);
        }
    };
    watch::<Pod>(&api, PODS, tell).await;
}

async fn follow_nodes(api: Api, ledger: Arc<Ledger>) {
    watch::<Node>(&api, NODES, |happened| ledger.node(happened)).await;
}
