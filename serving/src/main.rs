//! `serving`: see `serving --help`.

use std::process::ExitCode;

/// Gives memory that is free again back to the system: history is read once, and what that took would stay otherwise.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (cli, matches) = serving::command::parse();
    runtime::run(|| {
        runtime::telemetry::init(&cli.telemetry)?;
        serving::command::run(&cli, &matches)
    })
}
