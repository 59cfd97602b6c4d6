//! What the columns of a CSV file mean, as a TOML file says it.

use crate::text::{Dialect, DialectError, Moment, parse_moment};
use anyhow::Context;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use cluster::{HOUR_MS, MINUTE_MS, NodeMetric, is_plausible_moment};
use runtime::WrongUse;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A mapping file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What it reads, in words.
    pub description: String,
    /// What separates the columns [default: `,`].
    #[serde(default = "comma")]
    pub delimiter: char,
    /// What separates the whole of a number from its part [default: `.`].
    #[serde(default = "point")]
    pub decimal: char,
    /// Where a row's node comes from.
    pub node: NodeSource,
    /// Where a row's time comes from.
    pub time: TimeSource,
    /// What every node offers to pods, where the file does not say.
    #[serde(default)]
    pub allocatable: Allocatable,
    /// What single nodes offer, by node name.
    #[serde(default)]
    pub nodes: BTreeMap<String, Allocatable>,
    /// By column of `raw/node_metrics`.
    pub columns: BTreeMap<String, ValueSource>,
}

/// Where a row's node comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NodeSource {
    /// A column of the file.
    Column(String),
    /// All rows are of this node.
    Constant(String),
    /// All rows are of the node that the file is named for: its name up to this text, such as `.`.
    FileNameUntil(String),
}

/// The unit of a time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds, decimals allowed.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Text that says the moment, as RFC 3339 has it or nearly so; see [`parse_moment`].
    #[serde(alias = "rfc3339")]
    Text,
}

/// Where a row's time comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSource {
    /// The column.
    pub column: String,
    /// Its unit.
    pub unit: TimeUnit,
    /// The moment (RFC 3339) that 0 stands for [default: 1970-01-01T00:00:00Z].
    #[serde(default)]
    pub origin: Option<String>,
    /// With unit `text`: how the text is written, such as `%d/%m/%Y %H:%M`, in chrono's words
    /// (<https://docs.rs/chrono/latest/chrono/format/strftime/>); UTC unless it has `%z`.
    #[serde(default)]
    pub format: Option<String>,
}

/// Why a text is no time of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTime {
    /// It cannot be read in the unit or form of the mapping.
    Unreadable,
    /// Before the year 2000 or after 2199; with the unit in which it would lie between, if there is one.
    Implausible(Option<&'static str>),
}

/// What a node offers to pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocatable {
    /// In cores.
    pub cpu_cores: Option<f64>,
    /// In bytes.
    pub memory_bytes: Option<f64>,
}

/// Of what a source value is a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareOf {
    /// Of the node's allocatable CPU.
    AllocatableCpu,
    /// Of the node's allocatable memory.
    AllocatableMemory,
}

/// Where a table column's values come from: `value × scale × (the node's allocatable, where `of` is set)`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueSource {
    /// The file's column.
    pub column: String,
    /// Factor to the table's unit.
    #[serde(default = "one")]
    pub scale: f64,
    /// Set when the scaled value is a share of an allocatable.
    #[serde(default)]
    pub of: Option<ShareOf>,
    /// Source values that mark an invalid measurement.
    #[serde(default)]
    pub invalid: Vec<f64>,
}

const fn one() -> f64 {
    1.0
}

const fn comma() -> char {
    ','
}

const fn point() -> char {
    '.'
}

impl Mapping {
    /// Reads and checks a mapping file.
    ///
    /// # Errors
    /// When the file is absent, no TOML, has an unknown key, names no table column, or needs an allocatable that it does
    /// not give.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read mapping file `{}`", path.display()))?;
        Self::parse(&text)
            .map_err(|problem| WrongUse(format!("mapping file `{}` is not valid: {problem}", path.display())).into())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mapping: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        mapping.validate()?;
        Ok(mapping)
    }

    fn validate(&self) -> Result<(), String> {
        if self.columns.is_empty() {
            return Err("`columns` is empty, nothing would be read".into());
        }
        for (column, source) in &self.columns {
            if NodeMetric::from_column(column).is_none() {
                let known = NodeMetric::ALL.iter().map(|metric| metric.column()).collect::<Vec<_>>().join("`, `");
                return Err(format!("`columns.{column}` is no column of raw/node_metrics. Columns are `{known}`"));
            }
            if !(source.scale.is_finite() && source.scale > 0.0) {
                return Err(format!("`columns.{column}.scale` is {}, want a number above 0", source.scale));
            }
            let given = |pick: fn(&Allocatable) -> Option<f64>| {
                pick(&self.allocatable).is_some() || self.nodes.values().any(|node| pick(node).is_some())
            };
            let (wanted, ok) = match source.of {
                None => continue,
                Some(ShareOf::AllocatableCpu) => ("cpu_cores", given(|node| node.cpu_cores)),
                Some(ShareOf::AllocatableMemory) => ("memory_bytes", given(|node| node.memory_bytes)),
            };
            if !ok {
                return Err(format!("`columns.{column}.of` needs `allocatable.{wanted}` or `nodes.<name>.{wanted}`"));
            }
        }
        self.dialect().map_err(|error| error.to_string())?;
        if self.time.format.is_some() && self.time.unit != TimeUnit::Text {
            return Err("`time.format` is given, so `time.unit` must be `text`".into());
        }
        self.time.origin_ms().map(drop)
    }

    /// How the file is written.
    ///
    /// # Errors
    /// Two characters that cannot be, which a mapping that was loaded does not have.
    pub fn dialect(&self) -> Result<Dialect, DialectError> {
        Dialect::new(self.delimiter, self.decimal)
    }

    /// What `node` offers: its own entry, else the common one.
    pub fn allocatable_of(&self, node: &str) -> Allocatable {
        let own = self.nodes.get(node).copied().unwrap_or_default();
        Allocatable {
            cpu_cores: own.cpu_cores.or(self.allocatable.cpu_cores),
            memory_bytes: own.memory_bytes.or(self.allocatable.memory_bytes),
        }
    }
}

impl TimeSource {
    /// The moment that 0 stands for, in milliseconds.
    pub fn origin_ms(&self) -> Result<i64, String> {
        let Some(origin) = &self.origin else { return Ok(0) };
        if self.unit == TimeUnit::Text {
            return Err("`time.origin` makes no sense with unit `text`".into());
        }
        DateTime::parse_from_rfc3339(origin).map(|time| time.timestamp_millis()).map_err(|error| {
            format!("`time.origin` is `{origin}`, want a moment such as `2018-01-01T00:00:00Z`: {error}")
        })
    }

    /// The moment that `text` says.
    ///
    /// # Errors
    /// See [`BadTime`].
    pub fn read(&self, text: &str, origin_ms: i64) -> Result<Moment, BadTime> {
        let Some(factor) = self.unit.millis() else {
            let moment = match &self.format {
                Some(format) => formatted(text, format),
                None => parse_moment(text),
            };
            let moment = moment.ok_or(BadTime::Unreadable)?;
            return if is_plausible_moment(moment.millis) { Ok(moment) } else { Err(BadTime::Implausible(None)) };
        };
        let number: f64 = text.parse().map_err(|_| BadTime::Unreadable)?;
        if !number.is_finite() {
            return Err(BadTime::Unreadable);
        }
        let in_unit = |factor: f64| {
            // A float that is too large becomes the largest integer, which is no plausible moment either.
            let millis = ((number * factor).round() as i64).saturating_add(origin_ms);
            Some(millis).filter(|millis| is_plausible_moment(*millis))
        };
        let others = TimeUnit::NUMBERS.into_iter();
        in_unit(factor).map(|millis| Moment { millis, has_zone: true }).ok_or_else(|| {
            let other = others.filter(|unit| unit.millis().is_some_and(|factor| in_unit(factor).is_some()));
            BadTime::Implausible(other.map(TimeUnit::as_str).next())
        })
    }
}

impl TimeUnit {
    /// Those that count, the finest first.
    const NUMBERS: [Self; 6] =
        [Self::Nanoseconds, Self::Microseconds, Self::Milliseconds, Self::Seconds, Self::Minutes, Self::Hours];

    /// As mappings name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nanoseconds => "nanoseconds",
            Self::Microseconds => "microseconds",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Text => "text",
        }
    }

    /// Milliseconds of one; `None` for text.
    fn millis(self) -> Option<f64> {
        Some(match self {
            Self::Nanoseconds => 1e-6,
            Self::Microseconds => 1e-3,
            Self::Milliseconds => 1.0,
            Self::Seconds => 1e3,
            Self::Minutes => MINUTE_MS as f64,
            Self::Hours => HOUR_MS as f64,
            Self::Text => return None,
        })
    }
}

/// A time in a form of its own: with an offset, without, or a day.
fn formatted(text: &str, format: &str) -> Option<Moment> {
    if let Ok(zoned) = DateTime::parse_from_str(text, format) {
        return Some(Moment { millis: zoned.timestamp_millis(), has_zone: true });
    }
    let plain = NaiveDateTime::parse_from_str(text, format);
    let day = || NaiveDate::parse_from_str(text, format).map(|day| day.and_time(NaiveTime::MIN));
    let time = plain.or_else(|_| day()).ok()?;
    Some(Moment { millis: time.and_utc().timestamp_millis(), has_zone: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        description = "test"
        node = { column = "machine" }
        time = { column = "t", unit = "minutes", origin = "2018-01-01T00:00:00Z" }
        [allocatable]
        cpu_cores = 4.0
        [nodes.big]
        cpu_cores = 8.0
        [columns.cpu_used_cores]
        column = "cpu"
        scale = 0.01
        of = "allocatable_cpu"
    "#;

    #[test]
    fn a_node_of_its_own_size_wins_over_the_common_one() {
        let mapping = Mapping::parse(GOOD).expect("mapping");
        assert_eq!(mapping.allocatable_of("big").cpu_cores, Some(8.0));
        assert_eq!(mapping.allocatable_of("other").cpu_cores, Some(4.0));
        let origin = mapping.time.origin_ms().expect("origin");
        let read = |text: &str| mapping.time.read(text, origin).map(|moment| moment.millis);
        // 2018-01-01 is 17,532 days after 1970-01-01.
        assert_eq!(read("1.5"), Ok(17_532 * 86_400_000 + 90_000));
        for text in ["", "noon", "NaN", "inf"] {
            assert_eq!(read(text), Err(BadTime::Unreadable), "{text}");
        }
        assert_eq!(read("1e300"), Err(BadTime::Implausible(None)));
    }

    fn time(table: &str) -> TimeSource {
        toml::from_str(&format!("column = \"t\"\n{table}")).expect("a time source")
    }

    #[test]
    fn a_time_in_another_unit_is_not_read_and_the_unit_is_named() {
        let seconds = time("unit = \"seconds\"");
        // 2026-11-29T00:00:00Z
        assert_eq!(seconds.read("1795910400", 0).map(|moment| moment.millis), Ok(1_795_910_400_000));
        assert_eq!(seconds.read("1795910400000", 0), Err(BadTime::Implausible(Some("milliseconds"))));
        assert_eq!(seconds.read("1795910400000000000", 0), Err(BadTime::Implausible(Some("nanoseconds"))));
        let micros = time("unit = \"microseconds\"");
        assert_eq!(micros.read("1795910400000000", 0).map(|moment| moment.millis), Ok(1_795_910_400_000));
        assert_eq!(micros.read("1795910400", 0), Err(BadTime::Implausible(Some("seconds"))));
    }

    #[test]
    fn a_text_is_read_where_it_is_clear_or_its_form_is_given() {
        let text = time("unit = \"rfc3339\"");
        assert_eq!(text.read("2026-11-29 00:00:00", 0), Ok(Moment { millis: 1_795_910_400_000, has_zone: false }));
        assert_eq!(text.read("1795910400", 0), Ok(Moment { millis: 1_795_910_400_000, has_zone: true }));
        assert_eq!(text.read("29/11/2026 00:00", 0), Err(BadTime::Unreadable));
        assert_eq!(text.read("1970-01-01T00:00:00Z", 0), Err(BadTime::Implausible(None)));
        for (format, text) in [
            ("%d/%m/%Y %H:%M", "29/11/2026 00:00"),
            ("%d.%m.%Y", "29.11.2026"),
            ("%m/%d/%y %I:%M:%S %p", "11/29/26 12:00:00 AM"),
            ("%Y%m%d%H%M%S %z", "20261129010000 +0100"),
        ] {
            let source = time(&format!("unit = \"text\"\nformat = \"{format}\""));
            assert_eq!(source.read(text, 0).map(|moment| moment.millis), Ok(1_795_910_400_000), "{format}");
            assert_eq!(source.read("2026-11-29T00:00:00Z", 0), Err(BadTime::Unreadable), "{format}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, named) in [
            ("cpu_used_cores", "cpu_usage", "`columns.cpu_usage`"),
            ("scale = 0.01", "scale = 0.0", "`columns.cpu_used_cores.scale`"),
            ("scale", "sacle", "sacle"),
            ("allocatable_cpu", "allocatable_memory", "`allocatable.memory_bytes`"),
            ("2018-01-01T00:00:00Z", "monday", "`monday`"),
            ("[allocatable]", "delimiter = \"x\"\n[allocatable]", "`;`"),
            ("origin = ", "format = \"%s\", origin = ", "`time.unit` must be `text`"),
        ] {
            let problem = Mapping::parse(&GOOD.replace(from, to)).expect_err(named);
            assert!(problem.contains(named), "{problem}");
        }
    }
}
