//! Moments.

use chrono::{DateTime, SecondsFormat};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A moment, UTC, to the millisecond. On the wire it is RFC 3339, such as `2026-11-29T00:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From UTC milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// In UTC milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339; a moment beyond the years that chrono counts (±262,000) is the number of its milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Moment;
        impl Visitor<'_> for Moment {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as RFC 3339 has it, such as `2026-11-29T00:00:00Z`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
                let time = DateTime::parse_from_rfc3339(text);
                time.map(|time| Timestamp(time.timestamp_millis()))
                    .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_rfc_3339() {
        // date -u -d @1780315200 → 2026-06-01T12:00:00.
        let noon = Timestamp::from_millis(1_780_315_200_000);
        assert_eq!(serde_json::to_string(&noon).expect("JSON"), "\"2026-06-01T12:00:00Z\"");
        assert_eq!(Timestamp::from_millis(1_780_315_200_250).to_string(), "2026-06-01T12:00:00.250Z");
        for text in ["\"2026-06-01T12:00:00Z\"", "\"2026-06-01T14:00:00+02:00\""] {
            assert_eq!(serde_json::from_str::<Timestamp>(text).expect(text), noon);
        }
        for text in ["\"yesterday\"", "\"2026-06-01\"", "1780315200000", "null"] {
            let error = serde_json::from_str::<Timestamp>(text).expect_err(text);
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), i64::MAX.to_string());
    }
}
