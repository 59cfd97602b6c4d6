//! What a history would have come to, in the units of a budget.

use super::change::{NodeChange, change_nodes};
use crate::compare::{CompareSettings, ScenarioFigures, ScenarioRuns, figures};
use crate::engine::EngineSettings;
use crate::outcome::{CostWeights, Outcome};
use crate::policy::{PolicyKind, Scorer};
use crate::world::Scenario;
use rayon::prelude::*;
use runtime::WrongUse;
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
    /// What the learned policies score by.
    pub scorer: Scorer,
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
    /// Nodes that could have been left out with no more hot minutes, pods without a node, or total cost than recorded.
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
///
/// # Errors
/// [`WrongUse`] without any seed.
pub fn replay(scenario: &Scenario, settings: &ReplaySettings) -> Result<ReplayReport, WrongUse> {
    if settings.seeds.is_empty() {
        return Err(WrongUse("a replay needs at least one seed".to_owned()));
    }
    let mut policies = vec![PolicyKind::Recorded];
    policies.extend(settings.policies.iter().copied().filter(|policy| *policy != PolicyKind::Recorded));
    let scenarios = vec![scenario.clone(); settings.seeds.len()];
    let compared = CompareSettings {
        policies,
        seeds: settings.seeds.clone(),
        engine: settings.engine.clone(),
        weights: settings.weights.clone(),
        scorer: settings.scorer.clone(),
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
    Ok(ReplayReport {
        figures,
        policies,
        moved: moved(scenario, &settings.engine, settings.seeds[0]),
        reference: format!("{} CPU and {:.1} GiB", reference.cpu, reference.memory.as_f64() / f64::from(1 << 30)),
        price_per_core_hour: settings.price_per_core_hour,
        runs,
    })
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
        let outcome = policy.run(&fewer, &settings.engine, &settings.weights, &settings.scorer, settings.seeds[0]);
        no_worse(&outcome, recorded, &settings.weights)
            .then(|| Spare { nodes: count, cores: cores(scenario) - cores(&fewer) })
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

/// No more hot minutes, no more pods without a node, and no more weighted cost in total (not per node-minute, since fewer
/// nodes have fewer of them).
fn no_worse(outcome: &Outcome, recorded: &Outcome, weights: &CostWeights) -> bool {
    let total = |outcome: &Outcome| weights.cost(outcome) * outcome.node_minutes;
    outcome.hot_80_minutes <= recorded.hot_80_minutes
        && outcome.never_placed <= recorded.never_placed
        && total(outcome) <= total(recorded)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod, scenario};
    use crate::world::NodeId;

    fn settings() -> ReplaySettings {
        ReplaySettings {
            policies: vec![PolicyKind::KubeScheduler, PolicyKind::MostAllocated],
            seeds: vec![1, 2],
            price_per_core_hour: 0.5,
            engine: EngineSettings::default(),
            weights: CostWeights::default(),
            scorer: Scorer::default(),
        }
    }

    /// Four nodes of four cores; the record has both hot pods on the first and leaves two nodes empty.
    fn history() -> Scenario {
        let nodes = (0..4).map(|at| node(&format!("node-{at}"), "4", 16)).collect();
        let mut pods = vec![pod("a", "1", 1), pod("b", "1", 1), pod("c", "1", 1)];
        for (pod, (node, uses)) in pods.iter_mut().zip([(0, 1_800.0), (0, 1_800.0), (1, 500.0)]) {
            pod.recorded = Some(NodeId(node));
            pod.usage.cpu_milli = uses;
        }
        scenario(nodes, pods).checked().expect("a scenario")
    }

    #[test]
    fn nodes_to_spare_and_their_price_by_hand() {
        let report = replay(&history(), &settings()).expect("a report");
        let [recorded, kube, packed] = &report.policies[..] else { panic!("three policies") };
        assert_eq!((recorded.policy.as_str(), recorded.hot_hours, recorded.spare_nodes), ("recorded", 1.0, 0));
        // The record has 3.6 of 4 cores in use on one node for the hour: as much as all pods on two nodes may have.
        assert_eq!(kube.hot_hours, 0.0);
        assert_eq!(kube.spare_nodes, 2, "two nodes hold the pods as well as recorded, one node would be over 90 %");
        // Two nodes of four cores for an hour at 0.5, and 720 times that in 30 days.
        assert_eq!((kube.spare_core_hours, kube.saved, kube.saved_per_month), (8.0, 4.0, 2_880.0));
        assert!(packed.spare_nodes <= 2);
        assert_eq!(report.moved, 0);
        assert_eq!(report.figures.base, "recorded");
        let page = crate::replay::page(&report).html();
        for word in ["saved per 30 days", "2 of 4 nodes", "0.5 per core-hour", "recorded"] {
            assert!(page.contains(word), "{word} in the page");
        }
    }

    #[test]
    fn a_record_that_does_not_fit_is_counted_and_no_seed_is_refused() {
        let mut crowded = history();
        for pod in &mut crowded.pods {
            pod.request.cpu = crate::testing::cores("3");
        }
        assert_eq!(replay(&crowded, &settings()).expect("a report").moved, 1);
        let none = ReplaySettings { seeds: Vec::new(), ..settings() };
        assert!(replay(&crowded, &none).is_err());
    }
}
