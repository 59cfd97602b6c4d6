//! The sample interval: how far apart the samples of a history usually are. One definition for whoever has to know it.

use std::collections::HashMap;

/// Scrapes jitter by some tens of milliseconds, and nobody scrapes more often than once a second.
const GRAIN_MS: i64 = 1_000;

/// How often each distance between neighbouring samples occurs, in whole seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SampleIntervals(HashMap<i64, u64>);

impl SampleIntervals {
    /// Counts the distances of the times of one series, in UTC milliseconds. Times that do not rise have none.
    pub fn add(&mut self, times: impl IntoIterator<Item = i64>) {
        let mut before: Option<i64> = None;
        for ts in times {
            let distance = before.and_then(|before| ts.checked_sub(before)).filter(|distance| *distance > 0);
            if let Some(distance) = distance {
                let seconds = distance.saturating_add(GRAIN_MS / 2) / GRAIN_MS;
                *self.0.entry(seconds.max(1).saturating_mul(GRAIN_MS)).or_insert(0) += 1;
            }
            before = Some(ts);
        }
    }

    /// Adds the counts of other series.
    pub fn merge(&mut self, other: &Self) {
        for (distance, count) in &other.0 {
            *self.0.entry(*distance).or_insert(0) += count;
        }
    }

    /// How many distances were counted.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The sample interval in milliseconds: the most frequent distance, of two that are equally frequent the shorter
    /// one. Samples that are lost make some distances twice as long; the most frequent one stays what it was until more
    /// than half of them are gone, where a median would double. `None` before the second sample.
    pub fn usual(&self) -> Option<i64> {
        self.0.iter().max_by_key(|(distance, count)| (**count, -**distance)).map(|(distance, _)| *distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seconds: &[f64]) -> SampleIntervals {
        let mut intervals = SampleIntervals::default();
        intervals.add(seconds.iter().map(|seconds| (seconds * 1e3) as i64));
        intervals
    }

    #[test]
    fn the_most_frequent_distance_survives_jitter_and_losses() {
        let intervals = of(&[0.0, 30.02, 59.99, 90.0, 150.01, 180.0, 600.0]);
        assert_eq!((intervals.usual(), intervals.count()), (Some(30_000), 6));
        assert_eq!(of(&[]).usual(), None);
        assert_eq!(of(&[7.0]).usual(), None);
    }

    #[test]
    fn of_two_that_are_equally_frequent_the_shorter_one_is_meant() {
        assert_eq!(of(&[0.0, 30.0, 90.0, 120.0, 180.0]).usual(), Some(30_000));
    }

    #[test]
    fn several_series_count_together() {
        let mut all = of(&[0.0, 60.0, 120.0]);
        all.merge(&of(&[0.0, 30.0, 60.0, 90.0]));
        assert_eq!(all.usual(), Some(30_000));
    }

    #[test]
    fn times_that_do_not_rise_or_are_no_times_count_for_nothing() {
        let mut intervals = SampleIntervals::default();
        intervals.add([5_000, 5_000, 4_000, i64::MAX, i64::MIN]);
        assert_eq!(intervals.usual().map(|distance| distance > 1_000_000), Some(true), "one distance, a long one");
        assert_eq!(intervals.count(), 1);
    }
}
