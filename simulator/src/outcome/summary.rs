//! The figures of one run.

use serde::Serialize;

/// What came of a run. Times are in minutes, ratios in 0..1.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The policy's name.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// Sum over the nodes of the time that they were there.
    pub node_minutes: f64,
    /// Of these, with CPU demand over 80 % of allocatable.
    pub hot_80_minutes: f64,
    /// Of these, with CPU demand over 90 % of allocatable.
    pub hot_90_minutes: f64,
    /// Of these, with memory over 90 % of allocatable.
    pub memory_90_minutes: f64,
    /// Pod-minutes in which a pod got less CPU than it wanted.
    pub throttled_pod_minutes: f64,
    /// CPU wanted and not granted, in core-minutes.
    pub missing_core_minutes: f64,
    /// Pods killed for memory; each came back to the queue.
    pub evictions: u64,
    /// Pods that lost their node.
    pub displaced: u64,
    /// Mean CPU utilization over nodes and time, by CPU granted.
    pub mean_utilization: f64,
    /// 95th percentile of CPU utilization over nodes and time, by CPU granted.
    pub p95_utilization: f64,
    /// Mean over time of the standard deviation of CPU utilization over the nodes.
    pub imbalance: f64,
    /// Mean over time of the share of all CPU that is free by requests, on nodes where no median pod fits.
    pub stranded_share: f64,
    /// Pod-minutes spent waiting for a node.
    pub pending_pod_minutes: f64,
    /// 99th percentile of the time from creation to the first start, in seconds; the wait so far of who never started
    /// included.
    pub p99_wait_seconds: f64,
    /// Pods that came.
    pub pods: u64,
    /// Pods that were started at least once.
    pub placed: u64,
    /// Pods that never found a node.
    pub never_placed: u64,
    /// Pods whose life ended.
    pub completed: u64,
    /// Pods that ran at the end.
    pub running: u64,
    /// Pods that waited at the end.
    pub waiting: u64,
    /// Decisions that chose a node, restarts included.
    pub decisions: u64,
    /// Core-hours of the nodes while they had a pod.
    pub used_core_hours: f64,
    /// Core-hours of the nodes.
    pub core_hours: f64,
    /// Median over time of how many more median pods would have fitted by requests.
    pub room_by_requests: f64,
    /// The same in the tightest twentieth of the time (5th percentile).
    pub room_by_requests_p5: f64,
    /// Median over time of how many more would have fitted with no node over 80 % of CPU or 90 % of memory in use.
    pub room_by_usage: f64,
    /// The same in the tightest twentieth of the time.
    pub room_by_usage_p5: f64,
    /// By bins of time and node, for charts.
    #[serde(skip)]
    pub series: Series,
}

/// The course of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Length of a bin in ms.
    pub bin_ms: i64,
    /// Node-minutes over 80 % CPU by bin.
    pub hot_80: Vec<f64>,
    /// Mean CPU utilization by node, then bin; NaN where the node was not there.
    pub nodes: Vec<Vec<f32>>,
    /// Share of node-time by CPU utilization: 100 bins of one point, the last holds 99 % and more.
    pub utilization: Vec<f64>,
}
