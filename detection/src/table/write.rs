//! A table of results, written a batch at a time: CSV, JSON lines or Parquet by extension.

use anyhow::Context;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{Column, DataFrame, ParquetWriter};
use runtime::WrongUse;
use serde_json::Value;
use std::io::Write;
use std::path::Path;

/// Rows of a Parquet row group.
const BATCH: usize = 65_536;

/// What a file of results is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// `.csv`
    Csv,
    /// `.jsonl`
    JsonLines,
    /// `.parquet`
    Parquet,
}

impl TableFormat {
    /// By extension.
    ///
    /// # Errors
    /// Any other extension.
    pub fn of(path: &Path) -> Result<Self, WrongUse> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(WrongUse(format!("`{}` must end in .csv, .jsonl or .parquet", path.display()))),
        }
    }
}

/// A column of results.
#[derive(Debug, Clone, Copy)]
pub struct ResultColumn {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds numbers; else texts.
    pub is_number: bool,
}

/// Writes rows of fixed columns. The values of a row are JSON values: numbers, texts, null, and in JSON lines anything.
pub struct TableWriter<'a> {
    columns: &'a [ResultColumn],
    out: Out<'a>,
}

enum Out<'a> {
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
    JsonLines(&'a mut dyn Write),
    Parquet { writer: Box<BatchedWriter<ParquetSink<'a>>>, rows: Vec<Vec<Value>> },
}

/// Polars wants a writer that may move between threads; the file behind it may.
type ParquetSink<'a> = &'a std::fs::File;

impl<'a> TableWriter<'a> {
    /// Begins a table in text form on `out`.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn text(format: TableFormat, columns: &'a [ResultColumn], out: &'a mut dyn Write) -> anyhow::Result<Self> {
        let out = match format {
            TableFormat::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(columns.iter().map(|column| column.name))?;
                Out::Csv(Box::new(writer))
            }
            TableFormat::JsonLines | TableFormat::Parquet => Out::JsonLines(out),
        };
        Ok(Self { columns, out })
    }

    /// Begins a Parquet table in `file`.
    ///
    /// # Errors
    /// Polars' word on it.
    pub fn parquet(columns: &'a [ResultColumn], file: &'a std::fs::File) -> anyhow::Result<Self> {
        let schema = frame(columns, &[])?.schema().as_ref().clone();
        let writer = ParquetWriter::new(file).batched(&schema).context("failed to begin a Parquet file")?;
        Ok(Self { columns, out: Out::Parquet { writer: Box::new(writer), rows: Vec::new() } })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// A full disk.
    pub fn row(&mut self, values: Vec<Value>) -> anyhow::Result<()> {
        match &mut self.out {
            Out::Csv(writer) => {
                let texts = values.iter().map(|value| match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                writer.write_record(texts)?;
            }
            Out::JsonLines(out) => {
                let row: serde_json::Map<String, Value> =
                    self.columns.iter().map(|column| column.name.to_owned()).zip(values).collect();
                writeln!(out, "{}", Value::Object(row))?;
            }
            Out::Parquet { writer, rows } => {
                rows.push(values);
                if rows.len() >= BATCH {
                    writer.write_batch(&frame(self.columns, rows)?)?;
                    rows.clear();
                }
            }
        }
        Ok(())
    }

    /// Ends the table.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> anyhow::Result<()> {
        match self.out {
            Out::Csv(mut writer) => writer.flush()?,
            Out::JsonLines(out) => out.flush()?,
            Out::Parquet { mut writer, rows } => {
                if !rows.is_empty() {
                    writer.write_batch(&frame(self.columns, &rows)?)?;
                }
                writer.finish()?;
            }
        }
        Ok(())
    }
}

fn frame(columns: &[ResultColumn], rows: &[Vec<Value>]) -> anyhow::Result<DataFrame> {
    let columns = columns.iter().enumerate().map(|(place, column)| {
        let values = rows.iter().map(|row| &row[place]);
        if column.is_number {
            Column::new(column.name.into(), values.map(Value::as_f64).collect::<Vec<Option<f64>>>())
        } else {
            let texts = values.map(|value| match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            Column::new(column.name.into(), texts.collect::<Vec<Option<String>>>())
        }
    });
    Ok(DataFrame::new(rows.len(), columns.collect())?)
}
