//! What pods of each workload have used, and which pods are on which node.

use cluster::NodeName;
use collector::prometheus::pods::{PodFacts, PodName, PodRow};
use features::cluster_state::Amount;
use features::habit::{Expected, HOURS, Habit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The name of a workload: `namespace/kind/name`.
pub fn workload_of(row: &PodRow) -> Option<String> {
    Some(format!("{}/{}/{}", row.namespace, row.workload_kind.as_deref()?, row.workload.as_deref()?))
}

/// The pods of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodePods {
    /// How many.
    pub count: u32,
    /// Cores in each of the next 24 hours.
    pub hours: [f32; HOURS],
    /// Bytes at most.
    pub memory_peak: f32,
    /// By workload.
    pub by_workload: HashMap<String, u32>,
}

/// All workloads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Workloads {
    habits: HashMap<String, Habit>,
    /// Pods whose end was counted.
    ended: HashSet<String>,
    /// Cores used and requested over all that was seen: what a request is worth.
    seen: (f64, f64),
    /// Pods that live: their workload, node and request.
    living: Vec<(Option<String>, NodeName, Amount)>,
    /// The newest moment of usage that was taken in.
    until: i64,
}

fn request_of(row: &PodRow) -> Amount {
    Amount {
        cpu: row.cpu_request_cores.unwrap_or_default() as f32,
        memory: row.memory_request_bytes.unwrap_or_default() as f32,
    }
}

impl Workloads {
    /// Takes in what a source told of pods. Usage that was taken in before is left out.
    pub fn take_in(&mut self, facts: &PodFacts) {
        let mut of_name: HashMap<&PodName, &PodRow> = HashMap::new();
        let names: Vec<PodName> = facts.rows.iter().map(|row| (row.namespace.clone(), row.pod.clone())).collect();
        for (name, row) in names.iter().zip(&facts.rows) {
            let newest = of_name.entry(name).or_insert(row);
            if row.created_at > newest.created_at {
                *newest = row;
            }
        }
        self.take_in_usage(facts, &of_name);
        self.living.clear();
        for row in &facts.rows {
            let workload = workload_of(row);
            match (row.finished_at, &row.node) {
                (Some(finished_at), _) => self.end(row, workload, finished_at),
                (None, Some(node)) => self.living.push((workload, NodeName::new(node), request_of(row))),
                (None, None) => {}
            }
        }
    }

    fn take_in_usage(&mut self, facts: &PodFacts, of_name: &HashMap<&PodName, &PodRow>) {
        let memory: HashMap<&PodName, HashMap<i64, f64>> =
            facts.memory.iter().map(|(name, points)| (name, points.iter().copied().collect())).collect();
        // By moment and workload: millicores, bytes, pods, requested millicores.
        let mut sums: BTreeMap<i64, HashMap<String, (f64, f64, f64, f64)>> = BTreeMap::new();
        for (name, points) in &facts.cpu {
            let Some(row) = of_name.get(name) else { continue };
            let Some(workload) = workload_of(row) else { continue };
            for (at, cores) in
                points.iter().filter(|(at, cores)| *at > self.until && cores.is_finite() && *cores >= 0.0)
            {
                let bytes = memory.get(name).and_then(|points| points.get(at)).copied().unwrap_or_default();
                let sum = sums.entry(*at).or_default().entry(workload.clone()).or_default();
                *sum = (sum.0 + 1e3 * cores, sum.1 + bytes, sum.2 + 1.0, sum.3 + 1e3 * f64::from(request_of(row).cpu));
            }
        }
        for (at, workloads) in sums {
            for (workload, (milli, bytes, pods, requested)) in workloads {
                let (cpu, memory) = ((milli / pods) as f32, (bytes / pods) as f32);
                self.habits.entry(workload).or_default().take_in(at, cpu, memory);
                if requested > 0.0 {
                    self.seen = (self.seen.0 + milli, self.seen.1 + requested);
                }
            }
            self.until = at;
        }
    }

    fn end(&mut self, row: &PodRow, workload: Option<String>, finished_at: i64) {
        let life = finished_at - row.started_at.unwrap_or(row.created_at);
        if let Some(workload) = workload
            && life >= 0
            && self.ended.insert(row.pod_uid.clone())
        {
            self.habits.entry(workload).or_default().ended(life);
        }
    }

    /// What was seen of a workload.
    pub fn habit(&self, workload: Option<&str>) -> Option<&Habit> {
        self.habits.get(workload?)
    }

    /// What a pod is expected to use.
    pub fn expected(&self, workload: Option<&str>, request: Amount) -> Expected {
        let ratio = (self.seen.1 > 0.0).then(|| self.seen.0 / self.seen.1);
        Expected::of(self.habit(workload), request, ratio)
    }

    /// What a pod counts with on the node that it goes to: what it is expected to use, but all that it requests as long as
    /// nothing is known of its workload. Pods use less than they request on average; a burst of those that do not would
    /// fill a node before any metric tells.
    pub fn counted(&self, workload: Option<&str>, request: Amount) -> Expected {
        let expected = self.expected(workload, request);
        if expected.known {
            return expected;
        }
        Expected { amount: Amount { cpu: expected.amount.cpu.max(request.cpu), ..expected.amount }, ..expected }
    }

    /// The pods of every node; `hour` counts from the epoch.
    pub fn by_node(&self, hour: usize) -> HashMap<NodeName, NodePods> {
        let mut nodes: HashMap<NodeName, NodePods> = HashMap::new();
        for (workload, node, request) in &self.living {
            let workload = workload.as_deref();
            let course = self.expected(workload, *request).course(self.habit(workload), hour);
            let pods = nodes.entry(node.clone()).or_default();
            pods.count += 1;
            pods.memory_peak += course.memory_peak;
            pods.hours.iter_mut().zip(&course.hours).for_each(|(sum, hour)| *sum += hour);
            if let Some(workload) = workload {
                *pods.by_workload.entry(workload.to_owned()).or_default() += 1;
            }
        }
        nodes
    }

    /// A large request as pods of this cluster make them: the 90th percentile of each resource.
    pub fn large(&self) -> Amount {
        let high = |of: fn(&Amount) -> f32| {
            let mut values: Vec<f32> = self.living.iter().map(|(_, _, request)| of(request)).collect();
            values.sort_by(f32::total_cmp);
            values.get((0.9 * values.len() as f64) as usize).copied().unwrap_or_default()
        };
        Amount { cpu: high(|request| request.cpu), memory: high(|request| request.memory) }
    }

    /// Workloads that are known.
    pub fn known(&self) -> usize {
        self.habits.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::HOUR_MS;

    fn pod(name: &str, node: &str) -> PodRow {
        PodRow {
            pod_uid: format!("uid-{name}"),
            namespace: "shop".into(),
            pod: name.into(),
            workload_kind: Some("Deployment".into()),
            workload: Some("cart".into()),
            node: Some(node.into()),
            created_at: 0,
            cpu_request_cores: Some(2.0),
            memory_request_bytes: Some(8.0),
            ..PodRow::default()
        }
    }

    fn line(name: &str, points: &[(i64, f64)]) -> (PodName, Vec<(i64, f64)>) {
        (("shop".into(), name.into()), points.to_vec())
    }

    #[test]
    fn a_workloads_habit_is_the_mean_pod_and_each_moment_counts_once() {
        let facts = PodFacts {
            rows: vec![pod("a", "n1"), pod("b", "n2")],
            cpu: vec![line("a", &[(HOUR_MS, 1.0)]), line("b", &[(HOUR_MS, 3.0)])],
            memory: vec![line("a", &[(HOUR_MS, 4.0)]), line("b", &[(HOUR_MS, 8.0)])],
            ..PodFacts::default()
        };
        let mut workloads = Workloads::default();
        workloads.take_in(&facts);
        workloads.take_in(&facts);
        let habit = workloads.habit(Some("shop/Deployment/cart")).expect("known");
        assert_eq!((habit.cpu(), habit.memory(), habit.memory_peak()), (Some(2_000.0), Some(6.0), 6.0));
        // Of an unknown workload's request, used over requested: 4 of 4 cores.
        let other = workloads.expected(Some("shop/Deployment/other"), Amount { cpu: 1.0, memory: 5.0 });
        assert_eq!((other.amount, other.known), (Amount { cpu: 1.0, memory: 5.0 }, false));
        // Where pods use half of what they request, one that nothing is known of is expected to as well, and counts in full.
        workloads.seen = (2_000.0, 4_000.0);
        let request = Amount { cpu: 1.0, memory: 5.0 };
        let cpu = |expected: Expected| expected.amount.cpu;
        assert_eq!((cpu(workloads.expected(None, request)), cpu(workloads.counted(None, request))), (0.5, 1.0));
        assert_eq!(cpu(workloads.counted(Some("shop/Deployment/cart"), request)), 2.0);
        let nodes = workloads.by_node(1);
        assert_eq!((nodes[&NodeName::new("n1")].count, nodes[&NodeName::new("n1")].hours[0]), (1, 2.0));
        assert_eq!(workloads.large(), Amount { cpu: 2.0, memory: 8.0 });
    }

    #[test]
    fn a_pod_that_ended_is_counted_once_and_is_on_no_node() {
        let ended = PodRow { finished_at: Some(2 * HOUR_MS), ..pod("a", "n1") };
        let facts = PodFacts { rows: vec![ended, pod("b", "n1")], ..PodFacts::default() };
        let mut workloads = Workloads::default();
        workloads.take_in(&facts);
        workloads.take_in(&facts);
        let habit = workloads.habit(Some("shop/Deployment/cart")).expect("known");
        assert_eq!(habit.life_ms(), Some(2.0 * HOUR_MS as f64));
        assert_eq!(workloads.by_node(0)[&NodeName::new("n1")].count, 1);
    }
}
