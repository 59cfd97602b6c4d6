//! `trainer gate-results`: how often the gate and the limits of rollouts err, by forecasts of real models.
//!
//! - [`forecasts`]: several recipes on the same hours, kept as a file. [`ladder`]: challengers of known quality, made of them.
//! - [`duel`]: coverage and decisions, window by window, by the rules of [`crate::validate`]; [`rollout`]: rollouts by the sequences
//!   that `serving` runs.
//!
//! What a challenger is truly worth is taken from all days of the forecasts, and is itself uncertain.

pub mod duel;
pub mod forecasts;
pub mod ladder;
pub mod rollout;

pub use forecasts::{HeadForecasts, OTHER, POOR, REFERENCE, forecast, read, span, write};

use crate::folds::Window;
use crate::validate::GateSettings;
use duel::{CoverageLine, DecisionLine, Duel};
use ladder::{Flaw, contender, worse_by_points, worse_by_share};
use rollout::{RolloutLine, by_errors, by_forecasts};
use serde::{Deserialize, Serialize};

/// Lengths of windows, in days.
const DAYS: [u32; 4] = [1, 2, 3, 7];
/// Rungs of the ladder, as shares of each head's error.
const SHARES: [f64; 3] = [0.02, 0.05, 0.1];
/// Excess of rollouts in points: within the limit of half a point, near it, at it, one and a half times, twice.
const POINTS: [f64; 5] = [0.2, 0.4, 0.5, 0.75, 1.0];
/// Rollouts by errors that are drawn per line.
const DRAWN_RUNS: usize = 200;

/// The figures of one set and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateFigures {
    /// The set's name.
    pub set: String,
    /// The models' seed.
    pub seed: u64,
    /// What was forecast.
    pub span: Window,
    /// Forecasts per head, the fewest.
    pub rows: usize,
    /// The limits of the gate.
    pub limits: GateSettings,
    /// How often intervals hold the truth.
    pub coverage: Vec<CoverageLine>,
    /// What the gate decides.
    pub decisions: Vec<DecisionLine>,
    /// What becomes of rollouts, by the limit on forecasts.
    pub rollouts: Vec<RolloutLine>,
    /// What becomes of rollouts, by the limit on errors.
    pub errors: Vec<RolloutLine>,
}

/// Computes every figure.
///
/// # Errors
/// When the forecasts lack a forecaster.
pub fn figures(
    set: &str,
    seed: u64,
    heads: &[HeadForecasts],
    limits: &GateSettings,
    progress: impl Fn(&str),
) -> anyhow::Result<GateFigures> {
    let reference = contender(heads, REFERENCE)?;
    let (mut coverage, mut decisions, mut rollouts) = (Vec::new(), Vec::new(), Vec::new());
    let mut decide = |duel: &Duel, name: &str, made_worse_by: Option<f64>| {
        for (days, each_day) in DAYS.into_iter().map(|days| (days, false)).chain([(3, true), (7, true)]) {
            decisions.push(duel.decisions(name, made_worse_by, days, each_day, limits));
        }
    };
    let names = heads.first().into_iter().flat_map(|head| head.contenders.iter().map(|(name, _)| name.clone()));
    for name in names.filter(|name| ![REFERENCE, POOR, OTHER].contains(&name.as_str())) {
        let challenger = contender(heads, &name)?;
        let duel = Duel::new(heads, &challenger, &reference);
        coverage.extend(DAYS.into_iter().flat_map(|days| duel.coverage(&name, days)));
        decide(&duel, &name, None);
        rollouts.push(by_forecasts(heads, &challenger, &reference, &name));
        progress(&name);
    }
    for flaw in Flaw::ALL {
        for share in SHARES {
            let worse = worse_by_share(heads, flaw, share, seed)?;
            decide(&Duel::new(heads, &worse, &reference), flaw.name(), Some(share));
            // Whoever errs by 5 % less than the champion faces one that errs by 1 / 0.95 as much.
            let champion = worse_by_share(heads, flaw, share / (1.0 - share), seed)?;
            decide(&Duel::new(heads, &reference, &champion), flaw.name(), Some(-share));
        }
        for points in POINTS {
            let worse = worse_by_points(heads, flaw, points, seed)?;
            rollouts.push(by_forecasts(heads, &worse, &reference, flaw.name()));
        }
        progress(flaw.name());
    }
    let mut errors = Vec::new();
    for (pods, percent) in [(2_000, 10.0), (20_000, 10.0)] {
        for excess in [0.0, 0.005, 0.01, 0.015, 0.05] {
            errors.push(by_errors(pods, percent, 0.001, excess, DRAWN_RUNS, seed));
        }
    }
    Ok(GateFigures {
        set: set.to_owned(),
        seed,
        span: span(heads),
        rows: heads.iter().map(|head| head.ts.len()).min().unwrap_or(0),
        limits: limits.clone(),
        coverage,
        decisions,
        rollouts,
        errors,
    })
}
