//! Placement policies behind one trait.
//!
//! A policy scores the nodes that passed the filters, as a score plugin of kube-scheduler does: the same filters, the same
//! candidate sampling and the same random choice among the best hold for all of them, so that only scores differ.

mod allocation;
mod kube_scheduler;
mod learned;
mod least_used;
mod oracle;
mod plain;
mod recorded;
mod registry;
mod spread;
mod trimaran;

pub use allocation::{BestFit, DotProduct, MostAllocated};
pub use kube_scheduler::KubeScheduler;
pub use learned::{Learned, Scorer};
pub use least_used::{Coldest, LeastUsed};
pub(crate) use oracle::node_cost;
pub use oracle::{Foresight, GreedyOracle};
pub use plain::{Random, RoundRobin};
pub use recorded::Recorded;
pub use registry::PolicyKind;
pub use trimaran::{LoadVariationRiskBalancing, TargetLoadPacking};

use crate::engine::{Ask, Release, View};
use crate::world::{NodeId, PodId};

/// Which of the feasible nodes are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The sample that kube-scheduler takes by percentageOfNodesToScore.
    #[default]
    Sampled,
    /// All of them.
    All,
}

/// Chooses nodes for pods.
pub trait Policy: Send {
    /// Its name in tables, such as `most-allocated`.
    fn name(&self) -> &'static str;

    /// Which of the feasible nodes it wants to score.
    fn reach(&self) -> Reach {
        Reach::Sampled
    }

    /// Scores the candidates: `scores[i]` is that of `candidates[i]`, higher is better, on any scale. The best is chosen,
    /// by chance among equals; equal scores for all are a neutral answer. `scores` comes filled with zeros.
    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]);

    /// Whether it reads the usage of each workload's pods ([`View::habit`]). Gathering it costs time.
    fn watches_workloads(&self) -> bool {
        false
    }

    /// A pod was bound at `now_ms`, in ms from the start.
    fn bound(&mut self, _pod: PodId, _node: NodeId, _now_ms: i64) {}

    /// A pod has left its node since the last decision: it ended, was killed, or its node vanished.
    fn released(&mut self, _release: &Release) {}
}

/// Gives nodes of which nothing is known (NaN) the mean score of the others.
fn unknown_is_average(scores: &mut [f64]) {
    let known = scores.iter().filter(|score| !score.is_nan());
    let (sum, count) = known.fold((0.0, 0), |(sum, count), score| (sum + score, count + 1));
    if count < scores.len() {
        let mean = if count == 0 { 0.0 } else { sum / f64::from(count as u32) };
        scores.iter_mut().filter(|score| score.is_nan()).for_each(|score| *score = mean);
    }
}
