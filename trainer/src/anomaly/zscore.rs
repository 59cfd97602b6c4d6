//! The plain detector that stands beside ours: how many standard deviations the oddest metric of a node is off its mean.

use super::History;
use std::ops::Range;

/// Means and deviations of each node's metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct ZScore {
    /// By node and column; `None` where nothing was known or nothing ever changed.
    moments: Vec<Vec<Option<(f64, f64)>>>,
}

/// The five-minute means that a dashboard shows.
pub const COLUMNS: [&str; 6] =
    ["cpu_utilization", "memory_utilization", "network", "disk", "disk_io_time", "load_per_core"];

impl ZScore {
    /// Learns each node's moments on its rows that `may_teach`.
    pub fn learn(history: &History, may_teach: &[bool]) -> Self {
        let of = |rows: &Range<usize>, column: usize| {
            let values = || {
                let rows = rows.clone().filter(|row| may_teach[*row]);
                rows.map(|row| f64::from(history.plain.row(row)[column])).filter(|value| value.is_finite())
            };
            let count = values().count() as f64;
            let mean = values().sum::<f64>() / count;
            let deviation = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            (deviation > 0.0).then_some((mean, deviation))
        };
        let node = |rows| (0..history.plain.width()).map(|column| of(rows, column)).collect();
        Self { moments: history.spans.iter().map(node).collect() }
    }

    /// The largest absolute z-score of each row; 0 where none is known.
    pub fn votes(&self, history: &History) -> Vec<f32> {
        let mut votes = vec![0.0; history.ts.len()];
        for (span, moments) in history.spans.iter().zip(&self.moments) {
            for row in span.clone() {
                for (value, moments) in history.plain.row(row).iter().zip(moments) {
                    let Some((mean, deviation)) = moments else { continue };
                    let z = ((f64::from(*value) - mean) / deviation).abs() as f32;
                    votes[row] = f32::max(votes[row], z);
                }
            }
        }
        votes
    }
}
