//! From the columns of a table to the features of a detector.

use anyhow::Context;
use features::Selection;
use models::anomaly::Detector;
use models::artifact::ArtifactMetadata;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The hyper-parameter of an artifact that holds a [`TablePlan`].
pub const TABLE_PLAN: &str = "table";

/// Which columns of a table a detector reads, and over how many rows it looks back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePlan {
    /// Columns of numbers, in order.
    pub columns: Vec<String>,
    /// The column of times; with it rows are a sequence and windows make sense.
    pub time: Option<String>,
    /// The column that says whose row it is; without it all rows are of one.
    pub entity: Option<String>,
    /// The column that says whether a row was an anomaly.
    pub label: Option<String>,
    /// Lengths of trailing windows in rows, ascending; none without a time column.
    pub windows: Vec<usize>,
}

impl TablePlan {
    /// The detector's features: each column, and for each window each column less its mean over the rows before.
    pub fn features(&self) -> Vec<String> {
        let windows = self.windows.iter().flat_map(|window| {
            self.columns.iter().map(move |column| format!("{column} less the mean of {window} rows before"))
        });
        self.columns.iter().cloned().chain(windows).collect()
    }

    /// The places of the features that belong to the columns themselves (`None`) or to a window.
    pub fn group(&self, window: Option<usize>) -> std::ops::Range<usize> {
        let block = window.map_or(0, |window| window + 1);
        block * self.columns.len()..(block + 1) * self.columns.len()
    }

    /// The features of a row. `trail` holds the rows before it.
    pub fn expand(&self, trail: &Trail, values: &[f32], features: &mut Vec<f32>) {
        features.clear();
        features.extend_from_slice(values);
        for window in &self.windows {
            let start = features.len();
            trail.means(*window, values.len(), features);
            for (mean, value) in features[start..].iter_mut().zip(values) {
                *mean = value - *mean;
            }
        }
    }

    /// Rows that a trail must keep.
    pub fn longest(&self) -> usize {
        self.windows.iter().copied().max().unwrap_or(0)
    }
}

/// The last rows of one entity.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    rows: VecDeque<Box<[f32]>>,
}

impl Trail {
    /// Takes in a row; at most `longest` are kept.
    pub fn push(&mut self, values: &[f32], longest: usize) {
        if longest == 0 {
            return;
        }
        while self.rows.len() >= longest {
            self.rows.pop_front();
        }
        self.rows.push_back(values.into());
    }

    /// Appends the mean of each column over the last `window` rows; NaN where fewer than half of them have a value: a mean
    /// of three rows is no measure of what is usual.
    fn means(&self, window: usize, width: usize, means: &mut Vec<f32>) {
        let from = self.rows.len().saturating_sub(window);
        let start = means.len();
        means.resize(start + width, f32::NAN);
        for (column, mean) in means[start..].iter_mut().enumerate() {
            let (mut count, mut sum) = (0_usize, 0.0_f64);
            for row in self.rows.range(from..) {
                if !row[column].is_nan() {
                    count += 1;
                    sum += f64::from(row[column]);
                }
            }
            if 2 * count >= window {
                *mean = (sum / count as f64) as f32;
            }
        }
    }
}

/// What a detector reads.
#[derive(Debug, Clone)]
pub enum InputPlan {
    /// The columns of somebody's table.
    Table(TablePlan),
    /// Features of the catalogue, as `features build` writes them, with differences and ratios taken here.
    Features(Selection),
}

impl InputPlan {
    /// The plan of a detector's folder.
    ///
    /// # Errors
    /// A damaged plan, or features that neither a plan nor the catalogue has.
    pub fn of(metadata: &ArtifactMetadata, detector: &Detector) -> anyhow::Result<Self> {
        let Some(value) = metadata.hyper_parameters.get(TABLE_PLAN) else {
            let selection = Selection::new(detector.features())
                .context("the detector was trained neither on a table nor on the features of this version")?;
            return Ok(Self::Features(selection));
        };
        let plan: TablePlan = serde_json::from_value(value.clone())
            .with_context(|| format!("`{TABLE_PLAN}` of the detector's metadata is damaged"))?;
        anyhow::ensure!(
            plan.features()[..] == detector.features()[..],
            "`{TABLE_PLAN}` of the detector's metadata names {} features, the detector reads {} others",
            plan.features().len(),
            detector.features().len()
        );
        Ok(Self::Table(plan))
    }

    /// The columns of numbers that are read.
    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Table(plan) => plan.columns.clone(),
            Self::Features(selection) => selection.inputs().into_iter().map(str::to_owned).collect(),
        }
    }

    /// The column of times.
    pub fn time(&self) -> Option<&str> {
        match self {
            Self::Table(plan) => plan.time.as_deref(),
            Self::Features(_) => Some("ts"),
        }
    }

    /// The column that says whose row it is.
    pub fn entity(&self) -> Option<&str> {
        match self {
            Self::Table(plan) => plan.entity.as_deref(),
            Self::Features(_) => Some("node"),
        }
    }

    /// The column of labels.
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Table(plan) => plan.label.as_deref(),
            Self::Features(_) => None,
        }
    }

    pub(crate) fn longest(&self) -> usize {
        match self {
            Self::Table(plan) => plan.longest(),
            Self::Features(_) => 0,
        }
    }

    pub(crate) fn expand(&self, trail: &Trail, values: &[f32], features: &mut Vec<f32>) {
        match self {
            Self::Table(plan) => plan.expand(trail, values, features),
            Self::Features(selection) => {
                features.clear();
                features.resize(selection.len(), f32::NAN);
                selection.pick_inputs(values, features);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_see_the_rows_before_and_never_the_row_itself() {
        let plan = TablePlan {
            columns: vec!["cpu".into(), "disk".into()],
            time: Some("ts".into()),
            entity: None,
            label: None,
            windows: vec![2, 4],
        };
        assert_eq!(plan.features().len(), 6);
        assert_eq!(plan.features()[3], "disk less the mean of 2 rows before");
        assert_eq!((plan.group(None), plan.group(Some(1))), (0..2, 4..6));
        let (mut trail, mut features) = (Trail::default(), Vec::new());
        let rows = [[1.0, 10.0], [3.0, f32::NAN], [5.0, 30.0], [7.0, 40.0], [9.0, 50.0]];
        let mut got = Vec::new();
        for row in rows {
            plan.expand(&trail, &row, &mut features);
            got.push(features.clone());
            trail.push(&row, plan.longest());
        }
        // The first row has no past. The fifth: means of 2 rows are 6 and 35, of 4 rows 4 and 80/3.
        assert!(got[0][2..].iter().all(|value| value.is_nan()));
        assert_eq!(got[4][..5], [9.0, 50.0, 3.0, 15.0, 5.0]);
        assert!((got[4][5] - (50.0 - 80.0 / 3.0)).abs() < 1e-5);
        // The third: of two rows before one has a disk value, which is half; of four rows too few have.
        assert_eq!(got[2][2..5], [3.0, 20.0, 3.0]);
        assert!(got[2][5].is_nan(), "one of four");
        assert_eq!(trail.rows.len(), 4);
    }
}
