//! Policies that look at nothing.

use super::Policy;
use crate::engine::{Ask, View};
use crate::world::{NodeId, PodId};

/// Any feasible node, with equal chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn score(&mut self, _ask: &Ask<'_>, _view: &View<'_>, _candidates: &[NodeId], _scores: &mut [f64]) {}
}

/// The next feasible node after the one that was chosen last, in the order of the nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin {
    next: u32,
}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn score(&mut self, _ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let count = view.node_count() as u32;
        for (score, node) in scores.iter_mut().zip(candidates) {
            let ahead = if node.0 >= self.next { node.0 - self.next } else { node.0 + count - self.next };
            *score = -f64::from(ahead);
        }
    }

    fn bound(&mut self, _pod: PodId, node: NodeId, _now_ms: i64) {
        self.next = node.0 + 1;
    }
}
