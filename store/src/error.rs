use polars::error::PolarsError;
use std::path::{Path, PathBuf};

/// What can go wrong with tables and dataset versions.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A Parquet file is damaged or cannot be read.
    #[error(
        "failed to read Parquet file `{path}`. It is damaged or not Parquet: restore it, or delete it and collect its day again"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Polars' word on it.
        source: PolarsError,
    },
    /// A Parquet file could not be encoded.
    #[error("failed to encode `{path}` as Parquet")]
    Encode {
        /// Which file.
        path: PathBuf,
        /// Polars' word on it.
        source: PolarsError,
    },
    /// A frame does not fit the table.
    #[error("table `{table}` wants column `{column}` as {wanted}, got {got}")]
    Schema {
        /// Which table.
        table: String,
        /// Which column.
        column: String,
        /// The schema's type.
        wanted: String,
        /// What came.
        got: String,
    },
    /// A value that may not be missing is.
    #[error("table `{table}` has {count} rows without `{column}`, which every row needs")]
    Missing {
        /// Which table.
        table: String,
        /// Which column.
        column: String,
        /// How many rows.
        count: usize,
    },
    /// A file or folder could not be read or written.
    #[error(transparent)]
    File(#[from] runtime::files::FileError),
    /// No such dataset version.
    #[error("no dataset version `{id}` below `{root}`. `collector datasets list` shows what is there")]
    UnknownVersion {
        /// The id that was asked for.
        id: String,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// Another content has the same id.
    #[error(
        "dataset version `{id}` is there with the hash {there}, the new content has {new}. Its manifest was changed, or two contents \
         share an id: move the version away, then freeze again"
    )]
    OtherContent {
        /// The id of both.
        id: String,
        /// The hash of what is there.
        there: String,
        /// The hash of what was to be frozen.
        new: String,
    },
    /// The table is empty.
    #[error("table `{table}` below `{root}` is empty. Collect or build it first")]
    Empty {
        /// Which table.
        table: String,
        /// Where.
        root: PathBuf,
    },
    /// A computation on a frame failed.
    #[error("failed to {doing}")]
    Frame {
        /// What was being computed.
        doing: &'static str,
        /// Polars' word on it.
        source: PolarsError,
    },
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File(runtime::files::FileError::new(doing, path, source))
    }
}
