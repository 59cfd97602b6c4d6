//! `trainer validate`: may this model be registered? Limits, baselines, the champion, on hours that neither learned from.

mod champion;
mod difference;
mod fresh;
mod gate;
mod page;

pub use champion::{ChampionComparison, Decision, FamilyComparison, HeadComparison, Standing, in_days, in_words};
pub use difference::{Difference, DifferenceSeries, Paired};
pub use fresh::{FreshHead, FreshVerdict};
pub use gate::{Check, GateSettings, HeadEvaluation, check_champion, check_head};
pub use page::page;

use crate::evaluate::{Outcomes, Scores, coverage, mean_absolute_error};
use crate::folds::Window;
use crate::heads::{self, Scoring};
use crate::rows::LoadRows;
use crate::train::ModelFolder;
use anyhow::Context;
use features::TargetKind;
use models::FeatureMatrix;
use models::load::{HeadKey, LoadHead, StartOffsets};
use serde::{Deserialize, Serialize};

/// A forecast above this is no utilization that a node can have: twice all that it has.
const SANE_MAXIMUM: f32 = 2.0;

/// What the gate said, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Whether every rule holds. That a model may not be promoted yet breaks none.
    pub passed: bool,
    /// What becomes of the model.
    pub decision: Decision,
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
    /// How it stands beside the champion; absent where it was not compared.
    pub comparison: Option<ChampionComparison>,
    /// When.
    pub at: String,
    /// The limits.
    pub limits: GateSettings,
    /// Every rule on every head.
    pub checks: Vec<Check>,
    /// Figures by head.
    pub heads: Vec<HeadVerdict>,
    /// Whether the fresh fit in the model's folder may serve in its place; absent where there is none.
    pub fresh: Option<FreshVerdict>,
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

    /// Why the model may not be promoted yet, and what to do about it; `None` where the decision is another.
    pub fn waits_for(&self) -> Option<String> {
        let comparison = self.comparison.as_ref().filter(|_| self.decision == Decision::NotYet)?;
        let champion = self.champion.as_deref().unwrap_or("?");
        let unclear = comparison.families.iter().filter(|family| family.standing == Standing::Unclear);
        let unclear: Vec<String> = unclear
            .map(|family| {
                format!(
                    "{} {} (95 % interval {:+.1} to {:+.1} %)",
                    family.resource,
                    in_words(family.mean_share),
                    100.0 * family.low_share,
                    100.0 * family.high_share
                )
            })
            .collect();
        let seen = match unclear.is_empty() {
            true => String::new(),
            false => format!(": {}", unclear.join(", ")),
        };
        let missing = match comparison.missing_days {
            Some(days) => format!(
                "about {} more are missing, if the difference stays as it is. Nothing is broken: the champion goes on serving, the next retrain is judged anew; a larger `test_share` of [trainer.load] keeps more days for the comparison",
                in_days(days)
            ),
            None => "more days will not help as long as the difference stays as it is. Nothing is broken: the champion goes on serving, the next retrain is judged anew".to_owned(),
        };
        Some(format!(
            "{} are too few to show that it is at most {:.1} % worse than champion version {champion}{seen}; {missing}",
            in_days(comparison.days),
            100.0 * comparison.margin_share
        ))
    }
}

/// The champion that a model is compared with.
#[derive(Debug, Clone)]
pub struct Champion {
    /// Its registered version.
    pub version: String,
    /// The model.
    pub model: ModelFolder,
    /// The model that was judged, where the champion is a fresh fit of its recipe.
    pub judged: Option<ModelFolder>,
}

impl Champion {
    /// What a new model is compared with: recipe with recipe, both fitted to hours before a test. A fresh fit has learned from
    /// nearly all hours that there are.
    fn reference(&self) -> &ModelFolder {
        self.judged.as_ref().unwrap_or(&self.model)
    }

    fn is_same(&self, model: &ModelFolder) -> bool {
        self.model.hash == model.hash || self.reference().hash == model.hash
    }
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
        Some(champion) if champion.is_same(model) => {
            (None, Some(format!("version {} is this very model", champion.version)))
        }
        Some(champion) if champion.reference().trained_until >= until => (
            None,
            Some(format!(
                "version {} has learned from all of these hours, so it cannot be compared on them",
                champion.version
            )),
        ),
        Some(champion) => match rows.x.select_columns(champion.reference().predictor.features()) {
            Ok(_) => (Some(champion), None),
            Err(error) => (
                None,
                Some(format!("version {} reads features that this dataset does not have: {error}", champion.version)),
            ),
        },
        None => (None, None),
    };
    let window = Window { from: own_from, until };
    let (mut checks, mut verdicts, mut compared) = (Vec::new(), Vec::new(), Vec::new());
    for head in model.predictor.heads() {
        let (evaluation, yesterday, comparison) = evaluate(model, head, champion, rows, window)?;
        checks.extend(check_head(&evaluation, limits));
        compared.extend(comparison);
        verdicts.push(HeadVerdict {
            head: evaluation.key.slug(),
            fallback: evaluation.fallback,
            scores: evaluation.scores,
            yesterday,
            against_champion: evaluation.against_champion,
        });
    }
    let comparison = ChampionComparison::of(&compared, limits);
    checks.extend(comparison.iter().flat_map(check_champion));
    let passed = checks.iter().all(|check| check.passed);
    let decision = match (&comparison, passed) {
        (_, false) => Decision::Keep,
        (None, true) => Decision::Promote,
        (Some(comparison), true) => comparison.decision,
    };
    Ok(Verdict {
        passed,
        decision,
        comparison,
        model_hash: model.hash.clone(),
        dataset: dataset.to_owned(),
        window,
        champion: champion.map(|champion| champion.version.clone()),
        champion_note,
        at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        limits: limits.clone(),
        checks,
        heads: verdicts,
        fresh: model.fresh.as_ref().map(|fresh| agreement(model, fresh, rows, window, limits)).transpose()?,
    })
}

/// The fresh fit beside the judged model, on the hours that the latter has not learned from.
fn agreement(
    model: &ModelFolder,
    fresh: &ModelFolder,
    rows: &LoadRows,
    window: Window,
    limits: &GateSettings,
) -> anyhow::Result<FreshVerdict> {
    let mut heads = Vec::new();
    for judged in model.predictor.heads() {
        let key = judged.key();
        let head = fresh.predictor.head(key)?;
        let target = rows.target(TargetKind::HourMean, key.resource, key.horizon);
        let wanted = rows.select(window, None, &target, 1);
        let x = rows.x.select_rows(&wanted)?.select_columns(judged.features())?;
        let (ours, theirs) = (judged.predict(&x)?, head.predict(&x)?);
        let known = |at: &usize| ours.p50[*at].is_finite() && theirs.p50[*at].is_finite();
        let both: Vec<usize> = (0..wanted.len()).filter(known).collect();
        let column = |values: &[f32]| both.iter().map(|at| f64::from(values[*at])).collect::<Vec<f64>>();
        let observed: Vec<f64> = both.iter().map(|at| f64::from(target[wanted[*at]])).collect();
        let (judged_median, fresh_median) = (column(&ours.p50), column(&theirs.p50));
        // A figure over nothing is no number, and no number is no JSON.
        let figure = |value: f64| if both.is_empty() { 0.0 } else { value };
        heads.push(FreshHead {
            head: key.slug(),
            rows: both.len(),
            judged_mae_points: figure(mean_absolute_error(&observed, &judged_median)),
            fresh_mae_points: figure(mean_absolute_error(&observed, &fresh_median)),
            distance_points: figure(mean_absolute_error(&judged_median, &fresh_median)),
            judged_coverage: figure(coverage(&observed, &column(&ours.p90))),
            fresh_coverage: figure(coverage(&observed, &column(&theirs.p90))),
            insane: insane(head, &x)?,
        });
    }
    Ok(FreshVerdict::of(&fresh.hash, heads, limits))
}

fn evaluate(
    model: &ModelFolder,
    head: &LoadHead,
    champion: Option<&Champion>,
    rows: &LoadRows,
    window: Window,
) -> anyhow::Result<(HeadEvaluation, Option<Scores>, Option<HeadComparison>)> {
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
    let comparison = match champion {
        Some(champion) if champion.reference().predictor.head(key).is_ok() => {
            // Both on hours that neither has seen.
            let reference = champion.reference();
            let fair = Window { from: window.from.max(reference.trained_until), until: window.until };
            let wanted: Vec<usize> = wanted.iter().copied().filter(|&row| fair.contains(rows.ts[row])).collect();
            let (own, theirs) = (scored(model, &wanted)?, scored(reference, &wanted)?);
            let paired = Paired { ts: &own.ts, observed: &own.observed, first: &own.median, second: &theirs.median };
            let champion_mae_points = mean_absolute_error(&theirs.observed, &theirs.median);
            Some(HeadComparison { key, champion_mae_points, series: DifferenceSeries::of(&paired) })
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
        against_champion: comparison.as_ref().and_then(|comparison| comparison.series.difference()),
    };
    Ok((evaluation, Scores::of(&crate::train::yesterday(rows, key, &outcomes, kind)), comparison))
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
