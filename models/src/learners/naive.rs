//! Forecasts that anybody could make without a model: every skill is measured against them.

use super::{document, linear::weighted_mean};
use crate::matrix::position_of;
use crate::{Contributions, FeatureMatrix, FitData, FitOptions, Importance, Learner, ModelError, Regressor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(super) const PERSISTENCE: &str = "persistence";
pub(super) const SEASONAL: &str = "seasonal-naive";

/// What was is what will be: the forecast is a column, such as the mean of the last hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// The feature that is the forecast, in the unit of the target.
    pub column: String,
}

/// What was a season ago comes again: the forecast is a column such as the same hour yesterday.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeasonalNaive {
    /// The feature that is the forecast, in the unit of the target.
    pub column: String,
    /// The feature that answers while the history is shorter than a season.
    pub otherwise: Option<String>,
}

#[derive(Debug, Clone)]
struct Fitted {
    name: &'static str,
    names: Arc<[String]>,
    columns: Columns,
    positions: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    /// Asked in order; the first that is known answers.
    columns: Vec<String>,
    /// The mean target of the fit answers when none is known.
    mean: f32,
}

impl Fitted {
    fn new(name: &'static str, names: Arc<[String]>, columns: Columns) -> Result<Self, ModelError> {
        let positions =
            columns.columns.iter().map(|column| position_of(&names, column, name)).collect::<Result<_, _>>()?;
        Ok(Self { name, names, columns, positions })
    }

    fn fit(name: &'static str, data: &FitData<'_>, columns: Vec<String>) -> Result<Box<dyn Regressor>, ModelError> {
        data.validate()?;
        let columns = Columns { columns, mean: weighted_mean(data) as f32 };
        Ok(Box::new(Self::new(name, Arc::clone(data.train.x.names()), columns)?))
    }

    /// The position that answers for a row.
    fn answering(&self, row: &[f32]) -> Option<usize> {
        self.positions.iter().copied().find(|position| !row[*position].is_nan())
    }

    fn of(&self, row: &[f32]) -> f32 {
        self.answering(row).map_or(self.columns.mean, |position| row[position])
    }
}

impl Learner for Persistence {
    fn name(&self) -> &'static str {
        PERSISTENCE
    }

    fn parameters(&self) -> Vec<(String, String)> {
        document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, _options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        Fitted::fit(PERSISTENCE, data, vec![self.column.clone()])
    }
}

impl Learner for SeasonalNaive {
    fn name(&self) -> &'static str {
        SEASONAL
    }

    fn parameters(&self) -> Vec<(String, String)> {
        document::parameters(self)
    }

    fn fit(&self, data: &FitData<'_>, _options: &FitOptions) -> Result<Box<dyn Regressor>, ModelError> {
        Fitted::fit(SEASONAL, data, [self.column.clone()].into_iter().chain(self.otherwise.clone()).collect())
    }
}

impl Regressor for Fitted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn features(&self) -> &[String] {
        &self.names
    }

    fn predict(&self, x: &FeatureMatrix, forecasts: &mut [f32]) -> Result<(), ModelError> {
        document::predict_rows(&self.names, x, forecasts, |row| Ok(self.of(row)))
    }

    fn predict_row(&self, row: &[f32]) -> Result<f32, ModelError> {
        document::check_row(&self.names, row)?;
        Ok(self.of(row))
    }

    /// Everything comes from the column that answered, counted from the mean target.
    fn contributions(&self, x: &FeatureMatrix) -> Result<Contributions, ModelError> {
        x.expect_names(&self.names)?;
        let mut values = vec![0.0; x.values().len()];
        for row in 0..x.rows() {
            if let Some(position) = self.answering(x.row(row)) {
                values[row * x.width() + position] = x.row(row)[position] - self.columns.mean;
            }
        }
        Ok(Contributions::new(Arc::clone(&self.names), values, self.columns.mean))
    }

    fn importance(&self) -> Vec<Importance> {
        let first = self.columns.columns.first().cloned();
        first.map(|feature| Importance { feature, share: 1.0 }).into_iter().collect()
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        document::write(self.name, &self.names, &self.columns)
    }
}

pub(super) fn load(
    file: &str,
    learner: &str,
    features: Vec<String>,
    model: serde_json::Value,
) -> Result<Box<dyn Regressor>, ModelError> {
    let name = if learner == PERSISTENCE { PERSISTENCE } else { SEASONAL };
    let fitted = Fitted::new(name, features.into(), document::read(file, model)?);
    Ok(Box::new(fitted.map_err(|problem| ModelError::damaged(file, problem))?))
}
