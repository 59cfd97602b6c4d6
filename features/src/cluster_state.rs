//! The group `cluster_state`: what the placement agent reads of a pod, one candidate node and the cluster.
//!
//! One row per candidate. All values are shares of the candidate's allocatable amounts or of the clock, so that a network
//! that learned on one fleet can read another; none depends on how many candidates there are or in which order.

use crate::catalogue::{AHEAD, CatalogueSink, Feature, RowSink, Sink, Topic};
use serde::{Deserialize, Serialize};
use std::f32::consts::TAU;
use std::sync::LazyLock;

/// Values of a row: as many as there are in the catalogue, which a test holds, since the length of an array has to be known when
/// the program is built.
pub const WIDTH: usize = 38;

const HOT: f32 = cluster::HOT_UTILIZATION as f32;
const TARGET: f32 = cluster::TARGET_UTILIZATION as f32;
/// Memory is not shared: above this the kubelet is near evicting.
const TIGHT_MEMORY: f32 = cluster::VERY_HOT_UTILIZATION as f32;
/// Shares are cut here: beyond it all are equally impossible, and a network should not extrapolate.
const MOST: f32 = 2.0;
/// The group's name.
pub const GROUP: &str = "cluster_state";

/// CPU in cores and memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Cores.
    pub cpu: f32,
    /// Bytes.
    pub memory: f32,
}

/// What is known of the pod that wants a node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PodFacts {
    /// What it requests.
    pub request: Amount,
    /// What it is expected to use on average: by its workload's history, else by its requests.
    pub expected: Amount,
    /// Whether its workload has a history of usage.
    pub known: bool,
    /// Share of the hours of the day at which its workload was seen, 0..1.
    pub hours_known: f32,
    /// Its priority is below that of an ordinary pod.
    pub low_priority: bool,
    /// Hours that pods of its workload live on average; NaN where none has ended yet.
    pub life_hours: f32,
}

/// What is known of a candidate, the pod at hand not counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NodeFacts {
    /// What it gives to pods.
    pub allocatable: Amount,
    /// What its pods request.
    pub requested: Amount,
    /// Utilization of the newest sample; NaN where there is none.
    pub cpu_seen: f32,
    /// The same of memory.
    pub memory_seen: f32,
    /// Mean CPU utilization of 15 minutes; NaN where there is none.
    pub cpu_mean: f32,
    /// Standard deviation of it.
    pub cpu_deviation: f32,
    /// What pods are expected to use that the newest sample does not show yet.
    pub in_flight: Amount,
    /// What its pods are expected to use in each of the next 24 hours, in cores, by their workloads' histories.
    pub hours: [f32; 24],
    /// What its pods are expected to use at most of memory, in bytes.
    pub memory_peak: f32,
    /// Pods on it.
    pub pods: u32,
    /// Pods of the same workload on it.
    pub same_workload: u32,
    /// Whether the pod at hand runs on it already, so that what is seen and requested includes it.
    pub includes_pod: bool,
}

/// What is known of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClusterFacts {
    /// Hour of the day in UTC, 0..24.
    pub hour: f32,
    /// Mean CPU utilization of the nodes, by their newest samples.
    pub cpu_mean: f32,
    /// Standard deviation of it over the nodes.
    pub cpu_deviation: f32,
    /// Mean memory utilization of the nodes.
    pub memory_mean: f32,
    /// Mean requested share of CPU of the nodes.
    pub cpu_requested: f32,
    /// A large request as pods of this cluster make them.
    pub large: Amount,
}

/// What the pod is expected to use in each of the next 24 hours, in cores, and of memory at most, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PodCourse {
    /// Cores by hour from now.
    pub hours: [f32; 24],
    /// Bytes.
    pub memory_peak: f32,
}

static CATALOGUE: LazyLock<Vec<Feature>> = LazyLock::new(|| {
    let (pod, course, cluster) = Default::default();
    let mut sink = CatalogueSink::default();
    Rows::new(&pod, &course, &cluster).emit(&NodeFacts::default(), &mut sink);
    sink.0
});

/// Every feature of the group, in the order of a row.
pub fn all() -> &'static [Feature] {
    &CATALOGUE
}

/// The names, in the order of a row.
pub fn names() -> Vec<String> {
    CATALOGUE.iter().map(|feature| feature.name.clone()).collect()
}

/// The place of a feature in a row.
pub fn index(name: &str) -> Option<usize> {
    CATALOGUE.iter().position(|feature| feature.name == name)
}

/// What is the same in the rows of all candidates of a pod.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pod: &'a PodFacts,
    course: &'a PodCourse,
    cluster: &'a ClusterFacts,
    hour: [f32; 2],
}

impl<'a> Rows<'a> {
    /// For one pod in one cluster.
    pub fn new(pod: &'a PodFacts, course: &'a PodCourse, cluster: &'a ClusterFacts) -> Self {
        let turn = TAU * cluster.hour / 24.0;
        Self { pod, course, cluster, hour: [turn.sin(), turn.cos()] }
    }

    /// The row of one candidate. Missing telemetry is answered with the cluster's mean and a flag, never with "idle".
    pub fn of(&self, node: &NodeFacts) -> [f32; WIDTH] {
        let mut row = [0.0; WIDTH];
        self.emit(node, &mut RowSink::new(&mut row));
        row
    }

    /// Hands each value together with what it is to `sink`.
    fn emit(&self, node: &NodeFacts, sink: &mut impl Sink) {
        self.emit_pod(node, sink);
        self.emit_requests(node, sink);
        self.emit_cpu(node, sink);
        self.emit_course(node, sink);
        self.emit_memory(node, sink);
        let Self { cluster, hour: [hour_sin, hour_cos], .. } = *self;
        sink.put(cut(cluster.cpu_mean), || {
            feature(Topic::Cluster, "cluster_cpu_mean", "ratio", "now", "mean CPU utilization of the nodes")
        });
        sink.put(cut(cluster.cpu_deviation), || {
            feature(
                Topic::Cluster,
                "cluster_cpu_deviation",
                "ratio",
                "now",
                "standard deviation of CPU utilization over the nodes",
            )
        });
        sink.put(hour_sin, || feature(Topic::Calendar, "hour_sin", "ratio", "now", "sine of the hour of the day"));
        sink.put(hour_cos, || feature(Topic::Calendar, "hour_cos", "ratio", "now", "cosine of the hour of the day"));
    }

    /// The pod itself.
    fn emit_pod(&self, node: &NodeFacts, sink: &mut impl Sink) {
        let (pod, (cpu, memory)) = (self.pod, node.size());
        sink.put(cut(pod.request.cpu / cpu), || {
            feature(Topic::Pods, "pod_cpu_request_share", "ratio", "now", "requested CPU of the pod ÷ allocatable")
        });
        sink.put(cut(pod.request.memory / memory), || {
            feature(
                Topic::Pods,
                "pod_memory_request_share",
                "ratio",
                "now",
                "requested memory of the pod ÷ allocatable",
            )
        });
        sink.put(cut(pod.expected.cpu / cpu), || {
            feature(
                Topic::Pods,
                "pod_cpu_expected_share",
                "ratio",
                "history",
                "expected CPU usage of the pod ÷ allocatable",
            )
        });
        sink.put(cut(pod.expected.memory / memory), || {
            feature(
                Topic::Pods,
                "pod_memory_expected_share",
                "ratio",
                "history",
                "expected memory usage of the pod ÷ allocatable",
            )
        });
        sink.put(f32::from(u8::from(pod.known)), || {
            feature(Topic::Pods, "pod_usage_known", "0/1", "history", "usage of the pod's workload was seen before")
        });
        sink.put(pod.hours_known, || {
            feature(
                Topic::Pods,
                "pod_hours_known",
                "ratio",
                "24h",
                "share of the day's hours at which its workload was seen",
            )
        });
        sink.put(f32::from(u8::from(pod.low_priority)), || {
            feature(
                Topic::Pods,
                "pod_low_priority",
                "0/1",
                "now",
                "the pod's priority is below 0, as that of batch work",
            )
        });
        sink.put(f32::from(u8::from(pod.life_hours.is_finite())), || {
            feature(Topic::Pods, "pod_life_known", "0/1", "history", "a pod of the workload has ended before")
        });
        sink.put(or(pod.life_hours / (pod.life_hours + 6.0), 1.0), || {
            feature(
                Topic::Pods,
                "pod_life",
                "ratio",
                "history",
                "mean life of the workload's pods, hours ÷ (hours + 6); 1 where unknown",
            )
        });
    }

    /// Requests on the node with the pod.
    fn emit_requests(&self, node: &NodeFacts, sink: &mut impl Sink) {
        let Self { pod, cluster, .. } = *self;
        let ((cpu, memory), own) = (node.size(), node.own());
        let cpu_requested = (node.requested.cpu + own * pod.request.cpu) / cpu;
        let memory_requested = (node.requested.memory + own * pod.request.memory) / memory;
        let room_after = room(cluster, node, own, pod);
        let room_before = room(cluster, node, own - 1.0, pod);
        sink.put(cut(cpu_requested), || {
            feature(Topic::Pods, "cpu_requested_after", "ratio", "now", "requested share of CPU with the pod")
        });
        sink.put(cut(memory_requested), || {
            feature(Topic::Pods, "memory_requested_after", "ratio", "now", "requested share of memory with the pod")
        });
        sink.put((cpu_requested - memory_requested).abs().min(MOST), || {
            feature(
                Topic::Pods,
                "requests_skew_after",
                "ratio",
                "now",
                "difference of the requested shares of CPU and memory with the pod",
            )
        });
        sink.put(room_after / (room_after + 1.0), || {
            feature(
                Topic::Pods,
                "room_for_large_after",
                "ratio",
                "now",
                "large pods of this cluster that still fit, n ÷ (n + 1)",
            )
        });
        sink.put(((room_before - room_after) / room_before.max(1.0)).clamp(0.0, 1.0), || {
            feature(Topic::Pods, "room_for_large_taken", "ratio", "now", "share of that room which the pod takes away")
        });
        sink.put(node.same_workload as f32 / (node.same_workload as f32 + 3.0), || {
            feature(Topic::Pods, "same_workload_share", "ratio", "now", "pods of the same workload ÷ (these + 3)")
        });
    }

    /// CPU now. Missing telemetry is answered with the cluster's mean.
    fn emit_cpu(&self, node: &NodeFacts, sink: &mut impl Sink) {
        let Self { pod, cluster, .. } = *self;
        let ((cpu, _), own) = (node.size(), node.own());
        let cpu_seen = or(node.cpu_seen, cluster.cpu_mean);
        let cpu_mean = or(node.cpu_mean, cluster.cpu_mean);
        let cpu_after = cpu_seen + (node.in_flight.cpu + own * pod.expected.cpu) / cpu;
        sink.put(f32::from(u8::from(node.cpu_seen.is_finite())), || {
            feature(
                Topic::Cpu,
                "telemetry_known",
                "0/1",
                "now",
                "the node has a sample; else the cluster's mean stands in",
            )
        });
        sink.put(cut(cpu_seen), || {
            feature(Topic::Cpu, "cpu_seen", "ratio", "30s", "CPU utilization of the newest sample")
        });
        sink.put(cut(cpu_mean), || feature(Topic::Cpu, "cpu_mean_15m", "ratio", "15m", "mean CPU utilization"));
        sink.put(cut(or(node.cpu_deviation, 0.0)), || {
            feature(Topic::Cpu, "cpu_deviation_15m", "ratio", "15m", "standard deviation of CPU utilization")
        });
        sink.put(cut(node.in_flight.cpu / cpu), || {
            feature(
                Topic::Cpu,
                "cpu_in_flight",
                "ratio",
                "since sample",
                "expected CPU share of pods that the newest sample does not show",
            )
        });
        sink.put(cut(cpu_after), || {
            feature(Topic::Cpu, "cpu_after", "ratio", "now", "CPU seen, in flight and expected of the pod")
        });
        sink.put(cut(cpu_after - TARGET), || {
            feature(Topic::Cpu, "cpu_after_over_target", "ratio", "now", "cpu_after over 0.65")
        });
        sink.put(cut(cpu_after - HOT), || feature(Topic::Cpu, "cpu_after_hot", "ratio", "now", "cpu_after over 0.8"));
    }

    /// CPU in the day to come.
    fn emit_course(&self, node: &NodeFacts, sink: &mut impl Sink) {
        let ((cpu, _), own) = (node.size(), node.own());
        let day = Day::of(node, self.course, cpu, own);
        sink.put(cut(node.hours[0] / cpu), || {
            feature(
                Topic::Cpu,
                "cpu_course_now",
                "ratio",
                "history",
                "expected CPU share of its pods in this hour, by their workloads",
            )
        });
        sink.put(cut(day.mean), || {
            feature(
                Topic::Cpu,
                "cpu_course_mean_after",
                "ratio",
                "next 24h",
                "mean over the next 24 hours with the pod",
            )
        });
        sink.put(cut(day.peak), || {
            feature(
                Topic::Cpu,
                "cpu_course_peak_after",
                "ratio",
                "next 24h",
                "highest hour of the next 24 with the pod",
            )
        });
        sink.put(day.hot_after, || {
            feature(
                Topic::Cpu,
                "cpu_course_hot_after",
                "ratio",
                "next 24h",
                "share of the next 24 hours over 0.8 with the pod, smoothed",
            )
        });
        sink.put((day.hot_after - day.hot_before).clamp(0.0, 1.0), || {
            feature(Topic::Cpu, "cpu_course_hot_added", "ratio", "next 24h", "what the pod adds to that")
        });
        sink.put(cut(day.over_after), || {
            feature(
                Topic::Cpu,
                "cpu_course_over_after",
                "ratio",
                "next 24h",
                "mean excess over 0.65 in the next 24 hours with the pod",
            )
        });
        sink.put(cut(day.over_after - day.over_before), || {
            feature(Topic::Cpu, "cpu_course_over_added", "ratio", "next 24h", "what the pod adds to that")
        });
    }

    /// Memory now and at most.
    fn emit_memory(&self, node: &NodeFacts, sink: &mut impl Sink) {
        let ((_, memory), own) = (node.size(), node.own());
        let memory_seen = or(node.memory_seen, self.cluster.memory_mean);
        let memory_after = memory_seen + (node.in_flight.memory + own * self.pod.expected.memory) / memory;
        let memory_peak = (node.memory_peak + own * self.course.memory_peak) / memory;
        sink.put(cut(memory_seen), || {
            feature(Topic::Memory, "memory_seen", "ratio", "now", "memory utilization of the newest sample")
        });
        sink.put(cut(memory_after), || {
            feature(Topic::Memory, "memory_after", "ratio", "now", "memory seen, in flight and expected of the pod")
        });
        sink.put(cut(memory_peak), || {
            feature(
                Topic::Memory,
                "memory_peak_after",
                "ratio",
                "history",
                "highest memory seen of each workload, over its pods, with the pod",
            )
        });
        sink.put(cut(memory_after.max(memory_peak) - TIGHT_MEMORY), || {
            feature(
                Topic::Memory,
                "memory_tight_after",
                "ratio",
                "history",
                "the larger of memory_after and memory_peak_after, over 0.9",
            )
        });
    }
}

impl NodeFacts {
    /// Cores and bytes that shares are taken of.
    fn size(&self) -> (f32, f32) {
        (self.allocatable.cpu.max(1e-3), self.allocatable.memory.max(1.0))
    }

    /// What comes on top of what is there, in pods: none when the pod at hand runs there already.
    fn own(&self) -> f32 {
        if self.includes_pod { 0.0 } else { 1.0 }
    }
}

fn or(value: f32, other: f32) -> f32 {
    if value.is_finite() { value } else { other }
}

fn cut(share: f32) -> f32 {
    share.clamp(0.0, MOST)
}

/// An entry of the catalogue.
fn feature(topic: Topic, name: &str, unit: &'static str, window: &str, formula: &str) -> Feature {
    let feature = Feature::new(topic, name, unit, window, formula);
    let knowable = if topic == Topic::Calendar { AHEAD } else { "at the decision, from samples that have arrived" };
    Feature { group: GROUP, knowable, ..feature }
}

/// How many large pods fit beside `own` times the pod.
fn room(cluster: &ClusterFacts, node: &NodeFacts, own: f32, pod: &PodFacts) -> f32 {
    let share = |free: f32, asked: f32| if asked > 0.0 { (free / asked).max(0.0).floor() } else { 1e3 };
    let cpu = share(node.allocatable.cpu - node.requested.cpu - own * pod.request.cpu, cluster.large.cpu);
    let memory =
        share(node.allocatable.memory - node.requested.memory - own * pod.request.memory, cluster.large.memory);
    cpu.min(memory)
}

/// The next day of a node without and with the pod.
#[derive(Debug, Clone, Copy, Default)]
struct Day {
    mean: f32,
    peak: f32,
    hot_before: f32,
    hot_after: f32,
    over_before: f32,
    over_after: f32,
}

/// Hours that are looked at side by side.
const LANES: usize = 8;

impl Day {
    fn of(node: &NodeFacts, course: &PodCourse, cpu: f32, own: f32) -> Self {
        // An hour counts as hot from none at 0.7 to fully at 0.9: what is expected is not what comes.
        let hot = |share: f32| ((share - 0.7) * 5.0).clamp(0.0, 1.0);
        let over = |share: f32| (share - TARGET).max(0.0);
        // The pod at hand runs there already: what is there is with it.
        let (added, taken) = if own > 0.0 { (1.0, 0.0) } else { (0.0, 1.0) };
        let per_core = 1.0 / cpu;
        let [mut mean, mut peak] = [[0.0_f32; LANES]; 2];
        let [mut hot_before, mut hot_after, mut over_before, mut over_after] = [[0.0_f32; LANES]; 4];
        for (loads, pods) in node.hours.chunks_exact(LANES).zip(course.hours.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let with = (loads[lane] + added * pods[lane]) * per_core;
                let without = (loads[lane] - taken * pods[lane]).max(0.0) * per_core;
                mean[lane] += with;
                peak[lane] = peak[lane].max(with);
                hot_before[lane] += hot(without);
                hot_after[lane] += hot(with);
                over_before[lane] += over(without);
                over_after[lane] += over(with);
            }
        }
        let mean_of = |lanes: [f32; LANES]| lanes.iter().sum::<f32>() / 24.0;
        Self {
            mean: mean_of(mean),
            peak: peak.into_iter().fold(0.0, f32::max),
            hot_before: mean_of(hot_before),
            hot_after: mean_of(hot_after),
            over_before: mean_of(over_before),
            over_after: mean_of(over_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const GIB: f32 = (1_u64 << 30) as f32;

    fn four_cores() -> NodeFacts {
        NodeFacts {
            allocatable: Amount { cpu: 4.0, memory: 16.0 * GIB },
            requested: Amount { cpu: 1.0, memory: 4.0 * GIB },
            cpu_seen: 0.5,
            memory_seen: 0.25,
            cpu_mean: 0.4,
            cpu_deviation: 0.1,
            in_flight: Amount { cpu: 0.4, memory: 0.0 },
            hours: [2.0; 24],
            pods: 3,
            ..NodeFacts::default()
        }
    }

    fn one_core() -> PodFacts {
        PodFacts {
            request: Amount { cpu: 1.0, memory: 2.0 * GIB },
            expected: Amount { cpu: 0.6, memory: GIB },
            known: true,
            life_hours: 6.0,
            ..PodFacts::default()
        }
    }

    fn value(row: &[f32], name: &str) -> f32 {
        row[index(name).expect(name)]
    }

    #[test]
    fn a_row_by_hand() {
        let mut course = PodCourse { hours: [0.4; 24], memory_peak: GIB };
        course.hours[3] = 1.4; // 3.4 of 4 cores in that hour: 85 %
        let cluster = ClusterFacts { hour: 6.0, large: Amount { cpu: 1.0, memory: GIB }, ..ClusterFacts::default() };
        let row = Rows::new(&one_core(), &course, &cluster).of(&four_cores());
        for (name, expected) in [
            ("cpu_requested_after", 0.5),
            ("cpu_after", 0.5 + 0.1 + 0.15),
            ("cpu_after_over_target", 0.1),
            ("cpu_course_peak_after", 0.85),
            ("cpu_course_hot_added", 0.75 / 24.0),
            ("pod_life", 0.5),
            ("room_for_large_after", 2.0 / 3.0),
            ("room_for_large_taken", 1.0 / 3.0),
            ("memory_after", 0.25 + 1.0 / 16.0),
            ("hour_sin", 1.0),
        ] {
            assert!((value(&row, name) - expected).abs() < 1e-5, "{name}: {} and not {expected}", value(&row, name));
        }
    }

    #[test]
    fn a_silent_node_is_average_and_says_so() {
        let silent = NodeFacts { cpu_seen: f32::NAN, memory_seen: f32::NAN, cpu_mean: f32::NAN, ..four_cores() };
        let cluster = ClusterFacts { cpu_mean: 0.3, memory_mean: 0.2, ..ClusterFacts::default() };
        let row = Rows::new(&one_core(), &PodCourse::default(), &cluster).of(&silent);
        assert_eq!((value(&row, "telemetry_known"), value(&row, "cpu_seen")), (0.0, 0.3));
        assert!(row.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn names_are_unique_and_described() {
        let names: HashSet<&str> = all().iter().map(|feature| feature.name.as_str()).collect();
        assert_eq!((names.len(), all().len()), (WIDTH, WIDTH));
        assert!(all().iter().all(|feature| feature.formula.len() > 10 && feature.group == GROUP));
    }

    proptest! {
        #[test]
        fn rows_are_finite_and_bounded_whatever_comes(
            cpu in 0.0_f32..256.0, requested in 0.0_f32..512.0, seen in -1.0_f32..3.0, load in 0.0_f32..500.0,
            pod_cpu in 0.0_f32..100.0, memory in 0.0_f32..1e13, life in prop::option::of(0.0_f32..1e4), there: bool,
        ) {
            let node = NodeFacts {
                allocatable: Amount { cpu, memory },
                requested: Amount { cpu: requested, memory: requested * 1e9 },
                cpu_seen: if seen < 0.0 { f32::NAN } else { seen },
                hours: [load; 24],
                includes_pod: there,
                ..NodeFacts::default()
            };
            let pod = PodFacts {
                request: Amount { cpu: pod_cpu, memory: pod_cpu * 4e9 },
                life_hours: life.unwrap_or(f32::NAN),
                ..PodFacts::default()
            };
            let course = PodCourse { hours: [pod_cpu; 24], memory_peak: 1e9 };
            let row = Rows::new(&pod, &course, &ClusterFacts::default()).of(&node);
            prop_assert!(row.iter().all(|value| value.is_finite() && value.abs() <= MOST), "{row:?}");
        }
    }
}
