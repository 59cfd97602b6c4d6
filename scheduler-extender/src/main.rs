//! `scheduler-extender`: see `scheduler-extender --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (cli, matches) = scheduler_extender::command::parse();
    runtime::run(|| {
        runtime::telemetry::init(&cli.telemetry)?;
        scheduler_extender::command::run(&cli, &matches)
    })
}
