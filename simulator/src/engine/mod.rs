//! The cluster that runs a scenario: event-driven, deterministic.
//!
//! Between two events nothing changes, so all times over a limit are exact and not sampled. Demand changes when a pod
//! starts or ends and at each usage step; see `contention` for what happens when it is more than a node has.

mod account;
mod contention;
mod events;
mod filter;
mod habits;
mod node_run;
mod presence;
mod queue;
mod settings;
mod simulation;
mod telemetry;
mod view;

pub use account::{Account, MAX_GPUS, SCORED_CPU_MILLI, SCORED_MEMORY_BYTES};
pub(crate) use account::{scored_cpu, scored_memory};
pub use contention::{CRITICAL_PRIORITY, CpuClaim, CpuShare, share_cpu};
pub use filter::feasible_nodes_to_find;
pub use presence::Presence;
pub use settings::EngineSettings;
pub use simulation::{Release, Simulation, run};
pub use telemetry::Seen;
pub use view::{Ask, InFlight, View};
