//! How often both detectors raise an alarm over the same nodes at the same moments. Nobody labels anomalies in time, so this does not say
//! who is right; but a detector that suspects everybody takes a part of every score away, and that shows within minutes.
//!
//! Readings of one node follow one another, so a node counts as one observation, however long it is watched.

use super::analysis::Shares;
use super::stats::Mean;
use crate::nodes::{Anomaly, ClusterView, NodeView};
use cluster::NodeName;
use models::anomaly::Severity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Readings {
    all: u64,
    champion: u64,
    challenger: u64,
}

/// Alarms of two versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Alarms {
    nodes: BTreeMap<NodeName, Readings>,
}

fn is_alarm(anomaly: &Anomaly) -> bool {
    anomaly.severity.is_some_and(|severity| severity >= Severity::Warning)
}

impl Alarms {
    /// Takes in a refresh.
    pub fn take_in(&mut self, champion: &ClusterView, challenger: &ClusterView) {
        let anomaly = |node: &NodeView| node.anomaly.as_ref().map(is_alarm);
        for (name, node) in &champion.nodes {
            let theirs = challenger.nodes.get(name).and_then(anomaly);
            let Some((ours, theirs)) = anomaly(node).zip(theirs) else { continue };
            let readings = self.nodes.entry(name.clone()).or_default();
            readings.all += 1;
            readings.champion += u64::from(ours);
            readings.challenger += u64::from(theirs);
        }
    }

    /// Shares of readings that are alarms.
    pub fn shares(&self, limit: f64) -> Shares {
        let (mut champion, mut challenger, mut difference) = (Mean::default(), Mean::default(), Mean::default());
        for readings in self.nodes.values() {
            let share = |count: u64| count as f64 / readings.all as f64;
            champion.add(share(readings.champion));
            challenger.add(share(readings.challenger));
            difference.add(share(readings.challenger) - share(readings.champion));
        }
        Shares {
            champion: champion.mean(),
            challenger: challenger.mean(),
            difference: difference.interval(),
            limit: Some(limit),
        }
    }
}
