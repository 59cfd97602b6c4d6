//! The words of a load forecast.

use crate::ModelError;
use cluster::Resource;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How far ahead a forecast looks, in whole hours: it is the mean of the hour that ends then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Horizon {
    hours: u32,
}

impl Horizon {
    /// The horizons of the design, shortest first.
    pub const ALL: [Self; 3] = [Self { hours: 1 }, Self { hours: 2 }, Self { hours: 4 }];

    /// `None` for 0.
    pub const fn from_hours(hours: u32) -> Option<Self> {
        if hours == 0 { None } else { Some(Self { hours }) }
    }

    /// In hours.
    pub const fn hours(self) -> u32 {
        self.hours
    }
}

impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}h", self.hours)
    }
}

impl FromStr for Horizon {
    type Err = ModelError;

    /// Reads `1h`, `4h`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix('h').and_then(|hours| hours.parse().ok()).and_then(Self::from_hours).ok_or_else(|| {
            ModelError::Setting { setting: "horizon", rule: "whole hours above 0, such as `4h`", got: text.to_owned() }
        })
    }
}

impl TryFrom<String> for Horizon {
    type Error = ModelError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Horizon> for String {
    fn from(horizon: Horizon) -> Self {
        horizon.to_string()
    }
}

/// Which head: one per resource and horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HeadKey {
    /// CPU or memory.
    pub resource: Resource,
    /// How far ahead.
    pub horizon: Horizon,
}

impl HeadKey {
    /// All heads of the design: CPU first, shortest horizon first.
    pub fn all() -> impl Iterator<Item = Self> {
        Resource::ALL
            .into_iter()
            .flat_map(|resource| Horizon::ALL.into_iter().map(move |horizon| Self { resource, horizon }))
    }

    /// For file and metric names: `cpu-1h`.
    pub fn slug(self) -> String {
        format!("{}-{}", self.resource, self.horizon)
    }
}

impl fmt::Display for HeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource, self.horizon)
    }
}

/// Which line of a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantile {
    /// The median.
    P50,
    /// The level that the load stays below with the promised coverage, 0.9 by default.
    P90,
}

impl Quantile {
    /// `p50` or `p90`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
        }
    }
}

/// One forecast of one head for one row. Utilization as a ratio (0.01 is one point), at least 0, `p90 ≥ p50`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadForecast {
    /// Which head.
    #[serde(flatten)]
    pub key: HeadKey,
    /// The median. `None` when no column of the baseline is known in the row: unknown, never 0.
    pub p50: Option<f32>,
    /// The upper quantile; `None` together with `p50`.
    pub p90: Option<f32>,
    /// The head has no skill of its own, so its baseline answered.
    pub fallback: bool,
}

/// The forecasts of one head for a batch of rows. NaN where [`LoadForecast`] has `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadForecasts {
    /// Which head.
    pub key: HeadKey,
    /// Medians, one per row.
    pub p50: Vec<f32>,
    /// Upper quantiles, one per row.
    pub p90: Vec<f32>,
    /// The baseline answered.
    pub fallback: bool,
}

impl HeadForecasts {
    /// The forecast of one row, which must be there.
    pub fn row(&self, row: usize) -> LoadForecast {
        let known = |value: f32| (!value.is_nan()).then_some(value);
        let (p50, p90) = (known(self.p50[row]), known(self.p90[row]));
        LoadForecast { key: self.key, p50, p90: p50.and(p90), fallback: self.fallback }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizons_are_whole_hours() {
        assert_eq!("4h".parse::<Horizon>().map(Horizon::hours).ok(), Some(4));
        for text in ["", "h", "0h", "30m", "-1h"] {
            let error = text.parse::<Horizon>().expect_err(text);
            assert_eq!(error.to_string(), format!("`horizon` must be whole hours above 0, such as `4h`, got {text}"));
        }
    }

    #[test]
    fn the_design_has_six_heads() {
        let slugs: Vec<_> = HeadKey::all().map(HeadKey::slug).collect();
        assert_eq!(slugs, ["cpu-1h", "cpu-2h", "cpu-4h", "memory-1h", "memory-2h", "memory-4h"]);
    }
}
