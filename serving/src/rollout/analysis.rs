//! What is known of champion and challenger beside each other, and when the challenger has to go.

use super::Arm;
use super::alarms::Alarms;
use super::choices::Choices;
use super::log::Versions;
use super::quality::{ForecastErrors, Quality};
use super::stats::Mean;
use clap::Args;
use cluster::Resource;
use models::evidence::{BlockSequence, LEAST_HOURS, LIMIT_ALPHA, SequenceInterval as Difference, ShareSequence};
use runtime::WrongUse;
use runtime::settings::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// When the champion answers for all again, section `[serving.rollout]`. Each limit is on what the challenger does beyond
/// the champion, and is passed when the whole confidence sequence of that difference lies above it. All limits together send
/// back a challenger that is within them with a probability of at most 5 %, however long it runs.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutArgs {
    /// Share of pods by which the challenger may fail more often than the champion
    #[arg(long, env = "BERTH_SERVING_ROLLOUT_MAX_ERRORS", default_value_t = 0.01, value_name = "SHARE")]
    pub rollout_max_errors: f64,
    /// A pod's scores that take longer count as slow
    #[arg(long, env = "BERTH_SERVING_ROLLOUT_SLOW_AFTER", default_value = "100ms", value_name = "SPAN")]
    pub rollout_slow_after: Span,
    /// Share of pods by which the challenger may be slow more often than the champion
    #[arg(long, env = "BERTH_SERVING_ROLLOUT_MAX_SLOW", default_value_t = 0.01, value_name = "SHARE")]
    pub rollout_max_slow: f64,
    /// By how much the challenger's forecasts may miss what happened by more than the champion's: mean utilization, 0.01 is
    /// one point
    #[arg(long, env = "BERTH_SERVING_ROLLOUT_MAX_FORECAST_LOSS", default_value_t = 0.005, value_name = "SHARE")]
    pub rollout_max_forecast_loss: f64,
    /// By how much less load score the nodes that the challenger chose may have an hour later than the champion's
    #[arg(long, env = "BERTH_SERVING_ROLLOUT_MAX_CHOICE_LOSS", default_value_t = 0.05, value_name = "SHARE")]
    pub rollout_max_choice_loss: f64,
    /// Share of readings by which the challenger may raise more alarms than the champion
    #[arg(long, env = "BERTH_SERVING_ROLLOUT_MAX_ALARMS", default_value_t = 0.02, value_name = "SHARE")]
    pub rollout_max_alarms: f64,
    /// No verdict on forecasts, choices and alarms before so many hours: the first ones may all be of a kind
    #[arg(long, env = "BERTH_SERVING_ROLLOUT_MIN_HOURS", default_value_t = LEAST_HOURS, value_name = "HOURS")]
    pub rollout_min_hours: f64,
}

impl RolloutArgs {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        for (key, value) in [
            ("rollout_max_errors", self.rollout_max_errors),
            ("rollout_max_slow", self.rollout_max_slow),
            ("rollout_max_forecast_loss", self.rollout_max_forecast_loss),
            ("rollout_max_choice_loss", self.rollout_max_choice_loss),
            ("rollout_max_alarms", self.rollout_max_alarms),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(WrongUse(format!("`{key}` of [serving.rollout] is {value}, want a share from 0 to 1")));
            }
        }
        if !(4.0..=168.0).contains(&self.rollout_min_hours) {
            return Err(WrongUse(format!(
                "`rollout_min_hours` of [serving.rollout] is {}, want hours from 4 to 168",
                self.rollout_min_hours
            )));
        }
        Ok(())
    }

    /// How sure a difference over time is by now.
    pub fn interval(&self, sequence: &BlockSequence) -> Difference {
        sequence.interval(LIMIT_ALPHA, self.rollout_min_hours)
    }
}

/// What was counted of one arm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Pods for which the versions at work gave less than they should have.
    pub errors: ShareSequence,
    /// Pods that took too long.
    pub slow: ShareSequence,
    /// Seconds for the scores of a pod.
    pub seconds: Mean,
}

/// What was counted since one of the versions changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The versions that serve.
    pub champion: Versions,
    /// The versions beside them.
    pub challenger: Versions,
    /// Since when, UTC milliseconds.
    pub since: i64,
    arms: BTreeMap<Arm, Figures>,
    /// How forecasts turned out.
    pub quality: Quality,
    /// How chosen nodes fared.
    pub choices: Choices,
    /// How often nodes are suspected.
    pub alarms: Alarms,
}

/// A figure of both arms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Shares {
    /// The champion's.
    pub champion: Option<f64>,
    /// The challenger's.
    pub challenger: Option<f64>,
    /// Challenger less champion.
    pub difference: Difference,
    /// The difference that is still allowed; absent where none is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// Champion and challenger beside each other, each difference with its confidence sequence; that of the time per pod, which has
/// no limit, with a 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The versions that serve.
    pub champion: Versions,
    /// The versions beside them.
    pub challenger: Versions,
    /// Since when the two are compared, UTC milliseconds; RFC 3339 where it is told.
    #[serde(serialize_with = "score_api::rfc3339")]
    pub since: i64,
    /// Pods that each arm answered for.
    pub pods: BTreeMap<Arm, u64>,
    /// Pods that an arm could not give all parts for.
    pub errors: Shares,
    /// Pods that took longer than `slow_after_seconds`.
    pub slow: Shares,
    /// What counts as slow.
    pub slow_after_seconds: f64,
    /// Seconds for the scores of a pod: means, and their difference.
    pub seconds: Shares,
    /// Mean absolute errors of forecasts, as shares of a node.
    pub forecasts: ForecastErrors,
    /// The loss of quality that is still allowed.
    pub forecast_limit: f64,
    /// Hours before which forecasts, choices and alarms send nobody back.
    pub least_hours: f64,
    /// The same by resource.
    pub forecasts_by_resource: BTreeMap<Resource, ForecastErrors>,
    /// Forecasts that wait for their hour, and those that were lost.
    pub forecasts_waiting: usize,
    /// Those of which nobody will know how they turned out.
    pub forecasts_lost: u64,
    /// Load score that the chosen nodes lacked an hour later: means over workloads.
    pub choices: Shares,
    /// Choices that wait for their hour, and those that were lost.
    pub choices_waiting: usize,
    /// Those of which nobody will know what they were worth.
    pub choices_lost: u64,
    /// Readings of nodes that are alarms.
    pub alarms: Shares,
}

/// A limit that was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// `errors`, `latency`, `quality`, `choices` or `alarms`, for the counter.
    pub limit: &'static str,
    /// The same as a sentence.
    pub sentence: String,
}

impl Analysis {
    /// Nothing is known of these versions yet.
    pub fn new(champion: Versions, challenger: Versions, since: i64) -> Self {
        Self { champion, challenger, since, ..Self::default() }
    }

    /// A pod was scored.
    pub fn scored(&mut self, arm: Arm, failed: bool, took: Duration, limits: &RolloutArgs) {
        let figures = self.arms.entry(arm).or_default();
        figures.errors.add(failed);
        figures.slow.add(took > limits.rollout_slow_after.0);
        figures.seconds.add(took.as_secs_f64());
    }

    /// Begins to count pods anew. Forecasts and alarms are of all nodes whoever answers, so what is known of them stays.
    pub fn forget_pods(&mut self) {
        self.arms.clear();
        self.choices = Choices::default();
    }

    fn of(&self, arm: Arm) -> Figures {
        self.arms.get(&arm).copied().unwrap_or_default()
    }

    /// Both arms beside each other.
    pub fn report(&self, limits: &RolloutArgs) -> Report {
        let (champion, challenger) = (self.of(Arm::Champion), self.of(Arm::Challenger));
        let shares = |pick: fn(&Figures) -> &ShareSequence, limit: f64| Shares {
            champion: pick(&champion).share(),
            challenger: pick(&challenger).share(),
            difference: pick(&challenger).less(pick(&champion), LIMIT_ALPHA),
            limit: Some(limit),
        };
        let interval = |sequence: &BlockSequence| limits.interval(sequence);
        Report {
            champion: self.champion.clone(),
            challenger: self.challenger.clone(),
            since: self.since,
            pods: Arm::ALL.into_iter().map(|arm| (arm, self.of(arm).errors.of)).collect(),
            errors: shares(|figures| &figures.errors, limits.rollout_max_errors),
            slow: shares(|figures| &figures.slow, limits.rollout_max_slow),
            slow_after_seconds: limits.rollout_slow_after.0.as_secs_f64(),
            seconds: Shares {
                champion: champion.seconds.mean(),
                challenger: challenger.seconds.mean(),
                difference: challenger.seconds.less(champion.seconds),
                limit: None,
            },
            forecasts: self.quality.errors(None, interval),
            forecast_limit: limits.rollout_max_forecast_loss,
            least_hours: limits.rollout_min_hours,
            forecasts_by_resource: Resource::ALL
                .into_iter()
                .map(|resource| (resource, self.quality.errors(Some(resource), interval)))
                .collect(),
            forecasts_waiting: self.quality.waiting(),
            forecasts_lost: self.quality.lost(),
            choices: self.choices.losses(limits.rollout_max_choice_loss, interval),
            choices_waiting: self.choices.waiting(),
            choices_lost: self.choices.lost(),
            alarms: self.alarms.shares(limits.rollout_max_alarms, interval),
        }
    }
}

impl Report {
    /// The first limit that the challenger passes beyond chance.
    pub fn breach(&self) -> Option<Breach> {
        let points = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{:.2} %", 100.0 * value));
        let told = |limit, [theirs, of, ours]: [&str; 3], shares: &Shares| {
            shares.limit.is_some_and(|limit| shares.difference.is_above(limit)).then(|| Breach {
                limit,
                sentence: format!(
                    "the challenger{theirs} {} of {of}, the champion{ours} {}: at least {} more, {} are allowed",
                    points(shares.challenger),
                    points(shares.champion),
                    points(shares.difference.low),
                    points(shares.limit)
                ),
            })
        };
        let quality = self.forecasts.difference.is_above(self.forecast_limit).then(|| Breach {
            limit: "quality",
            sentence: format!(
                "the challenger's forecasts miss by {} of a node, the champion's by {}: at least {} more, {} are allowed",
                points(self.forecasts.challenger),
                points(self.forecasts.champion),
                points(self.forecasts.difference.low),
                points(Some(self.forecast_limit))
            ),
        });
        told("errors", [" failed for", "its pods", " for"], &self.errors)
            .or_else(|| told("latency", [" was slow for", "its pods", " for"], &self.slow))
            .or(quality)
            .or_else(|| told("choices", ["'s choices lost", "the load score within an hour", "'s"], &self.choices))
            .or_else(|| told("alarms", [" raised alarms at", "all readings", " at"], &self.alarms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> RolloutArgs {
        RolloutArgs {
            rollout_max_errors: 0.01,
            rollout_slow_after: Span(Duration::from_millis(100)),
            rollout_max_slow: 0.01,
            rollout_max_forecast_loss: 0.005,
            rollout_max_choice_loss: 0.05,
            rollout_max_alarms: 0.02,
            rollout_min_hours: 12.0,
        }
    }

    fn analysis(pods: [u64; 2], failed: [u64; 2], slow: [u64; 2]) -> Analysis {
        let mut analysis = Analysis::default();
        for (place, arm) in Arm::ALL.into_iter().enumerate() {
            for at in 0..pods[place] {
                let took = Duration::from_millis(if at < slow[place] { 200 } else { 2 });
                analysis.scored(arm, at < failed[place], took, &limits());
            }
        }
        analysis
    }

    #[test]
    fn the_challenger_goes_for_its_own_faults_and_not_for_chance_or_common_trouble() {
        let verdict = |analysis: Analysis| analysis.report(&limits()).breach().map(|breach| breach.limit);
        assert_eq!(verdict(analysis([1_000, 100], [0, 0], [0, 0])), None);
        assert_eq!(verdict(analysis([1_000, 100], [0, 1], [0, 0])), None, "one may be chance");
        assert_eq!(verdict(analysis([1_000, 100], [0, 10], [0, 0])), Some("errors"));
        assert_eq!(verdict(analysis([1_000, 100], [100, 10], [0, 0])), None, "both fail alike");
        assert_eq!(verdict(analysis([1_000, 100], [0, 0], [0, 10])), Some("latency"));
        let report = analysis([1_000, 100], [0, 10], [0, 0]).report(&limits());
        let said = report.breach().expect("a breach").sentence;
        assert!(said.contains("failed for 10.00 %") && said.contains("1.00 % are allowed"), "{said}");
    }
}
