//! What each feature is. The entry stands beside the line of code that computes the value: the windows hand both to a
//! [`Sink`], which keeps either the value (a row) or the entry (the catalogue), so the two cannot differ in order.

use crate::windows::NodeWindows;
use cluster::{Column, ColumnKind, TableSchema};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a feature speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// CPU utilization.
    Cpu,
    /// Memory utilization.
    Memory,
    /// Network, disk, load and pressure.
    Devices,
    /// Pods and requests.
    Pods,
    /// What kind of work suits the node.
    Profile,
    /// Uptime, incidents, readiness, gaps.
    Stability,
    /// Hour, weekday, holidays.
    Calendar,
    /// The node among the others.
    Cluster,
}

impl Topic {
    /// All, in the order of the reference table.
    pub const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Memory,
        Self::Devices,
        Self::Pods,
        Self::Profile,
        Self::Stability,
        Self::Calendar,
        Self::Cluster,
    ];

    /// A heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "Memory",
            Self::Devices => "Network, disk, load and pressure",
            Self::Pods => "Pods and requests",
            Self::Profile => "Node profile",
            Self::Stability => "Stability",
            Self::Calendar => "Calendar",
            Self::Cluster => "Cluster context",
        }
    }
}

/// One feature of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// The column's name.
    pub name: String,
    /// The group of features it belongs to.
    pub group: &'static str,
    /// What it speaks of.
    pub topic: Topic,
    /// Unit of its values.
    pub unit: &'static str,
    /// The time that it looks at, before the row's time t.
    pub window: String,
    /// How it is computed, in words.
    pub formula: String,
    /// When it can be known.
    pub knowable: &'static str,
}

/// Known once the samples before t are in.
pub(crate) const FROM_SAMPLES: &str = "at t, from samples before t";
/// Known at any time.
pub(crate) const AHEAD: &str = "always, known ahead";
/// Known from incidents.
pub(crate) const FROM_INCIDENTS: &str = "at t, from incidents that began before t";

impl Feature {
    pub(crate) fn new(
        topic: Topic,
        name: impl Into<String>,
        unit: &'static str,
        window: impl Into<String>,
        formula: impl Into<String>,
    ) -> Self {
        let (name, window, formula) = (name.into(), window.into(), formula.into());
        Self { name, group: "node_history", topic, unit, window, formula, knowable: FROM_SAMPLES }
    }

    pub(crate) fn knowable(self, knowable: &'static str) -> Self {
        Self { knowable, ..self }
    }
}

/// Takes each feature's value together with what it is.
pub(crate) trait Sink {
    /// `describe` is only called by who wants the description.
    fn put(&mut self, value: f32, describe: impl FnOnce() -> Feature);
}

/// Writes values into a row.
pub(crate) struct RowSink<'a> {
    values: std::slice::IterMut<'a, f32>,
}

impl<'a> RowSink<'a> {
    pub(crate) fn new(row: &'a mut [f32]) -> Self {
        Self { values: row.iter_mut() }
    }
}

impl Sink for RowSink<'_> {
    #[inline]
    fn put(&mut self, value: f32, _: impl FnOnce() -> Feature) {
        if let Some(place) = self.values.next() {
            *place = value;
        }
    }
}

/// Writes values into one row of a column-major table, which saves turning a day's rows over afterwards.
pub(crate) struct ColumnSink<'a> {
    values: &'a mut [f32],
    at: usize,
    stride: usize,
}

impl<'a> ColumnSink<'a> {
    /// `stride`: from a feature of a row to the next one.
    pub(crate) fn new(values: &'a mut [f32], row: usize, stride: usize) -> Self {
        Self { values, at: row, stride }
    }
}

impl Sink for ColumnSink<'_> {
    #[inline]
    fn put(&mut self, value: f32, _: impl FnOnce() -> Feature) {
        if let Some(place) = self.values.get_mut(self.at) {
            *place = value;
        }
        self.at += self.stride;
    }
}

/// Collects descriptions.
#[derive(Default)]
pub(crate) struct CatalogueSink(pub(crate) Vec<Feature>);

impl Sink for CatalogueSink {
    fn put(&mut self, _: f32, describe: impl FnOnce() -> Feature) {
        self.0.push(describe());
    }
}

static CATALOGUE: LazyLock<Vec<Feature>> = LazyLock::new(|| {
    let mut sink = CatalogueSink::default();
    NodeWindows::describe(&mut sink);
    sink.0
});

static PLACES: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| CATALOGUE.iter().enumerate().map(|(place, feature)| (feature.name.as_str(), place)).collect());

/// Every feature, in the order of a row.
pub fn all() -> &'static [Feature] {
    &CATALOGUE
}

/// How many features a row has.
pub fn len() -> usize {
    CATALOGUE.len()
}

/// The place of a feature in a row.
pub fn index(name: &str) -> Option<usize> {
    PLACES.get(name).copied()
}

/// `features/node_history`: one row per node and grid time, key (node, ts). The row at `ts` knows only samples before.
pub static NODE_HISTORY: LazyLock<TableSchema> = LazyLock::new(|| {
    let key = |name, kind, unit, help| Column { name, kind, optional: false, unit, help };
    let mut columns = vec![
        key("ts", ColumnKind::Timestamp, "ms", "grid time; only samples before it are known"),
        key("node", ColumnKind::Text, "", "the node's name"),
    ];
    columns.extend(CATALOGUE.iter().map(|feature| Column {
        name: &feature.name,
        kind: ColumnKind::Float32,
        optional: true,
        unit: feature.unit,
        help: &feature.formula,
    }));
    // The table lives as long as the program, as every schema does.
    TableSchema { name: "features/node_history", columns: Vec::leak(columns), key: &["node", "ts"], time: "ts" }
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_every_entry_is_filled_in() {
        let names: HashSet<&str> = all().iter().map(|feature| feature.name.as_str()).collect();
        assert_eq!(names.len(), all().len());
        assert!(all().len() >= 60, "the design asks for 60 features, there are {}", all().len());
        for feature in all() {
            assert!(
                !feature.window.is_empty() && feature.formula.len() > 10 && !feature.unit.is_empty(),
                "{feature:?}"
            );
            assert_eq!(index(&feature.name).map(|place| &all()[place]), Some(feature));
        }
    }

    #[test]
    fn the_series_that_targets_are_made_of_are_columns() {
        assert!(index("cpu_utilization").is_some() && index("memory_utilization").is_some());
    }
}
