//! A write that waits, as it is kept on disk.

use crate::types::*;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Ids may be local (`local-…`, `pending-…`); they are looked up when the write is sent, in the order of writing, so
/// that what they stand for has been made by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Operation {
    CreateRun {
        id: String,
        experiment: ExperimentOf,
        run: NewRun,
    },
    SetStatus {
        run_id: String,
        status: RunStatus,
        ended_at: Option<DateTime<Utc>>,
    },
    LogBatch {
        run_id: String,
        batch: Batch,
    },
    /// The bytes lie in the spool's folder `files` under the name `file`.
    LogArtifact {
        run_id: String,
        path: String,
        file: String,
    },
    RegisterModel {
        name: String,
        description: String,
    },
    /// `id` is the local id of the version and the mark by which a repeated request finds it.
    CreateVersion {
        id: String,
        version: NewVersion,
    },
    MoveAlias {
        model: String,
        step: AliasMove,
    },
    SetVersionTag {
        model: String,
        version: String,
        key: String,
        value: String,
    },
}

/// The experiment of a run that waits: known to the server by id, or to be found or made there by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExperimentOf {
    Id(String),
    Name(String),
}

/// One file of the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) queued_at: DateTime<Utc>,
    /// How often the server failed at it (status 500), as opposed to being away or refusing it.
    #[serde(default)]
    pub(super) failures: u32,
    pub(super) operation: Operation,
}
