//! Pods and the workloads that they belong to.

use super::usage::Usage;
use cluster::{Bytes, Cores};

/// Place of a pod in [`super::Scenario::pods`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub u32);

impl PodId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Place of a workload in [`super::Scenario::workloads`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId(pub u32);

impl WorkloadId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a pod asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Request {
    /// CPU; 0 where it asks for none.
    pub cpu: Cores,
    /// Memory; 0 where it asks for none.
    pub memory: Bytes,
    /// How many GPUs; 0 for none.
    pub gpus: u8,
    /// Of each of these GPUs, in thousandths (1,000 is a whole one). Shares below 1,000 are for one GPU only.
    pub gpu_milli: u16,
}

impl Request {
    /// CPU and memory alone.
    pub const fn new(cpu: Cores, memory: Bytes) -> Self {
        Self { cpu, memory, gpus: 0, gpu_milli: 0 }
    }
}

/// Quality of service as the kubelet derives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QosClass {
    /// Limits equal requests.
    Guaranteed,
    /// Some request.
    #[default]
    Burstable,
    /// No request and no limit.
    BestEffort,
}

/// The controller that pods belong to: the pods of one workload share a template, so its rules are theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Namespace and name, such as `shop/Deployment/cart`.
    pub name: String,
    /// Place of its rules in [`super::Scenario::rules`].
    pub rules: u32,
}

/// One pod life.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub workload: WorkloadId,
    /// Value of its PriorityClass; higher goes first.
    pub priority: i32,
    /// Quality of service.
    pub qos: QosClass,
    /// When it is created, in ms from the start.
    pub arrives_ms: i64,
    /// How long it runs, in ms; `None` until the end. A restart does not make it longer.
    pub runs_ms: Option<i64>,
    /// What it asks for.
    pub request: Request,
    /// What it uses.
    pub usage: Usage,
    /// The node it ran on in the source, for replays.
    pub recorded: Option<super::NodeId>,
}
