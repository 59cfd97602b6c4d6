//! May this agent be registered? It is run beside kube-scheduler's default scoring, random placement and the champion, on
//! clusters that nobody learned in, paired by seed.

use super::train::{by, costs};
use super::{Clusters, PlacementFolder, clusters};
use clap::Args;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use simulator::compare::{Interval, paired_ratio};
use simulator::outcome::CostWeights;
use simulator::policy::{PolicyKind, Scorer};
use simulator::world::Scenario;

/// Limits of the gate, section `[trainer.placement_gate]`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementGate {
    /// Clusters of each kind that it is judged in; intervals need two, a claim five
    #[arg(long, env = "BERTH_PLACEMENT_GATE_SEEDS", default_value_t = 10, value_name = "COUNT")]
    pub gate_seeds: u64,
    /// Share of kube-scheduler's cost by which the upper end of the interval of the difference may be above 0
    #[arg(long, env = "BERTH_PLACEMENT_GATE_ABOVE_KUBE", default_value_t = 0.0, value_name = "SHARE")]
    pub above_kube: f64,
    /// Least share by which its cost is below that of random placement, over all clusters; below 0 it may be dearer
    #[arg(
        long,
        allow_negative_numbers = true,
        env = "BERTH_PLACEMENT_GATE_BELOW_RANDOM",
        default_value_t = 0.34,
        value_name = "SHARE"
    )]
    pub below_random: f64,
    /// Share of the champion's cost by which it may be dearer, whatever the interval says
    #[arg(long, env = "BERTH_PLACEMENT_GATE_CHAMPION_SLACK", default_value_t = 0.02, value_name = "SHARE")]
    pub champion_slack: f64,
}

impl Default for PlacementGate {
    fn default() -> Self {
        Self { gate_seeds: 10, above_kube: 0.0, below_random: 0.34, champion_slack: 0.02 }
    }
}

impl PlacementGate {
    /// Checks the limits.
    ///
    /// # Errors
    /// [`WrongUse`] that names the limit and the value.
    pub fn check(&self) -> Result<(), WrongUse> {
        if !(2..=100).contains(&self.gate_seeds) {
            return Err(WrongUse(format!("--gate-seeds is {}, want 2 to 100", self.gate_seeds)));
        }
        if !(self.above_kube >= 0.0 && self.above_kube.is_finite()) {
            return Err(WrongUse(format!("--above-kube is {}, want a number of at least 0", self.above_kube)));
        }
        if !(-1.0..1.0).contains(&self.below_random) {
            return Err(WrongUse(format!("--below-random is {}, want -1 up to but not 1", self.below_random)));
        }
        if !(0.0..1.0).contains(&self.champion_slack) {
            return Err(WrongUse(format!("--champion-slack is {}, want 0 up to but not 1", self.champion_slack)));
        }
        Ok(())
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementCheck {
    /// Which.
    pub rule: String,
    /// Whether it holds.
    pub passed: bool,
    /// Why, with value and limit.
    pub reason: String,
}

/// What the gate said, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementVerdict {
    /// Which model; tells this verdict from that on a load predictor.
    pub model: String,
    /// Whether every rule holds.
    pub passed: bool,
    /// The network that was judged.
    pub model_hash: String,
    /// Registered version of the champion that it was compared with.
    pub champion: Option<String>,
    /// When.
    pub at: String,
    /// The limits.
    pub limits: PlacementGate,
    /// Every rule.
    pub checks: Vec<PlacementCheck>,
    /// Mean cost by kind of cluster and policy.
    pub costs: Vec<(String, Vec<(String, f64)>)>,
}

impl PlacementVerdict {
    /// The reasons of a refusal, one sentence each.
    pub fn reasons(&self) -> Vec<String> {
        self.checks.iter().filter(|check| !check.passed).map(|check| check.reason.clone()).collect()
    }
}

/// Judges a network.
///
/// # Errors
/// When a setting is out of range.
pub fn judge(
    model: &PlacementFolder,
    champion: Option<&(String, PlacementFolder)>,
    clusters: Clusters<'_>,
    weights: &CostWeights,
    limits: &PlacementGate,
) -> anyhow::Result<PlacementVerdict> {
    limits.check()?;
    let (made_up, own_history) = (clusters.to_judge(limits.gate_seeds)?, clusters.of_own_history(limits.gate_seeds)?);
    let run = |scenarios: &[Scenario], kind: PolicyKind, network: Option<&PlacementFolder>| -> Vec<f64> {
        let scorer = network.map_or_else(Scorer::default, |folder| by(folder.network.clone()));
        costs(scenarios, weights, kind, &scorer)
    };
    let on_made_up = |kind, network| run(&made_up, kind, network);
    let champion = champion.filter(|(_, other)| other.hash != model.hash);
    let (own, kube, random) = (
        on_made_up(PolicyKind::Agent, Some(model)),
        on_made_up(PolicyKind::KubeScheduler, None),
        on_made_up(PolicyKind::Random, None),
    );
    let theirs = champion.map(|(version, other)| (version.clone(), on_made_up(PolicyKind::Agent, Some(other))));
    let there = [(PolicyKind::Agent, Some(model)), (PolicyKind::KubeScheduler, None)]
        .map(|(kind, network)| run(&own_history, kind, network));
    let figures = Figures {
        own: &own,
        kube: &kube,
        random: &random,
        champion: theirs.as_ref().map(|(_, costs)| &costs[..]),
        history: (!own_history.is_empty()).then_some((&there[0], &there[1])),
    };
    let checks = figures.checks(limits);
    let by_kind = |at: usize| -> Vec<(String, f64)> {
        let seeds = limits.gate_seeds as usize;
        let mean = |costs: &[f64]| mean(&costs[at * seeds..(at + 1) * seeds]);
        let mut list = vec![
            ("agent".to_owned(), mean(&own)),
            ("kube-scheduler".into(), mean(&kube)),
            ("random".into(), mean(&random)),
        ];
        list.extend(theirs.iter().map(|(version, costs)| (format!("champion {version}"), mean(costs))));
        list
    };
    let kinds = clusters::JUDGED.iter().enumerate();
    let mut by_cluster: Vec<_> = kinds.map(|(at, kind)| (format!("{kind:?}").to_lowercase(), by_kind(at))).collect();
    if !own_history.is_empty() {
        let list = vec![("agent".to_owned(), mean(&there[0])), ("kube-scheduler".into(), mean(&there[1]))];
        by_cluster.push(("history".to_owned(), list));
    }
    Ok(PlacementVerdict {
        model: models::artifact::PLACEMENT_AGENT.to_owned(),
        passed: checks.iter().all(|check| check.passed),
        model_hash: model.hash.clone(),
        champion: champion.map(|(version, _)| version.clone()),
        at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        limits: limits.clone(),
        checks,
        costs: by_cluster,
    })
}

fn mean(costs: &[f64]) -> f64 {
    costs.iter().sum::<f64>() / costs.len().max(1) as f64
}

/// Costs by cluster.
struct Figures<'a> {
    own: &'a [f64],
    kube: &'a [f64],
    random: &'a [f64],
    champion: Option<&'a [f64]>,
    /// Own and kube-scheduler's on the end of the user's history.
    history: Option<(&'a [f64], &'a [f64])>,
}

impl Figures<'_> {
    fn checks(&self, limits: &PlacementGate) -> Vec<PlacementCheck> {
        let check = |rule: &str, passed, reason| PlacementCheck { rule: rule.to_owned(), passed, reason };
        let words = |difference: Interval| {
            let percent = |share: f64| 100.0 * share;
            format!(
                "{:+.1} %, 95 % interval {:+.1} to {:+.1} %",
                percent(difference.mean),
                percent(difference.low),
                percent(difference.high)
            )
        };
        let mut checks = Vec::new();
        let below = paired_ratio(self.own, self.kube);
        checks.push(check(
            "kube-scheduler",
            below.high < limits.above_kube,
            format!(
                "cost against kube-scheduler's on the same clusters: {}; the whole interval must be below {:+.1} %",
                words(below),
                100.0 * limits.above_kube
            ),
        ));
        let saved = 1.0 - mean(self.own) / mean(self.random).max(f64::MIN_POSITIVE);
        checks.push(check(
            "random",
            saved >= limits.below_random,
            format!(
                "cost is {:.1} % below random placement, at least {:.1} % is wanted",
                100.0 * saved,
                100.0 * limits.below_random
            ),
        ));
        if let Some(champion) = self.champion {
            let difference = paired_ratio(self.own, champion);
            let worse = difference.is_above_zero() && difference.mean > limits.champion_slack;
            checks.push(check(
                "champion",
                !worse,
                format!(
                    "cost against the champion's on the same clusters: {}; refused when the whole interval is above 0 and \
                     the mean above {:+.1} %",
                    words(difference),
                    100.0 * limits.champion_slack
                ),
            ));
        }
        if let Some((own, kube)) = self.history {
            let difference = paired_ratio(own, kube);
            checks.push(check(
                "history",
                !difference.is_above_zero(),
                format!(
                    "cost against kube-scheduler's on {} parts of the history's end: {}; refused when the whole interval is above 0",
                    own.len(),
                    words(difference)
                ),
            ));
        }
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(own: [f64; 3], champion: Option<[f64; 3]>) -> Vec<bool> {
        let champion = champion.as_ref().map(|costs| &costs[..]);
        let figures = Figures {
            own: &own,
            kube: &[100.0, 110.0, 120.0],
            random: &[200.0, 200.0, 200.0],
            champion,
            history: None,
        };
        figures.checks(&PlacementGate::default()).into_iter().map(|check| check.passed).collect()
    }

    #[test]
    fn every_rule_can_say_no() {
        assert_eq!(passed([80.0, 91.0, 99.0], None), [true, true]);
        // Better on the mean, but the interval crosses zero.
        assert_eq!(passed([60.0, 108.0, 121.0], None), [false, true]);
        assert_eq!(passed([140.0, 150.0, 160.0], None), [false, false]);
        assert_eq!(passed([80.0, 91.0, 99.0], Some([70.0, 80.0, 90.0])), [true, true, false]);
        assert_eq!(passed([80.0, 91.0, 99.0], Some([79.0, 90.5, 98.6])), [true, true, true], "within the slack");
    }

    #[test]
    fn whoever_makes_the_users_own_cluster_dearer_is_refused() {
        let passed = |own: &[f64]| {
            let (kube, random) = ([100.0, 110.0, 120.0], [200.0, 200.0, 200.0]);
            let figures = Figures {
                own: &[80.0, 91.0, 99.0],
                kube: &kube,
                random: &random,
                champion: None,
                history: Some((own, &kube)),
            };
            figures.checks(&PlacementGate::default()).into_iter().map(|check| check.passed).collect::<Vec<_>>()
        };
        assert_eq!(passed(&[101.0, 109.0, 120.5]), [true, true, true], "no telling which is dearer");
        assert_eq!(passed(&[120.0, 131.0, 144.0]), [true, true, false]);
    }

    #[test]
    fn limits_out_of_range_are_named() {
        let one = PlacementGate { gate_seeds: 1, ..PlacementGate::default() };
        assert!(one.check().expect_err("refused").to_string().contains("--gate-seeds is 1"));
        let all = PlacementGate { below_random: 1.0, ..PlacementGate::default() };
        assert!(all.check().expect_err("refused").to_string().contains("--below-random is 1"));
    }
}
