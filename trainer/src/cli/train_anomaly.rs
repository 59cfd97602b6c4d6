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
use store::DatasetVersion;

/// Where things go.
struct Places<'a> {
    model: &'a Path,
    verdict: Option<&'a Path>,
    page: Option<&'a Path>,
}

pub(super) fn train(context: &Context, args: &TrainAnomalyArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: AnomalySettings = context.config.resolve("trainer.anomaly", &args.settings, matches)?;
    let gate: AnomalyGate = context.config.resolve("trainer.anomaly_gate", &args.gate, matches)?;
    let dataset = inputs::dataset(context, &args.features)?;
    let places = Places { model: &args.model_out, verdict: args.json_out.as_deref(), page: args.html_out.as_deref() };
    let (trained, run, verdict) = train_and_judge(context, &dataset, &settings, &gate, &places)?;
    let document = json!({ "model": places.model, "run": run, "seconds": trained.seconds, "verdict": verdict });
    commands::print_or_json(args.output.json, &document, || text(&trained, &verdict, &settings, &run, places.model));
    refuse(&verdict)
}

/// Trains, judges and registers with the settings of the configuration: the detector's part of `trainer` without a command.
pub(super) fn retrain(context: &Context, dataset: &DatasetVersion) -> anyhow::Result<()> {
    let settings: AnomalySettings = inputs::defaults(context, "trainer.anomaly")?;
    let gate: AnomalyGate = inputs::defaults(context, "trainer.anomaly_gate")?;
    let folder = context.store.root().join("models").join(registry::ANOMALY_MODEL);
    let reports = context.store.root().join("reports");
    let (verdict_file, page_file) = (reports.join("anomaly-validation.json"), reports.join("anomaly-detector.html"));
    let places = Places { model: &folder, verdict: Some(&verdict_file), page: Some(&page_file) };
    let (trained, run, verdict) = train_and_judge(context, dataset, &settings, &gate, &places)?;
    let print = |text: String| commands::print_or_json(false, &serde_json::Value::Null, || text);
    print(text(&trained, &verdict, &settings, &run, &folder));
    refuse(&verdict)?;
    let registered =
        context.with_tracker(async |tracker| registry::register_detector(tracker, &folder, &verdict, true).await)?;
    print(commands::registered_text(registry::ANOMALY_MODEL, &registered));
    Ok(())
}

/// Trains, judges, writes the folder with its report and the verdict, logs the run.
fn train_and_judge(
    context: &Context,
    dataset: &DatasetVersion,
    settings: &AnomalySettings,
    gate: &AnomalyGate,
    places: &Places<'_>,
) -> anyhow::Result<(TrainedDetector, RunReference, AnomalyVerdict)> {
    settings.validate()?;
    gate.validate()?;
    context.experiment(anomaly::EXPERIMENT)?;
    let history = History::load(&context.store, dataset)?;
    let champion = context.with_tracker(async |tracker| registry::fetch_detector_champion(tracker).await)?;
    let trained_at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let spinner = runtime::progress::spinner("training the anomaly detector");
    let trained = anomaly::train_detector(&history, settings)?;
    spinner.finish_and_clear();

    write_model(places.model, anomaly::seal_detector(&trained, dataset, settings, &trained_at)?, &[])?;
    let model = anomaly::read_detector(places.model)?;
    let costs = (settings.missed_cost, settings.false_alarm_cost);
    let verdict = anomaly::judge(&model, &trained, champion.as_ref(), &history, &dataset.id, costs, gate)?;
    let page = anomaly::page(&trained, &verdict, &history, settings);
    runtime::files::write_text(&places.model.join("report.html"), &page)?;
    let run = context.with_tracker(async |tracker| {
        anomaly::log_run(tracker, &trained, &verdict, dataset, settings, places.model).await
    })?;
    runtime::files::write_json(&places.model.join(RUN_FILE), &run)?;
    if let Some(path) = places.verdict {
        runtime::files::write_json(path, &verdict)?;
    }
    if let Some(path) = places.page {
        runtime::files::write_text(path, &page)?;
    }
    Ok((trained, run, verdict))
}

fn refuse(verdict: &AnomalyVerdict) -> anyhow::Result<()> {
    if verdict.passed {
        return Ok(());
    }
    let how = if verdict.is_undecided() { "refused the detector, undecided" } else { "refused the detector" };
    Err(GateRefused(format!("validation {how}: {}", verdict.reasons().join("; "))).into())
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
        minute(trained.learn.from),
        minute(trained.learn.until),
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
