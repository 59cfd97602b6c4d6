//! Attacks `serving` and the extender as a review did, for as long as it is told, and looks at their memory and whether they still answer.
//!
//! Memory is bounded by limits that are set here to less than half of what each program takes when it is idle, so that one and a half times
//! that is never passed; the same limits hold with their defaults, at their defaults' size. Ends with 1 where a limit does not hold.
//!
//! ```sh
//! cargo run -p scheduler-extender --example soak -- --serving target/debug/serving --extender target/debug/scheduler-extender --seconds 60
//! ```

mod attack;
mod client;
mod extender;
mod process;
mod serving;
mod table;
#[path = "../../../serving/tests/support/world.rs"]
mod world;

use anyhow::ensure;
use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;
use world::Root;

/// Nodes of the history that both programs know.
const NODES: usize = 200;

/// Attacks `serving` and the extender for a while; tells memory and liveness, and ends with 1 where one of them broke
#[derive(Debug, Parser)]
struct Cli {
    /// Program `serving`
    #[arg(long, value_name = "FILE")]
    serving: PathBuf,
    /// Program `scheduler-extender`
    #[arg(long, value_name = "FILE")]
    extender: PathBuf,
    /// How long to attack both of them
    #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
    seconds: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    runtime::http::install_crypto_provider();
    let cli = Cli::parse();
    let root = Root::with_models().await;
    world::history(root.path(), NODES);
    let time = Duration::from_secs(cli.seconds);
    let both = tokio::try_join!(
        serving::soak(&cli.serving, root.path(), time),
        extender::soak(&cli.extender, root.path(), time)
    );
    let reports = <[table::Report; 2]>::from(both?);
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        reports.iter().for_each(|report| print!("{}", report.text()));
    }
    let broken: Vec<String> = reports.iter().flat_map(table::Report::broken).collect();
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}
