//! Answers: Open Inference Protocol v2 for the three models and their combination, and one score per node.
//!
//! - [`registry`]: which versions serve, and how one takes the place of another. [`infer`]: what each answers.
//! - [`nodes`]: what is known of every node now, kept fresh from Prometheus. [`score`]: one score per node for a pod;
//!   [`combined`]: the same as a model of the protocol.
//! - [`protocol`]: the protocol without a wire; [`ask`]: what a request is for. [`http`]: routes and limits; [`grpc`].
//! - [`predictions`]: what was answered, kept by a [`journal`]; [`events`]: what others answered, as KServe's logger sends it.
//! - [`shadow`]: a challenger beside the champion. [`rollout`]: the same with a share of the workloads.
//! - [`run`]: all of it put together.
//!
//! Nothing is trained here.

pub mod ask;
pub mod combined;
pub mod command;
pub mod events;
pub mod grpc;
pub mod http;
pub mod infer;
pub mod metrics;
pub mod nodes;
pub mod predictions;
pub mod protocol;
pub mod registry;
pub mod rollout;
pub mod run;
pub mod score;
pub mod settings;
pub mod shadow;

pub use server::journal;
