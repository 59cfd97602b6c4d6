//! The `pipelines` command.

use clap::{CommandFactory, FromArgMatches};
use pipelines::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    runtime::run(|| {
        let cli = Cli::from_arg_matches(&matches)?;
        runtime::telemetry::init(&cli.telemetry)?;
        pipelines::cli::run(&cli, &matches)
    })
}
