//! How often a dataset's nodes are sampled.

use crate::columns;
use chrono::NaiveDate;
use cluster::NODE_METRICS;
use store::Store;

/// A scrape interval that many clusters use, for a dataset too short to tell.
const DEFAULT_STEP_MS: i64 = 30_000;
/// So many gaps tell the step well enough.
const ENOUGH_GAPS: usize = 100;

/// The median time between two samples of a node, in milliseconds, over the first days that have enough of them.
pub(super) fn sample_step(raw: &Store, days: &[NaiveDate]) -> anyhow::Result<i64> {
    let mut gaps = Vec::new();
    for date in days {
        let frame = raw.read_day(&NODE_METRICS, *date, &["node", "ts"])?;
        let ts = columns::timestamps(frame.column("ts")?)?;
        for (_, rows) in columns::runs(frame.column("node")?)? {
            gaps.extend(ts[rows].windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0));
        }
        if gaps.len() >= ENOUGH_GAPS {
            break;
        }
    }
    if gaps.is_empty() {
        return Ok(DEFAULT_STEP_MS);
    }
    let middle = gaps.len() / 2;
    Ok(*gaps.select_nth_unstable(middle).1)
}
