//! A detector for any columns in order of time: nothing is known of what they mean, and nothing is labelled.
//!
//! ```text
//! row ─▶ trailing windows ─▶ view "now", view "lately" ─▶ scaled ─▶ forest, farthest column, length, residual ─▶ mean
//! ```
//! Two views of the same row ([`Views`]) are each looked at in four ways ([`measures`]): an isolation forest, the column
//! that is farthest off, the length of all together, and what principal components cannot tell. Each way's logarithm
//! is put on one scale, on which 0 is the median of the training and 1 its 99 % quantile, and the mean of the eight is the
//! score. They err on different rows, so their mean errs less than each.

mod measures;
mod principal;
mod scaling;
mod views;

#[cfg(test)]
mod tests;

pub use views::Views;

use crate::anomaly::ForestSettings;
use crate::{FeatureMatrix, ModelError};
use measures::Measures;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a series detector is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesSettings {
    /// Readings of the shorter window, at least 2; an hour of them was measured with.
    pub short_readings: usize,
    /// Readings of the longer window, above the shorter; a day of them was measured with.
    pub long_readings: usize,
    /// The forests.
    pub forest: ForestSettings,
    /// Share of the variance that the principal components keep, above 0 and below 1.
    pub kept_variance: f64,
}

impl SeriesSettings {
    /// An hour and a day of readings that are `minutes` apart.
    pub fn every(minutes: f64) -> Self {
        let readings = |hours: f64| ((hours * 60.0 / minutes).round() as usize).max(2);
        let short = readings(1.0);
        Self {
            short_readings: short,
            long_readings: readings(24.0).max(short + 1),
            forest: ForestSettings::default(),
            kept_variance: 0.9,
        }
    }

    fn validate(&self) -> Result<(), ModelError> {
        let wrong = |setting, rule, got: String| Err(ModelError::Setting { setting, rule, got });
        if self.short_readings < 2 || self.long_readings <= self.short_readings {
            let got = format!("{} and {}", self.short_readings, self.long_readings);
            return wrong("short_readings and long_readings", "at least 2, and the longer above the shorter", got);
        }
        if !(self.kept_variance > 0.0 && self.kept_variance < 1.0) {
            return wrong("kept_variance", "above 0 and below 1", self.kept_variance.to_string());
        }
        Ok(())
    }
}

/// A fitted detector.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesDetector {
    settings: SeriesSettings,
    columns: Arc<[String]>,
    /// Columns that never changed in training; they are not looked at.
    constant: Vec<String>,
    /// Places of the others.
    used: Vec<usize>,
    now: Measures,
    lately: Measures,
}

impl SeriesDetector {
    /// Fits on the rows of one series in order of time; NaN is missing. Rows that are not `usual` pass through the windows
    /// and teach nothing.
    ///
    /// # Errors
    /// Settings out of range, fewer than 100 usual rows, no column that changes.
    pub fn fit(rows: &FeatureMatrix, usual: &[bool], settings: &SeriesSettings, seed: u64) -> Result<Self, ModelError> {
        settings.validate()?;
        ModelError::rows("marks of usual rows", rows.rows(), usual.len())?;
        let got = usual.iter().filter(|usual| **usual).count();
        if got < LEAST_ROWS {
            return Err(ModelError::Shape { what: "the series", unit: "usual rows", expected: LEAST_ROWS, got });
        }
        let (used, dead): (Vec<usize>, Vec<usize>) =
            (0..rows.width()).partition(|column| changes(rows.column(*column)));
        if used.is_empty() {
            return Err(ModelError::Unsupported {
                learner: "series detector",
                action: format!("learn from {} columns none of which ever changes", rows.width()),
                hint: "Give at least one column with two different values",
            });
        }
        let [now, lately] = Views::of_rows(rows, &used, settings).map(|view| view.only(usual));
        Ok(Self {
            settings: *settings,
            columns: Arc::clone(rows.names()),
            constant: dead.into_iter().map(|column| rows.names()[column].clone()).collect(),
            now: Measures::fit(now, settings, seed)?,
            lately: Measures::fit(lately, settings, seed.wrapping_add(1))?,
            used,
        })
    }

    /// The columns of a row, in order.
    pub fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// Columns that never changed in training and are not looked at.
    pub fn constant_columns(&self) -> &[String] {
        &self.constant
    }

    /// The scores of the rows of one series in order of time; 0 is as usual as the median of the training, 1 as odd as one
    /// in a hundred of it. The windows begin empty: give the rows before as well where there are some.
    ///
    /// # Errors
    /// Other columns than the detector's.
    pub fn scores(&self, rows: &FeatureMatrix) -> Result<Vec<f32>, ModelError> {
        rows.expect_names(&self.columns)?;
        let [now, lately] = Views::of_rows(rows, &self.used, &self.settings);
        let (now, lately) = (self.now.scores(now)?, self.lately.scores(lately)?);
        Ok(now.into_iter().zip(lately).map(|(now, lately)| 0.5 * (now + lately)).collect())
    }
}

/// Fewer rows have no 99 % quantile.
const LEAST_ROWS: usize = 100;

fn changes(values: impl Iterator<Item = f32>) -> bool {
    let mut known = values.filter(|value| !value.is_nan());
    known.next().is_some_and(|first| known.any(|value| value != first))
}
