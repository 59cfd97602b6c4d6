//! Differences between two arms with their intervals.

use serde::{Deserialize, Serialize};

/// Of the normal distribution, 97.5 %: intervals hold 95 %.
const Z: f64 = 1.959_963_985;

/// A difference, challenger less champion, with its 95 % interval. What cannot be told is absent, never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Difference {
    /// The difference itself.
    pub value: Option<f64>,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Difference {
    fn between(value: f64, low: f64, high: f64) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        Self { value: finite(value), low: finite(low), high: finite(high) }
    }

    /// Whether the whole interval is above `limit`: then it is not chance alone.
    pub fn is_above(&self, limit: f64) -> bool {
        self.low.is_some_and(|low| low > limit)
    }

    /// The same below.
    pub fn is_below(&self, limit: f64) -> bool {
        self.high.is_some_and(|high| high < limit)
    }
}

/// So many of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proportion {
    /// Those that count.
    pub count: u64,
    /// All of them.
    pub of: u64,
}

impl Proportion {
    /// One more.
    pub fn add(&mut self, counts: bool) {
        self.count += u64::from(counts);
        self.of += 1;
    }

    /// The share; `None` of nothing.
    pub fn share(self) -> Option<f64> {
        (self.of > 0).then(|| self.count as f64 / self.of as f64)
    }

    /// Wilson's interval, which holds for few observations and for shares near 0 as well.
    fn wilson(self) -> (f64, f64) {
        let (count, of) = (self.count as f64, self.of as f64);
        let share = count / of;
        let square = Z * Z;
        let middle = share + square / (2.0 * of);
        let half = Z * (share * (1.0 - share) / of + square / (4.0 * of * of)).sqrt();
        ((middle - half) / (1.0 + square / of), (middle + half) / (1.0 + square / of))
    }

    /// `self` less `base`, with Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method 10). Where `base`
    /// saw nothing, as at 100 percent, there is nothing to take off.
    pub fn less(self, base: Self) -> Difference {
        let Some(own) = self.share() else { return Difference::default() };
        let Some(other) = base.share() else {
            let (low, high) = self.wilson();
            return Difference::between(own, low, high);
        };
        let ((low, high), (base_low, base_high)) = (self.wilson(), base.wilson());
        let difference = own - other;
        let down = ((own - low).powi(2) + (base_high - other).powi(2)).sqrt();
        let up = ((high - own).powi(2) + (other - base_low).powi(2)).sqrt();
        Difference::between(difference, difference - down, difference + up)
    }
}

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

    /// The mean with its interval by Student's t.
    pub fn interval(self) -> Difference {
        if self.count < 2 {
            return Difference { value: self.mean(), ..Difference::default() };
        }
        let half = student(self.count as f64 - 1.0) * self.variance().sqrt();
        Difference::between(self.mean, self.mean - half, self.mean + half)
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
    fn intervals_of_proportions_are_the_published_ones() {
        // Newcombe 1998, table II, method 10: 56/70 less 48/80, and 9/10 less 3/10.
        let difference = Proportion { count: 56, of: 70 }.less(Proportion { count: 48, of: 80 });
        close(difference.low, 0.0524, 5e-5);
        close(difference.high, 0.3339, 5e-5);
        let difference = Proportion { count: 9, of: 10 }.less(Proportion { count: 3, of: 10 });
        close(difference.low, 0.1705, 5e-5);
        close(difference.high, 0.8090, 5e-5);
        // Nothing wrong in ten is no proof of anything.
        let none = Proportion { count: 0, of: 10 }.less(Proportion { count: 0, of: 10 });
        assert!(!none.is_above(0.0) && none.high.is_some_and(|high| high > 0.2), "{none:?}");
        assert_eq!(Proportion::default().less(Proportion::default()), Difference::default());
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
        // By hand: mean 3, variance 2.5, 2.776 × √(2.5 ÷ 5) = 1.963.
        let five = of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        close(five.interval().value, 3.0, 1e-12);
        close(five.interval().low, 3.0 - 1.963, 2e-3);
        assert_eq!(of(&[1.0]).interval().low, None);
        // Welch by hand: both variances of the mean 0.5, eight degrees of freedom, 2.306 × 1 = 2.306.
        let difference = of(&[3.0, 4.0, 5.0, 6.0, 7.0]).less(five);
        close(difference.value, 2.0, 1e-12);
        close(difference.low, 2.0 - 2.306, 2e-3);
        assert_eq!(of(&[1.0, 1.0]).less(of(&[1.0, 1.0])).low, Some(0.0));
    }
}
