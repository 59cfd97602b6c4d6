//! Experiments, runs, artifacts and the model registry, in MLflow's words: one trait, [`Tracker`], and two backends.
//!
//! - [`Embedded`]: no server. Tables in SQLite (`<data>/tracking/berth.db`) or, by address, PostgreSQL; artifacts as files
//!   below `<data>/tracking/artifacts/<run>`.
//! - [`Mlflow`]: an MLflow server over REST, whose pages and Python client show what was logged. [`open`] puts a
//!   [`Spooled`] before it.
//!
//! [`open`] chooses by [`TrackingArgs`]. One conformance suite holds all backends to the same meaning.
//!
//! # A server that is away
//! Away means: no connection, no answer in time, or an answer of 429, 502, 503 or 504.
//!
//! **Writes** never wait for it. The first one that fails costs at most the time limit for a connection (3 s); from then on
//! they are kept in order below `<data>/tracking/spool`, artifacts included, each on disk before the call returns. They
//! are sent in the background for as long as the process lives, by [`Tracker::flush`], and by whatever command opens the
//! same data folder next. While something waits, every later write queues behind it, so the server sees one order.
//! A run that starts meanwhile has a local id (`local-…`), which stays valid for every later call: it is translated once
//! the run has been sent. Sending twice, after a crash between the server's answer and our note of it, has no effect:
//! runs and versions are marked with their local id (tag `berth.client_id`) and looked for first.
//! A write that the server refuses when it is sent later is put aside in `spool/refused` with the reason beside it, and
//! counted by [`Tracker::waiting`]; what depends on it follows it there. Missing permission (401, 403) and failures of the
//! server (500) stop the sending instead, up to 20 times for the same write.
//!
//! **Reads** first send what waits. If that does not work, what was made since the server went away (runs, pending
//! versions, and aliases moved to them) is answered from the spool; everything else is [`TrackingError::Away`].
//!
//! **Registration** works the same way, with the spool's own small registry as the truth until the server is back: a
//! version gets the id `pending-…`, tags and aliases may be put on it, and the alias answers with it. Lists of models and
//! versions, and aliases that were not moved here, stay unknown, because the server may say otherwise: a validation that
//! compares with the champion fails rather than guess. When the server is back, the version gets its number there and the
//! alias is moved, unless the history on the server has a newer decision about the same alias: that one stands, and
//! ours is put aside as refused. A move that somebody made in MLflow's own pages leaves no history, so it cannot be seen
//! and ours wins.
//!
//! # Aliases keep their history
//! [`Tracker::set_alias`] wants a [`Decision`]; [`Tracker::alias_history`] tells who moved which alias, when, why and on
//! what evidence. The embedded store keeps it in a table that is only added to; on MLflow each move is a tag
//! `berth.alias.<milliseconds>.<id>` of the registered model.
//!
//! # Limits
//! Both backends refuse what MLflow would refuse or silently cut: keys over 250 bytes, parameters over 6000 characters,
//! tags over 8000, artifact paths that are absolute or hold `..`. MLflow keeps an infinite metric as the greatest number,
//! which is read back as infinite.

mod embedded;
mod error;
mod lock;
mod mlflow;
mod number;
mod paths;
pub mod promotion;
mod query;
mod settings;
mod spool;
pub mod testing;
mod tracker;
pub mod types;
pub mod view;

pub use embedded::Embedded;
pub(crate) use error::optional_when_away;
pub use error::{TrackingError, optional};
pub use mlflow::Mlflow;
pub use query::{Comparison, Condition, Direction, Field, Operand, RunQuery};
pub use settings::{TrackingArgs, open};
pub use spool::Spooled;
pub use tracker::Tracker;
pub use types::*;
