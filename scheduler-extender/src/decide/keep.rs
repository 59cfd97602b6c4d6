//! What is kept of a decision once its answer is on its way: the best candidates, a number for each other, and words for people.

use super::{Asked, Decider, Worked};
use crate::decision::{BEST, Brief, Decision, Line, hash_of};
use crate::scoring::pod_request;
use crate::wire::Ask;
use models::anomaly::Severity;
use score_api::{NodeScore, ScoreAnswer, ScoreRequest};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Decisions a second that are worked out in words, so that a burst of pods does not cost twice.
const DETAILS_A_SECOND: u32 = 5;
/// Candidates that are compared for the words: what sets a node apart is told against these.
const DETAIL_NODES: usize = 100;
/// Nodes whose words are kept.
const DETAILED: usize = 3;

impl Decider {
    /// Keeps a decision whose answer is on its way: nobody waits for that.
    pub(super) fn keep(self: &Arc<Self>, mut decision: Decision, ask: &Ask<'_>, worked: Worked, began: Instant) {
        self.metrics.decided(decision.mode, None);
        decision.took = began.elapsed();
        let Ok(pod) = ask.pod.clone() else { return };
        let this = Arc::clone(self);
        let Ok(place) = Arc::clone(&self.places_for(&decision).watched).try_acquire_owned() else {
            return self.keep_of(decision, &Asked { pod: &pod }, worked);
        };
        tokio::spawn(async move {
            this.keep_of(decision, &Asked { pod: &pod }, worked);
            drop(place);
        });
    }

    pub(super) fn keep_of(self: &Arc<Self>, mut decision: Decision, ask: &Asked<'_>, worked: Worked) {
        let names = &worked.request.nodes;
        let order = order(&worked);
        let line = |place: &usize| {
            let node = &worked.scores.nodes[*place];
            Line {
                node: names[*place].clone(),
                score: worked.totals[*place],
                parts: node.parts,
                uncertainty: node.uncertainty,
                peak: node.peak,
                points: worked.points[*place],
                in_flight_cores: Some(
                    worked.request.in_flight.get(&names[*place]).map_or(0.0, |flight| flight.cpu_cores),
                ),
            }
        };
        decision.best = order.iter().take(BEST).map(line).collect();
        decision.briefs = (0..names.len())
            .map(|place| Brief {
                name: hash_of(&names[place]),
                score: worked.totals[place].map_or(f32::NAN, |score| score as f32),
                load: worked.scores.nodes[place].parts.load.map_or(f32::NAN, |load| load as f32),
                peak: worked.scores.nodes[place].peak.map_or(f32::NAN, |peak| peak as f32),
                points: worked.points[place],
            })
            .collect();
        decision.versions = worked.scores.versions;
        decision.data_age_seconds = worked.scores.data_age_seconds;
        decision.expected_cores = Some(worked.scores.expected.cpu_cores);
        let (key, id) = (decision.key(), decision.id);
        self.memory.decided(decision);
        if self.may_detail() {
            let nodes = sample(&order).map(|place| names[place].clone()).collect();
            let in_flight = worked.request.in_flight.clone();
            let request = ScoreRequest { pods: vec![pod_request(ask.pod)], nodes, in_flight, explain: Some(true) };
            let (this, rules) = (Arc::clone(self), self.book.rules());
            tokio::spawn(async move {
                match this.scoring.explain(request, rules.preferences()).await {
                    Ok(answer) => this.memory.detailed(&key, id, first_nodes(answer)),
                    Err(error) => tracing::debug!(%error, "a decision could not be put into words"),
                }
            });
        }
    }

    fn may_detail(&self) -> bool {
        let mut allowance = self.details.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, left) = allowance
            .filter(|(since, _)| since.elapsed() < Duration::from_secs(1))
            .unwrap_or_else(|| (Instant::now(), DETAILS_A_SECOND));
        *allowance = Some((since, left.saturating_sub(1)));
        left > 0
    }
}

/// The places of the candidates: the [`BEST`] in order, then the others as they come; a node about to fail is among the last, as nothing is
/// known of it.
fn order(worked: &Worked) -> Vec<usize> {
    let rank = |place: usize| {
        let is_critical = worked.scores.nodes[place].severity == Some(Severity::Critical);
        let total = worked.totals[place].filter(|_| !is_critical);
        (total.unwrap_or(f64::NEG_INFINITY), worked.points[place], place)
    };
    let mut ranks: Vec<(f64, u8, usize)> = (0..worked.totals.len()).map(rank).collect();
    let better = |left: &(f64, u8, usize), right: &(f64, u8, usize)| {
        right.0.total_cmp(&left.0).then(right.1.cmp(&left.1)).then(left.2.cmp(&right.2))
    };
    let best = BEST.min(ranks.len());
    if best < ranks.len() {
        ranks.select_nth_unstable_by(best, better);
    }
    ranks[..best].sort_unstable_by(better);
    ranks.into_iter().map(|(.., place)| place).collect()
}

/// The best, and some of the others.
fn sample(order: &[usize]) -> impl Iterator<Item = usize> + '_ {
    let step = order.len().div_ceil(DETAIL_NODES).max(1);
    let best = order.iter().take(DETAILED);
    best.chain(order.iter().skip(DETAILED).step_by(step)).copied()
}

/// What is said of the best nodes; the others were only there to compare with.
fn first_nodes(answer: ScoreAnswer) -> Option<Vec<NodeScore>> {
    let mut nodes = answer.pods.into_iter().next()?.nodes;
    nodes.truncate(DETAILED);
    Some(nodes)
}
