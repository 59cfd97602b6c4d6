//! Nodes, workloads and the pods that they make.

use super::course::Course;
use super::{Shape, Synthetic};
use crate::world::{
    AffinityTerm, Label, Node, Notes, Pod, QosClass, Request, Rules, Scenario, ScenarioError, SeriesId,
    SpreadConstraint, Strength, Taint, TaintEffect, Topology, Usage, UsageSeries, Workload, WorkloadId, ZoneId,
};
use cluster::{Bytes, Cores, DAY_MS, HOUR_MS, MINUTE_MS};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

/// Cores and GiB of the three node sizes; 4 GiB a core, as general-purpose machine types have.
const SIZES: [(u64, u64); 3] = [(8, 32), (16, 64), (32, 128)];
/// Allocatable share of a node: the rest is reserved for system and kubelet.
const ALLOCATABLE: f64 = 0.94;
const ZONES: u16 = 3;
/// Series are shared among workloads above this number, each with its own scale and shift, so that large clusters fit
/// into memory.
const MOST_SERIES: usize = 400;

const GIB: f64 = (1_u64 << 30) as f64;
/// Services get this much of the load, jobs the rest.
const fn service_share(shape: Shape) -> f64 {
    match shape {
        Shape::Bursts => 0.35,
        _ => 0.8,
    }
}

pub(super) fn build(settings: &Synthetic, span_ms: i64) -> Result<Scenario, ScenarioError> {
    let mut fleet = Fleet::new(settings, span_ms);
    fleet.services();
    fleet.jobs();
    let mut notes = Notes::default();
    notes.assume("the cluster is made up: services with daily courses and rollouts, jobs in bursts");
    Scenario {
        name: settings.shape.name().to_owned(),
        origin_ms: 1_735_689_600_000, // 2025-01-01, a midnight
        span_ms,
        usage_step_ms: fleet.step_ms,
        nodes: fleet.nodes,
        pods: fleet.pods,
        workloads: fleet.workloads,
        rules: fleet.rules,
        series: fleet.series,
        notes,
    }
    .checked()
}

struct Fleet<'a> {
    settings: &'a Synthetic,
    span_ms: i64,
    step_ms: i64,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    workloads: Vec<Workload>,
    rules: Vec<Rules>,
    series: Vec<UsageSeries>,
    chance: ChaCha8Rng,
}

impl<'a> Fleet<'a> {
    fn new(settings: &'a Synthetic, span_ms: i64) -> Self {
        let chance = ChaCha8Rng::seed_from_u64(settings.seed);
        let step_ms = if settings.nodes > 500 { 5 * MINUTE_MS } else { MINUTE_MS };
        let nodes = (0..settings.nodes).map(|at| node(settings.shape, at)).collect();
        let mut rules = vec![Rules::default()];
        if settings.shape == Shape::Pools {
            let tolerant = vec!["dedicated".to_owned()];
            rules.push(Rules { node_selector: vec![Label::new("disk", "ssd")], ..Rules::default() });
            rules.push(Rules {
                tolerations: tolerant,
                preferred_labels: vec![(50, Label::new("pool", "dedicated"))],
                ..Rules::default()
            });
            let spread = SpreadConstraint { topology: Topology::Zone, max_skew: 1, hard: true };
            rules.push(Rules { spread: vec![spread], ..Rules::default() });
        }
        Self {
            settings,
            span_ms,
            step_ms,
            nodes,
            pods: Vec::new(),
            workloads: Vec::new(),
            rules,
            series: Vec::new(),
            chance,
        }
    }

    fn total_cpu(&self) -> f64 {
        self.nodes.iter().map(|node| node.cpu.as_f64()).sum()
    }

    /// Around `median`, with `sigma` as the deviation of the logarithm.
    fn around(&mut self, median: f64, sigma: f64) -> f64 {
        LogNormal::new(median.ln(), sigma).map_or(median, |law| law.sample(&mut self.chance))
    }

    fn new_series(&mut self, course: &Course) -> Usage {
        let slots = (self.span_ms / self.step_ms) as usize;
        let made =
            if self.series.len() < MOST_SERIES { course.series(slots, self.step_ms, &mut self.chance) } else { None };
        let (series, shift) = match made {
            Some(series) => {
                self.series.push(series);
                (self.series.len() - 1, 0)
            }
            // Within the hour, so that the peak stays where it was.
            None => (
                self.chance.random_range(0..self.series.len().max(1)),
                self.chance.random_range(0..(HOUR_MS / self.step_ms) as u32),
            ),
        };
        Usage { series: SeriesId(series as u32), shift, cpu_milli: 0.0, memory_bytes: 0.0 }
    }

    /// How much of its requests a workload uses: CPU and memory.
    fn usage_ratio(&mut self) -> (f64, f64) {
        let (cpu, memory): (f64, f64) = match self.settings.shape {
            Shape::Misrequested => (self.around(0.55, 0.9), self.around(0.65, 0.3)),
            Shape::Memory => (self.around(0.4, 0.4), self.around(0.95, 0.25)),
            _ => (self.around(0.6, 0.55), self.around(0.65, 0.25)),
        };
        (cpu.clamp(0.03, 4.0), memory.clamp(0.1, 1.6))
    }

    fn workload(&mut self, name: String) -> WorkloadId {
        let id = WorkloadId(self.workloads.len() as u32);
        let rules = if self.settings.shape == Shape::Pools { self.pool_rules(id) } else { 0 };
        self.workloads.push(Workload { name, rules });
        id
    }

    fn pool_rules(&mut self, own: WorkloadId) -> u32 {
        match self.chance.random_range(0..10) {
            choice @ 1..=3 => choice,
            4 => {
                let apart = AffinityTerm {
                    workload: own,
                    topology: Topology::Node,
                    anti: true,
                    strength: Strength::Preferred(80),
                };
                self.rules.push(Rules { affinity: vec![apart], ..Rules::default() });
                self.rules.len() as u32 - 1
            }
            _ => 0,
        }
    }

    fn services(&mut self) {
        let wanted = self.total_cpu() * self.settings.load * service_share(self.settings.shape);
        let mut requested = 0.0;
        while requested < wanted {
            let name = format!("shop/Deployment/service-{}", self.workloads.len());
            let workload = self.workload(name);
            let cpu = (self.around(0.8, 0.7) * 20.0).round().clamp(1.0, 120.0) * 50.0;
            let per_core = if self.settings.shape == Shape::Memory { 3.2 } else { 3.0 };
            let memory = cpu / 1_000.0 * self.around(per_core, 0.4) * GIB;
            let replicas = (self.around(6.0, 0.7).round() as usize).clamp(2, 60);
            let course = Course::service(&mut self.chance);
            let mut usage = self.new_series(&course);
            let ratio = self.usage_ratio();
            (usage.cpu_milli, usage.memory_bytes) = ((cpu * ratio.0) as f32, (memory * ratio.1) as f32);
            let request = Request::new(Cores::from_millicores(cpu as u64), Bytes::new(memory as u64));
            let priority = if self.chance.random_bool(0.2) { 1_000 } else { 0 };
            self.generations(workload, replicas, request, usage, priority);
            requested += replicas as f64 * cpu / 1_000.0;
        }
    }

    /// A service is there from the start and is rolled out anew about once a day: all its pods are replaced.
    fn generations(&mut self, workload: WorkloadId, replicas: usize, request: Request, usage: Usage, priority: i32) {
        let mut starts = self.chance.random_range(0..15 * MINUTE_MS);
        while starts < self.span_ms {
            let lasts = ((self.around(1.0, 0.6) * DAY_MS as f64) as i64).max(30 * MINUTE_MS);
            for replica in 0..replicas {
                let own = self.chance.random_range(0.85..1.15) as f32;
                let usage = Usage { cpu_milli: usage.cpu_milli * own, ..usage };
                // One replica after the other, a few seconds apart; the new one comes as the old one goes.
                let arrives_ms = starts + replica as i64 * 5_000;
                self.pod(workload, (arrives_ms, lasts), request, usage, priority);
            }
            starts += lasts;
        }
    }

    fn jobs(&mut self) {
        let cores = self.total_cpu() * self.settings.load * (1.0 - service_share(self.settings.shape));
        let wanted = cores * self.span_ms as f64 / HOUR_MS as f64;
        let mut core_hours = 0.0;
        while core_hours < wanted {
            let name = format!("batch/Job/job-{}", self.workloads.len());
            let workload = self.workload(name);
            let cpu = (self.around(1.2, 0.6) * 20.0).round().clamp(1.0, 160.0) * 50.0;
            let memory = cpu / 1_000.0 * self.around(2.5, 0.4) * GIB;
            let course = Course::job(&mut self.chance);
            let mut usage = self.new_series(&course);
            let ratio = self.around(0.9, 0.35).clamp(0.1, 2.0);
            (usage.cpu_milli, usage.memory_bytes) =
                ((cpu * ratio) as f32, (memory * self.chance.random_range(0.4..0.95)) as f32);
            let request = Request::new(Cores::from_millicores(cpu as u64), Bytes::new(memory as u64));
            let parallel = (self.around(8.0, 0.9).round() as usize).clamp(1, 200);
            let repeats = self.chance.random_range(1..4);
            for _ in 0..repeats {
                let start = self.chance.random_range(0..self.span_ms);
                for _ in 0..parallel {
                    let runs = ((self.around(0.6, 0.9) * HOUR_MS as f64) as i64).clamp(MINUTE_MS, 12 * HOUR_MS);
                    let arrives = start + self.chance.random_range(0..20_000);
                    self.pod(workload, (arrives.min(self.span_ms - 1), runs), request, usage, -10);
                    core_hours += cpu / 1_000.0 * runs as f64 / HOUR_MS as f64;
                }
            }
        }
    }

    fn pod(&mut self, workload: WorkloadId, life: (i64, i64), request: Request, usage: Usage, priority: i32) {
        if life.0 >= self.span_ms {
            return;
        }
        let runs_ms = (life.0 + life.1 < self.span_ms).then_some(life.1);
        let name = format!("{}-{}", self.workloads[workload.index()].name, self.pods.len());
        let (arrives_ms, qos) = (life.0, QosClass::Burstable);
        self.pods.push(Pod { name, workload, priority, qos, arrives_ms, runs_ms, request, usage, recorded: None });
    }
}

fn node(shape: Shape, at: usize) -> Node {
    let (cores, gib) = SIZES[at % SIZES.len()];
    let gib = if shape == Shape::Memory { gib * 3 / 4 } else { gib };
    let cpu = Cores::from_millicores((cores as f64 * 1_000.0 * ALLOCATABLE) as u64);
    let mut node = Node::new(format!("node-{at:04}"), cpu, Bytes::new((gib as f64 * GIB * ALLOCATABLE) as u64));
    node.zone = Some(ZoneId((at / SIZES.len()) as u16 % ZONES));
    if shape == Shape::Pools {
        if at.is_multiple_of(4) {
            node.labels.push(Label::new("disk", "ssd"));
        }
        if at % 8 == 1 {
            node.labels.push(Label::new("pool", "dedicated"));
            node.taints.push(Taint { key: "dedicated".into(), effect: TaintEffect::NoSchedule });
        }
        if at % 8 == 6 {
            node.taints.push(Taint { key: "spot".into(), effect: TaintEffect::PreferNoSchedule });
        }
    }
    node
}
