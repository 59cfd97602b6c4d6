//! What a decision looks like: rows of the group `cluster_state` from what a policy may see.

use crate::engine::{Ask, View};
use crate::world::{NodeId, PodId, Request, WorkloadId};
use cluster::{HOUR_MS, MINUTE_MS};
use features::cluster_state::{Amount, ClusterFacts, NodeFacts, PodCourse, PodFacts, Rows, WIDTH};
use features::habit::{Expected, HOURS};

/// The expected course of a node is worked out anew when its pods change, and at least this often.
const COURSE_MS: i64 = 10 * MINUTE_MS;
/// The cluster's means are worked out anew this often: as often as samples arrive.
const CLUSTER_MS: i64 = 30_000;
/// A large request is the 90th percentile of what was asked for; it moves by this share of itself with every pod.
const LARGE_STEP: f32 = 0.02;

/// Builds rows. It keeps what is costly to work out, and the requests of the pods that have asked so far.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    courses: Vec<Course>,
    cluster: ClusterFacts,
    cluster_at: Option<i64>,
    large: Amount,
}

#[derive(Debug, Clone, Copy, Default)]
struct Course {
    at_ms: i64,
    pods: usize,
    last: u32,
    known: bool,
    hours: [f32; HOURS],
    memory_peak: f32,
}

/// What a pod of a workload is expected to use.
pub(crate) fn expected(view: &View<'_>, workload: WorkloadId, request: &Request) -> Expected {
    Expected::of(view.habit(workload), amount(request), view.usage_of_requests())
}

/// What the pod at hand is expected to use.
pub(crate) fn expected_usage(view: &View<'_>, ask: &Ask<'_>) -> Amount {
    expected(view, ask.workload, &ask.request).amount
}

fn amount(request: &Request) -> Amount {
    Amount { cpu: request.cpu.millicores() as f32 / 1e3, memory: request.memory.as_f64() as f32 }
}

impl Observer {
    /// Appends the rows of `candidates` to `rows`, in their order, and tells what is known of `each`.
    pub fn observe(
        &mut self,
        ask: &Ask<'_>,
        view: &View<'_>,
        candidates: &[NodeId],
        rows: &mut Vec<f32>,
        each: impl FnMut(&NodeFacts),
    ) {
        self.large = larger(self.large, amount(&ask.request));
        self.look(ask, view, candidates, None, rows, each);
    }

    /// The rows of `candidates` if what is known of each node were what `changed` makes of it.
    pub(super) fn observe_changed(
        &mut self,
        ask: &Ask<'_>,
        view: &View<'_>,
        candidates: &[NodeId],
        rows: &mut Vec<f32>,
        changed: impl Fn(NodeFacts) -> NodeFacts,
    ) {
        let ((pod, course), cluster) = (pod_facts(ask, view), self.cluster);
        let of_pod = Rows::new(&pod, &course, &cluster);
        for node in candidates {
            rows.extend_from_slice(&of_pod.of(&changed(self.node(ask, view, *node))));
        }
    }

    /// The rows as they would be now, if the pod came again; on `there` it runs already.
    pub fn revisit(
        &mut self,
        pod: PodId,
        there: Option<NodeId>,
        view: &View<'_>,
        nodes: &[NodeId],
        rows: &mut Vec<f32>,
    ) {
        self.look(&view.ask_of(pod), view, nodes, there, rows, |_| ());
    }

    fn look(
        &mut self,
        ask: &Ask<'_>,
        view: &View<'_>,
        nodes: &[NodeId],
        there: Option<NodeId>,
        rows: &mut Vec<f32>,
        mut each: impl FnMut(&NodeFacts),
    ) {
        self.refresh_cluster(view);
        let ((pod, course), cluster) = (pod_facts(ask, view), self.cluster);
        let of_pod = Rows::new(&pod, &course, &cluster);
        for node in nodes {
            let facts = NodeFacts { includes_pod: there == Some(*node), ..self.node(ask, view, *node) };
            rows.extend_from_slice(&of_pod.of(&facts));
            each(&facts);
        }
    }

    /// What is known of a node, the expected course of its pods included.
    pub(crate) fn node(&mut self, ask: &Ask<'_>, view: &View<'_>, node: NodeId) -> NodeFacts {
        let account = view.account(node);
        let course = self.course(view, node);
        let seen = view.seen(node);
        let mut in_flight = Amount::default();
        for entry in view.bound_since(node, seen.map_or(i64::MIN, |seen| seen.at_ms)) {
            let pod = expected(view, view.workload_of(entry.pod), &entry.request).amount;
            in_flight = Amount { cpu: in_flight.cpu + pod.cpu, memory: in_flight.memory + pod.memory };
        }
        NodeFacts {
            allocatable: Amount { cpu: account.cpu as f32 / 1e3, memory: account.memory as f32 },
            requested: Amount { cpu: account.cpu_requested as f32 / 1e3, memory: account.memory_requested as f32 },
            cpu_seen: seen.map_or(f32::NAN, |seen| seen.cpu as f32),
            memory_seen: seen.map_or(f32::NAN, |seen| seen.memory as f32),
            cpu_mean: seen.map_or(f32::NAN, |seen| seen.cpu_mean() as f32),
            cpu_deviation: seen.map_or(0.0, |seen| seen.cpu_deviation() as f32),
            in_flight,
            hours: course.hours,
            memory_peak: course.memory_peak,
            pods: account.pods,
            same_workload: view.presence(ask.workload).on(node),
            includes_pod: false,
        }
    }

    fn course(&mut self, view: &View<'_>, node: NodeId) -> Course {
        if self.courses.len() != view.node_count() {
            self.courses = vec![Course::default(); view.node_count()];
        }
        let (pods, now) = (view.pods_on(node), view.now_ms());
        let last = pods.last().map_or(u32::MAX, |pod| pod.0);
        let kept = self.courses[node.index()];
        if kept.known && kept.pods == pods.len() && kept.last == last && now - kept.at_ms < COURSE_MS {
            return kept;
        }
        let mut course = Course { at_ms: now, pods: pods.len(), last, known: true, ..Course::default() };
        for pod in pods {
            let of_pod = pod_course(view, view.workload_of(*pod), &view.request_of(*pod));
            course.hours.iter_mut().zip(&of_pod.hours).for_each(|(sum, hour)| *sum += hour);
            course.memory_peak += of_pod.memory_peak;
        }
        self.courses[node.index()] = course;
        course
    }

    fn refresh_cluster(&mut self, view: &View<'_>) {
        let now = view.now_ms();
        self.cluster.large = self.large;
        self.cluster.hour = (view.utc_ms().rem_euclid(24 * HOUR_MS) as f64 / HOUR_MS as f64) as f32;
        if self.cluster_at.is_some_and(|at| now - at < CLUSTER_MS) {
            return;
        }
        self.cluster_at = Some(now);
        let (mut seen, mut cpu, mut squares, mut memory, mut ready, mut requested) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for node in (0..view.node_count()).map(|at| NodeId(at as u32)) {
            let account = view.account(node);
            if !account.ready {
                continue;
            }
            ready += 1.0;
            requested += account.cpu_requested as f64 / account.cpu as f64;
            if let Some(sample) = view.seen(node) {
                seen += 1.0;
                cpu += sample.cpu;
                squares += sample.cpu * sample.cpu;
                memory += sample.memory;
            }
        }
        let mean = |sum: f64, count: f64| if count > 0.0 { (sum / count) as f32 } else { 0.0 };
        self.cluster.cpu_mean = mean(cpu, seen);
        self.cluster.memory_mean = mean(memory, seen);
        self.cluster.cpu_requested = mean(requested, ready);
        let spread = mean(squares, seen) - self.cluster.cpu_mean * self.cluster.cpu_mean;
        self.cluster.cpu_deviation = spread.max(0.0).sqrt();
    }
}

/// Follows the 90th percentile: up by nine parts when a pod asks for more, down by one when it asks for less.
fn larger(large: Amount, asked: Amount) -> Amount {
    let step = |large: f32, asked: f32| {
        if large == 0.0 {
            asked
        } else if asked > large {
            large * (1.0 + 0.9 * LARGE_STEP)
        } else {
            large * (1.0 - 0.1 * LARGE_STEP)
        }
    };
    Amount { cpu: step(large.cpu, asked.cpu), memory: step(large.memory, asked.memory) }
}

fn pod_facts(ask: &Ask<'_>, view: &View<'_>) -> (PodFacts, PodCourse) {
    let (expected, habit) = (expected(view, ask.workload, &ask.request), view.habit(ask.workload));
    (expected.facts(habit, amount(&ask.request), ask.priority < 0), expected.course(habit, hour_of(view)))
}

fn pod_course(view: &View<'_>, workload: WorkloadId, request: &Request) -> PodCourse {
    expected(view, workload, request).course(view.habit(workload), hour_of(view))
}

fn hour_of(view: &View<'_>) -> usize {
    (view.now_ms() / HOUR_MS) as usize
}

/// Values of a row, for buffers.
pub(crate) const ROW: usize = WIDTH;
