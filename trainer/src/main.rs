//! `trainer`: see `trainer --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (cli, matches) = trainer::cli::parse();
    runtime::run(|| {
        runtime::telemetry::init(&cli.telemetry)?;
        trainer::cli::run(cli, &matches)
    })
}
