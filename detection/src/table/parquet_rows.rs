//! Rows of a Parquet file, a batch at a time.

use super::{Cell, TableRow};
use anyhow::Context;
use polars::prelude::{DataFrame, DataType, ParquetReader, SerReader, TimeUnit};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Rows in memory at once, beside what the file's own row groups make of it.
const BATCH: usize = 65_536;

#[derive(Debug)]
pub(super) struct ParquetRows {
    path: PathBuf,
    rows: usize,
    /// Rows handed out in batches before this one.
    before: usize,
    batch: Vec<Vec<Cell>>,
    height: usize,
    at: usize,
}

impl ParquetRows {
    pub fn open(path: &Path) -> anyhow::Result<(Vec<String>, Self)> {
        let mut reader = ParquetReader::new(File::open(path)?);
        let rows = reader.num_rows().context("it is no Parquet file")?;
        let header = reader.schema()?.iter_names().map(ToString::to_string).collect();
        Ok((header, Self { path: path.to_owned(), rows, before: 0, batch: Vec::new(), height: 0, at: 0 }))
    }

    pub fn next(&mut self, row: &mut TableRow) -> anyhow::Result<bool> {
        row.cells.clear();
        row.problem = None;
        if self.at == self.height {
            self.before += self.height;
            if self.before >= self.rows {
                return Ok(false);
            }
            let frame = ParquetReader::new(File::open(&self.path)?)
                .with_slice(Some((self.before, BATCH)))
                .finish()
                .with_context(|| format!("failed to read the rows from {} on", self.before + 1))?;
            self.height = frame.height();
            anyhow::ensure!(self.height > 0, "the file ends at row {}, its footer says {}", self.before, self.rows);
            self.batch = columns(&frame)?;
            self.at = 0;
        }
        row.line = (self.before + self.at + 1) as u64;
        row.cells.extend(self.batch.iter_mut().map(|column| std::mem::take(&mut column[self.at])));
        self.at += 1;
        Ok(true)
    }
}

fn columns(frame: &DataFrame) -> anyhow::Result<Vec<Vec<Cell>>> {
    let number = |value: Option<f64>| match value {
        Some(value) if value.is_finite() => Cell::Number(value),
        Some(value) if !value.is_nan() => Cell::Text(value.to_string()),
        _ => Cell::Missing,
    };
    let of = |column: &polars::prelude::Column| -> anyhow::Result<Vec<Cell>> {
        let kind = column.dtype();
        Ok(if kind.is_primitive_numeric() || kind.is_bool() {
            column.cast(&DataType::Float64)?.f64()?.iter().map(number).collect()
        } else if matches!(kind, DataType::Date | DataType::Datetime(..)) {
            let times = column.cast(&DataType::Datetime(TimeUnit::Milliseconds, None))?.cast(&DataType::Int64)?;
            times.i64()?.iter().map(|time| time.map_or(Cell::Missing, |time| Cell::Number(time as f64))).collect()
        } else if *kind == DataType::String {
            column.str()?.iter().map(|text| text.map_or(Cell::Missing, Cell::text)).collect()
        } else {
            // Lists and the like: the caller says that they are no numbers.
            vec![Cell::Text(format!("a value of type {kind}")); column.len()]
        })
    };
    frame.columns().iter().map(of).collect()
}
