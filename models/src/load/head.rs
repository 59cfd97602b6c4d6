//! One head: the forecast of one resource at one horizon.

use super::baseline::{Baseline, BoundBaseline};
use super::{Conformal, HeadForecasts, HeadKey, LoadForecast, Quantile};
use crate::matrix::position_of;
use crate::{FeatureMatrix, ModelError, Regressor};
use std::sync::Arc;

/// So few rows are forecast one by one: a batch takes longer to set up.
const FEW: usize = 8;
/// Rows up to this width are gathered without allocation.
const INLINE_WIDTH: usize = 256;

/// A booster for the residual against the baseline, and how much of it is believed.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Forecasts `target − baseline`.
    pub(super) model: Arc<dyn Regressor>,
    /// Between 0 and 1: the residual forecast is multiplied by it.
    pub(super) blend: f32,
}

/// A fitted head. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LoadHead {
    key: HeadKey,
    features: Arc<[String]>,
    baseline: Baseline,
    bound: BoundBaseline,
    median: Option<Part>,
    upper: Option<Part>,
    conformal: Conformal,
    group_column: Option<usize>,
    /// None when the boosters read the whole row.
    gather: Option<Gather>,
}

/// The boosters' features, and where they stand in a row.
#[derive(Debug, Clone)]
struct Gather {
    names: Arc<[String]>,
    positions: Vec<usize>,
}

impl LoadHead {
    /// Checks that the parts fit together. The boosters may read a subset of `features`, both the same.
    pub(super) fn new(
        key: HeadKey,
        features: Arc<[String]>,
        baseline: Baseline,
        median: Option<Part>,
        upper: Option<Part>,
        conformal: Conformal,
    ) -> Result<Self, ModelError> {
        let bound = baseline.bind(&features)?;
        let group_column = conformal.bind(&features)?;
        for part in [&median, &upper].into_iter().flatten() {
            if !(part.blend > 0.0 && part.blend <= 1.0) {
                return Err(ModelError::Setting {
                    setting: "blend",
                    rule: "above 0, at most 1",
                    got: part.blend.to_string(),
                });
            }
        }
        if let (Some(median), Some(upper)) = (&median, &upper)
            && median.model.features() != upper.model.features()
        {
            return Err(ModelError::damaged(key.slug(), "its two boosters read different features"));
        }
        let gather = match median.as_ref().or(upper.as_ref()).map(|part| part.model.features()) {
            None => None,
            Some(own) if own == &features[..] => None,
            Some(own) => {
                let positions = own.iter().map(|name| position_of(&features, name, "a booster"));
                Some(Gather { names: own.to_vec().into(), positions: positions.collect::<Result<_, _>>()? })
            }
        };
        Ok(Self { key, features, baseline, bound, median, upper, conformal, group_column, gather })
    }

    /// Resource and horizon.
    pub fn key(&self) -> HeadKey {
        self.key
    }

    /// The features of a row, in order.
    pub fn features(&self) -> &Arc<[String]> {
        &self.features
    }

    /// The simple forecast that the boosters correct.
    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// The correction of the upper quantile.
    pub fn conformal(&self) -> &Conformal {
        &self.conformal
    }

    /// The median booster had no skill, so the baseline answers.
    pub fn fallback(&self) -> bool {
        self.median.is_none()
    }

    /// The booster of a quantile with its blend weight; none where a constant answers.
    pub fn booster(&self, quantile: Quantile) -> Option<(&dyn Regressor, f32)> {
        self.part(quantile).map(|part| (part.model.as_ref(), part.blend))
    }

    pub(super) fn part(&self, quantile: Quantile) -> Option<&Part> {
        match quantile {
            Quantile::P50 => self.median.as_ref(),
            Quantile::P90 => self.upper.as_ref(),
        }
    }

    pub(super) fn bound_baseline(&self) -> &BoundBaseline {
        &self.bound
    }

    /// The features of the boosters, or none when there is no booster.
    pub(super) fn booster_matrix(&self, x: &FeatureMatrix) -> Option<FeatureMatrix> {
        self.median.as_ref().or(self.upper.as_ref())?;
        Some(match &self.gather {
            None => x.clone(),
            Some(Gather { names, positions }) => x.gather(names, positions),
        })
    }

    /// Both quantiles for a batch. NaN where no column of the baseline is known.
    ///
    /// # Errors
    /// Other features than the head's.
    pub fn predict(&self, x: &FeatureMatrix) -> Result<HeadForecasts, ModelError> {
        if x.rows() <= FEW {
            return self.predict_few(x);
        }
        let (mut p50, upper) = self.uncorrected(x)?;
        let mut p90 = upper;
        for row in 0..x.rows() {
            p90[row] += self.conformal.of(self.group_column, x.row(row));
            (p50[row], p90[row]) = ordered(p50[row], p90[row]);
        }
        Ok(HeadForecasts { key: self.key, p50, p90, fallback: self.fallback() })
    }

    fn predict_few(&self, x: &FeatureMatrix) -> Result<HeadForecasts, ModelError> {
        x.expect_names(&self.features)?;
        let [mut p50, mut p90] = [Vec::with_capacity(x.rows()), Vec::with_capacity(x.rows())];
        for row in 0..x.rows() {
            let forecast = self.predict_row(x.row(row))?;
            p50.push(forecast.p50.unwrap_or(f32::NAN));
            p90.push(forecast.p90.unwrap_or(f32::NAN));
        }
        Ok(HeadForecasts { key: self.key, p50, p90, fallback: self.fallback() })
    }

    /// Median and upper quantile before the conformal shift, unclipped.
    pub(super) fn uncorrected(&self, x: &FeatureMatrix) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        x.expect_names(&self.features)?;
        let base: Vec<f32> = (0..x.rows()).map(|row| self.bound.of(x.row(row))).collect();
        let matrix = self.booster_matrix(x);
        let add = |part: Option<&Part>| -> Result<Vec<f32>, ModelError> {
            let (Some(part), Some(matrix)) = (part, &matrix) else { return Ok(base.clone()) };
            let mut residual = vec![0.0; x.rows()];
            part.model.predict(matrix, &mut residual)?;
            Ok(base.iter().zip(residual).map(|(base, residual)| base + part.blend * residual).collect())
        };
        Ok((add(self.median.as_ref())?, add(self.upper.as_ref())?))
    }

    /// Both quantiles for one row, equal to what a batch with this row gives, without allocation for up to 256 features.
    ///
    /// # Errors
    /// A row of another width; an infinite value.
    pub fn predict_row(&self, row: &[f32]) -> Result<LoadForecast, ModelError> {
        if row.len() != self.features.len() {
            return Err(ModelError::Shape {
                what: "row",
                unit: "features",
                expected: self.features.len(),
                got: row.len(),
            });
        }
        let base = self.bound.of(row);
        if base.is_nan() {
            return Ok(LoadForecast { key: self.key, p50: None, p90: None, fallback: self.fallback() });
        }
        let (median, upper) = self.with_gathered(row, |own| {
            let of = |part: Option<&Part>| {
                part.map_or(Ok(base), |part| Ok(base + part.blend * part.model.predict_row(own)?))
            };
            Ok::<_, ModelError>((of(self.median.as_ref())?, of(self.upper.as_ref())?))
        })?;
        let (p50, p90) = ordered(median, upper + self.conformal.of(self.group_column, row));
        Ok(LoadForecast { key: self.key, p50: Some(p50), p90: Some(p90), fallback: self.fallback() })
    }

    fn with_gathered<T>(&self, row: &[f32], then: impl FnOnce(&[f32]) -> T) -> T {
        let Some(Gather { positions, .. }) = &self.gather else { return then(row) };
        if positions.len() <= INLINE_WIDTH {
            let mut own = [0.0; INLINE_WIDTH];
            for (value, position) in own.iter_mut().zip(positions) {
                *value = row[*position];
            }
            then(&own[..positions.len()])
        } else {
            let own: Vec<f32> = positions.iter().map(|position| row[*position]).collect();
            then(&own)
        }
    }

    /// This head with the shift of its upper quantile learned anew from rows with known outcome, such as those of the
    /// last days: cheap enough to do between two trainings. The level and the groups stay.
    ///
    /// # Errors
    /// Other features than the head's, lengths that differ.
    pub fn recalibrated(&self, x: &FeatureMatrix, observed: &[f32]) -> Result<Self, ModelError> {
        let (median, upper) = self.uncorrected(x)?;
        let conformal =
            Conformal::fit(self.conformal.level, self.conformal.groups.as_ref(), x, observed, &median, &upper)?;
        let mut head = self.clone();
        head.group_column = conformal.bind(&head.features)?;
        head.conformal = conformal;
        Ok(head)
    }
}

/// Utilization is not negative and quantiles do not cross. NaN stays NaN.
fn ordered(median: f32, upper: f32) -> (f32, f32) {
    if median.is_nan() || upper.is_nan() {
        return (f32::NAN, f32::NAN);
    }
    let median = median.max(0.0);
    (median, upper.max(median))
}
