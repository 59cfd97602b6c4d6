//! History from the Prometheus HTTP API into the raw tables.
//!
//! The wanted span is cut at fixed places into chunks; each chunk becomes one raw part, and a small journal notes how far
//! it was fetched ([`cover`]). Every column is one PromQL query ([`queries`]) evaluated at each step ([`columns`]); the
//! labels of its series lead to nodes by explicit rules ([`identity`]).

pub mod client;
pub mod columns;
pub mod cover;
pub mod error;
pub mod identity;
pub mod incidents;
pub mod pods;
pub mod queries;
pub mod reply;

mod backfill;
mod frames;
mod live;
mod parts;
mod settings;
mod summary;
mod watch;

pub use backfill::{backfill, show_mapping};
pub use error::PrometheusError;
pub use identity::MappingReport;
pub use live::Live;
pub use settings::{PrometheusArgs, Source};
pub use summary::BackfillSummary;
pub use watch::watch;
