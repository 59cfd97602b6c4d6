//! What is measured of the nodes, and when it is known.

use super::habits::WorkloadSample;
use std::collections::VecDeque;

/// Trimaran's load watcher averages over 15 minutes (`pkg/watcher`, `FifteenMinutes`).
const WINDOW_MS: i64 = 15 * 60_000;

/// What is known of a node's usage: the newest sample that has arrived, and the 15 minutes up to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// When the newest sample was taken, in ms from the start.
    pub at_ms: i64,
    /// CPU utilization of the newest sample: mean since the sample before it.
    pub cpu: f64,
    /// Memory utilization at the newest sample.
    pub memory: f64,
    samples: u32,
    next: u32,
    cpu_sum: f64,
    cpu_squares: f64,
    memory_sum: f64,
    memory_squares: f64,
}

const NOTHING: Seen = Seen {
    at_ms: i64::MIN,
    cpu: 0.0,
    memory: 0.0,
    samples: 0,
    next: 0,
    cpu_sum: 0.0,
    cpu_squares: 0.0,
    memory_sum: 0.0,
    memory_squares: 0.0,
};

impl Seen {
    /// Mean CPU utilization of the window.
    pub fn cpu_mean(&self) -> f64 {
        self.cpu_sum / f64::from(self.samples)
    }

    /// Mean memory utilization of the window.
    pub fn memory_mean(&self) -> f64 {
        self.memory_sum / f64::from(self.samples)
    }

    /// Standard deviation (population) of the CPU utilization in the window.
    pub fn cpu_deviation(&self) -> f64 {
        deviation(self.cpu_sum, self.cpu_squares, self.samples)
    }

    /// Standard deviation (population) of the memory utilization in the window.
    pub fn memory_deviation(&self) -> f64 {
        deviation(self.memory_sum, self.memory_squares, self.samples)
    }
}

fn deviation(sum: f64, squares: f64, count: u32) -> f64 {
    let mean = sum / f64::from(count);
    // Rounding may leave a hair below zero.
    (squares / f64::from(count) - mean * mean).max(0.0).sqrt()
}

/// One scrape on its way: utilization of CPU and memory by node; NaN where a node gave none.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrape {
    pub at_ms: i64,
    pub values: Vec<(f32, f32)>,
    /// Mean usage of the pods of each workload; empty where nobody wants it.
    pub workloads: Vec<WorkloadSample>,
}

#[derive(Debug, Clone)]
pub(super) struct Telemetry {
    pub step_ms: i64,
    pub delay_ms: i64,
    window: usize,
    under_way: VecDeque<Scrape>,
    spare: Vec<Scrape>,
    seen: Vec<Seen>,
    ring: Vec<(f32, f32)>,
}

impl Telemetry {
    pub fn new(nodes: usize, step_ms: i64, delay_ms: i64) -> Self {
        let window = (WINDOW_MS / step_ms).max(1) as usize;
        Self {
            step_ms,
            delay_ms,
            window,
            under_way: VecDeque::new(),
            spare: Vec::new(),
            seen: vec![NOTHING; nodes],
            ring: vec![(0.0, 0.0); nodes * window],
        }
    }

    /// An empty scrape to fill; [`Telemetry::send`] takes it.
    pub fn blank(&mut self, at_ms: i64) -> Scrape {
        let mut scrape = self.spare.pop().unwrap_or_default();
        scrape.at_ms = at_ms;
        scrape.values.clear();
        scrape.workloads.clear();
        scrape
    }

    pub fn send(&mut self, scrape: Scrape) {
        self.under_way.push_back(scrape);
    }

    /// When the next scrape arrives.
    pub fn next_arrival_ms(&self) -> i64 {
        self.under_way.front().map_or(i64::MAX, |scrape| scrape.at_ms + self.delay_ms)
    }

    /// Takes in the scrape that has arrived; what it says of workloads is handed on.
    pub fn arrive(&mut self, workloads: impl FnOnce(i64, &[WorkloadSample])) {
        let Some(scrape) = self.under_way.pop_front() else { return };
        workloads(scrape.at_ms, &scrape.workloads);
        for (node, value) in scrape.values.iter().enumerate().filter(|(_, value)| value.0.is_finite()) {
            let slots = &mut self.ring[node * self.window..(node + 1) * self.window];
            self.seen[node].take_in(scrape.at_ms, *value, slots);
        }
        self.spare.push(scrape);
    }

    /// What is known of a node; `None` before its first sample has arrived.
    pub fn seen(&self, node: usize) -> Option<&Seen> {
        Some(&self.seen[node]).filter(|seen| seen.samples > 0)
    }
}

impl Seen {
    fn take_in(&mut self, at_ms: i64, value: (f32, f32), slots: &mut [(f32, f32)]) {
        let window = slots.len();
        let slot = &mut slots[self.next as usize];
        let (cpu, memory) = (f64::from(value.0), f64::from(value.1));
        if self.samples as usize == window {
            let (old_cpu, old_memory) = (f64::from(slot.0), f64::from(slot.1));
            self.cpu_sum += cpu - old_cpu;
            self.memory_sum += memory - old_memory;
            self.cpu_squares += cpu * cpu - old_cpu * old_cpu;
            self.memory_squares += memory * memory - old_memory * old_memory;
        } else {
            self.samples += 1;
            self.cpu_sum += cpu;
            self.memory_sum += memory;
            self.cpu_squares += cpu * cpu;
            self.memory_squares += memory * memory;
        }
        *slot = value;
        self.next = if self.next as usize + 1 == window { 0 } else { self.next + 1 };
        (self.at_ms, self.cpu, self.memory) = (at_ms, cpu, memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(telemetry: &mut Telemetry, at_ms: i64, cpu: f32) {
        let mut scrape = telemetry.blank(at_ms);
        scrape.values.push((cpu, 0.5));
        telemetry.send(scrape);
    }

    #[test]
    fn a_sample_is_known_only_after_the_delay() {
        let mut telemetry = Telemetry::new(1, 30_000, 45_000);
        scrape(&mut telemetry, 30_000, 0.2);
        assert!(telemetry.seen(0).is_none());
        assert_eq!(telemetry.next_arrival_ms(), 75_000);
        telemetry.arrive(|_, _| ());
        assert_eq!(telemetry.seen(0).map(|seen| (seen.at_ms, seen.memory)), Some((30_000, 0.5)));
    }

    #[test]
    fn the_window_holds_fifteen_minutes() {
        let mut telemetry = Telemetry::new(1, 300_000, 0);
        // Three samples fit; by hand: mean of 0.3, 0.6, 0.9 is 0.6, deviation sqrt(0.06).
        for (at, cpu) in [(1, 0.1), (2, 0.3), (3, 0.6), (4, 0.9)] {
            scrape(&mut telemetry, at, cpu);
            telemetry.arrive(|_, _| ());
        }
        let seen = telemetry.seen(0).expect("samples");
        assert!((seen.cpu_mean() - 0.6).abs() < 1e-7, "{}", seen.cpu_mean());
        assert!((seen.cpu_deviation() - 0.06_f64.sqrt()).abs() < 1e-6, "{}", seen.cpu_deviation());
        assert_eq!(seen.memory_deviation(), 0.0);
    }

    #[test]
    fn a_node_that_is_silent_keeps_its_last_sample() {
        let mut telemetry = Telemetry::new(1, 30_000, 0);
        scrape(&mut telemetry, 0, 0.4);
        scrape(&mut telemetry, 30_000, f32::NAN);
        telemetry.arrive(|_, _| ());
        telemetry.arrive(|_, _| ());
        assert_eq!(telemetry.seen(0).map(|seen| seen.at_ms), Some(0));
    }
}
