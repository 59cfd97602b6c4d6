//! Labelled readings from CSV (plain or gzip) and Parquet files.

use super::task::Series;
use anyhow::{Context, bail};
use clap::Args;
use collector::text::parse_moment;
use detection::table::{Cell, TableReader, TableRow};
use runtime::WrongUse;
use std::collections::BTreeMap;
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
        // Numbers are an order as they are, whatever they count.
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let moment = || parse_moment(text).map(|moment| moment.millis as f64);
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
    let mut reader = TableReader::open(path)?;
    let head = reader.header().to_vec();
    wanted.check(&head)?;
    let readings: Vec<usize> = (0..head.len()).filter(|at| wanted.is_reading(&head[*at])).collect();
    let keys = [wanted.label, wanted.time, wanted.entity].map(|name| reader.position(name?));
    reader.check_readable(keys.into_iter().flatten())?;
    reader.keep_text(&keys.into_iter().flatten().collect::<Vec<_>>());
    let mut columns = Columns {
        names: readings.iter().map(|at| head[*at].clone()).collect(),
        numbers: vec![Vec::new(); readings.len()],
        wrong: vec![(0, 0); readings.len()],
        ..Columns::default()
    };
    let mut row = TableRow::default();
    // The header of a text is its first line; Parquet is counted the same way.
    let mut line = 1;
    while reader.next(&mut row)? {
        line += 1;
        if let Some(problem) = &row.problem {
            bail!("line {line}: {problem}");
        }
        for (at, place) in readings.iter().enumerate() {
            let number = match &row.cells[*place] {
                // Beyond single precision is no reading.
                Cell::Number(number) if (*number as f32).is_finite() => Some(*number as f32),
                Cell::Missing => None,
                _ => {
                    let wrong = &mut columns.wrong[at];
                    *wrong = (wrong.0 + 1, if wrong.0 == 0 { line } else { wrong.1 });
                    None
                }
            };
            columns.numbers[at].push(number.unwrap_or(f32::NAN));
        }
        for (place, text) in keys.iter().zip([&mut columns.label, &mut columns.time, &mut columns.entity]) {
            text.extend(place.map(|place| row.cells[place].name().unwrap_or_default()));
        }
    }
    Ok(columns)
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
