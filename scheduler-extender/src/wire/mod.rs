//! What kube-scheduler sends and what it reads: the types of `k8s.io/kube-scheduler/extender/v1`. Its outer structs have no
//! JSON tags, so their keys are capitalised.

mod answer;
mod ask;
mod limits;

pub use answer::{FilterAnswer, HostPriority, MOST_POINTS};
pub use ask::{Ask, Candidates};
