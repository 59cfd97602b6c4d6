//! One server, put together: models, nodes, routes, and the tasks beside them.

use crate::http::listen::Listening;
use crate::http::tls::Tls;
use crate::http::{App, Limits, router};
use crate::journal::{JournalArgs, Keeping};
use crate::metrics::Metrics;
use crate::nodes::{Feed, Fresh, KeepArgs, Shared, Tables, keep};
use crate::predictions::PredictionLog;
use crate::registry::{ModelName, Origin, Registry};
use crate::rollout::{Rollout, RolloutArgs};
use crate::score::ScoreRules;
use crate::settings::ServerArgs;
use crate::shadow::Shadow;
use anyhow::Context;
use collector::prometheus::Source;
use server::token::Token;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// All that is settled before the first request.
pub struct Setup {
    /// The listener and its limits.
    pub server: ServerArgs,
    /// TLS; none means plain HTTP.
    pub tls: Option<Tls>,
    /// When a challenger is taken back.
    pub limits: RolloutArgs,
    /// How nodes are kept fresh.
    pub nodes: KeepArgs,
    /// By which replicas share one poller, if one is named.
    pub redis: Option<redis::Client>,
    /// The Prometheus, if one is named.
    pub source: Source,
    /// The data root.
    pub store: Store,
    /// Where models come from.
    pub origins: BTreeMap<ModelName, Origin>,
    /// Where challengers come from, if there may be some.
    pub shadow: Option<BTreeMap<ModelName, Origin>>,
    /// How predictions are kept.
    pub journal: JournalArgs,
    /// The token that clients must send.
    pub token: Option<Token>,
}

impl Setup {
    /// Answers requests until `stop` resolves.
    ///
    /// # Errors
    /// An address that cannot be listened on; a log that cannot be opened; a task that ended by itself.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self { server, tls, limits, nodes, redis, source, store, origins, shadow, journal, token } = self;
        let metrics = Arc::new(Metrics::default());
        let registry = Arc::new(Registry::new(origins, Arc::clone(&metrics)));
        let fresh = Arc::new(Fresh::default());
        let listener = TcpListener::bind(server.listen)
            .await
            .with_context(|| format!("failed to listen on `{}`", server.listen))?;
        let knows_clients = tls.as_ref().is_some_and(Tls::knows_clients);
        let serves_scores = server.models.contains(&ModelName::Combined);
        let log = match server.log_predictions {
            true => {
                let keeping = Keeping { retention: journal.retention(), waiting_bytes: server.max_request_memory / 4 };
                Some(PredictionLog::keeping(&store, keeping, metrics.clone())?)
            }
            false => None,
        };
        let rollout = match shadow {
            Some(origins) => {
                let challengers = Registry::beside(Arc::clone(&registry), origins, Arc::clone(&metrics));
                let shadow = Arc::new(Shadow::start(server.shadow.clone(), challengers, Arc::clone(&metrics))?);
                let (champions, metrics) = (Arc::clone(&registry), Arc::clone(&metrics));
                Some(Arc::new(Rollout::open(store.root(), shadow, champions, limits, metrics)?))
            }
            None => None,
        };
        let limits = Limits {
            body: server.max_body_bytes,
            memory: server.max_request_memory,
            rows: server.max_rows,
            concurrent: server.max_concurrent,
            time: server.request_timeout.0,
        };
        let (weights, strategy) = (server.weights(), server.strategy);
        let rules = ScoreRules { weights, strategy, stale_after: server.stale_after.millis() };
        let app = Arc::new(App::new(
            Arc::clone(&registry),
            Arc::clone(&fresh),
            Arc::clone(&metrics),
            rules,
            limits,
            serves_scores,
            rollout.clone(),
            log,
            token,
        ));
        if app.token.is_none() && !knows_clients && !server.listen.ip().is_loopback() {
            tracing::warn!(address = %server.listen, "whoever reaches this address is answered: set --token-file or --tls-client-ca-file, or keep the network closed");
        }
        tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "serving");
        let (stopping, stopped) = watch::channel(false);
        let until = |mut told: watch::Receiver<bool>| async move {
            // The sender lives as long as this function.
            let _ = told.wait_for(|told| *told).await;
        };
        let listening =
            Listening { listener, tls, limits: server.connections(), counters: metrics.connections.clone() };
        let mut answering =
            tokio::spawn(listening.serve(router(Arc::clone(&app)), server.drain.0, until(stopped.clone())));
        let mut answered = None;
        let (looking, looked) = watch::channel(false);
        let reloading = async {
            let mut ticks = tokio::time::interval(server.reload_every.0);
            loop {
                ticks.tick().await;
                registry.refresh().await;
                if let Some(rollout) = &rollout {
                    rollout.shadow.challengers.refresh().await;
                }
                // Who waits for it may have ended.
                let _ = looking.send(true);
            }
        };
        let following = async {
            match &rollout {
                Some(rollout) => rollout.follow().await,
                None => std::future::pending().await,
            }
        };
        let keeping = async {
            if !serves_scores {
                until(stopped.clone()).await;
                return Ok(());
            }
            let mut feed = match &source.args.prometheus {
                Some(_) => Feed::prometheus(&source)?,
                None => Feed::Tables(Tables::new(store.clone())),
            };
            if let Some(client) = redis {
                let shared = Shared::new(client, &feed.describe(), nodes.every.0, Arc::clone(&metrics));
                feed.share(shared);
            }
            // The first view is made with models, if there are some.
            tokio::select! {
                () = until(looked) => {}
                () = until(stopped.clone()) => return Ok(()),
            }
            let snapshot = store.root().join("serving/windows.snapshot");
            let stop = until(stopped.clone());
            keep(feed, &nodes, &registry, &fresh, rollout.as_deref(), &snapshot, &metrics, stop).await
        };
        tokio::pin!(keeping);
        let mut keeps = true;
        // Whatever ends by itself takes the process with it, so that it is started again.
        let ended: anyhow::Result<()> = tokio::select! {
            () = stop => Ok(()),
            () = reloading => Ok(()),
            never = following => match never {},
            never = app.events.sweep() => match never {},
            // A listener that has ended answers nobody, while everything else would go on.
            ended = &mut answering => {
                answered = Some(ended.context("the server ended by a panic"));
                Err(anyhow::anyhow!("the server has ended by itself"))
            }
            kept = &mut keeping => {
                keeps = false;
                kept.context("nodes are kept fresh no more")
            }
        };
        tracing::info!("stopping: requests under way are answered");
        // Nobody listening means that the server has ended already.
        let _ = stopping.send(true);
        let answered = match answered {
            Some(answered) => answered?,
            None => answering.await.context("the server ended by a panic")?,
        };
        if !answered {
            tracing::warn!(drain = %server.drain, "requests were still under way at the end of the grace period");
        }
        if keeps && tokio::time::timeout(server.drain.0, keeping).await.is_err() {
            tracing::warn!("the windows were not written in time");
        }
        if let Some(log) = &app.log {
            log.close();
        }
        ended
    }
}
