//! The Kubernetes API: who we are to it, watches that come back by themselves, and the objects.

mod connect;
mod event;
mod objects;
mod watch;

pub use connect::{Api, KubeError};
pub use event::Event;
pub use objects::{
    Condition, Container, Metadata, Node, NodeSpec, Owner, Pod, PodSpec, PodStatus, Quantity, Resources, Taint,
};
pub use watch::{Happened, Resource, watch};
