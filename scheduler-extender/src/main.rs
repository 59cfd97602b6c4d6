//! `scheduler-extender`: see `scheduler-extender --help`.

use std::process::ExitCode;

/// Gives memory that is free again back to the system: history is read once, and what that took would stay otherwise.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (cli, matches) = scheduler_extender::command::parse();
    runtime::run(|| {
        runtime::telemetry::init(&cli.telemetry)?;
        scheduler_extender::command::run(&cli, &matches)
    })
}
