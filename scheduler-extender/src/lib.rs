//! The webhook that stock kube-scheduler calls for each pod. Its first promise is safety: with Berth broken, slow, misled or absent,
//! pods are scheduled as if it were not there.
//!
//! - [`wire`]: what kube-scheduler sends and reads. [`http`]: routes. [`decide`]: from a request to an answer.
//! - [`scoring`]: scores, here or of a `serving` elsewhere. [`spread`]: scores to points. [`reject`]: the filter.
//! - [`rules`]: what may change while the process runs. [`rollout`]: whose pods are in. [`health`]: whether scores may be trusted.
//! - [`kubernetes`]: watches. [`ledger`]: load on its way to nodes.
//! - [`decision`], [`memory`], [`record`]: what was decided, how it turned out, and how it is kept. [`explain`], [`shadow`], [`history`], [`notes`], [`announce`]:
//!   how people hear of it. [`peers`]: the other replicas. [`doctor`]: what may be wrong around it. [`quarantine`]: taints, by explicit
//!   rule.
//!
//! No feature formula and no model format is known here.

pub mod announce;
pub mod command;
pub mod decide;
pub mod decision;
pub mod doctor;
pub mod explain;
pub mod health;
pub mod history;
pub mod http;
pub mod kubernetes;
pub mod ledger;
pub mod memory;
pub mod metrics;
pub mod moment;
pub mod notes;
pub mod peers;
pub mod quarantine;
pub mod record;
pub mod reject;
pub mod rollout;
pub mod rules;
pub mod run;
pub mod scoring;
pub mod settings;
pub mod shadow;
pub mod spread;
pub mod unobserved;
pub mod wire;
