//! Pass 1: what the columns of a table are, and which of them can be learned from.

use super::TableColumns;
use detection::plan::TablePlan;
use detection::table::{Cell, TableReader, TableRow};
use runtime::WrongUse;
use serde::Serialize;
use std::path::Path;

/// A column that is not learned from, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Which.
    pub column: String,
    /// Why.
    pub reason: String,
}

/// What pass 1 found.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What the detector will read.
    pub plan: TablePlan,
    /// Columns that it will not.
    pub left_out: Vec<LeftOut>,
    /// Rows of the table.
    pub rows: u64,
    /// First and last time, UTC milliseconds; absent without a time column.
    pub span: Option<(i64, i64)>,
    /// Labelled rows that were usual, and that were anomalies.
    pub labels: (u64, u64),
}

/// What is known of one column.
#[derive(Debug, Clone, Default)]
struct ColumnProfile {
    numbers: u64,
    missing: u64,
    texts: u64,
    first_text: Option<(u64, String)>,
    first: Option<f64>,
    varies: bool,
}

impl ColumnProfile {
    fn add(&mut self, cell: &Cell, line: u64) {
        match cell {
            Cell::Missing => self.missing += 1,
            Cell::Number(number) => {
                self.numbers += 1;
                self.varies |= *self.first.get_or_insert(*number) != *number;
            }
            Cell::Text(text) => {
                self.texts += 1;
                self.first_text.get_or_insert_with(|| (line, text.clone()));
            }
        }
    }

    /// More than one text in ten values: it is no column of numbers with mistakes in it.
    fn is_text(&self) -> bool {
        self.texts * 10 > self.numbers + self.texts
    }

    fn why_not(&self) -> Option<String> {
        let text = || self.first_text.as_ref().map(|(line, text)| format!("such as `{text}` in line {line}"));
        if self.numbers + self.texts == 0 {
            Some("it has no value in any row".to_owned())
        } else if self.is_text() {
            Some(format!("{} of its values are no numbers, {}", self.texts, text().unwrap_or_default()))
        } else if !self.varies {
            Some(format!("it is constant, {} in every row", self.first.unwrap_or_default()))
        } else {
            None
        }
    }
}

/// Features that forests can be given: at most 16 forests of at most 64 features.
pub(super) const MOST_MEMBERS: usize = 16;
pub(super) const MOST_COLUMNS: usize = 64;

/// Looks at every row once. `tick` hears of every 1,000.
///
/// # Errors
/// A table without rows, columns that are named and not there, nothing to learn from.
pub fn profile(
    path: &Path,
    named: &TableColumns,
    windows: &[usize],
    mut tick: impl FnMut(u64),
) -> anyhow::Result<Profile> {
    let mut reader = TableReader::open(path)?;
    let place = |name: &Option<String>| name.as_deref().map(|name| find(&reader, name)).transpose();
    let (time, entity, label) = (place(&named.time)?, place(&named.entity)?, place(&named.label)?);
    for column in &named.columns {
        find(&reader, column)?;
    }
    reader.check_readable([time, entity, label].into_iter().flatten())?;
    let keys: Vec<usize> = [time, entity].into_iter().flatten().collect();
    reader.keep_text(&keys);
    let header = reader.header().to_vec();
    let mut columns = vec![ColumnProfile::default(); header.len()];
    let (mut rows, mut span, mut labels) = (0, None::<(i64, i64)>, (0, 0));
    let mut row = TableRow::default();
    while reader.next(&mut row)? {
        rows += 1;
        if rows % 1_000 == 0 {
            tick(rows);
        }
        for (column, cell) in columns.iter_mut().zip(&row.cells) {
            column.add(cell, row.line);
        }
        let cell = |place: Option<usize>| place.and_then(|place| row.cells.get(place));
        if let Some(moment) = cell(time).and_then(Cell::time) {
            span = Some(span.map_or((moment, moment), |(from, until)| (from.min(moment), until.max(moment))));
        }
        match cell(label).and_then(Cell::label) {
            Some(true) => labels.1 += 1,
            Some(false) => labels.0 += 1,
            None => {}
        }
    }
    anyhow::ensure!(rows > 0, "`{}` has a header and no rows: there is nothing to learn from", path.display());
    if let (Some(name), None) = (&named.time, span) {
        return Err(WrongUse(format!("no row of column `{name}` is a time such as 2026-11-01T06:00:00Z")).into());
    }
    let is_key = |place: usize| [time, entity, label].contains(&Some(place));
    let mut plan = TablePlan {
        columns: Vec::new(),
        time: named.time.clone(),
        entity: named.entity.clone(),
        label: named.label.clone(),
        windows: windows.to_vec(),
    };
    let mut left_out = Vec::new();
    for (place, (name, column)) in header.into_iter().zip(&columns).enumerate() {
        if is_key(place) {
            continue;
        }
        let is_named = named.columns.contains(&name);
        let reason = match column.why_not() {
            Some(reason) => Some(reason),
            None if !named.columns.is_empty() && !is_named => Some("--columns does not name it".to_owned()),
            None => None,
        };
        match reason {
            Some(reason) if is_named && column.is_text() => {
                return Err(WrongUse(format!("--columns names `{name}`, but {reason}")).into());
            }
            Some(reason) => left_out.push(LeftOut { column: name, reason }),
            None => plan.columns.push(name),
        }
    }
    if plan.columns.is_empty() {
        let reasons: Vec<String> = left_out.iter().map(|left| format!("`{}`: {}", left.column, left.reason)).collect();
        anyhow::bail!("no column of `{}` can be learned from. {}", path.display(), reasons.join("; "));
    }
    let forests = (1 + windows.len()) * plan.columns.len().div_ceil(MOST_COLUMNS);
    if forests > MOST_MEMBERS {
        let most = MOST_MEMBERS / (1 + windows.len()) * MOST_COLUMNS;
        return Err(WrongUse(format!(
            "{} columns with {} windows are too many, at most {most} are possible. Name the columns that matter with --columns, or take fewer --windows",
            plan.columns.len(),
            windows.len()
        ))
        .into());
    }
    Ok(Profile { plan, left_out, rows, span, labels })
}

fn find(reader: &TableReader, name: &str) -> Result<usize, WrongUse> {
    reader
        .position(name)
        .ok_or_else(|| WrongUse(format!("the table has no column `{name}`. It has `{}`", reader.header().join("`, `"))))
}
