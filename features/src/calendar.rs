//! Local time and holidays. Both are known ahead, so they see no sample at all.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike, Weekday};
use chrono_tz::Tz;
use runtime::WrongUse;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::str::FromStr;

/// A country whose nationwide public holidays are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Country {
    /// Germany.
    De,
    /// France.
    Fr,
    /// United Kingdom (England and Wales).
    Gb,
    /// United States (federal).
    Us,
}

impl FromStr for Country {
    type Err = WrongUse;
    fn from_str(code: &str) -> Result<Self, WrongUse> {
        match code.to_ascii_lowercase().as_str() {
            "de" => Ok(Self::De),
            "fr" => Ok(Self::Fr),
            "gb" => Ok(Self::Gb),
            "us" => Ok(Self::Us),
            _ => Err(WrongUse(format!(
                "no holidays are known for country `{code}`. Known are de, fr, gb and us; list other days under `holidays`"
            ))),
        }
    }
}

/// When a holiday falls.
enum Rule {
    /// Month and day.
    Fixed(u32, u32),
    /// Days after Easter Sunday.
    Easter(i64),
    /// The n-th weekday of a month; 0 = the last one.
    Nth(u32, Weekday, u8),
}

impl Country {
    fn rules(self) -> &'static [Rule] {
        use Rule::{Easter, Fixed, Nth};
        use Weekday::{Mon, Thu};
        match self {
            Self::De => &[
                Fixed(1, 1),
                Easter(-2),
                Easter(1),
                Fixed(5, 1),
                Easter(39),
                Easter(50),
                Fixed(10, 3),
                Fixed(12, 25),
                Fixed(12, 26),
            ],
            Self::Fr => &[
                Fixed(1, 1),
                Easter(1),
                Fixed(5, 1),
                Fixed(5, 8),
                Easter(39),
                Easter(50),
                Fixed(7, 14),
                Fixed(8, 15),
                Fixed(11, 1),
                Fixed(11, 11),
                Fixed(12, 25),
            ],
            Self::Gb => &[
                Fixed(1, 1),
                Easter(-2),
                Easter(1),
                Nth(5, Mon, 1),
                Nth(5, Mon, 0),
                Nth(8, Mon, 0),
                Fixed(12, 25),
                Fixed(12, 26),
            ],
            Self::Us => &[
                Fixed(1, 1),
                Nth(1, Mon, 3),
                Nth(2, Mon, 3),
                Nth(5, Mon, 0),
                Fixed(6, 19),
                Fixed(7, 4),
                Nth(9, Mon, 1),
                Nth(10, Mon, 2),
                Fixed(11, 11),
                Nth(11, Thu, 4),
                Fixed(12, 25),
            ],
        }
    }
}

impl Rule {
    fn falls_on(&self, date: NaiveDate) -> bool {
        match *self {
            Self::Fixed(month, day) => (date.month(), date.day()) == (month, day),
            Self::Easter(after) => easter(date.year()).is_some_and(|easter| (date - easter).num_days() == after),
            Self::Nth(month, weekday, 0) => {
                date.month() == month
                    && date.weekday() == weekday
                    && date.checked_add_days(Days::new(7)).is_none_or(|next| next.month() != month)
            }
            Self::Nth(month, weekday, nth) => {
                date.month() == month && date.weekday() == weekday && date.day().div_ceil(7) == u32::from(nth)
            }
        }
    }
}

/// Easter Sunday of the Gregorian calendar (Anonymous Gregorian algorithm, as in Meeus, "Astronomical Algorithms").
fn easter(year: i32) -> Option<NaiveDate> {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let h = (19 * a + b - b / 4 - (b - (b + 8) / 25 + 1) / 3 + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let sum = h + l - 7 * m + 114;
    NaiveDate::from_ymd_opt(year, (sum / 31) as u32, (sum % 31 + 1) as u32)
}

/// Local time and the days on which people do not work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Of the setting that knows no daylight saving.
    utc_offset_minutes: i32,
    holidays: Vec<NaiveDate>,
    countries: Vec<Country>,
    /// Written only where it is set, so that rules without it read as they always did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timezone: Option<TimeZoneName>,
}

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZoneName(Tz);

impl FromStr for TimeZoneName {
    type Err = WrongUse;
    fn from_str(name: &str) -> Result<Self, WrongUse> {
        name.parse().map(Self).map_err(|_| {
            WrongUse(format!(
                "`{name}` is not a valid time zone: want a name of the IANA database such as `Europe/Berlin`"
            ))
        })
    }
}

impl Serialize for TimeZoneName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for TimeZoneName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What the calendar says about one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    pub minute_of_day: f32,
    pub hour: f32,
    /// 0 = Monday.
    pub day_of_week: f32,
    pub weekend: f32,
    pub holiday: f32,
    pub holiday_tomorrow: f32,
    pub day_sin: f32,
    pub day_cos: f32,
    pub week_sin: f32,
    pub week_cos: f32,
}

const MINUTES_OF_DAY: f64 = 24.0 * 60.0;

impl Calendar {
    /// Local time is UTC plus `utc_offset_minutes`.
    pub fn new(utc_offset_minutes: i32, mut holidays: Vec<NaiveDate>, countries: Vec<Country>) -> Self {
        holidays.sort_unstable();
        Self { utc_offset_minutes, holidays, countries, timezone: None }
    }

    /// Local time as this zone has it, daylight saving included.
    pub fn in_zone(self, timezone: TimeZoneName) -> Self {
        Self { utc_offset_minutes: 0, timezone: Some(timezone), ..self }
    }

    /// Whether people do not work on this day, weekends aside.
    pub fn is_holiday(&self, date: NaiveDate) -> bool {
        self.holidays.binary_search(&date).is_ok()
            || self.countries.iter().any(|country| country.rules().iter().any(|rule| rule.falls_on(date)))
    }

    /// The clock on the wall at a time in UTC milliseconds.
    fn local(&self, t: i64) -> NaiveDateTime {
        let utc = |t: i64| DateTime::from_timestamp_millis(t).unwrap_or_default();
        match self.timezone {
            Some(TimeZoneName(zone)) => utc(t).with_timezone(&zone).naive_local(),
            None => utc(t.saturating_add(i64::from(self.utc_offset_minutes) * cluster::MINUTE_MS)).naive_utc(),
        }
    }

    /// The local moment of a time in UTC milliseconds.
    pub(crate) fn at(&self, t: i64) -> Moment {
        let time = self.local(t);
        let date = time.date();
        let weekday = time.weekday().num_days_from_monday();
        let minute = f64::from(time.hour() * 60 + time.minute());
        let day_angle = std::f64::consts::TAU * minute / MINUTES_OF_DAY;
        let week_angle =
            std::f64::consts::TAU * (f64::from(weekday) * MINUTES_OF_DAY + minute) / (7.0 * MINUTES_OF_DAY);
        let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
        Moment {
            minute_of_day: minute as f32,
            hour: time.hour() as f32,
            day_of_week: weekday as f32,
            weekend: flag(weekday >= 5),
            holiday: flag(self.is_holiday(date)),
            holiday_tomorrow: flag(date.succ_opt().is_some_and(|next| self.is_holiday(next))),
            day_sin: day_angle.sin() as f32,
            day_cos: day_angle.cos() as f32,
            week_sin: week_angle.sin() as f32,
            week_cos: week_angle.cos() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).expect("a date")
    }

    #[test]
    fn easter_falls_on_the_published_days() {
        // Table of Easter dates, U.S. Naval Observatory.
        for (year, month, date) in [(2024, 3, 31), (2025, 4, 20), (2026, 4, 5), (2027, 3, 28), (2038, 4, 25)] {
            assert_eq!(easter(year), Some(day(year, month, date)));
        }
    }

    #[test]
    fn holidays_follow_rules_and_lists() {
        let us = Calendar::new(0, vec![], vec![Country::Us]);
        assert!(us.is_holiday(day(2026, 11, 26)), "Thanksgiving 2026");
        assert!(us.is_holiday(day(2026, 5, 25)), "Memorial Day 2026");
        assert!(!us.is_holiday(day(2026, 11, 19)));
        let listed = Calendar::new(0, vec![day(2026, 12, 24)], vec![Country::De]);
        assert!(listed.is_holiday(day(2026, 12, 24)) && listed.is_holiday(day(2026, 4, 3)), "listed day, Good Friday");
        assert!(!listed.is_holiday(day(2026, 7, 4)));
    }

    #[test]
    fn local_time_moves_the_day() {
        // 2026-11-20 is a Friday; 20:30 UTC is Saturday 04:30 at UTC+8.
        let t = 1_795_206_600_000;
        let utc = Calendar::default().at(t);
        assert_eq!((utc.hour, utc.minute_of_day, utc.day_of_week, utc.weekend), (20.0, 1230.0, 4.0, 0.0));
        let east = Calendar::new(8 * 60, vec![], vec![]).at(t);
        assert_eq!((east.hour, east.minute_of_day, east.day_of_week, east.weekend), (4.0, 270.0, 5.0, 1.0));
    }

    #[test]
    fn a_time_zone_knows_its_daylight_saving() {
        // Clocks in Berlin went from 02:00 to 03:00 on 2026-03-29 and back from 03:00 to 02:00 on 2026-10-25, both at
        // 01:00 UTC (Directive 2000/84/EC).
        let berlin = Calendar::default().in_zone("Europe/Berlin".parse().expect("a zone"));
        let hour = |text: &str| berlin.at(DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis()).hour;
        assert_eq!((hour("2026-03-29T00:59:00Z"), hour("2026-03-29T01:00:00Z")), (1.0, 3.0));
        assert_eq!((hour("2026-10-25T00:59:00Z"), hour("2026-10-25T01:00:00Z")), (2.0, 2.0));
        assert_eq!((hour("2026-01-15T12:00:00Z"), hour("2026-07-15T12:00:00Z")), (13.0, 14.0));
        // 22:30 UTC in summer is half past midnight of the next day, a Saturday.
        let night = berlin.at(DateTime::parse_from_rfc3339("2026-07-17T22:30:00Z").expect("a time").timestamp_millis());
        assert_eq!((night.minute_of_day, night.day_of_week, night.weekend), (30.0, 5.0, 1.0));
    }

    #[test]
    fn rules_without_a_zone_are_written_as_before_and_a_zone_comes_back() {
        let plain = Calendar::new(60, vec![], vec![Country::De]);
        let text = serde_json::to_string(&plain).expect("JSON");
        assert_eq!(text, r#"{"utc_offset_minutes":60,"holidays":[],"countries":["de"]}"#);
        let zoned = plain.in_zone("America/New_York".parse().expect("a zone"));
        let text = serde_json::to_string(&zoned).expect("JSON");
        assert_eq!(serde_json::from_str::<Calendar>(&text).expect("calendar"), zoned);
        let error = "Europe/Bonn".parse::<TimeZoneName>().expect_err("no zone").to_string();
        assert!(error.contains("`Europe/Bonn`") && error.contains("Europe/Berlin"), "{error}");
    }
}
