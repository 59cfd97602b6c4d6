//! Rollouts as a server lives through them, by the same sequences: forecasts put aside every quarter of an hour, judged when their
//! hour has passed, looked at each time.

use super::forecasts::HeadForecasts;
use super::ladder::Forecasts;
use cluster::{DAY_MS, HOUR_MS, MINUTE_MS};
use models::evidence::{BlockSequence, LEAST_HOURS, LIMIT_ALPHA, ShareSequence};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Forecasts are put aside this often, as `serving` does.
const EVERY: i64 = 15 * MINUTE_MS;
/// The limit on forecasts by default: half a point.
pub const FORECAST_LIMIT: f64 = 0.005;
/// The limit on errors by default: one pod in a hundred.
pub const ERROR_LIMIT: f64 = 0.01;
/// A rollout is followed for so long.
const WEEK_MS: i64 = 7 * DAY_MS;

/// What became of rollouts of one challenger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutLine {
    /// The challenger.
    pub challenger: String,
    /// What it does beyond the champion, over all days: points of utilization, or a share of pods.
    pub excess: f64,
    /// What is allowed, in the same unit.
    pub limit: f64,
    /// Rollouts of a week.
    pub runs: usize,
    /// Sent back within a day.
    pub within_a_day: usize,
    /// Sent back within the week.
    pub within_a_week: usize,
    /// Rollouts in whose first day the excess really was above the limit: nobody can see more than that.
    pub first_day_above: usize,
    /// Hours until half of those that were sent back were.
    pub median_hours: Option<f64>,
}

impl RolloutLine {
    fn of(challenger: &str, excess: f64, limit: f64, hours: &[Option<f64>], first_day_above: usize) -> Self {
        let mut back: Vec<f64> = hours.iter().flatten().copied().collect();
        back.sort_by(f64::total_cmp);
        Self {
            challenger: challenger.to_owned(),
            excess,
            limit,
            runs: hours.len(),
            within_a_day: back.iter().filter(|hours| **hours <= 24.0).count(),
            within_a_week: back.len(),
            first_day_above,
            median_hours: back.get(back.len() / 2).copied(),
        }
    }
}

/// Rollouts that begin every twelve hours, by the limit on forecasts.
pub fn by_forecasts(heads: &[HeadForecasts], challenger: &Forecasts, champion: &Forecasts, name: &str) -> RolloutLine {
    // By head: what was forecast at a time, as the sum of differences over nodes and their number.
    let put_aside: Vec<BTreeMap<i64, (f64, f64)>> = heads
        .iter()
        .zip(challenger.iter().zip(champion))
        .map(|(head, (challenger, champion))| {
            let mut times: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
            for row in (0..head.ts.len()).filter(|row| head.ts[*row].rem_euclid(EVERY) == 0) {
                let observed = head.observed[row];
                let time = times.entry(head.ts[row]).or_default();
                time.0 += (observed - challenger[row]).abs() - (observed - champion[row]).abs();
                time.1 += 1.0;
            }
            times
        })
        .collect();
    let (sum, count) = put_aside
        .iter()
        .flat_map(BTreeMap::values)
        .fold((0.0, 0.0), |(sum, count), (more, values)| (sum + more, count + values));
    let span = super::span(heads);
    let (mut hours, mut above) = (Vec::new(), 0);
    let starts = (span.from..span.until).step_by((DAY_MS / 2) as usize);
    for start in starts.take_while(|start| start + WEEK_MS <= span.until) {
        let mut sequence = BlockSequence::default();
        let (mut back, mut first_day) = (None, (0.0, 0.0));
        for due in (start..start + WEEK_MS).step_by(EVERY as usize) {
            for (head, times) in heads.iter().zip(&put_aside) {
                let at = due - i64::from(head.key.horizon.hours()) * HOUR_MS;
                let Some((sum, count)) = times.get(&at).filter(|_| at >= start) else { continue };
                sequence.add(due, *sum, *count);
                if due < start + DAY_MS {
                    first_day = (first_day.0 + sum, first_day.1 + count);
                }
            }
            sequence.advance(due);
            if back.is_none() && sequence.interval(LIMIT_ALPHA, LEAST_HOURS).is_above(FORECAST_LIMIT) {
                back = Some((due - start) as f64 / HOUR_MS as f64);
            }
        }
        above += usize::from(first_day.0 / first_day.1 > FORECAST_LIMIT);
        hours.push(back);
    }
    RolloutLine::of(name, 100.0 * sum / count, 100.0 * FORECAST_LIMIT, &hours, above)
}

/// Rollouts by the limit on errors: pods that fail independently of each other. `pods` a day, of which the challenger has
/// `percent`; the champion fails for the share `base` of its own, the challenger for `base + excess`.
pub fn by_errors(pods: u32, percent: f64, base: f64, excess: f64, runs: usize, seed: u64) -> RolloutLine {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut above = 0;
    let mut run = || {
        let (mut champion, mut challenger) = (ShareSequence::default(), ShareSequence::default());
        let mut back = None;
        for pod in 0..7 * pods {
            let is_trial = generator.random::<f64>() < percent / 100.0;
            let fails = generator.random::<f64>() < if is_trial { base + excess } else { base };
            if is_trial {
                challenger.add(fails)
            } else {
                champion.add(fails)
            }
            // A champion's pod makes the challenger look no worse than before, a challenger's that does not fail neither.
            if back.is_none() && is_trial && fails && challenger.less(&champion, LIMIT_ALPHA).is_above(ERROR_LIMIT) {
                back = Some(f64::from(pod + 1) / f64::from(pods) * 24.0);
            }
            if pod + 1 == pods {
                let difference = challenger.share().zip(champion.share()).map(|(one, other)| one - other);
                above += usize::from(difference.is_some_and(|difference| difference > ERROR_LIMIT));
            }
            if back.is_some() && pod + 1 >= pods {
                break;
            }
        }
        back
    };
    let hours: Vec<Option<f64>> = (0..runs).map(|_| run()).collect();
    let name = format!("{pods} pods a day, {percent} % of them the challenger's");
    RolloutLine::of(&name, excess, ERROR_LIMIT, &hours, above)
}

#[cfg(test)]
mod tests {
    use super::super::forecasts::REFERENCE;
    use super::super::ladder::{Flaw, contender, tests::heads, worse_by_points};
    use super::*;

    #[test]
    fn a_challenger_far_beyond_the_limit_goes_on_its_first_day_and_an_equal_one_stays() {
        let heads = heads(9);
        let reference = contender(&heads, REFERENCE).expect("a reference");
        let far = worse_by_points(&heads, Flaw::Noise, 2.0, 1).expect("worse");
        let line = by_forecasts(&heads, &far, &reference, "far");
        // Nine days less a week, every twelve hours: five.
        assert_eq!((line.runs, line.within_a_day, line.first_day_above), (5, 5, 5), "{line:?}");
        assert!((line.excess - 2.0).abs() < 0.05 && line.limit == 0.5, "{line:?}");
        // Twelve hours of blocks, the first of which begins an hour after the rollout.
        assert_eq!(line.median_hours, Some(13.0));
        let equal = by_forecasts(&heads, &reference, &reference, "equal");
        assert_eq!((equal.within_a_week, equal.median_hours), (0, None));
    }

    #[test]
    fn a_challenger_that_fails_for_every_fourth_pod_goes_within_a_day() {
        let line = by_errors(2_000, 10.0, 0.001, 0.25, 20, 3);
        assert_eq!((line.runs, line.within_a_day), (20, 20), "{line:?}");
        assert_eq!(by_errors(2_000, 10.0, 0.001, 0.0, 20, 3).within_a_week, 0);
    }
}
