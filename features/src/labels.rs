//! What went wrong with which node and when: the labels that anomaly detection is judged by.

use crate::{GRID_STEP_MS, columns};
use anyhow::Context;
use cluster::INCIDENTS;
use std::collections::BTreeMap;
use store::Store;

/// A labelled incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// First moment, UTC milliseconds.
    pub started_at: i64,
    /// Last moment; [`i64::MAX`] while it lasts.
    pub ended_at: i64,
    /// Such as `memory_leak`.
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
}

impl Label {
    /// Whether the reading at `ts`, which covers the five minutes before, falls into it.
    pub const fn covers(&self, ts: i64) -> bool {
        ts > self.started_at && ts - GRID_STEP_MS < self.ended_at
    }
}

/// The incidents of `raw/incidents` by node, in order of time; none where the store has no such table.
///
/// # Errors
/// When a file is damaged.
pub fn read(raw: &Store) -> anyhow::Result<BTreeMap<String, Vec<Label>>> {
    let mut labels: BTreeMap<String, Vec<Label>> = BTreeMap::new();
    for date in raw.days(&INCIDENTS)? {
        let frame = raw.read_day(&INCIDENTS, date, &["node", "kind", "severity", "started_at", "ended_at"])?;
        let mut read = || -> anyhow::Result<()> {
            let text = |name: &str| -> anyhow::Result<_> { Ok(frame.column(name)?.str()?.clone()) };
            let (nodes, kinds, severities) = (text("node")?, text("kind")?, text("severity")?);
            let starts = columns::timestamps(frame.column("started_at")?)?;
            let ends = frame.column("ended_at")?.to_physical_repr();
            for (row, ended_at) in ends.i64()?.iter().enumerate() {
                let (Some(node), Some(kind), Some(severity)) = (nodes.get(row), kinds.get(row), severities.get(row))
                else {
                    continue;
                };
                labels.entry(node.to_owned()).or_default().push(Label {
                    started_at: starts[row],
                    ended_at: ended_at.unwrap_or(i64::MAX),
                    kind: kind.to_owned(),
                    severity: severity.to_owned(),
                });
            }
            Ok(())
        };
        read().with_context(|| format!("failed to read the incidents of {date}"))?;
    }
    for labels in labels.values_mut() {
        labels.sort_by_key(|label| label.started_at);
    }
    Ok(labels)
}
