//! Fitting and calibrating the members.

use super::detector::{MOST_COLUMNS, PlacedRule, own_values};
use super::finding::Normal;
use super::forest::check_places;
use super::{
    AlarmSettings, AnomalyKind, Detector, ForestSettings, IsolationForest, Member, Middles, Reach, Rule, Scorer, Side,
    Tail, Vote,
};
use crate::{FeatureMatrix, ModelError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A forest that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSettings {
    /// Such as `cpu-short`.
    pub name: String,
    /// What its anomalies are about.
    pub kind: AnomalyKind,
    /// Its features.
    pub columns: Vec<String>,
    /// On which side of their middles its anomalies lie.
    pub side: Side,
}

/// What a detector is fitted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorSettings {
    /// How each forest is grown.
    pub forest: ForestSettings,
    /// The forests, at most 16 of at most 64 features each.
    pub members: Vec<MemberSettings>,
    /// Rules that are certain.
    pub rules: Vec<Rule>,
    /// When readings become alarms.
    pub alarms: AlarmSettings,
    /// Share of the usual rows whose vote is above the threshold, where no labels say better.
    pub expected_share: f64,
}

/// Rows to fit on.
#[derive(Debug, Clone, Copy)]
pub struct LabelledRows<'a> {
    /// The features, those of the settings among them.
    pub x: &'a FeatureMatrix,
    /// Whether each row is part of an incident; none at all where nobody labelled.
    pub odd: &'a [bool],
    /// Whether each row may teach what is usual: not part of an incident nor of what follows it.
    pub usual: &'a [bool],
}

/// Fits a detector: the forests on the usual rows, their tails on the scores of the same rows, the normal ranges too. The
/// vote is weighted where enough rows are odd, else the largest surprise; the threshold is the vote that a share of
/// `expected_share` of the usual rows exceeds. [`Detector::with_vote`] puts a better one in.
///
/// # Errors
/// Settings out of range, features that are not there, fewer than two usual rows.
pub fn fit_detector(rows: &LabelledRows<'_>, settings: &DetectorSettings, seed: u64) -> Result<Detector, ModelError> {
    fit(rows, settings, seed, false)
}

/// As [`fit_detector`], with a second member beside each forest that looks at how far a row lies from the middle of the same
/// features ([`Reach`]); it has the forest's name with [`REACH`] behind it. The settings may name 8 forests at most.
///
/// # Errors
/// As [`fit_detector`].
pub fn fit_detector_with_reach(
    rows: &LabelledRows<'_>,
    settings: &DetectorSettings,
    seed: u64,
) -> Result<Detector, ModelError> {
    fit(rows, settings, seed, true)
}

/// What tells the name of a member with a reach from that of the forest over the same features.
pub const REACH: &str = "-reach";

fn fit(
    rows: &LabelledRows<'_>,
    settings: &DetectorSettings,
    seed: u64,
    with_reach: bool,
) -> Result<Detector, ModelError> {
    ModelError::rows("labels", rows.x.rows(), rows.odd.len())?;
    ModelError::rows("marks of usual rows", rows.x.rows(), rows.usual.len())?;
    check(settings, if with_reach { MOST_FORESTS / 2 } else { MOST_FORESTS })?;
    let samples = settings.forest.samples.min(rows.usual.iter().filter(|usual| **usual).count());
    check_places(settings.forest.places(samples).saturating_mul(settings.members.len()))?;
    let features = rows.x.names();
    let picked: Vec<usize> = (0..rows.x.rows()).filter(|row| rows.usual[*row]).collect();
    let usual = rows.x.select_rows(&picked)?;
    let (mut members, mut reaches) = (Vec::with_capacity(2 * settings.members.len()), Vec::new());
    for (place, member) in settings.members.iter().enumerate() {
        let wanted_by = || format!("member `{}` of the anomaly detector", member.name);
        let columns = member.columns.iter().map(|name| crate::matrix::position_of(features, name, &wanted_by()));
        let columns = columns.collect::<Result<Vec<usize>, _>>()?;
        let forest_settings =
            ForestSettings { extension: settings.forest.extension.min(columns.len() - 1), ..settings.forest };
        let mut values = own_values(&usual, &columns);
        let middles = Middles::fit(&values, columns.len(), member.side);
        middles.clip(&mut values);
        let forest = IsolationForest::fit(&values, columns.len(), &forest_settings, seed.wrapping_add(place as u64))?;
        let calibrated = |name: String, columns: Vec<usize>, scorer: Scorer| {
            let middles = middles.clone();
            let mut calibrated = Member { name, kind: member.kind, columns, middles, scorer, tail: Tail::new(&[]) };
            calibrated.tail = Tail::new(&calibrated.scores(&usual)?);
            Ok::<Member, ModelError>(calibrated)
        };
        if with_reach {
            let reach = Scorer::Reach(Reach::fit(&values, columns.len()));
            reaches.push(calibrated(format!("{}{REACH}", member.name), columns.clone(), reach)?);
        }
        members.push(calibrated(member.name.clone(), columns, Scorer::Forest(forest))?);
    }
    members.append(&mut reaches);
    let rules = settings.rules.iter().map(|rule| PlacedRule::new(rule.clone(), features));
    let detector = Detector {
        features: Arc::clone(features),
        members,
        rules: rules.collect::<Result<_, _>>()?,
        vote: Vote::Largest,
        threshold: 0.0,
        alarms: settings.alarms,
        normal: (0..usual.width()).map(|column| Normal::of(usual.column(column))).collect(),
    };
    let count = detector.members.len();
    let vote = match rows.odd.iter().any(|odd| *odd) {
        true => {
            // Rows that follow an incident are neither.
            let told: Vec<usize> = (0..rows.x.rows()).filter(|row| rows.odd[*row] || rows.usual[*row]).collect();
            let odd: Vec<bool> = told.iter().map(|row| rows.odd[*row]).collect();
            Vote::learn(&detector.surprises(&rows.x.select_rows(&told)?)?, count, &odd).unwrap_or(Vote::Largest)
        }
        false => Vote::Largest,
    };
    let threshold = stated_threshold(&detector.surprises(&usual)?, count, &vote, settings.expected_share);
    Ok(detector.with_vote(vote, threshold))
}

/// No vote that one in ten usual rows reaches is an alarm, not even where all rows are the same.
const LEAST_THRESHOLD: f32 = 1.0;

/// The vote that a share of `share` of these rows exceeds, at least [`LEAST_THRESHOLD`].
pub(super) fn stated_threshold(surprises: &[f32], members: usize, vote: &Vote, share: f64) -> f32 {
    let mut votes: Vec<f32> = surprises.chunks_exact(members).map(|row| vote.of(row)).collect();
    votes.sort_by(f32::total_cmp);
    let at = ((1.0 - share) * votes.len().saturating_sub(1) as f64).round() as usize;
    votes.get(at).copied().unwrap_or(0.0).max(LEAST_THRESHOLD)
}

/// Forests and reaches of a detector together; a classifier comes on top.
const MOST_FORESTS: usize = 16;

fn check(settings: &DetectorSettings, most_members: usize) -> Result<(), ModelError> {
    let wrong = |setting, rule, got: String| Err(ModelError::Setting { setting, rule, got });
    if settings.members.is_empty() || settings.members.len() > most_members {
        let rule = if most_members == MOST_FORESTS { "between 1 and 16" } else { "between 1 and 8" };
        return wrong("members", rule, settings.members.len().to_string());
    }
    if let Some(member) =
        settings.members.iter().find(|member| member.columns.is_empty() || member.columns.len() > MOST_COLUMNS)
    {
        return wrong("columns", "between 1 and 64", format!("{} for `{}`", member.columns.len(), member.name));
    }
    if !(settings.expected_share > 0.0 && settings.expected_share <= 0.5) {
        return wrong("expected_share", "above 0 and at most 0.5", settings.expected_share.to_string());
    }
    let AlarmSettings { info_share, critical_factor, .. } = settings.alarms;
    if !(info_share > 0.0 && info_share <= 1.0) {
        return wrong("info_share", "above 0 and at most 1", info_share.to_string());
    }
    if !(critical_factor >= 1.0 && critical_factor.is_finite()) {
        return wrong("critical_factor", "finite and at least 1", critical_factor.to_string());
    }
    Ok(())
}
