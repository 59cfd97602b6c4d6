//! Windows over the utilization of CPU or of memory.

use super::recent::Recent;
use super::rolling::{RollingLine, RollingMax, RollingSum, Sorted, fixed};
use super::snapshot::{ResourceState, bits};
use super::{DAY, HOUR, SCALE, WEEK};
use crate::catalogue::{Feature, Sink, Topic};
use crate::settings::WindowRules;
use crate::slot::Level;
use crate::target::HORIZON_HOURS;
use ::cluster::Resource;

/// Windows of which means and standard deviations are kept: slots and name.
const WINDOWS: [(usize, &str); 7] =
    [(3, "15m"), (6, "30m"), (HOUR, "1h"), (2 * HOUR, "2h"), (6 * HOUR, "6h"), (DAY, "24h"), (WEEK, "7d")];
const LAST_HOUR: usize = 2;
const LAST_DAY: usize = 5;
/// Windows of which order statistics and maxima are given as well, by place in [`WINDOWS`].
const LONG: [usize; 4] = [LAST_HOUR, 4, LAST_DAY, 6];
/// Windows of which a trend is given, by place in [`WINDOWS`].
const TRENDS: [usize; 3] = [LAST_HOUR, 4, LAST_DAY];
const LAGS: [(usize, &str); 8] =
    [(1, "5m"), (2, "10m"), (3, "15m"), (6, "30m"), (9, "45m"), (HOUR, "1h"), (2 * HOUR, "2h"), (DAY, "24h")];
/// Half-life and length of exponentially weighted means, in slots. Their tails are cut so that they, too, forget.
const FADES: [(usize, usize, &str, &str); 3] =
    [(3, 3 * HOUR, "15m", "3h"), (HOUR, 12 * HOUR, "1h", "12h"), (3 * HOUR, DAY, "3h", "24h")];
/// A rise of this much over the mean of the hour before is a spike.
const SPIKE: f64 = 0.2;
/// Below this a standard deviation is noise of the measurement; a score against it would explode.
const LEAST_DEVIATION: f64 = 0.005;

/// Seven days of one resource on one node.
#[derive(Debug, Clone)]
pub(crate) struct ResourceWindows {
    means: Recent,
    variances: Recent,
    /// Mean of the hour that ended at each slot, as a target is defined but with a part of its slots.
    hours: Recent,
    /// Change from the slot before.
    steps: Recent,
    /// 1 where a spike began, else 0.
    spikes: Recent,
    sums: [RollingSum; WINDOWS.len()],
    squares: [RollingSum; WINDOWS.len()],
    lines: [RollingLine; TRENDS.len()],
    sorted: [Sorted; LONG.len()],
    peak: RollingMax,
    step_sums: [RollingSum; 2],
    rises: RollingSum,
    spike_count: i64,
    slot: i64,
}

#[inline]
fn present(value: f32) -> Option<i64> {
    (!value.is_nan()).then(|| fixed(f64::from(value), SCALE))
}

#[inline]
fn second_moment(mean: f32, variance: f32) -> Option<i64> {
    (!mean.is_nan()).then(|| fixed(f64::from(variance) + f64::from(mean) * f64::from(mean), SCALE))
}

/// 1 for a rise, 0 for none, missing for unknown.
#[inline]
fn rise(step: f32) -> Option<i64> {
    (!step.is_nan()).then_some(i64::from(step > 0.0))
}

impl ResourceWindows {
    pub(crate) fn new() -> Self {
        Self {
            means: Recent::new(WEEK),
            variances: Recent::new(WEEK),
            hours: Recent::new(WEEK),
            steps: Recent::new(DAY),
            spikes: Recent::new(DAY),
            sums: Default::default(),
            squares: Default::default(),
            lines: Default::default(),
            sorted: LONG.map(|place| Sorted::of(WINDOWS[place].0)),
            peak: RollingMax::default(),
            step_sums: Default::default(),
            rises: RollingSum::default(),
            spike_count: 0,
            slot: 0,
        }
    }

    /// Takes in the next slot.
    pub(crate) fn push(&mut self, level: Level, rules: &WindowRules) {
        let enters = present(level.mean);
        let enters_squared = second_moment(level.mean, level.variance);
        let mut leave = [None; WINDOWS.len()];
        for (place, (slots, _)) in WINDOWS.iter().enumerate() {
            let leaves = self.means.ago(slots - 1);
            leave[place] = present(leaves);
            self.sums[place].step(enters, leave[place]);
            self.squares[place].step(enters_squared, second_moment(leaves, self.variances.ago(slots - 1)));
        }
        for (sorted, place) in self.sorted.iter_mut().zip(LONG) {
            sorted.step(level.mean, self.means.ago(WINDOWS[place].0 - 1));
        }
        for (line, place) in self.lines.iter_mut().zip(TRENDS) {
            line.step(WINDOWS[place].0 as i64, enters, leave[place]);
        }
        self.push_steps(level.mean);
        self.slot += 1;
        self.peak.step(self.slot, WEEK as i64, level.max);
        self.means.push(level.mean);
        self.variances.push(level.variance);
        self.hours.push(self.mean(LAST_HOUR, rules) as f32);
    }

    /// The change from the slot before, and whether it is a spike; called before the slot is part of the past.
    fn push_steps(&mut self, mean: f32) {
        let step = mean - self.means.ago(0);
        for (sum, slots) in self.step_sums.iter_mut().zip([HOUR, DAY]) {
            sum.step(present(step.abs()), present(self.steps.ago(slots - 1).abs()));
        }
        self.rises.step(rise(step), rise(self.steps.ago(6 * HOUR - 1)));
        self.steps.push(step);
        let spike = if f64::from(mean) - f64::from(self.hours.ago(0)) > SPIKE { 1.0 } else { 0.0 };
        self.spike_count += spike as i64 - i64::from(self.spikes.ago(DAY - 1) == 1.0);
        self.spikes.push(spike);
    }

    fn mean(&self, place: usize, rules: &WindowRules) -> f64 {
        self.sums[place].mean(rules.least_slots(WINDOWS[place].0), SCALE)
    }

    /// Standard deviation of the samples: the mean of the slots' second moments less the squared mean.
    fn deviation(&self, place: usize, rules: &WindowRules) -> f64 {
        let mean = self.mean(place, rules);
        let variance = self.squares[place].mean(1, SCALE) - mean * mean;
        // The rest of the fixed-point rounding of a flat series.
        if variance < 1e-11 { variance * 0.0 } else { variance.sqrt() }
    }

    /// The week's slots.
    pub(super) fn state(&self) -> ResourceState {
        ResourceState {
            means: bits(self.means.last(WEEK)),
            variances: bits(self.variances.last(WEEK)),
            peaks: self.peak.candidates(self.slot).map(|(age, value)| (age, value.to_bits())).collect(),
        }
    }

    /// The newest slot's mean.
    pub(crate) fn now(&self) -> f32 {
        self.means.ago(0)
    }

    /// Mean of the newest 24 hours.
    pub(crate) fn mean_of_day(&self, rules: &WindowRules) -> f32 {
        self.mean(LAST_DAY, rules) as f32
    }

    /// Mean of the exponentially weighted values of `length` slots.
    fn faded(&self, half_life: usize, length: usize, rules: &WindowRules) -> f32 {
        let weights = fades::weights(half_life, length);
        // No fade is longer than a day, so a day without a hole has none either.
        let complete = self.sums[LAST_DAY].count == DAY as i64;
        let (total, weight) = fades::weighted(self.means.last(length), weights, complete);
        if weight < weights.1 * rules.min_window_coverage as f32 || weight <= 0.0 { f32::NAN } else { total / weight }
    }

    /// Mean of the hour that ended `slots` ago.
    fn hour(&self, slots: usize) -> f32 {
        self.hours.ago(slots)
    }

    /// The features of one resource.
    pub(crate) fn emit(&self, resource: Resource, rules: &WindowRules, sink: &mut impl Sink) {
        let topic = if resource == Resource::Cpu { Topic::Cpu } else { Topic::Memory };
        let feature = |name: &str, unit, window: &str, formula: String| {
            Feature::new(topic, format!("{resource}_{name}"), unit, window, formula)
        };
        sink.put(self.now(), || {
            feature(
                "utilization",
                "ratio",
                "5m",
                format!("mean over the samples in [t - 5 min, t) of {resource} used / allocatable"),
            )
        });
        for (place, (_, name)) in WINDOWS.iter().enumerate() {
            sink.put(self.mean(place, rules) as f32, || {
                feature(&format!("mean_{name}"), "ratio", name, "mean of the 5-minute means".into())
            });
        }
        for (long, place) in LONG.iter().enumerate() {
            let (slots, name) = WINDOWS[*place];
            let least = rules.least_slots(slots);
            sink.put(self.deviation(*place, rules) as f32, || {
                feature(
                    &format!("std_{name}"),
                    "ratio",
                    name,
                    "population standard deviation of the samples, each slot weighing the same".into(),
                )
            });
            let peak = if self.sums[*place].count < least { f32::NAN } else { self.peak.max(self.slot, slots as i64) };
            sink.put(peak, || feature(&format!("max_{name}"), "ratio", name, "largest sample".into()));
            sink.put(self.sorted[long].quantile(0.95, least), || {
                feature(
                    &format!("p95_{name}"),
                    "ratio",
                    name,
                    "95th percentile of the 5-minute means, interpolated between neighbours".into(),
                )
            });
            sink.put(self.sorted[long].min(least), || {
                feature(&format!("min_{name}"), "ratio", name, "smallest 5-minute mean".into())
            });
        }
        for (slots, name) in LAGS {
            sink.put(self.means.ago(slots), || {
                feature(
                    &format!("lag_{name}"),
                    "ratio",
                    name,
                    format!("5-minute mean stamped t - {name}; null where that slot is missing"),
                )
            });
        }
        self.emit_seasons(&feature, sink);
        for (half_life, length, name, cut) in FADES {
            sink.put(self.faded(half_life, length, rules), || {
                let formula = format!("mean of the 5-minute means of the last {cut}, weights halved every {name}");
                feature(&format!("ewma_{name}"), "ratio", cut, formula)
            });
        }
        self.emit_trends(rules, &feature, sink);
    }

    /// The same time of earlier days, as seen from now and from each horizon.
    fn emit_seasons(&self, feature: &impl Fn(&str, &'static str, &str, String) -> Feature, sink: &mut impl Sink) {
        sink.put(self.hour(DAY), || {
            feature("hour_yesterday", "ratio", "24h", "mean of the hour that ended 24 h ago".into())
        });
        for hours in HORIZON_HOURS {
            let ahead = hours as usize * HOUR;
            let target = || format!("the hour (t + {hours} h - 1 h, t + {hours} h]");
            sink.put(self.hour(DAY - ahead), || {
                feature(
                    &format!("next_{hours}h_yesterday"),
                    "ratio",
                    "24h",
                    format!("mean of {} exactly 1 day before", target()),
                )
            });
            sink.put(self.hour(WEEK - ahead), || {
                feature(
                    &format!("next_{hours}h_last_week"),
                    "ratio",
                    "7d",
                    format!("mean of {} exactly 7 days before", target()),
                )
            });
            let days = (1..=7).map(|day| f64::from(self.hour(day * DAY - ahead))).filter(|mean| !mean.is_nan());
            let (count, total) = days.fold((0, 0.0), |(count, total), mean| (count + 1, total + mean));
            let mean = if count < 2 { f32::NAN } else { (total / f64::from(count)) as f32 };
            sink.put(mean, || {
                let target = target();
                let formula = format!("mean over those of the last 7 days that have a value (at least 2) of the mean of {target} on that day");
                feature(&format!("next_{hours}h_daily_mean"), "ratio", "7d", formula)
            });
        }
    }

    /// Where the level is going, and how restless it is.
    fn emit_trends(
        &self,
        rules: &WindowRules,
        feature: &impl Fn(&str, &'static str, &str, String) -> Feature,
        sink: &mut impl Sink,
    ) {
        for (line, place) in self.lines.iter().zip(TRENDS) {
            let (slots, name) = WINDOWS[place];
            sink.put((line.slope(rules.least_slots(slots), SCALE) * HOUR as f64) as f32, || {
                feature(
                    &format!("slope_{name}"),
                    "ratio/h",
                    name,
                    "slope of the least-squares line through the 5-minute means".into(),
                )
            });
        }
        sink.put(self.hour(0) - self.hour(HOUR), || {
            feature("change_1h", "ratio", "2h", "mean of the last hour less mean of the hour before".into())
        });
        sink.put(self.hour(HOUR) - self.hour(2 * HOUR), || {
            feature(
                "change_1h_before",
                "ratio",
                "3h",
                "mean of the hour before the last less mean of the one before that".into(),
            )
        });
        for (sum, (slots, name)) in self.step_sums.iter().zip([(HOUR, "1h"), (DAY, "24h")]) {
            sink.put(sum.mean(rules.least_slots(slots), SCALE) as f32, || {
                feature(
                    &format!("restlessness_{name}"),
                    "ratio",
                    name,
                    "mean absolute change from one 5-minute mean to the next".into(),
                )
            });
        }
        let deviation = self.deviation(LAST_DAY, rules).max(LEAST_DEVIATION);
        // `max` would swallow the NaN of a window without values, the mean carries it.
        let score = (f64::from(self.now()) - self.mean(LAST_DAY, rules)) / deviation;
        sink.put(score as f32, || {
            feature(
                "zscore_24h",
                "deviations",
                "24h",
                "(5-minute mean - mean_24h) / std_24h, the divisor at least 0.005".into(),
            )
        });
        let spikes =
            if self.sums[LAST_DAY].count < rules.least_slots(DAY) { f32::NAN } else { self.spike_count as f32 };
        sink.put(spikes, || {
            feature(
                "spikes_24h",
                "slots",
                "24h",
                format!("5-minute means that exceeded the mean of the hour before them by more than {SPIKE}"),
            )
        });
        sink.put(self.rises.mean(rules.least_slots(6 * HOUR), 1.0) as f32, || {
            feature(
                "rising_6h",
                "ratio",
                "6h",
                "share of steps between 5-minute means that went up; a slow increase stays near 1".into(),
            )
        });
    }
}

mod fades {
    //! Exponentially weighted means over a fixed length.

    use super::{DAY, FADES};
    use std::sync::LazyLock;

    /// Partial sums that run side by side. Every length is a multiple of it; the additions of fewer would wait for each
    /// other.
    const LANES: usize = 12;

    /// Weights, oldest first, and their sum, added up as [`weighted`] adds the weights of present values.
    type Weights = (Vec<f32>, f32);

    static WEIGHTS: LazyLock<[Weights; FADES.len()]> = LazyLock::new(|| {
        FADES.map(|(half_life, length, ..)| {
            let weights: Vec<f32> =
                (0..length).rev().map(|age| 0.5_f64.powf(age as f64 / half_life as f64) as f32).collect();
            let mut sums = [0.0; LANES];
            for weights in weights.chunks_exact(LANES) {
                for lane in 0..LANES {
                    sums[lane] += weights[lane];
                }
            }
            (weights, sums.iter().sum())
        })
    });

    pub(super) fn weights(half_life: usize, length: usize) -> &'static Weights {
        let place = FADES.iter().position(|fade| (fade.0, fade.1) == (half_life, length)).unwrap_or(0);
        &WEIGHTS[place]
    }

    /// Sum of weight times value and sum of weights over the present values, always added in the same order.
    ///
    /// `complete`: no value is missing, so none is asked whether it is; the result is the same to the last bit.
    pub(super) fn weighted(values: &[f32], weights: &Weights, complete: bool) -> (f32, f32) {
        let pairs = values.chunks_exact(LANES).zip(weights.0.chunks_exact(LANES));
        let mut totals = [0.0_f32; LANES];
        if complete {
            for (values, weights) in pairs {
                for lane in 0..LANES {
                    totals[lane] += values[lane] * weights[lane];
                }
            }
            return (totals.iter().sum(), weights.1);
        }
        let mut present = [0.0_f32; LANES];
        for (values, weights) in pairs {
            for lane in 0..LANES {
                let missing = values[lane].is_nan();
                totals[lane] += if missing { 0.0 } else { values[lane] * weights[lane] };
                present[lane] += if missing { 0.0 } else { weights[lane] };
            }
        }
        (totals.iter().sum(), present.iter().sum())
    }

    const _: () = {
        let mut place = 0;
        while place < FADES.len() {
            assert!(
                FADES[place].1.is_multiple_of(LANES) && FADES[place].1 <= DAY,
                "lanes divide the length, a day holds it"
            );
            place += 1;
        }
    };

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn asking_for_missing_values_changes_no_bit_where_there_are_none() {
            for (half_life, length, ..) in FADES {
                let values: Vec<f32> = (0..length).map(|at| (at as f32 * 0.7).sin().abs()).collect();
                let weights = weights(half_life, length);
                assert_eq!(weighted(&values, weights, true), weighted(&values, weights, false));
            }
        }

        #[test]
        fn missing_values_have_no_weight() {
            // Weights halve every three slots: the newest is 1, the one three slots before it 0.5.
            let mut values = [f32::NAN; 36];
            (values[35], values[32]) = (0.5, 0.25);
            let (total, weight) = weighted(&values, weights(3, 36), false);
            assert_eq!((total, weight), (0.625, 1.5));
        }
    }
}
