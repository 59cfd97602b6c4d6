//! Where a pod may run and where it would rather: labels, taints, affinity, spread.

use super::pod::WorkloadId;

/// A node label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    /// Such as `gpu-model`.
    pub key: String,
    /// Such as `T4`.
    pub value: String,
}

impl Label {
    /// A label.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// What a taint does to pods that do not tolerate it. `NoExecute` is a node that leaves, see [`super::Node::leaves_ms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaintEffect {
    /// They are not placed.
    NoSchedule,
    /// They are placed elsewhere where that is possible.
    PreferNoSchedule,
}

/// A node taint. A toleration names its key (operator `Exists`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Taint {
    /// Such as `dedicated`.
    pub key: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// What counts as one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topology {
    /// `kubernetes.io/hostname`.
    Node,
    /// `topology.kubernetes.io/zone`.
    Zone,
}

/// How much a rule binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strength {
    /// `requiredDuringSchedulingIgnoredDuringExecution`.
    Required,
    /// `preferredDuringSchedulingIgnoredDuringExecution` with this weight, 1 to 100.
    Preferred(u8),
}

/// A term of pod affinity or anti-affinity. Its selector is a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AffinityTerm {
    /// Whose pods.
    pub workload: WorkloadId,
    /// Near means in the same one of these.
    pub topology: Topology,
    /// Away from them instead of near them.
    pub anti: bool,
    /// How much it binds.
    pub strength: Strength,
}

/// A topology spread constraint over the pods of the pod's own workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpreadConstraint {
    /// Spread over what.
    pub topology: Topology,
    /// Largest difference between two places, at least 1.
    pub max_skew: u32,
    /// `DoNotSchedule` instead of `ScheduleAnyway`.
    pub hard: bool,
}

/// The placement part of a pod template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rules {
    /// Labels that the node must have (`nodeSelector`, required node affinity).
    pub node_selector: Vec<Label>,
    /// Labels that the node should have, with weights of 1 to 100.
    pub preferred_labels: Vec<(u8, Label)>,
    /// Keys of the taints that are tolerated.
    pub tolerations: Vec<String>,
    /// Pod affinity and anti-affinity.
    pub affinity: Vec<AffinityTerm>,
    /// Own spread constraints; without any, kube-scheduler's defaults hold.
    pub spread: Vec<SpreadConstraint>,
}

impl Rules {
    /// Whether nodes may be told apart by labels and taints alone: then the answer never changes.
    pub fn admits(&self, node: &super::Node) -> bool {
        let tolerated =
            |taint: &Taint| taint.effect == TaintEffect::PreferNoSchedule || self.tolerations.contains(&taint.key);
        node.taints.iter().all(tolerated) && self.selects(node)
    }

    /// Whether the node has the labels that are asked for, whatever its taints.
    pub fn selects(&self, node: &super::Node) -> bool {
        self.node_selector.iter().all(|label| node.labels.contains(label))
    }

    /// How many `PreferNoSchedule` taints of `node` are not tolerated.
    pub fn disliked_taints(&self, node: &super::Node) -> usize {
        let disliked =
            |taint: &&Taint| taint.effect == TaintEffect::PreferNoSchedule && !self.tolerations.contains(&taint.key);
        node.taints.iter().filter(disliked).count()
    }
}
