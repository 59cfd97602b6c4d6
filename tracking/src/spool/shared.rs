//! What decides whether a write goes to the server or is kept, and where a thing is that has a local id.

use super::operation::{ExperimentOf, Operation};
use super::outbox::Outbox;
use super::staging::{LOCAL, PENDING, Staging};
use crate::mlflow::Mlflow;
use crate::types::*;
use crate::{RunQuery, Tracker, TrackingError};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::{debug, warn};

/// After a failed attempt, writes go to the spool without asking the server for this long. Guess.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// Pauses between attempts to send in the background: doubled from the first to the last. Guesses.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Core {
    pub(super) remote: Arc<Mlflow>,
    pub(super) outbox: Outbox,
    pub(super) staging: Staging,
    /// Until when the server is not asked for writes.
    away_until: Mutex<Option<Instant>>,
    /// Wakes the task that sends.
    nudge: Notify,
}

/// Where something is that may have been made while the server was away.
pub(super) enum Place {
    /// The server knows it by this id.
    Server(String),
    /// It has not been sent yet.
    Here,
}

impl Core {
    pub(super) fn new(remote: Arc<Mlflow>, outbox: Outbox, staging: Staging) -> Self {
        Self { remote, outbox, staging, away_until: Mutex::new(None), nudge: Notify::new() }
    }

    pub(super) fn place_of_run(&self, run_id: &str) -> Result<Place, TrackingError> {
        self.place(run_id, LOCAL)
    }

    pub(super) fn place_of_version(&self, version: &str) -> Result<Place, TrackingError> {
        self.place(version, PENDING)
    }

    fn place(&self, id: &str, mark: &str) -> Result<Place, TrackingError> {
        if !id.starts_with(mark) {
            return Ok(Place::Server(id.to_owned()));
        }
        Ok(self.outbox.server_id(id)?.map_or(Place::Here, Place::Server))
    }

    /// The server's id for an experiment's id that may be local.
    async fn experiment_on_server(&self, id: &str) -> Result<String, TrackingError> {
        match self.staging.experiment_of(id).await? {
            ExperimentOf::Id(id) => Ok(id),
            ExperimentOf::Name(name) => Ok(self.remote.experiment(&name).await?.id),
        }
    }

    /// Starts a run on the server; its experiment and its parent may have local ids.
    pub(super) async fn create_run_on_server(&self, id: &str, run: &NewRun) -> Result<RunInfo, TrackingError> {
        let experiment_id = self.experiment_on_server(&run.experiment_id).await?;
        let parent_id = match &run.parent_id {
            None => None,
            Some(parent) => match self.place_of_run(parent)? {
                Place::Server(id) => Some(id),
                Place::Here => return Err(TrackingError::not_found("run", parent)),
            },
        };
        self.remote.create_run_as(id, NewRun { experiment_id, parent_id, ..run.clone() }).await
    }

    pub(super) async fn search_on_server(&self, query: &RunQuery) -> Result<Vec<Run>, TrackingError> {
        let mut query = query.clone();
        for id in &mut query.experiments {
            *id = self.experiment_on_server(id).await?;
        }
        self.remote.search_runs(&query).await
    }

    fn away_until(&self) -> MutexGuard<'_, Option<Instant>> {
        // A poisoned lock only means that another thread stopped; the time in it is whole.
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn went_away(&self) {
        *self.away_until() = Some(Instant::now() + AWAY_FOR);
    }

    pub(super) fn came_back(&self) {
        *self.away_until() = None;
    }

    /// Whether a write may go straight to the server: nothing waits that must come first, and it was not just away.
    pub(super) fn direct(&self) -> Result<bool, TrackingError> {
        let away = self.away_until().is_some_and(|until| Instant::now() < until);
        Ok(!away && self.outbox.is_empty()?)
    }

    /// The result of a direct write, or `None` when the server is away and the write has to wait.
    pub(super) fn or_wait<T>(&self, result: Result<T, TrackingError>) -> Result<Option<T>, TrackingError> {
        match result {
            Err(error) if error.is_away() => {
                warn!(%error, "writes are kept and sent later");
                self.outbox.note(Some(&error))?;
                self.went_away();
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Keeps a write for later; `stage` lets it be read until then, and checks it.
    pub(super) async fn keep<T>(
        &self,
        operation: Operation,
        stage: impl Future<Output = Result<T, TrackingError>>,
    ) -> Result<T, TrackingError> {
        let _writing = self.outbox.writing().await?;
        let staged = stage.await?;
        debug!(?operation, "kept for later");
        self.outbox.put(operation)?;
        self.nudge.notify_one();
        Ok(staged)
    }

    /// Before a read: sends what waits, so that the server's answer contains it. A server that is away shows at the read.
    pub(super) async fn settle(&self) -> Result<(), TrackingError> {
        if self.outbox.is_empty()? { Ok(()) } else { self.send_all().await }
    }
}

/// Sends what waits, again and again, for as long as the process lives.
pub(super) async fn send_in_background(core: Arc<Core>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match core.outbox.is_empty() {
            Ok(true) => {
                pause = FIRST_PAUSE;
                core.nudge.notified().await;
                continue;
            }
            Ok(false) => {
                if let Err(error) = core.send_all().await {
                    warn!(%error, "failed to send the writes that wait");
                }
            }
            Err(error) => warn!(%error, "failed to read the writes that wait"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
