//! Nodes with a standing critical anomaly get a taint, where the rules say so (`quarantine.taint`, off by default), and lose it when
//! they have been well for a while. The taint is ours by its key; whoever else taints a node is left alone.

use crate::decide::Decider;
use crate::kubernetes::{Api, ApiPath, Event};
use crate::rules::Quarantine as Limits;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Key of the taint, and of a label by which the nodes that carry it are found again.
pub const KEY: &str = "berth.io/quarantine";
/// Value of both.
const ANOMALY: &str = "anomaly";
/// Nodes are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Which nodes are critical since when, and which of those with the taint are well since when.
#[derive(Debug, Default)]
pub struct Quarantine {
    critical: BTreeMap<String, Instant>,
    well: BTreeMap<String, Instant>,
}

/// A taint that is to come or to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which node.
    pub node: String,
    /// Whether it is to carry the taint.
    pub taint: bool,
}

impl Quarantine {
    /// What is to be done at `now`, when `critical` of `nodes` nodes are and `held` carry the taint, whoever gave it to them; `limits` of
    /// `None` frees all. Never more than the stated share of the nodes is held, one at least: replicas that were quicker than each other
    /// all free the same ones of too many, the last by name.
    pub fn look(
        &mut self,
        critical: &BTreeSet<String>,
        held: &BTreeSet<String>,
        nodes: usize,
        now: Instant,
        limits: Option<&Limits>,
    ) -> Vec<Change> {
        let change = |node: &String, taint: bool| Change { node: node.clone(), taint };
        let Some(limits) = limits else {
            *self = Self::default();
            return held.iter().map(|node| change(node, false)).collect();
        };
        let lasts = |since: &Instant, span: Duration| now.saturating_duration_since(*since) >= span;
        self.critical.retain(|node, _| critical.contains(node));
        for node in critical {
            self.critical.entry(node.clone()).or_insert(now);
        }
        self.well.retain(|node, _| held.contains(node) && !critical.contains(node));
        for node in held.difference(critical) {
            self.well.entry(node.clone()).or_insert(now);
        }
        let is_over = |node: &&String| self.well.get(*node).is_some_and(|since| lasts(since, limits.recover.0));
        let (over, stays): (Vec<&String>, Vec<&String>) = held.iter().partition(is_over);
        let most = ((limits.most * nodes as f64) as usize).max(1);
        let excess = stays.iter().skip(most).copied();
        let mut changes: Vec<Change> = over.into_iter().chain(excess).map(|node| change(node, false)).collect();
        // Another replica may have tainted one since this was counted: one at a time, and counted again.
        if held.len() < most {
            let waits = |(node, since): &(&String, &Instant)| lasts(since, limits.after.0) && !held.contains(*node);
            changes.extend(self.critical.iter().find(waits).map(|(node, _)| change(node, true)));
        }
        changes
    }
}

/// Looks at the nodes for as long as the process lives. Replicas do the same: which nodes carry the taint is read from the cluster each time,
/// so that all of them count the same.
pub async fn keep(api: Api, decider: Arc<Decider>) {
    let mut quarantine = Quarantine::default();
    // An earlier process may have left some.
    let mut may_hold = true;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let rules = decider.book.rules();
        let is_on = rules.quarantine.taint && !decider.book.is_killed();
        let nodes = decider.ledger.nodes();
        if !is_on && !may_hold || nodes == 0 {
            continue;
        }
        let held = match tainted(&api).await {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "nodes with our taint are not known");
                continue;
            }
        };
        may_hold = !held.is_empty();
        decider.metrics.quarantined(held.len());
        // Metrics name nodes that the cluster has no more, and whatever else somebody has put into a label.
        let mut critical = decider.scoring.critical_nodes().0;
        critical.retain(|node| decider.ledger.has_node(node));
        let limits = is_on.then_some(&rules.quarantine);
        for change in quarantine.look(&critical, &held, nodes, Instant::now(), limits) {
            let outcome = match apply(&api, &change, &rules.quarantine).await {
                Ok(()) => {
                    tracing::info!(node = change.node, taint = change.taint, "quarantine");
                    "ok"
                }
                Err(error) => {
                    let (node, taint) = (&change.node, change.taint);
                    tracing::warn!(error = format!("{error:#}"), node, taint, "failed to change a taint, retrying");
                    "failed"
                }
            };
            may_hold = true;
            decider.metrics.quarantine(if change.taint { "taint" } else { "free" }, outcome);
        }
    }
}

/// The nodes that carry our taint, by the label beside it.
async fn tainted(api: &Api) -> anyhow::Result<BTreeSet<String>> {
    let list: Value = api.get(&ApiPath::fixed(&["api", "v1", "nodes"]).with("labelSelector", KEY)).await?;
    let nodes = list["items"].as_array().into_iter().flatten();
    // A server that does not know selectors would give all.
    let ours = nodes.filter(|node| node["metadata"]["labels"][KEY].is_string());
    Ok(ours.filter_map(|node| Some(node["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// The list of taints is replaced as a whole, so the version that was read goes with it: whoever came between is not overwritten.
async fn apply(api: &Api, change: &Change, limits: &Limits) -> anyhow::Result<()> {
    let path = ApiPath::node(&change.node)?;
    let node: Value = match api.get(&path).await {
        Ok(node) => node,
        // A node that is gone carries no taint.
        Err(error) if !change.taint && error.is_absent() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut taints: Vec<Value> = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.retain(|taint| taint["key"] != KEY);
    if change.taint {
        taints.push(json!({ "key": KEY, "value": ANOMALY, "effect": limits.effect.as_str() }));
    }
    let label = if change.taint { json!(ANOMALY) } else { Value::Null };
    let patch = json!({
        "metadata": { "resourceVersion": node["metadata"]["resourceVersion"], "labels": { KEY: label } },
        "spec": { "taints": taints },
    });
    api.patch(&path, &patch).await?;
    let message = if change.taint {
        format!("A critical anomaly has stood for {}: taint {KEY}={ANOMALY}:{}", limits.after, limits.effect.as_str())
    } else {
        format!("Taint {KEY} taken away")
    };
    let told = Event {
        kind: "Node",
        namespace: "",
        name: &change.node,
        uid: "",
        reason: "QuarantineByBerth",
        is_warning: change.taint,
        message: &message,
    };
    if let Err(error) = api.tell(&told).await {
        tracing::debug!(error = format!("{error:#}"), "no event on the quarantine");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::settings::Span;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(most: f64) -> Limits {
        Limits { taint: true, most, after: Span(2 * MINUTE), recover: Span(10 * MINUTE), ..Limits::default() }
    }

    fn set(nodes: &[&str]) -> BTreeSet<String> {
        nodes.iter().map(|node| (*node).to_owned()).collect()
    }

    fn change(node: &str, taint: bool) -> Change {
        Change { node: node.to_owned(), taint }
    }

    /// A cluster of twenty nodes, and replicas that look at it.
    struct Cluster {
        held: BTreeSet<String>,
        began: Instant,
    }

    impl Cluster {
        fn new() -> Self {
            Self { held: BTreeSet::new(), began: Instant::now() }
        }

        fn look(&mut self, replica: &mut Quarantine, critical: &[&str], minute: u32, limits: &Limits) -> Vec<Change> {
            let now = self.began + minute * MINUTE;
            let changes = replica.look(&set(critical), &self.held, 20, now, Some(limits));
            changes.iter().for_each(|change| self.done(change));
            changes
        }

        fn done(&mut self, change: &Change) {
            if change.taint {
                self.held.insert(change.node.clone());
            } else {
                self.held.remove(&change.node);
            }
        }
    }

    #[test]
    fn a_standing_anomaly_taints_and_a_long_calm_frees() {
        let (mut cluster, mut one, limits) = (Cluster::new(), Quarantine::default(), limits(0.1));
        let mut look = |critical: &[&str], minute: u32| cluster.look(&mut one, critical, minute, &limits);
        assert_eq!(look(&["a"], 0), []);
        // One look without it begins anew.
        assert_eq!(look(&[], 1), []);
        assert_eq!(look(&["a"], 2), []);
        assert_eq!(look(&["a"], 4), [change("a", true)]);
        assert_eq!(look(&[], 5), []);
        assert_eq!(look(&["a"], 10), []);
        assert_eq!(look(&[], 11), []);
        assert_eq!(look(&[], 21), [change("a", false)]);
        assert!(cluster.held.is_empty());
    }

    #[test]
    fn never_more_than_the_share_and_none_when_it_is_switched_off() {
        let (mut cluster, mut one, limits) = (Cluster::new(), Quarantine::default(), limits(0.1));
        let all = ["a", "b", "c"];
        cluster.look(&mut one, &all, 0, &limits);
        // Two of twenty.
        assert_eq!(cluster.look(&mut one, &all, 3, &limits), [change("a", true)]);
        assert_eq!(cluster.look(&mut one, &all, 3, &limits), [change("b", true)]);
        assert_eq!(cluster.look(&mut one, &all, 4, &limits), []);
        let off = one.look(&set(&["a"]), &cluster.held, 20, cluster.began + 5 * MINUTE, None);
        assert_eq!(off, [change("a", false), change("b", false)]);
    }

    #[test]
    fn replicas_with_other_views_share_one_limit() {
        let (mut cluster, limits) = (Cluster::new(), limits(0.1));
        let mut replicas: Vec<Quarantine> = (0..3).map(|_| Quarantine::default()).collect();
        let views = [["a", "b"], ["c", "d"], ["e", "f"]];
        for minute in 0..10 {
            for (replica, view) in replicas.iter_mut().zip(&views) {
                cluster.look(replica, view, minute, &limits);
                assert!(cluster.held.len() <= 2, "{:?}", cluster.held);
            }
        }
        assert_eq!(cluster.held, set(&["a", "c"]));
    }

    #[test]
    fn of_too_many_all_replicas_free_the_same_ones() {
        let (mut cluster, limits) = (Cluster::new(), limits(0.1));
        // Three replicas were quicker than each other.
        cluster.held = set(&["a", "c", "e"]);
        let now = cluster.began;
        for view in [["a"], ["c"], ["e"]] {
            let changes = Quarantine::default().look(&set(&view), &cluster.held, 20, now, Some(&limits));
            assert_eq!(changes, [change("e", false)]);
        }
        cluster.done(&change("e", false));
        let mut last = Quarantine::default();
        for minute in 0..5 {
            assert_eq!(cluster.look(&mut last, &["a", "c", "e"], minute, &limits), [], "there is no room for it");
        }
    }
}
