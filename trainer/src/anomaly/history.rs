//! Rows of all nodes with what was labelled.

use crate::folds::Window;
use anyhow::Context;
use cluster::{GRID_STEP_MS, HOUR_MS};
use features::labels::{self, Label};
use features::{FeatureTable, Selection, WindowRules};
use models::FeatureMatrix;
use std::collections::BTreeMap;
use std::ops::Range;
use store::{DatasetVersion, Store};

/// Feature rows by node in order of time, and the labelled incidents.
#[derive(Debug, Clone)]
pub struct History {
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// For each node its rows, in order of time.
    pub spans: Vec<Range<usize>>,
    /// When each row was knowable, UTC milliseconds; it covers the five minutes before.
    pub ts: Vec<i64>,
    /// The detector's features.
    pub x: FeatureMatrix,
    /// The five-minute means that the z-score reads.
    pub plain: FeatureMatrix,
    /// Per node, in order of time.
    pub labels: Vec<Vec<Label>>,
    /// What the rows were built from; `None` where it is gone.
    pub raw: Option<RawHistory>,
}

/// The raw tables behind a features dataset, and the rules that it was built by.
#[derive(Debug, Clone)]
pub struct RawHistory {
    /// The tables of the raw dataset version.
    pub tables: Store,
    /// The rules.
    pub rules: WindowRules,
}

impl History {
    /// Reads a features dataset, and the incidents of the raw dataset that it was built from.
    ///
    /// # Errors
    /// When a file is damaged or a column is missing.
    pub fn load(store: &Store, dataset: &DatasetVersion) -> anyhow::Result<Self> {
        let doing = || format!("failed to read features dataset `{}`", dataset.id);
        let own: Vec<String> = features::patterns::columns().iter().map(|column| (*column).to_owned()).collect();
        let plain: Vec<String> = super::zscore::COLUMNS.iter().map(|column| (*column).to_owned()).collect();
        let further = plain.iter().filter(|column| !own.contains(column)).cloned();
        let selection = Selection::new(&own.iter().cloned().chain(further).collect::<Vec<_>>())?;
        let table = FeatureTable::load(&store.open_version(&dataset.id).with_context(doing)?, &selection)
            .with_context(doing)?;
        let (mut labels, mut raw) = (BTreeMap::new(), None);
        for input in dataset.inputs.iter().filter(|input| input.kind == "dataset") {
            match store.open_version(&input.name) {
                Ok(tables) => {
                    labels = labels::read(&tables)?;
                    raw = Some(RawHistory { tables, rules: WindowRules::of_dataset(&dataset.quality) });
                }
                Err(error) => tracing::warn!(
                    dataset = input.name,
                    error = format!("{error:#}"),
                    "the raw dataset is gone, and the labelled incidents with it"
                ),
            }
        }
        let all = FeatureMatrix::new(table.names, table.ts.len(), table.values)?;
        // Incidents of nodes without rows are left out.
        let labels = table.nodes.iter().map(|node| labels.remove(node).unwrap_or_default()).collect();
        Ok(Self {
            nodes: table.nodes,
            spans: table.spans,
            ts: table.ts,
            x: all.select_columns(&own)?,
            plain: all.select_columns(&plain)?,
            labels,
            raw,
        })
    }

    /// The same with some of the nodes alone.
    ///
    /// # Errors
    /// None that the rows of a sound history give.
    pub fn of_nodes(&self, keep: impl Fn(&str) -> bool) -> anyhow::Result<Self> {
        let places: Vec<usize> = (0..self.nodes.len()).filter(|place| keep(&self.nodes[*place])).collect();
        let rows: Vec<usize> = places.iter().flat_map(|place| self.spans[*place].clone()).collect();
        let mut from = 0;
        let spans = places.iter().map(|place| {
            let span = from..from + self.spans[*place].len();
            from = span.end;
            span
        });
        Ok(Self {
            nodes: places.iter().map(|place| self.nodes[*place].clone()).collect(),
            spans: spans.collect(),
            ts: rows.iter().map(|row| self.ts[*row]).collect(),
            x: self.x.select_rows(&rows)?,
            plain: self.plain.select_rows(&rows)?,
            labels: places.iter().map(|place| self.labels[*place].clone()).collect(),
            raw: self.raw.clone(),
        })
    }

    /// From the first row to one step past the last one.
    pub fn span(&self) -> Window {
        let from = self.ts.iter().copied().min().unwrap_or(0);
        Window { from, until: self.ts.iter().copied().max().map_or(0, |last| last + GRID_STEP_MS) }
    }

    /// For each node its rows within `window`.
    pub fn rows_in(&self, window: Window) -> Vec<Range<usize>> {
        let within = |span: &Range<usize>| {
            let ts = &self.ts[span.clone()];
            let from = span.start + ts.partition_point(|time| *time < window.from);
            from..span.start + ts.partition_point(|time| *time < window.until)
        };
        self.spans.iter().map(within).collect()
    }

    /// For each row whether it is part of an incident.
    pub fn odd(&self) -> Vec<bool> {
        self.mark(|label, ts| label.covers(ts))
    }

    /// For each row what it counts as an example of a fault: the rows of a labelled incident count 1 together.
    pub fn lessons(&self) -> Vec<f32> {
        let mut lessons = vec![0.0; self.ts.len()];
        for (span, labels) in self.spans.iter().zip(&self.labels) {
            for label in labels {
                let ts = &self.ts[span.clone()];
                let from = ts.partition_point(|ts| *ts <= label.started_at);
                let until = ts.partition_point(|ts| *ts - GRID_STEP_MS < label.ended_at).max(from);
                lessons[span.start + from..span.start + until].fill(1.0 / (until - from).max(1) as f32);
            }
        }
        lessons
    }

    /// For each row whether it may teach what is usual: no incident, and none within `aftermath_hours` before.
    pub fn usual(&self, aftermath_hours: f64) -> Vec<bool> {
        let aftermath = (aftermath_hours * HOUR_MS as f64) as i64;
        let near = self
            .mark(|label, ts| ts > label.started_at && ts - GRID_STEP_MS < label.ended_at.saturating_add(aftermath));
        near.into_iter().map(|near| !near).collect()
    }

    fn mark(&self, holds: impl Fn(&Label, i64) -> bool) -> Vec<bool> {
        let mut marks = vec![false; self.ts.len()];
        for (span, labels) in self.spans.iter().zip(&self.labels) {
            for row in span.clone() {
                marks[row] = labels.iter().any(|label| holds(label, self.ts[row]));
            }
        }
        marks
    }
}
