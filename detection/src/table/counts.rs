//! What could not be used, counted, with the first examples.

use serde::Serialize;
use std::collections::BTreeMap;

/// Examples that are kept of each kind of problem.
const EXAMPLES: usize = 5;

/// A kind of problem.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How often.
    pub count: u64,
    /// The first ones, with their lines.
    pub examples: Vec<String>,
}

impl Problem {
    /// Counts one; `example` is only made where it is kept.
    pub fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// What happened to the rows of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Rows of the table, readable or not.
    pub rows: u64,
    /// Rows that were used.
    pub used: u64,
    /// Rows that could not be used at all.
    pub unusable: Problem,
    /// Cells that hold something else than a number, by column; they count as missing.
    pub wrong_cells: BTreeMap<String, Problem>,
    /// Cells without a value, by column.
    pub missing_cells: BTreeMap<String, u64>,
    /// Labels that say neither yes nor no; their rows count as not labelled.
    pub unreadable_labels: Problem,
    /// Rows older than a row of the same entity before them.
    pub late: Problem,
    /// Columns of the table that nothing reads.
    pub extra_columns: Vec<String>,
    /// Columns that are read and not there; only where that was allowed.
    pub absent_columns: Vec<String>,
}

impl RowCounts {
    /// One line for each thing that a person should know; nothing where all is well.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut add = |what: String, problem: &Problem| {
            if problem.count > 0 {
                lines.push(format!("{} {what}: {}", problem.count, shortened(&problem.examples, problem.count)));
            }
        };
        add("rows could not be used".to_owned(), &self.unusable);
        for (column, problem) in &self.wrong_cells {
            add(format!("cells of `{column}` are no number and count as missing"), problem);
        }
        add("labels say neither yes nor no and were not used".to_owned(), &self.unreadable_labels);
        add("rows are older than one before them; they change no window and no alarm".to_owned(), &self.late);
        let missing: u64 = self.missing_cells.values().sum();
        if missing > 0 {
            let worst = self.missing_cells.iter().max_by_key(|(_, count)| **count);
            let worst = worst.map(|(column, count)| format!(", most in `{column}` ({count})")).unwrap_or_default();
            lines.push(format!("{missing} cells are empty{worst}"));
        }
        for (what, columns) in [
            ("columns are not read by the detector", &self.extra_columns),
            ("columns are absent and count as missing", &self.absent_columns),
        ] {
            if !columns.is_empty() {
                lines.push(format!("{} {what}: {}", columns.len(), shortened(columns, columns.len() as u64)));
            }
        }
        lines
    }
}

fn shortened(examples: &[String], count: u64) -> String {
    let shown: Vec<&str> = examples.iter().take(EXAMPLES).map(String::as_str).collect();
    let more = count.saturating_sub(shown.len() as u64);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}
