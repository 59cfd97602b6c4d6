//! Does a fresh fit agree with the model whose recipe it is? Nobody can judge it on hours that it has not learned from: there are none
//! yet. So it is held to what a sound fit cannot help doing on the hours that the judged model was tested on and the fresh fit
//! has learned from: err no more than the one that has not seen them, and stay within reach of it.

use super::gate::GateSettings;
use serde::{Deserialize, Serialize};

/// Coverage that the fresh fit's own P90 may lose: its shift was chosen for the judged boosters, on rows that are among its own now.
const COVERAGE_LOSS: f64 = 0.05;

/// One head of both fits on the same rows; figures are 0 where there is no row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshHead {
    /// Which head, such as `cpu-1h`.
    pub head: String,
    /// Rows that both forecast and whose outcome is known.
    pub rows: usize,
    /// Mean absolute error of the judged model there, in points.
    pub judged_mae_points: f64,
    /// Mean absolute error of the fresh fit there, in points.
    pub fresh_mae_points: f64,
    /// Mean absolute difference of the two medians, in points.
    pub distance_points: f64,
    /// Share of observations at or below the judged model's own P90.
    pub judged_coverage: f64,
    /// The same for the fresh fit.
    pub fresh_coverage: f64,
    /// Forecasts of the fresh fit that cannot be.
    pub insane: usize,
}

/// Whether the fresh fit may serve in place of the judged model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshVerdict {
    /// The fresh fit, by the hash of the files that forecast.
    pub model_hash: String,
    /// Whether it agrees. If not, the judged model serves.
    pub passed: bool,
    /// Why not, one sentence each.
    pub reasons: Vec<String>,
    /// Figures by head.
    pub heads: Vec<FreshHead>,
}

impl FreshVerdict {
    /// Applies every rule to every head.
    pub fn of(model_hash: &str, heads: Vec<FreshHead>, limits: &GateSettings) -> Self {
        let reasons: Vec<String> = heads.iter().flat_map(|head| departures(head, limits)).collect();
        Self { model_hash: model_hash.to_owned(), passed: reasons.is_empty(), reasons, heads }
    }
}

fn departures(head: &FreshHead, limits: &GateSettings) -> Vec<String> {
    let name = &head.head;
    let mut reasons = Vec::new();
    if head.insane > 0 {
        reasons.push(format!(
            "{name}: {} forecasts of the fresh fit are not finite, outside 0 to 2, or have a P90 below the P50",
            head.insane
        ));
    }
    if head.rows == 0 {
        return reasons;
    }
    // Whoever has seen these rows errs less on them than who has not. The margin is for slices of history that were thinned.
    let most = head.judged_mae_points * (1.0 + limits.champion_margin) + limits.champion_slack_points;
    // A figure that is not a number holds no limit.
    if head.fresh_mae_points.is_nan() || head.fresh_mae_points > most {
        reasons.push(format!(
            "{name}: the fresh fit errs by {:.3} points on hours that it has learned from, the judged model by {:.3} without having seen them; at most {most:.3} is sound",
            head.fresh_mae_points, head.judged_mae_points
        ));
    }
    // After a change of regime both are far apart, but then the judged one errs as much: what it errs by is the measure.
    let reach = limits.fresh_max_distance * head.judged_mae_points.max(limits.negligible_error_points);
    if head.distance_points.is_nan() || head.distance_points > reach {
        reasons.push(format!(
            "{name}: the fresh fit's forecasts are {:.3} points from the judged model's on average, at most {reach:.3} ({} times the judged error) is allowed",
            head.distance_points, limits.fresh_max_distance
        ));
    }
    let least = head.judged_coverage - COVERAGE_LOSS;
    let covers_less = head.fresh_coverage.is_nan() || head.fresh_coverage < least;
    if covers_less && head.judged_mae_points > limits.negligible_error_points {
        reasons.push(format!(
            "{name}: the fresh fit's P90 covers {:.3} of the observations, the judged model's {:.3}; at least {least:.3} is wanted",
            head.fresh_coverage, head.judged_coverage
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> FreshHead {
        FreshHead {
            head: "cpu-1h".into(),
            rows: 500,
            judged_mae_points: 4.0,
            fresh_mae_points: 3.8,
            distance_points: 1.5,
            judged_coverage: 0.9,
            fresh_coverage: 0.92,
            insane: 0,
        }
    }

    fn reasons(head: FreshHead) -> Vec<String> {
        FreshVerdict::of("abc", vec![head], &GateSettings::default()).reasons
    }

    #[test]
    fn a_fit_that_knows_more_and_stays_near_may_serve() {
        assert!(FreshVerdict::of("abc", vec![head(), head()], &GateSettings::default()).passed);
        // A regime that changed a few days ago: far apart, because the judged model is far off.
        let changed = FreshHead { judged_mae_points: 6.5, fresh_mae_points: 3.0, distance_points: 5.6, ..head() };
        assert_eq!(reasons(changed), Vec::<String>::new());
    }

    #[test]
    fn each_way_to_depart_is_named() {
        // 4 points, 3 % and 0.05: 4.17.
        let blind = reasons(FreshHead { fresh_mae_points: 4.2, ..head() });
        assert!(blind.len() == 1 && blind[0].contains("at most 4.170 is sound"), "{blind:?}");
        let far = reasons(FreshHead { distance_points: 4.1, ..head() });
        assert!(far.len() == 1 && far[0].contains("at most 4.000"), "{far:?}");
        let low = reasons(FreshHead { fresh_coverage: 0.84, ..head() });
        assert!(low.len() == 1 && low[0].contains("0.850 is wanted"), "{low:?}");
        let mad = reasons(FreshHead { insane: 3, fresh_mae_points: f64::NAN, ..head() });
        assert_eq!(mad.len(), 2, "{mad:?}");
    }
}
