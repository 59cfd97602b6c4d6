//! What the watch of pods and nodes tells: which nodes there are, which pods wait for one and which were bound, and the load that is on its
//! way to a node and that its metrics do not show yet. Every replica sees the same watch, so nothing is shared between them.

mod reservations;
#[cfg(test)]
mod tests;
mod waiting;

pub use waiting::Standing;

use crate::kubernetes::{Happened, Metadata, Node, Pod};
use crate::moment::Moment;
use reservations::{Reservations, Reserved};
use score_api::InFlight;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waiting::Waiting;

/// Cores and bytes that a pod is expected to use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Mean cores.
    pub cpu_cores: f64,
    /// Mean bytes.
    pub memory_bytes: f64,
}

/// A pod went to a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The pod's UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it went.
    pub node: String,
    /// When, UTC milliseconds.
    pub at: i64,
}

/// Why a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The node's metrics show the pod.
    Seen,
    /// The pod is gone or has ended.
    Gone,
    /// It was held for the longest time.
    Expired,
}

impl Release {
    /// As in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Gone => "gone",
            Self::Expired => "expired",
        }
    }
}

/// How long load is reserved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hold {
    /// A sample that is so much younger than the binding shows the pod, milliseconds: rates are taken over a window.
    pub settle: i64,
    /// Longest, whatever the metrics do.
    pub most: Duration,
}

/// An answered pod that is not bound after this will not be for its answer: time for 1,500 bindings at 50 a second. A guess.
const AWAITED: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Inner {
    nodes: HashSet<String>,
    waiting: Waiting,
    reservations: Reservations,
    /// UIDs and node names that the list under way has named.
    listed: Option<HashSet<String>>,
    listed_nodes: Option<HashSet<String>>,
    pods_heard: bool,
    nodes_heard: bool,
}

/// The ledger of one process.
#[derive(Debug)]
pub struct Ledger {
    hold: Hold,
    inner: Mutex<Inner>,
}

/// Sums over all reservations.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Totals {
    /// Pods that are bound.
    pub pods: usize,
    /// Nodes that load is on its way to.
    pub nodes: usize,
    /// Cores, those of pods that are awaited included.
    pub cpu_cores: f64,
    /// Bytes, likewise.
    pub memory_bytes: f64,
}

/// What came of a change of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It waits for a node: it is one of the cluster's.
    Waits(Arc<Pod>),
    /// It went to a node. Told again with each of its changes.
    Bound(Binding),
    /// Reservations ended, as many as this.
    Released(Release, u64),
}

impl Ledger {
    /// An empty ledger.
    pub fn new(hold: Hold) -> Self {
        Self { hold, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the pod that is asked about is one of the cluster's.
    pub fn standing(&self, asked: &Metadata) -> Standing {
        let inner = self.inner();
        match inner.waiting.get(asked) {
            _ if !inner.pods_heard => Standing::Unheard,
            Some(_) => Standing::Known,
            None => Standing::Unknown,
        }
    }

    /// A pod was answered, and these are its best candidates: its load is awaited there until it is seen bound. What it will use is told by
    /// `expect` from the pod that the API server has, not from the one that was sent; a pod that the API server has not told of reserves
    /// nothing until it does. Without a watch, which would never tell, nothing is awaited.
    pub fn answered(&self, asked: &Metadata, best: Vec<String>, now: Moment, expect: impl Fn(&Pod) -> Usage) {
        let pod = {
            let mut inner = self.inner();
            if best.is_empty() || !inner.pods_heard || inner.reservations.is_bound(&asked.uid) {
                return;
            }
            match inner.waiting.get(asked) {
                Some(pod) => Arc::clone(pod),
                None => return inner.waiting.keep(asked, best, now.clock),
            }
        };
        // Asks the scorer, which nobody else is to wait for.
        let usage = expect(&pod);
        let mut inner = self.inner();
        // In between it may have been bound.
        if inner.waiting.get(asked).is_some() {
            inner.reservations.reserve(&asked.uid, awaited(best, now, usage));
        }
    }

    /// Takes in what happened to a pod. `expect` tells what it will use, `sampled_at` the newest sample of a node.
    pub fn pod(
        &self,
        happened: Happened<Pod>,
        now: Moment,
        expect: impl Fn(&Pod) -> Usage,
        sampled_at: impl Fn(&str) -> Option<i64>,
    ) -> Vec<News> {
        match happened {
            Happened::ListBegins => self.inner().listed = Some(HashSet::new()),
            Happened::Heard => self.inner().pods_heard = true,
            Happened::Lost => self.inner().pods_heard = false,
            Happened::ListEnds => return self.list_ends(),
            Happened::Gone(pod) => return self.gone(&pod.metadata.uid),
            Happened::Is(pod) if pod.has_ended() => return self.gone(&pod.metadata.uid),
            Happened::Is(pod) => {
                if pod.spec.node_name.is_empty() {
                    return vec![self.waits(pod, now, expect)];
                }
                let sampled = sampled_at(&pod.spec.node_name);
                return self.bound(&pod, now, expect, sampled).into_iter().collect();
            }
        }
        Vec::new()
    }

    fn list_ends(&self) -> Vec<News> {
        let mut inner = self.inner();
        let listed = inner.listed.take().unwrap_or_default();
        inner.waiting.retain(&listed);
        let gone = inner.reservations.release_where(|uid, _| (!listed.contains(uid)).then_some(()));
        if gone.is_empty() { Vec::new() } else { vec![News::Released(Release::Gone, gone.len() as u64)] }
    }

    fn gone(&self, uid: &str) -> Vec<News> {
        let mut inner = self.inner();
        inner.waiting.remove(uid);
        if inner.reservations.release(uid) { vec![News::Released(Release::Gone, 1)] } else { Vec::new() }
    }

    fn waits(&self, pod: Pod, now: Moment, expect: impl Fn(&Pod) -> Usage) -> News {
        let (pod, best) = {
            let mut inner = self.inner();
            if let Some(listed) = &mut inner.listed {
                listed.insert(pod.metadata.uid.clone());
            }
            inner.waiting.put(pod)
        };
        if let Some(best) = best {
            // Asks the scorer, which nobody else is to wait for.
            let usage = expect(&pod);
            self.inner().reservations.reserve(&pod.metadata.uid, awaited(best, now, usage));
        }
        News::Waits(pod)
    }

    fn bound(&self, pod: &Pod, now: Moment, expect: impl Fn(&Pod) -> Usage, sampled: Option<i64>) -> Option<News> {
        // The API server's word on when; where it has none, the pod was bound just now.
        let at = pod.bound_at().unwrap_or(now.wall);
        let age = Duration::from_millis(u64::try_from(now.wall.saturating_sub(at)).unwrap_or_default());
        let is_new = age < self.hold.most;
        let is_seen = sampled.is_some_and(|sampled| sampled >= at.saturating_add(self.hold.settle));
        let uid = &pod.metadata.uid;
        let is_to_come = {
            let mut inner = self.inner();
            inner.waiting.remove(uid);
            if let Some(listed) = &mut inner.listed {
                listed.insert(uid.clone());
            }
            let is_known = inner.reservations.is_bound(uid);
            if !is_known {
                // It is awaited no longer: here it is.
                inner.reservations.release(uid);
            }
            !is_known && is_new && !is_seen
        };
        if is_to_come {
            let usage = expect(pod);
            let nodes = vec![pod.spec.node_name.clone()];
            let until = now.clock + self.hold.most.saturating_sub(age);
            self.inner().reservations.reserve(uid, Reserved { nodes, at, until, usage, is_bound: true });
        }
        is_new.then(|| {
            News::Bound(Binding {
                uid: uid.clone(),
                namespace: pod.metadata.namespace.clone(),
                name: pod.metadata.name.clone(),
                node: pod.spec.node_name.clone(),
                at,
            })
        })
    }

    /// Takes in what happened to a node.
    pub fn node(&self, happened: Happened<Node>) {
        let mut inner = self.inner();
        match happened {
            Happened::ListBegins => inner.listed_nodes = Some(HashSet::new()),
            Happened::Heard => inner.nodes_heard = true,
            Happened::Lost => inner.nodes_heard = false,
            Happened::ListEnds => {
                if let Some(listed) = inner.listed_nodes.take() {
                    inner.nodes = listed;
                }
            }
            Happened::Gone(node) => {
                inner.nodes.remove(&node.metadata.name);
            }
            Happened::Is(node) => {
                let inner = &mut *inner;
                inner.listed_nodes.as_mut().unwrap_or(&mut inner.nodes).insert(node.metadata.name);
            }
        }
    }

    /// Ends the reservations that the metrics have caught up with. Returns how many ended, by reason. `sampled_at` must not wait for anybody:
    /// whoever is answered meanwhile waits for it.
    pub fn settle(&self, now: Instant, sampled_at: impl Fn(&str) -> Option<i64>) -> [(Release, u64); 2] {
        let mut inner = self.inner();
        inner.waiting.forget_old(now);
        let ends = |_: &str, reserved: &Reserved| {
            let is_shown = |node: &String| sampled_at(node).is_some_and(|at| at >= reserved.at + self.hold.settle);
            let is_seen = reserved.is_bound && reserved.nodes.iter().all(is_shown);
            is_seen.then_some(Release::Seen).or((now >= reserved.until).then_some(Release::Expired))
        };
        let mut counts = [(Release::Seen, 0), (Release::Expired, 0)];
        for release in inner.reservations.release_where(ends) {
            counts[usize::from(release == Release::Expired)].1 += 1;
        }
        counts
    }

    /// The load on its way to these nodes, but for that of the pod itself: it may have been bound before it is scored.
    pub fn in_flight<'a>(&self, nodes: impl Iterator<Item = &'a str>, pod: &str) -> HashMap<String, InFlight> {
        self.inner().reservations.but_for(nodes, pod)
    }

    /// How many of the cluster's nodes are so; none before the first list. `is_so` must not wait for anybody.
    pub fn count(&self, is_so: impl Fn(&str) -> bool) -> usize {
        self.inner().nodes.iter().filter(|node| is_so(node)).count()
    }

    /// Whether the cluster has a node of this name.
    pub fn has_node(&self, name: &str) -> bool {
        self.inner().nodes.contains(name)
    }

    /// How many nodes the cluster has, as far as it is known.
    pub fn nodes(&self) -> usize {
        self.inner().nodes.len()
    }

    /// Whether both watches are heard.
    pub fn is_heard(&self) -> bool {
        let inner = self.inner();
        inner.pods_heard && inner.nodes_heard
    }

    /// All reservations together.
    pub fn totals(&self) -> Totals {
        self.inner().reservations.totals()
    }

    /// By node, for people.
    pub fn by_node(&self) -> BTreeMap<String, InFlight> {
        self.inner().reservations.by_node()
    }
}

fn awaited(best: Vec<String>, now: Moment, usage: Usage) -> Reserved {
    Reserved { nodes: best, at: now.wall, until: now.clock + AWAITED, usage, is_bound: false }
}
