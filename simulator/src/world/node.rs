//! Nodes as their shape and their place.

use super::rules::{Label, Taint};
use super::usage::Usage;
use cluster::{Bytes, Cores, NodeName};

/// Place of a node in [`super::Scenario::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A failure zone (`topology.kubernetes.io/zone`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(pub u16);

/// A node's shape, place and life.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its failure zone; `None` without that label.
    pub zone: Option<ZoneId>,
    /// CPU that the kubelet offers to pods.
    pub cpu: Cores,
    /// Memory that the kubelet offers to pods.
    pub memory: Bytes,
    /// How many GPUs, each of 1,000 thousandths.
    pub gpus: u8,
    /// Most pods that it takes; the kubelet's default is 110.
    pub max_pods: u32,
    /// Its labels.
    pub labels: Vec<Label>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// When it joins, in ms from the start.
    pub joins_ms: i64,
    /// When it vanishes, in ms from the start; its pods go back to the queue.
    pub leaves_ms: Option<i64>,
    /// What runs on it beside the pods: system daemons and what the source cannot explain.
    pub baseline: Option<Usage>,
}

impl Node {
    /// The kubelet's default of `maxPods`.
    pub const MAX_PODS: u32 = 110;

    /// A plain node without labels, there all the time.
    pub fn new(name: impl Into<String>, cpu: Cores, memory: Bytes) -> Self {
        Self {
            name: NodeName::new(name),
            zone: None,
            cpu,
            memory,
            gpus: 0,
            max_pods: Self::MAX_PODS,
            labels: Vec::new(),
            taints: Vec::new(),
            joins_ms: 0,
            leaves_ms: None,
            baseline: None,
        }
    }
}
