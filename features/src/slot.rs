//! From samples to slots of five minutes: the first and only step that sees single samples.

use crate::GRID_STEP_MS;
use crate::settings::WindowRules;
use cluster::{NodeMetric, grid_ceil};
use serde::{Deserialize, Serialize};

/// Usage above sixteen times the allocatable amount is a unit error, not load. The limit also bounds the integer sums
/// of the windows.
pub(crate) const MAX_UTILIZATION: f64 = 16.0;

/// What a slot says about CPU or memory utilization; NaN where it has too few samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    /// Mean of the samples.
    pub mean: f32,
    /// Population variance of the samples.
    pub variance: f32,
    /// Largest sample.
    pub max: f32,
}

impl Level {
    pub(crate) const MISSING: Self = Self { mean: f32::NAN, variance: f32::NAN, max: f32::NAN };
}

/// Metrics of which a slot keeps the mean only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Plain {
    /// Received plus sent.
    Network,
    /// Read plus written.
    Disk,
    DiskIo,
    LoadPerCore,
    CpuPressure,
    MemoryPressure,
    Filesystem,
    Pods,
    CpuRequested,
    MemoryRequested,
    Ready,
    Uptime,
    Cores,
    MemoryBytes,
}

impl Plain {
    pub(crate) const COUNT: usize = Self::MemoryBytes as usize + 1;
}

/// One node's five minutes `[t - 5 min, t)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slot {
    pub cpu: Level,
    pub memory: Level,
    /// By [`Plain`].
    pub plain: [f32; Plain::COUNT],
    /// Samples that were taken in it, whichever metrics they had.
    pub samples: u32,
}

impl Slot {
    pub(crate) const EMPTY: Self =
        Self { cpu: Level::MISSING, memory: Level::MISSING, plain: [f32::NAN; Plain::COUNT], samples: 0 };
}

/// What became of samples that are no part of any slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// A second sample of the same time.
    pub duplicates: u64,
    /// Older than a sample that came before, or than a slot already closed.
    pub out_of_order: u64,
    /// Single values below zero, above what is possible, or infinite; the rest of their sample counts.
    pub implausible: u64,
    /// Samples so far ahead of the clock that they were not kept.
    pub ahead: u64,
}

impl std::ops::AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.implausible += other.implausible;
        self.ahead += other.ahead;
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    count: u32,
    #[serde(with = "bits")]
    total: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    count: u32,
    #[serde(with = "bits")]
    total: f64,
    #[serde(with = "bits")]
    squares: f64,
    #[serde(with = "bits")]
    max: f64,
}

mod bits {
    //! A float as its bits, so that a snapshot in JSON keeps every digit.

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// Collects the samples of the slot that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SlotBuilder {
    /// Time of the newest sample taken in.
    newest: Option<i64>,
    samples: u32,
    cpu: Moments,
    memory: Moments,
    plain: [Sum; Plain::COUNT],
    pub dropped: Dropped,
}

impl SlotBuilder {
    pub(crate) fn new() -> Self {
        Self {
            newest: None,
            samples: 0,
            cpu: Moments::default(),
            memory: Moments::default(),
            plain: [Sum::default(); Plain::COUNT],
            dropped: Dropped::default(),
        }
    }

    /// The stamp of the slot that a sample taken at `ts` belongs to.
    pub(crate) const fn stamp(ts: i64) -> i64 {
        grid_ceil(ts, GRID_STEP_MS)
    }

    /// Takes in one sample, whose values `get` looks up; NaN = missing. Times must rise.
    #[inline]
    pub(crate) fn add(&mut self, ts: i64, get: impl Fn(NodeMetric) -> f64) {
        match self.newest {
            Some(newest) if ts == newest => return self.dropped.duplicates += 1,
            Some(newest) if ts < newest => return self.dropped.out_of_order += 1,
            _ => self.newest = Some(ts),
        }
        self.samples += 1;
        let mut implausible = 0;
        let mut value = |metric: NodeMetric| {
            let value = get(metric);
            // False for NaN as well; only what was there and is impossible counts.
            if value >= 0.0 && value <= metric.plausible_max() {
                return value;
            }
            implausible += u64::from(!value.is_nan());
            f64::NAN
        };
        let cores = value(NodeMetric::CpuAllocatable);
        let bytes = value(NodeMetric::MemoryAllocatable);
        self.cpu.add(share(value(NodeMetric::CpuUsed), cores));
        self.memory.add(share(value(NodeMetric::MemoryUsed), bytes));
        let plain = [
            either(value(NodeMetric::NetworkReceive), value(NodeMetric::NetworkTransmit)),
            either(value(NodeMetric::DiskRead), value(NodeMetric::DiskWrite)),
            value(NodeMetric::DiskIoTime),
            share(value(NodeMetric::Load1), cores),
            value(NodeMetric::CpuPressure),
            value(NodeMetric::MemoryPressure),
            value(NodeMetric::FilesystemUsed),
            value(NodeMetric::PodsRunning),
            share(value(NodeMetric::CpuRequested), cores),
            share(value(NodeMetric::MemoryRequested), bytes),
            value(NodeMetric::Ready),
            value(NodeMetric::Uptime),
            cores,
            bytes,
        ];
        for (sum, value) in self.plain.iter_mut().zip(plain) {
            sum.add(value);
        }
        self.dropped.implausible += implausible;
    }

    /// Whether the open slot has samples.
    pub(crate) const fn has_samples(&self) -> bool {
        self.samples > 0
    }

    /// Closes the slot and opens the next one.
    pub(crate) fn close(&mut self, rules: &WindowRules) -> Slot {
        if self.samples == 0 {
            return Slot::EMPTY;
        }
        let least = rules.least_samples;
        let mut plain = [f32::NAN; Plain::COUNT];
        for (mean, sum) in plain.iter_mut().zip(&mut self.plain) {
            *mean = std::mem::take(sum).mean(least);
        }
        let slot = Slot {
            cpu: std::mem::take(&mut self.cpu).level(least),
            memory: std::mem::take(&mut self.memory).level(least),
            plain,
            samples: self.samples,
        };
        self.samples = 0;
        slot
    }
}

/// `part / whole`, NaN where it is no sensible share.
#[inline]
fn share(part: f64, whole: f64) -> f64 {
    let share = part / whole;
    if share.is_finite() { share } else { f64::NAN }
}

/// The sum of two rates; one alone where the source has only one.
#[inline]
fn either(one: f64, other: f64) -> f64 {
    if one.is_nan() {
        other
    } else if other.is_nan() {
        one
    } else {
        one + other
    }
}

impl Sum {
    #[inline]
    fn add(&mut self, value: f64) {
        let there = !value.is_nan();
        self.count += u32::from(there);
        self.total += if there { value } else { 0.0 };
    }

    fn mean(self, least: u32) -> f32 {
        if self.count < least { f32::NAN } else { (self.total / f64::from(self.count)) as f32 }
    }
}

impl Moments {
    #[inline]
    fn add(&mut self, value: f64) {
        if value <= MAX_UTILIZATION {
            self.count += 1;
            self.total += value;
            self.squares += value * value;
            self.max = self.max.max(value);
        }
    }

    fn level(self, least: u32) -> Level {
        if self.count < least {
            return Level::MISSING;
        }
        let mean = self.total / f64::from(self.count);
        let variance = (self.squares / f64::from(self.count) - mean * mean).max(0.0);
        Level { mean: mean as f32, variance: variance as f32, max: self.max as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::NodeSample;

    fn builder_of(samples: &[NodeSample]) -> SlotBuilder {
        let mut builder = SlotBuilder::new();
        for sample in samples {
            builder.add(sample.ts, |metric| sample.get(metric));
        }
        builder
    }

    fn cpu(ts: i64, used: f64) -> NodeSample {
        let mut sample = NodeSample::empty(ts);
        sample.set(NodeMetric::CpuUsed, used);
        sample.set(NodeMetric::CpuAllocatable, 4.0);
        sample
    }

    #[test]
    fn a_slot_keeps_mean_variance_and_maximum_of_utilization() {
        // Utilizations 0.25, 0.5, 0.75: mean 0.5, population variance (0.0625 + 0 + 0.0625) / 3.
        let slot = builder_of(&[cpu(0, 1.0), cpu(30_000, 2.0), cpu(60_000, 3.0)]).close(&WindowRules::default());
        assert_eq!((slot.cpu.mean, slot.cpu.max, slot.samples), (0.5, 0.75, 3));
        assert!((slot.cpu.variance - 0.125 / 3.0).abs() < 1e-7);
        assert!(slot.memory.mean.is_nan(), "memory was never seen");
    }

    #[test]
    fn too_few_samples_leave_the_slot_missing() {
        let rules = WindowRules { least_samples: 3, ..WindowRules::default() };
        let slot = builder_of(&[cpu(0, 1.0), cpu(30_000, 2.0)]).close(&rules);
        assert!(slot.cpu.mean.is_nan());
        assert_eq!(slot.samples, 2);
    }

    #[test]
    fn duplicates_and_late_samples_are_counted_and_change_nothing() {
        let clean = builder_of(&[cpu(0, 1.0), cpu(60_000, 3.0)]);
        let dirty = builder_of(&[cpu(0, 1.0), cpu(0, 9.0), cpu(60_000, 3.0), cpu(30_000, 9.0)]);
        assert_eq!(dirty.dropped, Dropped { duplicates: 1, out_of_order: 1, ..Dropped::default() });
        let close = |builder: &SlotBuilder| builder.clone().close(&WindowRules::default());
        // As text, since a missing value is NaN, which equals nothing.
        assert_eq!(format!("{:?}", close(&clean)), format!("{:?}", close(&dirty)));
    }

    #[test]
    fn impossible_values_are_missing_not_zero() {
        let mut bad = cpu(0, -1.0);
        bad.set(NodeMetric::Load1, f64::INFINITY);
        bad.set(NodeMetric::Ready, 1.0);
        let mut builder = builder_of(&[bad]);
        assert_eq!(builder.dropped.implausible, 2);
        let slot = builder.close(&WindowRules::default());
        assert!(slot.cpu.mean.is_nan() && slot.plain[Plain::LoadPerCore as usize].is_nan());
        assert_eq!(slot.plain[Plain::Ready as usize], 1.0);
    }

    #[test]
    fn no_allocatable_amount_means_no_utilization() {
        let mut sample = cpu(0, 1.0);
        sample.set(NodeMetric::CpuAllocatable, 0.0);
        assert!(builder_of(&[sample]).close(&WindowRules::default()).cpu.mean.is_nan());
    }
}
