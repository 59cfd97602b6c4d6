//! Why a forecast is what it is.

use super::{HeadKey, LoadHead, Quantile};
use crate::{FeatureMatrix, ModelError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What one feature added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureContribution {
    /// The feature.
    pub feature: String,
    /// Its value in the row; none when it was missing.
    pub value: Option<f32>,
    /// Utilization that it added or took, as a ratio: 0.01 is one point.
    pub contribution: f32,
}

/// A forecast as a sum: `start + Σ contribution + correction = forecast`, up to rounding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// Which head.
    pub key: HeadKey,
    /// Which line.
    pub quantile: Quantile,
    /// The forecast. None when no column of the baseline is known; then there are no contributions either.
    pub forecast: Option<f32>,
    /// The forecast for a node about which nothing is known: the baseline's mean plus the boosters' mean correction.
    pub start: f32,
    /// Features that changed something, the largest change first.
    pub contributions: Vec<FeatureContribution>,
    /// What the conformal shift, the clip at 0 and the rule `p90 ≥ p50` added.
    pub correction: f32,
}

impl LoadHead {
    /// Explains a line of the forecast for each row: the share of the baseline's columns (their value against their
    /// mean in training) plus the SHAP values of the booster times the blend weight.
    ///
    /// # Errors
    /// Other features than the head's.
    pub fn explain(&self, quantile: Quantile, x: &FeatureMatrix) -> Result<Vec<Explanation>, ModelError> {
        let forecasts = self.predict(x)?;
        let forecasts = match quantile {
            Quantile::P50 => forecasts.p50,
            Quantile::P90 => forecasts.p90,
        };
        let own = self.booster_matrix(x);
        let shap = match (self.part(quantile), &own) {
            (Some(part), Some(own)) => Some((part.model.contributions(own)?, part.blend)),
            _ => None,
        };
        let positions: Vec<usize> = match &shap {
            Some((shap, _)) => shap.names().iter().filter_map(|name| x.position(name)).collect(),
            None => Vec::new(),
        };
        let means: Vec<(usize, f64)> = self
            .baseline()
            .parts()
            .iter()
            .filter_map(|part| Some((x.position(&part.column)?, part.weight * part.mean)))
            .collect();
        let start = means.iter().map(|(_, mean)| mean).sum::<f64>() as f32
            + shap.as_ref().map_or(0.0, |(shap, blend)| shap.base() * blend);
        let names = Arc::clone(x.names());
        let explained = (0..x.rows()).map(|row| {
            let forecast = forecasts[row];
            let values = x.row(row);
            let mut explanation = Explanation {
                key: self.key(),
                quantile,
                forecast: (!forecast.is_nan()).then_some(forecast),
                start,
                contributions: Vec::new(),
                correction: 0.0,
            };
            if explanation.forecast.is_none() {
                return explanation;
            }
            let mut added = vec![0.0_f64; names.len()];
            for (position, mean) in &means {
                added[*position] -= mean;
            }
            for (position, weight) in self.bound_baseline().weights(values) {
                added[position] += weight * f64::from(values[position]);
            }
            if let Some((shap, blend)) = &shap {
                for (position, value) in positions.iter().zip(shap.row(row)) {
                    added[*position] += f64::from(*blend) * f64::from(*value);
                }
            }
            explanation.correction = (f64::from(forecast) - f64::from(start) - added.iter().sum::<f64>()) as f32;
            explanation.contributions = added
                .iter()
                .enumerate()
                .filter(|(_, contribution)| **contribution != 0.0)
                .map(|(position, contribution)| FeatureContribution {
                    feature: names[position].clone(),
                    value: (!values[position].is_nan()).then_some(values[position]),
                    contribution: *contribution as f32,
                })
                .collect();
            explanation.contributions.sort_by(|left, right| {
                right
                    .contribution
                    .abs()
                    .total_cmp(&left.contribution.abs())
                    .then_with(|| left.feature.cmp(&right.feature))
            });
            explanation
        });
        Ok(explained.collect())
    }
}
