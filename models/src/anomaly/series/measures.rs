//! Four ways to look at the rows of a view.

use super::SeriesSettings;
use super::principal::Principal;
use super::scaling::Scaling;
use super::views::ViewRows;
use crate::ModelError;
use crate::anomaly::IsolationForest;
use serde::{Deserialize, Serialize};

/// Distances beyond so many deviations count as so many, for the length and the components: a column that hardly ever
/// moves would else be all that counts.
const FARTHEST: f32 = 20.0;

/// Puts the logarithm of a measure on one scale: 0 at the median of the training, 1 at its 99 % quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    median: f32,
    span: f32,
}

/// Keeps the logarithm of nothing finite.
const NOTHING: f32 = 1e-9;

impl Level {
    fn fit(measured: &[f32]) -> Self {
        let mut logs: Vec<f32> = measured.iter().filter(|value| value.is_finite()).map(|value| log(*value)).collect();
        logs.sort_by(f32::total_cmp);
        let at = |share: f64| {
            logs.get((share * logs.len().saturating_sub(1) as f64).round() as usize).copied().unwrap_or(0.0)
        };
        let (median, high) = (at(0.5), at(0.99));
        Self { median, span: (high - median).max(1e-6) }
    }

    /// A row without a known value is as usual as the median.
    fn of(self, measured: f32) -> f32 {
        if measured.is_nan() { 0.0 } else { (log(measured) - self.median) / self.span }
    }
}

fn log(value: f32) -> f32 {
    (value + NOTHING).ln()
}

/// A view's scaling and its four measures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measures {
    scaling: Scaling,
    forest: IsolationForest,
    principal: Principal,
    levels: [Level; 4],
}

impl Measures {
    pub fn fit(rows: ViewRows, settings: &SeriesSettings, seed: u64) -> Result<Self, ModelError> {
        let scaling = Scaling::fit(&rows);
        let scaled = scaling.apply(&rows);
        drop(rows);
        let width = scaling.width();
        let mut forest_settings = settings.forest;
        forest_settings.extension = forest_settings.extension.min(width.saturating_sub(1));
        let forest = IsolationForest::fit(&scaled, width, &forest_settings, seed)?;
        let principal = Principal::fit(&bounded(&scaled), width, settings.kept_variance)?;
        let mut measures = Self { scaling, forest, principal, levels: [Level { median: 0.0, span: 1.0 }; 4] };
        measures.levels = measures.measure(&scaled)?.map(|measured| Level::fit(&measured));
        Ok(measures)
    }

    /// The mean of the four, each on its scale.
    pub fn scores(&self, rows: ViewRows) -> Result<Vec<f32>, ModelError> {
        let scaled = self.scaling.apply(&rows);
        drop(rows);
        let mut scores = vec![0.0; scaled.len() / self.scaling.width()];
        for (level, measured) in self.levels.iter().zip(self.measure(&scaled)?) {
            for (score, measured) in scores.iter_mut().zip(measured) {
                *score += 0.25 * level.of(measured);
            }
        }
        Ok(scores)
    }

    /// Forest, farthest column, length, residual.
    fn measure(&self, scaled: &[f32]) -> Result<[Vec<f32>; 4], ModelError> {
        let width = self.scaling.width();
        let mut forest = vec![0.0; scaled.len() / width];
        self.forest.score(scaled, &mut forest)?;
        let rows = || scaled.chunks_exact(width);
        let farthest = rows().map(|row| row.iter().fold(f32::NAN, |most, value| most.max(value.abs()))).collect();
        let bounded = bounded(scaled);
        let length = bounded.chunks_exact(width).map(|row| row.iter().map(|value| value * value).sum()).collect();
        Ok([forest, farthest, length, self.principal.residuals(&bounded)])
    }
}

/// Missing values at the mean, far ones at [`FARTHEST`].
fn bounded(scaled: &[f32]) -> Vec<f32> {
    let bound = |value: &f32| if value.is_nan() { 0.0 } else { value.clamp(-FARTHEST, FARTHEST) };
    scaled.iter().map(bound).collect()
}
