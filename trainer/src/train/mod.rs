//! Training the load predictor: one head per resource and horizon, fitted, tested, cross-validated.

mod artifact;
mod charts;
mod log;
mod page;
mod settings;

pub(crate) use artifact::seal;
pub use artifact::{FRESH_FOLDER, ModelFolder, RUN_FILE, RunReference, Sealed, model_hash, read_model, write_model};
pub use log::{EXPERIMENT, MODEL_PATH, log_run};
pub use page::page;
pub use settings::LoadSettings;

use crate::evaluate::{Outcomes, Scores};
use crate::folds::{Split, Window, final_split, is_held_out, rolling_origin};
use crate::heads::{self, HeadFit, HeadInput, Scoring};
use crate::recipe::Recipe;
use crate::rows::LoadRows;
use crate::workers;
use anyhow::Context;
use cluster::{HOUR_MS, NodeName};
use features::TargetKind;
use models::FitOptions;
use models::load::{HeadKey, LoadHead, LoadPredictor, StartOffsets};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Instant;

/// One head with everything that the reports say about it.
#[derive(Debug, Clone)]
pub struct TrainedHead {
    /// Which head.
    pub key: HeadKey,
    /// How the history was cut for it.
    pub split: Split,
    /// The head.
    pub fit: HeadFit,
    /// Forecasts of the test rows beside what came.
    pub test: Outcomes,
    /// Figures of the test; absent when no test row could be scored.
    pub scores: Option<Scores>,
    /// The same-hour-yesterday forecast on the same rows; rows without a yesterday get persistence.
    pub yesterday: Option<Scores>,
    /// The served forecast of the hour scored against the 5-minute value that ends with it: the harder line.
    pub five_minute: Option<Scores>,
    /// Figures of the test rows of nodes that never trained; absent without held-out nodes.
    pub held_out: Option<Scores>,
    /// Figures of each fold of the cross-validation, oldest first.
    pub folds: Vec<Scores>,
    /// The same recipe on everything up to the end of the history, if it is wanted.
    pub fresh: Option<LoadHead>,
    /// Where the shifts of the served P90 stood when the test ended.
    pub shifts: StartOffsets,
}

/// A trained load predictor.
#[derive(Debug, Clone)]
pub struct TrainedLoad {
    /// All heads together, as they are tested and judged.
    pub predictor: LoadPredictor,
    /// The same recipe fitted up to the end of the history, with the shifts of the served P90 that the test ended with: what
    /// serves once the other has passed.
    pub fresh: Option<LoadPredictor>,
    /// By head.
    pub heads: Vec<TrainedHead>,
    /// The whole history.
    pub span: Window,
    /// Nodes in it.
    pub nodes: Vec<NodeName>,
    /// Those that never trained.
    pub held_out: Vec<NodeName>,
    /// Rows in it.
    pub rows: usize,
    /// Wall time.
    pub seconds: f64,
}

impl TrainedLoad {
    /// The first moment that no head has learned anything from.
    pub fn test_from(&self) -> i64 {
        self.heads.iter().map(|head| head.split.test.from).max().unwrap_or(self.span.until)
    }
}

/// Trains all heads. `progress` is told the head that is done.
///
/// # Errors
/// When the history is too short, a column is missing, or no node is left to train on.
pub fn train_load(
    rows: &LoadRows,
    settings: &LoadSettings,
    recipe: &Recipe,
    progress: impl Fn(HeadKey) + Sync,
) -> anyhow::Result<TrainedLoad> {
    settings.validate()?;
    recipe.validate()?;
    let began = Instant::now();
    let held: BTreeSet<u32> = (0..rows.nodes.len() as u32)
        .filter(|index| is_held_out(&rows.nodes[*index as usize], settings.held_out_nodes, settings.seed))
        .collect();
    let training: BTreeSet<u32> = (0..rows.nodes.len() as u32).filter(|index| !held.contains(index)).collect();
    anyhow::ensure!(
        !training.is_empty(),
        "all {} nodes are held out, none is left to train on. Lower `held_out_nodes`",
        rows.nodes.len()
    );
    // One thread per head is cheaper than several threads in one booster, and the files are the same.
    let keys: Vec<HeadKey> = HeadKey::all().collect();
    let heads = workers::each(settings.threads, &keys, |key| {
        let head = train_head(rows, *key, settings, recipe, &training, &held)?;
        progress(*key);
        Ok(head)
    })?;
    let predictor = LoadPredictor::new(heads.iter().map(|head| head.fit.fitted.head.clone()).collect())?;
    let fresh: Option<Vec<LoadHead>> = heads.iter().map(|head| head.fresh.clone()).collect();
    let fresh = fresh.map(LoadPredictor::new).transpose()?.map(|fresh| {
        let mut start = StartOffsets::default();
        heads.iter().for_each(|head| start.extend(head.shifts.clone()));
        fresh.starting_at(start)
    });
    Ok(TrainedLoad {
        predictor,
        fresh,
        heads,
        span: rows.span(),
        nodes: rows.nodes.clone(),
        held_out: held.iter().map(|index| rows.nodes[*index as usize].clone()).collect(),
        rows: rows.len(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn train_head(
    rows: &LoadRows,
    key: HeadKey,
    settings: &LoadSettings,
    recipe: &Recipe,
    training: &BTreeSet<u32>,
    held: &BTreeSet<u32>,
) -> anyhow::Result<TrainedHead> {
    let horizon_ms = i64::from(key.horizon.hours()) * HOUR_MS;
    let options = FitOptions { seed: settings.seed, threads: NonZeroUsize::MIN };
    let kind = TargetKind::HourMean;
    let target = rows.target(kind, key.resource, key.horizon);
    let split = final_split(rows.span(), &settings.split(), horizon_ms).context("cannot train the load predictor")?;
    let input = HeadInput { rows, target: &target, nodes: Some(training), max_rows: settings.max_rows };
    let fit = heads::fit(recipe, key, &input, &split, &options)?;
    let score = |fit: &HeadFit, window: Window, nodes: Option<&BTreeSet<u32>>| {
        let wanted = rows.select(window, nodes, &target, 1);
        heads::outcomes(&fit.fitted, &Scoring { rows, target: &target, kind, taught_by: kind, wanted: &wanted })
    };
    let (test, tracker) = score(&fit, split.test, Some(training))?;
    let held_out = if held.is_empty() { None } else { Scores::of(&score(&fit, split.test, Some(held))?.0) };
    let five_minute_target = rows.target(TargetKind::FiveMinute, key.resource, key.horizon);
    let wanted = rows.select(split.test, Some(training), &five_minute_target, 1);
    let scoring =
        Scoring { rows, target: &five_minute_target, kind: TargetKind::FiveMinute, taught_by: kind, wanted: &wanted };
    let five_minute = Scores::of(&heads::outcomes(&fit.fitted, &scoring)?.0);

    // Folds end where the test begins, so that the test is looked at once.
    let before = Window { from: split.train.from, until: split.calibration.until };
    let mut folds = Vec::new();
    if settings.folds > 0 {
        let validation_ms = (before.until - before.from) / (settings.folds as i64 + 4);
        for fold in rolling_origin(before, settings.folds, validation_ms, horizon_ms).unwrap_or_default() {
            let span = Window { from: fold.train.from, until: fold.validation.until };
            let Ok(inner) = crate::folds::split_before(span, fold.validation.from, &settings.split(), horizon_ms)
            else {
                continue;
            };
            let fit = heads::fit(recipe, key, &input, &inner, &options)?;
            folds.extend(Scores::of(&score(&fit, fold.validation, Some(training))?.0));
        }
        if folds.is_empty() {
            tracing::warn!(head = %key, hours = before.hours(), "history is too short to cross-validate, only the test is reported");
        }
    }
    let fresh = match settings.fresh_fit {
        true => Some(heads::refit(recipe, &fit, &input, rows.span(), &options)?),
        false => None,
    };
    Ok(TrainedHead {
        key,
        split,
        fresh,
        shifts: tracker.shifts(),
        scores: Scores::of(&test),
        yesterday: Scores::of(&yesterday(rows, key, &test, kind)),
        five_minute,
        held_out,
        folds,
        fit,
        test,
    })
}

/// The same-hour-yesterday forecast for the rows of `outcomes`.
pub(crate) fn yesterday(rows: &LoadRows, key: HeadKey, outcomes: &Outcomes, kind: TargetKind) -> Outcomes {
    let before = rows.same_hour_yesterday(kind, key.resource, key.horizon);
    let forecast = (0..outcomes.len())
        .map(|at| {
            let row = rows.row_at(&rows.nodes[outcomes.node[at] as usize], outcomes.ts[at]);
            row.map(|row| f64::from(before[row])).filter(|value| value.is_finite()).unwrap_or(outcomes.persistence[at])
        })
        .collect();
    outcomes.forecast_by(forecast)
}
