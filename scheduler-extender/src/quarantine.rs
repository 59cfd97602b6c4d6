//! Nodes with a standing critical anomaly get a taint, where the rules say so (`quarantine.taint`, off by default), and lose it when
//! they have been well for a while. The taint is ours by its key; whoever else taints a node is left alone.

use crate::decide::Decider;
use crate::kubernetes::{Api, Event};
use crate::rules::Quarantine as Limits;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Key of the taint, and of a label by which the nodes that carry it are found again.
pub const KEY: &str = "berth.io/quarantine";
/// Value of both.
const ANOMALY: &str = "anomaly";
/// Nodes are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Which nodes are critical since when, and which carry the taint.
#[derive(Debug, Default)]
pub struct Quarantine {
    critical: BTreeMap<String, i64>,
    /// Nodes with the taint, and since when they are well.
    held: BTreeMap<String, Option<i64>>,
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
    /// Takes up nodes that an earlier process tainted.
    pub fn resume(&mut self, nodes: impl IntoIterator<Item = String>) {
        self.held.extend(nodes.into_iter().map(|node| (node, None)));
    }

    /// How many carry the taint.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What is to be done at `now` (UTC milliseconds), when `critical` of `nodes` nodes are; `limits` of `None` frees all. Never
    /// more than the stated share of the nodes is held, one at least.
    pub fn look(
        &mut self,
        critical: &BTreeSet<String>,
        nodes: usize,
        now: i64,
        limits: Option<&Limits>,
    ) -> Vec<Change> {
        let Some(limits) = limits else {
            self.critical.clear();
            return self.held.keys().map(|node| Change { node: node.clone(), taint: false }).collect();
        };
        self.critical.retain(|node, _| critical.contains(node));
        for node in critical {
            self.critical.entry(node.clone()).or_insert(now);
        }
        let mut changes = Vec::new();
        for (node, well) in &mut self.held {
            let since = if critical.contains(node) { None } else { Some(well.unwrap_or(now)) };
            *well = since;
            if since.is_some_and(|since| now - since >= limits.recover.millis()) {
                changes.push(Change { node: node.clone(), taint: false });
            }
        }
        let most = ((limits.most * nodes as f64) as usize).max(1);
        let stands = |since: i64| now - since >= limits.after.millis();
        let waiting = self.critical.iter().filter(|(node, since)| stands(**since) && !self.held.contains_key(*node));
        let room = most.saturating_sub(self.held.len());
        changes.extend(waiting.take(room).map(|(node, _)| Change { node: node.clone(), taint: true }));
        changes
    }

    /// A change was made.
    pub fn done(&mut self, change: &Change) {
        if change.taint {
            self.held.insert(change.node.clone(), None);
        } else {
            self.held.remove(&change.node);
        }
    }
}

/// Looks at the nodes for as long as the process lives. Replicas do the same and undo nothing of each other.
pub async fn keep(api: Api, decider: Arc<Decider>) {
    let mut quarantine = Quarantine::default();
    let mut is_resumed = false;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !is_resumed {
            match tainted(&api).await {
                Ok(nodes) => quarantine.resume(nodes),
                Err(error) => {
                    tracing::debug!(error = format!("{error:#}"), "nodes with our taint are not known yet");
                    continue;
                }
            }
            is_resumed = true;
        }
        let rules = decider.book.rules();
        let is_on = rules.quarantine.taint && !decider.book.is_killed();
        let (critical, nodes) = decider.scoring.critical_nodes();
        let now = chrono::Utc::now().timestamp_millis();
        let limits = is_on.then_some(&rules.quarantine);
        for change in quarantine.look(&critical, nodes, now, limits) {
            let outcome = match apply(&api, &change, &rules.quarantine).await {
                Ok(()) => {
                    tracing::info!(node = change.node, taint = change.taint, "quarantine");
                    quarantine.done(&change);
                    "ok"
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        node = change.node,
                        taint = change.taint,
                        "quarantine failed, trying again"
                    );
                    "failed"
                }
            };
            decider.metrics.quarantine(if change.taint { "taint" } else { "free" }, outcome);
        }
        decider.metrics.quarantined(quarantine.held());
    }
}

async fn tainted(api: &Api) -> anyhow::Result<Vec<String>> {
    let list: Value = api.get(&format!("/api/v1/nodes?labelSelector={}", KEY.replace('/', "%2F"))).await?;
    let nodes = list["items"].as_array().into_iter().flatten();
    // A server that does not know selectors would give all.
    let ours = nodes.filter(|node| node["metadata"]["labels"][KEY].is_string());
    Ok(ours.filter_map(|node| Some(node["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// The list of taints is replaced as a whole, so the version that was read goes with it: whoever came between is not overwritten.
async fn apply(api: &Api, change: &Change, limits: &Limits) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/{}", change.node);
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

    const MINUTE: i64 = 60_000;

    fn limits(most: f64) -> Limits {
        let span = |minutes: u64| Span(Duration::from_secs(60 * minutes));
        Limits { taint: true, most, after: span(2), recover: span(10), ..Limits::default() }
    }

    fn set(nodes: &[&str]) -> BTreeSet<String> {
        nodes.iter().map(|node| (*node).to_owned()).collect()
    }

    fn change(node: &str, taint: bool) -> Change {
        Change { node: node.to_owned(), taint }
    }

    fn look(quarantine: &mut Quarantine, critical: &[&str], minute: i64, limits: &Limits) -> Vec<Change> {
        let changes = quarantine.look(&set(critical), 20, minute * MINUTE, Some(limits));
        changes.iter().for_each(|change| quarantine.done(change));
        changes
    }

    #[test]
    fn a_standing_anomaly_taints_and_a_long_calm_frees() {
        let (mut quarantine, limits) = (Quarantine::default(), limits(0.1));
        assert_eq!(look(&mut quarantine, &["a"], 0, &limits), []);
        // One look without it begins anew.
        assert_eq!(look(&mut quarantine, &[], 1, &limits), []);
        assert_eq!(look(&mut quarantine, &["a"], 2, &limits), []);
        assert_eq!(look(&mut quarantine, &["a"], 4, &limits), [change("a", true)]);
        assert_eq!(look(&mut quarantine, &[], 5, &limits), []);
        assert_eq!(look(&mut quarantine, &["a"], 10, &limits), []);
        assert_eq!(look(&mut quarantine, &[], 11, &limits), []);
        assert_eq!(look(&mut quarantine, &[], 21, &limits), [change("a", false)]);
        assert_eq!(quarantine.held(), 0);
    }

    #[test]
    fn never_more_than_the_share_and_none_when_it_is_switched_off() {
        let (mut quarantine, limits) = (Quarantine::default(), limits(0.1));
        look(&mut quarantine, &["a", "b", "c"], 0, &limits);
        // Two of twenty.
        assert_eq!(look(&mut quarantine, &["a", "b", "c"], 3, &limits), [change("a", true), change("b", true)]);
        assert_eq!(look(&mut quarantine, &["a", "b", "c"], 4, &limits), []);
        let off = quarantine.look(&set(&["a"]), 20, 5 * MINUTE, None);
        assert_eq!(off, [change("a", false), change("b", false)]);
    }
}
