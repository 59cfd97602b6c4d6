//! What was worked out for a pod holds for the next one of its kind: the replicas of a workload come in bursts, and between two of them
//! nothing changes but the load on its way to the node that was chosen. A view keeps it, so it is gone with the next refresh.

use super::requested;
use crate::registry::ServedModel;
use cluster::score::Strategy;
use features::cluster_state::Amount;
use prometheus_client::metrics::counter::Counter;
use score_api::PodRequest;
use std::sync::{Arc, Mutex, PoisonError};

/// Kinds of pods that are kept: 64 bytes a node each.
const MOST_KINDS: usize = 32;

/// What a pod's scores depend on, beside the view and the load in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    workload: Option<String>,
    request: [u32; 2],
    low_priority: bool,
    agent: Option<String>,
    strategy: Strategy,
}

impl Kind {
    pub(super) fn of(pod: &PodRequest, agent: Option<&ServedModel>, strategy: Strategy) -> Self {
        let request = requested(pod);
        Self {
            workload: pod.workload.clone(),
            request: [request.cpu.to_bits(), request.memory.to_bits()],
            low_priority: pod.priority < 0,
            agent: agent.map(|agent| agent.version.clone()),
            strategy,
        }
    }
}

/// What is worked out for a pod and a node, before candidates are compared and parts are weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Worked {
    /// What the agent says; `None` without one.
    pub value: Option<f32>,
    /// The load part.
    pub load: Option<f64>,
    /// The same if the forecast's median came true.
    pub by_median: Option<f64>,
    /// The highest P90 with the pod, of all hours and resources.
    pub peak: Option<f64>,
}

/// By the node's place in the view: with which load in flight, and what came of it.
pub(super) type Shelf = Vec<Option<(Amount, Worked)>>;

type Shelves = Vec<(Kind, Arc<Mutex<Shelf>>)>;

/// What is kept of one view.
#[derive(Debug, Default)]
pub struct Memo {
    /// The kind that was used last is the last one.
    shelves: Mutex<Shelves>,
    /// Candidates that were found here.
    hits: Counter,
    /// Candidates that were worked out.
    misses: Counter,
}

impl Memo {
    /// An empty one that counts here.
    pub fn counted(hits: Counter, misses: Counter) -> Self {
        Self { shelves: Mutex::default(), hits, misses }
    }

    /// Counts candidates.
    pub(super) fn count(&self, hits: usize, misses: usize) {
        self.hits.inc_by(hits as u64);
        self.misses.inc_by(misses as u64);
    }

    /// What is known of a kind.
    pub(super) fn shelf(&self, kind: &Kind, nodes: usize) -> Arc<Mutex<Shelf>> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match shelves.iter().position(|(known, _)| known == kind) {
            Some(place) => shelves.remove(place),
            None => {
                if shelves.len() == MOST_KINDS {
                    shelves.remove(0);
                }
                (kind.clone(), Arc::new(Mutex::new(vec![None; nodes])))
            }
        };
        let shelf = Arc::clone(&found.1);
        shelves.push(found);
        shelf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_were_not_used_for_long_go_first() {
        let memo = Memo::default();
        let kind = |name: usize| Kind {
            workload: Some(name.to_string()),
            request: [0, 0],
            low_priority: false,
            agent: None,
            strategy: Strategy::Spread,
        };
        let worked = Worked { value: Some(1.0), load: None, by_median: None, peak: None };
        let put = |name: usize| {
            memo.shelf(&kind(name), 1).lock().expect("a shelf")[0] = Some((Amount::default(), worked));
        };
        (0..MOST_KINDS).for_each(put);
        put(0);
        put(MOST_KINDS);
        let is_known = |name: usize| memo.shelf(&kind(name), 1).lock().expect("a shelf")[0].is_some();
        assert!(is_known(0) && is_known(MOST_KINDS));
        assert!(!is_known(1));
    }
}
