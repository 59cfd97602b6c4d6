//! May this detector be registered? It is judged on hours that it has not learned from, beside the z-score and the
//! champion.

use super::{AlarmScores, DetectorFolder, History, Judged, KindScores, TrainedDetector};
use crate::folds::Window;
use clap::Args;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};

/// Limits of the gate, section `[trainer.anomaly_gate]`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyGate {
    /// Labelled incidents that figures of alarms need; with fewer, only how much it flags is judged
    #[arg(long, env = "BERTH_ANOMALY_GATE_MIN_INCIDENTS", default_value_t = 5, value_name = "COUNT")]
    pub min_incidents: usize,
    /// Least share of alarms that meet an incident
    #[arg(long, env = "BERTH_ANOMALY_GATE_MIN_PRECISION", default_value_t = 0.5, value_name = "SHARE")]
    pub min_precision: f64,
    /// Least share of incidents that an alarm meets
    #[arg(long, env = "BERTH_ANOMALY_GATE_MIN_RECALL", default_value_t = 0.6, value_name = "SHARE")]
    pub min_recall: f64,
    /// Most readings outside incidents that are flagged, as a share
    #[arg(long, env = "BERTH_ANOMALY_GATE_MAX_FALSE_POSITIVE_RATE", default_value_t = 0.08, value_name = "SHARE")]
    pub max_false_positive_rate: f64,
    /// Share of the z-score's or the champion's cost by which the detector may be dearer
    #[arg(long, env = "BERTH_ANOMALY_GATE_COST_SLACK", default_value_t = 0.1, value_name = "SHARE")]
    pub cost_slack: f64,
}

impl Default for AnomalyGate {
    fn default() -> Self {
        Self { min_incidents: 5, min_precision: 0.5, min_recall: 0.6, max_false_positive_rate: 0.08, cost_slack: 0.1 }
    }
}

impl AnomalyGate {
    /// Checks the limits.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub fn validate(&self) -> Result<(), WrongUse> {
        for (key, share) in [
            ("min_precision", self.min_precision),
            ("min_recall", self.min_recall),
            ("max_false_positive_rate", self.max_false_positive_rate),
            ("cost_slack", self.cost_slack),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(WrongUse(format!(
                    "`{key}` of [trainer.anomaly_gate] must be between 0 and 1, got {share}"
                )));
            }
        }
        Ok(())
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyCheck {
    /// Which.
    pub rule: String,
    /// Whether it holds.
    pub passed: bool,
    /// Why, with value and limit.
    pub reason: String,
    /// Whether it does not hold on incidents so few that it may hold in truth: the 95 % interval of the share contains the limit.
    #[serde(default)]
    pub undecided: bool,
}

/// What the gate said, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyVerdict {
    /// Which model; tells this verdict from that on a load predictor.
    pub model: String,
    /// Whether every rule holds.
    pub passed: bool,
    /// The model that was judged, by the hash of the files that decide.
    pub model_hash: String,
    /// The dataset that it was judged on.
    pub dataset: String,
    /// The hours that it was judged on.
    pub window: Window,
    /// Registered version of the champion that it was compared with.
    pub champion: Option<String>,
    /// Why it could not be compared with the champion, if it could not.
    pub champion_note: Option<String>,
    /// When.
    pub at: String,
    /// The limits.
    pub limits: AnomalyGate,
    /// Every rule.
    pub checks: Vec<AnomalyCheck>,
    /// Figures on the window.
    pub scores: AlarmScores,
    /// The z-score's figures on the same window.
    pub zscore: AlarmScores,
}

impl AnomalyVerdict {
    /// Whether the detector is refused by nothing but rules that more incidents could still decide either way.
    pub fn is_undecided(&self) -> bool {
        !self.passed && self.checks.iter().all(|check| check.passed || check.undecided)
    }

    /// The reasons of a refusal, one sentence each.
    pub fn reasons(&self) -> Vec<String> {
        self.checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| format!("{}: {}", check.rule, check.reason))
            .collect()
    }
}

/// Judges the detector in `model`, which `trained` put there, and the champion on the hours that neither learned from.
///
/// # Errors
/// Limits out of range; a history that lacks one of the detector's features.
pub fn judge(
    model: &DetectorFolder,
    trained: &TrainedDetector,
    champion: Option<&(String, DetectorFolder)>,
    history: &History,
    dataset: &str,
    costs: (f64, f64),
    limits: &AnomalyGate,
) -> anyhow::Result<AnomalyVerdict> {
    limits.validate()?;
    let own = Judged::of(&model.detector, history, trained.test)?;
    let mut note = None;
    let mut compared = None;
    if let Some((version, folder)) = champion {
        let fair = Window { from: trained.test.from.max(folder.trained_until), until: trained.test.until };
        if folder.hash == model.hash {
            note = Some(format!("version {version} is this very model"));
        } else if fair.from >= fair.until {
            note = Some(format!("version {version} has learned from all of these hours"));
        } else {
            match Judged::of(&folder.detector, history, fair) {
                Ok(theirs) => {
                    let own = Judged::of(&model.detector, history, fair)?;
                    compared = Some((version.clone(), own.scores, theirs.scores));
                }
                Err(error) => note = Some(format!("version {version} cannot read this dataset: {error:#}")),
            }
        }
    }
    let checks = check(&own, &trained.zscore, compared.as_ref(), costs, limits);
    Ok(AnomalyVerdict {
        model: crate::registry::ANOMALY_MODEL.to_owned(),
        passed: checks.iter().all(|check| check.passed),
        model_hash: model.hash.clone(),
        dataset: dataset.to_owned(),
        window: trained.test,
        champion: compared.map(|(version, ..)| version),
        champion_note: note,
        at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        limits: limits.clone(),
        checks,
        scores: own.scores,
        zscore: trained.zscore.clone(),
    })
}

/// Applies every rule.
pub(super) fn check(
    own: &Judged,
    zscore: &AlarmScores,
    champion: Option<&(String, AlarmScores, AlarmScores)>,
    (missed, false_alarm): (f64, f64),
    limits: &AnomalyGate,
) -> Vec<AnomalyCheck> {
    let mut checks = Vec::new();
    let mut add = |rule: &str, passed: bool, reason: String| {
        checks.push(AnomalyCheck { rule: rule.to_owned(), passed, reason, undecided: false });
    };
    let scores = &own.scores;
    add("sane", own.insane == 0, format!("{} of {} votes are no number", own.insane, scores.points.rows));
    let rate = scores.points.false_positive_rate.unwrap_or(0.0);
    let most = limits.max_false_positive_rate;
    add("flags", rate <= most, format!("{rate:.4} of the readings outside incidents are flagged, at most {most}"));
    if scores.incidents < limits.min_incidents {
        let (got, least) = (scores.incidents, limits.min_incidents);
        add("labels", true, format!("{got} labelled incidents, figures of alarms need {least} and were not judged"));
        return checks;
    }
    let right = KindScores { incidents: scores.alarms, found: scores.right_alarms };
    let found = KindScores { incidents: scores.incidents, found: scores.found };
    checks.push(share_check("precision", &right, limits.min_precision, "alarms meet an incident"));
    checks.push(share_check("recall", &found, limits.min_recall, "incidents have an alarm"));
    let mut add = |rule: &str, passed: bool, reason: String| {
        checks.push(AnomalyCheck { rule: rule.to_owned(), passed, reason, undecided: false });
    };
    let slack = 1.0 + limits.cost_slack;
    let (cost, plain) = (scores.cost(missed, false_alarm), zscore.cost(missed, false_alarm));
    add(
        "z-score",
        cost <= plain * slack,
        format!("it costs {cost:.0}, the z-score {plain:.0}, at most {slack:.2} times"),
    );
    if let Some((version, own, theirs)) = champion {
        let (cost, theirs) = (own.cost(missed, false_alarm), theirs.cost(missed, false_alarm));
        // One false alarm more or less is chance.
        let passed = cost <= theirs * slack + false_alarm;
        add("champion", passed, format!("it costs {cost:.0}, version {version} {theirs:.0}, at most {slack:.2} times"));
    }
    checks
}

/// Holds a share against its limit. Where it falls short, the interval says whether so few can decide.
fn share_check(rule: &str, counts: &KindScores, least: f64, of_what: &str) -> AnomalyCheck {
    let KindScores { incidents, found } = *counts;
    let share = if incidents == 0 { 0.0 } else { found as f64 / incidents as f64 };
    let passed = share >= least;
    let upper = counts.interval().map_or(1.0, |(_, upper)| upper);
    let undecided = !passed && upper >= least;
    let mut reason = format!("{found} of {incidents} {of_what}, {share:.3}, at least {least}");
    if undecided {
        reason.push_str(&format!(" (undecided: {incidents} are too few, the 95 % interval goes up to {upper:.3})"));
    }
    AnomalyCheck { rule: rule.to_owned(), passed, reason, undecided }
}
