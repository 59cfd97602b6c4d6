//! kube-scheduler's default profile.

use super::Policy;
use super::allocation::{balanced, least_allocated};
use super::spread::{NodeCounts, add_pod_affinity, add_topology_spread, extremes};
use crate::engine::{Ask, View};
use crate::world::NodeId;

/// The score plugins of the default profile with their default weights
/// (`pkg/scheduler/apis/config/v1/default_plugins.go`): TaintToleration 3, NodeAffinity 2, PodTopologySpread 2,
/// InterPodAffinity 2, NodeResourcesFit (LeastAllocated) 1, NodeResourcesBalancedAllocation 1.
///
/// ImageLocality (1) is left out: no source tells which images a node has, so it would be the same for all.
#[derive(Debug, Clone, Default)]
pub struct KubeScheduler {
    counts: NodeCounts,
    scratch: Vec<f64>,
}

const TAINT_TOLERATION: f64 = 3.0;
const NODE_AFFINITY: f64 = 2.0;
const POD_TOPOLOGY_SPREAD: f64 = 2.0;
const INTER_POD_AFFINITY: f64 = 2.0;

impl Policy for KubeScheduler {
    fn name(&self) -> &'static str {
        "kube-scheduler"
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        // BalancedAllocation skips BestEffort pods, which would all go to one node (kubernetes issue 129138).
        let balances = ask.request.cpu.millicores() > 0 || ask.request.memory.get() > 0;
        for (score, node) in scores.iter_mut().zip(candidates) {
            let account = view.account(*node);
            *score = least_allocated(account, &ask.request);
            if balances {
                *score += balanced(account, &ask.request);
            }
        }
        self.add_taints(ask, view, candidates, scores);
        self.add_node_affinity(ask, view, candidates, scores);
        add_topology_spread(ask, view, candidates, POD_TOPOLOGY_SPREAD, &mut self.counts, &mut self.scratch, scores);
        add_pod_affinity(ask, view, candidates, INTER_POD_AFFINITY, &mut self.scratch, scores);
    }
}

impl KubeScheduler {
    /// 100 − 100 × (PreferNoSchedule taints not tolerated) ÷ (most of them on a candidate)
    /// (`…/plugins/tainttoleration/taint_toleration.go`).
    fn add_taints(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        if !view.has_taints() {
            return;
        }
        self.scratch.clear();
        self.scratch.extend(candidates.iter().map(|node| ask.rules.disliked_taints(view.node(*node)) as f64));
        let (_, most) = extremes(&self.scratch);
        for (score, disliked) in scores.iter_mut().zip(&self.scratch).filter(|_| most > 0.0) {
            *score += TAINT_TOLERATION * (100.0 - (100.0 * disliked / most).floor());
        }
    }

    /// 100 × (weights of the preferred labels that the node has) ÷ (most on a candidate)
    /// (`…/plugins/nodeaffinity/node_affinity.go`).
    fn add_node_affinity(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        if ask.rules.preferred_labels.is_empty() {
            return;
        }
        let liked = |node: &NodeId| {
            let labels = &view.node(*node).labels;
            ask.rules
                .preferred_labels
                .iter()
                .filter(|(_, label)| labels.contains(label))
                .map(|(weight, _)| f64::from(*weight))
                .sum::<f64>()
        };
        self.scratch.clear();
        self.scratch.extend(candidates.iter().map(liked));
        let (_, most) = extremes(&self.scratch);
        for (score, liked) in scores.iter_mut().zip(&self.scratch).filter(|_| most > 0.0) {
            *score += NODE_AFFINITY * (100.0 * liked / most).floor();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineSettings, Simulation};
    use crate::policy::Reach;
    use crate::testing::{PodWords, cores, gib, node, pod, scenario, scored};
    use crate::world::{
        AffinityTerm, Label, PodId, Request, Rules, Scenario, Strength, Taint, TaintEffect, Topology, WorkloadId,
        ZoneId,
    };

    /// Scores of the second pod after the first was bound to the first node.
    fn second_pod(scenario: &Scenario) -> Vec<f64> {
        let mut simulation = Simulation::new(scenario, EngineSettings::default(), 1);
        let first = simulation.next_pod().expect("the first pod");
        simulation.bind(first, NodeId(0));
        let second = simulation.next_pod().expect("the second pod");
        assert_eq!(second, PodId(1));
        let mut found = Vec::new();
        simulation.candidates(second, Reach::All, &mut found);
        let mut scores = vec![0.0; found.len()];
        KubeScheduler::default().score(&simulation.ask(second), &simulation.view(), &found, &mut scores);
        scores
    }

    #[test]
    fn resources_alone_by_hand() {
        // Node 1: CPU 3 of 4 and memory 6 of 16 after placement: (25 + 62) ÷ 2 = 43.5 → 43; fractions 0.75 and 0.375:
        // 81.25 → 81, before 0.5 and 0.25: 87.5 → 87, so 50 + (50 + 81 − 87) ÷ 2 = 72. Node 2: 1 of 4 and 2 of 16:
        // (75 + 87) ÷ 2 = 81; 0.25 and 0.125: 93.75 → 93, before 100, so 50 + 43 ÷ 2 → 71.
        let scores = scored(
            &mut KubeScheduler::default(),
            &[("4", 16, "2", 4), ("4", 16, "0", 0)],
            Request::new(cores("1"), gib(2)),
        );
        assert_eq!(scores, [115.0, 152.0]);
    }

    #[test]
    fn topology_spread_by_hand() {
        let zoned = |name: &str, zone| {
            let mut node = node(name, "4", 16);
            node.zone = Some(ZoneId(zone));
            node
        };
        let nodes = vec![zoned("a", 0), zoned("b", 0), zoned("c", 1)];
        let scenario = scenario(nodes, vec![pod("web-1", "1", 4), pod("web-2", "1", 4)]).checked().expect("a scenario");
        // Pods are in proportion to the nodes, so balance stays, which is worth 75, and least allocated is 50, 75, 75.
        // Spread, node weight ln 5, zone weight ln 4: a: ln 5 + 2 + ln 4 + 4 = 8.996 → 9; b: 2 + ln 4 + 4 = 7.386 → 7;
        // c: 2 + 4 = 6. Then 100 × (9 + 6 − s) ÷ 9: 66, 88, 100; weight 2. Zones take turns, so the order is a, c, b.
        assert_eq!(second_pod(&scenario), [125.0 + 132.0, 150.0 + 200.0, 150.0 + 176.0]);
    }

    #[test]
    fn taints_labels_and_affinity_by_hand() {
        let mut nodes = vec![node("a", "4", 16), node("b", "4", 16), node("c", "4", 16)];
        nodes[1].taints = vec![Taint { key: "spot".into(), effect: TaintEffect::PreferNoSchedule }];
        nodes[1].labels = vec![Label::new("disk", "ssd")];
        nodes[2].labels = vec![Label::new("disk", "ssd"), Label::new("cpu", "new")];
        let mut scenario = scenario(nodes, vec![pod("db", "1", 4).of(1), pod("web", "1", 4)]);
        let near_db = AffinityTerm {
            workload: WorkloadId(1),
            topology: Topology::Node,
            anti: false,
            strength: Strength::Preferred(50),
        };
        scenario.rules.push(Rules {
            preferred_labels: vec![(10, Label::new("disk", "ssd")), (30, Label::new("cpu", "new"))],
            affinity: vec![near_db],
            ..Rules::default()
        });
        scenario.workloads[0].rules = 1;
        let scenario = scenario.checked().expect("a scenario");
        // Resources: 50 + 75 on a, 75 + 75 on b and c. Taints: 300, 0, 300. Labels: 0, 10 of 40 → 25, 100; weight 2.
        // Affinity: 50 on a → 100, 0, 0; weight 2. Spread: no pod of `web` runs yet, so it adds the same to all: nothing.
        assert_eq!(second_pod(&scenario), [125.0 + 300.0 + 200.0, 150.0 + 50.0, 150.0 + 300.0 + 200.0]);
    }

    #[test]
    fn a_pod_is_drawn_to_those_that_want_it_near() {
        let nodes = vec![node("a", "4", 16), node("b", "4", 16)];
        let mut scenario = scenario(nodes, vec![pod("web", "1", 4).of(1), pod("db", "1", 4)]);
        let near_db = AffinityTerm {
            workload: WorkloadId(0),
            topology: Topology::Node,
            anti: false,
            strength: Strength::Preferred(50),
        };
        scenario.rules.push(Rules { affinity: vec![near_db], ..Rules::default() });
        scenario.workloads[1].rules = 1;
        let scenario = scenario.checked().expect("a scenario");
        // Resources: 50 + 75 on a, where `web` runs, and 75 + 75 on b. Affinity of `web`: 100 on a; weight 2.
        assert_eq!(second_pod(&scenario), [125.0 + 200.0, 150.0]);
    }
}
