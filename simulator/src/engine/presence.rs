//! Where the pods of each workload run, for spreading and affinity.

use crate::world::{NodeId, ZoneId};

/// Running pods of one workload by node and zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    nodes: Vec<(NodeId, u32)>,
    zones: Vec<u32>,
}

impl Presence {
    pub(super) fn new(zones: usize) -> Self {
        Self { nodes: Vec::new(), zones: vec![0; zones] }
    }

    pub(super) fn add(&mut self, node: NodeId, zone: Option<ZoneId>) {
        match self.nodes.iter_mut().find(|(known, _)| *known == node) {
            Some((_, count)) => *count += 1,
            None => self.nodes.push((node, 1)),
        }
        if let Some(zone) = zone {
            self.zones[usize::from(zone.0)] += 1;
        }
    }

    pub(super) fn remove(&mut self, node: NodeId, zone: Option<ZoneId>) {
        if let Some(at) = self.nodes.iter().position(|(known, _)| *known == node) {
            self.nodes[at].1 -= 1;
            if self.nodes[at].1 == 0 {
                self.nodes.swap_remove(at);
            }
        }
        if let Some(zone) = zone {
            self.zones[usize::from(zone.0)] -= 1;
        }
    }

    /// The nodes that have some, with how many.
    pub fn nodes(&self) -> &[(NodeId, u32)] {
        &self.nodes
    }

    /// How many run on `node`. Time: linear in the number of nodes that have some.
    pub fn on(&self, node: NodeId) -> u32 {
        self.nodes.iter().find(|(known, _)| *known == node).map_or(0, |(_, count)| *count)
    }

    /// How many run in `zone`.
    pub fn in_zone(&self, zone: ZoneId) -> u32 {
        self.zones[usize::from(zone.0)]
    }

    /// How many run.
    pub fn total(&self) -> u32 {
        self.nodes.iter().map(|(_, count)| count).sum()
    }
}
