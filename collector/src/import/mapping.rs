//! What the columns of a CSV file mean, as a TOML file says it.

use anyhow::Context;
use chrono::DateTime;
use cluster::{HOUR_MS, MINUTE_MS, NodeMetric};
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
    /// Milliseconds.
    Milliseconds,
    /// Seconds, decimals allowed.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Text as in RFC 3339.
    Rfc3339,
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
        self.time.origin_ms().map(drop)
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
        if self.unit == TimeUnit::Rfc3339 {
            return Err("`time.origin` makes no sense with unit `rfc3339`".into());
        }
        DateTime::parse_from_rfc3339(origin).map(|time| time.timestamp_millis()).map_err(|error| {
            format!("`time.origin` is `{origin}`, want a moment such as `2018-01-01T00:00:00Z`: {error}")
        })
    }

    /// The moment that `text` says, in milliseconds; `None` when it is no time.
    pub fn read(&self, text: &str, origin_ms: i64) -> Option<i64> {
        let factor = match self.unit {
            TimeUnit::Rfc3339 => return DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis()),
            TimeUnit::Milliseconds => 1,
            TimeUnit::Seconds => 1_000,
            TimeUnit::Minutes => MINUTE_MS,
            TimeUnit::Hours => HOUR_MS,
        };
        let ms = (text.parse::<f64>().ok()? * factor as f64).round();
        // Beyond this a float no longer counts single milliseconds, and no real time lies there.
        (ms.abs() < 9e15).then_some(ms as i64).and_then(|ms| ms.checked_add(origin_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        description = "test"
        node = { column = "machine" }
        time = { column = "t", unit = "minutes", origin = "1970-01-02T00:00:00Z" }
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
        assert_eq!(mapping.time.read("1.5", origin), Some(86_400_000 + 90_000));
        for text in ["", "noon", "NaN", "inf", "1e300"] {
            assert_eq!(mapping.time.read(text, origin), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, named) in [
            ("cpu_used_cores", "cpu_usage", "`columns.cpu_usage`"),
            ("scale = 0.01", "scale = 0.0", "`columns.cpu_used_cores.scale`"),
            ("scale", "sacle", "sacle"),
            ("allocatable_cpu", "allocatable_memory", "`allocatable.memory_bytes`"),
            ("1970-01-02T00:00:00Z", "monday", "`monday`"),
        ] {
            let problem = Mapping::parse(&GOOD.replace(from, to)).expect_err(named);
            assert!(problem.contains(named), "{problem}");
        }
    }
}
