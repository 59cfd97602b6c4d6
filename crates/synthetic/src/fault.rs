//! What an injected incident does to a sample. The value that is there stays the base: a busy node gets busier, it does
//! not jump to a made-up level.

use clap::ValueEnum;
use cluster::{NodeMetric, NodeSample};
use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum InjectedFault {
    /// All CPU that is left is taken.
    CpuSaturation,
    /// Memory grows evenly until it is nearly full, then falls back.
    MemoryLeak,
    /// The node is away: the control plane still counts it, nothing is measured.
    NodeDown,
    /// Most packets are lost: traffic falls, and the work that it brings.
    NetworkLoss,
    /// The disk is busy all the time.
    DiskSaturation,
    /// A pod uses far more CPU than it should, the rest goes on.
    NoisyNeighbour,
}

impl InjectedFault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CpuSaturation,
        Self::MemoryLeak,
        Self::NodeDown,
        Self::NetworkLoss,
        Self::DiskSaturation,
        Self::NoisyNeighbour,
    ];

    /// As `raw/incidents` names it.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::CpuSaturation => "cpu_saturation",
            Self::MemoryLeak => "memory_leak",
            Self::NodeDown => "not_ready",
            Self::NetworkLoss => "network_loss",
            Self::DiskSaturation => "disk_saturation",
            Self::NoisyNeighbour => "noisy_neighbour",
        }
    }

    /// As the synthetic cluster grades them.
    pub const fn severity(self) -> &'static str {
        match self {
            Self::NodeDown | Self::NetworkLoss => "critical",
            Self::CpuSaturation | Self::MemoryLeak | Self::DiskSaturation | Self::NoisyNeighbour => "warning",
        }
    }

    /// Metrics of which the node must have at least one, or the incident would leave no trace.
    pub const fn shows_in(self) -> &'static [NodeMetric] {
        match self {
            Self::CpuSaturation | Self::NoisyNeighbour | Self::NodeDown => &[NodeMetric::CpuUsed],
            Self::MemoryLeak => &[NodeMetric::MemoryUsed],
            Self::NetworkLoss => &[NodeMetric::NetworkReceive, NodeMetric::NetworkTransmit],
            Self::DiskSaturation => &[NodeMetric::DiskIoTime, NodeMetric::DiskRead, NodeMetric::DiskWrite],
        }
    }

    /// What it does at a strength, in 0..1, where everything goes along as far as it usually does.
    pub const fn effect(self, strength: f64) -> Effect {
        let load = match self {
            Self::NetworkLoss | Self::MemoryLeak => 0.0,
            _ => 1.0,
        };
        Effect { strength, work: 1.0, load }
    }

    /// Changes a sample within the incident. `progress` runs from 0 to 1; metrics that are not there stay missing.
    pub fn apply(self, sample: &mut NodeSample, progress: f64, effect: &Effect) {
        let cores = sample.get(NodeMetric::CpuAllocatable);
        let memory = sample.get(NodeMetric::MemoryAllocatable);
        let Effect { strength, work, load: along } = *effect;
        match self {
            Self::CpuSaturation => {
                change(sample, NodeMetric::CpuUsed, |cpu| cpu + (0.98 * cores - cpu).max(0.0) * (0.7 + 0.3 * strength));
                change(sample, NodeMetric::Load1, |load| load + cores * (0.5 + strength) * along);
                change(sample, NodeMetric::CpuPressure, |pressure| pressure.max((0.3 + 0.5 * strength) * along));
            }
            Self::MemoryLeak => {
                change(sample, NodeMetric::MemoryUsed, |used| {
                    used + (0.97 * memory - used).max(0.0) * progress * (0.55 + 0.45 * strength)
                });
                let crowded = (sample.get(NodeMetric::MemoryUsed) / memory - CROWDED).max(0.0) / (1.0 - CROWDED);
                change(sample, NodeMetric::MemoryPressure, |pressure| pressure.max(0.5 * crowded * along));
            }
            Self::NodeDown => {
                for metric in NodeMetric::ALL {
                    if !matches!(
                        metric,
                        NodeMetric::CpuAllocatable
                            | NodeMetric::MemoryAllocatable
                            | NodeMetric::PodsRunning
                            | NodeMetric::CpuRequested
                            | NodeMetric::MemoryRequested
                    ) {
                        sample.set(*metric, f64::NAN);
                    }
                }
                sample.set(NodeMetric::Ready, 0.0);
            }
            Self::NetworkLoss => {
                for metric in [NodeMetric::NetworkReceive, NodeMetric::NetworkTransmit] {
                    change(sample, metric, |rate| rate * (1.0 - 0.85 * strength));
                }
                let less = 0.4 * strength * work;
                change(sample, NodeMetric::CpuUsed, |cpu| cpu * (1.0 - less));
                for metric in [NodeMetric::Load1, NodeMetric::CpuPressure] {
                    change(sample, metric, |value| value * (1.0 - less * along));
                }
            }
            Self::DiskSaturation => {
                change(sample, NodeMetric::DiskIoTime, |busy| busy.max(0.93 + 0.06 * strength));
                for metric in [NodeMetric::DiskRead, NodeMetric::DiskWrite] {
                    change(sample, metric, |rate| rate * (2.0 + 4.0 * strength));
                }
                change(sample, NodeMetric::Load1, |load| load + 9.0 * strength * along);
            }
            Self::NoisyNeighbour => {
                change(sample, NodeMetric::CpuUsed, |cpu| {
                    (cpu + cores * (0.15 + 0.25 * strength)).min((0.995 * cores).max(cpu))
                });
                change(sample, NodeMetric::Load1, |load| load + cores * (0.15 + 0.25 * strength) * along);
            }
        }
    }
}

/// How bad an incident is, and how far goes along what need not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// How bad, in 0..1.
    pub strength: f64,
    /// How far the work of a node without network falls with its traffic, in 0..1.
    pub work: f64,
    /// How far load average and pressure follow, in 0..1.
    pub load: f64,
}

/// Memory use from which on the kernel reclaims, as a share.
const CROWDED: f64 = 0.88;

fn change(sample: &mut NodeSample, metric: NodeMetric, to: impl Fn(f64) -> f64) {
    let value = sample.get(metric);
    if !value.is_nan() {
        sample.set(metric, to(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NodeSample {
        let mut sample = NodeSample::empty(0);
        for (metric, value) in [
            (NodeMetric::CpuUsed, 4.0),
            (NodeMetric::CpuAllocatable, 10.0),
            (NodeMetric::MemoryUsed, 50.0),
            (NodeMetric::MemoryAllocatable, 100.0),
            (NodeMetric::NetworkReceive, 200.0),
            (NodeMetric::DiskWrite, 8.0),
            (NodeMetric::PodsRunning, 20.0),
        ] {
            sample.set(metric, value);
        }
        sample
    }

    fn after(fault: InjectedFault, progress: f64, strength: f64, metric: NodeMetric) -> f64 {
        let mut sample = sample();
        fault.apply(&mut sample, progress, &fault.effect(strength));
        sample.get(metric)
    }

    #[test]
    fn effects_agree_with_a_calculation_by_hand() {
        let of = |fault, progress, strength, metric, wanted: f64| {
            let got = after(fault, progress, strength, metric);
            assert!((got - wanted).abs() < 1e-9, "{fault:?} {metric:?}: {got}, want {wanted}");
        };
        // 4 of 10 cores: 5.8 are free up to 98 %.
        of(InjectedFault::CpuSaturation, 0.5, 1.0, NodeMetric::CpuUsed, 9.8);
        of(InjectedFault::NoisyNeighbour, 0.5, 0.4, NodeMetric::CpuUsed, 6.5);
        of(InjectedFault::MemoryLeak, 0.5, 1.0, NodeMetric::MemoryUsed, 73.5);
        of(InjectedFault::MemoryLeak, 0.0, 1.0, NodeMetric::MemoryUsed, 50.0);
        of(InjectedFault::NetworkLoss, 0.5, 1.0, NodeMetric::NetworkReceive, 30.0);
        of(InjectedFault::NetworkLoss, 0.5, 1.0, NodeMetric::CpuUsed, 2.4);
        of(InjectedFault::DiskSaturation, 0.5, 0.5, NodeMetric::DiskWrite, 32.0);
        of(InjectedFault::NodeDown, 0.5, 0.5, NodeMetric::PodsRunning, 20.0);
    }

    #[test]
    fn what_goes_along_can_be_left_behind() {
        let of = |fault: InjectedFault, effect: Effect, metric| {
            let mut sample = sample();
            sample.set(NodeMetric::Load1, 5.0);
            sample.set(NodeMetric::MemoryPressure, 0.0);
            fault.apply(&mut sample, 1.0, &effect);
            sample.get(metric)
        };
        let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-9, "{got}, want {wanted}");
        let half = Effect { strength: 1.0, work: 0.5, load: 1.0 };
        // A fifth of the work goes with the traffic, and of the load with the work.
        near(of(InjectedFault::NetworkLoss, half, NodeMetric::CpuUsed), 3.2);
        near(of(InjectedFault::NetworkLoss, half, NodeMetric::Load1), 4.0);
        near(of(InjectedFault::NetworkLoss, InjectedFault::NetworkLoss.effect(1.0), NodeMetric::Load1), 5.0);
        near(of(InjectedFault::NoisyNeighbour, Effect { load: 0.0, ..half }, NodeMetric::Load1), 5.0);
        // 97 of 100 are used: three quarters of the way from 0.88 to 1.
        near(of(InjectedFault::MemoryLeak, half, NodeMetric::MemoryPressure), 0.375);
        near(of(InjectedFault::MemoryLeak, InjectedFault::MemoryLeak.effect(1.0), NodeMetric::MemoryPressure), 0.0);
    }

    #[test]
    fn what_was_not_measured_stays_missing_and_a_node_that_is_down_measures_nothing() {
        assert!(after(InjectedFault::DiskSaturation, 0.5, 1.0, NodeMetric::DiskIoTime).is_nan());
        assert!(after(InjectedFault::NodeDown, 0.5, 1.0, NodeMetric::CpuUsed).is_nan());
        assert_eq!(after(InjectedFault::NodeDown, 0.5, 1.0, NodeMetric::Ready), 0.0);
    }
}
