//! `trainer anomaly predict`.

use super::super::{Context, JsonArgs, commands};
use super::model::ModelArgs;
use clap::Args;
use detection::predict::{PredictOptions, predict};
use detection::table::Renamed;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  trainer anomaly predict --model detector --input new.csv --output results.csv
  trainer anomaly predict --input features.parquet --output results.jsonl   the registered champion, on node features
  trainer anomaly predict --model detector --input new.csv.gz --output results.parquet --time when --json

The results have one row for each row of the input, in its order: score, severity, alarm, type, response, blame, problem.
Exit codes: 0 done, 1 failed, 2 wrong use (a column is missing)";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct PredictArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The table: .csv, .csv.gz or .parquet
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where to write the results: .csv, .jsonl or .parquet
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Column of times, where it goes by another name than in training
    #[arg(long, value_name = "NAME")]
    time: Option<String>,
    /// Column that says whose row it is, where it goes by another name than in training
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
    /// Column of labels, to count how good the verdicts are
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Count columns that are absent as missing values instead of refusing the table
    #[arg(long)]
    allow_missing: bool,
    #[command(flatten)]
    printed: JsonArgs,
}

pub(super) fn run(context: &Context, args: &PredictArgs) -> anyhow::Result<()> {
    let loaded = args.model.load(context)?;
    let options = PredictOptions {
        renamed: Renamed { time: args.time.as_deref(), entity: args.entity.as_deref(), label: args.label.as_deref() },
        allow_missing: args.allow_missing,
    };
    let spinner = runtime::progress::spinner("scoring");
    let summary = predict(loaded, &args.input, &args.output, &options, |rows| {
        spinner.set_message(format!("scoring: {rows} rows"));
    })?;
    spinner.finish_and_clear();
    commands::print_or_json(args.printed.json, &serde_json::to_value(&summary)?, || summary.text());
    Ok(())
}
