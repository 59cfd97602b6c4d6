//! Utilizations that mean something, each in one place: usage as a share of allocatable.

/// What packing fills a node to.
pub const TARGET_UTILIZATION: f64 = 0.65;
/// A node above this is hot.
pub const HOT_UTILIZATION: f64 = 0.8;
/// Above this CPU is short at each peak, and memory is near the kubelet's eviction.
pub const VERY_HOT_UTILIZATION: f64 = 0.9;
/// From here on a node is full, whatever is gained by filling it.
pub const SATURATED_UTILIZATION: f64 = 0.95;
