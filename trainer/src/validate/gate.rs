//! The gate between a trained model and the registry: pure arithmetic on figures, so that every rule has a test.

use super::champion::{ChampionComparison, Standing, in_days, in_words};
use super::difference::Difference;
use crate::evaluate::Scores;
use clap::Args;
use models::load::HeadKey;
use serde::{Deserialize, Serialize};

/// Limits of the gate, section `[trainer.validate]`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSettings {
    /// A head with skill of its own must beat persistence by more than this share (0.05 = 5 %)
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_MIN_SKILL", default_value_t = 0.0, value_name = "SHARE")]
    pub min_skill: f64,
    /// A head that falls back to its baseline may lose this share to persistence
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_FALLBACK_SLACK", default_value_t = 0.05, value_name = "SHARE")]
    pub fallback_slack: f64,
    /// Smallest share of observations that the P90 must cover
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_MIN_COVERAGE", default_value_t = 0.85, value_name = "SHARE")]
    pub min_coverage: f64,
    /// Largest share of observations that the P90 may cover: a P90 that covers everything wastes nodes
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_MAX_COVERAGE", default_value_t = 0.95, value_name = "SHARE")]
    pub max_coverage: f64,
    /// A model must be scored on at least this many rows per head
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_MIN_ROWS", default_value_t = 100, value_name = "ROWS")]
    pub min_rows: usize,
    /// Below this error, in points, skill and coverage are not asked for: a constant load leaves nothing to gain
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_NEGLIGIBLE_ERROR", default_value_t = 0.25, value_name = "POINTS")]
    pub negligible_error_points: f64,
    /// A new model may be worse than the champion by this share of its error (0.03 = 3 %), and must be shown to be no worse than that
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_CHAMPION_MARGIN", default_value_t = 0.03, value_name = "SHARE")]
    pub champion_margin: f64,
    /// A difference to the champion below this many points never matters, however large a share of its error it is
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_CHAMPION_SLACK", default_value_t = 0.05, value_name = "POINTS")]
    pub champion_slack_points: f64,
    /// Days that neither model has learned from, at least, before one takes the other's place
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_CHAMPION_MIN_DAYS", default_value_t = 1.0, value_name = "DAYS")]
    pub champion_min_days: f64,
    /// A fresh fit may be so many times the judged model's error away from its forecasts, on average
    #[arg(long, env = "BERTH_TRAINER_VALIDATE_FRESH_MAX_DISTANCE", default_value_t = 1.0, value_name = "TIMES")]
    pub fresh_max_distance: f64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            min_skill: 0.0,
            fallback_slack: 0.05,
            min_coverage: 0.85,
            max_coverage: 0.95,
            min_rows: 100,
            negligible_error_points: 0.25,
            champion_margin: 0.03,
            champion_slack_points: 0.05,
            champion_min_days: 1.0,
            fresh_max_distance: 1.0,
        }
    }
}

impl GateSettings {
    /// Checks that the limits leave room for a model.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), runtime::WrongUse> {
        let wrong = |key: &str, rule: &str, got: f64| {
            Err(runtime::WrongUse(format!("`{key}` of [trainer.validate] must be {rule}, got {got}")))
        };
        if !(-1.0..1.0).contains(&self.min_skill) {
            return wrong("min_skill", "between -1 and 1", self.min_skill);
        }
        if !(0.0..=1.0).contains(&self.min_coverage) {
            return wrong("min_coverage", "between 0 and 1", self.min_coverage);
        }
        if !(self.min_coverage..=1.0).contains(&self.max_coverage) {
            return wrong("max_coverage", "between min_coverage and 1", self.max_coverage);
        }
        if !(self.champion_margin > 0.0 && self.champion_margin <= 1.0) {
            return wrong("champion_margin", "above 0 and at most 1", self.champion_margin);
        }
        for (key, value) in [
            ("champion_slack_points", self.champion_slack_points),
            ("champion_min_days", self.champion_min_days),
            ("fresh_max_distance", self.fresh_max_distance),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(key, "at least 0", value);
            }
        }
        Ok(())
    }
}

/// What the gate looks at, for one head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadEvaluation {
    /// Which head.
    pub key: HeadKey,
    /// Its figures on the held-out window; `None` when no row could be scored.
    pub scores: Option<Scores>,
    /// The head answers with its baseline.
    pub fallback: bool,
    /// Forecasts that cannot be: not finite where the baseline is known, below 0, above 2, or a P90 below the P50.
    pub insane: usize,
    /// Against the champion on the same rows (below 0 the new model is better), for people; `None` without a champion.
    pub against_champion: Option<Difference>,
}

/// One rule applied to one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Which head, such as `cpu-1h`, or which resource where a rule is about all of its heads.
    pub head: String,
    /// Which rule: `rows`, `sane`, `skill`, `coverage` or `champion`.
    pub rule: String,
    /// Whether it holds.
    pub passed: bool,
    /// Why, with value and limit.
    pub reason: String,
}

/// Applies every rule to a head.
pub fn check_head(head: &HeadEvaluation, limits: &GateSettings) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut check = |rule: &str, passed: bool, reason: String| {
        checks.push(Check { head: head.key.slug(), rule: rule.to_owned(), passed, reason });
    };
    let rows = head.scores.map_or(0, |scores| scores.rows);
    check("rows", rows >= limits.min_rows, format!("scored on {rows} rows, at least {} are wanted", limits.min_rows));
    check(
        "sane",
        head.insane == 0,
        match head.insane {
            0 => "every forecast is finite, within 0 and 2, and has its P90 at or above its P50".to_owned(),
            count => format!("{count} forecasts are not finite, outside 0 to 2, or have a P90 below the P50"),
        },
    );
    let Some(scores) = head.scores else { return checks };
    let mae = scores.mae_points;
    let negligible = mae <= limits.negligible_error_points;
    let least = if head.fallback { -limits.fallback_slack } else { limits.min_skill };
    let note = if head.fallback { ", the baseline answers" } else { "" };
    let (passed, reason) = match scores.skill {
        _ if negligible => {
            (true, format!("error of {mae:.3} points is negligible (limit {})", limits.negligible_error_points))
        }
        Some(skill) => {
            (skill > least, format!("skill against persistence is {skill:.3}, must be above {least:.3}{note}"))
        }
        None => (false, format!("persistence is perfect here, the model errs by {mae:.3} points")),
    };
    check("skill", passed, reason);
    if let Some(coverage) = scores.p90_coverage {
        let (low, high) = (limits.min_coverage, limits.max_coverage);
        let passed = negligible || (low..=high).contains(&coverage);
        check(
            "coverage",
            passed,
            format!("P90 covers {coverage:.3} of the observations, must be within {low} and {high}"),
        );
    }
    checks
}

/// The rules about the champion: one per resource, and one for each head that is worse on its own. "Not yet" breaks no rule.
pub fn check_champion(comparison: &ChampionComparison) -> Vec<Check> {
    let allowed = format!("{:.1} % worse is allowed", 100.0 * comparison.margin_share);
    let check =
        |head: String, passed: bool, reason: String| Check { head, rule: "champion".to_owned(), passed, reason };
    let families = comparison.families.iter().map(|family| {
        let what = format!(
            "error is {} than the champion's over {}, 95 % interval {:+.1} to {:+.1} %, one-sided {:+.1} %",
            in_words(family.mean_share),
            in_days(comparison.days),
            100.0 * family.low_share,
            100.0 * family.high_share,
            100.0 * family.upper_share
        );
        let so = match family.standing {
            Standing::NoWorse => format!("no worse: {allowed}"),
            Standing::Worse => format!("worse by more than that beyond chance: {allowed}"),
            Standing::Unclear => format!("not clear yet: {allowed}"),
        };
        check(family.resource.as_str().to_owned(), family.standing != Standing::Worse, format!("{what}; {so}"))
    });
    let heads = comparison.worse_heads.iter().map(|head| {
        let reason = format!("error is worse than the champion's beyond chance, whatever its family: {allowed}");
        check(head.clone(), false, reason)
    });
    families.chain(heads).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Outcomes;
    use cluster::Resource;
    use models::load::Horizon;

    /// A head with `skill` = 1 − `error` ÷ 10 points and the given coverage, on 200 rows.
    fn head(error: f64, coverage: f64) -> HeadEvaluation {
        let rows = 200;
        let outcomes = Outcomes {
            node: vec![0; rows],
            ts: vec![0; rows],
            observed: vec![0.5; rows],
            median: vec![0.5 + error / 100.0; rows],
            p90: (0..rows).map(|row| if (row as f64) < coverage * rows as f64 { 0.7 } else { 0.4 }).collect(),
            p90_model: Vec::new(),
            persistence: vec![0.6; rows],
            last_value: vec![0.6; rows],
        };
        let key = HeadKey { resource: Resource::Cpu, horizon: Horizon::ALL[0] };
        HeadEvaluation { key, scores: Scores::of(&outcomes), fallback: false, insane: 0, against_champion: None }
    }

    fn refused(head: &HeadEvaluation) -> Vec<String> {
        let checks = check_head(head, &GateSettings::default());
        checks.into_iter().filter(|check| !check.passed).map(|check| check.rule).collect()
    }

    #[test]
    fn a_good_head_passes_every_rule() {
        assert_eq!(refused(&head(5.0, 0.9)), Vec::<String>::new());
    }

    #[test]
    fn each_rule_refuses_what_it_is_for() {
        assert_eq!(refused(&head(11.0, 0.9)), ["skill"]);
        assert_eq!(refused(&head(5.0, 0.8)), ["coverage"]);
        assert_eq!(refused(&head(5.0, 0.97)), ["coverage"]);
        assert_eq!(refused(&HeadEvaluation { insane: 1, ..head(5.0, 0.9) }), ["sane"]);
        assert_eq!(refused(&HeadEvaluation { scores: None, ..head(5.0, 0.9) }), ["rows"]);
    }

    #[test]
    fn a_fallback_may_lose_a_little_but_not_much() {
        assert!(refused(&HeadEvaluation { fallback: true, ..head(10.3, 0.9) }).is_empty());
        assert_eq!(refused(&HeadEvaluation { fallback: true, ..head(11.0, 0.9) }), ["skill"]);
    }

    #[test]
    fn what_is_not_clear_yet_breaks_no_rule_and_what_is_worse_does() {
        let comparison = |standing, worse_heads| ChampionComparison {
            decision: crate::validate::Decision::NotYet,
            margin_share: 0.03,
            days: 1.4,
            missing_days: Some(2.0),
            families: vec![crate::validate::FamilyComparison {
                resource: Resource::Cpu,
                mean_share: 0.02,
                low_share: -0.03,
                high_share: 0.07,
                upper_share: 0.06,
                standing,
                missing_days: Some(2.0),
            }],
            worse_heads,
        };
        let broken = |standing, heads: &[&str]| -> Vec<String> {
            let heads = heads.iter().map(|head| (*head).to_owned()).collect();
            let checks = check_champion(&comparison(standing, heads));
            checks.into_iter().filter(|check| !check.passed).map(|check| check.head).collect()
        };
        assert!(broken(Standing::NoWorse, &[]).is_empty() && broken(Standing::Unclear, &[]).is_empty());
        assert_eq!(broken(Standing::Worse, &[]), ["cpu"]);
        assert_eq!(broken(Standing::NoWorse, &["cpu-4h"]), ["cpu-4h"]);
        let reason = &check_champion(&comparison(Standing::Unclear, Vec::new()))[0].reason;
        assert_eq!(
            reason,
            "error is 2.0 % worse than the champion's over 1.4 days, 95 % interval -3.0 to +7.0 %, one-sided +6.0 %; not clear yet: 3.0 % worse is allowed"
        );
    }

    #[test]
    fn a_constant_node_is_not_refused_for_having_nothing_to_gain() {
        let mut flat = head(0.0, 1.0);
        if let Some(scores) = &mut flat.scores {
            scores.skill = None;
        }
        assert!(refused(&flat).is_empty());
    }

    #[test]
    fn limits_that_leave_no_room_are_refused_by_name() {
        let error = GateSettings { max_coverage: 0.5, ..GateSettings::default() }.validate().expect_err("0.85 to 0.5");
        assert!(error.to_string().contains("`max_coverage`"), "{error}");
        let error = GateSettings { champion_margin: 0.0, ..GateSettings::default() }.validate().expect_err("no margin");
        assert!(error.to_string().contains("`champion_margin`"), "{error}");
    }
}
