//! The newest samples of all nodes, as they were at one moment.

use super::remote::Seen;
use serving::nodes::ClusterView;
use serving::score::ScoreRules;
use std::sync::Arc;

/// A picture of all nodes. Asking it takes no lock, so it may be asked by who holds one.
#[derive(Debug)]
pub enum Samples {
    /// Of this process.
    Embedded {
        /// All nodes.
        view: Arc<ClusterView>,
        /// By which samples are stale.
        rules: ScoreRules,
        /// When it was taken, UTC milliseconds.
        now: i64,
    },
    /// Of a `serving` elsewhere.
    Remote(Arc<Seen>),
}

impl Samples {
    /// The newest sample of a node, UTC milliseconds.
    pub fn sampled_at(&self, node: &str) -> Option<i64> {
        match self {
            Self::Embedded { view, .. } => view.nodes.get(node).map(|node| node.sampled_at),
            Self::Remote(seen) => seen.sampled_at(node),
        }
    }

    /// Whether a node is known, by samples that are stale.
    pub fn is_stale(&self, node: &str) -> bool {
        match self {
            Self::Embedded { view, rules, now } => {
                self.sampled_at(node).is_some_and(|at| !rules.is_fresh(view, now.saturating_sub(at)))
            }
            Self::Remote(seen) => seen.is_stale(node),
        }
    }
}
