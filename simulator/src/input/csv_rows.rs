//! CSV files of traces: plain or gzip, with a header that is checked before the first row.

use super::InputError;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// The rows of one file.
pub(super) struct CsvRows {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read>>,
    places: Vec<usize>,
    record: csv::StringRecord,
}

impl CsvRows {
    /// Opens a file that must have `wanted` columns; it may have those of `others` too, and no more unless `others` is
    /// `None`.
    pub fn open(path: &Path, wanted: &[&'static str], others: Option<&[&str]>) -> Result<Self, InputError> {
        let file = File::open(path).map_err(|source| InputError::Open { path: path.to_owned(), source })?;
        let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(GzDecoder::new(BufReader::new(file)))
        } else {
            Box::new(BufReader::new(file))
        };
        let mut reader = csv::ReaderBuilder::new().from_reader(reader);
        let head =
            reader.headers().map_err(|source| InputError::Row { path: path.to_owned(), line: 1, source })?.clone();
        let place = |column: &'static str| {
            head.iter().position(|name| name == column).ok_or_else(|| InputError::Columns {
                path: path.to_owned(),
                missing: column,
                found: shortened(&head),
            })
        };
        let places = wanted.iter().map(|column| place(column)).collect::<Result<Vec<_>, _>>()?;
        if let Some(others) = others
            && let Some(stranger) = head.iter().find(|name| !wanted.contains(name) && !others.contains(name))
        {
            let known: Vec<&str> = wanted.iter().chain(others).copied().collect();
            let (column, wanted) = (stranger.to_owned(), known.join("`, `"));
            return Err(InputError::UnknownColumn { path: path.to_owned(), column, wanted });
        }
        Ok(Self { path: path.to_owned(), reader, places, record: csv::StringRecord::new() })
    }

    /// Goes to the next row; `false` at the end.
    pub fn next(&mut self) -> Result<bool, InputError> {
        let line = self.reader.position().line();
        let path = &self.path;
        self.reader.read_record(&mut self.record).map_err(|source| InputError::Row { path: path.clone(), line, source })
    }

    /// The text of the `column`-th wanted column.
    pub fn text(&self, column: usize) -> &str {
        self.record.get(self.places[column]).unwrap_or("").trim()
    }

    /// Its number; `None` when it is empty, no number or not finite.
    pub fn number(&self, column: usize) -> Option<f64> {
        self.text(column).parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// All values from the `from`-th on, for wide rows.
    pub fn numbers_from(&self, from: usize) -> impl Iterator<Item = Option<f64>> {
        self.record.iter().skip(from).map(|text| text.trim().parse().ok().filter(|number: &f64| number.is_finite()))
    }
}

/// The head of a table of 289 columns fills no screen.
fn shortened(head: &csv::StringRecord) -> String {
    let names: Vec<&str> = head.iter().take(16).map(|name| if name.is_empty() { "(empty)" } else { name }).collect();
    let more = if head.len() > 16 { format!(" and {} more", head.len() - 16) } else { String::new() };
    format!("`{}`{more}", names.join("`, `"))
}
