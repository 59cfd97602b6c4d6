//! What an import did.

use crate::raw::{DropCounts, DropReason, Written};
use chrono::NaiveDate;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Examples that are kept of each reason.
const EXAMPLES: usize = 3;

/// The first of what was left out, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Examples(BTreeMap<DropReason, Vec<String>>);

impl Examples {
    /// Keeps one; `example` is only made where there is room for it.
    pub fn add(&mut self, reason: DropReason, example: impl FnOnce() -> String) {
        let kept = self.0.entry(reason).or_default();
        if kept.len() < EXAMPLES {
            kept.push(example());
        }
    }

    /// Adds those of another part of the import.
    pub fn merge(&mut self, other: Self) {
        for (reason, examples) in other.0 {
            examples.into_iter().for_each(|example| self.add(reason, || example));
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.values().flatten().map(String::as_str)
    }
}

/// What was read, written and left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// Files read.
    pub files: u64,
    /// Rows or lines in them.
    pub lines: u64,
    /// Rows written to `raw/node_metrics`.
    pub rows: u64,
    /// Names of the nodes.
    pub nodes: BTreeSet<String>,
    /// First and last day.
    pub days: Option<(NaiveDate, NaiveDate)>,
    /// What was left out or put right, all together.
    pub drops: DropCounts,
    /// The same by table column, where a column is to blame.
    pub columns: BTreeMap<String, DropCounts>,
    /// The first of what was left out.
    pub examples: Examples,
    /// Times that do not say where, and were taken for UTC.
    pub without_zone: u64,
    /// Names of metrics that no table column needs, with the count of their samples.
    pub unused: BTreeMap<String, u64>,
    /// Targets that lead to no node.
    pub unmatched: BTreeSet<String>,
    /// Rows of `raw/pods` in the days that were written.
    pub pods: u64,
    /// Rows of `raw/incidents` that were found.
    pub incidents: u64,
    /// What a person should know.
    pub warnings: BTreeSet<String>,
}

impl ImportSummary {
    /// Adds what was written of a day.
    pub fn add(&mut self, date: NaiveDate, written: &Written) {
        self.rows += written.rows;
        self.drops.merge(&written.drops);
        if written.rows > 0 {
            let (first, last) = self.days.unwrap_or((date, date));
            self.days = Some((first.min(date), last.max(date)));
        }
    }

    /// Adds what another part of the import did.
    pub fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.lines += other.lines;
        self.rows += other.rows;
        self.nodes.extend(other.nodes);
        self.drops.merge(&other.drops);
        self.examples.merge(other.examples);
        self.without_zone += other.without_zone;
        for (column, drops) in &other.columns {
            self.columns.entry(column.clone()).or_default().merge(drops);
        }
        for (name, count) in other.unused {
            *self.unused.entry(name).or_insert(0) += count;
        }
        self.unmatched.extend(other.unmatched);
        self.pods += other.pods;
        self.incidents += other.incidents;
        self.warnings.extend(other.warnings);
        if let Some((first, last)) = other.days {
            let (own_first, own_last) = self.days.unwrap_or((first, last));
            self.days = Some((own_first.min(first), own_last.max(last)));
        }
    }
}

impl fmt::Display for ImportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "read       {} lines of {} files", self.lines, self.files)?;
        write!(f, "written    {} rows of {} nodes", self.rows, self.nodes.len())?;
        if let Some((first, last)) = self.days {
            write!(f, ", {first} to {last}")?;
        }
        if self.pods + self.incidents > 0 {
            write!(f, "; {} pods, {} incidents", self.pods, self.incidents)?;
        }
        write!(f, "\nleft out   {}", self.drops)?;
        for (column, drops) in &self.columns {
            write!(f, "\n           `{column}`: {drops}")?;
        }
        for example in self.examples.iter() {
            write!(f, "\n           {example}")?;
        }
        if self.without_zone > 0 {
            write!(f, "\nzone       {} times have no offset and were taken for UTC", self.without_zone)?;
        }
        for name in &self.unmatched {
            write!(f, "\nunmatched  `{name}`: a target that leads to no node")?;
        }
        for (name, count) in &self.unused {
            write!(f, "\nunused     `{name}`: {count} samples")?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning    {warning}")?;
        }
        Ok(())
    }
}
