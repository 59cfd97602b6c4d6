//! The webhook that stock kube-scheduler calls for each pod. Its first promise is safety: with Berth broken, slow, misled or absent,
//! pods are scheduled as if it were not there.
//!
//! - [`wire`]: what kube-scheduler sends and reads. [`http`]: routes. [`decide`]: from a request to an answer.
//! - [`scoring`]: scores, here or of a `serving` elsewhere. [`spread`]: scores to points. [`reject`]: the filter.
//! - [`rules`]: what may change while the process runs. [`rollout`]: whose pods are in. [`health`]: whether scores may be trusted.
//! - [`kubernetes`]: watches. [`ledger`]: load on its way to nodes.
//! - [`decision`], [`memory`], [`record`]: what was decided, how it turned out, and how it is kept. [`explain`], [`shadow`], [`history`], [`notes`]:
//!   how people hear of it. [`doctor`]: what may be wrong around it. [`quarantine`]: taints, by explicit rule.
