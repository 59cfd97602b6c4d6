//! Parquet tables below one data root, and immutable versions of them.
//!
//! ```text
//! <root>/raw/node_metrics/date=2026-11-01/00-24.parquet     a table: one folder per day, one or more parts
//! <root>/datasets/<id>/manifest.json                        a dataset version: what it is and what it came from
//! <root>/datasets/<id>/raw/node_metrics/date=…/….parquet    its files: hard links, so they cost no disk
//! ```
//! A part is written to a temporary name and renamed, so it is whole or absent. A dataset version keeps its files when
//! the table goes on, so it can be verified and read again.

mod dataset;
mod error;
mod frame;
mod interval;
mod tables;

pub use dataset::{DatasetInput, DatasetVersion, FileEntry, Problem, VersionDraft};
pub use error::StoreError;
pub use frame::{empty_frame, polars_type};
pub use tables::{Store, StoreArgs, date_of, day_start};
