//! Means of groups that do not change while one looks: workloads of two arms, the time per pod.

use models::evidence::SequenceInterval as Difference;
use serde::{Deserialize, Serialize};

/// Of the normal distribution, 97.5 %: intervals hold 95 %.
const Z: f64 = 1.959_963_985;

/// Sums of some figures, from which mean and variance follow (Welford's way, which does not cancel).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// How many.
    pub count: u64,
    mean: f64,
    squares: f64,
}

impl Mean {
    /// One more.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// The mean; `None` of nothing.
    pub fn mean(self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Variance of the mean.
    fn variance(self) -> f64 {
        self.squares / (self.count as f64 - 1.0) / self.count as f64
    }

    /// `self` less `base`, two groups of their own (Welch's interval).
    pub fn less(self, base: Self) -> Difference {
        if self.count < 2 || base.count < 2 {
            return Difference::default();
        }
        let (own, other) = (self.variance(), base.variance());
        let difference = self.mean - base.mean;
        let degrees = (own + other).powi(2)
            / (own.powi(2) / (self.count as f64 - 1.0) + other.powi(2) / (base.count as f64 - 1.0));
        // No spread at all has no degrees of freedom (0 ÷ 0), which counts as one: the interval is then the difference itself.
        let half = student(degrees.max(1.0)) * (own + other).sqrt();
        Difference::between(difference, difference - half, difference + half)
    }
}

/// The 97.5 % quantile of Student's t: the expansion around the normal quantile (Abramowitz and Stegun, 26.7.5), which is right
/// to two decimals from five degrees of freedom on; below, those of the tables.
fn student(degrees: f64) -> f64 {
    match degrees {
        d if d < 2.0 => 12.706,
        d if d < 3.0 => 4.303,
        d if d < 4.0 => 3.182,
        d if d < 5.0 => 2.776,
        d => {
            let power = |exponent| Z.powi(exponent);
            let first = (power(3) + Z) / 4.0;
            let second = (5.0 * power(5) + 16.0 * power(3) + 3.0 * Z) / 96.0;
            let third = (3.0 * power(7) + 19.0 * power(5) + 17.0 * power(3) - 15.0 * Z) / 384.0;
            Z + first / d + second / (d * d) + third / (d * d * d)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: Option<f64>, wanted: f64, within: f64) {
        assert!(got.is_some_and(|got| (got - wanted).abs() < within), "{got:?}, want {wanted}");
    }

    #[test]
    fn quantiles_of_student_are_those_of_the_tables() {
        // NIST/SEMATECH e-Handbook, table 1.3.6.7.2.
        for (degrees, wanted) in [(1.0, 12.706), (4.0, 2.776), (5.0, 2.571), (10.0, 2.228), (30.0, 2.042), (1e9, 1.960)]
        {
            assert!((student(degrees) - wanted).abs() < 0.006, "{degrees}: {}", student(degrees));
        }
    }

    #[test]
    fn means_have_intervals_once_there_are_two() {
        let of = |values: &[f64]| {
            values.iter().fold(Mean::default(), |mut sum, value| {
                sum.add(*value);
                sum
            })
        };
        let five = of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!((five.mean(), of(&[1.0]).less(five).low), (Some(3.0), None));
        // Welch by hand: both variances of the mean 0.5, eight degrees of freedom, 2.306 × 1 = 2.306.
        let difference = of(&[3.0, 4.0, 5.0, 6.0, 7.0]).less(five);
        close(difference.value, 2.0, 1e-12);
        close(difference.low, 2.0 - 2.306, 2e-3);
        assert_eq!(of(&[1.0, 1.0]).less(of(&[1.0, 1.0])).low, Some(0.0));
    }
}
