//! Policies that know more than the newest sample: a forecast, a learned network, and their combination.

use super::Policy;
use crate::engine::{Ask, Seen, View};
use crate::learning::{Observer, Scores, expected_usage};
use crate::world::NodeId;
use cluster::Resource;
use cluster::score::{NORMAL_P90, PartWeights, Parts, Quantiles, Strategy};
use features::cluster_state::{Amount, NodeFacts};
use std::sync::Arc;

/// Hours ahead that the forecast looks: the longest horizon of the load predictor.
const AHEAD: usize = 4;

/// What the policies that combine parts score by, as in `serving`: the same weights, strategy and code.
#[derive(Debug, Clone, Default)]
pub struct Scorer {
    /// The learned network, for those that need one.
    pub agent: Option<Arc<dyn Scores>>,
    /// How much each part counts. The simulator has no anomaly detector: that part is always missing and the rest counts for it.
    pub weights: PartWeights,
    /// Which nodes the load part prefers.
    pub strategy: Strategy,
}

/// Combines the parts that are there; a part that is missing is left out and the rest renormalised. A node of which nothing is
/// known is as good as the others on average.
pub struct Learned {
    name: &'static str,
    scorer: Scorer,
    observer: Observer,
    rows: Vec<f32>,
    values: Vec<f32>,
    parts: Vec<Parts>,
}

impl Learned {
    /// A policy of this name that scores so.
    pub fn new(name: &'static str, scorer: Scorer) -> Self {
        let observer = Observer::default();
        Self { name, scorer, observer, rows: Vec::new(), values: Vec::new(), parts: Vec::new() }
    }
}

/// Quantiles of a node's utilization in the next hours with `more` on it: a light stand-in for the load predictor, from the
/// same telemetry. CPU: the 15-minute mean, moved as its pods' workloads moved at those hours before; memory: the 15-minute
/// mean. P90 is 1.28 deviations of the 15 minutes above.
fn forecasts(seen: &Seen, node: &NodeFacts, more: Amount) -> [(Resource, Quantiles); 2] {
    let share = |amount: f32, of: f32| f64::from(amount / of.max(1e-3));
    let (size, flight) = (node.allocatable, node.in_flight);
    let highest = node.hours[..=AHEAD].iter().copied().fold(0.0, f32::max);
    let rise = share((highest - node.hours[0]).max(0.0), size.cpu);
    let quantiles = |p50: f64, deviation: f64| Quantiles { p50, p90: p50 + NORMAL_P90 * deviation };
    let cpu = seen.cpu_mean() + rise + share(flight.cpu + more.cpu, size.cpu);
    let memory = seen.memory_mean() + share(flight.memory + more.memory, size.memory);
    [
        (Resource::Cpu, quantiles(cpu, seen.cpu_deviation())),
        (Resource::Memory, quantiles(memory, seen.memory_deviation())),
    ]
}

impl Policy for Learned {
    fn name(&self) -> &'static str {
        self.name
    }

    fn watches_workloads(&self) -> bool {
        true
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let Scorer { agent, weights, strategy } = &self.scorer;
        let more = expected_usage(view, ask);
        let asks_load = weights.load > 0.0;
        self.parts.clear();
        let mut places = candidates.iter();
        let mut each = |facts: &NodeFacts| {
            let seen = places.next().and_then(|node| view.seen(*node)).filter(|_| asks_load);
            let load = seen.and_then(|seen| strategy.load_part(forecasts(seen, facts, more)));
            self.parts.push(Parts { load, ..Parts::default() });
        };
        match agent.as_ref().filter(|_| weights.placement > 0.0) {
            Some(agent) => {
                self.rows.clear();
                self.observer.observe(ask, view, candidates, &mut self.rows, each);
                agent.score(&self.rows, &mut self.values);
                let placements = agent.scale().parts(&self.values);
                self.parts.iter_mut().zip(placements).for_each(|(parts, placement)| parts.placement = Some(placement));
            }
            None => candidates.iter().for_each(|node| each(&self.observer.node(ask, view, *node))),
        }
        for (score, parts) in scores.iter_mut().zip(&self.parts) {
            *score = weights.combine(parts).unwrap_or(f64::NAN);
        }
        super::unknown_is_average(scores);
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
    use cluster::score::ValueScale;

    /// Scores by minus one feature.
    #[derive(Debug)]
    struct Least(&'static str);

    impl Scores for Least {
        fn score(&self, rows: &[f32], scores: &mut Vec<f32>) {
            let at = features::cluster_state::index(self.0).expect("a feature");
            scores.clear();
            scores.extend(rows.chunks(features::cluster_state::WIDTH).map(|row| -row[at]));
        }

        fn scale(&self) -> ValueScale {
            ValueScale { full_difference: 0.5, noise: 0.01 }
        }
    }

    fn by(weights: PartWeights, agent: Option<Arc<dyn Scores>>, strategy: Strategy) -> Learned {
        Learned::new("learned", Scorer { agent, weights, strategy })
    }

    #[test]
    fn in_flight_pods_and_the_pod_itself_count() {
        // 4 cores, 3.1 used without variation: 0.775. The pod and one in flight request 0.1 cores each; nothing was seen of
        // their workload or any other, so 60 % of it is expected: 0.775 + 2 × 0.015 = 0.805 of CPU and next to no memory.
        let request = Request::new(cores("100m"), gib(0));
        for strategy in Strategy::ALL {
            let score = after_telemetry(&mut by(PartWeights::LOAD, None, strategy), 3_100.0, request);
            let expected = strategy.load_part([(Resource::Cpu, Quantiles::certain(0.805))]).expect("a part");
            assert!((score - expected).abs() < 1e-6, "{strategy}: {score} and not {expected}");
        }
    }

    #[test]
    fn memory_counts_as_cpu_does() {
        // Nothing runs but what was bound: the pod and one in flight request 6 of 16 GiB each, and are expected to use all of it.
        let request = Request::new(cores("0"), gib(6));
        let score = after_telemetry(&mut by(PartWeights::LOAD, None, Strategy::Spread), 0.0, request);
        let expected = Strategy::Spread.load_part([(Resource::Memory, Quantiles::certain(0.75))]).expect("a part");
        assert!((score - expected).abs() < 1e-4, "{score} and not {expected}");
    }

    #[test]
    fn a_missing_agent_is_left_out_and_without_anything_all_are_equal() {
        let request = Request::new(cores("1"), gib(1));
        let score = |weights| after_telemetry(&mut by(weights, None, Strategy::Pack), 800.0, request);
        assert!((score(PartWeights::DESIGN) - score(PartWeights::LOAD)).abs() < 1e-12);
        assert_eq!(score(PartWeights::PLACEMENT), 0.0);
    }

    #[test]
    fn parts_are_combined_as_in_serving() {
        // One candidate is the best one: its placement part is 1.
        let request = Request::new(cores("1"), gib(1));
        let agent: Arc<dyn Scores> = Arc::new(Least("cpu_after"));
        let both = after_telemetry(&mut by(PartWeights::DESIGN, Some(agent), Strategy::Pack), 800.0, request);
        let load = after_telemetry(&mut by(PartWeights::LOAD, None, Strategy::Pack), 800.0, request);
        assert!((both - (0.3 * load + 0.4) / 0.7).abs() < 1e-9, "{both} of {load}");
    }

    #[test]
    fn an_agent_that_looks_at_load_beats_one_that_looks_away() {
        let scenario = Synthetic::small(3).build().expect("a scenario");
        let cost = |agent: Arc<dyn Scores>| {
            let mut policy = by(PartWeights::PLACEMENT, Some(agent), Strategy::Spread);
            let outcome = crate::engine::run(&scenario, &EngineSettings::default(), &mut policy, 1);
            CostWeights::default().cost(&outcome)
        };
        let (looks, away) = (cost(Arc::new(Least("cpu_after"))), cost(Arc::new(Least("hour_sin"))));
        assert!(looks < away, "{looks} {away}");
    }
}
