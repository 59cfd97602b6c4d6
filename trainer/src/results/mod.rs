//! `trainer results`: the figures of `docs/results.md` for one set: the load predictor beside persistence, the last
//! value, the same hour yesterday, a linear model and Python's XGBoost, on a test that nothing was chosen on.

mod peer;
mod table;

pub use peer::{Peer, PeerMode};
pub use table::{markdown, page};

use crate::evaluate::{Outcomes, Scores, mean_with_interval};
use crate::folds::{Split, SplitSettings, Window, final_split, is_held_out};
use crate::heads::{self, DEFAULT_SPLIT, HeadInput, Scoring};
use crate::recipe::{ColumnSet, Recipe};
use crate::rows::{LoadRows, TARGET_KINDS, pick};
use crate::validate::{Difference, DifferenceSeries, Paired};
use crate::workers;
use cluster::{DAY_MS, HOUR_MS};
use features::TargetKind;
use models::learners::LinearRegression;
use models::load::{HeadKey, StartOffsets};
use models::{FitData, FitOptions, Learner};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

/// How the figures are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultsSettings {
    /// One fit per seed; figures are means over them.
    pub seeds: Vec<u64>,
    /// Share of the history, at its end, that is tested on.
    pub test_share: f64,
    /// Training rows per head, at most.
    pub max_rows: usize,
    /// Days between two trainings in the lines that retrain as the pipeline does; 0 leaves them out.
    pub retrain_days: u32,
    /// Share of nodes that never train in the lines about new nodes; 0 leaves them out.
    pub held_out_nodes: f64,
    /// Threads.
    pub threads: NonZeroUsize,
}

/// One forecaster on one head and target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultLine {
    /// `hour_mean` or `five_minute`.
    pub target: TargetKind,
    /// Such as `cpu-1h`.
    pub head: String,
    /// Who forecasts.
    pub forecaster: String,
    /// Figures of the first seed.
    pub scores: Scores,
    /// MAE of each seed in points.
    pub seed_mae_points: Vec<f64>,
    /// Mean MAE over the seeds.
    pub mae_points: f64,
    /// Half the 95 % interval of that mean over seeds; absent for forecasters without chance.
    pub mae_half_width: Option<f64>,
    /// Against persistence on the same rows (below 0 is better).
    pub against_persistence: Option<Difference>,
    /// CPU time of one fit in seconds, where it was measured.
    pub fit_seconds: Option<f64>,
}

/// All lines of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The set's name.
    pub set: String,
    /// The features dataset.
    pub dataset: String,
    /// Nodes in it.
    pub nodes: usize,
    /// The whole history.
    pub span: Window,
    /// What is tested on.
    pub test: Window,
    /// How.
    pub settings: ResultsSettings,
    /// The boosters.
    pub recipe: Recipe,
    /// The lines.
    pub lines: Vec<ResultLine>,
}

/// A forecast of the test rows by one seed, with the time of its fit.
type Forecast = (Outcomes, Option<f64>);

/// Makes every line.
///
/// # Errors
/// When the history is too short, a fit fails, or the peer fails.
pub fn results(
    set: &str,
    dataset: &str,
    rows: &LoadRows,
    settings: &ResultsSettings,
    recipe: &Recipe,
    peer: Option<&Peer>,
    progress: impl Fn(&str) + Sync,
) -> anyhow::Result<Results> {
    let split = SplitSettings { test_share: settings.test_share, ..DEFAULT_SPLIT };
    let jobs: Vec<(TargetKind, HeadKey)> =
        TARGET_KINDS.into_iter().flat_map(|kind| HeadKey::all().map(move |key| (kind, key))).collect();
    let lines = workers::each(settings.threads, &jobs, |(kind, key)| {
        let lines = Head::new(rows, *kind, *key, settings, recipe, &split)?.lines(peer)?;
        progress(&format!("{} {}", key.slug(), crate::rows::slug(*kind)));
        Ok(lines)
    })?;
    let test = final_split(rows.span(), &split, 0)?.test;
    Ok(Results {
        set: set.to_owned(),
        dataset: dataset.to_owned(),
        nodes: rows.nodes.len(),
        span: rows.span(),
        test,
        settings: settings.clone(),
        recipe: recipe.clone(),
        lines: lines.concat(),
    })
}

struct Head<'a> {
    rows: &'a LoadRows,
    kind: TargetKind,
    key: HeadKey,
    settings: &'a ResultsSettings,
    recipe: &'a Recipe,
    split: Split,
    target: Vec<f32>,
    /// Rows of the test.
    wanted: Vec<usize>,
}

impl<'a> Head<'a> {
    fn new(
        rows: &'a LoadRows,
        kind: TargetKind,
        key: HeadKey,
        settings: &'a ResultsSettings,
        recipe: &'a Recipe,
        shares: &'a SplitSettings,
    ) -> anyhow::Result<Self> {
        let horizon_ms = i64::from(key.horizon.hours()) * HOUR_MS;
        let mut target = rows.target(kind, key.resource, key.horizon);
        let (persistence, last) = (rows.persistence(kind, key.resource), rows.last_value(key.resource));
        for row in 0..rows.len() {
            if !(persistence[row].is_finite() && last[row].is_finite()) {
                target[row] = f32::NAN;
            }
        }
        let split = final_split(rows.span(), shares, horizon_ms)?;
        let wanted = rows.select(split.test, None, &target, 1);
        anyhow::ensure!(!wanted.is_empty(), "no test row of {key} has a known target");
        Ok(Self { rows, kind, key, settings, recipe, split, target, wanted })
    }

    fn lines(&self, peer: Option<&Peer>) -> anyhow::Result<Vec<ResultLine>> {
        let chosen = self.per_seed(|seed| self.load_predictor(seed))?;
        let Some((reference, _)) = chosen.first() else { anyhow::bail!("at least one seed is needed") };
        let reference = reference.clone();
        let sure = |outcomes: Outcomes| vec![(outcomes, None)];
        let mut lines = vec![
            self.line("persistence", sure(reference.forecast_by(reference.persistence.clone()))),
            self.line("last value", sure(reference.forecast_by(reference.last_value.clone()))),
            self.line("same hour yesterday", sure(crate::train::yesterday(self.rows, self.key, &reference, self.kind))),
            self.line("linear", vec![self.linear(&reference)?]),
        ];
        if let Some(peer) = peer {
            for mode in PeerMode::ALL {
                lines.push(self.line(mode.name(), self.per_seed(|seed| self.peer(peer, mode, seed, &reference))?));
            }
        }
        lines.push(self.line("load predictor", chosen));
        if self.settings.retrain_days > 0 && self.kind == TargetKind::HourMean {
            let name = format!("load predictor, retrained every {} days", self.settings.retrain_days);
            lines.push(self.line(&name, vec![(self.retrained(true)?, None)]));
            let name = format!("{name}, judged model served");
            lines.push(self.line(&name, vec![(self.retrained(false)?, None)]));
        }
        if self.settings.held_out_nodes > 0.0
            && self.kind == TargetKind::HourMean
            && let Some(outcomes) = self.new_nodes()?
        {
            let persistence = sure(outcomes.forecast_by(outcomes.persistence.clone()));
            lines.push(self.line("persistence, new nodes only", persistence));
            lines.push(self.line("load predictor, new nodes only", vec![(outcomes, None)]));
        }
        Ok(lines)
    }

    fn per_seed(&self, forecast: impl Fn(u64) -> anyhow::Result<Forecast>) -> anyhow::Result<Vec<Forecast>> {
        self.settings.seeds.iter().map(|seed| forecast(*seed)).collect()
    }

    fn line(&self, forecaster: &str, seeds: Vec<Forecast>) -> ResultLine {
        let scored: Vec<Scores> = seeds.iter().filter_map(|(outcomes, _)| Scores::of(outcomes)).collect();
        let seed_mae_points: Vec<f64> = scored.iter().map(|scores| scores.mae_points).collect();
        let (mae_points, mae_half_width) = mean_with_interval(&seed_mae_points);
        let (first, fit_seconds) = (&seeds[0].0, seeds[0].1);
        ResultLine {
            target: self.kind,
            head: self.key.slug(),
            forecaster: forecaster.to_owned(),
            scores: scored[0],
            against_persistence: (forecaster != "persistence")
                .then(|| {
                    let Outcomes { ts, observed, median, persistence, .. } = first;
                    DifferenceSeries::of(&Paired { ts, observed, first: median, second: persistence }).difference()
                })
                .flatten(),
            seed_mae_points,
            mae_points,
            mae_half_width,
            fit_seconds,
        }
    }

    fn input<'b>(&'b self, nodes: Option<&'b BTreeSet<u32>>) -> HeadInput<'b> {
        HeadInput { rows: self.rows, target: &self.target, nodes, max_rows: self.settings.max_rows }
    }

    fn scoring<'b>(&'b self, wanted: &'b [usize]) -> Scoring<'b> {
        Scoring { rows: self.rows, target: &self.target, kind: self.kind, taught_by: self.kind, wanted }
    }

    fn load_predictor(&self, seed: u64) -> anyhow::Result<Forecast> {
        let fit = heads::fit(self.recipe, self.key, &self.input(None), &self.split, &FitOptions::seeded(seed))?;
        let (outcomes, _) = heads::outcomes(&fit.fitted, &self.scoring(&self.wanted))?;
        Ok((outcomes, Some(fit.fit_time.as_secs_f64())))
    }

    /// As the pipeline does it: every few days a recipe is judged on the newest hours, then fitted once more up to that moment, and
    /// that fit serves. Without `fresh` the judged model itself serves, which has learned nothing from these hours.
    fn retrained(&self, fresh: bool) -> anyhow::Result<Outcomes> {
        let (horizon_ms, step) =
            (i64::from(self.key.horizon.hours()) * HOUR_MS, i64::from(self.settings.retrain_days) * DAY_MS);
        let options = FitOptions::seeded(self.settings.seeds[0]);
        let mut all = Outcomes::default();
        let mut from = self.split.test.from;
        while from < self.split.test.until {
            let window = Window { from, until: (from + step).min(self.split.test.until) };
            let history = Window { from: self.split.train.from, until: from };
            // What was forecast in the last hours of it is not known yet.
            let known = Window { until: from - horizon_ms, ..history };
            let split = final_split(history, &DEFAULT_SPLIT, horizon_ms)?;
            let judged = heads::fit(self.recipe, self.key, &self.input(None), &split, &options)?;
            let within = |window: Window| -> Vec<usize> { self.rows.select(window, None, &self.target, 1) };
            let tested = within(Window { until: known.until, ..split.test });
            let (_, tracker) = heads::outcomes(&judged.fitted, &self.scoring(&tested))?;
            let (head, start) = match fresh {
                true => (heads::refit(self.recipe, &judged, &self.input(None), known, &options)?, tracker.shifts()),
                false => (judged.fitted.head.clone(), StartOffsets::default()),
            };
            let typical_error = judged.fitted.evidence.median_error;
            let wanted = within(window);
            all.extend(&heads::outcomes_of(&head, typical_error, start, &self.scoring(&wanted))?.0);
            from += step;
        }
        Ok(all)
    }

    /// Trained without some nodes, tested on these alone.
    fn new_nodes(&self) -> anyhow::Result<Option<Outcomes>> {
        let seed = self.settings.seeds[0];
        let all = 0..self.rows.nodes.len() as u32;
        let (held, training): (BTreeSet<u32>, BTreeSet<u32>) =
            all.partition(|index| is_held_out(&self.rows.nodes[*index as usize], self.settings.held_out_nodes, seed));
        if held.is_empty() || training.is_empty() {
            return Ok(None);
        }
        let fit =
            heads::fit(self.recipe, self.key, &self.input(Some(&training)), &self.split, &FitOptions::seeded(seed))?;
        let wanted: Vec<usize> =
            self.wanted.iter().copied().filter(|&row| held.contains(&self.rows.node[row])).collect();
        let (outcomes, _) = heads::outcomes(&fit.fitted, &self.scoring(&wanted))?;
        Ok(Some(outcomes).filter(|outcomes| !outcomes.is_empty()))
    }

    /// Rows that the plain learners and the peer fit on: all before the test, thinned to the same number.
    fn plain_train(&self) -> Vec<usize> {
        let window = self.split.refit();
        let every =
            self.rows.select(window, None, &self.target, 1).len().div_ceil(self.settings.max_rows.max(1)).max(1);
        self.rows.select(window, None, &self.target, every)
    }

    /// The test rows that `reference` has, as row numbers.
    fn test_rows(&self, reference: &Outcomes) -> Vec<usize> {
        (0..reference.len())
            .filter_map(|at| self.rows.row_at(self.rows.nodes.get(reference.node[at] as usize)?, reference.ts[at]))
            .collect()
    }

    fn linear(&self, reference: &Outcomes) -> anyhow::Result<Forecast> {
        let columns = ColumnSet::Lean.columns(self.key.resource);
        let train = self.plain_train();
        let x = self.rows.x.select_rows(&train)?.select_columns(&columns)?;
        let y = pick(&self.target, &train);
        let began = std::time::Instant::now();
        let model = LinearRegression {}.fit(&FitData::new(&x, &y), &FitOptions::seeded(self.settings.seeds[0]))?;
        let seconds = began.elapsed().as_secs_f64();
        let x = self.rows.x.select_rows(&self.test_rows(reference))?.select_columns(&columns)?;
        let mut forecasts = vec![0.0; x.rows()];
        model.predict(&x, &mut forecasts)?;
        Ok((
            reference.forecast_by(forecasts.into_iter().map(|value| f64::from(value.max(0.0))).collect()),
            Some(seconds),
        ))
    }

    fn peer(&self, peer: &Peer, mode: PeerMode, seed: u64, reference: &Outcomes) -> anyhow::Result<Forecast> {
        let columns = ColumnSet::Lean.columns(self.key.resource);
        let persistence = self.rows.persistence(self.kind, self.key.resource);
        let base = |rows: &[usize]| if mode.is_residual() { pick(&persistence, rows) } else { vec![0.0; rows.len()] };
        let (train, test) = (self.plain_train(), self.test_rows(reference));
        let y: Vec<f32> =
            pick(&self.target, &train).iter().zip(base(&train)).map(|(target, base)| target - base).collect();
        let x_train = self.rows.x.select_rows(&train)?.select_columns(&columns)?;
        let x_test = self.rows.x.select_rows(&test)?.select_columns(&columns)?;
        let answer = peer.forecast(mode, self.recipe, seed, &x_train, &y, &x_test)?;
        let median = answer
            .forecasts
            .iter()
            .zip(base(&test))
            .map(|(forecast, base)| f64::from((forecast + base).max(0.0)))
            .collect();
        Ok((reference.forecast_by(median), Some(answer.cpu_seconds)))
    }
}
