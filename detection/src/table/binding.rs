//! Which column of a table is which column of a plan.

use super::{Cell, RowCounts, TableReader, TableRow};
use crate::plan::InputPlan;
use runtime::WrongUse;

/// A row's keys; its values lie beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowKeys {
    /// Whose row it is; empty where all rows are of one.
    pub entity: String,
    /// Its time, UTC milliseconds.
    pub time: Option<i64>,
    /// Whether it was an anomaly.
    pub label: Option<bool>,
}

/// Places of a plan's columns in a table.
#[derive(Debug, Clone)]
pub struct Binding {
    columns: Vec<(String, Option<usize>)>,
    time: Option<usize>,
    entity: Option<usize>,
    label: Option<usize>,
}

/// Columns that go by other names than in training.
#[derive(Debug, Clone, Default)]
pub struct Renamed<'a> {
    /// The column of times.
    pub time: Option<&'a str>,
    /// The column that says whose row it is.
    pub entity: Option<&'a str>,
    /// The column of labels.
    pub label: Option<&'a str>,
}

impl Binding {
    /// Finds the columns. Notes in `counts` what is there too much and, where `allow_missing`, what is absent.
    ///
    /// # Errors
    /// A column that is needed and absent.
    pub fn new(
        reader: &mut TableReader,
        plan: &InputPlan,
        renamed: &Renamed<'_>,
        allow_missing: bool,
        counts: &mut RowCounts,
    ) -> Result<Self, WrongUse> {
        let columns: Vec<(String, Option<usize>)> =
            plan.columns().into_iter().map(|column| (column.clone(), reader.position(&column))).collect();
        let is_table = matches!(plan, InputPlan::Table(_));
        let mut absent: Vec<String> =
            columns.iter().filter(|(_, place)| place.is_none()).map(|(column, _)| column.clone()).collect();
        let mut key = |given: Option<&str>, planned: Option<&str>, is_needed: bool| {
            let name = given.or(planned)?;
            let place = reader.position(name);
            if place.is_none() && (given.is_some() || is_needed) {
                absent.push(name.to_owned());
            }
            place
        };
        let time = key(renamed.time, plan.time(), is_table);
        let entity = key(renamed.entity, plan.entity(), is_table);
        let label = key(renamed.label, plan.label(), false);
        let needed = columns.iter().filter_map(|(_, place)| *place).chain([time, entity, label].into_iter().flatten());
        let unreadable: Vec<String> = needed
            .filter_map(|place| Some(format!("`{}` is of type {}", reader.header()[place], reader.unreadable(place)?)))
            .collect();
        if !unreadable.is_empty() {
            return Err(WrongUse(format!(
                "columns that the detector reads cannot be read: {}. Write them as numbers, text or timestamps",
                unreadable.join(", ")
            )));
        }
        let all_gone = columns.iter().all(|(_, place)| place.is_none());
        if !absent.is_empty() && (!allow_missing || all_gone) {
            let hint =
                if all_gone { "none of its columns is there" } else { "--allow-missing counts them as missing values" };
            return Err(WrongUse(format!(
                "the table lacks {} of the columns that the detector reads: `{}`. It has `{}`; {hint}",
                absent.len(),
                absent.join("`, `"),
                reader.header().join("`, `")
            )));
        }
        counts.absent_columns = absent;
        let is_read = |place: usize| {
            columns.iter().any(|(_, column)| *column == Some(place)) || [time, entity, label].contains(&Some(place))
        };
        counts.extra_columns = reader
            .header()
            .iter()
            .enumerate()
            .filter(|(place, _)| !is_read(*place))
            .map(|(_, name)| name.clone())
            .collect();
        let texts: Vec<usize> = [time, entity].into_iter().flatten().collect();
        reader.keep_text(&texts);
        Ok(Self { columns, time, entity, label })
    }

    /// A binding of rows whose cells are these columns, then time, entity and label, of which none is used yet.
    pub(crate) fn in_order(columns: &[String]) -> Self {
        let columns = columns.iter().enumerate().map(|(place, column)| (column.clone(), Some(place))).collect();
        Self { columns, time: None, entity: None, label: None }
    }

    /// Says whether the next row of [`Binding::in_order`] has a time (`key` 0), an entity (1) or a label (2).
    pub(crate) fn use_key(&mut self, key: usize, columns: usize, is_used: bool) {
        let place = is_used.then_some(columns + key);
        match key {
            0 => self.time = place,
            1 => self.entity = place,
            _ => self.label = place,
        }
    }

    /// Reads a row's keys and values; `values` are NaN where missing.
    ///
    /// # Errors
    /// Why the row cannot be used; it is counted then, and counted as used otherwise.
    pub fn read(&self, row: &TableRow, values: &mut Vec<f32>, counts: &mut RowCounts) -> Result<RowKeys, String> {
        counts.rows += 1;
        let read = self.keys_and_values(row, values, counts);
        match &read {
            Ok(_) => counts.used += 1,
            Err(problem) => counts.unusable.add(|| format!("line {}: {problem}", row.line)),
        }
        read
    }

    fn keys_and_values(
        &self,
        row: &TableRow,
        values: &mut Vec<f32>,
        counts: &mut RowCounts,
    ) -> Result<RowKeys, String> {
        values.clear();
        if let Some(problem) = &row.problem {
            return Err(problem.clone());
        }
        for (name, place) in &self.columns {
            let cell = place.map_or(&Cell::Missing, |place| &row.cells[place]);
            values.push(number(name, cell, row.line, counts));
        }
        if values.iter().all(|value| value.is_nan()) {
            return Err("none of the detector's columns has a value".to_owned());
        }
        let time = match self.time.map(|place| &row.cells[place]) {
            None => None,
            Some(cell) => Some(cell.time().ok_or_else(|| match cell {
                Cell::Missing => "it has no time".to_owned(),
                other => format!("`{}` is no time such as 2026-11-01T06:00:00Z", other.name().unwrap_or_default()),
            })?),
        };
        let entity = match self.entity.map(|place| &row.cells[place]) {
            None => String::new(),
            Some(cell) => cell.name().ok_or("it does not say whose row it is")?,
        };
        let label = match self.label.map(|place| &row.cells[place]) {
            None | Some(Cell::Missing) => None,
            Some(cell) => {
                let label = cell.label();
                if label.is_none() {
                    let text = cell.name().unwrap_or_default();
                    counts.unreadable_labels.add(|| format!("line {}: `{text}`", row.line));
                }
                label
            }
        };
        Ok(RowKeys { entity, time, label })
    }
}

/// Sums and differences of larger ones would not stay finite.
const LARGEST: f64 = 1e30;

fn number(name: &str, cell: &Cell, line: u64, counts: &mut RowCounts) -> f32 {
    match cell {
        Cell::Number(number) if number.abs() <= LARGEST => return *number as f32,
        Cell::Missing => match counts.missing_cells.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                counts.missing_cells.insert(name.to_owned(), 1);
            }
        },
        other => {
            let text = other.name().unwrap_or_default();
            let problem = counts.wrong_cells.entry(name.to_owned()).or_default();
            problem.add(|| format!("line {line}: `{text}`"));
        }
    }
    f32::NAN
}
