//! `serving`: see `serving --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (cli, matches) = serving::command::parse();
    runtime::run(|| {
        runtime::telemetry::init(&cli.telemetry)?;
        serving::command::run(&cli, &matches)
    })
}
