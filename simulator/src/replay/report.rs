//! What a history would have come to, in the units of a budget.

use super::change::{NodeChange, change_nodes};
use crate::compare::{CompareSettings, ScenarioFigures, ScenarioRuns, figures};
use crate::engine::EngineSettings;
use crate::outcome::{CostWeights, Outcome};
use crate::policy::PolicyKind;
use crate::world::Scenario;
use rayon::prelude::*;
use serde::Serialize;

/// What is asked.
#[derive(Debug, Clone)]
pub struct ReplaySettings {
    /// The policies beside what was recorded.
    pub policies: Vec<PolicyKind>,
    /// The seeds: a history is one, so they only vary the choice among equals.
    pub seeds: Vec<u64>,
    /// Price of a core-hour, in whatever currency.
    pub price_per_core_hour: f64,
    /// How the cluster behaves.
    pub engine: EngineSettings,
    /// What outcomes cost.
    pub weights: CostWeights,
}

/// A policy in the units of a budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyReport {
    /// The policy.
    pub policy: String,
    /// Node-hours over 80 % CPU.
    pub hot_hours: f64,
    /// Throttled pod-hours.
    pub throttled_hours: f64,
    /// Pods killed for memory.
    pub evictions: u64,
    /// More median pods that would have fitted by requests in the tightest twentieth of the time.
    pub room_by_requests: f64,
    /// More median pods that would have fitted with no node over 80 % of CPU or 90 % of memory in use, likewise.
    pub room_by_usage: f64,
    /// Nodes that could have been left out with no more hot minutes, evictions or waiting than recorded.
    pub spare_nodes: usize,
    /// Their core-hours in this span.
    pub spare_core_hours: f64,
    /// Their price in this span.
    pub saved: f64,
    /// The same for 30 days.
    pub saved_per_month: f64,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    /// The comparison, base `recorded`.
    pub figures: ScenarioFigures,
    /// In the order of the comparison.
    pub policies: Vec<PolicyReport>,
    /// Pods whose recorded node could not take them by requests, so that the recorded placement put them elsewhere.
    pub moved: u64,
    /// The median pod, in words.
    pub reference: String,
    /// Price of a core-hour.
    pub price_per_core_hour: f64,
    /// All runs.
    #[serde(skip)]
    pub runs: ScenarioRuns,
}

/// Runs a history under its recorded placement and others, and looks for nodes to spare.
pub fn replay(scenario: &Scenario, settings: &ReplaySettings) -> ReplayReport {
    let mut policies = vec![PolicyKind::Recorded];
    policies.extend(settings.policies.iter().copied().filter(|policy| *policy != PolicyKind::Recorded));
    let scenarios = vec![scenario.clone(); settings.seeds.len()];
    let compared = CompareSettings {
        policies,
        seeds: settings.seeds.clone(),
        engine: settings.engine.clone(),
        weights: settings.weights.clone(),
    };
    let bar = runtime::progress::bar((compared.policies.len() * (settings.seeds.len() + 1)) as u64, "replaying");
    let runs = crate::compare::run_all(&scenarios, &compared, || bar.inc(1));
    let figures = figures(&runs, &settings.weights, PolicyKind::Recorded);
    let recorded = runs.outcomes[0].1[0].clone();
    let policies = runs
        .outcomes
        .par_iter()
        .map(|(policy, outcomes)| {
            let report = in_budget(scenario, settings, *policy, &outcomes[0], &recorded);
            bar.inc(1);
            report
        })
        .collect();
    bar.finish_and_clear();
    let reference = scenario.reference_request();
    ReplayReport {
        figures,
        policies,
        moved: moved(scenario, &settings.engine, settings.seeds[0]),
        reference: format!("{} CPU and {:.1} GiB", reference.cpu, reference.memory.as_f64() / f64::from(1 << 30)),
        price_per_core_hour: settings.price_per_core_hour,
        runs,
    }
}

fn in_budget(
    scenario: &Scenario,
    settings: &ReplaySettings,
    policy: PolicyKind,
    outcome: &Outcome,
    recorded: &Outcome,
) -> PolicyReport {
    let spare = spare_nodes(scenario, settings, policy, recorded);
    let hours = scenario.span_ms as f64 / 3_600_000.0;
    let spare_core_hours = spare.cores * hours;
    let saved = spare_core_hours * settings.price_per_core_hour;
    PolicyReport {
        policy: policy.name(),
        hot_hours: outcome.hot_80_minutes / 60.0,
        throttled_hours: outcome.throttled_pod_minutes / 60.0,
        evictions: outcome.evictions,
        room_by_requests: outcome.room_by_requests_p5,
        room_by_usage: outcome.room_by_usage_p5,
        spare_nodes: spare.nodes,
        spare_core_hours,
        saved,
        saved_per_month: saved * 720.0 / hours,
    }
}

struct Spare {
    nodes: usize,
    cores: f64,
}

/// The most nodes that can go: doubled until it fails, then halved in between. More nodes going is taken for never better.
fn spare_nodes(scenario: &Scenario, settings: &ReplaySettings, policy: PolicyKind, recorded: &Outcome) -> Spare {
    let none = Spare { nodes: 0, cores: 0.0 };
    // What was recorded needs the nodes that it names.
    if policy == PolicyKind::Recorded {
        return none;
    }
    let cores = |scenario: &Scenario| scenario.total_cpu() as f64 / 1_000.0;
    let without = |count: usize| -> Option<Spare> {
        let fewer = change_nodes(scenario, NodeChange(-(count as i64))).ok()?;
        let outcome = policy.run(&fewer, &settings.engine, &settings.weights, settings.seeds[0]);
        no_worse(&outcome, recorded).then(|| Spare { nodes: count, cores: cores(scenario) - cores(&fewer) })
    };
    let (mut good, mut bad) = (none, scenario.nodes.len());
    let mut count = 1;
    while count < bad {
        match without(count) {
            Some(spare) => good = spare,
            None => bad = count,
        }
        count = if bad == scenario.nodes.len() { (good.nodes * 2).min(bad - 1) } else { (good.nodes + bad) / 2 };
        if count <= good.nodes {
            break;
        }
    }
    good
}

/// A minute of waiting per pod is what a retry takes, and no worse service.
fn no_worse(outcome: &Outcome, recorded: &Outcome) -> bool {
    outcome.hot_80_minutes <= recorded.hot_80_minutes
        && outcome.hot_90_minutes <= recorded.hot_90_minutes
        && outcome.evictions <= recorded.evictions
        && outcome.never_placed <= recorded.never_placed
        && outcome.pending_pod_minutes <= recorded.pending_pod_minutes + outcome.pods as f64
}

/// Pods that the recorded placement could not put where they were: requests did not fit, by the tables.
fn moved(scenario: &Scenario, engine: &EngineSettings, seed: u64) -> u64 {
    let mut simulation = crate::engine::Simulation::new(scenario, engine.clone(), seed);
    let mut policy = crate::policy::Recorded::new(scenario);
    let mut moved = 0;
    while let Some(pod) = simulation.next_pod() {
        simulation.decide(pod, &mut policy);
        let recorded = scenario.pod(pod).recorded;
        moved += u64::from(recorded.is_some() && simulation.node_of(pod).is_some_and(|node| Some(node) != recorded));
    }
    moved
}
