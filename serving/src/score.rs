//! One score per node for a pod: forecast, agent and detector together (design, section 6).

mod memo;
mod reasons;

pub use memo::Memo;
pub(crate) use reasons::told;

use crate::nodes::{ClusterView, MOST_AHEAD, NodeView, age_seconds};
use crate::registry::{Algorithm, ModelName, Registry, ServedModel};
use crate::shadow::Shadow;
use cluster::score::{PartWeights, Parts, Quantiles, Strategy, ValueScale};
use cluster::{NodeName, Resource};
use features::cluster_state::{Amount, NodeFacts, PodCourse, PodFacts, Rows};
use features::habit::Expected;
use memo::{Kind, Worked};
use models::anomaly::Severity;
use models::load::LoadForecast;
use models::placement::{PlacementNetwork, Scratch};
use score_api::{
    ApiVersion, Arm, Contribution, ExpectedUsage, InFlight, MissingReason, NodeScore, PodRequest, PodScores,
    ScoreAnswer, ScoreRequest, Timestamp, UsageSource,
};
use std::collections::BTreeMap;

/// Scores where nothing is known of any node.
const NEUTRAL: f64 = 0.5;

/// How scores are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRules {
    /// How much each part counts.
    pub weights: PartWeights,
    /// Which nodes the load part prefers.
    pub strategy: Strategy,
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

    /// Whether data of this age, in milliseconds, may be acted on: it is not stale, and it is not from the future, which only a clock
    /// that is wrong makes it.
    pub fn is_fresh(&self, view: &ClusterView, age: i64) -> bool {
        (-MOST_AHEAD..=self.limit(view)).contains(&age)
    }
}

/// A node that may be chosen.
struct Candidate<'a> {
    name: &'a str,
    /// Its place in the view and what is known of it; `None` where it is unknown.
    known: Option<(usize, &'a NodeView)>,
}

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
    let known = |name: &str| view.nodes.get_full(name).map(|(place, _, node)| (place, node));
    let candidates: Vec<Candidate<'_>> = names.into_iter().map(|name| Candidate { name, known: known(name) }).collect();
    let scorer =
        Scorer { request, view, registry, shadow, agent: agent.as_deref(), rules, now, candidates: &candidates };
    let unknown = candidates.iter().filter(|it| it.known.is_none()).map(|it| it.name.to_owned()).collect();
    let mut models = versions(view);
    if let Some(agent) = &agent {
        models.insert(agent.name.as_str().to_owned(), agent.version.clone());
    }
    ScoreAnswer {
        api_version: ApiVersion,
        at: moment(view),
        data_age_seconds: data_age(view, now),
        models,
        challenger_models: None,
        weights: rules.weights,
        strategy: rules.strategy,
        pods: request.pods.iter().map(|pod| scorer.pod(pod)).collect(),
        unknown_nodes: unknown,
    }
}

/// The moment of a view; none before the first refresh.
pub(crate) fn moment(view: &ClusterView) -> Option<Timestamp> {
    (view.at > 0).then_some(Timestamp::from_millis(view.at))
}

/// How long ago that was, in seconds.
pub(crate) fn data_age(view: &ClusterView, now: i64) -> Option<f64> {
    (view.at > 0).then(|| age_seconds(now.saturating_sub(view.at)))
}

/// The models that a view was made with, as they are told.
pub(crate) fn versions(view: &ClusterView) -> BTreeMap<String, String> {
    view.versions.iter().map(|(name, version)| (name.as_str().to_owned(), version.clone())).collect()
}

fn requested(pod: &PodRequest) -> Amount {
    Amount { cpu: pod.cpu_request_cores as f32, memory: pod.memory_request_bytes as f32 }
}

fn usage(expected: &Expected) -> ExpectedUsage {
    ExpectedUsage {
        cpu_cores: expected.amount.cpu,
        memory_bytes: expected.amount.memory,
        source: if expected.known { UsageSource::Workload } else { UsageSource::Requests },
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
    fn pod(&self, pod: &PodRequest) -> PodScores {
        let workloads = &self.view.workloads;
        let (workload, asked) = (pod.workload.as_deref(), requested(pod));
        let habit = workloads.habit(workload);
        let expected = workloads.expected(workload, asked);
        let course = expected.course(habit, (self.view.at / cluster::HOUR_MS) as usize);
        let facts = expected.facts(habit, asked, pod.priority < 0);
        let counted = workloads.counted(workload, asked);
        let (worked, mut leans) = self.worked(pod, &facts, &course, &counted);
        let values: Vec<f32> = worked.iter().flatten().filter_map(|worked| worked.value).collect();
        let scale = self.network().map(PlacementNetwork::scale);
        let mut placements = scale.into_iter().flat_map(|scale| scale.parts(&values));
        let mut nodes: Vec<NodeScore> = Vec::with_capacity(self.candidates.len());
        for (Candidate { name, known }, worked) in self.candidates.iter().zip(&worked) {
            let node = known.map(|(_, node)| node);
            let fresh = worked.and(node);
            let anomaly = fresh.and_then(|node| node.anomaly.as_ref());
            let placement = worked.and_then(|worked| worked.value).and_then(|_| placements.next());
            let parts = Parts {
                load: worked.and_then(|worked| worked.load),
                placement,
                anomaly: anomaly.map(|anomaly| match anomaly.severity {
                    Some(Severity::Critical) => 0.0,
                    _ => f64::from(1.0 - anomaly.score),
                }),
            };
            let explanation = self.request.wants_explanations().then(|| {
                let after: Vec<After> =
                    fresh.into_iter().flat_map(|node| after(node, self.in_flight(name), &counted)).collect();
                let leans = placement.and_then(|_| leans.next()).unwrap_or_default();
                Box::new(reasons::explanation(&after, &counted, fresh, leans, self.rules.strategy))
            });
            nodes.push(NodeScore {
                node: (*name).to_owned(),
                score: self.rules.weights.combine(&parts).unwrap_or(f64::NAN),
                missing: self.missing(node, &parts),
                uncertainty: worked.and_then(|worked| self.uncertainty(&worked, &parts, scale)),
                peak: worked.and_then(|worked| worked.peak),
                parts,
                data_age_seconds: node.map(|node| age_seconds(self.now.saturating_sub(node.sampled_at))),
                severity: anomaly.and_then(|anomaly| anomaly.severity),
                explanation,
            });
        }
        neutral(&mut nodes);
        PodScores {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            arm: Arm::Champion,
            expected: usage(&counted),
            nodes,
        }
    }

    fn is_fresh(&self, node: &NodeView) -> bool {
        self.rules.is_fresh(self.view, self.now.saturating_sub(node.sampled_at))
    }

    /// Why parts are not there.
    fn missing(&self, node: Option<&NodeView>, parts: &Parts) -> Vec<MissingReason> {
        if parts.load.is_some() && parts.placement.is_some() && parts.anomaly.is_some() {
            return Vec::new();
        }
        match node {
            None => vec![MissingReason::NodeUnknown],
            Some(node) if !self.is_fresh(node) => vec![MissingReason::DataStale],
            Some(node) => {
                let mut reasons = Vec::new();
                if parts.load.is_none() {
                    reasons.push(match node.forecasts {
                        None => MissingReason::NoLoadPredictor,
                        Some(_) => MissingReason::NoForecast,
                    });
                }
                if parts.placement.is_none() {
                    reasons.push(MissingReason::NoPlacementAgent);
                }
                if parts.anomaly.is_none() {
                    reasons.push(match node.row {
                        None => MissingReason::NoFeatures,
                        Some(_) => MissingReason::NoAnomalyDetector,
                    });
                }
                reasons
            }
        }
    }

    /// Scores that are closer than this are as good as equal: what the forecast's spread and the noise of the agent's value are
    /// worth in the score.
    fn uncertainty(&self, worked: &Worked, parts: &Parts, scale: Option<ValueScale>) -> Option<f64> {
        let load = worked.load.zip(worked.by_median).map(|(load, by_median)| load - by_median);
        let by = Parts { load, placement: scale.map(ValueScale::uncertainty), anomaly: None };
        self.rules.weights.moved(parts, &by)
    }

    /// Pods that the metrics do not show yet.
    fn in_flight(&self, name: &str) -> Amount {
        let amount = |flight: &InFlight| Amount { cpu: flight.cpu_cores as f32, memory: flight.memory_bytes as f32 };
        self.request.in_flight.get(name).map_or(Amount::default(), amount)
    }

    fn network(&self) -> Option<&PlacementNetwork> {
        match &self.agent?.algorithm {
            Algorithm::Placement(network) => Some(network),
            _ => None,
        }
    }

    fn load_part(&self, lines: &[After], how: impl Fn(Quantiles) -> Quantiles) -> Option<f64> {
        self.rules.strategy.load_part(lines.iter().map(|line| (line.resource, how(line.with_pod))))
    }

    /// What is worked out for each candidate with fresh data, and which way the agent leans in each where that is wanted.
    fn worked(
        &self,
        pod: &PodRequest,
        facts: &PodFacts,
        course: &PodCourse,
        counted: &Expected,
    ) -> (Vec<Option<Worked>>, std::vec::IntoIter<Vec<Contribution>>) {
        let network = self.network();
        // Reasons, and a challenger that is compared, want the rows of all candidates.
        let wants_rows = self.request.wants_explanations()
            || self.shadow.is_some_and(|shadow| shadow.compares_choices(self.registry));
        let kind = || Kind::of(pod, self.agent, self.rules.strategy);
        let shelf = (!wants_rows).then(|| self.view.memo.shelf(&kind(), self.view.nodes.len()));
        // Who finds it in use works for itself.
        let mut shelf = shelf.as_ref().and_then(|shelf| shelf.try_lock().ok());
        let of_pod = Rows::new(facts, course, &self.view.cluster);
        // One buffer for all nodes.
        let (mut rows, mut places, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        let mut all: Vec<Option<Worked>> = vec![None; self.candidates.len()];
        for (place, Candidate { name, known }) in self.candidates.iter().enumerate() {
            let Some((at, node)) = known.filter(|(_, node)| self.is_fresh(node)) else { continue };
            let flight = self.in_flight(name);
            let remembered = shelf.as_ref().and_then(|shelf| shelf[at]).filter(|(with, _)| *with == flight);
            if let Some((_, worked)) = remembered {
                all[place] = Some(worked);
                continue;
            }
            lines.clear();
            lines.extend(after(node, flight, counted));
            all[place] = Some(Worked {
                value: None,
                load: self.load_part(&lines, |with_pod| with_pod),
                by_median: self.load_part(&lines, Quantiles::median),
                peak: lines.iter().map(|line| line.with_pod.p90).max_by(f64::total_cmp),
            });
            places.push((place, at, flight));
            if network.is_some() {
                let same = pod.workload.as_ref().and_then(|workload| node.pods.by_workload.get(workload));
                let facts = NodeFacts { in_flight: flight, same_workload: same.copied().unwrap_or(0), ..node.facts };
                rows.extend_from_slice(&of_pod.of(&facts));
            }
        }
        let (mut scratch, mut values) = (Scratch::default(), Vec::new());
        if let Some(network) = network
            && network.score(&rows, &mut scratch, &mut values).is_ok()
        {
            for ((place, ..), value) in places.iter().zip(&values) {
                all[*place].iter_mut().for_each(|worked| worked.value = Some(*value));
            }
        }
        self.view.memo.count(all.iter().flatten().count() - places.len(), places.len());
        if let Some(shelf) = &mut shelf {
            places.iter().for_each(|(place, at, flight)| shelf[*at] = all[*place].map(|worked| (*flight, worked)));
        }
        if let Some(shadow) = self.shadow.filter(|_| wants_rows && !values.is_empty()) {
            shadow.compare_choice(self.registry, &rows);
        }
        let leans = match network {
            Some(network) if self.request.wants_explanations() => reasons::leans(network, &rows),
            _ => Vec::new(),
        };
        (all, leans.into_iter())
    }
}

/// The node's forecasts with the pod and those in flight on top.
fn after<'a>(node: &'a NodeView, flight: Amount, expected: &Expected) -> impl Iterator<Item = After> + use<'a> {
    let (forecasts, size) = (node.forecasts.iter().flatten(), node.facts.allocatable);
    let share = |amount: f32, of: f32| if of > 0.0 { f64::from(amount / of) } else { f64::NAN };
    let cpu = share(flight.cpu + expected.amount.cpu, size.cpu);
    let memory = share(flight.memory + expected.amount.memory, size.memory);
    forecasts.filter_map(move |forecast| {
        let added = match forecast.key.resource {
            Resource::Cpu => cpu,
            Resource::Memory => memory,
        };
        let without = quantiles(forecast).filter(|_| added.is_finite())?;
        let with_pod = Quantiles { p50: without.p50 + added, p90: without.p90 + added };
        Some(After { resource: forecast.key.resource, hours: forecast.key.horizon.hours(), without, with_pod })
    })
}

/// The quantiles of a forecast as they are served: every score reads them here.
fn quantiles(forecast: &LoadForecast) -> Option<Quantiles> {
    let (p50, p90) = forecast.p50.zip(forecast.p90)?;
    Some(Quantiles { p50: f64::from(p50), p90: f64::from(p90) })
}

/// One forecast, and what it is with the pod and those in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct After {
    pub resource: Resource,
    pub hours: u32,
    pub without: Quantiles,
    pub with_pod: Quantiles,
}

/// A node of which nothing is known is as good as the others on average: neutral, never best and never worst.
fn neutral(nodes: &mut [NodeScore]) {
    let known: Vec<f64> = nodes.iter().map(|node| node.score).filter(|score| !score.is_nan()).collect();
    let mean = if known.is_empty() { NEUTRAL } else { known.iter().sum::<f64>() / known.len() as f64 };
    for node in nodes.iter_mut().filter(|node| node.score.is_nan()) {
        node.score = mean;
    }
}
