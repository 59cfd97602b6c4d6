//! Sending what waits, in order, so that the server ends up as if it had never been away.
//!
//! A write is forgotten only after the server has answered. When a process dies in between, the write is sent again, so
//! each kind is safe to send twice: a run and a version are looked for by their client id first, a metric's point, a
//! parameter, a tag and an artifact are the same when written again, and a move of an alias has its own id.

use super::operation::{ExperimentOf, Operation};
use super::shared::{Core, Place};
use crate::Tracker;
use crate::TrackingError;
use crate::types::*;
use tracing::{info, warn};

/// A write at which the server fails (status 500) this often is put aside, so that it does not block the others. Guess.
const FAILURES: u32 = 20;

impl Core {
    /// Sends until nothing waits or the server is away. Only trouble with the spool's own files is an error.
    pub(super) async fn send_all(&self) -> Result<(), TrackingError> {
        let _sending = self.outbox.sending().await?;
        let mut count = 0;
        while let Some(position) = self.outbox.positions()?.first().copied() {
            let entry = match self.outbox.read(position) {
                Ok(entry) => entry,
                Err(error) => {
                    let reason = format!("{error}: {}", cause(&error));
                    warn!(position, reason, "a write that waited is damaged and is put aside");
                    self.outbox.refuse(position, &reason)?;
                    continue;
                }
            };
            let Err(error) = self.send(&entry.operation).await else {
                self.outbox.done(position)?;
                self.forget_file(&entry.operation);
                count += 1;
                continue;
            };
            if blocks(&error) && entry.failures < FAILURES {
                if !error.is_away() {
                    warn!(error = %error, "writes to the tracking server wait, since it does not take them");
                }
                if matches!(error, TrackingError::Refused { status: 500.., .. }) {
                    self.outbox.failed_again(position, &entry)?;
                }
                self.outbox.note(Some(&error))?;
                self.went_away();
                return Ok(());
            }
            warn!(position, error = %error, "the tracking server refused a write that waited, so it is put aside");
            self.outbox.refuse(position, &error.to_string())?;
        }
        if count > 0 {
            info!(count, server = self.remote.describe(), "sent the writes that waited");
            self.outbox.note(None)?;
            self.clean().await?;
        }
        self.came_back();
        Ok(())
    }

    /// Forgets the staged copies, unless something new waits.
    async fn clean(&self) -> Result<(), TrackingError> {
        let _writing = self.outbox.writing().await?;
        if self.outbox.is_empty()? {
            self.staging.handed_on().await?;
        }
        Ok(())
    }

    fn forget_file(&self, operation: &Operation) {
        if let Operation::LogArtifact { file, .. } = operation {
            // What is left behind costs disk, nothing else.
            if let Err(error) = std::fs::remove_file(self.outbox.file(file)) {
                warn!(file, %error, "failed to remove an artifact that was sent");
            }
        }
    }

    async fn send(&self, operation: &Operation) -> Result<(), TrackingError> {
        match operation {
            Operation::CreateRun { id, experiment, run } => self.send_run(id, experiment, run).await,
            Operation::SetStatus { run_id, status, ended_at } => {
                self.remote.set_status(&self.on_server(run_id)?, *status, *ended_at).await
            }
            Operation::LogBatch { run_id, batch } => self.remote.log_batch(&self.on_server(run_id)?, batch).await,
            Operation::LogArtifact { run_id, path, file } => {
                self.remote.log_artifact_file(&self.on_server(run_id)?, path, &self.outbox.file(file)).await
            }
            Operation::RegisterModel { name, description } => {
                self.remote.register_model(name, description).await.map(drop)
            }
            Operation::CreateVersion { id, version } => self.send_version(id, version).await,
            Operation::MoveAlias { model, step } => self.send_alias(model, step).await,
            Operation::SetVersionTag { model, version, key, value } => {
                self.remote.set_version_tag(model, &self.version_on_server(model, version)?, key, value).await
            }
        }
    }

    async fn send_run(&self, id: &str, experiment: &ExperimentOf, run: &NewRun) -> Result<(), TrackingError> {
        if self.outbox.server_id(id)?.is_some() {
            return Ok(());
        }
        let experiment_id = match experiment {
            ExperimentOf::Id(id) => id.clone(),
            ExperimentOf::Name(name) => self.remote.experiment(name).await?.id,
        };
        let made = match self.remote.run_of_client(&experiment_id, id).await? {
            Some(made) => made,
            None => {
                let parent_id = run.parent_id.as_deref().map(|parent| self.on_server(parent)).transpose()?;
                self.remote.create_run_as(id, NewRun { experiment_id, parent_id, ..run.clone() }).await?
            }
        };
        self.outbox.sent(id, &made.id)
    }

    async fn send_version(&self, id: &str, version: &NewVersion) -> Result<(), TrackingError> {
        if self.outbox.server_id(id)?.is_some() {
            return Ok(());
        }
        let made = match self.remote.version_of_client(&version.model, id).await? {
            Some(made) => made,
            None => {
                let run_id = self.on_server(&version.run_id)?;
                self.remote.create_version_as(id, NewVersion { run_id, ..version.clone() }).await?
            }
        };
        self.outbox.sent(id, &made.version)
    }

    /// A decision made while the server was away must not undo a newer one that somebody made there meanwhile.
    async fn send_alias(&self, model: &str, step: &AliasMove) -> Result<(), TrackingError> {
        let history = self.remote.alias_history(model).await?;
        let newer =
            history.iter().find(|change| change.alias == step.alias && change.at > step.at && change.id != step.id);
        if let Some(newer) = newer {
            let why =
                format!("a newer decision by `{}` of {} stands: {}", newer.decision.who, newer.at, newer.decision.why);
            return Err(TrackingError::invalid("move of alias", &format!("{model}@{}", step.alias), why));
        }
        let to = step.to.as_deref().map(|version| self.version_on_server(model, version)).transpose()?;
        self.remote.move_alias(model, &AliasMove { to, ..step.clone() }).await
    }

    fn on_server(&self, run_id: &str) -> Result<String, TrackingError> {
        match self.place_of_run(run_id)? {
            Place::Server(id) => Ok(id),
            Place::Here => Err(TrackingError::not_found("run", run_id)),
        }
    }

    fn version_on_server(&self, model: &str, version: &str) -> Result<String, TrackingError> {
        match self.place_of_version(version)? {
            Place::Server(version) => Ok(version),
            Place::Here => Err(TrackingError::not_found("model version", format!("{model}/{version}"))),
        }
    }
}

/// Whether an error says more about the server's state than about the write, so that sending stops and the write stays.
fn blocks(error: &TrackingError) -> bool {
    match error {
        TrackingError::Away { .. } | TrackingError::Foreign { .. } | TrackingError::Database { .. } => true,
        TrackingError::Refused { status, .. } => matches!(status, 401 | 403 | 407 | 500..),
        _ => false,
    }
}

fn cause(error: &TrackingError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}
