//! Usage and requests of all nodes over all time, for a plan: what a pod more or less on a node costs, in any order.

use super::plan::Stay;
use crate::outcome::CostWeights;
use crate::policy::node_cost;
use crate::world::{NodeId, PodId, Request, Scenario};
use cluster::HOT_UTILIZATION;

/// One node in one usage step.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Millicores used.
    cpu: f32,
    /// Bytes used.
    memory: f32,
    cpu_requested: f32,
    memory_requested: f32,
    /// Thousandths of GPUs.
    gpu_requested: f32,
    pods: f32,
    /// What it costs as it is.
    cost: f64,
}

/// A pod as it is looked at on many nodes: what it requests, and what it uses in each step of its stay.
pub(super) struct Guest {
    span: (u32, u32),
    asked: Cell,
    usage: Vec<(f32, f32)>,
}

/// What cannot be seen in sums of single precision.
const ROUNDING: f32 = 1.0 + 1e-5;

/// The nodes over time. A pod counts in every step that its stay touches.
#[derive(Clone)]
pub(super) struct Board<'a> {
    scenario: &'a Scenario,
    weights: &'a CostWeights,
    /// Worth of evenness: among equals, the lower node.
    even: f64,
    steps: usize,
    /// By node, then step.
    cells: Vec<Cell>,
    /// Cells that were looked at: how much work was done, whatever the machine.
    looked_at: std::cell::Cell<u64>,
    /// First and last step (exclusive) of each pod.
    pub(super) spans: Vec<Option<(u32, u32)>>,
}

impl<'a> Board<'a> {
    /// Without any pod.
    pub fn new(scenario: &'a Scenario, weights: &'a CostWeights, even: f64, stays: &[Option<Stay>]) -> Self {
        let steps = (scenario.span_ms as u64).div_ceil(scenario.usage_step_ms as u64) as usize;
        let mut cells = vec![Cell::default(); steps * scenario.nodes.len()];
        for (node, cells) in scenario.nodes.iter().zip(cells.chunks_mut(steps)) {
            let Some(baseline) = &node.baseline else { continue };
            for (step, cell) in cells.iter_mut().enumerate() {
                let (cpu, memory) = baseline.at(&scenario.series, step as u64);
                (cell.cpu, cell.memory) = (cpu as f32, memory as f32);
                let (cpu, memory) = (cpu / node.cpu.millicores() as f64, memory / node.memory.as_f64());
                cell.cost = node_cost(weights, even, cpu, memory, 0.0);
            }
        }
        let span = |stay: &Stay| {
            let first = (scenario.slot(stay.from_ms) as usize).min(steps);
            let last = (stay.until_ms.max(stay.from_ms + 1) as u64).div_ceil(scenario.usage_step_ms as u64) as usize;
            (first as u32, last.clamp(first, steps) as u32)
        };
        let spans = stays.iter().map(|stay| stay.as_ref().map(span)).collect();
        Self { scenario, weights, even, steps, cells, looked_at: std::cell::Cell::new(0), spans }
    }

    fn range(&self, node: NodeId, span: (u32, u32)) -> std::ops::Range<usize> {
        let start = node.index() * self.steps;
        start + span.0 as usize..start + span.1 as usize
    }

    /// How much work was done so far, in cells that were looked at.
    pub fn work(&self) -> u64 {
        self.looked_at.get()
    }

    /// Sets [`Board::work`].
    pub fn worked(&mut self, work: u64) {
        self.looked_at.set(work);
    }

    /// A pod that has a stay.
    pub fn guest(&self, pod: PodId) -> Option<Guest> {
        let span = self.spans[pod.index()]?;
        let spec = self.scenario.pod(pod);
        let at = |step: u32| {
            let (cpu, memory) = spec.usage.at(&self.scenario.series, u64::from(step));
            (cpu as f32, memory as f32)
        };
        Some(Guest { span, asked: asked(&spec.request), usage: (span.0..span.1).map(at).collect() })
    }

    /// Puts a pod on a node (`sign` 1) or takes it away (−1).
    pub fn change(&mut self, guest: &Guest, node: NodeId, sign: f32) {
        let range = self.range(node, guest.span);
        let cost = self.cost_on(node);
        for (cell, (cpu, memory)) in self.cells[range].iter_mut().zip(&guest.usage) {
            cell.cpu += sign * cpu;
            cell.memory += sign * memory;
            cell.cpu_requested += sign * guest.asked.cpu_requested;
            cell.memory_requested += sign * guest.asked.memory_requested;
            cell.gpu_requested += sign * guest.asked.gpu_requested;
            cell.pods += sign;
            cell.cost = cost(cell.cpu, cell.memory, cell.pods);
        }
    }

    /// What a step of a node costs by the CPU and memory that are used and the pods on it.
    fn cost_on(&self, node: NodeId) -> impl Fn(f32, f32, f32) -> f64 + use<'a> {
        let shape = self.scenario.node(node);
        let (per_cpu, per_memory) = ((shape.cpu.millicores() as f64).recip(), shape.memory.as_f64().recip());
        let (weights, even) = (self.weights, self.even);
        move |cpu, memory, pods| {
            let (cpu, memory) = (f64::from(cpu) * per_cpu, f64::from(memory) * per_memory);
            node_cost(weights, even, cpu, memory, f64::from(pods))
        }
    }

    /// What a pod adds on a node, in the worth of a node-minute times steps; `None` where it does not fit or comes to `enough`.
    pub fn added(&self, guest: &Guest, node: NodeId, enough: f64) -> Option<f64> {
        let shape = self.scenario.node(node);
        let asked = &guest.asked;
        let cpu_room = shape.cpu.millicores() as f32 * ROUNDING - asked.cpu_requested;
        let memory_room = shape.memory.as_f64() as f32 * ROUNDING - asked.memory_requested;
        let gpu_room = 1e3 * f32::from(shape.gpus) - asked.gpu_requested;
        let places = shape.max_pods as f32 - 1.0;
        let cost = self.cost_on(node);
        let (mut sum, mut looked_at) = (0.0, 0);
        let cells = &self.cells[self.range(node, guest.span)];
        let mut is_over = false;
        for (cell, (cpu, memory)) in cells.iter().zip(&guest.usage) {
            looked_at += 1;
            let fits = cell.cpu_requested <= cpu_room
                && cell.memory_requested <= memory_room
                && cell.gpu_requested <= gpu_room
                && cell.pods <= places;
            // Costs only grow with usage, so the sum does not fall again.
            sum += cost(cell.cpu + cpu, cell.memory + memory, cell.pods + 1.0) - cell.cost;
            is_over = !fits || sum >= enough;
            if is_over {
                break;
            }
        }
        self.looked_at.set(self.looked_at.get() + looked_at);
        (!is_over).then_some(sum)
    }

    /// Whether a node costs anything but unevenness at any time of the pod's stay.
    pub fn is_hot(&self, pod: PodId, node: NodeId) -> bool {
        let Some(span) = self.spans[pod.index()] else { return false };
        let shape = self.scenario.node(node);
        let (cpu, memory) = (shape.cpu.millicores() as f32, shape.memory.as_f64() as f32);
        let is_hot = |cell: &Cell| cell.cpu > HOT_UTILIZATION as f32 * cpu || cell.memory > memory;
        self.cells[self.range(node, span)].iter().any(is_hot)
    }
}

fn asked(request: &Request) -> Cell {
    Cell {
        cpu_requested: request.cpu.millicores() as f32,
        memory_requested: request.memory.as_f64() as f32,
        gpu_requested: f32::from(request.gpus) * f32::from(request.gpu_milli),
        ..Cell::default()
    }
}
