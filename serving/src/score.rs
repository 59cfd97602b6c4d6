//! One score per node for a pod: forecast, agent and detector together (design, section 6).

mod answer;
mod ask;
mod reasons;

pub use answer::{Expectation, NodeScore, PodScores, ScoreAnswer};
pub use ask::{InFlight, MOST, PodAsk, ScoreRequest};

use crate::nodes::{ClusterView, NodeView};
use crate::registry::{Algorithm, ModelName, Registry, ServedModel};
use crate::rollout::Arm;
use crate::shadow::Shadow;
use cluster::score::{PartWeights, Parts, load_score, unit};
use cluster::{NodeName, Resource};
use features::cluster_state::{Amount, NodeFacts, PodCourse, PodFacts, Rows};
use features::habit::Expected;
use models::anomaly::Severity;
use models::placement::Scratch;

/// Scores where nothing is known of any node.
const NEUTRAL: f64 = 0.5;

/// How scores are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRules {
    /// How much each part counts.
    pub weights: PartWeights,
    /// A node whose newest sample is older, in milliseconds, has no parts; see [`ScoreRules::limit`].
    pub stale_after: i64,
}

/// So many distances of samples are no sign of trouble: one may be lost, and the next one is on its way.
const SAMPLES: i64 = 3;

impl ScoreRules {
    /// The age from which on data is stale: what is set, but no less than three distances of the samples that come.
    pub fn limit(&self, view: &ClusterView) -> i64 {
        self.stale_after.max(SAMPLES * view.step)
    }
}

/// A node with what is known of it; `None` where it is unknown.
type Candidate<'a> = (&'a str, Option<&'a NodeView>);

/// Scores every candidate of every pod.
pub fn score(
    request: &ScoreRequest,
    view: &ClusterView,
    registry: &Registry,
    shadow: Option<&Shadow>,
    rules: &ScoreRules,
    now: i64,
) -> ScoreAnswer {
    let agent = registry.current(ModelName::PlacementAgent);
    let every: Vec<&str>;
    let names: Vec<&str> = if request.nodes.is_empty() {
        every = view.nodes.keys().map(NodeName::as_str).collect();
        every
    } else {
        request.nodes.iter().map(String::as_str).collect()
    };
    let candidates: Vec<Candidate<'_>> = names.iter().map(|name| (*name, view.nodes.get(*name))).collect();
    let scorer =
        Scorer { request, view, registry, shadow, agent: agent.as_deref(), rules, now, candidates: &candidates };
    let unknown = candidates.iter().filter(|(_, node)| node.is_none()).map(|(name, _)| (*name).to_owned()).collect();
    let mut models = view.versions.clone();
    if let Some(agent) = &agent {
        models.insert(agent.name, agent.version.clone());
    }
    ScoreAnswer {
        at: answer::time(view.at),
        data_age_seconds: (view.at > 0).then(|| (now - view.at).max(0) as f64 / 1e3),
        models,
        challenger_models: None,
        weights: rules.weights,
        pods: request.pods.iter().map(|pod| scorer.pod(pod)).collect(),
        unknown_nodes: unknown,
    }
}

struct Scorer<'a> {
    request: &'a ScoreRequest,
    view: &'a ClusterView,
    registry: &'a Registry,
    shadow: Option<&'a Shadow>,
    agent: Option<&'a ServedModel>,
    rules: &'a ScoreRules,
    now: i64,
    candidates: &'a [Candidate<'a>],
}

impl Scorer<'_> {
    fn pod(&self, pod: &PodAsk) -> PodScores {
        let workloads = &self.view.workloads;
        let (workload, asked) = (pod.workload.as_deref(), pod.request());
        let habit = workloads.habit(workload);
        let expected = workloads.expected(workload, asked);
        let course = expected.course(habit, (self.view.at / cluster::HOUR_MS) as usize);
        let facts = expected.facts(habit, asked, pod.priority < 0);
        let values = self.placement(pod, &facts, &course);
        let counted = workloads.counted(workload, asked);
        let mut nodes: Vec<NodeScore> = Vec::with_capacity(self.candidates.len());
        // One buffer for all nodes.
        let mut after = Vec::new();
        for (place, (name, node)) in self.candidates.iter().enumerate() {
            let fresh = node.filter(|node| self.is_fresh(node));
            after.clear();
            if let Some(node) = fresh {
                self.after(node, name, &counted, &mut after);
            }
            let anomaly = fresh.and_then(|node| node.anomaly.as_ref());
            let valued = values.as_ref().and_then(|values| values[place].as_ref());
            let parts = Parts {
                load: load_part(&after, |after| after.with_pod),
                placement: valued.map(|valued| valued.unit),
                anomaly: anomaly.map(|anomaly| match anomaly.severity {
                    Some(Severity::Critical) => 0.0,
                    _ => f64::from(1.0 - anomaly.score),
                }),
            };
            nodes.push(NodeScore {
                node: (*name).to_owned(),
                score: self.rules.weights.combine(&parts).unwrap_or(f64::NAN),
                missing: self.missing(*node, &parts),
                uncertainty: self.uncertainty(&after, &parts),
                parts,
                data_age_seconds: node.map(|node| (self.now - node.sampled_at).max(0) as f64 / 1e3),
                severity: anomaly.and_then(|anomaly| anomaly.severity),
                detail: self.request.detail().then(|| reasons::detail(&after, &counted, fresh, valued)),
            });
        }
        neutral(&mut nodes);
        PodScores {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            arm: Arm::Champion,
            expected: Expectation::of(&counted),
            nodes,
        }
    }

    fn is_fresh(&self, node: &NodeView) -> bool {
        self.now - node.sampled_at <= self.rules.limit(self.view)
    }

    /// Why parts are not there.
    fn missing(&self, node: Option<&NodeView>, parts: &Parts) -> Vec<&'static str> {
        if parts.load.is_some() && parts.placement.is_some() && parts.anomaly.is_some() {
            return Vec::new();
        }
        match node {
            None => vec!["node_unknown"],
            Some(node) if !self.is_fresh(node) => vec!["data_stale"],
            Some(node) => {
                let mut reasons = Vec::new();
                if parts.load.is_none() {
                    reasons.push(if node.forecasts.is_none() { "no_load_predictor" } else { "no_forecast" });
                }
                if parts.placement.is_none() {
                    reasons.push("no_placement_agent");
                }
                if parts.anomaly.is_none() {
                    reasons.push(if node.row.is_none() { "no_features" } else { "no_anomaly_detector" });
                }
                reasons
            }
        }
    }

    /// What the forecast's spread is worth in the score.
    fn uncertainty(&self, after: &[After], parts: &Parts) -> Option<f64> {
        parts.load?;
        let by_median = load_part(after, |after| after.with_pod - after.p90 + after.p50);
        let weights = &self.rules.weights;
        let differs = weights.combine(parts)? - weights.combine(&Parts { load: by_median, ..*parts })?;
        Some(differs.abs())
    }

    /// Pods that the metrics do not show yet.
    fn in_flight(&self, name: &str) -> Amount {
        self.request.in_flight.get(name).map_or(Amount::default(), InFlight::amount)
    }

    /// What the agent says of every candidate with fresh data.
    fn placement(&self, pod: &PodAsk, facts: &PodFacts, course: &PodCourse) -> Option<Vec<Option<Valued>>> {
        let Algorithm::Placement(network) = &self.agent?.algorithm else { return None };
        let mut rows = Vec::with_capacity(self.candidates.len() * network.features().len());
        let mut known = Vec::with_capacity(self.candidates.len());
        let of_pod = Rows::new(facts, course, &self.view.cluster);
        for (name, node) in self.candidates {
            let Some(node) = node.filter(|node| self.is_fresh(node)) else {
                known.push(false);
                continue;
            };
            known.push(true);
            let same = pod.workload.as_ref().and_then(|workload| node.pods.by_workload.get(workload));
            let facts_of_node =
                NodeFacts { in_flight: self.in_flight(name), same_workload: same.copied().unwrap_or(0), ..node.facts };
            rows.extend_from_slice(&of_pod.of(&facts_of_node));
        }
        let (mut scratch, mut values) = (Scratch::default(), Vec::new());
        network.score(&rows, &mut scratch, &mut values).ok()?;
        if let Some(shadow) = self.shadow {
            shadow.compare_choice(self.registry, &rows);
        }
        let mut leans = if self.request.detail() { reasons::leans(network, &rows) } else { Vec::new() }.into_iter();
        let mut units = unit(&values).map(|unit| Valued { unit, leans: leans.next().unwrap_or_default() });
        Some(known.into_iter().map(|known| if known { units.next() } else { None }).collect())
    }

    /// The node's forecasts with the pod and those in flight on top, into `list`.
    fn after(&self, node: &NodeView, name: &str, expected: &Expected, list: &mut Vec<After>) {
        let Some(forecasts) = &node.forecasts else { return };
        let (flight, size) = (self.in_flight(name), node.facts.allocatable);
        let share = |amount: f32, of: f32| if of > 0.0 { f64::from(amount / of) } else { f64::NAN };
        let cpu = share(flight.cpu + expected.amount.cpu, size.cpu);
        let memory = share(flight.memory + expected.amount.memory, size.memory);
        for forecast in forecasts {
            let added = match forecast.key.resource {
                Resource::Cpu => cpu,
                Resource::Memory => memory,
            };
            if let (Some(p50), Some(p90)) = (forecast.p50, forecast.p90)
                && added.is_finite()
            {
                list.push(After {
                    resource: forecast.key.resource,
                    hours: forecast.key.horizon.hours(),
                    p50: f64::from(p50),
                    p90: f64::from(p90),
                    with_pod: f64::from(p90) + added,
                });
            }
        }
    }
}

/// What the agent says of a candidate.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Valued {
    /// In 0..1 over the candidates.
    pub unit: f64,
    /// What sets it apart from the other candidates; empty where nobody asks.
    pub leans: Vec<reasons::Lean>,
}

/// One forecast, and what it is with the pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct After {
    pub resource: Resource,
    pub hours: u32,
    pub p50: f64,
    pub p90: f64,
    /// P90 with the pod and those in flight.
    pub with_pod: f64,
}

/// The hour that is worst decides. CPU is best at the target; memory only has to stay below it, since an idle node is no
/// worse for memory than a half-full one.
fn load_part(after: &[After], utilization: impl Fn(&After) -> f64) -> Option<f64> {
    let worst = |resource| {
        let of = after.iter().filter(|after| after.resource == resource).map(&utilization);
        of.max_by(f64::total_cmp)
    };
    let cpu = worst(Resource::Cpu).map(load_score);
    let memory =
        worst(Resource::Memory).map(|utilization| load_score(utilization.max(cluster::score::TARGET_UTILIZATION)));
    match (cpu, memory) {
        (Some(cpu), Some(memory)) => Some(cpu.min(memory)),
        (only, None) | (None, only) => only,
    }
}

/// A node of which nothing is known is as good as the others on average: neutral, never best and never worst.
fn neutral(nodes: &mut [NodeScore]) {
    let known: Vec<f64> = nodes.iter().map(|node| node.score).filter(|score| !score.is_nan()).collect();
    let mean = if known.is_empty() { NEUTRAL } else { known.iter().sum::<f64>() / known.len() as f64 };
    for node in nodes.iter_mut().filter(|node| node.score.is_nan()) {
        node.score = mean;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(resource: Resource, with_pod: f64) -> After {
        After { resource, hours: 1, p50: 0.0, p90: 0.0, with_pod }
    }

    #[test]
    fn the_worst_hour_and_the_scarcer_resource_decide() {
        let close = |got: Option<f64>, wanted: f64| got.is_some_and(|got| (got - wanted).abs() < 1e-9);
        let load_part = |after: &[After]| load_part(after, |after| after.with_pod);
        assert!(close(load_part(&[after(Resource::Cpu, 0.3), after(Resource::Cpu, 0.65)]), 1.0));
        // Memory at 0.8 is worth one half.
        assert!(close(load_part(&[after(Resource::Cpu, 0.65), after(Resource::Memory, 0.8)]), 0.5));
        // Idle memory takes nothing away.
        assert!(close(load_part(&[after(Resource::Cpu, 0.65), after(Resource::Memory, 0.1)]), 1.0));
        assert_eq!(load_part(&[]), None);
    }
}
