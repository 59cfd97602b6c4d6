//! One scenario from two sources: shapes, arrivals and requests of openb, usage of another trace.

use super::InputError;
use super::openb::{OpenbPod, OpenbTrace};
use super::usage_sets::{DAY_SLOTS, MachineUsage, STEP_S, UsageLibrary};
use crate::world::{
    Label, Node, NodeId, Pod, QosClass, Request, Rules, Scenario, SeriesId, Usage, UsageSeries, Workload, WorkloadId,
};
use clap::ValueEnum;
use cluster::{DAY_MS, MINUTE_MS};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use runtime::WrongUse;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How long pods live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodLives {
    /// To the end: the cluster fills, as in the published placement experiments on this trace
    Stay,
    /// As in the trace; the load is low
    Trace,
}

/// How the sources are put together; see docs/adr for the reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct CombineSettings {
    /// Length in days; the whole trace of arrivals is squeezed into it.
    pub days: f64,
    /// Decides which machine's usage a workload gets, and from which day.
    pub seed: u64,
    /// How long pods live.
    pub lives: PodLives,
    /// Mean CPU usage over all workloads, as a share of their requests.
    pub cpu_ratio: f64,
    /// The same of memory.
    pub memory_ratio: f64,
    /// Share of the nodes and of the pods that are taken, evenly over their lists.
    pub share: f64,
}

/// With `PodLives::Stay` the last pod comes after this share of the time, so that the full cluster is seen as well.
const ARRIVALS_END: f64 = 0.6;
/// A pod's CPU may go up to this multiple of its request: a usual limit.
const CPU_LIMIT: f32 = 2.0;
/// And its memory up to this one.
const MEMORY_LIMIT: f32 = 1.2;

/// Puts a trace and a usage library together.
///
/// # Errors
/// [`WrongUse`] for a setting out of range; [`crate::world::ScenarioError`] when nothing is left.
pub fn combine(trace: &OpenbTrace, library: &UsageLibrary, settings: &CombineSettings) -> Result<Scenario, InputError> {
    check(settings)?;
    let span_ms = ((settings.days * DAY_MS as f64) as i64 / (5 * MINUTE_MS)).max(1) * 5 * MINUTE_MS;
    let nodes: Vec<Node> = taken(trace.nodes.len(), settings.share)
        .map(|at| {
            let node = &trace.nodes[at];
            let mut made = Node::new(node.name.clone(), node.shape.cpu, node.shape.memory);
            made.gpus = node.shape.gpus;
            if !node.model.is_empty() {
                made.labels.push(Label::new("gpu-model", node.model.clone()));
            }
            made
        })
        .collect();
    let mut workloads = Workloads::new(library, settings, (span_ms / (STEP_S * 1_000)) as usize);
    let last = trace.pods.iter().map(|pod| pod.created_s).max().unwrap_or(0).max(1);
    let room = match settings.lives {
        PodLives::Stay => (span_ms as f64 * ARRIVALS_END) as i64,
        PodLives::Trace => span_ms - 1,
    };
    let mut pods = Vec::new();
    for at in taken(trace.pods.len(), settings.share) {
        let pod = &trace.pods[at];
        let arrives_ms = (pod.created_s as f64 / last as f64 * room as f64) as i64;
        let runs_ms = match settings.lives {
            PodLives::Stay => None,
            PodLives::Trace => Some((pod.deleted_s - pod.created_s).max(1) * 1_000),
        };
        let (workload, usage) = workloads.of(pod);
        let priority = if pod.qos == "BE" { 0 } else { 1_000 };
        let (name, request, qos) = (pod.name.clone(), pod.request, qos(pod));
        pods.push(Pod { name, workload, priority, qos, arrives_ms, runs_ms, request, usage, recorded: None::<NodeId> });
    }
    let mut notes = trace.notes.clone();
    for sentence in assumptions(settings, library) {
        notes.assume(sentence);
    }
    notes.count("machines left out of the usage set", library.dropped);
    notes.count("missing values of the usage set that hold the one before", library.filled);
    let scenario = Scenario {
        name: "openb".to_owned(),
        origin_ms: 1_735_689_600_000, // 2025-01-01, a midnight; the trace does not say when it was taken
        span_ms,
        usage_step_ms: STEP_S * 1_000,
        nodes,
        pods,
        workloads: workloads.list,
        rules: workloads.rules,
        series: workloads.series,
        notes,
    };
    Ok(scenario.checked()?)
}

fn check(settings: &CombineSettings) -> Result<(), WrongUse> {
    if !(settings.days >= 1.0 / 24.0 && settings.days <= 366.0) {
        return Err(WrongUse(format!("--days is {}, want 0.05 to 366", settings.days)));
    }
    for (name, value) in [("--cpu-ratio", settings.cpu_ratio), ("--memory-ratio", settings.memory_ratio)] {
        if !(value > 0.0 && value <= 3.0) {
            return Err(WrongUse(format!("{name} is {value}, want more than 0 and at most 3")));
        }
    }
    if !(settings.share > 0.0 && settings.share <= 1.0) {
        return Err(WrongUse(format!("--share is {}, want more than 0 and at most 1", settings.share)));
    }
    Ok(())
}

/// What is said beside every figure.
fn assumptions(settings: &CombineSettings, library: &UsageLibrary) -> Vec<String> {
    let set = match library.set {
        super::UsageSet::Bitbrains => "Bitbrains",
        super::UsageSet::Planetlab => "PlanetLab",
    };
    let lives = match settings.lives {
        PodLives::Stay => {
            "pods stay to the end, as in the published experiments on openb; the last comes after 60 % of the time"
        }
        PodLives::Trace => "pods live as long as in openb, while arrivals are squeezed, so more of them meet",
    };
    let memory = match library.set {
        super::UsageSet::Bitbrains => "memory follows the same machine",
        super::UsageSet::Planetlab => "memory is constant, since the set has none",
    };
    vec![
        "nodes, requests, GPUs and the order of arrivals are openb's; it has no usage".to_owned(),
        format!("the 149 days of arrivals are squeezed into {} days; {lives}", settings.days),
        "pods that request the same, in the same class, are one workload, since openb names none".to_owned(),
        format!("each workload uses CPU like one {set} machine, from a random day on; {memory}"),
        format!(
            "one factor scales all machines so that workloads use {:.0} % of requested CPU and {:.0} % of requested memory on average; a pod stays below {CPU_LIMIT} × its CPU and {MEMORY_LIMIT} × its memory request",
            100.0 * settings.cpu_ratio,
            100.0 * settings.memory_ratio
        ),
        "each pod differs from its workload by up to 20 %".to_owned(),
    ]
}

/// `share` of `count` places, evenly spread.
fn taken(count: usize, share: f64) -> impl Iterator<Item = usize> {
    let wanted = ((count as f64 * share).round() as usize).clamp(1.min(count), count);
    (0..wanted).map(move |at| at * count / wanted.max(1))
}

fn qos(pod: &OpenbPod) -> QosClass {
    match pod.qos.as_str() {
        _ if pod.request == Request::default() => QosClass::BestEffort,
        "Guaranteed" => QosClass::Guaranteed,
        _ => QosClass::Burstable,
    }
}

/// Workloads as they show up, each with its machine.
struct Workloads<'a> {
    library: &'a UsageLibrary,
    slots: usize,
    /// Scales a machine's share to a share of the request: CPU and memory.
    scale: (f32, f32),
    chance: ChaCha8Rng,
    known: HashMap<(Request, String, String), (WorkloadId, Usage)>,
    list: Vec<Workload>,
    rules: Vec<Rules>,
    series: Vec<UsageSeries>,
}

impl<'a> Workloads<'a> {
    fn new(library: &'a UsageLibrary, settings: &CombineSettings, slots: usize) -> Self {
        let mean = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        let over = |part: fn(&MachineUsage) -> &Vec<f32>| {
            let means: Vec<f64> = library
                .machines
                .iter()
                .map(part)
                .filter(|values| !values.is_empty())
                .map(|values| mean(values))
                .collect();
            if means.is_empty() { 1.0 } else { means.iter().sum::<f64>() / means.len() as f64 }
        };
        let cpu = settings.cpu_ratio / over(|machine| &machine.cpu).max(1e-6);
        let memory = settings.memory_ratio / over(|machine| &machine.memory).max(1e-6);
        Self {
            library,
            slots,
            scale: (cpu as f32, memory as f32),
            chance: ChaCha8Rng::seed_from_u64(settings.seed),
            known: HashMap::new(),
            list: Vec::new(),
            rules: vec![Rules::default()],
            series: Vec::new(),
        }
    }

    fn of(&mut self, pod: &OpenbPod) -> (WorkloadId, Usage) {
        let key = (pod.request, pod.qos.clone(), pod.model.clone());
        let (workload, usage) = match self.known.get(&key) {
            Some(known) => *known,
            None => {
                let made = self.make(pod);
                self.known.insert(key, made);
                made
            }
        };
        let own = self.chance.random_range(0.8..1.2_f32);
        (workload, Usage { cpu_milli: usage.cpu_milli * own, ..usage })
    }

    fn make(&mut self, pod: &OpenbPod) -> (WorkloadId, Usage) {
        let machine = &self.library.machines[self.chance.random_range(0..self.library.machines.len())];
        let days = (machine.cpu.len() / DAY_SLOTS).max(1);
        let start = self.chance.random_range(0..days) * DAY_SLOTS;
        let window = |values: &[f32], scale: f32, limit: f32| -> Vec<f32> {
            if values.is_empty() {
                return vec![scale.min(limit); self.slots];
            }
            (0..self.slots).map(|slot| (values[(start + slot) % values.len()] * scale).min(limit)).collect()
        };
        let cpu = window(&machine.cpu, self.scale.0, CPU_LIMIT);
        let memory = window(&machine.memory, self.scale.1, MEMORY_LIMIT);
        // The values of a library are shares of at least 0, so this is a series.
        if let Some(series) = UsageSeries::new(cpu, memory) {
            self.series.push(series);
        } else {
            self.series.push(UsageSeries::constant());
        }
        let rules = if pod.model.is_empty() {
            0
        } else {
            let selector = vec![Label::new("gpu-model", pod.model.clone())];
            self.rules.push(Rules { node_selector: selector, ..Rules::default() });
            self.rules.len() as u32 - 1
        };
        let id = WorkloadId(self.list.len() as u32);
        let Request { cpu, memory, gpus, gpu_milli } = pod.request;
        let name = format!("openb/{}/{cpu}-{memory}-{gpus}x{gpu_milli}", pod.qos);
        self.list.push(Workload { name, rules });
        let usage = Usage {
            series: SeriesId(self.series.len() as u32 - 1),
            shift: 0,
            cpu_milli: cpu.millicores() as f32,
            memory_bytes: memory.as_f64() as f32,
        };
        (id, usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{OpenbNode, UsageSet};
    use crate::testing::{cores, gib};

    fn trace() -> OpenbTrace {
        let shape = Request { gpus: 2, gpu_milli: 1_000, ..Request::new(cores("64"), gib(256)) };
        let node = |at: usize| OpenbNode { name: format!("n{at}"), shape, model: "T4".into() };
        let pod = |at: i64| OpenbPod {
            name: format!("p{at}"),
            request: Request::new(cores(if at % 2 == 0 { "4" } else { "8" }), gib(16)),
            model: String::new(),
            qos: "LS".into(),
            created_s: at * 1_000,
            deleted_s: at * 1_000 + 60,
        };
        OpenbTrace { nodes: (0..10).map(node).collect(), pods: (0..40).map(pod).collect(), notes: Default::default() }
    }

    fn library() -> UsageLibrary {
        let machine = |share: f32| MachineUsage { cpu: vec![share; 576], memory: Vec::new() };
        UsageLibrary { set: UsageSet::Planetlab, machines: vec![machine(0.1), machine(0.3)], dropped: 1, filled: 0 }
    }

    fn settings() -> CombineSettings {
        CombineSettings { days: 1.0, seed: 1, lives: PodLives::Stay, cpu_ratio: 0.5, memory_ratio: 0.7, share: 0.5 }
    }

    #[test]
    fn shapes_come_from_one_source_and_usage_from_the_other() {
        let scenario = combine(&trace(), &library(), &settings()).expect("a scenario");
        assert_eq!((scenario.nodes.len(), scenario.pods.len(), scenario.workloads.len()), (5, 20, 1));
        assert_eq!(scenario.nodes[0].labels, [Label::new("gpu-model", "T4")]);
        assert!(scenario.pods.iter().all(|pod| pod.runs_ms.is_none() && pod.arrives_ms <= DAY_MS * 6 / 10));
        // Machines of 10 % and 30 % are scaled by 2.5, so a workload uses a quarter or three quarters of its requests.
        let level = scenario.series[0].cpu[0];
        assert!((level - 0.25).abs() < 1e-6 || (level - 0.75).abs() < 1e-6, "{level}");
        assert_eq!(scenario.notes.counts["machines left out of the usage set"], 1);
        let lives = combine(&trace(), &library(), &CombineSettings { lives: PodLives::Trace, ..settings() });
        assert!(lives.expect("a scenario").pods.iter().all(|pod| pod.runs_ms == Some(60_000)));
    }

    #[test]
    fn usage_stays_below_the_limits() {
        let hot = CombineSettings { cpu_ratio: 3.0, memory_ratio: 3.0, ..settings() };
        let scenario = combine(&trace(), &library(), &hot).expect("a scenario");
        assert!(scenario.series.iter().all(|series| series.cpu.iter().all(|value| *value <= CPU_LIMIT)));
        assert!(scenario.series.iter().all(|series| series.memory.iter().all(|value| *value <= MEMORY_LIMIT)));
        let error = combine(&trace(), &library(), &CombineSettings { share: 0.0, ..settings() }).expect_err("no share");
        assert!(error.to_string().contains("--share is 0"), "{error}");
    }
}
