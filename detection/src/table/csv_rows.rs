//! Rows of a CSV file.

use super::{Cell, TableRow};
use anyhow::{Context, bail};
use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Reads as the file system likes it.
const BUFFER: usize = 1 << 18;

pub(super) struct CsvRows {
    reader: Reader<Box<dyn Read>>,
    record: ByteRecord,
    as_text: Vec<bool>,
}

impl std::fmt::Debug for CsvRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvRows").field("columns", &self.as_text.len()).finish_non_exhaustive()
    }
}

impl CsvRows {
    pub fn open(path: &Path) -> anyhow::Result<(Vec<String>, Self)> {
        let file = File::open(path)?;
        let is_packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let source: Box<dyn Read> = if is_packed {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(BufReader::new(file))))
        } else {
            Box::new(file)
        };
        // Rows of another width are told one by one instead of ending everything.
        let mut reader =
            ReaderBuilder::new().flexible(true).trim(Trim::Headers).buffer_capacity(BUFFER).from_reader(source);
        let header: Vec<String> = reader
            .headers()
            .context("the header line is no text in UTF-8")?
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect();
        if header.is_empty() || header.iter().all(String::is_empty) {
            bail!("the file is empty. The first line must name the columns");
        }
        if header.len() == 1 && header[0].contains([';', '\t']) {
            bail!("the header `{}` is one column. Columns must be separated by commas", header[0]);
        }
        let as_text = vec![false; header.len()];
        Ok((header, Self { reader, record: ByteRecord::new(), as_text }))
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
                row.problem = Some(format!("field {} is no text in UTF-8", place + 1));
                return Ok(true);
            };
            row.cells.push(if *as_text { Cell::text(text) } else { Cell::parse(text) });
        }
        Ok(true)
    }
}
