//! `trainer gate-results`: forecasts once, figures as often as one likes.

use super::{Context, FeaturesArgs, JsonArgs, commands, inputs};
use crate::gate_results;
use crate::recipe::{self, Recipe};
use crate::validate::GateSettings;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  trainer gate-results --features features.json --set bitbrains-rnd --seed 1 --out gate
  trainer gate-results --set bitbrains-rnd --seed 1 --out gate     the figures again, from the forecasts that are there";

/// What to compute.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GateResultsArgs {
    #[command(flatten)]
    features: FeaturesArgs,
    /// Name of the set in the tables, such as bitbrains-rnd
    #[arg(long, value_name = "NAME")]
    set: String,
    /// Seed of the models; forecasts of several seeds lie beside each other
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
    /// Folder for SET-SEED.parquet (forecasts, made where they are not there yet) and SET-SEED.json (figures)
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Days at the end of the history that are forecast
    #[arg(long, default_value_t = 45, value_name = "DAYS")]
    test_days: u32,
    /// Training rows per head, at most
    #[arg(long, default_value_t = 60_000, value_name = "ROWS")]
    max_rows: usize,
    /// Threads
    #[arg(long, default_value = "2", value_name = "THREADS")]
    threads: NonZeroUsize,
    #[command(flatten)]
    output: JsonArgs,
}

pub(super) fn run(context: &Context, args: &GateResultsArgs) -> anyhow::Result<()> {
    let path = args.out.join(format!("{}-{}.parquet", args.set, args.seed));
    if !path.exists() {
        let dataset = inputs::dataset(context, &args.features)?;
        let rows = inputs::rows(context, &dataset, &recipe::all_columns())?;
        let recipe: Recipe = inputs::defaults(context, "trainer.booster")?;
        let bar = runtime::progress::bar(gate_results::forecasts::fits(), "forecasting");
        let heads =
            gate_results::forecast(&rows, &recipe, args.test_days, args.seed, args.max_rows, args.threads, |step| {
                tracing::debug!(step, "forecast");
                bar.inc(1);
            })?;
        bar.finish_and_clear();
        gate_results::write(&path, &heads)?;
    }
    let heads = gate_results::read(&path)?;
    let limits: GateSettings = inputs::defaults(context, "trainer.validate")?;
    let spinner = runtime::progress::spinner("judging");
    let figures =
        gate_results::figures(&args.set, args.seed, &heads, &limits, |step| spinner.set_message(step.to_owned()))?;
    spinner.finish_and_clear();
    let out = args.out.join(format!("{}-{}.json", args.set, args.seed));
    runtime::files::write_json(&out, &figures)?;
    commands::print_or_json(args.output.json, &serde_json::to_value(&figures)?, || {
        let days = figures.span.hours() / 24.0;
        format!("{days:.1} days of forecasts in {}, figures in {}\n", path.display(), out.display())
    });
    Ok(())
}
