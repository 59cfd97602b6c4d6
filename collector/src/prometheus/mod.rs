//! History from the Prometheus HTTP API into the raw tables.
//!
//! The wanted span is cut at fixed places into chunks; each chunk becomes one raw part, and a small journal notes how far
//! it was fetched ([`cover`]). Every column is one PromQL query ([`queries`]) evaluated at each step ([`columns`]); the
//! labels of its series lead to nodes by explicit rules ([`identity`]), and one selector keeps clusters apart ([`selector`]).

pub mod client;
pub mod columns;
pub mod cover;
pub mod error;
pub mod identity;
pub mod incidents;
pub mod labels;
pub mod mapping;
pub mod pods;
pub mod queries;
pub mod reply;
pub mod selector;

mod backfill;
mod clusters;
mod discover;
mod frames;
mod ignored;
mod live;
mod parts;
mod settings;
mod summary;
mod timeline;
mod watch;

pub(crate) use backfill::fetch;
pub use backfill::{backfill, show_mapping};
pub use clusters::MixedSeries;
pub use error::PrometheusError;
pub(crate) use ignored::labels_of;
pub use live::Live;
pub use mapping::MappingReport;
pub use settings::{PrometheusArgs, Source};
pub use summary::BackfillSummary;
pub use watch::watch;
