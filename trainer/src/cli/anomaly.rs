//! `trainer train anomaly`.

use super::{Context, TrainAnomalyArgs, commands, inputs};
use crate::anomaly::{self, AnomalyGate, AnomalySettings, AnomalyVerdict, History, TrainedDetector};
use crate::registry;
use crate::text_table::minute;
use crate::train::{RUN_FILE, RunReference, write_model};
use clap::ArgMatches;
use runtime::GateRefused;
use serde_json::json;
use std::path::Path;

/// Trains, judges, writes the folder with its report and the verdict, logs the run.
pub(super) fn train(context: &Context, args: &TrainAnomalyArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: AnomalySettings = context.config.resolve("trainer.anomaly", &args.settings, matches)?;
    let gate: AnomalyGate = context.config.resolve("trainer.anomaly_gate", &args.gate, matches)?;
    settings.validate()?;
    gate.validate()?;
    let dataset = inputs::dataset(context, &args.features)?;
    let history = History::load(&context.store, &dataset)?;
    let champion = context.with_tracker(async |tracker| registry::fetch_detector_champion(tracker).await)?;
    let trained_at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let spinner = runtime::progress::spinner("training the anomaly detector");
    let trained = anomaly::train_detector(&history, &settings)?;
    spinner.finish_and_clear();

    let folder = &args.model_out;
    write_model(folder, anomaly::seal_detector(&trained, &dataset, &settings, &trained_at)?, &[])?;
    let model = anomaly::read_detector(folder)?;
    let costs = (settings.missed_cost, settings.false_alarm_cost);
    let verdict = anomaly::judge(&model, &trained, champion.as_ref(), &history, &dataset.id, costs, &gate)?;
    let page = anomaly::page(&trained, &verdict, &history, &settings);
    runtime::files::write_text(&folder.join("report.html"), &page)?;
    let run = context.with_tracker(async |tracker| {
        anomaly::log_run(tracker, &trained, &verdict, &dataset, &settings, folder).await
    })?;
    runtime::files::write_json(&folder.join(RUN_FILE), &run)?;
    if let Some(path) = &args.json_out {
        runtime::files::write_json(path, &verdict)?;
    }
    if let Some(path) = &args.html_out {
        runtime::files::write_text(path, &page)?;
    }
    let document = json!({ "model": folder, "run": run, "seconds": trained.seconds, "verdict": verdict });
    commands::print_or_json(args.output.json, &document, || text(&trained, &verdict, &settings, &run, folder));
    if verdict.passed {
        return Ok(());
    }
    Err(GateRefused(format!("validation refused the model: {}", verdict.reasons().join("; "))).into())
}

fn text(
    trained: &TrainedDetector,
    verdict: &AnomalyVerdict,
    settings: &AnomalySettings,
    run: &RunReference,
    folder: &Path,
) -> String {
    let detectors = [("detector", &verdict.scores), ("z-score", &verdict.zscore)];
    format!(
        "trained from {} to {} UTC in {:.1} s; tested from {} UTC on\n\n{}\n{}\nvalidation {}\nmodel  {}\nreport {}\nrun    {} in {}\n",
        minute(trained.train.from),
        minute(trained.validation.until),
        trained.seconds,
        minute(trained.test.from),
        anomaly::figures(&detectors, settings).markdown(),
        anomaly::point_figures(&detectors).markdown(),
        if verdict.passed { "passed" } else { "REFUSED" },
        folder.display(),
        folder.join("report.html").display(),
        run.run_id,
        run.store
    )
}
