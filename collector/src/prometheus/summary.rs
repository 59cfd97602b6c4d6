//! What a backfill did, for people and for `--json`.

use super::columns::ColumnCounts;
use super::mapping::MappingReport;
use crate::raw::DropCounts;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a backfill did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BackfillSummary {
    /// The server's address, without credentials.
    pub server: String,
    /// First moment wanted (RFC 3339).
    pub from: String,
    /// The moment after the last one wanted (RFC 3339).
    pub to: String,
    /// Distance of the server's samples, in seconds, as detected or given.
    pub scrape_interval_seconds: f64,
    /// The span over which rates are taken, in seconds.
    pub rate_window_seconds: f64,
    /// Chunks in the wanted span.
    pub chunks: u64,
    /// Chunks that were asked for, whole or in part.
    pub chunks_fetched: u64,
    /// Chunks for which the server has nothing.
    pub chunks_empty: u64,
    /// Rows fetched for `raw/node_metrics`, those of the settling span that are fetched again included.
    pub rows: u64,
    /// Rows of `raw/pods` in the days that were written.
    pub pods: u64,
    /// Rows of `raw/incidents` at the end.
    pub incidents: u64,
    /// Requests sent.
    pub requests: u64,
    /// How many of them were sent again.
    pub retries: u64,
    /// Which target is which node; of the newest history. Absent when nothing was fetched.
    pub mapping: Option<MappingReport>,
    /// By column of `raw/node_metrics`.
    pub columns: BTreeMap<&'static str, ColumnCounts>,
    /// What was counted and left out, over all columns.
    pub drops: DropCounts,
    /// What a person should know.
    pub warnings: BTreeSet<String>,
    /// Time it took.
    pub seconds: f64,
}

impl BackfillSummary {
    /// Takes in what came for the columns of one piece.
    pub(super) fn count(&mut self, columns: BTreeMap<&'static str, ColumnCounts>) {
        for (column, counts) in columns {
            self.drops.merge(&counts.drops);
            self.columns.entry(column).or_default().merge(counts);
        }
    }

    /// Puts what the counts mean into words.
    pub(super) fn draw_conclusions(&mut self) {
        let nodes: BTreeSet<&String> = self.columns.values().flat_map(|counts| &counts.nodes).collect();
        let mut warnings = Vec::new();
        for (column, counts) in &self.columns {
            if counts.values == 0 {
                warnings.push(format!("`{column}` has no value: it stays null. Does its exporter run, or does its query in `[collector.queries]` need another metric?"));
            } else if counts.nodes.len() < nodes.len() {
                warnings.push(format!(
                    "`{column}` has values for {} of {} nodes: null for the rest",
                    counts.nodes.len(),
                    nodes.len()
                ));
            } else if counts.absent_chunks > 0 {
                warnings.push(format!(
                    "`{column}` has no value in {} of {} pieces",
                    counts.absent_chunks, self.chunks_fetched
                ));
            }
            if counts.unchecked_chunks > 0 {
                warnings.push(format!("`{column}`: the metric underneath has no samples, so repeated values cannot be told from new ones; see `metric` in `[collector.queries]`"));
            }
            if let Some(example) = &counts.example {
                warnings.push(format!("`{column}`: {}; for example {example}", counts.drops));
            }
        }
        if self.rows == 0 && self.chunks_fetched == 0 && self.chunks_empty > 0 {
            warnings.push(format!(
                "the server has no node metrics between {} and {}: neither `kube_node_info` nor `node_cpu_seconds_total` names a node there",
                self.from, self.to
            ));
        }
        self.warnings.extend(warnings);
    }
}

impl fmt::Display for BackfillSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} to {} from {}", self.from, self.to, self.server)?;
        writeln!(
            f,
            "{} rows of node metrics in {} of {} chunks ({} were there, {} are empty); {} incidents, {} pods",
            self.rows,
            self.chunks_fetched,
            self.chunks,
            self.chunks - self.chunks_fetched.min(self.chunks) - self.chunks_empty.min(self.chunks),
            self.chunks_empty,
            self.incidents,
            self.pods
        )?;
        writeln!(
            f,
            "scrape interval {} s, rates over {} s; {} requests ({} again) in {:.1} s",
            self.scrape_interval_seconds, self.rate_window_seconds, self.requests, self.retries, self.seconds
        )?;
        if let Some(mapping) = &self.mapping {
            write!(f, "nodes with metrics of their own: {} of {}", mapping.matched, mapping.nodes)?;
            if !mapping.ignored.is_empty() {
                write!(f, "; {} are left out, since they cannot be observed", mapping.ignored.len())?;
            }
            writeln!(f, " (see --show-mapping)")?;
        }
        write!(f, "left out: {}", self.drops)?;
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}
