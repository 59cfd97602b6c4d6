//! The placement that really happened.

use super::{Policy, Reach};
use crate::engine::{Ask, View};
use crate::world::{NodeId, Scenario};

/// The node that a pod ran on in the source, where it is feasible; else any.
#[derive(Debug, Clone)]
pub struct Recorded {
    nodes: Vec<Option<NodeId>>,
}

impl Recorded {
    /// Of a scenario whose source knew the nodes.
    pub fn new(scenario: &Scenario) -> Self {
        Self { nodes: scenario.pods.iter().map(|pod| pod.recorded).collect() }
    }
}

impl Policy for Recorded {
    fn name(&self) -> &'static str {
        "recorded"
    }

    fn reach(&self) -> Reach {
        Reach::All
    }

    fn score(&mut self, ask: &Ask<'_>, _view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let recorded = self.nodes[ask.pod.index()];
        for (score, node) in scores.iter_mut().zip(candidates) {
            *score = f64::from(u8::from(Some(*node) == recorded));
        }
    }
}
