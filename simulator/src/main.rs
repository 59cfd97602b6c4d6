//! The `simulator` command.

use clap::{CommandFactory, FromArgMatches};
use simulator::command::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    runtime::run(|| {
        let cli = Cli::from_arg_matches(&matches)?;
        runtime::telemetry::init(&cli.telemetry)?;
        simulator::command::run(&cli, &matches)
    })
}
