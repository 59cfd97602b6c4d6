//! All figures of one forecast, as the design defines them.

use super::errors::{
    accuracy, mean_absolute_error, median_r2_score, r2_score, root_mean_squared_error, share_within, skill_score,
};
use super::overload::OverloadScores;
use super::quantile::{coverage, pinball_loss};
use serde::{Deserialize, Serialize};

/// Forecasts beside what came, row by row, as ratios. All columns have the same length; rows without an observation or
/// without a reference are not in it, so that every forecaster is scored on the same rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    /// Which node, as an index.
    pub node: Vec<u32>,
    /// When the forecast was made, in UTC milliseconds.
    pub ts: Vec<i64>,
    /// What came.
    pub observed: Vec<f64>,
    /// The forecast's median.
    pub median: Vec<f64>,
    /// Its P90 as it is served, online correction included; empty for a forecaster that has none.
    pub p90: Vec<f64>,
    /// Its P90 as the model alone gives it; empty for a forecaster that has none.
    pub p90_model: Vec<f64>,
    /// Persistence: for the hour's mean the mean of the last hour, for the 5-minute value the last 5-minute value.
    pub persistence: Vec<f64>,
    /// The last 5-minute value, a second reference that is better than the last hour on jumpy loads.
    pub last_value: Vec<f64>,
}

impl Outcomes {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.observed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.observed.is_empty()
    }

    /// Appends the rows of `other`, such as the next fold's.
    pub fn extend(&mut self, other: &Self) {
        self.node.extend_from_slice(&other.node);
        self.ts.extend_from_slice(&other.ts);
        self.observed.extend_from_slice(&other.observed);
        self.median.extend_from_slice(&other.median);
        self.p90.extend_from_slice(&other.p90);
        self.p90_model.extend_from_slice(&other.p90_model);
        self.persistence.extend_from_slice(&other.persistence);
        self.last_value.extend_from_slice(&other.last_value);
    }

    /// The same rows, forecast by `median` alone: how a baseline is scored.
    #[must_use]
    pub fn forecast_by(&self, median: Vec<f64>) -> Self {
        Self { median, p90: Vec::new(), p90_model: Vec::new(), ..self.clone() }
    }
}

/// The figures of one resource, horizon and target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Rows scored.
    pub rows: usize,
    /// Mean absolute error in utilization points.
    pub mae_points: f64,
    /// Root mean squared error in utilization points.
    pub rmse_points: f64,
    /// R² over all rows; absent for a load that does not vary.
    pub r2_pooled: Option<f64>,
    /// Median of R² over the nodes whose load varies.
    pub r2_median_over_nodes: Option<f64>,
    /// 100 × (1 − WAPE); absent for an idle load.
    pub accuracy_percent: Option<f64>,
    /// 1 − MAE ÷ MAE of persistence; absent when persistence is perfect.
    pub skill: Option<f64>,
    /// MAE of persistence in points.
    pub persistence_mae_points: f64,
    /// 1 − MAE ÷ MAE of the last 5-minute value.
    pub skill_against_last_value: Option<f64>,
    /// Share of forecasts at most 10 points off.
    pub share_within_10_points: f64,
    /// Pinball loss of the median in points.
    pub pinball_p50_points: f64,
    /// Pinball loss of the P90 in points.
    pub pinball_p90_points: Option<f64>,
    /// Share of observations at or below the P90 as it is served.
    pub p90_coverage: Option<f64>,
    /// The same for the model alone, without the online correction.
    pub p90_coverage_of_model: Option<f64>,
    /// Pinball loss of the P90 of the model alone in points.
    pub pinball_p90_of_model_points: Option<f64>,
    /// Mean distance between P90 and P50 in points: what the caution costs.
    pub p90_width_points: Option<f64>,
    /// Heavy load, alarm by the median.
    pub overload: OverloadScores,
    /// Heavy load, alarm by the P90.
    pub overload_p90: Option<OverloadScores>,
}

impl Scores {
    /// Scores all rows; `None` when there is none.
    pub fn of(outcomes: &Outcomes) -> Option<Self> {
        if outcomes.is_empty() {
            return None;
        }
        let (observed, median) = (&outcomes.observed, &outcomes.median);
        let mae = mean_absolute_error(observed, median);
        let persistence = mean_absolute_error(observed, &outcomes.persistence);
        let last = mean_absolute_error(observed, &outcomes.last_value);
        let p90 = (!outcomes.p90.is_empty()).then_some(&outcomes.p90);
        let p90_model = (!outcomes.p90_model.is_empty()).then_some(&outcomes.p90_model);
        Some(Self {
            rows: outcomes.len(),
            mae_points: mae,
            rmse_points: root_mean_squared_error(observed, median),
            r2_pooled: finite(r2_score(observed, median)),
            r2_median_over_nodes: finite(median_r2_score(&outcomes.node, observed, median)),
            accuracy_percent: finite(accuracy(observed, median)),
            skill: finite(skill_score(mae, persistence)),
            persistence_mae_points: persistence,
            skill_against_last_value: finite(skill_score(mae, last)),
            share_within_10_points: share_within(observed, median, 10.0),
            pinball_p50_points: pinball_loss(observed, median, 0.5),
            pinball_p90_points: p90.map(|p90| pinball_loss(observed, p90, 0.9)),
            p90_coverage: p90.map(|p90| coverage(observed, p90)),
            p90_coverage_of_model: p90_model.map(|p90| coverage(observed, p90)),
            pinball_p90_of_model_points: p90_model.map(|p90| pinball_loss(observed, p90, 0.9)),
            p90_width_points: p90.map(|p90| mean_absolute_error(median, p90)),
            overload: OverloadScores::of(observed, median),
            overload_p90: p90.map(|p90| OverloadScores::of(observed, p90)),
        })
    }

    /// Name and value of every figure that exists, for tracking.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        let always = [
            ("rows", Some(self.rows as f64)),
            ("mae_points", Some(self.mae_points)),
            ("rmse_points", Some(self.rmse_points)),
            ("r2_pooled", self.r2_pooled),
            ("r2_median_over_nodes", self.r2_median_over_nodes),
            ("accuracy_percent", self.accuracy_percent),
            ("skill", self.skill),
            ("persistence_mae_points", Some(self.persistence_mae_points)),
            ("skill_against_last_value", self.skill_against_last_value),
            ("share_within_10_points", Some(self.share_within_10_points)),
            ("pinball_p50_points", Some(self.pinball_p50_points)),
            ("pinball_p90_points", self.pinball_p90_points),
            ("p90_coverage", self.p90_coverage),
            ("p90_coverage_of_model", self.p90_coverage_of_model),
            ("p90_width_points", self.p90_width_points),
            ("overload_rows", Some(self.overload.rows as f64)),
            ("overload_mae_points", self.overload.mae_points),
            ("overload_recall", self.overload.recall),
            ("overload_precision", self.overload.precision),
            ("overload_recall_p90", self.overload_p90.and_then(|scores| scores.recall)),
            ("overload_precision_p90", self.overload_p90.and_then(|scores| scores.precision)),
        ];
        always
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .filter(|(_, value)| value.is_finite())
            .collect()
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Outcomes {
        Outcomes {
            node: vec![0, 0, 1, 1],
            ts: vec![0, 300_000, 0, 300_000],
            observed: vec![0.2, 0.4, 0.6, 0.9],
            median: vec![0.25, 0.4, 0.5, 0.85],
            p90: vec![0.3, 0.5, 0.55, 0.95],
            p90_model: vec![0.25, 0.4, 0.5, 0.85],
            persistence: vec![0.3, 0.3, 0.5, 0.8],
            last_value: vec![0.2, 0.4, 0.6, 0.8],
        }
    }

    #[test]
    fn all_figures_agree_with_a_calculation_by_hand() {
        let scores = Scores::of(&outcomes()).expect("four rows");
        // |errors| 0.05, 0, 0.1, 0.05: mean 0.05. Persistence: 0.1, 0.1, 0.1, 0.1. Last value: 0, 0, 0, 0.1.
        assert!((scores.mae_points - 5.0).abs() < 1e-9);
        assert!((scores.skill.expect("skill") - 0.5).abs() < 1e-9);
        assert!((scores.skill_against_last_value.expect("skill") + 1.0).abs() < 1e-9);
        assert!((scores.accuracy_percent.expect("load") - 100.0 * (1.0 - 0.2 / 2.1)).abs() < 1e-9);
        assert_eq!(scores.p90_coverage, Some(0.75));
        assert_eq!(scores.p90_coverage_of_model, Some(0.5));
        // Distances 0.05, 0.1, 0.05, 0.1.
        assert!((scores.p90_width_points.expect("a P90") - 7.5).abs() < 1e-9);
        assert_eq!(scores.overload_p90.and_then(|scores| scores.recall), Some(1.0));
        assert!(scores.figures().iter().any(|(name, value)| *name == "skill" && (*value - 0.5).abs() < 1e-9));
    }

    #[test]
    fn a_constant_node_gets_its_errors_but_no_r2_and_no_skill() {
        let flat = Outcomes {
            node: vec![0; 3],
            ts: vec![0, 1, 2],
            observed: vec![0.3; 3],
            median: vec![0.3; 3],
            p90: vec![0.3; 3],
            p90_model: Vec::new(),
            persistence: vec![0.3; 3],
            last_value: vec![0.3; 3],
        };
        let scores = Scores::of(&flat).expect("three rows");
        assert_eq!((scores.mae_points, scores.r2_pooled, scores.skill), (0.0, None, None));
        assert!(scores.figures().iter().all(|(_, value)| value.is_finite()));
        assert_eq!(Scores::of(&Outcomes::default()), None);
    }

    #[test]
    fn a_baseline_is_scored_on_the_same_rows() {
        let baseline = outcomes().forecast_by(outcomes().persistence);
        let scores = Scores::of(&baseline).expect("four rows");
        assert_eq!((scores.skill, scores.p90_coverage), (Some(0.0), None));
    }
}
