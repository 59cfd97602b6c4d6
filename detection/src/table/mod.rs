//! Tables of any columns: CSV (also `.csv.gz`) and Parquet, read and written a batch at a time, so that a file may be
//! larger than memory.

mod binding;
mod cell;
mod counts;
mod csv_rows;
mod parquet_rows;
#[cfg(test)]
mod tests;
mod write;

pub use binding::{Binding, Renamed, RowKeys};
pub use cell::Cell;
pub use counts::{Problem, RowCounts};
pub use write::{ResultColumn, TableFormat, TableWriter};

use anyhow::{Context, bail};
use csv_rows::CsvRows;
use parquet_rows::ParquetRows;
use runtime::WrongUse;
use std::path::Path;

/// One row of a table.
#[derive(Debug, Clone, Default)]
pub struct TableRow {
    /// Line of the file (CSV, the header is line 1) or row from 1 (Parquet).
    pub line: u64,
    /// By column, in the header's order; empty where `problem` says why.
    pub cells: Vec<Cell>,
    /// Why the row as a whole cannot be read.
    pub problem: Option<String>,
}

/// Reads a table row by row.
#[derive(Debug)]
pub struct TableReader {
    header: Vec<String>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Csv(CsvRows),
    Parquet(ParquetRows),
}

impl TableReader {
    /// Opens a file; the extension says what it is.
    ///
    /// # Errors
    /// Another extension, a file that is absent, empty or damaged, a column that is there twice.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let (header, rows) = if name.ends_with(".csv") || name.ends_with(".csv.gz") {
            let (header, rows) = CsvRows::open(path).with_context(|| format!("failed to read `{shown}`"))?;
            (header, Rows::Csv(rows))
        } else if name.ends_with(".parquet") {
            let (header, rows) = ParquetRows::open(path).with_context(|| format!("failed to read `{shown}`"))?;
            (header, Rows::Parquet(rows))
        } else {
            let message =
                format!("`{shown}` is not a table that can be read: the name must end in .csv, .csv.gz or .parquet");
            return Err(WrongUse(message).into());
        };
        for (place, column) in header.iter().enumerate() {
            if header[..place].contains(column) {
                bail!("`{shown}` has two columns named `{column}`. Rename one of them");
            }
        }
        Ok(Self { header, rows })
    }

    /// The columns' names.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The place of a column.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    /// The type of a column that cannot be read, in words: each of its cells is a text that says so.
    pub fn unreadable(&self, column: usize) -> Option<&str> {
        match &self.rows {
            Rows::Csv(_) => None,
            Rows::Parquet(rows) => rows.unreadable(column),
        }
    }

    /// Refuses these columns where one is of a type that cannot be read.
    ///
    /// # Errors
    /// The first such column, with its type.
    pub fn check_readable(&self, columns: impl IntoIterator<Item = usize>) -> Result<(), WrongUse> {
        for column in columns {
            if let Some(kind) = self.unreadable(column) {
                let name = &self.header[column];
                return Err(WrongUse(format!(
                    "column `{name}` is of type {kind}, which cannot be read. Write it as numbers, text or timestamps"
                )));
            }
        }
        Ok(())
    }

    /// The cells of these columns stay as they are written, also where they look like numbers.
    pub fn keep_text(&mut self, columns: &[usize]) {
        if let Rows::Csv(rows) = &mut self.rows {
            rows.keep_text(columns);
        }
    }

    /// Reads the next row into `row`; `false` at the end.
    ///
    /// # Errors
    /// When the file cannot be read any further. A row that makes no sense is no error: it has a problem.
    pub fn next(&mut self, row: &mut TableRow) -> anyhow::Result<bool> {
        match &mut self.rows {
            Rows::Csv(rows) => rows.next(row),
            Rows::Parquet(rows) => rows.next(row),
        }
    }
}
