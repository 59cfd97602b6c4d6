//! What can be wrong with an input.

use std::path::PathBuf;

/// An input that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file of a trace is not there.
    #[error("trace folder `{folder}` has no `{file}`. Point --trace (BERTH_TRACES) at the folder that holds `{file}`")]
    Absent {
        /// The folder.
        folder: PathBuf,
        /// The file below it.
        file: String,
    },
    /// A file cannot be opened.
    #[error("failed to open `{path}`")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has other columns.
    #[error("`{path}` has no column `{missing}`, it has `{found}`. Is it the right file?")]
    Columns {
        /// Which file.
        path: PathBuf,
        /// The column that is wanted.
        missing: &'static str,
        /// What is there.
        found: String,
    },
    /// A file has columns that nobody knows.
    #[error("`{path}` has a column `{column}` that this trace does not have. Columns are `{wanted}`")]
    UnknownColumn {
        /// Which file.
        path: PathBuf,
        /// The stranger.
        column: String,
        /// What is known.
        wanted: String,
    },
    /// A row is damaged.
    #[error("`{path}` is damaged near line {line}")]
    Row {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: u64,
        /// Why.
        source: csv::Error,
    },
    /// A file holds nothing that can be used.
    #[error("`{path}` holds no usable row: {dropped} rows were left out ({reasons})")]
    Nothing {
        /// Which file.
        path: PathBuf,
        /// How many rows were left out.
        dropped: u64,
        /// Why.
        reasons: String,
    },
    /// The raw tables cannot be read.
    #[error("failed to read the history below the data folder")]
    Store(#[from] store::StoreError),
    /// A column of a raw table has another type.
    #[error("table `{table}` cannot be used")]
    Table {
        /// Which table.
        table: &'static str,
        /// Why.
        source: polars::error::PolarsError,
    },
    /// The raw tables do not reach back or have no such span.
    #[error("the history below the data folder has {what}. {hint}")]
    History {
        /// What is wrong with it.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The parts do not make a scenario.
    #[error(transparent)]
    Scenario(#[from] crate::world::ScenarioError),
    /// A setting makes no sense.
    #[error(transparent)]
    Setting(#[from] runtime::WrongUse),
}
