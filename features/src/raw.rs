//! Raw tables as the online windows take them: for a server that is warmed from files, and for tests of parity.

use crate::columns;
use crate::windows::Incident;
use anyhow::Context;
use chrono::NaiveDate;
use cluster::{NODE_METRICS, NodeMetric, NodeName, NodeSample};
use std::collections::HashMap;
use store::Store;

/// The samples of one day by node, in order of time.
///
/// # Errors
/// When a part is damaged or has another schema.
pub fn samples(raw: &Store, date: NaiveDate) -> anyhow::Result<Vec<(NodeName, Vec<NodeSample>)>> {
    let frame = raw.read_day(&NODE_METRICS, date, &[])?;
    let read = || -> anyhow::Result<_> {
        let ts = columns::timestamps(frame.column("ts")?)?;
        let mut metrics = Vec::new();
        for metric in NodeMetric::ALL {
            if let Ok(column) = frame.column(metric.column()) {
                metrics.push((*metric, columns::doubles(column)?));
            }
        }
        let nodes = columns::runs(frame.column("node")?)?.into_iter().map(|(node, rows)| {
            let samples = rows.map(|row| {
                let mut sample = NodeSample::empty(ts[row]);
                for (metric, values) in &metrics {
                    // A metric that nobody has is an empty column.
                    sample.set(*metric, values.get(row).copied().unwrap_or(f64::NAN));
                }
                sample
            });
            (NodeName::new(node), samples.collect())
        });
        Ok(nodes.collect())
    };
    read().with_context(|| format!("failed to read samples of {date}"))
}

/// The incidents that began on or after `from`, by node.
///
/// # Errors
/// When a part is damaged.
pub fn incidents(raw: &Store, from: NaiveDate) -> anyhow::Result<HashMap<String, Vec<Incident>>> {
    crate::offline::incidents::read(raw, from)
}
