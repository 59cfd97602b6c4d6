//! How rare a score is, in the terms of the scores that a forest gave when all was well.

use serde::{Deserialize, Serialize};

/// Turns a score into its **surprise**: `−log10` of the share of calibration scores that are at least as high. 0 is usual,
/// 2 is one in a hundred, 3 one in a thousand. Scores of different forests become comparable this way.
///
/// Straight lines between the quantiles at every tenth of a surprise. Above the last one that five scores support, the
/// slope of the last half surprise goes on, for at most [`BEYOND`] more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// Score and surprise, both rising.
    knots: Vec<(f32, f32)>,
}

/// A line through the last knots says little about what lies far above them. Scores of forests hardly get there; the logarithm of
/// a length does, and 2 would take the edge off what is far out.
const BEYOND: f32 = 6.0;
/// Odds of a million to one; beyond, the line goes on for [`BEYOND`] more.
const LAST_DECADE: u8 = 6;
/// Scores that a knot rests on at least.
const SUPPORT: f64 = 5.0;

impl Tail {
    /// From the scores of a calibration; unknown ones (NaN) are left out. Without any score nothing is a surprise.
    pub fn new(scores: &[f32]) -> Self {
        let mut sorted: Vec<f32> = scores.iter().copied().filter(|score| score.is_finite()).collect();
        sorted.sort_by(|left, right| right.total_cmp(left));
        let count = sorted.len() as f64;
        let mut knots: Vec<(f32, f32)> = Vec::new();
        for tenth in 0_u8.. {
            let surprise = f32::from(tenth) / 10.0;
            let above = count * 10_f64.powf(f64::from(-surprise));
            if above < SUPPORT {
                break;
            }
            let score = sorted[(above.ceil() as usize).min(sorted.len()) - 1];
            // Of equal scores the first knot stays: the share that is at least as high is that of all of them.
            if knots.last().is_none_or(|knot| score > knot.0) {
                knots.push((score, surprise));
            }
        }
        Self { knots }
    }

    /// For scores that are natural logarithms of odds: the surprise is the decimal one, 0 where the odds are even or less.
    pub fn of_log_odds() -> Self {
        let decade = std::f32::consts::LN_10;
        Self { knots: (0..=LAST_DECADE).map(|surprise| (surprise as f32 * decade, surprise as f32)).collect() }
    }

    /// The surprise of a score; 0 for an unknown one.
    pub fn surprise(&self, score: f32) -> f32 {
        let above = self.knots.partition_point(|knot| knot.0 <= score);
        let (Some(first), Some(last)) = (self.knots.first(), self.knots.last()) else { return 0.0 };
        if score.is_nan() || above == 0 {
            return 0.0;
        }
        if above < self.knots.len() {
            let (low, high) = (self.knots[above - 1], self.knots[above]);
            return low.1 + (high.1 - low.1) * (score - low.0) / (high.0 - low.0);
        }
        let before = self.knots.iter().rev().find(|knot| knot.1 <= last.1 - 0.5).unwrap_or(first);
        let slope = if last.0 > before.0 { (last.1 - before.1) / (last.0 - before.0) } else { 0.0 };
        last.1 + (slope * (score - last.0)).min(BEYOND)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.knots.iter().all(|knot| knot.0.is_finite() && knot.1.is_finite())
            && self.knots.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprises_agree_with_a_calculation_by_hand() {
        // Scores 1 to 1,000: 100 of them are at least 901, 10 at least 991.
        let scores: Vec<f32> = (1..=1_000).map(|score| score as f32).collect();
        let tail = Tail::new(&scores);
        assert_eq!(tail.surprise(1.0), 0.0);
        assert!((tail.surprise(901.0) - 1.0).abs() < 1e-5, "{}", tail.surprise(901.0));
        assert!((tail.surprise(991.0) - 2.0).abs() < 1e-5, "{}", tail.surprise(991.0));
        // Five scores support 10^−2.3; beyond, it goes on rising and then stops.
        let (here, beyond) = (tail.surprise(996.0), tail.surprise(1_005.0));
        assert!(here > 2.2 && beyond > here && tail.surprise(1e9) <= here + BEYOND + 0.1, "{here} {beyond}");
        assert_eq!((tail.surprise(-1.0), tail.surprise(f32::NAN)), (0.0, 0.0));
    }

    #[test]
    fn what_all_scores_are_is_no_surprise() {
        let constant = Tail::new(&[0.5; 1_000]);
        assert_eq!((constant.surprise(0.5), constant.surprise(0.4)), (0.0, 0.0));
        // One in ten is higher: the nine are usual, the tenth is as rare as that.
        let two: Vec<f32> = (0..1_000).map(|at| if at % 10 == 0 { 0.9 } else { 0.5 }).collect();
        let tail = Tail::new(&two);
        assert_eq!(tail.surprise(0.5), 0.0);
        assert!((tail.surprise(0.9) - 1.0).abs() < 0.11, "{}", tail.surprise(0.9));
    }

    #[test]
    fn odds_are_counted_in_decades() {
        let tail = Tail::of_log_odds();
        let surprise = |odds: f64| f64::from(tail.surprise(odds.ln() as f32));
        for (odds, wanted) in [(0.1, 0.0), (1.0, 0.0), (10.0, 1.0), (1e3, 3.0), (1e7, 7.0)] {
            assert!((surprise(odds) - wanted).abs() < 1e-4, "{odds}: {}", surprise(odds));
        }
        assert!(tail.is_sound());
    }

    #[test]
    fn equal_scores_and_no_scores_do_no_harm() {
        let flat = Tail::new(&[0.5; 100]);
        assert_eq!(flat.surprise(0.4), 0.0);
        assert!(flat.surprise(0.6).is_finite() && flat.is_sound());
        assert_eq!(Tail::new(&[f32::NAN]).surprise(1.0), 0.0);
    }
}
