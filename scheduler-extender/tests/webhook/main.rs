//! The real program as kube-scheduler, people and probes meet it. One test target, since each links everything.

mod attacks;
mod clock;
mod contract;
mod embedded;
mod faults;
#[path = "../../../serving/tests/support/liar.rs"]
mod liar;
mod peers;
mod quarantine;
#[path = "../../../serving/tests/support/redis.rs"]
mod redis;
mod remote;
mod support;
mod tls;
mod watch;
#[path = "../../../serving/tests/support/world.rs"]
mod world;
