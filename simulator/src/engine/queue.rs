//! What happens when, and who waits.

use crate::world::{NodeId, PodId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a timer is for. At the same moment they go off in this order: room is made before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A node vanishes.
    NodeLeaves(NodeId),
    /// A node joins.
    NodeJoins(NodeId),
    /// A pod has run its time; the count tells this start from earlier ones.
    PodEnds(PodId, u32),
    /// The kubelet takes back its memory pressure.
    PressureEnds(NodeId),
    /// A killed pod comes back to the queue.
    PodReturns(PodId),
    /// Parked pods are tried again.
    Retry,
}

/// Timers by time, then kind, then id: the order never depends on how they were set.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(i64, Timer)>>,
}

impl Timers {
    pub fn set(&mut self, at_ms: i64, timer: Timer) {
        self.heap.push(Reverse((at_ms, timer)));
    }

    pub fn next_ms(&self) -> i64 {
        self.heap.peek().map_or(i64::MAX, |Reverse((at, _))| *at)
    }

    pub fn pop(&mut self) -> Option<(i64, Timer)> {
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

/// Pods that wait for a decision: the higher priority first, then who waits longer (kube-scheduler's PrioritySort).
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    heap: BinaryHeap<(i32, Reverse<i64>, Reverse<PodId>)>,
}

impl Waiting {
    pub fn push(&mut self, pod: PodId, priority: i32, since_ms: i64) {
        self.heap.push((priority, Reverse(since_ms), Reverse(pod)));
    }

    pub fn pop(&mut self) -> Option<PodId> {
        self.heap.pop().map(|(_, _, Reverse(pod))| pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_before_it_is_used() {
        let mut timers = Timers::default();
        timers.set(5, Timer::Retry);
        timers.set(5, Timer::PodEnds(PodId(1), 0));
        timers.set(4, Timer::PodReturns(PodId(0)));
        let order: Vec<(i64, Timer)> = std::iter::from_fn(|| timers.pop()).collect();
        assert_eq!(order, [(4, Timer::PodReturns(PodId(0))), (5, Timer::PodEnds(PodId(1), 0)), (5, Timer::Retry)]);
        assert_eq!(timers.next_ms(), i64::MAX);
    }

    #[test]
    fn the_important_go_first_then_the_patient() {
        let mut waiting = Waiting::default();
        waiting.push(PodId(0), 0, 10);
        waiting.push(PodId(1), 100, 30);
        waiting.push(PodId(2), 0, 5);
        assert_eq!(std::iter::from_fn(|| waiting.pop()).map(|pod| pod.0).collect::<Vec<_>>(), [1, 2, 0]);
    }
}
