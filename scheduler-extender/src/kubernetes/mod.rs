//! The Kubernetes API: who we are to it, watches that come back by themselves, and the objects.

mod connect;
mod event;
mod names;
mod objects;
mod path;
mod resources;
mod watch;

pub use connect::{Api, KubeError};
pub use event::Event;
pub use names::{MOST_LABEL, MOST_NAME, MOST_UID, is_dns_label, is_dns_subdomain, is_uid};
pub use objects::{Condition, Metadata, Node, NodeSpec, Owner, Pod, PodSpec, PodStatus, Taint};
pub use path::{ApiPath, InvalidName};
pub use resources::{Container, ContainerStatus, InvalidRequest, Quantity, Requests, ResourceList, Resources};
pub use watch::{Happened, Resource, watch};
