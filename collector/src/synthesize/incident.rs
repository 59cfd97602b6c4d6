//! What goes wrong on the made-up cluster, and when: the labels that anomaly detection is judged by.

use super::shape::Machine;
use cluster::{DAY_MS, HOUR_MS, MINUTE_MS};
use rand::Rng;
use synthetic::noise::{between, generator};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A pod's memory grows until it is killed.
    MemoryLeak,
    /// A pod uses far more CPU than it requested.
    NoisyNeighbour,
    /// The disk is busy all the time.
    DiskSaturation,
    /// Most packets are lost: traffic falls, and the work that it brings.
    NetworkLoss,
    /// The machine dies and is started again.
    NotReady,
    /// The machine is drained and started again, as an upgrade does.
    Reboot,
}

impl Fault {
    /// As `raw/incidents` names it. A planned reboot leaves the node not ready, which is what a label can know.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::MemoryLeak => "memory_leak",
            Self::NoisyNeighbour => "noisy_neighbour",
            Self::DiskSaturation => "disk_saturation",
            Self::NetworkLoss => "network_loss",
            Self::NotReady | Self::Reboot => "not_ready",
        }
    }

    /// `warning` or `critical`.
    pub const fn severity(self) -> &'static str {
        match self {
            Self::NotReady | Self::NetworkLoss => "critical",
            Self::MemoryLeak | Self::NoisyNeighbour | Self::DiskSaturation | Self::Reboot => "warning",
        }
    }

    /// The alert of kube-prometheus-stack that a cluster's operator would see.
    pub const fn alert(self) -> &'static str {
        match self {
            Self::MemoryLeak => "NodeMemoryHighUtilization",
            Self::NoisyNeighbour => "NodeCPUHighUsage",
            Self::DiskSaturation => "NodeDiskIOSaturation",
            Self::NetworkLoss => "NodeNetworkReceiveErrs",
            Self::NotReady | Self::Reboot => "KubeNodeNotReady",
        }
    }

    /// Whether the machine is away for the whole of it.
    pub const fn takes_the_machine_down(self) -> bool {
        matches!(self, Self::NotReady | Self::Reboot)
    }
}

/// Something that goes wrong on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Which node, as an index.
    pub node: usize,
    /// What.
    pub fault: Fault,
    /// First moment.
    pub start: i64,
    /// Last moment.
    pub end: i64,
    /// How bad, in 0..1.
    pub strength: f64,
}

/// Mean time between two incidents of one node. A guess; high enough that a month of a few nodes has some of each kind.
const MEAN_DAYS_BETWEEN: f64 = 8.0;

/// The incidents of a span, in order of time. Those of one node do not meet.
pub fn incidents(seed: u64, machines: &[Machine], start: i64, end: i64) -> Vec<Incident> {
    let mut all = Vec::new();
    for node in 0..machines.len() {
        let mut random = generator(seed, "incidents", node as u64);
        let mut at = start;
        loop {
            let wait = -(1.0 - random.random::<f64>()).ln() * MEAN_DAYS_BETWEEN + 0.2;
            at += (wait * DAY_MS as f64) as i64;
            let incident = incident(node, at / MINUTE_MS * MINUTE_MS, &mut random);
            if incident.end >= end {
                break;
            }
            at = incident.end;
            all.push(incident);
        }
    }
    all.sort_by_key(|incident| (incident.start, incident.node));
    all
}

fn incident(node: usize, start: i64, random: &mut rand_chacha::ChaCha8Rng) -> Incident {
    let (fault, low, high) = match random.random_range(0..12) {
        0..=2 => (Fault::MemoryLeak, 4.0 * 60.0, 12.0 * 60.0),
        3..=5 => (Fault::NoisyNeighbour, 30.0, 150.0),
        6..=7 => (Fault::DiskSaturation, 20.0, 90.0),
        8..=9 => (Fault::NetworkLoss, 10.0, 60.0),
        10 => (Fault::NotReady, 12.0, 45.0),
        _ => (Fault::Reboot, 3.0, 7.0),
    };
    let minutes = between(random, low, high).round() as i64;
    Incident { node, fault, start, end: start + minutes * MINUTE_MS, strength: between(random, 0.5, 1.0) }
}

/// How long an alert's expression must hold before it fires.
pub const ALERT_DELAY_MS: i64 = 5 * MINUTE_MS;

/// After this time the controller evicts the pods of a node that is not ready (Kubernetes' default toleration).
pub const EVICTION_DELAY_MS: i64 = 5 * MINUTE_MS;

/// A leaking pod is killed this long before its incident's end, so that the fall is part of the label.
pub const LEAK_KILL_MS: i64 = HOUR_MS / 30;

#[cfg(test)]
mod tests {
    use super::super::shape::machines;
    use super::*;

    #[test]
    fn a_month_of_a_dozen_nodes_has_every_fault_and_none_that_meet() {
        let all = incidents(1, &machines(1, 12), 0, 35 * DAY_MS);
        for fault in [
            Fault::MemoryLeak,
            Fault::NoisyNeighbour,
            Fault::DiskSaturation,
            Fault::NetworkLoss,
            Fault::NotReady,
            Fault::Reboot,
        ] {
            assert!(all.iter().any(|incident| incident.fault == fault), "{fault:?}");
        }
        for node in 0..12 {
            let own: Vec<&Incident> = all.iter().filter(|incident| incident.node == node).collect();
            assert!(own.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
