//! The mean of a series whose values depend on those before, with an interval that says so.
//!
//! Method: the long-run variance by the Bartlett kernel (Newey and West, 1987) with a bandwidth that is a fixed share `b` of the
//! series, and the critical values that belong to it (Kiefer and Vogelsang, "A new asymptotic theory for
//! heteroskedasticity-autocorrelation robust tests", Econometric Theory 21, 2005). With the normal distribution's values the
//! interval would be too narrow, since the variance is estimated from few independent pieces; these values know that.

/// Bandwidth as a share of the series. A larger one keeps the promise under stronger dependence and costs width; 0.2 is where
/// errors of forecasts one to four hours ahead, over a day and more, lose little of either.
pub const BANDWIDTH: f64 = 0.2;

/// Share of cases beyond one end of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// 10 %.
    Ten,
    /// 5 %: one-sided tests, and both ends of a 90 % interval.
    Five,
    /// 2.5 %: both ends of a 95 % interval.
    TwoAndAHalf,
    /// 1 %.
    One,
}

/// How far out, in standard errors by the fixed-b variance, the end of an interval lies: the polynomial in `b` (0 to 1) that
/// Kiefer and Vogelsang give for the Bartlett kernel in their table 1. At `b` = 0 it is the normal quantile.
pub fn critical_value(tail: Tail, b: f64) -> f64 {
    let [constant, first, second, third] = match tail {
        Tail::Ten => [1.2816, 1.3040, 0.5135, -0.3386],
        Tail::Five => [1.6449, 2.1859, 0.3142, -0.3427],
        Tail::TwoAndAHalf => [1.9600, 2.9694, 0.4160, -0.5324],
        Tail::One => [2.3263, 4.1618, 0.5368, -0.9060],
    };
    constant + b * (first + b * (second + b * third))
}

/// The mean of a series with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DependentMean {
    /// The mean of the known values.
    pub mean: f64,
    /// Its standard error by the long-run variance, 0 for a series that does not vary.
    pub standard_error: f64,
    /// How many values are known.
    pub count: usize,
}

impl DependentMean {
    /// `series`: one value per step of equal length, oldest first, NaN where it is missing. Missing values count as the mean
    /// where lags are formed (amplitude modulation, Parzen 1963), so that a gap does not move what comes after it closer.
    /// `None` for fewer than two known values.
    pub fn of(series: &[f64]) -> Option<Self> {
        let known = || series.iter().filter(|value| !value.is_nan());
        let count = known().count();
        if count < 2 {
            return None;
        }
        let mean = known().sum::<f64>() / count as f64;
        let centred: Vec<f64> = series.iter().map(|value| if value.is_nan() { 0.0 } else { value - mean }).collect();
        let bandwidth = (BANDWIDTH * series.len() as f64).max(1.0);
        let covariance = |lag: usize| -> f64 {
            centred.iter().zip(&centred[lag..]).map(|(one, later)| one * later).sum::<f64>() / count as f64
        };
        let lags = (1..series.len()).take_while(|lag| (*lag as f64) < bandwidth);
        let later: f64 = lags.map(|lag| (1.0 - lag as f64 / bandwidth) * covariance(lag)).sum();
        // The Bartlett kernel never gives a negative variance; rounding may.
        let variance = (covariance(0) + 2.0 * later).max(0.0);
        Some(Self { mean, standard_error: (variance / count as f64).sqrt(), count })
    }

    /// The value that the true mean lies above, but for the share `tail` of cases.
    pub fn low(&self, tail: Tail) -> f64 {
        self.mean - critical_value(tail, BANDWIDTH) * self.standard_error
    }

    /// The value that the true mean lies below, but for the share `tail` of cases.
    pub fn high(&self, tail: Tail) -> f64 {
        self.mean + critical_value(tail, BANDWIDTH) * self.standard_error
    }

    /// How many times as long a series has to be for [`DependentMean::high`] to fall to `limit`, if the mean stays: the width
    /// shrinks with the root of the length. 1 where it is there already, `None` where the mean is not below the limit.
    pub fn growth_until_below(&self, limit: f64, tail: Tail) -> Option<f64> {
        let room = limit - self.mean;
        if room <= 0.0 {
            return None;
        }
        Some((critical_value(tail, BANDWIDTH) * self.standard_error / room).powi(2).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const TAILS: [Tail; 4] = [Tail::Ten, Tail::Five, Tail::TwoAndAHalf, Tail::One];

    #[test]
    fn critical_values_are_the_published_ones() {
        // Without a bandwidth: the normal distribution's quantiles.
        for (tail, normal) in TAILS.into_iter().zip([1.281_552, 1.644_854, 1.959_964, 2.326_348]) {
            assert!((critical_value(tail, 0.0) - normal).abs() < 1e-4);
        }
        // With all of the series as the bandwidth the statistic is that of Kiefer, Vogelsang and Bunzel (Econometrica 68, 2000) over
        // the root of 2 (Kiefer and Vogelsang, Econometric Theory 18, 2002); theirs, table II: 3.890, 5.323, 6.747, 8.544. The
        // polynomial is a fit, good to about one percent.
        for (tail, published) in TAILS.into_iter().zip([3.890, 5.323, 6.747, 8.544]) {
            let wanted = published / 2.0_f64.sqrt();
            let got = critical_value(tail, 1.0);
            assert!((got / wanted - 1.0).abs() < 0.015, "{tail:?}: {got}, want {wanted}");
        }
    }

    #[test]
    fn mean_and_standard_error_by_hand() {
        // Ten values, so the bandwidth is 2: the first lag counts one half. Deviations are -1 and +1 in pairs.
        let series = [1.0, 1.0, 3.0, 3.0, 1.0, 1.0, 3.0, 3.0, 1.0, 3.0];
        let of = DependentMean::of(&series).expect("ten values");
        // Variance: 1. Products at lag 1: +1 -1 +1 -1 +1 -1 +1 -1 -1 = -1, over ten, twice a half: -0.1.
        assert_eq!((of.mean, of.count), (2.0, 10));
        assert!((of.standard_error - (0.9_f64 / 10.0).sqrt()).abs() < 1e-12, "{of:?}");
        // 1.9600 + 0.2 x 2.9694 + 0.04 x 0.4160 - 0.008 x 0.5324 = 2.566261.
        assert!((of.high(Tail::TwoAndAHalf) - (2.0 + 2.566_260_8 * 0.3)).abs() < 1e-6);
        assert!((of.low(Tail::TwoAndAHalf) - (2.0 - 2.566_260_8 * 0.3)).abs() < 1e-6);
        assert_eq!(DependentMean::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn a_gap_does_not_move_its_ends_together() {
        // The bandwidth of ten steps is 2, so only neighbours count; across the gap there are none.
        let with_gap = [1.0, 3.0, f64::NAN, 1.0, 3.0, f64::NAN, 1.0, 3.0, 1.0, 3.0];
        let of = DependentMean::of(&with_gap).expect("eight values");
        // Variance 1; products of neighbours: -1 -1 -1 -1 -1 = -5 over eight.
        assert!((of.standard_error - ((1.0 - 5.0 / 8.0) / 8.0_f64).sqrt()).abs() < 1e-12, "{of:?}");
    }

    #[test]
    fn a_series_that_does_not_vary_has_an_interval_of_no_width() {
        let of = DependentMean::of(&[0.25; 50]).expect("fifty values");
        assert_eq!((of.mean, of.standard_error, of.low(Tail::One)), (0.25, 0.0, 0.25));
    }

    #[test]
    fn the_length_that_is_still_missing_by_hand() {
        let of = DependentMean { mean: 1.0, standard_error: 1.0, count: 100 };
        let reach = critical_value(Tail::Five, BANDWIDTH);
        // Twice as narrow an interval wants four times the length.
        assert!((of.growth_until_below(1.0 + reach / 2.0, Tail::Five).expect("room") - 4.0).abs() < 1e-9);
        assert_eq!(of.growth_until_below(1.0 + 2.0 * reach, Tail::Five), Some(1.0));
        assert_eq!(of.growth_until_below(1.0, Tail::Five), None);
    }

    /// A series of mean 0 in which each value keeps `memory` of the one before.
    fn dependent(generator: &mut ChaCha8Rng, memory: f64, length: usize) -> Vec<f64> {
        let mut normal = || {
            let (one, two): (f64, f64) = (generator.random::<f64>().max(1e-12), generator.random());
            (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos()
        };
        let mut value = normal() / (1.0 - memory * memory).sqrt();
        let mut next = || {
            value = memory * value + normal();
            value
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn intervals_cover_what_they_promise_under_known_dependence() {
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        // A day of five-minute values whose memory halves in 0, 10, 30 and 60 minutes, and a week of the last. Nominal are 95 %; the
        // longer the memory, the fewer independent pieces a day has. 0.85 for a day and 0.93 for a week are what the gate needs.
        for (memory, length, least) in
            [(0.0, 288, 0.93), (0.5_f64.sqrt(), 288, 0.92), (0.89, 288, 0.88), (0.944, 288, 0.85), (0.944, 2_016, 0.93)]
        {
            let (mut covered, mut plain, runs) = (0, 0, if length > 1_000 { 300 } else { 1_500 });
            for _ in 0..runs {
                let series = dependent(&mut generator, memory, length);
                let of = DependentMean::of(&series).expect("values");
                covered += u32::from(of.low(Tail::TwoAndAHalf) <= 0.0 && 0.0 <= of.high(Tail::TwoAndAHalf));
                let variance = series.iter().map(|value| (value - of.mean).powi(2)).sum::<f64>() / length as f64;
                plain += u32::from(of.mean.abs() <= 1.96 * (variance / length as f64).sqrt());
            }
            let share = |count: u32| f64::from(count) / f64::from(runs);
            assert!(share(covered) >= least, "memory {memory}, {length} values: {}", share(covered));
            if memory > 0.8 {
                assert!(share(plain) < 0.6, "rows that count as independent cover {}", share(plain));
            }
        }
    }
}
