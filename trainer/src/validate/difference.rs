//! Is one model worse than another, or is the difference chance? All nodes share the hour: a deployment, a holiday, a batch
//! job hit many of them at once, so rows of one time are one observation. What is compared is one series per head, the mean
//! over nodes of the difference of absolute errors at each time, and its mean gets an interval that knows about dependence.

use crate::evaluate::POINTS;
use cluster::{GRID_STEP_MS, HOUR_MS};
use models::evidence::{DependentMean, Tail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mean difference of absolute errors with its interval, in points: below 0 the first model is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean over all times, each time being the mean over its nodes.
    pub mean_points: f64,
    /// Lower end of the 95 % interval (fixed-b, see [`DependentMean`]).
    pub low_points: f64,
    /// Upper end of the 95 % interval.
    pub high_points: f64,
    /// Hours that were compared. Less than a day says little, whatever the interval.
    pub hours: f64,
}

/// One value per time of the grid, oldest first: the mean over nodes of the difference of absolute errors, in points. NaN at
/// times without a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DifferenceSeries {
    /// Time of the first value, UTC milliseconds.
    pub from: i64,
    /// The values.
    pub points: Vec<f64>,
}

/// Absolute errors of two forecasts of the same rows.
#[derive(Debug, Clone, Copy)]
pub struct Paired<'a> {
    /// When each row was forecast, UTC milliseconds on the grid.
    pub ts: &'a [i64],
    /// What came, as ratios.
    pub observed: &'a [f64],
    /// One forecast.
    pub first: &'a [f64],
    /// The other.
    pub second: &'a [f64],
}

impl DifferenceSeries {
    /// `first` less `second`; empty where there is no row.
    pub fn of(paired: &Paired<'_>) -> Self {
        let mut times: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for row in 0..paired.observed.len() {
            let observed = paired.observed[row];
            let difference = (observed - paired.first[row]).abs() - (observed - paired.second[row]).abs();
            let time = times.entry(paired.ts[row]).or_default();
            time.0 += difference * POINTS;
            time.1 += 1.0;
        }
        let Some(((from, _), (until, _))) = times.first_key_value().zip(times.last_key_value()) else {
            return Self::default();
        };
        let slot = |ts: i64| ((ts - from) / GRID_STEP_MS) as usize;
        let mut points = vec![f64::NAN; slot(*until) + 1];
        for (ts, (sum, nodes)) in &times {
            points[slot(*ts)] = sum / nodes;
        }
        Self { from: *from, points }
    }

    /// Hours that have a value.
    pub fn hours(&self) -> f64 {
        let known = self.points.iter().filter(|value| !value.is_nan()).count();
        known as f64 * GRID_STEP_MS as f64 / HOUR_MS as f64
    }

    /// Its mean with the 95 % interval; `None` for fewer than two times.
    pub fn difference(&self) -> Option<Difference> {
        let of = DependentMean::of(&self.points)?;
        Some(Difference {
            mean_points: of.mean,
            low_points: of.low(Tail::TwoAndAHalf),
            high_points: of.high(Tail::TwoAndAHalf),
            hours: self.hours(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::DAY_MS;

    /// A row every five minutes for each of `nodes` nodes, in the order of time.
    fn times(days: i64, nodes: usize) -> Vec<i64> {
        (0..days * DAY_MS / GRID_STEP_MS).flat_map(|slot| vec![slot * GRID_STEP_MS; nodes]).collect()
    }

    #[test]
    fn a_constant_difference_has_an_interval_of_no_width() {
        let ts = times(1, 2);
        let rows = ts.len();
        let (observed, first, second) = (vec![0.5; rows], vec![0.53; rows], vec![0.51; rows]);
        let series = DifferenceSeries::of(&Paired { ts: &ts, observed: &observed, first: &first, second: &second });
        let difference = series.difference().expect("rows");
        assert!((difference.mean_points - 2.0).abs() < 1e-9, "{difference:?}");
        assert!((difference.high_points - difference.low_points).abs() < 1e-6);
        assert_eq!(difference.hours, 24.0);
        assert_eq!(DifferenceSeries::default().difference(), None);
    }

    #[test]
    fn more_nodes_that_err_together_make_the_interval_no_narrower() {
        // Better by 2 points in one half of a day, worse by 2 in the other, on every node at once.
        let of = |nodes: usize| {
            let ts = times(2, nodes);
            let observed = vec![0.5; ts.len()];
            let shift = |ts: &i64, even: f64, odd: f64| if (ts / (12 * HOUR_MS)) % 2 == 0 { even } else { odd };
            let first: Vec<f64> = ts.iter().map(|ts| shift(ts, 0.51, 0.53)).collect();
            let second: Vec<f64> = ts.iter().map(|ts| shift(ts, 0.53, 0.51)).collect();
            let series = DifferenceSeries::of(&Paired { ts: &ts, observed: &observed, first: &first, second: &second });
            series.difference().expect("rows")
        };
        let (one, many) = (of(1), of(50));
        assert!((one.high_points - many.high_points).abs() < 1e-9 && one.high_points > 0.2, "{one:?} {many:?}");
        assert!(one.low_points < -0.2);
    }

    #[test]
    fn a_time_without_rows_is_a_hole_in_the_series() {
        let series = DifferenceSeries::of(&Paired {
            ts: &[0, 0, 2 * GRID_STEP_MS],
            observed: &[0.5, 0.5, 0.5],
            first: &[0.6, 0.5, 0.5],
            second: &[0.5, 0.5, 0.6],
        });
        // Two nodes at the first time: +10 and 0; one at the third: -10.
        assert!((series.points[0] - 5.0).abs() < 1e-9 && series.points[1].is_nan());
        assert!((series.points[2] + 10.0).abs() < 1e-9);
    }
}
