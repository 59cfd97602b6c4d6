//! A made-up cluster that behaves like one: services with daily courses, rollouts, batch jobs that come in bursts.

mod course;
mod fleet;

use super::InputError;
use crate::world::Scenario;
use clap::ValueEnum;
use cluster::{DAY_MS, MINUTE_MS};
use runtime::WrongUse;
use serde::{Deserialize, Serialize};

/// What kind of cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Services with daily courses and batch jobs, on equal parts of three node sizes
    Mixed,
    /// Services that use far more or far less than they request
    Misrequested,
    /// Mostly jobs, which come in bursts
    Bursts,
    /// Memory is what is short
    Memory,
    /// Tainted and labelled pools, zones, affinity and spread constraints
    Pools,
}

impl Shape {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Misrequested => "misrequested",
            Self::Bursts => "bursts",
            Self::Memory => "memory",
            Self::Pools => "pools",
        }
    }
}

/// What cluster is wanted. The same settings give the same scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// What kind.
    pub shape: Shape,
    /// How many nodes.
    pub nodes: usize,
    /// How many days.
    pub days: f64,
    /// Requested share of the CPU that services and jobs come to, 0..1.
    pub load: f64,
    /// The seed.
    pub seed: u64,
}

/// More nodes than the largest Kubernetes cluster that is supported are a slip of the finger.
const MAX_NODES: usize = 5_000;

impl Synthetic {
    /// A small mixed cluster for half a day, for tests and examples.
    pub const fn small(seed: u64) -> Self {
        Self { shape: Shape::Mixed, nodes: 12, days: 0.5, load: 0.75, seed }
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`WrongUse`] for a setting out of range.
    pub fn build(&self) -> Result<Scenario, InputError> {
        if !(1..=MAX_NODES).contains(&self.nodes) {
            return Err(WrongUse(format!("--size is {}, want 1 to {MAX_NODES}", self.nodes)).into());
        }
        if !(self.days >= 1.0 / 24.0 && self.days <= 366.0) {
            return Err(WrongUse(format!("--days is {}, want 0.05 to 366", self.days)).into());
        }
        if !(self.load > 0.0 && self.load <= 2.0) {
            return Err(WrongUse(format!("--load is {}, want more than 0 and at most 2", self.load)).into());
        }
        let span_ms = ((self.days * DAY_MS as f64) as i64 / (5 * MINUTE_MS)).max(1) * 5 * MINUTE_MS;
        Ok(fleet::build(self, span_ms)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_cluster() {
        let first = Synthetic::small(3).build().expect("a scenario");
        let again = Synthetic::small(3).build().expect("a scenario");
        assert_eq!(first.pods, again.pods);
        assert_eq!(first.series, again.series);
        assert_ne!(first.pods, Synthetic::small(4).build().expect("a scenario").pods);
    }

    #[test]
    fn every_shape_comes_near_the_load_that_was_asked_for() {
        for shape in Shape::value_variants() {
            let wanted = Synthetic { shape: *shape, nodes: 40, days: 1.0, load: 0.7, seed: 1 };
            let scenario = wanted.build().expect("a scenario");
            let noon = DAY_MS / 2;
            let alive = scenario
                .pods
                .iter()
                .filter(|pod| pod.arrives_ms <= noon && pod.runs_ms.is_none_or(|runs| pod.arrives_ms + runs > noon));
            let requested: u64 = alive.map(|pod| pod.request.cpu.millicores()).sum();
            let share = requested as f64 / scenario.total_cpu() as f64;
            assert!((0.4..0.95).contains(&share), "{shape:?} requests {share} at noon");
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (settings, named) in [
            (Synthetic { nodes: 0, ..Synthetic::small(1) }, "--size is 0"),
            (Synthetic { days: 0.0, ..Synthetic::small(1) }, "--days is 0"),
            (Synthetic { load: f64::NAN, ..Synthetic::small(1) }, "--load is NaN"),
        ] {
            let error = settings.build().expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
