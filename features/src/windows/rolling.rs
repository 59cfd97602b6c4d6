//! Rolling figures that do not depend on what left the window.
//!
//! Sums run in integers: what is added when a value enters is taken off exactly when it leaves, so a window that has
//! run for a month equals one that was filled an hour ago, bit for bit. Sums of floats would drift apart.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A value times `scale`, as an integer; 0 for NaN, which callers count separately.
#[inline]
pub(crate) fn fixed(value: f64, scale: f64) -> i64 {
    // Adding and subtracting 1.5 x 2^52 leaves a float no room for a fraction and rounds ties to even, as the function of
    // the C library that `round_ties_even` calls does where the processor is not known to have an instruction for it.
    const NO_FRACTION: f64 = 1.5 * (1_i64 << 52) as f64;
    let scaled = value * scale;
    if scaled.abs() < (1_i64 << 51) as f64 {
        ((scaled + NO_FRACTION) - NO_FRACTION) as i64
    } else {
        scaled.round_ties_even() as i64
    }
}

/// Count and sum of the present values of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RollingSum {
    pub count: i64,
    pub total: i64,
}

impl RollingSum {
    /// `enters` and `leaves` are fixed-point values, `None` = missing.
    #[inline]
    pub(crate) fn step(&mut self, enters: Option<i64>, leaves: Option<i64>) {
        if let Some(value) = leaves {
            self.count -= 1;
            self.total -= value;
        }
        if let Some(value) = enters {
            self.count += 1;
            self.total += value;
        }
    }

    /// The mean of the present values, NaN when there are fewer than `least`.
    #[inline]
    pub(crate) fn mean(&self, least: i64, scale: f64) -> f64 {
        if self.count < least { f64::NAN } else { self.total as f64 / scale / self.count as f64 }
    }
}

/// The least-squares line through the present values of a window.
///
/// An age is the number of slots since a value was newest. Sums over age, age squared and age times value move on with
/// each slot without looking at the values again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RollingLine {
    sum: RollingSum,
    ages: i64,
    squared_ages: i64,
    age_times_value: i64,
}

impl RollingLine {
    /// `slots`: length of the window, the age at which a value leaves it.
    #[inline]
    pub(crate) fn step(&mut self, slots: i64, enters: Option<i64>, leaves: Option<i64>) {
        if let Some(value) = leaves {
            let age = slots - 1;
            self.ages -= age;
            self.squared_ages -= age * age;
            self.age_times_value -= age * value;
        }
        self.sum.step(None, leaves);
        // Everyone is one slot older: (age + 1) squared is age squared + 2 age + 1.
        self.squared_ages += 2 * self.ages + self.sum.count;
        self.ages += self.sum.count;
        self.age_times_value += self.sum.total;
        self.sum.step(enters, None);
    }

    /// Change per slot, NaN when fewer than `least` values (at least two) are there.
    #[inline]
    pub(crate) fn slope(&self, least: i64, scale: f64) -> f64 {
        let count = self.sum.count;
        if count < least.max(2) {
            return f64::NAN;
        }
        let numerator =
            i128::from(count) * i128::from(self.age_times_value) - i128::from(self.ages) * i128::from(self.sum.total);
        let denominator = count * self.squared_ages - self.ages * self.ages;
        // Age counts backwards in time, hence the sign.
        -(numerator as f64) / scale / denominator as f64
    }
}

/// The present values of a window in ascending order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sorted {
    values: Vec<f32>,
}

impl Sorted {
    /// Of a window of so many slots: its room is made once.
    pub(crate) fn of(slots: usize) -> Self {
        Self { values: Vec::with_capacity(slots) }
    }

    #[inline]
    pub(crate) fn step(&mut self, enters: f32, leaves: f32) {
        match (enters.is_nan(), leaves.is_nan()) {
            (true, true) => {}
            (false, true) => self.values.insert(self.place(enters), enters),
            (true, false) => drop(self.values.remove(self.place(leaves))),
            (false, false) => self.replace(enters, leaves),
        }
    }

    /// One move of what lies between the two places instead of a removal and an insertion.
    fn replace(&mut self, enters: f32, leaves: f32) {
        let (to, from) = (self.place(enters), self.place(leaves));
        if to > from {
            self.values.copy_within(from + 1..to, from);
            self.values[to - 1] = enters;
        } else {
            self.values.copy_within(to..from, to + 1);
            self.values[to] = enters;
        }
    }

    fn place(&self, value: f32) -> usize {
        self.values.partition_point(|other| *other < value)
    }

    /// The quantile with linear interpolation between neighbours (NumPy's default), NaN when fewer than `least` values
    /// are there.
    #[inline]
    pub(crate) fn quantile(&self, share: f64, least: i64) -> f32 {
        if (self.values.len() as i64) < least || self.values.is_empty() {
            return f32::NAN;
        }
        let position = share * (self.values.len() - 1) as f64;
        let below = position as usize;
        let low = f64::from(self.values[below]);
        let high = f64::from(self.values[(below + 1).min(self.values.len() - 1)]);
        (low + (high - low) * (position - below as f64)) as f32
    }

    /// The smallest value, NaN when fewer than `least` are there.
    #[inline]
    pub(crate) fn min(&self, least: i64) -> f32 {
        if (self.values.len() as i64) < least { f32::NAN } else { self.values.first().copied().unwrap_or(f32::NAN) }
    }
}

/// The maxima of all windows that end now: the values that no later one has reached, with the slot they are from.
#[derive(Debug, Clone, Default)]
pub(crate) struct RollingMax {
    candidates: VecDeque<(i64, f32)>,
}

impl RollingMax {
    /// `slot` counts slots; values older than `keep` slots are forgotten.
    #[inline]
    pub(crate) fn step(&mut self, slot: i64, keep: i64, enters: f32) {
        while self.candidates.front().is_some_and(|(oldest, _)| slot - oldest >= keep) {
            self.candidates.pop_front();
        }
        if enters.is_nan() {
            return;
        }
        while self.candidates.back().is_some_and(|(_, value)| *value <= enters) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((slot, enters));
    }

    /// The values that can still be a maximum, with their age in slots, oldest first.
    pub(crate) fn candidates(&self, slot: i64) -> impl Iterator<Item = (i64, f32)> {
        self.candidates.iter().map(move |(at, value)| (slot - at, *value))
    }

    /// The maximum of the newest `slots` slots; NaN when none has a value.
    #[inline]
    pub(crate) fn max(&self, slot: i64, slots: i64) -> f32 {
        let first = self.candidates.partition_point(|(at, _)| slot - at >= slots);
        self.candidates.get(first).map_or(f32::NAN, |(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCALE: f64 = (1_i64 << 40) as f64;

    fn present(value: f32) -> Option<i64> {
        (!value.is_nan()).then(|| fixed(f64::from(value), SCALE))
    }

    fn any_series() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![3 => (0..50_u8).prop_map(|value| f32::from(value) / 50.0), 1 => Just(f32::NAN)];
        prop::collection::vec(value, 1..120)
    }

    proptest! {
        #[test]
        fn every_window_equals_its_values_computed_afresh(series in any_series(), slots in 1_usize..40) {
            let (mut sum, mut line) = (RollingSum::default(), RollingLine::default());
            let (mut sorted, mut peak) = (Sorted::default(), RollingMax::default());
            for (now, value) in series.iter().enumerate() {
                let leaves = now.checked_sub(slots).map_or(f32::NAN, |at| series[at]);
                sum.step(present(*value), present(leaves));
                line.step(slots as i64, present(*value), present(leaves));
                sorted.step(*value, leaves);
                peak.step(now as i64, slots as i64, *value);
                let window = &series[(now + 1).saturating_sub(slots)..=now];
                check(window, &sum, &line, &sorted)?;
                let largest = window.iter().copied().filter(|value| !value.is_nan()).fold(f32::NAN, f32::max);
                let found = peak.max(now as i64, slots as i64);
                prop_assert!(found == largest || (found.is_nan() && largest.is_nan()));
            }
        }
    }

    fn check(window: &[f32], sum: &RollingSum, line: &RollingLine, sorted: &Sorted) -> Result<(), TestCaseError> {
        let points: Vec<(f64, f64)> = window
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_nan())
            .map(|(time, value)| (time as f64, f64::from(*value)))
            .collect();
        let count = points.len() as f64;
        prop_assert_eq!(sum.count, points.len() as i64);
        if points.is_empty() {
            prop_assert!(sum.mean(1, SCALE).is_nan());
            return Ok(());
        }
        let mean = points.iter().map(|(_, value)| value).sum::<f64>() / count;
        prop_assert!((sum.mean(1, SCALE) - mean).abs() < 1e-9);
        let mut ordered: Vec<f32> = points.iter().map(|(_, value)| *value as f32).collect();
        ordered.sort_by(f32::total_cmp);
        prop_assert_eq!(&sorted.values, &ordered);
        if points.len() >= 2 {
            let mean_time = points.iter().map(|(time, _)| time).sum::<f64>() / count;
            let covariance: f64 = points.iter().map(|(time, value)| (time - mean_time) * (value - mean)).sum();
            let variance: f64 = points.iter().map(|(time, _)| (time - mean_time).powi(2)).sum();
            prop_assert!((line.slope(2, SCALE) - covariance / variance).abs() < 1e-7);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn fixed_point_rounds_ties_to_even(value in -1e6..1e6_f64, halves in -9_i64..9, bits in 0_u32..60) {
            let scale = (1_i64 << bits) as f64;
            prop_assert_eq!(fixed(value, scale), (value * scale).round_ties_even() as i64);
            let tie = halves as f64 / 2.0;
            prop_assert_eq!(fixed(tie, 1.0), tie.round_ties_even() as i64);
        }
    }

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        // numpy.quantile([1, 2, 3, 4], 0.95) = 3.85; of one value it is that value.
        let mut sorted = Sorted::default();
        for value in [3.0, 1.0, 4.0, 2.0] {
            sorted.step(value, f32::NAN);
        }
        assert!((sorted.quantile(0.95, 1) - 3.85).abs() < 1e-6);
        assert!(sorted.quantile(0.95, 5).is_nan(), "five values are needed, four are there");
    }
}
