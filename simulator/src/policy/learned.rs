//! Policies that know more than the newest sample: a forecast, a learned network, and their combination.

use super::Policy;
use crate::engine::{Ask, View};
use crate::learning::{Observer, Scores};
use crate::world::NodeId;
use cluster::score::{PartWeights, load_score, unit};
use features::cluster_state::NodeFacts;
use std::sync::Arc;

/// 90th percentile of the normal distribution, in standard deviations.
const NORMAL_90: f64 = 1.2816;
/// Hours ahead that the forecast looks: the longest horizon of the load predictor.
const AHEAD: usize = 4;

/// Combines the parts that are there; a part that is missing is left out and the rest renormalised. Without any, all nodes
/// score equal. The simulator has no anomaly detector: that part is always missing.
pub struct Learned {
    name: &'static str,
    weights: PartWeights,
    agent: Option<Arc<dyn Scores>>,
    observer: Observer,
    rows: Vec<f32>,
    values: Vec<f32>,
}

impl Learned {
    /// A policy of this name and these parts.
    pub fn new(name: &'static str, weights: PartWeights, agent: Option<Arc<dyn Scores>>) -> Self {
        Self { name, weights, agent, observer: Observer::default(), rows: Vec::new(), values: Vec::new() }
    }
}

/// P90 of a node's CPU utilization over the next hours without the pod: the 15-minute mean moved as its pods' workloads
/// moved at those hours before, plus 1.28 deviations of the 15 minutes. A light stand-in for the load predictor, from the
/// same telemetry. `None` without telemetry.
fn forecast_p90(node: &NodeFacts) -> Option<f64> {
    let (mean, deviation) = (f64::from(node.cpu_mean), f64::from(node.cpu_deviation));
    if !mean.is_finite() {
        return None;
    }
    let highest = node.hours[..=AHEAD].iter().copied().fold(0.0, f32::max);
    let rise = f64::from((highest - node.hours[0]) / node.allocatable.cpu.max(1e-3));
    Some(mean + rise.max(0.0) + NORMAL_90 * deviation)
}

impl Policy for Learned {
    fn name(&self) -> &'static str {
        self.name
    }

    fn watches_workloads(&self) -> bool {
        true
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let placement = if self.agent.is_some() { self.weights.placement } else { 0.0 };
        let total = self.weights.load + placement;
        if let Some(agent) = self.agent.as_ref().filter(|_| placement > 0.0) {
            self.rows.clear();
            self.observer.observe(ask, view, candidates, &mut self.rows);
            agent.score(&self.rows, &mut self.values);
            let share = placement / total;
            scores.iter_mut().zip(unit(&self.values)).for_each(|(score, value)| *score = share * value);
        }
        if self.weights.load > 0.0 {
            let share = self.weights.load / total;
            let pod = crate::learning::expected_cpu(view, ask);
            for (score, node) in scores.iter_mut().zip(candidates) {
                let facts = self.observer.node(ask, view, *node);
                // A node without telemetry is neutral: half.
                let load = forecast_p90(&facts).map_or(0.5, |p90| {
                    load_score(p90 + f64::from(facts.in_flight.cpu + pod) / f64::from(facts.allocatable.cpu.max(1e-3)))
                });
                *score += share * load;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineSettings;
    use crate::input::Synthetic;
    use crate::outcome::CostWeights;
    use crate::testing::{after_telemetry, cores, gib};
    use crate::world::Request;

    /// Scores by minus one feature.
    #[derive(Debug)]
    struct Least(&'static str);

    impl Scores for Least {
        fn score(&self, rows: &[f32], scores: &mut Vec<f32>) {
            let at = features::cluster_state::index(self.0).expect("a feature");
            scores.clear();
            scores.extend(rows.chunks(features::cluster_state::WIDTH).map(|row| -row[at]));
        }
    }

    #[test]
    fn in_flight_pods_and_the_pod_itself_count() {
        // 4 cores, 0.8 used without variation: 0.2. The pod and one in flight request 1 core each; nothing was seen of
        // their workload or any other, so 60 % of it is expected: 0.2 + 2 × 0.15 = 0.5.
        let score = after_telemetry(
            &mut Learned::new("predictor", PartWeights::LOAD, None),
            800.0,
            Request::new(cores("1"), gib(1)),
        );
        assert!((score - load_score(0.5)).abs() < 1e-6, "{score}");
    }

    #[test]
    fn a_missing_agent_is_left_out_and_without_anything_all_are_equal() {
        let request = Request::new(cores("1"), gib(1));
        let combined = after_telemetry(&mut Learned::new("combined", PartWeights::DESIGN, None), 800.0, request);
        let predictor = after_telemetry(&mut Learned::new("predictor", PartWeights::LOAD, None), 800.0, request);
        assert_eq!(combined, predictor);
        assert_eq!(after_telemetry(&mut Learned::new("agent", PartWeights::PLACEMENT, None), 800.0, request), 0.0);
    }

    #[test]
    fn an_agent_that_looks_at_load_beats_one_that_looks_away() {
        let scenario = Synthetic::small(3).build().expect("a scenario");
        let cost = |agent: Arc<dyn Scores>| {
            let mut policy = Learned::new("agent", PartWeights::PLACEMENT, Some(agent));
            let outcome = crate::engine::run(&scenario, &EngineSettings::default(), &mut policy, 1);
            CostWeights::default().cost(&outcome)
        };
        let (looks, away) = (cost(Arc::new(Least("cpu_after"))), cost(Arc::new(Least("hour_sin"))));
        assert!(looks < away, "{looks} {away}");
    }
}
