//! kube-scheduler's scores that look at other pods: PodTopologySpread and InterPodAffinity.

use super::allocation::whole;
use crate::engine::{Ask, View};
use crate::world::{AffinityTerm, NodeId, SpreadConstraint, Strength, Topology, WorkloadId};

/// The default constraints of `PodTopologySpread` (`systemDefaultConstraints`): 3 by node, 5 by zone, ScheduleAnyway.
const DEFAULT_CONSTRAINTS: [SpreadConstraint; 2] = [
    SpreadConstraint { topology: Topology::Node, max_skew: 3, hard: false },
    SpreadConstraint { topology: Topology::Zone, max_skew: 5, hard: false },
];

/// Counts by node that are cheap to fill and to clear.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeCounts {
    counts: Vec<u32>,
}

impl NodeCounts {
    /// Calls `read` with the pods of `workload` by node.
    fn with<T>(&mut self, view: &View<'_>, workload: WorkloadId, read: impl FnOnce(&[u32]) -> T) -> T {
        self.counts.resize(view.node_count(), 0);
        let nodes = view.presence(workload).nodes();
        for (node, count) in nodes {
            self.counts[node.index()] = *count;
        }
        let result = read(&self.counts);
        for (node, _) in nodes {
            self.counts[node.index()] = 0;
        }
        result
    }
}

/// Adds the PodTopologySpread score, times `weight`.
///
/// Per constraint: pods of the workload in the place × ln(places + 2) + max skew − 1, summed and rounded; then
/// 100 × (max + min − score) ÷ max over the candidates, in integers; 100 for all when max is 0
/// (`pkg/scheduler/framework/plugins/podtopologyspread/scoring.go`). Own ScheduleAnyway constraints replace the defaults. With
/// the defaults, a node without a zone label is scored by the other constraint (`requireAllTopologies` is false).
pub(super) fn add_topology_spread(
    ask: &Ask<'_>,
    view: &View<'_>,
    candidates: &[NodeId],
    weight: f64,
    counts: &mut NodeCounts,
    scratch: &mut Vec<f64>,
    scores: &mut [f64],
) {
    let own: Vec<SpreadConstraint> = ask.rules.spread.iter().filter(|constraint| !constraint.hard).copied().collect();
    let constraints: &[SpreadConstraint] = if !ask.rules.spread.is_empty() { &own } else { &DEFAULT_CONSTRAINTS };
    // No pod of the workload runs: the scores are the same for nodes with the same labels.
    let presence = view.presence(ask.workload);
    if constraints.is_empty() || presence.nodes().is_empty() {
        return;
    }
    let size_weight = |places: usize| ((places + 2) as f64).ln();
    let node_weight = size_weight(candidates.len());
    let zone_weight = size_weight(zones_among(view, candidates));
    scratch.clear();
    counts.with(view, ask.workload, |by_node| {
        scratch.extend(candidates.iter().map(|node| {
            let mut score = 0.0;
            for constraint in constraints {
                let skew = f64::from(constraint.max_skew - 1);
                match constraint.topology {
                    Topology::Node => score += f64::from(by_node[node.index()]) * node_weight + skew,
                    Topology::Zone => {
                        if let Some(zone) = view.account(*node).zone() {
                            score += f64::from(presence.in_zone(zone)) * zone_weight + skew;
                        }
                    }
                }
            }
            whole(score + 0.5)
        }));
    });
    let (lowest, highest) = extremes(scratch);
    for (score, raw) in scores.iter_mut().zip(scratch.iter()) {
        let normalised = if highest == 0.0 { 100.0 } else { whole(100.0 * (highest + lowest - raw) / highest) };
        *score += weight * normalised;
    }
}

fn zones_among(view: &View<'_>, candidates: &[NodeId]) -> usize {
    let mut seen = vec![false; view.zone_count()];
    for zone in candidates.iter().filter_map(|node| view.account(*node).zone()) {
        seen[usize::from(zone.0)] = true;
    }
    seen.into_iter().filter(|seen| *seen).count()
}

/// Adds the InterPodAffinity score, times `weight`: the sum of the weights of the preferred terms that hold (negative for
/// anti-affinity) times the pods they match, and the same of the terms by which pods that already run would have this one near or
/// away, then 100 × (score − min) ÷ (max − min) (`…/plugins/interpodaffinity/scoring.go`).
pub(super) fn add_pod_affinity(
    ask: &Ask<'_>,
    view: &View<'_>,
    candidates: &[NodeId],
    weight: f64,
    scratch: &mut Vec<f64>,
    scores: &mut [f64],
) {
    let preferred = |term: &AffinityTerm| match term.strength {
        Strength::Preferred(weight) if term.anti => Some((term.workload, term.topology, -f64::from(weight))),
        Strength::Preferred(weight) => Some((term.workload, term.topology, f64::from(weight))),
        Strength::Required => None,
    };
    let mut terms: Vec<(WorkloadId, Topology, f64)> = ask.rules.affinity.iter().filter_map(preferred).collect();
    terms.extend_from_slice(view.drawn_by(ask.workload));
    if terms.is_empty() {
        return;
    }
    let near = |workload: WorkloadId, topology: Topology, node: NodeId| match (topology, view.account(node).zone()) {
        (Topology::Zone, Some(zone)) => view.presence(workload).in_zone(zone),
        _ => view.presence(workload).on(node),
    };
    let sum = |node: &NodeId| {
        terms.iter().map(|(workload, topology, each)| each * f64::from(near(*workload, *topology, *node))).sum::<f64>()
    };
    scratch.clear();
    scratch.extend(candidates.iter().map(sum));
    let (lowest, highest) = extremes(scratch);
    if highest > lowest {
        for (score, raw) in scores.iter_mut().zip(scratch.iter()) {
            // In this order, since the result is cut: 100 × 0.29 is less than 29.
            *score += weight * whole(100.0 * ((raw - lowest) / (highest - lowest)));
        }
    }
}

pub(super) fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}
