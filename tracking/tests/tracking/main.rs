//! One suite for every backend, against real servers.

mod bad_input;
mod conformance;
mod mlflow;
mod postgres;
mod promotion;
mod servers;
mod speed;
mod spool;
mod sqlite;
