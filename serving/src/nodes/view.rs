//! A moment's knowledge of all nodes, whole and unchanging: requests read it while the next one is made.

use super::{NodePods, Workloads};
use crate::registry::ModelName;
use crate::score::Memo;
use cluster::NodeName;
use features::cluster_state::{ClusterFacts, NodeFacts};
use indexmap::IndexMap;
use models::anomaly::{AnomalyKind, Blame, Severity};
use models::load::LoadForecast;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// What the detector says of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Anomaly {
    /// 0 (as ever) to 1 (certain); one half is the threshold.
    pub score: f32,
    /// Of the newest reading.
    pub severity: Option<Severity>,
    /// What it is about.
    pub kind: AnomalyKind,
    /// The features to blame where there is a severity.
    pub blame: Vec<Blame>,
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its newest sample, UTC milliseconds.
    pub sampled_at: i64,
    /// What the agent reads of it, without what belongs to a pod.
    pub facts: NodeFacts,
    /// Its pods.
    pub pods: NodePods,
    /// All heads' forecasts; `None` where no predictor serves.
    pub forecasts: Option<Vec<LoadForecast>>,
    /// `None` where no detector serves.
    pub anomaly: Option<Anomaly>,
    /// Its place among the feature rows.
    pub row: Option<usize>,
}

/// Nodes by name.
pub type Nodes = IndexMap<NodeName, NodeView, foldhash::fast::RandomState>;

/// All nodes at one moment.
#[derive(Debug, Default)]
pub struct ClusterView {
    /// The moment that the rows end at, UTC milliseconds; 0 before the first refresh.
    pub at: i64,
    /// Distance of samples, milliseconds.
    pub step: i64,
    /// By name, in the order of names: every candidate of every pod is looked up in it, in constant time.
    pub nodes: Nodes,
    /// What the agent reads of the cluster.
    pub cluster: ClusterFacts,
    /// What pods are expected to use.
    pub workloads: Arc<Workloads>,
    /// The models that it was made with.
    pub versions: BTreeMap<ModelName, String>,
    /// Feature rows, in catalogue order.
    pub rows: Arc<features::GridRows>,
    /// What was worked out from it already.
    pub memo: Memo,
}

/// The newest view.
#[derive(Debug, Default)]
pub struct Fresh {
    view: RwLock<Arc<ClusterView>>,
    /// The moment that stands for now where time stands still.
    fixed: std::sync::OnceLock<i64>,
    /// How far the source's clock is ahead of ours, milliseconds.
    skew: RwLock<Option<i64>>,
}

impl Fresh {
    /// The newest view.
    pub fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a newer view in place.
    pub fn put(&self, view: ClusterView) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Time stands still at `at`: ages are told against it.
    pub fn fix(&self, at: i64) {
        // The first word counts.
        let _ = self.fixed.set(at);
    }

    /// How far the source's clock was ahead of ours at the last look, milliseconds; `None` where it was not asked.
    pub fn skew(&self) -> Option<i64> {
        *self.skew.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was seen of the source's clock.
    pub fn put_skew(&self, skew: Option<i64>) {
        *self.skew.write().unwrap_or_else(PoisonError::into_inner) = skew;
    }

    /// Now, UTC milliseconds.
    pub fn now(&self) -> i64 {
        self.fixed.get().copied().unwrap_or_else(|| chrono::Utc::now().timestamp_millis())
    }
}

/// What the agent reads of the cluster, from its nodes.
pub(super) fn cluster_facts(nodes: &Nodes, workloads: &Workloads, at: i64) -> ClusterFacts {
    let (mut seen, mut cpu, mut squares, mut memory) = (0.0, 0.0, 0.0, 0.0);
    let (mut known, mut requested) = (0.0, 0.0);
    for node in nodes.values() {
        let facts = &node.facts;
        if facts.cpu_seen.is_finite() {
            seen += 1.0;
            cpu += facts.cpu_seen;
            squares += facts.cpu_seen * facts.cpu_seen;
            memory += if facts.memory_seen.is_finite() { facts.memory_seen } else { 0.0 };
        }
        if facts.allocatable.cpu > 0.0 {
            known += 1.0;
            requested += facts.requested.cpu / facts.allocatable.cpu;
        }
    }
    let mean = |sum: f32, count: f32| if count > 0.0 { sum / count } else { 0.0 };
    let cpu_mean = mean(cpu, seen);
    ClusterFacts {
        hour: (at.rem_euclid(cluster::DAY_MS) as f64 / cluster::HOUR_MS as f64) as f32,
        cpu_mean,
        cpu_deviation: (mean(squares, seen) - cpu_mean * cpu_mean).max(0.0).sqrt(),
        memory_mean: mean(memory, seen),
        cpu_requested: mean(requested, known),
        large: workloads.large(),
    }
}
