//! `trainer validate`: may this model be registered? Limits, baselines, the champion, on hours that neither learned from.

mod bootstrap;
mod gate;
mod page;

pub use bootstrap::{Difference, mean_with_interval, paired_difference};
pub use gate::{Check, GateSettings, HeadEvaluation, check_head};
pub use page::page;

use crate::evaluate::{Outcomes, Scores};
use crate::folds::Window;
use crate::heads::{self, Scoring};
use crate::rows::LoadRows;
use crate::train::ModelFolder;
use anyhow::Context;
use features::TargetKind;
use models::FeatureMatrix;
use models::load::{HeadKey, LoadHead, StartOffsets};
use serde::{Deserialize, Serialize};

/// Seed of the bootstrap; fixed, so that a verdict can be repeated.
const BOOTSTRAP_SEED: u64 = 20_261_121;

/// A forecast above this is no utilization that a node can have: twice all that it has.
const SANE_MAXIMUM: f32 = 2.0;

/// What the gate said, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Whether every rule holds.
    pub passed: bool,
    /// The model that was judged, by the hash of the files that forecast.
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
    pub limits: GateSettings,
    /// Every rule on every head.
    pub checks: Vec<Check>,
    /// Figures by head.
    pub heads: Vec<HeadVerdict>,
}

/// The figures of one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadVerdict {
    /// Which head, such as `cpu-1h`.
    pub head: String,
    /// The baseline answers.
    pub fallback: bool,
    /// Figures on the window; absent when no row could be scored.
    pub scores: Option<Scores>,
    /// Same-hour-yesterday on the same rows.
    pub yesterday: Option<Scores>,
    /// Against the champion.
    pub against_champion: Option<Difference>,
}

impl Verdict {
    /// The reasons of a refusal, one sentence each.
    pub fn reasons(&self) -> Vec<String> {
        self.checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| format!("{}: {}", check.head, check.reason))
            .collect()
    }
}

/// The champion that a model is compared with.
#[derive(Debug, Clone)]
pub struct Champion {
    /// Its registered version.
    pub version: String,
    /// The model.
    pub model: ModelFolder,
}

/// Judges `model` on the rows that neither it nor the champion has learned from.
///
/// # Errors
/// When the dataset ends before the model was trained, or lacks one of its features.
pub fn validate(
    model: &ModelFolder,
    champion: Option<&Champion>,
    rows: &LoadRows,
    dataset: &str,
    limits: &GateSettings,
) -> anyhow::Result<Verdict> {
    limits.validate()?;
    let span = rows.span();
    let until = span.until;
    let own_from = model.trained_until.max(span.from);
    anyhow::ensure!(
        own_from < until,
        "dataset `{dataset}` ends before the model stopped learning: nothing is left to judge it on. Build features from newer metrics, or train with a larger `test_share`"
    );
    let (champion, champion_note) = match champion {
        Some(champion) if champion.model.hash == model.hash => {
            (None, Some(format!("version {} is this very model", champion.version)))
        }
        Some(champion) if champion.model.trained_until >= until => (
            None,
            Some(format!(
                "version {} has learned from all of these hours, so it cannot be compared on them",
                champion.version
            )),
        ),
        Some(champion) => match rows.x.select_columns(champion.model.predictor.features()) {
            Ok(_) => (Some(champion), None),
            Err(error) => (
                None,
                Some(format!("version {} reads features that this dataset does not have: {error}", champion.version)),
            ),
        },
        None => (None, None),
    };
    let window = Window { from: own_from, until };
    let (mut checks, mut verdicts) = (Vec::new(), Vec::new());
    for head in model.predictor.heads() {
        let (evaluation, yesterday) = evaluate(model, head, champion, rows, window)?;
        checks.extend(check_head(&evaluation, limits));
        verdicts.push(HeadVerdict {
            head: evaluation.key.slug(),
            fallback: evaluation.fallback,
            scores: evaluation.scores,
            yesterday,
            against_champion: evaluation.against_champion,
        });
    }
    Ok(Verdict {
        passed: checks.iter().all(|check| check.passed),
        model_hash: model.hash.clone(),
        dataset: dataset.to_owned(),
        window,
        champion: champion.map(|champion| champion.version.clone()),
        champion_note,
        at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        limits: limits.clone(),
        checks,
        heads: verdicts,
    })
}

fn evaluate(
    model: &ModelFolder,
    head: &LoadHead,
    champion: Option<&Champion>,
    rows: &LoadRows,
    window: Window,
) -> anyhow::Result<(HeadEvaluation, Option<Scores>)> {
    let key = head.key();
    let kind = TargetKind::HourMean;
    let target = rows.target(kind, key.resource, key.horizon);
    let wanted = rows.select(window, None, &target, 1);
    let scored = |model: &ModelFolder, wanted: &[usize]| -> anyhow::Result<Outcomes> {
        let head = model.predictor.head(key)?;
        let typical =
            model.metadata.heads.iter().find(|evidence| evidence.key == key).and_then(|evidence| evidence.median_error);
        let scoring = Scoring { rows, target: &target, kind, taught_by: kind, wanted };
        Ok(heads::outcomes_of(head, typical, StartOffsets::default(), &scoring)?.0)
    };
    let outcomes = scored(model, &wanted)?;
    let against_champion = match champion {
        Some(champion) if champion.model.predictor.head(key).is_ok() => {
            // Both on hours that neither has seen.
            let fair = Window { from: window.from.max(champion.model.trained_until), until: window.until };
            let wanted: Vec<usize> = wanted.iter().copied().filter(|&row| fair.contains(rows.ts[row])).collect();
            let (own, theirs) = (scored(model, &wanted)?, scored(&champion.model, &wanted)?);
            paired_difference(&own.node, &own.ts, &own.observed, &own.median, &theirs.median, BOOTSTRAP_SEED)
        }
        _ => None,
    };
    let every: Vec<usize> = (0..rows.len()).filter(|&row| window.contains(rows.ts[row])).collect();
    let x = rows
        .x
        .select_rows(&every)?
        .select_columns(head.features())
        .with_context(|| format!("dataset does not fit the model's {key}"))?;
    let evaluation = HeadEvaluation {
        key,
        scores: Scores::of(&outcomes).filter(|scores| scores.mae_points.is_finite()),
        fallback: head.fallback(),
        insane: insane(head, &x)?,
        against_champion,
    };
    Ok((evaluation, Scores::of(&crate::train::yesterday(rows, key, &outcomes, kind))))
}

/// How many forecasts cannot be. A row whose baseline is unknown has no forecast, which is right.
fn insane(head: &LoadHead, x: &FeatureMatrix) -> anyhow::Result<usize> {
    let forecasts = head.predict(x)?;
    let base = head.baseline().predict(x)?;
    let wrong = |row: &usize| {
        let (p50, p90) = (forecasts.p50[*row], forecasts.p90[*row]);
        let sane = p50.is_finite() && p90.is_finite() && p50 >= 0.0 && p50 <= p90 && p90 <= SANE_MAXIMUM;
        !base[*row].is_nan() && !sane
    };
    Ok((0..x.rows()).filter(wrong).count())
}

/// The heads of the design, for callers that want to name what is missing.
pub fn wanted_heads() -> Vec<String> {
    HeadKey::all().map(HeadKey::slug).collect()
}
