//! One value of a table.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

/// One value of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    /// Empty, null, or one of the words for it.
    #[default]
    Missing,
    /// A finite number; times of Parquet files as UTC milliseconds.
    Number(f64),
    /// Anything else.
    Text(String),
}

/// What people and programs write where there is no value.
const NO_VALUE: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "nil", "-"];

impl Cell {
    /// From a field of a text file.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Self::Number(number),
            _ => Self::text(text),
        }
    }

    /// A field that stays text, unless it is one of the words for no value.
    pub fn text(text: &str) -> Self {
        let text = text.trim();
        let is_missing = text.len() <= 4 && NO_VALUE.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is_missing { Self::Missing } else { Self::Text(text.to_owned()) }
    }

    /// As a name, such as a node's.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    /// As UTC milliseconds; `None` where it is no time.
    pub fn time(&self) -> Option<i64> {
        match self {
            Self::Missing => None,
            Self::Number(number) => epoch(*number),
            Self::Text(text) => parse_time(text),
        }
    }

    /// As a label: was this row an anomaly? `None` where it says neither.
    pub fn label(&self) -> Option<bool> {
        match self {
            Self::Number(number) if *number == 0.0 => Some(false),
            Self::Number(number) if *number == 1.0 => Some(true),
            Self::Text(text) => match text.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "anomaly" | "anomalous" | "abnormal" => Some(true),
                "0" | "false" | "no" | "normal" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Beyond the year 5138 in seconds, or before 1973 in milliseconds: no history reaches either.
const SECONDS_END: f64 = 1e11;

fn epoch(number: f64) -> Option<i64> {
    let milliseconds = if number.abs() < SECONDS_END { number * 1_000.0 } else { number };
    (milliseconds.abs() < 1e15).then_some(milliseconds as i64)
}

/// A time as people write it: RFC 3339, `2026-11-01 06:00:00` or a day (both in UTC), or seconds or milliseconds since
/// 1970.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    let moment = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
    let plain = || {
        ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
            .map(|time| time.and_utc().timestamp_millis())
    };
    let day = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
    let number = || text.parse().ok().filter(|number: &f64| number.is_finite()).and_then(epoch);
    number().or_else(moment).or_else(plain).or_else(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_told_apart() {
        assert_eq!(Cell::parse(" 0.5 "), Cell::Number(0.5));
        assert_eq!(Cell::parse("1e3"), Cell::Number(1_000.0));
        for missing in ["", "NaN", "null", "NA", " - "] {
            assert_eq!(Cell::parse(missing), Cell::Missing, "{missing}");
        }
        assert_eq!(Cell::parse("inf"), Cell::Text("inf".into()));
        assert_eq!(Cell::text("007").name().as_deref(), Some("007"));
        assert_eq!(
            [Cell::parse("1").label(), Cell::parse("no").label(), Cell::parse("2").label()],
            [Some(true), Some(false), None]
        );
    }

    #[test]
    fn times_in_every_form_are_the_same_moment() {
        // 2026-11-01T06:00:00Z
        for text in [
            "2026-11-01T06:00:00Z",
            "2026-11-01 06:00:00",
            "2026-11-01T07:00:00+01:00",
            "1793512800",
            "1793512800000",
            "2026-11-01 06:00",
        ] {
            assert_eq!(parse_time(text), Some(1_793_512_800_000), "{text}");
        }
        assert_eq!(parse_time("2026-11-01"), Some(1_793_491_200_000));
        assert_eq!(parse_time("yesterday"), None);
    }
}
