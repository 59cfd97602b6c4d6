//! Fitting a head of the load predictor from rows: which rows go where, and which columns it reads.

use crate::compare::{Fitted, FoldRows};
use crate::evaluate::{Outcomes, ReplayInput, replay};
use crate::folds::{Fold, Split, SplitSettings, Window, split_before};
use crate::recipe::{ColumnSet, Recipe};
use crate::rows::{LoadRows, pick};
use anyhow::Context;
use cluster::{GRID_STEP_MS, HOUR_MS};
use features::TargetKind;
use models::load::{
    FittedHead, HeadData, HeadKey, HeadSettings, LoadHead, OffsetRule, OffsetTracker, StartOffsets, fit_head,
    refit_head,
};
use models::{FeatureMatrix, FitOptions, FitRows};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Shares of a training history when there is no other reason to choose: on both traces the error does not change by
/// more than its noise between 0.1 and 0.25.
pub const DEFAULT_SPLIT: SplitSettings = SplitSettings { test_share: 0.2, calibration_share: 0.2, stop_share: 0.25 };

/// A fitted head with how it came about.
#[derive(Debug, Clone)]
pub struct HeadFit {
    /// The head and its evidence.
    pub fitted: FittedHead,
    /// The columns that it reads.
    pub columns: ColumnSet,
    /// Every so many grid times were learned from, to keep within the limit of rows.
    pub every: usize,
    /// Time of the fit.
    pub fit_time: Duration,
}

/// What a head is fitted on.
#[derive(Debug, Clone, Copy)]
pub struct HeadInput<'a> {
    /// All rows.
    pub rows: &'a LoadRows,
    /// What each row should forecast, NaN where unknown.
    pub target: &'a [f32],
    /// The nodes that may train; all when absent.
    pub nodes: Option<&'a BTreeSet<u32>>,
    /// Training rows, at most: the grid of times is thinned evenly until they fit.
    pub max_rows: usize,
}

/// Rows of one window, ready to fit on.
struct Slice {
    x: FeatureMatrix,
    y: Vec<f32>,
}

impl Slice {
    fn new(input: &HeadInput<'_>, window: Window, every: usize) -> anyhow::Result<Self> {
        let rows = input.rows.select(window, input.nodes, input.target, every);
        Ok(Self { x: input.rows.x.select_rows(&rows)?, y: pick(input.target, &rows) })
    }

    fn rows(&self) -> FitRows<'_> {
        FitRows::new(&self.x, &self.y)
    }
}

/// Fits a head on everything before the test of `split`.
///
/// # Errors
/// When a window has no rows with a known target, or the booster refuses the data.
pub fn fit(
    recipe: &Recipe,
    key: HeadKey,
    input: &HeadInput<'_>,
    split: &Split,
    options: &FitOptions,
) -> anyhow::Result<HeadFit> {
    let columns = ColumnSet::for_history(split.train.hours());
    fit_settings(&recipe.head(key.resource, columns), columns, key, input, split, options)
}

/// The same with settings of one's own, which read `columns` or some of them.
///
/// # Errors
/// See [`fit`].
pub fn fit_settings(
    settings: &HeadSettings,
    columns: ColumnSet,
    key: HeadKey,
    input: &HeadInput<'_>,
    split: &Split,
    options: &FitOptions,
) -> anyhow::Result<HeadFit> {
    let began = Instant::now();
    let all = input.rows.select(split.train, input.nodes, input.target, 1).len();
    let every = all.div_ceil(input.max_rows.max(1)).max(1);
    let slice = |window, what: &str| -> anyhow::Result<Slice> {
        let slice = Slice::new(input, window, every)?;
        anyhow::ensure!(
            !slice.y.is_empty(),
            "no row with a known target for {key} in the {what} window. Collect more days, or check `collector quality` for gaps"
        );
        Ok(slice)
    };
    let (train, stop, calibration) =
        (slice(split.train, "training")?, slice(split.stop, "stop")?, slice(split.calibration, "calibration")?);
    let data = HeadData { train: train.rows(), selection: Some(stop.rows()), calibration: Some(calibration.rows()) };
    let fitted = fit_head(key, settings, &data, options).with_context(|| format!("failed to fit {key}"))?;
    Ok(HeadFit { fitted, columns, every, fit_time: began.elapsed() })
}

/// What was judged, once more on everything that is known by now: the same columns, rounds, blend and shift, fitted to the rows
/// of `window` whose target is known, as densely as the judged head was.
///
/// # Errors
/// When there is no such row, or the booster refuses the data.
pub fn refit(
    recipe: &Recipe,
    judged: &HeadFit,
    input: &HeadInput<'_>,
    window: Window,
    options: &FitOptions,
) -> anyhow::Result<LoadHead> {
    let key = judged.fitted.head.key();
    let slice = Slice::new(input, window, judged.every)?;
    anyhow::ensure!(!slice.y.is_empty(), "no row with a known target for a fresh fit of {key}");
    let settings = recipe.head(key.resource, judged.columns);
    refit_head(&judged.fitted.head, &settings, &slice.rows(), options)
        .with_context(|| format!("failed to fit {key} once more"))
}

/// Which rows a head is scored on, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Scoring<'a> {
    /// All rows.
    pub rows: &'a LoadRows,
    /// What each row should have forecast, NaN where unknown.
    pub target: &'a [f32],
    /// Which figure that is; the references are for the same.
    pub kind: TargetKind,
    /// Which figure the head forecasts: its outcomes move the P90 that is served.
    pub taught_by: TargetKind,
    /// The rows that are scored.
    pub wanted: &'a [usize],
}

/// The forecasts of a head beside what came, and the tracker of its served P90 as the last row left it. Rows without
/// observation, persistence or last value are left out, so that every forecaster is scored on the same ones.
///
/// # Errors
/// When the rows have other features than the head.
pub fn outcomes(fit: &FittedHead, scoring: &Scoring<'_>) -> anyhow::Result<(Outcomes, OffsetTracker)> {
    outcomes_of(&fit.head, fit.evidence.median_error, StartOffsets::default(), scoring)
}

/// The same for a head whose evidence is kept elsewhere, such as one from an artifact; the shifts of its P90 begin at
/// `start`.
///
/// # Errors
/// See [`outcomes`].
pub fn outcomes_of(
    head: &LoadHead,
    typical_error: Option<f64>,
    start: StartOffsets,
    scoring: &Scoring<'_>,
) -> anyhow::Result<(Outcomes, OffsetTracker)> {
    let (key, rows) = (head.key(), scoring.rows);
    let (persistence, last_value) = (rows.persistence(scoring.kind, key.resource), rows.last_value(key.resource));
    let known = |row: &&usize| {
        scoring.target[**row].is_finite() && persistence[**row].is_finite() && last_value[**row].is_finite()
    };
    let wanted: Vec<usize> = scoring.wanted.iter().filter(known).copied().collect();
    // The server forecasts every row of the time, those too that no figure counts.
    let nodes: BTreeSet<u32> = wanted.iter().map(|row| rows.node[*row]).collect();
    let times = || wanted.iter().map(|row| rows.ts[*row]);
    let window =
        Window { from: times().min().unwrap_or(0), until: times().max().map_or(0, |last| last + GRID_STEP_MS) };
    let input = ReplayInput { rows, nodes: &nodes, window, kind: scoring.taught_by };
    let issued = input.issued();
    let forecasts = head.predict(&rows.x.select_rows(&issued)?.select_columns(head.features())?)?;
    let replay = replay(&input, OffsetRule::of(head, typical_error), &forecasts, start)?;
    let by_row = |values: &[f32]| {
        let mut by_row = vec![f32::NAN; rows.len()];
        issued.iter().zip(values).for_each(|(row, value)| by_row[*row] = *value);
        by_row
    };
    let column = |values: &[f32]| pick(values, &wanted).into_iter().map(f64::from).collect::<Vec<_>>();
    let outcomes = Outcomes {
        node: pick(&rows.node, &wanted),
        ts: pick(&rows.ts, &wanted),
        observed: column(scoring.target),
        median: column(&by_row(&forecasts.p50)),
        p90: column(&replay.served),
        p90_model: column(&by_row(&forecasts.p90)),
        persistence: column(&persistence),
        last_value: column(&last_value),
    };
    Ok((outcomes, replay.tracker))
}

/// A head on the terms of `trainer compare`: fitted on a fold's training window, forecasting its validation rows.
///
/// # Errors
/// When the fold is too short to stop and calibrate, and what [`fit`] says.
pub fn fit_for_comparison(
    recipe: &Recipe,
    key: HeadKey,
    kind: TargetKind,
    fold: &FoldRows<'_>,
    windows: Fold,
    max_rows: usize,
    options: &FitOptions,
) -> anyhow::Result<Fitted> {
    let span = Window { from: windows.train.from, until: windows.validation.until };
    let split = split_before(span, windows.validation.from, &DEFAULT_SPLIT, i64::from(key.horizon.hours()) * HOUR_MS)?;
    let input = HeadInput { rows: fold.rows, target: fold.target, nodes: None, max_rows };
    let fit = fit(recipe, key, &input, &split, options)?;
    let scoring = Scoring { rows: fold.rows, target: fold.target, kind, taught_by: kind, wanted: fold.validation };
    let (outcomes, _) = outcomes(&fit.fitted, &scoring)?;
    anyhow::ensure!(
        outcomes.len() == fold.validation.len(),
        "{} of {} rows could be forecast",
        outcomes.len(),
        fold.validation.len()
    );
    let predictor = models::load::LoadPredictor::new(vec![fit.fitted.head.clone()])?;
    let bytes = predictor.to_files()?.values().map(Vec::len).sum();
    Ok(Fitted {
        median: outcomes.median,
        p90: outcomes.p90,
        fit_time: fit.fit_time,
        bytes,
        latency: latency(&fit.fitted, fold)?,
    })
}

/// Median time of up to 200 forecasts of one row each, both quantiles.
fn latency(fit: &FittedHead, fold: &FoldRows<'_>) -> anyhow::Result<Option<Duration>> {
    let sample: Vec<usize> = fold.validation.iter().take(200).copied().collect();
    let x = fold.rows.x.select_rows(&sample)?.select_columns(fit.head.features())?;
    let mut times = Vec::with_capacity(sample.len());
    for row in 0..x.rows() {
        let began = Instant::now();
        std::hint::black_box(fit.head.predict_row(x.row(row))?);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied())
}
