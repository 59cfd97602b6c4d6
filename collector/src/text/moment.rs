//! Times as people and programs write them.

use chrono::{FixedOffset, NaiveDate, NaiveTime};

/// A time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// UTC milliseconds since 1970.
    pub millis: i64,
    /// Whether the text says where: with an offset, or since it counts from 1970. Otherwise it was taken for UTC.
    pub has_zone: bool,
}

/// Numbers below count seconds since 1970 (until the year 5138); a thousand times as many milliseconds, and so on. No history of ours
/// reaches into two of these ranges: from 1973 on they do not overlap.
const SECONDS_END: f64 = 1e11;

/// A count of seconds, milliseconds, microseconds or nanoseconds since 1970, which of them its size tells, in milliseconds; a part of one is
/// cut off. `None` for what is not finite or too large for all of them.
pub fn epoch_millis(number: f64) -> Option<i64> {
    let size = number.abs();
    let millis = match size {
        _ if size < SECONDS_END => number * 1e3,
        _ if size < SECONDS_END * 1e3 => number,
        _ if size < SECONDS_END * 1e6 => number / 1e3,
        _ if size < SECONDS_END * 1e9 => number / 1e6,
        _ => return None,
    };
    // Nanoseconds of a float are good to some hundred of them.
    Some(millis.floor() as i64)
}

/// Reads a time: `2026-11-01T06:00:00Z` as RFC 3339 has it, the same with a space for the `T` or without seconds, offsets as `+01:00`, `+0100`,
/// `+01` or `UTC`, a day, or a count since 1970 ([`epoch_millis`]). Years come first, with four digits: `01/11/2026` could be two days.
pub fn parse_moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return Some(Moment { millis: epoch_millis(number)?, has_zone: true });
    }
    let (day, rest) = text.split_at_checked(10)?;
    let day = day_of(day)?;
    let (time, offset) = match rest.strip_prefix(['T', 't', ' ']) {
        Some(rest) => {
            let end = rest
                .find(|char: char| !(char.is_ascii_digit() || matches!(char, ':' | '.' | ',')))
                .unwrap_or(rest.len());
            (time_of(&rest[..end])?, rest[end..].trim_start())
        }
        None => (NaiveTime::MIN, rest),
    };
    let moment = day.and_time(time);
    if offset.is_empty() {
        return Some(Moment { millis: moment.and_utc().timestamp_millis(), has_zone: false });
    }
    let zoned = moment.and_local_timezone(offset_of(offset)?).single()?;
    Some(Moment { millis: zoned.timestamp_millis(), has_zone: true })
}

/// Digits only: a sign is no part of a date.
fn digits<T: std::str::FromStr>(text: &str, length: usize) -> Option<T> {
    let fits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

/// `2026-11-01` or `2026/11/01`.
fn day_of(text: &str) -> Option<NaiveDate> {
    let mark = if text.contains('/') { '/' } else { '-' };
    let mut parts = text.split(mark);
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() { None } else { NaiveDate::from_ymd_opt(year, month, day) }
}

/// `06:00`, `06:00:00`, `06:00:00.123456789`; finer parts are cut off.
fn time_of(text: &str) -> Option<NaiveTime> {
    let (clock, fraction) = match text.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next();
    if parts.next().is_some() || (second.is_none() && fraction.is_some()) {
        return None;
    }
    let second = second.map_or(Some(0), |second| digits(second, 2))?;
    let nanos = match fraction {
        None => 0,
        Some(fraction) if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        Some(fraction) => format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?,
    };
    NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)
}

/// `Z`, `UTC`, `GMT`, `+01:00`, `-0330`, `+01`.
fn offset_of(text: &str) -> Option<FixedOffset> {
    if ["z", "utc", "gmt"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
        return FixedOffset::east_opt(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let clock = &text[1..];
    let (hours, minutes) = match clock.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None => clock.split_at_checked(2)?,
    };
    let hours: i32 = digits(hours, 2)?;
    let minutes: i32 = if minutes.is_empty() { 0 } else { digits(minutes, 2)? };
    if minutes > 59 { None } else { FixedOffset::east_opt(sign * (hours * 3_600 + minutes * 60)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-01T06:00:00Z, by `date -u -d 2026-11-01T06:00:00Z +%s`.
    const SIX: i64 = 1_793_512_800_000;

    #[test]
    fn times_in_every_form_are_the_same_moment() {
        for text in [
            "2026-11-01T06:00:00Z",
            "2026-11-01t06:00:00z",
            "2026-11-01 06:00:00Z",
            "2026-11-01 06:00:00+00:00",
            "2026-11-01 06:00:00.000000000 UTC",
            "2026-11-01T07:00:00+01:00",
            "2026-11-01T07:00+0100",
            "2026-11-01 11:30:00 +05:30",
            "2026-11-01T02:30:00-03:30",
            "2026-11-01T07:00:00+01",
            "1793512800",
            "1793512800.0",
            "1793512800000",
            "1793512800000000",
            "1793512800000000000",
        ] {
            assert_eq!(parse_moment(text), Some(Moment { millis: SIX, has_zone: true }), "{text}");
        }
        for text in [" 2026-11-01 06:00:00 ", "2026-11-01 06:00", "2026-11-01T06:00:00.000", "2026/11/01 06:00:00"] {
            assert_eq!(parse_moment(text), Some(Moment { millis: SIX, has_zone: false }), "{text}");
        }
        assert_eq!(parse_moment("2026-11-01").map(|moment| moment.millis), Some(SIX - 6 * 3_600_000));
        assert_eq!(parse_moment("2026-11-01 06:00:00.1239999999").map(|moment| moment.millis), Some(SIX + 123));
        assert_eq!(parse_moment("2026-11-01 06:00:00,5").map(|moment| moment.millis), Some(SIX + 500));
    }

    #[test]
    fn what_could_be_two_moments_or_none_is_not_read() {
        for text in [
            "",
            "yesterday",
            "01/11/2026 06:00",
            "11/01/2026",
            "01.11.2026",
            "2026-13-01",
            "2026-11-31",
            "2026-11-01 24:00:00",
            "2026-11-01 6:00",
            "2026-11-01T06",
            "2026-11-01 06:00:00 CET",
            "2026-11-01 06:00:00+25:00",
            "2026-11-01 06:00:00+1",
            "2026-11-01 06:00:00.",
            "2026-11-01 06:00.5",
            "2026-11-01Z6",
            "+026-11-01",
            "26-11-01 06:00",
            "2026-11-01 06:00:00Zulu",
            "NaN",
            "inf",
            "1e300",
        ] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}|[-0-9:T. +/]{0,40}") {
            let _ = parse_moment(&text);
        }

        #[test]
        fn a_moment_survives_rfc_3339(seconds in 946_684_800_i64..7_258_118_400, millis in 0_i64..1_000) {
            let moment = chrono::DateTime::from_timestamp_millis(seconds * 1_000 + millis).expect("a time");
            prop_assert_eq!(parse_moment(&moment.to_rfc3339()).map(|read| read.millis), Some(seconds * 1_000 + millis));
        }
    }
}
