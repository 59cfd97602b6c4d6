//! Where an axis has its ticks and what they say.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::Ranged;
use std::ops::Range;

/// What a horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axis {
    /// Milliseconds since the epoch, labelled as dates and times in UTC.
    Time,
    /// A plain number.
    #[default]
    Number,
}

const MINUTE: f64 = 60_000.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
/// Distances of ticks that people count in.
const TIME_STEPS: [f64; 18] = [
    MINUTE,
    2.0 * MINUTE,
    5.0 * MINUTE,
    15.0 * MINUTE,
    30.0 * MINUTE,
    HOUR,
    2.0 * HOUR,
    3.0 * HOUR,
    6.0 * HOUR,
    12.0 * HOUR,
    DAY,
    2.0 * DAY,
    4.0 * DAY,
    7.0 * DAY,
    14.0 * DAY,
    28.0 * DAY,
    91.0 * DAY,
    365.0 * DAY,
];

impl Axis {
    /// At most `most` round places between `low` and `high`.
    pub(super) fn ticks(self, low: f64, high: f64, most: usize) -> Vec<f64> {
        let least = (high - low) / most.max(1) as f64;
        let step = match self {
            Self::Time => TIME_STEPS.into_iter().find(|step| *step >= least).unwrap_or(least),
            Self::Number => {
                let decade = 10_f64.powf(least.log10().floor());
                [1.0, 2.0, 5.0, 10.0]
                    .map(|factor| factor * decade)
                    .into_iter()
                    .find(|step| *step >= least)
                    .unwrap_or(least)
            }
        };
        let first = (low / step).ceil();
        (0..=most).map(|tick| (first + tick as f64) * step).take_while(|tick| *tick <= high).collect()
    }
}

/// An axis from low to high with ticks at chosen places.
pub(super) struct Ticked {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Ticked {
    /// At most `most` ticks at round places.
    pub(super) fn new(axis: Axis, (low, high): (f64, f64), most: usize) -> Self {
        Self { low, high, ticks: axis.ticks(low, high, most) }
    }
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        (f64::from(from) + share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

/// `11-21 14:05` for a chart of hours, `11-21` for one of weeks.
pub(super) fn time_label(ts: f64, width_ms: f64) -> String {
    let (date, minutes) = civil(ts as i64);
    let is_long = width_ms > 4.0 * DAY;
    if is_long { date[5..].to_owned() } else { format!("{} {:02}:{:02}", &date[5..], minutes / 60, minutes % 60) }
}

/// Date and minute of day in UTC. Days to civil date after Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`.
fn civil(ts: i64) -> (String, i64) {
    let days = ts.div_euclid(86_400_000);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (format!("{year:04}-{month:02}-{day:02}"), ts.rem_euclid(86_400_000) / 60_000)
}

/// A number with as many digits as a reader needs.
pub(super) fn number_label(value: f64) -> String {
    let size = value.abs();
    let short = |scaled: f64, suffix: &str| {
        let text = format!("{scaled:.1}");
        format!("{}{suffix}", text.strip_suffix(".0").unwrap_or(&text))
    };
    if size < 1e-12 {
        "0".into()
    } else if size >= 1e9 {
        short(value / 1e9, "G")
    } else if size >= 1e6 {
        short(value / 1e6, "M")
    } else if size >= 1e4 {
        short(value / 1e3, "k")
    } else if size >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if size >= 1.0 {
        format!("{value:.1}")
    } else if size >= 0.1 {
        format!("{value:.2}")
    } else if size >= 1e-3 {
        format!("{value:.4}").trim_end_matches('0').to_owned()
    } else {
        format!("{value:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        // date -u -d @1795219200 says 2026-11-21 00:00.
        assert_eq!(civil(1_795_219_200_000), ("2026-11-21".into(), 0));
        assert_eq!(civil(951_782_400_000).0, "2000-02-29");
    }

    #[test]
    fn ticks_are_round_and_few() {
        let start = 1_795_219_200_000.0;
        let ticks = Axis::Time.ticks(start - 1.0, start + 48.0 * HOUR, 9);
        assert_eq!(ticks.len(), 9);
        assert_eq!((ticks[0], ticks[1] - ticks[0]), (start, 6.0 * HOUR));
        assert_eq!(Axis::Number.ticks(-0.3, 1.1, 8), [-0.2, 0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert!(Axis::Number.ticks(0.0, 1e9, 6).len() <= 7);
    }

    #[test]
    fn labels_have_the_digits_that_matter() {
        let labels = [
            (0.0, "0"),
            (2e9, "2G"),
            (1.5e6, "1.5M"),
            (0.25, "0.25"),
            (0.02, "0.02"),
            (0.0005, "5.0e-4"),
            (-3.0, "-3"),
        ];
        for (value, label) in labels {
            assert_eq!(number_label(value), label);
        }
    }
}
