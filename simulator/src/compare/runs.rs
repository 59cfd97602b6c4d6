//! Runs policies × seeds in parallel.

use crate::engine::EngineSettings;
use crate::foresight::lower_bound;
use crate::input::{InputError, ScenarioKind, Sources};
use crate::outcome::{CostWeights, Outcome};
use crate::policy::{PolicyKind, Scorer};
use crate::world::{Notes, Scenario};
use rayon::prelude::*;
use runtime::WrongUse;
use std::time::Instant;

/// What to compare.
#[derive(Debug, Clone)]
pub struct CompareSettings {
    /// The policies, in the order of the table.
    pub policies: Vec<PolicyKind>,
    /// The seeds; every policy gets each.
    pub seeds: Vec<u64>,
    /// How the cluster behaves.
    pub engine: EngineSettings,
    /// What outcomes cost.
    pub weights: CostWeights,
    /// What the learned policies score by.
    pub scorer: Scorer,
}

/// All runs of one scenario.
#[derive(Debug, Clone)]
pub struct ScenarioRuns {
    /// Its name.
    pub name: String,
    /// Start in UTC milliseconds, for axes.
    pub origin_ms: i64,
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// How many pods, by seed.
    pub pods: Vec<usize>,
    /// Length in ms.
    pub span_ms: i64,
    /// Assumptions and counts of the first seed.
    pub notes: Notes,
    /// The policies and their outcomes by seed.
    pub outcomes: Vec<(PolicyKind, Vec<Outcome>)>,
    /// Wall-clock seconds of each policy's runs, by seed.
    pub seconds: Vec<Vec<f64>>,
    /// The cost that no placement can beat, by seed.
    pub bounds: Vec<f64>,
}

/// Runs all policies on all seeds of each scenario kind.
///
/// # Errors
/// When there is no policy or no seed, or a scenario cannot be made.
pub fn compare(
    sources: &Sources<'_>,
    kinds: &[ScenarioKind],
    settings: &CompareSettings,
) -> Result<Vec<ScenarioRuns>, InputError> {
    if settings.policies.is_empty() || settings.seeds.is_empty() {
        return Err(WrongUse("a comparison needs at least one policy and one seed".to_owned()).into());
    }
    let count = kinds.len() * settings.seeds.len() * settings.policies.len();
    let bar = runtime::progress::bar(count as u64, "simulating");
    let mut all = Vec::new();
    for kind in kinds {
        let scenarios: Vec<Scenario> =
            settings.seeds.par_iter().map(|seed| sources.build(*kind, *seed)).collect::<Result<_, _>>()?;
        all.push(run_all(&scenarios, settings, || bar.inc(1)));
    }
    bar.finish_and_clear();
    Ok(all)
}

/// Runs all policies on scenarios that are one per seed.
pub(crate) fn run_all(scenarios: &[Scenario], settings: &CompareSettings, done: impl Fn() + Sync) -> ScenarioRuns {
    let jobs: Vec<(PolicyKind, usize)> =
        settings.policies.iter().flat_map(|policy| (0..scenarios.len()).map(move |at| (*policy, at))).collect();
    let outcomes: Vec<(Outcome, f64)> = jobs
        .par_iter()
        .map(|(policy, at)| {
            let started = Instant::now();
            let outcome =
                policy.run(&scenarios[*at], &settings.engine, &settings.weights, &settings.scorer, settings.seeds[*at]);
            done();
            (outcome, started.elapsed().as_secs_f64())
        })
        .collect();
    let bounds = scenarios.par_iter().map(|scenario| lower_bound(scenario, &settings.weights)).collect();
    let by_policy = || settings.policies.iter().zip(outcomes.chunks(scenarios.len().max(1)));
    let first = &scenarios[0];
    ScenarioRuns {
        name: first.name.clone(),
        origin_ms: first.origin_ms,
        nodes: first.nodes.iter().map(|node| node.name.to_string()).collect(),
        pods: scenarios.iter().map(|scenario| scenario.pods.len()).collect(),
        span_ms: first.span_ms,
        notes: first.notes.clone(),
        outcomes: by_policy().map(|(policy, runs)| (*policy, runs.iter().map(|run| run.0.clone()).collect())).collect(),
        seconds: by_policy().map(|(_, runs)| runs.iter().map(|run| run.1).collect()).collect(),
        bounds,
    }
}
