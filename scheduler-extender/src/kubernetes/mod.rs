//! The Kubernetes API: who we are to it, watches that come back by themselves, and the objects.

mod connect;
mod event;
mod objects;
mod resources;
mod watch;

pub use connect::{Api, KubeError};
pub use event::Event;
pub use objects::{Condition, Metadata, Node, Owner, Pod, PodSpec, PodStatus};
pub use resources::{Container, ContainerStatus, InvalidRequest, Quantity, Requests, ResourceList, Resources};
pub use watch::{Happened, Resource, watch};
