//! What is simulated: nodes, pods, workloads and what they use. Immutable once made, shared by all runs.

mod node;
mod pod;
mod rules;
mod scenario;
mod usage;
mod window;

pub use node::{Node, NodeId, ZoneId};
pub use pod::{Pod, PodId, QosClass, Request, Workload, WorkloadId};
pub use rules::{AffinityTerm, Label, Rules, SpreadConstraint, Strength, Taint, TaintEffect, Topology};
pub use scenario::{Notes, Scenario, ScenarioError};
pub use usage::{SeriesId, Usage, UsageSeries};
