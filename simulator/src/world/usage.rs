//! What pods really use, as series on one grid.

use std::sync::Arc;

/// Place of a series in [`super::Scenario::series`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesId(pub u32);

/// CPU and memory over time, without unit: a pod's [`Usage`] scales them. One value per usage step of the scenario,
/// held until the next.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageSeries {
    /// Both have the same length, at least 1; all values are finite and not negative.
    pub cpu: Arc<[f32]>,
    /// See `cpu`.
    pub memory: Arc<[f32]>,
}

impl UsageSeries {
    /// A series; `None` when the lengths differ or are 0, or a value is negative or not finite.
    pub fn new(cpu: Vec<f32>, memory: Vec<f32>) -> Option<Self> {
        let fine = |values: &[f32]| values.iter().all(|value| value.is_finite() && *value >= 0.0);
        (!cpu.is_empty() && cpu.len() == memory.len() && fine(&cpu) && fine(&memory))
            .then(|| Self { cpu: cpu.into(), memory: memory.into() })
    }

    /// One value for ever.
    pub fn constant() -> Self {
        Self { cpu: [1.0].into(), memory: [1.0].into() }
    }
}

/// A series at a scale. The series follows the clock, not the pod's age: a service has its peak at the same hour on
/// whatever node it runs and whenever it was started. It begins anew when it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Which series.
    pub series: SeriesId,
    /// Slots by which the series is ahead of the clock.
    pub shift: u32,
    /// Millicores of a series value of 1.
    pub cpu_milli: f32,
    /// Bytes of a series value of 1.
    pub memory_bytes: f32,
}

impl Usage {
    /// The same amounts at all times: millicores and bytes.
    pub const fn constant(series: SeriesId, cpu_milli: f32, memory_bytes: f32) -> Self {
        Self { series, shift: 0, cpu_milli, memory_bytes }
    }

    /// Millicores and bytes in the slot `slot` of the clock.
    #[inline]
    pub fn at(&self, series: &[UsageSeries], slot: u64) -> (f64, f64) {
        let series = &series[self.series.0 as usize];
        let length = series.cpu.len();
        let at = slot as usize + self.shift as usize;
        // Most series are longer than the scenario, and a division costs more than a branch.
        let at = if at < length { at } else { at % length };
        (f64::from(series.cpu[at] * self.cpu_milli), f64::from(series.memory[at] * self.memory_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_follows_the_clock_and_begins_anew() {
        let series = [UsageSeries::new(vec![0.0, 1.0, 2.0], vec![1.0; 3]).expect("a series")];
        let usage = Usage { series: SeriesId(0), shift: 1, cpu_milli: 100.0, memory_bytes: 8.0 };
        let cpu: Vec<f64> = (0..4).map(|slot| usage.at(&series, slot).0).collect();
        assert_eq!(cpu, [100.0, 200.0, 0.0, 100.0]);
    }

    #[test]
    fn what_is_no_usage_is_no_series() {
        for (cpu, memory) in
            [(vec![], vec![]), (vec![1.0], vec![]), (vec![-1.0], vec![1.0]), (vec![1.0], vec![f32::NAN])]
        {
            assert!(UsageSeries::new(cpu, memory).is_none());
        }
    }
}
