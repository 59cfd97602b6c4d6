//! How often both detectors raise an alarm over the same nodes at the same moments. Nobody labels anomalies in time, so this does not say
//! who is right; but a detector that suspects everybody takes a part of every score away.
//!
//! Both read all nodes, so readings are compared in pairs, one series over time: readings of one node follow one another, and
//! trouble that all nodes share is one event.

use super::analysis::Shares;
use crate::nodes::{Anomaly, ClusterView, NodeView};
use models::anomaly::Severity;
use models::evidence::{BlockSequence, SequenceInterval};
use serde::{Deserialize, Serialize};

/// Alarms of two versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Alarms {
    readings: u64,
    champion: u64,
    challenger: u64,
    /// Challenger less champion, by reading.
    difference: BlockSequence,
}

fn is_alarm(anomaly: &Anomaly) -> bool {
    anomaly.severity.is_some_and(|severity| severity >= Severity::Warning)
}

impl Alarms {
    /// Takes in a refresh.
    pub fn take_in(&mut self, champion: &ClusterView, challenger: &ClusterView) {
        let anomaly = |node: &NodeView| node.anomaly.as_ref().map(is_alarm);
        let (mut readings, mut ours_sum, mut theirs_sum) = (0, 0, 0);
        for (name, node) in &champion.nodes {
            let theirs = challenger.nodes.get(name).and_then(anomaly);
            let Some((ours, theirs)) = anomaly(node).zip(theirs) else { continue };
            readings += 1;
            ours_sum += u64::from(ours);
            theirs_sum += u64::from(theirs);
        }
        self.readings += readings;
        self.champion += ours_sum;
        self.challenger += theirs_sum;
        self.difference.add(champion.at, theirs_sum as f64 - ours_sum as f64, readings as f64);
        self.difference.advance(champion.at);
    }

    /// Shares of readings that are alarms; `interval` says how sure their difference is.
    pub fn shares(&self, limit: f64, interval: impl Fn(&BlockSequence) -> SequenceInterval) -> Shares {
        let share = |count: u64| (self.readings > 0).then(|| count as f64 / self.readings as f64);
        Shares {
            champion: share(self.champion),
            challenger: share(self.challenger),
            difference: interval(&self.difference),
            limit: Some(limit),
        }
    }
}
