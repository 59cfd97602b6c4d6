//! `trainer anomaly train`.

use super::super::{Context, JsonArgs, commands};
use crate::anomaly::table::{self, TableColumns, TableSettings, TableTraining, ThresholdChoice};
use crate::text_table::figure;
use crate::train::write_model;
use clap::{ArgMatches, Args};
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  trainer anomaly train --data metrics.csv --model-out detector
  trainer anomaly train --data metrics.parquet --time ts --entity node --label is_anomaly --model-out detector
  trainer anomaly train --data metrics.csv.gz --time ts --columns cpu,memory --contamination 0.01 --model-out detector

The table is read in passes and never whole; the newest part of it is kept for the test. Exit codes: 0 done, 1 failed, 2 wrong use";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct TrainTableArgs {
    /// The table: .csv, .csv.gz or .parquet, one row per reading
    // It has the id of the global flag for the data folder, which it takes the place of: nothing here reads that folder.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder to write the model to; it is replaced whole
    #[arg(long, value_name = "DIR")]
    model_out: PathBuf,
    #[command(flatten)]
    columns: TableColumns,
    #[command(flatten)]
    settings: TableSettings,
    #[command(flatten)]
    output: JsonArgs,
}

pub(super) fn run(context: &Context, args: &TrainTableArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: TableSettings = context.config.resolve("trainer.anomaly_table", &args.settings, matches)?;
    settings.validate()?;
    let trained_at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let spinner = runtime::progress::spinner("looking at the table");
    let windows = settings.windows(args.columns.time.is_some());
    let profile = table::profile(&args.data, &args.columns, &windows, |rows| {
        spinner.set_message(format!("looking at the table: {rows} rows"));
    })?;
    let all = profile.rows;
    let trained = table::train_table(&args.data, profile, &settings, |rows| {
        spinner.set_message(format!("learning: {rows} of {all} rows"));
    })?;
    spinner.set_message("writing the model");
    let name = args.data.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let hash = runtime::files::sha256_file(&args.data)?;
    write_model(&args.model_out, table::seal_table(&trained, &name, &hash, &settings, &trained_at)?, &[])?;
    spinner.finish_and_clear();
    let document = json!({
        "model": args.model_out,
        "rows": trained.profile.rows,
        "columns": trained.profile.plan.columns,
        "left_out": trained.profile.left_out,
        "counts": trained.counts,
        "labels": { "usual": trained.profile.labels.0, "anomalies": trained.profile.labels.1 },
        "learned_rows": trained.learned.0,
        "drawn_from_rows": trained.learned.1,
        "threshold": trained.choice,
        "test": { "rows": trained.tested.1, "judged_rows": trained.tested.0, "flagged_share": trained.test_flagged, "scores": trained.test },
        "seconds": trained.seconds,
    });
    commands::print_or_json(args.output.json, &document, || text(&trained, &args.model_out));
    Ok(())
}

fn text(trained: &TableTraining, folder: &Path) -> String {
    let plan = &trained.profile.plan;
    let mut text = format!(
        "learned from {} of {} rows, {} columns, {} forests, in {:.1} s\n",
        trained.learned.0,
        trained.learned.1,
        plan.columns.len(),
        trained.detector.members().len(),
        trained.seconds
    );
    let mut note = |line: String| text.push_str(&format!("note   {line}\n"));
    for left in &trained.profile.left_out {
        note(format!("column `{}` is left out: {}", left.column, left.reason));
    }
    // What pass 1 left out is extra to pass 2: it was said with its reason already.
    let counts = detection::table::RowCounts { extra_columns: Vec::new(), ..trained.counts.clone() };
    counts.lines().into_iter().for_each(&mut note);
    note(match &trained.choice {
        ThresholdChoice::ByCost { rows, anomalies, cost } => {
            format!("the threshold costs least on {rows} labelled rows with {anomalies} anomalies: {cost}")
        }
        ThresholdChoice::ByShare { share, reason } => {
            format!("{reason}: the threshold leaves {:.2} % of the readings above it", 100.0 * share)
        }
    });
    let flagged = trained.test_flagged.map(|share| 100.0 * share);
    match (&trained.test, trained.tested.1) {
        (_, 0) => note("nothing was tested".to_owned()),
        (None, rows) => {
            note(format!("tested on the last {rows} rows without labels: {} % are flagged", figure(flagged, 2)))
        }
        (Some(points), rows) => note(format!(
            "tested on the last {rows} rows ({} anomalies): precision {}, recall {}, false-positive rate {}, ROC-AUC {}, PR-AUC {}",
            points.odd_rows,
            figure(points.precision, 3),
            figure(points.recall, 3),
            figure(points.false_positive_rate, 4),
            figure(points.roc_auc, 3),
            figure(points.pr_auc, 3)
        )),
    }
    text.push_str(&format!("model  {}\n", folder.display()));
    text
}
