//! What every Berth command needs and none should write again: configuration, telemetry, exit codes, progress,
//! whole files, signals, HTTP clients, ports for tests.

pub mod body;
pub mod command;
pub mod files;
pub mod http;
pub mod progress;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod testing;

pub use command::{GateRefused, WrongUse, run};
pub use settings::ConfigFile;
