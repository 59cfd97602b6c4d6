//! All heads together.

use super::{Explanation, HeadForecasts, HeadKey, LoadForecast, LoadHead, Quantile, StartOffsets};
use crate::{FeatureMatrix, Importance, ModelError};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The load predictor: one head per resource and horizon, all reading the same row of features.
#[derive(Debug, Clone)]
pub struct LoadPredictor {
    features: Arc<[String]>,
    heads: Vec<LoadHead>,
    start: StartOffsets,
}

impl LoadPredictor {
    /// From heads fitted on the same features. They are kept in the order of their keys.
    ///
    /// # Errors
    /// No heads, two for the same resource and horizon, heads with different features.
    pub fn new(mut heads: Vec<LoadHead>) -> Result<Self, ModelError> {
        heads.sort_by_key(LoadHead::key);
        let Some(first) = heads.first() else { return Err(ModelError::Empty { what: "the list of heads" }) };
        let features = Arc::clone(first.features());
        for pair in heads.windows(2) {
            if pair[0].key() == pair[1].key() {
                return Err(ModelError::Setting {
                    setting: "heads",
                    rule: "one per resource and horizon",
                    got: format!("two for {}", pair[0].key()),
                });
            }
        }
        if let Some(other) = heads.iter().find(|head| head.features() != &features) {
            return Err(ModelError::Setting {
                setting: "heads",
                rule: "fitted on the same features",
                got: format!(
                    "{} with {} features and {} with {}",
                    first.key(),
                    features.len(),
                    other.key(),
                    other.features().len()
                ),
            });
        }
        Ok(Self { features, heads, start: StartOffsets::default() })
    }

    /// The same predictor whose served P90 begins with these shifts (see [`super::OffsetTracker`]). Its own forecasts, of
    /// rows that no node is known of, are as before.
    #[must_use]
    pub fn starting_at(self, start: StartOffsets) -> Self {
        Self { start, ..self }
    }

    /// Where the shifts of the served P90 begin.
    pub fn start_offsets(&self) -> &StartOffsets {
        &self.start
    }

    /// The features of a row, in order.
    pub fn features(&self) -> &Arc<[String]> {
        &self.features
    }

    /// All heads: CPU first, shortest horizon first.
    pub fn heads(&self) -> &[LoadHead] {
        &self.heads
    }

    /// One head.
    ///
    /// # Errors
    /// [`ModelError::UnknownHead`].
    pub fn head(&self, key: HeadKey) -> Result<&LoadHead, ModelError> {
        self.heads.iter().find(|head| head.key() == key).ok_or_else(|| ModelError::UnknownHead {
            head: key.to_string(),
            known: self.heads.iter().map(|head| head.key().to_string()).collect(),
        })
    }

    /// Forecasts of all heads for a batch, on the pool that the caller is in.
    ///
    /// # Errors
    /// Other features than the predictor's.
    pub fn predict(&self, x: &FeatureMatrix) -> Result<Vec<HeadForecasts>, ModelError> {
        self.heads.par_iter().map(|head| head.predict(x)).collect()
    }

    /// Forecasts of all heads for one row, one after the other; nothing is allocated.
    pub fn forecasts<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = Result<LoadForecast, ModelError>> + 'a {
        self.heads.iter().map(move |head| head.predict_row(row))
    }

    /// Why one line of a head's forecasts is what it is, per row.
    ///
    /// # Errors
    /// An unknown head, other features than the predictor's.
    pub fn explain(&self, key: HeadKey, quantile: Quantile, x: &FeatureMatrix) -> Result<Vec<Explanation>, ModelError> {
        self.head(key)?.explain(quantile, x)
    }

    /// What mattered most over all boosters: the mean of their shares of gain, most important first.
    pub fn importance(&self) -> Vec<Importance> {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for head in &self.heads {
            for quantile in [Quantile::P50, Quantile::P90] {
                for Importance { feature, share } in
                    head.booster(quantile).map(|(model, _)| model.importance()).unwrap_or_default()
                {
                    *sums.entry(feature).or_default() += share;
                }
            }
        }
        let total: f64 = sums.values().sum();
        let mut shares: Vec<_> =
            sums.into_iter().map(|(feature, sum)| Importance { feature, share: sum / total }).collect();
        shares.sort_by(|left, right| right.share.total_cmp(&left.share).then_with(|| left.feature.cmp(&right.feature)));
        shares
    }
}
