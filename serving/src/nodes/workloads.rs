//! What pods of each workload have used, and which pods are on which node.

use cluster::{DAY_MS, NodeName};
use collector::prometheus::pods::{PodFacts, PodName, PodRow};
use features::cluster_state::Amount;
use features::habit::{Expected, HOURS, Habit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// A workload of which nothing was seen for so long is forgotten, so that every run of a Job, whose name is new each time, does not
/// stay for good; what comes weekly is still known when it comes again.
const FORGOTTEN_AFTER: i64 = 8 * DAY_MS;
/// That a pod's end was counted is remembered for so long after the source has listed it last.
const END_REMEMBERED: i64 = 2 * DAY_MS;
/// Workloads that are known at most, some hundred bytes each; those that were seen last stay.
const MOST_WORKLOADS: usize = 50_000;
/// No pod has lived longer: Kubernetes is not that old.
const LONGEST_LIFE: i64 = 20 * 365 * DAY_MS;

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
    habits: HashMap<String, Known>,
    /// Pods whose end was counted, and when the source listed them last.
    ended: HashMap<String, i64>,
    /// Cores used and requested over all that was seen: what a request is worth.
    seen: (f64, f64),
    /// Pods that live: their workload, node and request.
    living: Vec<(Option<String>, NodeName, Amount)>,
    /// The newest moment of usage that was taken in.
    until: i64,
}

/// What is known of a workload.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    habit: Habit,
    /// When something was seen of it last, UTC milliseconds.
    seen_at: i64,
}

fn request_of(row: &PodRow) -> Amount {
    Amount {
        cpu: row.cpu_request_cores.unwrap_or_default() as f32,
        memory: row.memory_request_bytes.unwrap_or_default() as f32,
    }
}

impl Workloads {
    /// Takes in what a source told of pods before the moment `until`. Usage that was taken in before is left out, as is usage of a
    /// later time: it would keep out all that comes until then.
    pub fn take_in(&mut self, facts: &PodFacts, until: i64) {
        let mut of_name: HashMap<&PodName, &PodRow> = HashMap::new();
        let names: Vec<PodName> = facts.rows.iter().map(|row| (row.namespace.clone(), row.pod.clone())).collect();
        for (name, row) in names.iter().zip(&facts.rows) {
            let newest = of_name.entry(name).or_insert(row);
            if row.created_at > newest.created_at {
                *newest = row;
            }
        }
        self.take_in_usage(facts, &of_name, until);
        self.living.clear();
        for row in &facts.rows {
            let workload = workload_of(row);
            match (row.finished_at, &row.node) {
                (Some(finished_at), _) => self.end(row, workload, (finished_at, until)),
                (None, Some(node)) => self.living.push((workload, NodeName::new(node), request_of(row))),
                (None, None) => {}
            }
        }
        self.forget(until);
    }

    /// Forgets what was not seen for long.
    fn forget(&mut self, now: i64) {
        self.ended.retain(|_, listed_at| now.saturating_sub(*listed_at) <= END_REMEMBERED);
        self.habits.retain(|_, known| now.saturating_sub(known.seen_at) <= FORGOTTEN_AFTER);
        let over = self.habits.len().saturating_sub(MOST_WORKLOADS);
        if over > 0 {
            let mut seen: Vec<i64> = self.habits.values().map(|known| known.seen_at).collect();
            let last_that_goes = *seen.select_nth_unstable(over - 1).1;
            self.habits.retain(|_, known| known.seen_at > last_that_goes);
            tracing::warn!(
                forgotten = over,
                most = MOST_WORKLOADS,
                "too many workloads: those not seen for longest are forgotten"
            );
        }
    }

    fn take_in_usage(&mut self, facts: &PodFacts, of_name: &HashMap<&PodName, &PodRow>, until: i64) {
        let times = self.until.saturating_add(1)..until;
        let memory: HashMap<&PodName, HashMap<i64, f64>> =
            facts.memory.iter().map(|(name, points)| (name, points.iter().copied().collect())).collect();
        // By moment and workload: millicores, bytes, pods, requested millicores.
        let mut sums: BTreeMap<i64, HashMap<String, (f64, f64, f64, f64)>> = BTreeMap::new();
        for (name, points) in &facts.cpu {
            let Some(row) = of_name.get(name) else { continue };
            let Some(workload) = workload_of(row) else { continue };
            for (at, cores) in
                points.iter().filter(|(at, cores)| times.contains(at) && cores.is_finite() && *cores >= 0.0)
            {
                let bytes = memory.get(name).and_then(|points| points.get(at)).copied().unwrap_or_default();
                let sum = sums.entry(*at).or_default().entry(workload.clone()).or_default();
                *sum = (sum.0 + 1e3 * cores, sum.1 + bytes, sum.2 + 1.0, sum.3 + 1e3 * f64::from(request_of(row).cpu));
            }
        }
        for (at, workloads) in sums {
            for (workload, (milli, bytes, pods, requested)) in workloads {
                let (cpu, memory) = ((milli / pods) as f32, (bytes / pods) as f32);
                let known = self.habits.entry(workload).or_default();
                known.habit.take_in(at, cpu, memory);
                known.seen_at = at;
                if requested > 0.0 {
                    self.seen = (self.seen.0 + milli, self.seen.1 + requested);
                }
            }
            self.until = at;
        }
    }

    fn end(&mut self, row: &PodRow, workload: Option<String>, (finished_at, now): (i64, i64)) {
        let life = finished_at.saturating_sub(row.started_at.unwrap_or(row.created_at));
        if let Some(workload) = workload
            && (0..=LONGEST_LIFE).contains(&life)
            && self.ended.insert(row.pod_uid.clone(), now).is_none()
        {
            let known = self.habits.entry(workload).or_default();
            known.habit.ended(life);
            known.seen_at = known.seen_at.max(finished_at.min(now));
        }
    }

    /// The newest moment of usage that was taken in, UTC milliseconds.
    pub const fn until(&self) -> i64 {
        self.until
    }

    /// What was seen of a workload.
    pub fn habit(&self, workload: Option<&str>) -> Option<&Habit> {
        self.habits.get(workload?).map(|known| &known.habit)
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
        workloads.take_in(&facts, 3 * HOUR_MS);
        workloads.take_in(&facts, 3 * HOUR_MS);
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
        workloads.take_in(&facts, 3 * HOUR_MS);
        workloads.take_in(&facts, 3 * HOUR_MS);
        let habit = workloads.habit(Some("shop/Deployment/cart")).expect("known");
        assert_eq!(habit.life_ms(), Some(2.0 * HOUR_MS as f64));
        assert_eq!(workloads.by_node(0)[&NodeName::new("n1")].count, 1);
    }

    #[test]
    fn usage_of_the_future_and_lives_that_cannot_be_are_left_out() {
        let far = 1_i64 << 62;
        let ended = |started_at, finished_at| PodRow {
            pod_uid: "x".into(),
            started_at: Some(started_at),
            finished_at: Some(finished_at),
            ..pod("a", "n1")
        };
        let facts = PodFacts {
            rows: vec![pod("b", "n1"), ended(i64::MIN, i64::MAX), ended(far, -far), ended(0, far)],
            cpu: vec![line("b", &[(HOUR_MS, 1.0), (far, 9.0)])],
            ..PodFacts::default()
        };
        let mut workloads = Workloads::default();
        workloads.take_in(&facts, 3 * HOUR_MS);
        let habit = workloads.habit(Some("shop/Deployment/cart")).expect("known");
        assert_eq!((habit.cpu(), habit.life_ms(), workloads.until()), (Some(1_000.0), None, HOUR_MS));
        // What comes now is taken in: nothing waits for a moment that is far away.
        let next =
            PodFacts { cpu: vec![line("b", &[(2 * HOUR_MS, 3.0)])], rows: vec![pod("b", "n1")], ..PodFacts::default() };
        workloads.take_in(&next, 3 * HOUR_MS);
        assert_eq!(workloads.habit(Some("shop/Deployment/cart")).and_then(Habit::cpu), Some(2_000.0));
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten_and_a_listed_end_is_counted_once_however_long() {
        let job = |name: &str| PodRow {
            pod_uid: format!("uid-{name}"),
            workload: Some(name.into()),
            started_at: Some(0),
            finished_at: Some(HOUR_MS),
            ..pod(name, "n1")
        };
        let mut workloads = Workloads::default();
        let (gone, stays) = (job("gone"), job("stays"));
        workloads.take_in(&PodFacts { rows: vec![gone, stays.clone()], ..PodFacts::default() }, 2 * HOUR_MS);
        for day in 1..30 {
            workloads.take_in(&PodFacts { rows: vec![stays.clone()], ..PodFacts::default() }, day * DAY_MS);
            let habit = workloads.habit(Some("shop/Deployment/stays"));
            assert!(habit.is_none_or(|habit| habit.life_ms() == Some(HOUR_MS as f64)), "counted once");
        }
        assert_eq!((workloads.known(), workloads.ended.len()), (0, 1), "{workloads:?}");
    }

    #[test]
    fn workloads_are_known_up_to_a_number_and_the_newest_stay() {
        let mut workloads = Workloads::default();
        for at in 0..MOST_WORKLOADS + 10 {
            workloads.habits.insert(at.to_string(), Known { seen_at: at as i64, ..Known::default() });
        }
        workloads.take_in(&PodFacts::default(), DAY_MS);
        assert_eq!(workloads.known(), MOST_WORKLOADS);
        assert!(workloads.habit(Some("9")).is_none() && workloads.habit(Some("10")).is_some());
    }
}
