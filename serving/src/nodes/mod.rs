//! What is known of every node now: samples come in every half a minute, go through the same windows that the models were
//! trained on, and each refresh works out all forecasts and anomaly scores, so that a request costs a look-up and the
//! agent's forward pass.

mod clock;
mod feed;
mod keeper;
mod offsets;
mod shared;
mod snapshot;
mod view;
mod watch;
mod workloads;

pub use clock::{MOST_AHEAD, MOST_SKEW, age_seconds};
pub use feed::{Feed, Tables};
pub use keeper::{KeepArgs, keep};
pub use offsets::LiveOffsets;
pub use shared::{RedisArgs, Shared};
pub use view::{Anomaly, ClusterView, Fresh, NodeView, Nodes};
pub use watch::{Departure, FreshWatch};
pub use workloads::{NodePods, Workloads};
