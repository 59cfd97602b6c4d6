//! One suite for every backend, against real servers.


mod conformance;

mod postgres;
mod servers;

mod sqlite;
