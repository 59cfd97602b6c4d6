//! Labelled readings from CSV (plain or gzip) and Parquet files.

use super::task::Series;
use anyhow::{Context, bail};
use clap::Args;
use flate2::read::MultiGzDecoder;
use polars::prelude::{DataFrame, DataType, ParquetReader, SerReader};
use runtime::WrongUse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Which files, and what their columns mean.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct TableSettings {
    /// Labelled readings: CSV (also gzip) or Parquet; each file is a series of its own
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub input: Vec<PathBuf>,
    /// Column of the labels: 1 or true within an incident, 0 or false outside
    #[arg(long, default_value = "label", value_name = "COLUMN")]
    pub label: String,
    /// Column of the times, numbers or RFC 3339, that readings are put in order by [default: the order of the file]
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Column of the series' names, where a file holds several
    #[arg(long, value_name = "COLUMN")]
    pub entity: Option<String>,
    /// Minutes between two readings
    #[arg(long, default_value_t = 5.0, value_name = "MINUTES")]
    pub step_minutes: f64,
}

/// What files hold, and what was left out of them.
#[derive(Debug, Clone, Default)]
pub struct TableRows {
    /// Columns of a reading.
    pub columns: Vec<String>,
    /// The series, in order of their names.
    pub series: Vec<Series>,
    /// What was left out or read as missing, one sentence each.
    pub notes: Vec<String>,
}

/// A file's columns: numbers, and the text of those that are no readings.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    /// NaN is missing.
    numbers: Vec<Vec<f32>>,
    /// By column, values that are no finite numbers, and the line of the first.
    wrong: Vec<(usize, usize)>,
    label: Vec<String>,
    time: Vec<String>,
    entity: Vec<String>,
}

/// Reads the files. `wants_labels` is false for files in which nothing is labelled.
///
/// # Errors
/// A file that cannot be read, has no readings or no label column, or other columns than the first; a label or time that
/// cannot be read, with its line.
pub fn read_tables(settings: &TableSettings, wants_labels: bool) -> anyhow::Result<TableRows> {
    if !(settings.step_minutes > 0.0 && settings.step_minutes.is_finite()) {
        return Err(WrongUse(format!("--step-minutes is {}, want a number above 0", settings.step_minutes)).into());
    }
    let mut all = TableRows::default();
    for path in &settings.input {
        let columns =
            read_file(path, settings, wants_labels).with_context(|| format!("failed to read `{}`", path.display()))?;
        all.add(path, columns, settings, wants_labels)
            .with_context(|| format!("`{}` cannot be used", path.display()))?;
    }
    all.series.sort_by(|left, right| left.name.cmp(&right.name));
    if let Some(pair) = all.series.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(WrongUse(format!(
            "two series are called `{}`. Give one file per series, or name them by --entity",
            pair[0].name
        ))
        .into());
    }
    Ok(all)
}

impl TableRows {
    fn add(
        &mut self,
        path: &Path,
        mut file: Columns,
        settings: &TableSettings,
        wants_labels: bool,
    ) -> anyhow::Result<()> {
        let rows = file.numbers.first().map_or(0, Vec::len);
        if rows == 0 {
            bail!("it has a header and no readings");
        }
        let name = path.display();
        let text: Vec<usize> =
            (0..file.names.len()).filter(|at| file.numbers[*at].iter().all(|v| v.is_nan())).collect();
        for at in text.into_iter().rev() {
            self.notes
                .push(format!("column `{}` of `{name}` has no number in {rows} rows and is left out", file.names[at]));
            file.names.remove(at);
            file.numbers.remove(at);
            file.wrong.remove(at);
        }
        for (column, (count, line)) in file.names.iter().zip(&file.wrong).filter(|(_, wrong)| wrong.0 > 0) {
            self.notes.push(format!(
                "column `{column}` of `{name}` has {count} values that are no finite numbers, the first in line {line}; they are read as missing"
            ));
        }
        if self.columns.is_empty() {
            self.columns = file.names.clone();
        }
        if self.columns != file.names {
            let differs = self.columns.iter().find(|column| !file.names.contains(column));
            let differs = differs.or_else(|| file.names.iter().find(|column| !self.columns.contains(column)));
            bail!(
                "it has other columns than the first file{}. All files must have the same numeric columns, in the same order",
                differs.map_or_else(String::new, |column| format!(": `{column}` is in one of them only"))
            );
        }
        let odd = if wants_labels { labels(&file.label, &settings.label)? } else { vec![false; rows] };
        let mut order: Vec<usize> = (0..rows).collect();
        if let Some(column) = &settings.time {
            let times = times(&file.time, column)?;
            order.sort_by(|left, right| times[*left].total_cmp(&times[*right]));
        }
        let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or("series");
        let stem = stem.split('.').next().unwrap_or(stem);
        let mut parts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for row in order {
            let entity = if settings.entity.is_some() { file.entity[row].as_str() } else { stem };
            parts.entry(entity.to_owned()).or_default().push(row);
        }
        for (name, rows) in parts {
            let values = rows.iter().flat_map(|row| file.numbers.iter().map(|column| column[*row])).collect();
            self.series.push(Series {
                name,
                values,
                odd: rows.iter().map(|row| odd[*row]).collect(),
                kinds: Vec::new(),
            });
        }
        Ok(())
    }
}

fn labels(text: &[String], column: &str) -> anyhow::Result<Vec<bool>> {
    let read = |(row, text): (usize, &String)| match text.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" => Ok(true),
        "0" | "0.0" | "false" => Ok(false),
        _ => bail!("line {} has the label `{text}` in column `{column}`, want 1, 0, true or false", row + 2),
    };
    text.iter().enumerate().map(read).collect()
}

fn times(text: &[String], column: &str) -> anyhow::Result<Vec<f64>> {
    let read = |(row, text): (usize, &String)| {
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let moment =
            || chrono::DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.timestamp_millis() as f64);
        number.or_else(moment).with_context(|| {
            format!(
                "line {} has the time `{text}` in column `{column}`, want a number or 2026-11-20T14:00:00Z",
                row + 2
            )
        })
    };
    text.iter().enumerate().map(read).collect()
}

fn read_file(path: &Path, settings: &TableSettings, wants_labels: bool) -> anyhow::Result<Columns> {
    let wanted = Wanted {
        label: Some(settings.label.as_str()),
        needs_label: wants_labels,
        time: settings.time.as_deref(),
        entity: settings.entity.as_deref(),
    };
    let file = File::open(path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".parquet") {
        from_frame(&ParquetReader::new(file).finish()?, &wanted)
    } else if name.ends_with(".csv.gz") {
        from_csv(MultiGzDecoder::new(BufReader::new(file)), &wanted)
    } else if name.ends_with(".csv") {
        from_csv(BufReader::new(file), &wanted)
    } else {
        Err(WrongUse("its name ends neither in .csv, .csv.gz nor .parquet, which says how to read it".to_owned())
            .into())
    }
}

/// Columns that are no readings.
struct Wanted<'a> {
    label: Option<&'a str>,
    needs_label: bool,
    time: Option<&'a str>,
    entity: Option<&'a str>,
}

impl Wanted<'_> {
    fn check(&self, names: &[String]) -> anyhow::Result<()> {
        let label = self.label.filter(|_| self.needs_label);
        for (flag, column) in [("--label", label), ("--time", self.time), ("--entity", self.entity)] {
            if let Some(column) = column.filter(|column| !names.iter().any(|name| name == column)) {
                return Err(WrongUse(format!(
                    "there is no column `{column}`, which {flag} names. The columns are: {}",
                    names.join(", ")
                ))
                .into());
            }
        }
        Ok(())
    }

    fn is_reading(&self, name: &str) -> bool {
        ![self.label, self.time, self.entity].contains(&Some(name))
    }
}

fn from_csv(input: impl Read, wanted: &Wanted<'_>) -> anyhow::Result<Columns> {
    let mut reader = csv::ReaderBuilder::new().from_reader(input);
    let head: Vec<String> = reader.headers()?.iter().map(|name| name.trim().to_owned()).collect();
    wanted.check(&head)?;
    let readings: Vec<usize> = (0..head.len()).filter(|at| wanted.is_reading(&head[*at])).collect();
    let place = |name: Option<&str>| name.and_then(|name| head.iter().position(|other| other == name));
    let (label, time, entity) = (place(wanted.label), place(wanted.time), place(wanted.entity));
    let mut columns = Columns {
        names: readings.iter().map(|at| head[*at].clone()).collect(),
        numbers: vec![Vec::new(); readings.len()],
        wrong: vec![(0, 0); readings.len()],
        ..Columns::default()
    };
    let mut record = csv::StringRecord::new();
    let mut line = 1;
    while reader.read_record(&mut record)? {
        line += 1;
        for (at, column) in readings.iter().enumerate() {
            let text = record.get(*column).unwrap_or_default().trim();
            let number = text.parse::<f32>().ok().filter(|number| number.is_finite());
            // Empty is missing, and so is what other programs write for it.
            if number.is_none() && !matches!(text, "" | "NaN" | "nan" | "null" | "NA") {
                let wrong = &mut columns.wrong[at];
                *wrong = (wrong.0 + 1, if wrong.0 == 0 { line } else { wrong.1 });
            }
            columns.numbers[at].push(number.unwrap_or(f32::NAN));
        }
        for (place, text) in [(label, &mut columns.label), (time, &mut columns.time), (entity, &mut columns.entity)] {
            text.extend(place.and_then(|place| record.get(place)).map(str::to_owned));
        }
    }
    Ok(columns)
}

fn from_frame(frame: &DataFrame, wanted: &Wanted<'_>) -> anyhow::Result<Columns> {
    let names: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
    wanted.check(&names)?;
    let mut columns = Columns::default();
    for name in names.iter().filter(|name| wanted.is_reading(name)) {
        let column = frame.column(name)?;
        let is_number = column.dtype().is_primitive_numeric() || *column.dtype() == DataType::Boolean;
        let mut values = vec![f32::NAN; frame.height()];
        let mut wrong = (0, 0);
        if is_number {
            let numbers = column.cast(&DataType::Float32)?;
            for (row, (value, number)) in values.iter_mut().zip(numbers.f32()?.iter()).enumerate() {
                match number {
                    Some(number) if number.is_infinite() => {
                        wrong = (wrong.0 + 1, if wrong.0 == 0 { row + 2 } else { wrong.1 });
                    }
                    Some(number) => *value = number,
                    None => {}
                }
            }
        }
        columns.names.push(name.clone());
        columns.numbers.push(values);
        columns.wrong.push(wrong);
    }
    let text = |name: Option<&str>| -> anyhow::Result<Vec<String>> {
        let Some(name) = name.filter(|name| names.iter().any(|other| other == name)) else { return Ok(Vec::new()) };
        let column = frame.column(name)?;
        // Times become the numbers that they are kept as, which is all that an order needs.
        let column = if column.dtype().is_temporal() { column.to_physical_repr() } else { column.clone() };
        let column = column.cast(&DataType::String)?;
        Ok(column.str()?.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
    };
    (columns.label, columns.time, columns.entity) = (text(wanted.label)?, text(wanted.time)?, text(wanted.entity)?);
    Ok(columns)
}
