//! What the watch of pods and nodes tells: which nodes there are, which pods were bound, and the load that is on its way to a node
//! and that its metrics do not show yet. Every replica sees the same watch, so nothing is shared between them.

use crate::kubernetes::{Happened, Node, Pod};
use score_api::InFlight;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// How long load is reserved, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hold {
    /// A sample that is so much younger than the binding shows the pod: rates are taken over a window.
    pub settle: i64,
    /// Longest, whatever the metrics do.
    pub most: i64,
}

/// An answered pod that is not bound after this will not be for its answer, milliseconds: time for 1,500 bindings at 50 a second. A guess.
const AWAITED: i64 = 30_000;

#[derive(Debug, Clone)]
struct Reserved {
    /// Where it is, or before that its best candidates, among which its load is shared out.
    nodes: Vec<String>,
    at: i64,
    usage: Usage,
    is_bound: bool,
}

impl Reserved {
    /// What each of its nodes is to expect.
    fn share(&self) -> Usage {
        let count = self.nodes.len().max(1) as f64;
        Usage { cpu_cores: self.usage.cpu_cores / count, memory_bytes: self.usage.memory_bytes / count }
    }
}

#[derive(Debug, Default)]
struct Inner {
    nodes: HashSet<String>,
    /// By UID.
    reserved: HashMap<String, Reserved>,
    /// Sums by node, kept in step.
    sums: HashMap<String, (InFlight, u32)>,
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

impl Inner {
    fn reserve(&mut self, uid: &str, reserved: Reserved) {
        let share = reserved.share();
        for node in &reserved.nodes {
            let (sum, count) = self.sums.entry(node.clone()).or_default();
            sum.cpu_cores += share.cpu_cores;
            sum.memory_bytes += share.memory_bytes;
            *count += 1;
        }
        self.reserved.insert(uid.to_owned(), reserved);
    }

    fn release(&mut self, uid: &str) -> bool {
        let Some(reserved) = self.reserved.remove(uid) else { return false };
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

    fn is_bound(&self, uid: &str) -> bool {
        self.reserved.get(uid).is_some_and(|reserved| reserved.is_bound)
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new(hold: Hold) -> Self {
        Self { hold, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod was answered, and these are its best candidates: its load is awaited there until it is seen bound. Without a watch, which
    /// would never tell, nothing is awaited.
    pub fn answered(&self, uid: &str, best: Vec<String>, usage: Usage, now: i64) {
        let mut inner = self.inner();
        if best.is_empty() || !inner.pods_heard || inner.is_bound(uid) {
            return;
        }
        // It was asked for before: kube-scheduler tries again.
        inner.release(uid);
        inner.reserve(uid, Reserved { nodes: best, at: now, usage, is_bound: false });
    }

    /// Takes in what happened to a pod. `expect` tells what it will use, `sampled_at` the newest sample of a node; `bound` hears of each
    /// binding, also of those that need no reservation any more. Returns the release, if one came of it.
    pub fn pod(
        &self,
        happened: Happened<Pod>,
        now: i64,
        expect: impl Fn(&Pod) -> Usage,
        sampled_at: impl Fn(&str) -> Option<i64>,
        mut bound: impl FnMut(Binding),
    ) -> Option<(Release, u64)> {
        match happened {
            Happened::ListBegins => self.inner().listed = Some(HashSet::new()),
            Happened::Heard => self.inner().pods_heard = true,
            Happened::Lost => self.inner().pods_heard = false,
            Happened::ListEnds => {
                let mut inner = self.inner();
                let listed = inner.listed.take().unwrap_or_default();
                let is_gone = |uid: &&String| inner.is_bound(uid) && !listed.contains(*uid);
                let gone: Vec<String> = inner.reserved.keys().filter(is_gone).cloned().collect();
                for uid in &gone {
                    inner.release(uid);
                }
                return (!gone.is_empty()).then_some((Release::Gone, gone.len() as u64));
            }
            Happened::Gone(pod) => {
                return self.inner().release(&pod.metadata.uid).then_some((Release::Gone, 1));
            }
            Happened::Is(pod) if pod.has_ended() => {
                return self.inner().release(&pod.metadata.uid).then_some((Release::Gone, 1));
            }
            Happened::Is(pod) => {
                if pod.spec.node_name.is_empty() {
                    return None;
                }
                // The API server's word on when; where it has none, the pod was bound just now.
                let at = pod.bound_at().unwrap_or(now);
                if now - at < self.hold.most {
                    bound(Binding {
                        uid: pod.metadata.uid.clone(),
                        namespace: pod.metadata.namespace.clone(),
                        name: pod.metadata.name.clone(),
                        node: pod.spec.node_name.clone(),
                        at,
                    });
                }
                let is_seen = sampled_at(&pod.spec.node_name).is_some_and(|sampled| sampled >= at + self.hold.settle);
                let mut inner = self.inner();
                let is_known = inner.is_bound(&pod.metadata.uid);
                if is_known && let Some(listed) = &mut inner.listed {
                    listed.insert(pod.metadata.uid.clone());
                }
                if is_known {
                    return None;
                }
                // It is awaited no longer: here it is.
                inner.release(&pod.metadata.uid);
                if is_seen || now - at >= self.hold.most {
                    return None;
                }
                let nodes = vec![pod.spec.node_name.clone()];
                let reserved = Reserved { nodes, at, usage: expect(&pod), is_bound: true };
                inner.reserve(&pod.metadata.uid, reserved);
                if let Some(listed) = &mut inner.listed {
                    listed.insert(pod.metadata.uid);
                }
            }
        }
        None
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

    /// Ends the reservations that the metrics have caught up with. Returns how many ended, by reason.
    pub fn settle(&self, now: i64, sampled_at: impl Fn(&str) -> Option<i64>) -> [(Release, u64); 2] {
        let mut inner = self.inner();
        let of = |reserved: &Reserved| {
            let is_shown = |node: &String| sampled_at(node).is_some_and(|at| at >= reserved.at + self.hold.settle);
            let is_seen = reserved.is_bound && reserved.nodes.iter().all(is_shown);
            let is_old = now - reserved.at >= if reserved.is_bound { self.hold.most } else { AWAITED };
            is_seen.then_some(Release::Seen).or(is_old.then_some(Release::Expired))
        };
        let ends: Vec<(String, Release)> =
            inner.reserved.iter().filter_map(|(uid, reserved)| Some((uid.clone(), of(reserved)?))).collect();
        let mut counts = [(Release::Seen, 0), (Release::Expired, 0)];
        for (uid, release) in ends {
            inner.release(&uid);
            counts[usize::from(release == Release::Expired)].1 += 1;
        }
        counts
    }

    /// The load on its way to these nodes, but for that of the pod itself: it may have been bound before it is scored.
    pub fn in_flight<'a>(&self, nodes: impl Iterator<Item = &'a str>, pod: &str) -> HashMap<String, InFlight> {
        let inner = self.inner();
        if inner.sums.is_empty() {
            return HashMap::new();
        }
        let mut loads: HashMap<String, InFlight> =
            nodes.filter_map(|node| inner.sums.get(node).map(|sum| (node.to_owned(), sum.0))).collect();
        if let Some(own) = inner.reserved.get(pod) {
            let share = own.share();
            for node in &own.nodes {
                let Some(load) = loads.get_mut(node) else { continue };
                load.cpu_cores = (load.cpu_cores - share.cpu_cores).max(0.0);
                load.memory_bytes = (load.memory_bytes - share.memory_bytes).max(0.0);
            }
        }
        loads
    }

    /// How many of the cluster's nodes are so; none before the first list.
    pub fn count(&self, is_so: impl Fn(&str) -> bool) -> usize {
        self.inner().nodes.iter().filter(|node| is_so(node)).count()
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
        let inner = self.inner();
        // From +0: an empty sum of floats is -0, which reads odd.
        let sum = |of: fn(&InFlight) -> f64| inner.sums.values().fold(0.0, |all, (sum, _)| all + of(sum));
        Totals {
            pods: inner.reserved.values().filter(|reserved| reserved.is_bound).count(),
            nodes: inner.sums.len(),
            cpu_cores: sum(|sum| sum.cpu_cores),
            memory_bytes: sum(|sum| sum.memory_bytes),
        }
    }

    /// By node, for people.
    pub fn by_node(&self) -> BTreeMap<String, InFlight> {
        self.inner().sums.iter().map(|(node, (sum, _))| (node.clone(), *sum)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HOLD: Hold = Hold { settle: 60_000, most: 900_000 };
    const NOW: i64 = 1_780_272_000_000;

    fn pod(uid: &str, node: &str) -> Pod {
        serde_json::from_value(
            json!({ "metadata": { "uid": uid, "name": uid, "namespace": "shop" }, "spec": { "nodeName": node } }),
        )
        .expect("a pod")
    }

    fn tell(ledger: &Ledger, happened: Happened<Pod>, sampled: Option<i64>) -> (Option<(Release, u64)>, Vec<Binding>) {
        let mut bound = Vec::new();
        let usage = |_: &Pod| Usage { cpu_cores: 0.1, memory_bytes: 5.0 };
        let released = ledger.pod(happened, NOW, usage, |_| sampled, |binding| bound.push(binding));
        (released, bound)
    }

    fn cores(ledger: &Ledger, node: &str) -> Option<f64> {
        ledger.in_flight([node].into_iter(), "another").get(node).map(|flight| flight.cpu_cores)
    }

    #[test]
    fn load_is_reserved_at_the_binding_and_released_when_the_metrics_show_it() {
        let ledger = Ledger::new(HOLD);
        let (_, bound) = tell(&ledger, Happened::Is(pod("a", "n1")), Some(NOW));
        assert_eq!((bound.len(), bound[0].node.as_str(), bound[0].at), (1, "n1", NOW));
        tell(&ledger, Happened::Is(pod("b", "n1")), None);
        // The same pod again, as each of its changes comes, counts once.
        tell(&ledger, Happened::Is(pod("a", "n1")), None);
        assert_eq!(cores(&ledger, "n1"), Some(0.2));
        assert_eq!(cores(&ledger, "n2"), None);
        assert_eq!(ledger.in_flight(["n1"].into_iter(), "a")["n1"].cpu_cores, 0.1, "a pod is not its own neighbour");
        assert_eq!(ledger.settle(NOW + 1, |_| Some(NOW + 59_999)), [(Release::Seen, 0), (Release::Expired, 0)]);
        assert_eq!(ledger.settle(NOW + 1, |_| Some(NOW + 60_000)), [(Release::Seen, 2), (Release::Expired, 0)]);
        assert_eq!((cores(&ledger, "n1"), ledger.totals()), (None, Totals::default()));
    }

    #[test]
    fn an_answered_pod_is_awaited_on_its_best_candidates_until_it_is_bound_or_time_is_up() {
        let ledger = Ledger::new(HOLD);
        let usage = Usage { cpu_cores: 0.4, memory_bytes: 4.0 };
        let best = || vec!["n1".to_owned(), "n2".to_owned()];
        ledger.answered("a", best(), usage, NOW);
        assert_eq!(cores(&ledger, "n1"), None, "no watch would ever release it");
        tell(&ledger, Happened::Heard, None);
        for uid in ["a", "a", "b"] {
            ledger.answered(uid, best(), usage, NOW);
        }
        assert_eq!((cores(&ledger, "n1"), cores(&ledger, "n2")), (Some(0.4), Some(0.4)));
        assert_eq!(ledger.in_flight(["n1"].into_iter(), "a")["n1"].cpu_cores, 0.2, "a pod is not its own neighbour");
        // It went elsewhere, by what kube-scheduler found.
        tell(&ledger, Happened::Is(pod("a", "n3")), None);
        assert_eq!((cores(&ledger, "n1"), cores(&ledger, "n3")), (Some(0.2), Some(0.1)));
        ledger.answered("a", best(), usage, NOW);
        assert_eq!(cores(&ledger, "n1"), Some(0.2), "what is bound is awaited no more");
        // A list names bound pods only.
        tell(&ledger, Happened::ListBegins, None);
        tell(&ledger, Happened::Is(pod("a", "n3")), None);
        tell(&ledger, Happened::ListEnds, None);
        assert_eq!((cores(&ledger, "n1"), cores(&ledger, "n3")), (Some(0.2), Some(0.1)));
        assert_eq!(ledger.settle(NOW + 29_999, |_| None)[1], (Release::Expired, 0));
        assert_eq!(ledger.settle(NOW + 30_000, |_| None)[1], (Release::Expired, 1));
        assert_eq!((cores(&ledger, "n1"), ledger.totals().pods), (None, 1));
    }

    #[test]
    fn a_pod_that_is_gone_or_has_ended_holds_nothing() {
        let ledger = Ledger::new(HOLD);
        for uid in ["a", "b"] {
            tell(&ledger, Happened::Is(pod(uid, "n1")), None);
        }
        assert_eq!(tell(&ledger, Happened::Gone(pod("a", "n1")), None).0, Some((Release::Gone, 1)));
        let mut ended = pod("b", "n1");
        ended.status.phase = "Succeeded".into();
        assert_eq!(tell(&ledger, Happened::Is(ended.clone()), None).0, Some((Release::Gone, 1)));
        assert_eq!(tell(&ledger, Happened::Is(ended), None).0, None);
        assert_eq!(ledger.totals().pods, 0);
    }

    #[test]
    fn pods_that_are_old_or_wait_reserve_nothing_and_metrics_that_never_come_end_it() {
        let ledger = Ledger::new(HOLD);
        let (_, bound) = tell(&ledger, Happened::Is(pod("waits", "")), None);
        assert!(bound.is_empty());
        // Bound before the samples of its node began to show it.
        tell(&ledger, Happened::Is(pod("old", "n1")), Some(NOW + 60_000));
        assert_eq!(ledger.totals().pods, 0);
        tell(&ledger, Happened::Is(pod("a", "n1")), None);
        assert_eq!(ledger.settle(NOW + 900_000, |_| None)[1], (Release::Expired, 1));
    }

    #[test]
    fn a_list_after_a_loss_releases_what_it_does_not_name() {
        let ledger = Ledger::new(HOLD);
        for uid in ["a", "b"] {
            tell(&ledger, Happened::Is(pod(uid, "n1")), None);
        }
        assert!(!ledger.is_heard());
        tell(&ledger, Happened::ListBegins, None);
        tell(&ledger, Happened::Is(pod("b", "n1")), None);
        tell(&ledger, Happened::Is(pod("c", "n2")), None);
        assert_eq!(tell(&ledger, Happened::ListEnds, None).0, Some((Release::Gone, 1)));
        assert_eq!((cores(&ledger, "n1"), cores(&ledger, "n2")), (Some(0.1), Some(0.1)));
    }

    #[test]
    fn nodes_that_no_metric_names_lower_the_share() {
        let ledger = Ledger::new(HOLD);
        assert_eq!(ledger.count(|_| true), 0);
        let node =
            |name: &str| -> Node { serde_json::from_value(json!({ "metadata": { "name": name } })).expect("a node") };
        ledger.node(Happened::ListBegins);
        ["n1", "n2", "n3", "n4"].into_iter().for_each(|name| ledger.node(Happened::Is(node(name))));
        ledger.node(Happened::ListEnds);
        assert_eq!(ledger.count(|name| name != "n4"), 3);
        ledger.node(Happened::Gone(node("n4")));
        assert_eq!(ledger.count(|name| name != "n4"), 3);
    }
}
