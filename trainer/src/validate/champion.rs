//! May a new model take the champion's place? It has to be shown that it is no worse, by more than a margin; until there are
//! hours enough to show it, the answer is "not yet".
//!
//! - Heads of one resource answer nearly the same question, so they are one family: the mean over its heads of the difference
//!   of errors, as a share of the champion's error.
//! - To **promote**, each family must be no worse: the upper end of its one-sided 95 % interval below the margin. All of them
//!   must hold, so none needs a correction (intersection-union test, Berger 1982).
//! - To **keep** the champion, one family that is worse by more than the margin is enough: the whole interval above it. One of
//!   several may look so by chance, so the levels are Holm's (1979), 5 % over all families together. A single head speaks for
//!   itself where its whole 98 % interval is above the margin.
//! - Everything else is **not yet**, with the days that are missing if the means stay where they are.

use super::difference::DifferenceSeries;
use super::gate::GateSettings;
use cluster::{GRID_STEP_MS, Resource};
use models::evidence::{DependentMean, Tail};
use models::load::HeadKey;
use serde::{Deserialize, Serialize};

/// What becomes of a model that holds every limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It becomes champion.
    Promote,
    /// The champion stays: the new model breaks a rule, or is worse.
    Keep,
    /// The champion stays for now: there are too few hours to tell. The new model may run beside it as challenger.
    NotYet,
}

/// One head of both models on the hours that neither has learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadComparison {
    /// Which head.
    pub key: HeadKey,
    /// The champion's mean absolute error there, in points.
    pub champion_mae_points: f64,
    /// New model less champion.
    pub series: DifferenceSeries,
}

/// How sure it is, for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Worse by less than the margin, if at all.
    NoWorse,
    /// Worse by more than the margin.
    Worse,
    /// Too few hours to tell.
    Unclear,
}

/// All heads of one resource together. Shares are of the champion's error: 0.01 is worse by one percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyComparison {
    /// Which resource.
    pub resource: Resource,
    /// Mean difference.
    pub mean_share: f64,
    /// Lower end of the 95 % interval.
    pub low_share: f64,
    /// Upper end of the 95 % interval.
    pub high_share: f64,
    /// Upper end of the one-sided 95 % interval, which has to be below the margin.
    pub upper_share: f64,
    /// What that says.
    pub standing: Standing,
    /// Days that are missing to show that it is no worse, should the mean stay; absent where more days would not help.
    pub missing_days: Option<f64>,
}

/// The new model beside the champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChampionComparison {
    /// What follows.
    pub decision: Decision,
    /// By how much it may be worse, as a share of the champion's error.
    pub margin_share: f64,
    /// Days that both were compared on.
    pub days: f64,
    /// Days that are missing, at least, before a promotion; 0 unless the decision is "not yet", absent where more days
    /// would not help.
    pub missing_days: Option<f64>,
    /// By resource.
    pub families: Vec<FamilyComparison>,
    /// Heads that are worse on their own, whatever their family.
    pub worse_heads: Vec<String>,
}

impl ChampionComparison {
    /// Compares. `None` where no head of the two could be compared at all.
    pub fn of(heads: &[HeadComparison], limits: &GateSettings) -> Option<Self> {
        let margin = limits.champion_margin;
        let scaled: Vec<(HeadKey, DifferenceSeries)> =
            heads.iter().filter_map(|head| Some((head.key, head.as_share(limits)?))).collect();
        let mut families: Vec<(FamilyComparison, DependentMean)> = Vec::new();
        for resource in Resource::ALL {
            let own = scaled.iter().filter(|(key, _)| key.resource == resource).map(|(_, series)| series);
            let Some(series) = mean_of(&own.collect::<Vec<_>>()) else { continue };
            let Some(of) = DependentMean::of(&series.points) else { continue };
            families.push((FamilyComparison::of(resource, &of, series.hours() / 24.0, margin), of));
        }
        let days = scaled.iter().map(|(_, series)| series.hours() / 24.0).reduce(f64::min)?;
        mark_worse(&mut families, margin);
        let worse_heads: Vec<String> = scaled
            .iter()
            .filter(|(_, series)| DependentMean::of(&series.points).is_some_and(|of| of.low(Tail::One) > margin))
            .map(|(key, _)| key.slug())
            .collect();
        let families: Vec<FamilyComparison> = families.into_iter().map(|(family, _)| family).collect();
        let all = |standing| families.iter().all(|family: &FamilyComparison| family.standing == standing);
        let any_worse = families.iter().any(|family| family.standing == Standing::Worse) || !worse_heads.is_empty();
        let decision = if days < limits.champion_min_days {
            // What a few hours say is chance, however sure it looks.
            Decision::NotYet
        } else if any_worse {
            Decision::Keep
        } else if all(Standing::NoWorse) && !families.is_empty() {
            Decision::Promote
        } else {
            Decision::NotYet
        };
        let missing_days = match decision {
            Decision::NotYet => {
                let least = (limits.champion_min_days - days).max(0.0);
                let missing = families.iter().map(|family| family.missing_days);
                missing.collect::<Option<Vec<f64>>>().map(|missing| missing.into_iter().fold(least, f64::max))
            }
            _ => Some(0.0),
        };
        Some(Self { decision, margin_share: margin, days, missing_days, families, worse_heads })
    }
}

impl HeadComparison {
    /// The series as shares of the champion's error. Errors so small that the margin would be less than the slack count as
    /// if they were not: then a difference of less than the slack never matters.
    fn as_share(&self, limits: &GateSettings) -> Option<DifferenceSeries> {
        let least = limits.champion_slack_points / limits.champion_margin;
        let error = self.champion_mae_points.max(least);
        if !(error.is_finite() && error > 0.0) || self.series.points.is_empty() {
            return None;
        }
        let points = self.series.points.iter().map(|points| points / error).collect();
        Some(DifferenceSeries { from: self.series.from, points })
    }
}

impl FamilyComparison {
    fn of(resource: Resource, of: &DependentMean, days: f64, margin: f64) -> Self {
        let upper_share = of.high(Tail::Five);
        let is_shown = upper_share < margin;
        let growth = of.growth_until_below(margin, Tail::Five);
        Self {
            resource,
            mean_share: of.mean,
            low_share: of.low(Tail::TwoAndAHalf),
            high_share: of.high(Tail::TwoAndAHalf),
            upper_share,
            standing: if is_shown { Standing::NoWorse } else { Standing::Unclear },
            missing_days: growth.map(|times| days * (times - 1.0)),
        }
    }
}

/// Holm's step-down over families: the surest has to be sure at 5 % over their number, the next at 5 % over one less.
fn mark_worse(families: &mut [(FamilyComparison, DependentMean)], margin: f64) {
    let mut left: Vec<usize> = (0..families.len()).collect();
    while !left.is_empty() {
        let tail = if left.len() > 1 { Tail::TwoAndAHalf } else { Tail::Five };
        let worse = |place: &usize| {
            let (_, of) = &families[*place];
            of.low(tail) > margin
        };
        let Some(at) = left.iter().position(worse) else { break };
        families[left.swap_remove(at)].0.standing = Standing::Worse;
    }
}

/// The mean over series at each time that any of them has; `None` where none has a value.
fn mean_of(series: &[&DifferenceSeries]) -> Option<DifferenceSeries> {
    let from = series.iter().map(|series| series.from).min()?;
    let end = |series: &DifferenceSeries| series.from + series.points.len() as i64 * GRID_STEP_MS;
    let until = series.iter().map(|series| end(series)).max()?;
    let value = |series: &DifferenceSeries, at: i64| {
        let slot = usize::try_from((at - series.from) / GRID_STEP_MS).ok().filter(|_| at >= series.from)?;
        series.points.get(slot).copied().filter(|value| !value.is_nan())
    };
    let points = (from..until).step_by(GRID_STEP_MS as usize).map(|at| {
        let (sum, count) = series
            .iter()
            .filter_map(|series| value(series, at))
            .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        sum / count
    });
    Some(DifferenceSeries { from, points: points.collect() })
}

/// As people say it: one decimal, but whole days where there are many.
pub fn in_days(days: f64) -> String {
    if days >= 10.0 { format!("{days:.0} days") } else { format!("{days:.1} days") }
}

/// A difference of errors in words: "2.1 % better", "0.4 % worse".
pub fn in_words(share: f64) -> String {
    format!("{:.1} % {}", 100.0 * share.abs(), if share > 0.0 { "worse" } else { "better" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::DAY_MS;
    use models::load::Horizon;

    /// A head whose new model errs by `points` more than the champion's 4 points on average, in waves of `swing` points that
    /// last two hours.
    fn head(resource: Resource, days: i64, points: f64, swing: f64) -> HeadComparison {
        let slots = days * DAY_MS / GRID_STEP_MS;
        let wave = |slot: i64| points + swing * (slot as f64 / 24.0 * std::f64::consts::TAU).sin();
        HeadComparison {
            key: HeadKey { resource, horizon: Horizon::ALL[0] },
            champion_mae_points: 4.0,
            series: DifferenceSeries { from: 0, points: (0..slots).map(wave).collect() },
        }
    }

    fn compare(heads: &[HeadComparison]) -> ChampionComparison {
        ChampionComparison::of(heads, &GateSettings::default()).expect("heads")
    }

    #[test]
    fn a_model_that_is_no_worse_is_promoted_and_one_that_is_worse_is_not() {
        // 3 % of 4 points are 0.12.
        let promoted = compare(&[head(Resource::Cpu, 3, 0.0, 0.1), head(Resource::Memory, 3, -0.1, 0.1)]);
        assert_eq!((promoted.decision, promoted.missing_days), (Decision::Promote, Some(0.0)), "{promoted:#?}");
        assert!((promoted.families[1].mean_share + 0.025).abs() < 1e-3, "{promoted:#?}");
        let kept = compare(&[head(Resource::Cpu, 3, 0.0, 0.1), head(Resource::Memory, 3, 0.3, 0.1)]);
        assert_eq!(kept.decision, Decision::Keep);
        assert_eq!(
            kept.families.iter().map(|family| family.standing).collect::<Vec<_>>(),
            [Standing::NoWorse, Standing::Worse]
        );
    }

    #[test]
    fn worse_by_less_than_the_margin_is_good_enough_however_certain() {
        let promoted = compare(&[head(Resource::Cpu, 7, 0.08, 0.05)]);
        assert!(promoted.families[0].low_share > 0.0 && promoted.families[0].mean_share < 0.03, "{promoted:#?}");
        assert_eq!(promoted.decision, Decision::Promote);
    }

    #[test]
    fn too_few_hours_say_how_many_are_missing() {
        let one_day = compare(&[head(Resource::Cpu, 1, 0.02, 1.5)]);
        assert_eq!(one_day.decision, Decision::NotYet, "{one_day:#?}");
        let missing = one_day.missing_days.expect("an estimate");
        assert!(missing > 0.0);
        // By hand: the interval has to be as wide as the room between the mean and 3 %, and shrinks with the root of time.
        let family = one_day.families[0];
        let wanted = ((family.upper_share - family.mean_share) / (0.03 - family.mean_share)).powi(2) - 1.0;
        assert!((missing - wanted).abs() < 1e-9, "{missing} {wanted}");
        // Half a day is too little, whatever it says.
        let sure = HeadComparison {
            series: DifferenceSeries { from: 0, points: vec![1.0; 144] },
            ..head(Resource::Cpu, 1, 0.0, 0.0)
        };
        let half = compare(&[sure]);
        assert_eq!(
            (half.decision, half.missing_days),
            (Decision::NotYet, None),
            "worse as it stands: more days do not help"
        );
    }

    #[test]
    fn a_head_that_is_far_worse_is_not_hidden_by_its_family() {
        let far = HeadComparison {
            key: HeadKey { resource: Resource::Cpu, horizon: Horizon::ALL[2] },
            ..head(Resource::Cpu, 3, 0.6, 0.1)
        };
        let hidden = compare(&[head(Resource::Cpu, 3, -0.6, 0.1), far]);
        assert!(hidden.families[0].mean_share.abs() < 1e-9);
        assert_eq!((hidden.decision, &hidden.worse_heads[..]), (Decision::Keep, &["cpu-4h".to_owned()][..]));
    }

    #[test]
    fn tiny_errors_are_compared_in_points_and_not_in_percent() {
        // An error of 0.1 points that grows by half is 0.05 points: nobody places a pod by that.
        let idle = |points| HeadComparison { champion_mae_points: 0.1, ..head(Resource::Memory, 3, points, 0.01) };
        assert_eq!(compare(&[idle(0.045)]).decision, Decision::Promote);
        assert_eq!(compare(&[idle(0.08)]).decision, Decision::Keep);
    }

    #[test]
    fn the_surest_of_two_families_has_to_be_surer() {
        let family = |resource, mean: f64, error: f64| {
            let of = DependentMean { mean, standard_error: error, count: 100 };
            (FamilyComparison::of(resource, &of, 3.0, 0.03), of)
        };
        // 2.566 standard errors are 97.5 %, 2.092 are 95 %. A mean of 0.25 is 2.2 above the margin: enough alone, not as the surest
        // of two.
        let mut alone = [family(Resource::Cpu, 0.25, 0.1)];
        mark_worse(&mut alone, 0.03);
        assert_eq!(alone[0].0.standing, Standing::Worse);
        let mut two = [family(Resource::Cpu, 0.25, 0.1), family(Resource::Memory, 0.1, 0.1)];
        mark_worse(&mut two, 0.03);
        assert!(two.iter().all(|(family, _)| family.standing == Standing::Unclear));
        // Where the other one is surer still, it is the last of two, and one tail of 5 % is enough.
        let mut two = [family(Resource::Cpu, 0.25, 0.1), family(Resource::Memory, 0.3, 0.1)];
        mark_worse(&mut two, 0.03);
        assert!(two.iter().all(|(family, _)| family.standing == Standing::Worse));
    }
}
