//! Pods that wait for a node, as the API server tells them. Whoever reaches the webhook can name any pod: only what is said of these counts.

use crate::kubernetes::{Metadata, Pod};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// kube-scheduler follows the same watch and may ask before we have heard of its pod. An answer waits so long for the watch to name it.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// Names of nodes in answers that wait so, over all of them: 25 MB at most, as no name has more than 253 bytes.
const MOST_NAMES: usize = 100_000;

/// Whether a pod is one of the cluster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The API server has told of it: it waits for a node.
    Known,
    /// It has not, or not yet: somebody may have made it up.
    Unknown,
    /// No watch is heard, so nobody can tell.
    Unheard,
}

/// The best candidates of a pod that nobody has told of.
#[derive(Debug)]
struct Unknown {
    namespace: String,
    name: String,
    best: Vec<String>,
    since: Instant,
}

/// Pods that wait, and answers that wait for their pods.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By UID.
    pods: HashMap<String, Arc<Pod>>,
    /// By UID.
    unknown: HashMap<String, Unknown>,
    /// Names in them.
    names: usize,
}

impl Waiting {
    /// The pod of this UID, if it has these names too.
    pub fn get(&self, asked: &Metadata) -> Option<&Arc<Pod>> {
        let is_it = |pod: &&Arc<Pod>| {
            (&pod.metadata.namespace, &pod.metadata.name) == (&asked.namespace, &asked.name) && !asked.uid.is_empty()
        };
        self.pods.get(&asked.uid).filter(is_it)
    }

    /// A pod waits. Returns the best candidates of the answer that waited for it.
    pub fn put(&mut self, mut pod: Pod) -> (Arc<Pod>, Option<Vec<String>>) {
        // They may be hundreds of kilobytes, and nobody reads them here.
        pod.metadata.annotations.clear();
        let pod = Arc::new(pod);
        self.pods.insert(pod.metadata.uid.clone(), Arc::clone(&pod));
        let answer = self.forget(&pod.metadata.uid);
        let is_it =
            |answer: &Unknown| (&answer.namespace, &answer.name) == (&pod.metadata.namespace, &pod.metadata.name);
        let best = answer.filter(is_it).map(|answer| answer.best);
        (pod, best)
    }

    /// It waits no longer.
    pub fn remove(&mut self, uid: &str) {
        self.pods.remove(uid);
        self.forget(uid);
    }

    /// These are all.
    pub fn retain(&mut self, listed: &HashSet<String>) {
        self.pods.retain(|uid, _| listed.contains(uid));
    }

    /// Keeps an answer until its pod is told of; where too many wait, it is left out.
    pub fn keep(&mut self, asked: &Metadata, best: Vec<String>, now: Instant) {
        self.forget(&asked.uid);
        if self.names + best.len() > MOST_NAMES {
            self.forget_old(now);
        }
        if self.names + best.len() > MOST_NAMES || asked.uid.is_empty() {
            return;
        }
        self.names += best.len();
        let (namespace, name) = (asked.namespace.clone(), asked.name.clone());
        self.unknown.insert(asked.uid.clone(), Unknown { namespace, name, best, since: now });
    }

    fn forget(&mut self, uid: &str) -> Option<Unknown> {
        let answer = self.unknown.remove(uid)?;
        self.names -= answer.best.len();
        Some(answer)
    }

    /// Leaves out answers whose pods were never told of.
    pub fn forget_old(&mut self, now: Instant) {
        let names = &mut self.names;
        self.unknown.retain(|_, answer| {
            let is_young = now.saturating_duration_since(answer.since) < UNKNOWN_FOR;
            if !is_young {
                *names -= answer.best.len();
            }
            is_young
        });
    }

    #[cfg(test)]
    pub fn names(&self) -> usize {
        self.names
    }
}
