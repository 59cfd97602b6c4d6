//! Usage over a pod's life, folded window by window into a few numbers that survive a restart of the collector.

use super::rows::PodRow;
use crate::prometheus::cover::FOLDER;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Each bucket of the histogram is 5 % wider than the one before, so a percentile is off by at most 2.5 %.
const BUCKET_GROWTH: f64 = 1.05;
/// Below a tenth of a millicore usage is none; the bucket for that.
const IDLE: i32 = i32::MIN;
const IDLE_BELOW: f64 = 1e-4;

/// The usage of one pod so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodUsage {
    count: u64,
    cpu_sum: f64,
    cpu_histogram: BTreeMap<i32, u64>,
    memory_max: Option<f64>,
}

impl PodUsage {
    /// Takes in the mean cores over one step.
    pub fn add_cpu(&mut self, cores: f64) {
        self.count += 1;
        self.cpu_sum += cores;
        let bucket = if cores < IDLE_BELOW { IDLE } else { (cores.ln() / BUCKET_GROWTH.ln()).round() as i32 };
        *self.cpu_histogram.entry(bucket).or_insert(0) += 1;
    }

    /// Takes in a working set.
    pub fn add_memory(&mut self, bytes: f64) {
        self.memory_max = Some(self.memory_max.map_or(bytes, |max| max.max(bytes)));
    }

    /// Mean cores; `None` before the first value.
    pub fn cpu_mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.cpu_sum / self.count as f64)
    }

    /// The smallest value that at least 95 % of all values do not exceed, to within the width of a bucket.
    pub fn cpu_p95(&self) -> Option<f64> {
        let wanted = (self.count as f64 * 0.95).ceil() as u64;
        let mut below = 0;
        let bucket = self.cpu_histogram.iter().find_map(|(bucket, count)| {
            below += count;
            (below >= wanted).then_some(*bucket)
        })?;
        Some(if bucket == IDLE { 0.0 } else { BUCKET_GROWTH.powi(bucket) })
    }

    /// The largest working set in bytes.
    pub fn memory_max(&self) -> Option<f64> {
        self.memory_max
    }
}

/// The usage of all pods that may still live, by UID, and up to when it was taken in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageBook {
    /// First moment taken in.
    pub from: Option<i64>,
    /// The moment after the last one taken in.
    pub until: i64,
    /// By UID.
    pub pods: BTreeMap<String, PodUsage>,
}

impl UsageBook {
    fn path(root: &Path) -> PathBuf {
        root.join(FOLDER).join("pod-usage.json")
    }

    /// Reads the book of the data root, or begins one.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        let path = Self::path(root);
        if !path.exists() {
            return Ok(Self::default());
        }
        runtime::files::read_json(&path)
            .context("the usage of pods so far is damaged. Delete the file: usage then counts from now on")
    }

    /// Writes the book whole.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn save(&self, root: &Path) -> anyhow::Result<()> {
        runtime::files::write_json(&Self::path(root), self).context("failed to keep the usage of pods")
    }

    /// Notes that the moments of `times` before `settled` have been taken in.
    pub fn pass(&mut self, times: &Range<i64>, settled: i64) {
        if settled <= times.start {
            return;
        }
        self.until = if self.from.is_none() { settled } else { self.until.max(settled) };
        self.from = Some(self.from.map_or(times.start, |from| from.min(times.start)));
    }

    /// Forgets pods that ended before `moment`: nothing is added to them any more.
    pub fn forget_finished(&mut self, rows: &[PodRow], moment: i64) {
        for row in rows.iter().filter(|row| row.finished_at.is_some_and(|finished| finished < moment)) {
            self.pods.remove(&row.pod_uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_within_a_bucket() {
        let mut usage = PodUsage::default();
        assert_eq!((usage.cpu_mean(), usage.cpu_p95(), usage.memory_max()), (None, None, None));
        for percent in 1..=100 {
            usage.add_cpu(f64::from(percent) / 100.0);
        }
        assert!((usage.cpu_mean().expect("mean") - 0.505).abs() < 1e-12);
        let p95 = usage.cpu_p95().expect("percentile");
        assert!((p95 / 0.95 - 1.0).abs() < 0.026, "{p95}");
        usage.add_memory(3.0);
        usage.add_memory(2.0);
        assert_eq!(usage.memory_max(), Some(3.0));
    }

    #[test]
    fn an_idle_pod_uses_nothing() {
        let mut usage = PodUsage::default();
        usage.add_cpu(0.0);
        assert_eq!(usage.cpu_p95(), Some(0.0));
        let text = serde_json::to_string(&usage).expect("JSON");
        assert_eq!(serde_json::from_str::<PodUsage>(&text).expect("usage"), usage);
    }
}
