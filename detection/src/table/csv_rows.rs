//! Rows of a CSV file.

use super::{Cell, TableRow};
use anyhow::{Context, bail};
use collector::text::{Dialect, likely_delimiter, unpacked, utf8};
use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Reads as the file system likes it.
const BUFFER: usize = 1 << 18;

pub(super) struct CsvRows {
    reader: Reader<Box<dyn Read>>,
    record: ByteRecord,
    as_text: Vec<bool>,
    dialect: Dialect,
}

impl std::fmt::Debug for CsvRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvRows").field("columns", &self.as_text.len()).finish_non_exhaustive()
    }
}

impl CsvRows {
    pub fn open(path: &Path) -> anyhow::Result<(Vec<String>, Self)> {
        let source = unpacked(BufReader::with_capacity(BUFFER, File::open(path)?)).and_then(utf8)?;
        let mut source = BufReader::with_capacity(BUFFER, source);
        // The first line shows what separates columns: nobody is asked for it here, as a mapping is. Without commas between columns they may
        // stand in numbers.
        let first = source.fill_buf()?;
        let first = first.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        let dialect = match likely_delimiter(&String::from_utf8_lossy(first)) {
            None => Dialect::default(),
            Some(delimiter) => Dialect::with_either_mark(delimiter)?,
        };
        // Rows of another width are told one by one instead of ending everything.
        let mut reader = ReaderBuilder::new()
            .delimiter(dialect.delimiter())
            .flexible(true)
            .trim(Trim::Headers)
            .buffer_capacity(BUFFER)
            .from_reader(Box::new(source) as Box<dyn Read>);
        let header: Vec<String> =
            reader.headers().context("the header line is not text in UTF-8")?.iter().map(str::to_owned).collect();
        if header.is_empty() || header.iter().all(String::is_empty) {
            bail!("the file is empty. The first line must name the columns");
        }
        let as_text = vec![false; header.len()];
        Ok((header, Self { reader, record: ByteRecord::new(), as_text, dialect }))
    }

    pub fn keep_text(&mut self, columns: &[usize]) {
        for column in columns {
            self.as_text[*column] = true;
        }
    }

    pub fn next(&mut self, row: &mut TableRow) -> anyhow::Result<bool> {
        row.cells.clear();
        row.problem = None;
        if !self.reader.read_byte_record(&mut self.record).context("the file breaks off")? {
            return Ok(false);
        }
        row.line = self.record.position().map_or(0, csv::Position::line);
        let (got, wanted) = (self.record.len(), self.as_text.len());
        if got != wanted {
            row.problem = Some(format!("it has {got} fields, the header {wanted}"));
            return Ok(true);
        }
        for (place, (field, as_text)) in self.record.iter().zip(&self.as_text).enumerate() {
            let Ok(text) = std::str::from_utf8(field) else {
                row.cells.clear();
                row.problem = Some(format!("field {} is not text in UTF-8", place + 1));
                return Ok(true);
            };
            row.cells.push(if *as_text { Cell::text(text) } else { Cell::parse(text, self.dialect) });
        }
        Ok(true)
    }
}
