//! Means over seeds with their intervals. The unit is a run; policies are paired by seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// A mean and its 95 % interval. With one run there is no interval: both ends are NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the whole interval is below zero.
    pub fn is_below_zero(&self) -> bool {
        self.high < 0.0
    }

    /// Whether the whole interval is above zero.
    pub fn is_above_zero(&self) -> bool {
        self.low > 0.0
    }
}

/// 97.5 % quantiles of Student's t by degrees of freedom from 1 (NIST/SEMATECH e-Handbook, table 1.3.6.7.2).
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// Of the normal distribution, for more.
const NORMAL_975: f64 = 1.960;

/// The mean of some runs with its interval by Student's t: right for few runs, where a bootstrap is too narrow.
pub fn t_interval(values: &[f64]) -> Interval {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return Interval { mean, low: f64::NAN, high: f64::NAN };
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let t = T_975.get(values.len() - 2).copied().unwrap_or(NORMAL_975);
    let half = t * (variance / count).sqrt();
    Interval { mean, low: mean - half, high: mean + half }
}

/// The mean of ours − base over the seeds.
pub fn paired_difference(ours: &[f64], base: &[f64]) -> Interval {
    let differences: Vec<f64> = ours.iter().zip(base).map(|(ours, base)| ours - base).collect();
    t_interval(&differences)
}

/// The typical ratio of ours to base over the seeds, less 1: the geometric mean with its interval by Student's t on
/// logarithms. Clusters differ far more in cost than policies do on one cluster, and the dearest would decide a difference
/// of means. One unit of cost is added to both sides, so that a cluster without any cost counts and cannot decide alone.
pub fn paired_ratio(ours: &[f64], base: &[f64]) -> Interval {
    let logs: Vec<f64> = ours.iter().zip(base).map(|(ours, base)| ((ours + 1.0) / (base + 1.0)).ln()).collect();
    let Interval { mean, low, high } = t_interval(&logs);
    Interval { mean: mean.exp_m1(), low: low.exp_m1(), high: high.exp_m1() }
}

/// Resamples of the seeds behind an interval of a ratio.
const RESAMPLES: usize = 2_000;

/// The share of a gap that is closed: (base − ours) ÷ (base − least), of means over the seeds; its interval by the percentile
/// bootstrap over seeds, since it is a ratio. NaN where the least is not below the base.
pub fn gap_closed(ours: &[f64], base: &[f64], least: &[f64]) -> Interval {
    let count = ours.len().min(base.len()).min(least.len());
    let share = |places: &[usize]| {
        let sum = |values: &[f64]| places.iter().map(|place| values[*place]).sum::<f64>();
        let gap = sum(base) - sum(least);
        if gap > 0.0 { (sum(base) - sum(ours)) / gap } else { f64::NAN }
    };
    let mean = share(&(0..count).collect::<Vec<_>>());
    if count < 2 || mean.is_nan() {
        return Interval { mean, low: f64::NAN, high: f64::NAN };
    }
    // The same runs always give the same interval.
    let mut chance = ChaCha8Rng::seed_from_u64(0);
    let mut shares: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..count).map(|_| chance.random_range(0..count)).collect::<Vec<_>>())
        .map(|places| share(&places))
        .filter(|share| share.is_finite())
        .collect();
    shares.sort_by(f64::total_cmp);
    let at = |part: f64| shares.get((shares.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    Interval { mean, low: at(0.025), high: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_by_hand() {
        // Mean 3, variance 2.5, t(4) = 2.776: half width 2.776 × sqrt(0.5) = 1.963.
        let interval = t_interval(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(interval.mean, 3.0);
        assert!((interval.high - 4.963).abs() < 1e-3 && (interval.low - 1.037).abs() < 1e-3, "{interval:?}");
        assert!(t_interval(&[2.0]).low.is_nan());
    }

    #[test]
    fn pairs_take_the_seeds_spread_away() {
        let (base, ours) = ([10.0, 100.0, 1_000.0], [9.0, 99.0, 999.0]);
        let difference = paired_difference(&ours, &base);
        assert_eq!((difference.mean, difference.low, difference.high), (-1.0, -1.0, -1.0));
        assert!(difference.is_below_zero() && !difference.is_above_zero());
    }

    #[test]
    fn a_ratio_does_not_depend_on_how_dear_a_cluster_is() {
        let (base, ours) = ([9.0, 99.0, 999.0], [4.0, 49.0, 499.0]);
        let ratio = paired_ratio(&ours, &base);
        assert!((ratio.mean + 0.5).abs() < 1e-12 && (ratio.high + 0.5).abs() < 1e-12, "{ratio:?}");
        assert_eq!(paired_ratio(&[0.0, 0.0], &[0.0, 0.0]).mean, 0.0, "nothing to save");
        // Halved twice and doubled once: not significant either way.
        let ratio = paired_ratio(&[4.0, 49.0, 1_999.0], &base);
        assert!(!ratio.is_below_zero() && !ratio.is_above_zero(), "{ratio:?}");
    }

    #[test]
    fn the_share_of_the_gap_by_hand() {
        // Bases 10 and 20, least 4 and 10: a gap of 16 in sum. Ours save 2 and 6: half of it.
        let share = gap_closed(&[8.0, 14.0], &[10.0, 20.0], &[4.0, 10.0]);
        assert_eq!(share.mean, 0.5);
        assert!(share.low <= 0.5 && share.high >= 0.5, "{share:?}");
        assert!(gap_closed(&[1.0], &[1.0], &[2.0]).mean.is_nan(), "nothing can be saved");
    }
}
