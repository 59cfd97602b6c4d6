//! Load that is reserved: by pod, and summed by node.

use super::{Totals, Usage};
use score_api::InFlight;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// The load of a pod on its way.
#[derive(Debug, Clone)]
pub(super) struct Reserved {
    /// Where it is, or before that its best candidates, among which its load is shared out.
    pub nodes: Vec<String>,
    /// When it was bound, UTC milliseconds by the API server's clock: what samples are compared with.
    pub at: i64,
    /// When it ends, whatever the metrics do.
    pub until: Instant,
    pub usage: Usage,
    pub is_bound: bool,
}

impl Reserved {
    /// What each of its nodes is to expect.
    fn share(&self) -> Usage {
        let count = self.nodes.len().max(1) as f64;
        Usage { cpu_cores: self.usage.cpu_cores / count, memory_bytes: self.usage.memory_bytes / count }
    }
}

/// All that is reserved.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    /// By UID.
    by_pod: HashMap<String, Reserved>,
    /// Sums by node, kept in step.
    sums: HashMap<String, (InFlight, u32)>,
}

impl Reservations {
    pub fn reserve(&mut self, uid: &str, reserved: Reserved) {
        self.release(uid);
        let share = reserved.share();
        for node in &reserved.nodes {
            let (sum, count) = self.sums.entry(node.clone()).or_default();
            sum.cpu_cores += share.cpu_cores;
            sum.memory_bytes += share.memory_bytes;
            *count += 1;
        }
        self.by_pod.insert(uid.to_owned(), reserved);
    }

    pub fn release(&mut self, uid: &str) -> bool {
        let Some(reserved) = self.by_pod.remove(uid) else { return false };
        let share = reserved.share();
        for node in &reserved.nodes {
            let Some((sum, count)) = self.sums.get_mut(node) else { continue };
            *count -= 1;
            if *count == 0 {
                // Sums of floats drift: nothing is left of nothing.
                self.sums.remove(node);
            } else {
                sum.cpu_cores = (sum.cpu_cores - share.cpu_cores).max(0.0);
                sum.memory_bytes = (sum.memory_bytes - share.memory_bytes).max(0.0);
            }
        }
        true
    }

    /// Releases all that `ends` has a reason for; returns the reasons.
    pub fn release_where<R>(&mut self, ends: impl Fn(&str, &Reserved) -> Option<R>) -> Vec<R> {
        let ended: Vec<(String, R)> =
            self.by_pod.iter().filter_map(|(uid, reserved)| Some((uid.clone(), ends(uid, reserved)?))).collect();
        ended
            .into_iter()
            .map(|(uid, reason)| {
                self.release(&uid);
                reason
            })
            .collect()
    }

    pub fn is_bound(&self, uid: &str) -> bool {
        self.by_pod.get(uid).is_some_and(|reserved| reserved.is_bound)
    }

    /// The load on its way to these nodes, but for that of the pod itself.
    pub fn but_for<'a>(&self, nodes: impl Iterator<Item = &'a str>, pod: &str) -> HashMap<String, InFlight> {
        if self.sums.is_empty() {
            return HashMap::new();
        }
        let mut loads: HashMap<String, InFlight> =
            nodes.filter_map(|node| self.sums.get(node).map(|sum| (node.to_owned(), sum.0))).collect();
        if let Some(own) = self.by_pod.get(pod) {
            let share = own.share();
            for node in &own.nodes {
                let Some(load) = loads.get_mut(node) else { continue };
                load.cpu_cores = (load.cpu_cores - share.cpu_cores).max(0.0);
                load.memory_bytes = (load.memory_bytes - share.memory_bytes).max(0.0);
            }
        }
        loads
    }

    pub fn totals(&self) -> Totals {
        // From +0: an empty sum of floats is -0, which reads odd.
        let sum = |of: fn(&InFlight) -> f64| self.sums.values().fold(0.0, |all, (sum, _)| all + of(sum));
        Totals {
            pods: self.by_pod.values().filter(|reserved| reserved.is_bound).count(),
            nodes: self.sums.len(),
            cpu_cores: sum(|sum| sum.cpu_cores),
            memory_bytes: sum(|sum| sum.memory_bytes),
        }
    }

    pub fn by_node(&self) -> BTreeMap<String, InFlight> {
        self.sums.iter().map(|(node, (sum, _))| (node.clone(), *sum)).collect()
    }
}
