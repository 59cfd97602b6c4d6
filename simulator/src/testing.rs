//! Fixtures that read as sentences, for the tests of this crate.

use crate::engine::{EngineSettings, Simulation};
use crate::policy::Policy;
use crate::world::{
    Node, NodeId, Notes, Pod, PodId, QosClass, Request, Rules, Scenario, SeriesId, Usage, UsageSeries, Workload,
    WorkloadId,
};
use cluster::{Bytes, Cores, HOUR_MS, MINUTE_MS};

pub(crate) fn cores(text: &str) -> Cores {
    text.parse().expect("a CPU quantity")
}

pub(crate) fn gib(amount: u64) -> Bytes {
    Bytes::new(amount << 30)
}

pub(crate) fn node(name: &str, cpu: &str, memory_gib: u64) -> Node {
    Node::new(name, cores(cpu), gib(memory_gib))
}

/// A pod that uses exactly what it requests, from the start to the end.
pub(crate) fn pod(name: &str, cpu: &str, memory_gib: u64) -> Pod {
    let request = Request::new(cores(cpu), gib(memory_gib));
    let usage = Usage::constant(SeriesId(0), request.cpu.millicores() as f32, request.memory.as_f64() as f32);
    Pod {
        name: name.to_owned(),
        workload: WorkloadId(0),
        priority: 0,
        qos: QosClass::Burstable,
        arrives_ms: 0,
        runs_ms: None,
        request,
        usage,
        recorded: None,
    }
}

/// Words that change a pod of a fixture.
pub(crate) trait PodWords: Sized {
    fn arrives_at(self, ms: i64) -> Self;
    fn runs_for(self, ms: i64) -> Self;
    fn uses(self, cpu_milli: f32, memory_gib: f32) -> Self;
    fn of(self, workload: u32) -> Self;
    fn with_priority(self, priority: i32) -> Self;
}

impl PodWords for Pod {
    fn arrives_at(mut self, ms: i64) -> Self {
        self.arrives_ms = ms;
        self
    }
    fn runs_for(mut self, ms: i64) -> Self {
        self.runs_ms = Some(ms);
        self
    }
    fn uses(mut self, cpu_milli: f32, memory_gib: f32) -> Self {
        self.usage = Usage::constant(SeriesId(0), cpu_milli, memory_gib * (1_u64 << 30) as f32);
        self
    }
    fn of(mut self, workload: u32) -> Self {
        self.workload = WorkloadId(workload);
        self
    }
    fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}

/// One hour of these nodes and pods, unchecked; workloads without rules, as many as the pods name.
pub(crate) fn scenario(nodes: Vec<Node>, pods: Vec<Pod>) -> Scenario {
    let count = pods.iter().map(|pod| pod.workload.0 + 1).max().unwrap_or(1);
    Scenario {
        name: "fixture".to_owned(),
        origin_ms: 0,
        span_ms: HOUR_MS,
        usage_step_ms: MINUTE_MS,
        nodes,
        pods,
        workloads: (0..count).map(|at| Workload { name: format!("workload-{at}"), rules: 0 }).collect(),
        rules: vec![Rules::default()],
        series: vec![UsageSeries::constant()],
        notes: Notes::default(),
    }
}

/// The scores of `policy` for a pod of `request`: by node, its CPU, memory in GiB, and what is requested of both.
pub(crate) fn scored(policy: &mut dyn Policy, nodes: &[(&str, u64, &str, u64)], request: Request) -> Vec<f64> {
    let shapes = nodes.iter().enumerate().map(|(at, (cpu, memory, ..))| node(&format!("node-{at}"), cpu, *memory));
    // The pods that are there are of workloads of their own, so that nothing spreads.
    let mut pods: Vec<Pod> =
        nodes.iter().enumerate().map(|(at, node)| pod("old", node.2, node.3).of(at as u32 + 1)).collect();
    pods.push(Pod { request, ..pod("new", "1", 1) }.arrives_at(1));
    let scenario = scenario(shapes.collect(), pods).checked().expect("a scenario");
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 1);
    for (at, (_, _, cpu, memory)) in nodes.iter().enumerate() {
        let old = simulation.next_pod().expect("an old pod");
        if (*cpu, *memory) != ("0", 0) {
            simulation.bind(old, NodeId(at as u32));
        }
    }
    let new = simulation.next_pod().expect("the new pod");
    scores_of(policy, &simulation, new, nodes.len())
}

/// The score of `policy` for a node of 4 cores and 16 GiB that has used `cpu_milli` for half an hour, when a pod of
/// `request` has just been bound to it and another one asks.
pub(crate) fn after_telemetry(policy: &mut dyn Policy, cpu_milli: f32, request: Request) -> f64 {
    let mut only = node("node-a", "4", 16);
    only.baseline = Some(Usage::constant(SeriesId(0), cpu_milli, 0.0));
    let late = |name: &str| Pod { request, ..pod(name, "1", 1) }.arrives_at(HOUR_MS / 2 + 5_000).uses(0.0, 0.0);
    let scenario = scenario(vec![only], vec![late("first"), late("second")]).checked().expect("a scenario");
    let mut simulation = Simulation::new(&scenario, EngineSettings::default(), 1);
    let first = simulation.next_pod().expect("the first pod");
    simulation.bind(first, NodeId(0));
    let second = simulation.next_pod().expect("the second pod");
    scores_of(policy, &simulation, second, 1)[0]
}

fn scores_of(policy: &mut dyn Policy, simulation: &Simulation<'_>, pod: PodId, nodes: usize) -> Vec<f64> {
    let candidates: Vec<NodeId> = (0..nodes as u32).map(NodeId).collect();
    let mut scores = vec![0.0; nodes];
    policy.score(&simulation.ask(pod), &simulation.view(), &candidates, &mut scores);
    scores
}
