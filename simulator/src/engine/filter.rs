//! Which nodes a pod may go to: kube-scheduler's native filters and its candidate sampling.

use super::account::Room;
use super::simulation::Simulation;
use crate::policy::Reach;
use crate::world::{AffinityTerm, NodeId, PodId, QosClass, Request, Rules, Scenario, Strength, Topology, WorkloadId};

/// How many feasible nodes are looked for among `nodes` before scoring begins.
///
/// kube-scheduler's `numFeasibleNodesToFind` (`pkg/scheduler/schedule_one.go`): all below 100 nodes; else `percentage` of
/// them, or 50 − nodes ÷ 125 percent but at least 5 when it is 0; never below 100.
pub fn feasible_nodes_to_find(nodes: usize, percentage: u32) -> usize {
    const LEAST: usize = 100;
    if nodes < LEAST || percentage >= 100 {
        return nodes;
    }
    let percentage = if percentage == 0 { 50_usize.saturating_sub(nodes / 125).max(5) } else { percentage as usize };
    (nodes * percentage / 100).max(LEAST)
}

/// The order in which nodes are looked at: zone by zone in turn, as kube-scheduler's node tree gives them.
pub(super) fn visiting_order(scenario: &Scenario, zones: usize) -> Vec<NodeId> {
    let mut by_zone: Vec<Vec<NodeId>> = vec![Vec::new(); zones + 1];
    for (at, node) in scenario.nodes.iter().enumerate() {
        by_zone[node.zone.map_or(zones, |zone| usize::from(zone.0))].push(NodeId(at as u32));
    }
    let longest = by_zone.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| by_zone.iter().filter_map(move |zone| zone.get(at).copied())).collect()
}

/// Who is kept away from whom: by workload, the workloads whose required anti-affinity names it.
pub(super) fn repelled_by(scenario: &Scenario) -> Vec<Vec<(WorkloadId, Topology)>> {
    let mut repelled = vec![Vec::new(); scenario.workloads.len()];
    for at in 0..scenario.workloads.len() {
        let owner = WorkloadId(at as u32);
        for term in
            scenario.rules_of(owner).affinity.iter().filter(|term| term.anti && term.strength == Strength::Required)
        {
            repelled[term.workload.index()].push((owner, term.topology));
        }
    }
    repelled
}

/// Who would have whom near, or away: by workload, those whose terms name it, over what, and how much each of their pods adds to the score
/// of a place. A required affinity adds 1 (`hardPodAffinityWeight`).
pub(super) fn drawn_by(scenario: &Scenario) -> Vec<Vec<(WorkloadId, Topology, f64)>> {
    let mut drawn = vec![Vec::new(); scenario.workloads.len()];
    for at in 0..scenario.workloads.len() {
        let owner = WorkloadId(at as u32);
        for term in &scenario.rules_of(owner).affinity {
            let weight = match (term.strength, term.anti) {
                (Strength::Preferred(weight), false) => f64::from(weight),
                (Strength::Preferred(weight), true) => -f64::from(weight),
                (Strength::Required, false) => 1.0,
                (Strength::Required, true) => continue,
            };
            drawn[term.workload.index()].push((owner, term.topology, weight));
        }
    }
    drawn
}

/// A bit per node.
#[derive(Debug, Clone)]
pub(super) struct NodeSet {
    words: Vec<u64>,
    count: usize,
}

impl NodeSet {
    fn of(scenario: &Scenario, rules: &Rules) -> Self {
        let mut set = Self { words: vec![0; scenario.nodes.len().div_ceil(64)], count: 0 };
        for (at, _) in scenario.nodes.iter().enumerate().filter(|(_, node)| rules.admits(node)) {
            set.words[at / 64] |= 1 << (at % 64);
            set.count += 1;
        }
        set
    }

    #[inline]
    fn has(&self, node: NodeId) -> bool {
        self.words[node.index() / 64] >> (node.index() % 64) & 1 == 1
    }
}

/// The nodes that each set of rules admits by labels and taints, worked out at first use; all nodes need no set.
#[derive(Debug, Clone, Default)]
pub(super) struct Admitted {
    sets: Vec<Option<Option<NodeSet>>>,
}

impl Admitted {
    fn of(&mut self, scenario: &Scenario, rules: u32) -> Option<&NodeSet> {
        self.sets.resize(scenario.rules.len(), None);
        let slot = &mut self.sets[rules as usize];
        slot.get_or_insert_with(|| {
            let set = NodeSet::of(scenario, &scenario.rules[rules as usize]);
            (set.count < scenario.nodes.len()).then_some(set)
        })
        .as_ref()
    }
}

impl Simulation<'_> {
    /// Fills `found` with the nodes that `pod` may go to, in the order in which they were looked at.
    pub(super) fn find_feasible(&mut self, pod: PodId, reach: Reach, found: &mut Vec<NodeId>) {
        found.clear();
        let scenario = self.scenario;
        let pod = scenario.pod(pod);
        let nodes = self.rooms.len();
        let wanted = match reach {
            Reach::Sampled => feasible_nodes_to_find(nodes, self.settings.percentage_of_nodes_to_score),
            Reach::All => nodes,
        };
        let mut admitted = std::mem::take(&mut self.admitted);
        let set = admitted.of(scenario, scenario.workloads[pod.workload.index()].rules);
        let rules = scenario.rules_of(pod.workload);
        let places = Places::new(self, pod.workload, rules);
        let (accounts, request) = (&self.accounts, &pod.request);
        let best_effort = pod.qos == QosClass::BestEffort;
        let (before, after) = self.rooms.split_at(self.next_start);
        let parts = [after, before];
        // Most pods have no rule: for them the loop reads nothing but room.
        let looked_at = if set.is_none() && places.is_none() && !best_effort && request.gpus == 0 {
            scan(parts, request, wanted, found, |_| true)
        } else {
            scan(parts, request, wanted, found, |node| {
                let account = &accounts[node.index()];
                account.fits(request)
                    && !(best_effort && account.memory_pressure)
                    && set.is_none_or(|set| set.has(node))
                    && places.as_ref().is_none_or(|places| places.admits(self, node))
            })
        };
        if reach == Reach::Sampled {
            self.next_start = (self.next_start + looked_at) % nodes;
        }
        self.admitted = admitted;
    }
}

/// Fills `found` with up to `wanted` nodes that have room and are `admitted`, in order; returns how many were looked at.
fn scan(
    parts: [&[Room]; 2],
    request: &Request,
    wanted: usize,
    found: &mut Vec<NodeId>,
    admitted: impl Fn(NodeId) -> bool,
) -> usize {
    found.resize(wanted, NodeId(0));
    let (mut looked_at, mut count) = (0, 0);
    for part in parts {
        for (at, room) in part.iter().enumerate() {
            // Written in any case and kept when it fits: no branch to foresee.
            let Some(slot) = found.get_mut(count) else { return looked_at + at };
            *slot = NodeId(room.node);
            count += usize::from(room.fits(request) && admitted(NodeId(room.node)));
        }
        looked_at += part.len();
    }
    found.truncate(count);
    looked_at
}

/// The rules that depend on where other pods run.
struct Places<'a> {
    terms: Vec<&'a AffinityTerm>,
    repelled_by: Vec<(WorkloadId, Topology)>,
    /// Topology, and the most pods of the workload that a place may have for one more.
    spread: Vec<(Topology, u32)>,
    workload: WorkloadId,
}

impl<'a> Places<'a> {
    /// `None` when there is no such rule.
    fn new(simulation: &Simulation<'_>, workload: WorkloadId, rules: &'a Rules) -> Option<Self> {
        let terms: Vec<&AffinityTerm> =
            rules.affinity.iter().filter(|term| term.strength == Strength::Required).collect();
        let repelled_by = simulation.repelled_by[workload.index()].clone();
        let hard = rules.spread.iter().filter(|constraint| constraint.hard);
        let spread: Vec<(Topology, u32)> = hard
            .map(|constraint| {
                let least = least_per_place(simulation, workload, constraint.topology, rules);
                (constraint.topology, least + constraint.max_skew - 1)
            })
            .collect();
        let nothing = terms.is_empty() && repelled_by.is_empty() && spread.is_empty();
        (!nothing).then_some(Self { terms, repelled_by, spread, workload })
    }

    fn admits(&self, simulation: &Simulation<'_>, node: NodeId) -> bool {
        let count = |workload: WorkloadId, topology| count_near(simulation, workload, topology, node);
        let term_holds = |term: &&AffinityTerm| {
            let near = count(term.workload, term.topology);
            if term.anti {
                near == 0
            } else {
                // The first pod of a workload that wants to be near its own kind may go anywhere, as in Kubernetes.
                near > 0 || (term.workload == self.workload && simulation.presence[term.workload.index()].total() == 0)
            }
        };
        self.terms.iter().all(term_holds)
            && self.repelled_by.iter().all(|(owner, topology)| count(*owner, *topology) == 0)
            && self.spread.iter().all(|(topology, most)| count(self.workload, *topology) <= *most)
    }
}

/// Pods of `workload` on `node` or in its zone. A node without a zone is a zone of its own.
fn count_near(simulation: &Simulation<'_>, workload: WorkloadId, topology: Topology, node: NodeId) -> u32 {
    let presence = &simulation.presence[workload.index()];
    match (topology, simulation.scenario.node(node).zone) {
        (Topology::Zone, Some(zone)) => presence.in_zone(zone),
        _ => presence.on(node),
    }
}

/// The fewest pods of `workload` that any place has, over the nodes that are there and selected. A node whose taints keep the pod away
/// is a place all the same (`nodeTaintsPolicy` is `Ignore` by default).
fn least_per_place(simulation: &Simulation<'_>, workload: WorkloadId, topology: Topology, rules: &Rules) -> u32 {
    let scenario = simulation.scenario;
    let there = (0..scenario.nodes.len() as u32)
        .map(NodeId)
        .filter(|node| simulation.accounts[node.index()].ready && rules.selects(scenario.node(*node)));
    there.map(|node| count_near(simulation, workload, topology, node)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod, scenario};
    use crate::world::ZoneId;

    #[test]
    fn sampling_is_kube_schedulers() {
        // By hand from the rule: 500→230, 1000→420, 5000→500, 15000→750.
        for (nodes, wanted) in
            [(99, 99), (100, 100), (500, 230), (1_000, 420), (1_500, 570), (5_000, 500), (15_000, 750)]
        {
            assert_eq!(feasible_nodes_to_find(nodes, 0), wanted, "{nodes} nodes");
        }
        assert_eq!(feasible_nodes_to_find(1_000, 20), 200);
        assert_eq!(feasible_nodes_to_find(1_000, 100), 1_000);
        assert_eq!(feasible_nodes_to_find(300, 5), 100, "never below 100");
    }

    #[test]
    fn nodes_are_visited_zone_by_zone_in_turn() {
        let zoned = |name: &str, zone| {
            let mut node = node(name, "4", 16);
            node.zone = Some(ZoneId(zone));
            node
        };
        let nodes = vec![zoned("a", 0), zoned("b", 0), zoned("c", 0), zoned("d", 1)];
        let order = visiting_order(&scenario(nodes, vec![pod("web", "1", 1)]), 2);
        assert_eq!(order.iter().map(|node| node.0).collect::<Vec<_>>(), [0, 3, 1, 2]);
    }
}
