//! One function per command: read, call the library, write.

use super::peer_script::{self, PeerScript};
use super::{
    CompareArgs, Context, ExplainArgs, ExportArgs, JsonArgs, RegisterArgs, ResultsArgs, RollbackArgs, RunsArgs,
    ShowArgs, TrainLoadArgs, ValidateArgs, inputs,
};
use crate::anomaly::AnomalyVerdict;
use crate::compare::{self, CompareSettings};
use crate::list::Listing;
use crate::placement::PlacementVerdict;
use crate::recipe::Recipe;
use crate::registry::{self, Registered};
use crate::results::{self, Peer, ResultsSettings};
use crate::text_table::{figure, minute, text_table};
use crate::train::{self, LoadSettings, RunReference, TrainedLoad};
use crate::validate::{Decision, GateSettings, Verdict};
use crate::{explain, list, recipe, validate as gate};
use anyhow::Context as _;
use clap::ArgMatches;
use cluster::NodeName;
use models::artifact::{ANOMALY_DETECTOR, Artifact};
use models::load::HeadKey;
use runtime::{GateRefused, WrongUse};
use serde_json::json;
use std::path::{Path, PathBuf};
use store::DatasetVersion;
use tracking::Tracker;

pub(super) fn train_load(context: &Context, args: &TrainLoadArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: LoadSettings = context.config.resolve("trainer.load", &args.settings, matches)?;
    let recipe: Recipe = context.config.resolve("trainer.booster", &args.recipe, matches)?;
    let dataset = inputs::dataset(context, &args.features)?;
    let (trained, run) = train(context, &dataset, &settings, &recipe, &args.model_out)?;
    print_or_json(args.output.json, &training_json(&trained, &run, &args.model_out), || {
        training_text(&trained, &run, &args.model_out)
    });
    Ok(())
}

/// Trains, writes the folder with its report, logs the run.
pub(super) fn train(
    context: &Context,
    dataset: &DatasetVersion,
    settings: &LoadSettings,
    recipe: &Recipe,
    folder: &Path,
) -> anyhow::Result<(TrainedLoad, RunReference)> {
    context.experiment(train::EXPERIMENT)?;
    let rows = inputs::schema_rows(context, dataset)?;
    let trained_at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let bar = runtime::progress::bar(HeadKey::all().count() as u64, "training heads");
    let trained = train::train_load(&rows, settings, recipe, |key| {
        tracing::debug!(head = %key, "head is trained");
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    let page = train::page(&trained, &rows, &dataset.id)?;
    let sealed = train::seal(&trained, dataset, settings, recipe, &trained_at)?;
    let fresh = sealed.fresh_files()?;
    let mut extra = vec![("report.html", page.as_bytes())];
    extra.extend(fresh.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    train::write_model(folder, sealed.judged, &extra)?;
    let run = context
        .with_tracker(async |tracker| train::log_run(tracker, &trained, dataset, settings, recipe, folder).await)?;
    runtime::files::write_json(&folder.join(train::RUN_FILE), &run)?;
    Ok((trained, run))
}

pub(super) fn training_text(trained: &TrainedLoad, run: &RunReference, folder: &Path) -> String {
    let rows: Vec<Vec<String>> = trained
        .heads
        .iter()
        .filter_map(|head| {
            let scores = head.scores?;
            Some(vec![
                head.key.slug(),
                figure(Some(scores.mae_points), 3),
                figure(Some(scores.persistence_mae_points), 3),
                figure(scores.accuracy_percent, 2),
                figure(scores.skill, 3),
                figure(scores.p90_coverage, 3),
                if head.fit.fitted.evidence.fallback { "baseline" } else { "booster" }.to_owned(),
            ])
        })
        .collect();
    let table =
        text_table(&["head", "MAE points", "persistence", "accuracy %", "skill", "P90 covers", "answers"], &rows);
    format!(
        "trained on {} nodes, {} rows, {} to {} UTC in {:.1} s; tested from {} UTC on\n{table}model  {}\nreport {}\nrun    {} in {}\n",
        trained.nodes.len(),
        trained.rows,
        minute(trained.span.from),
        minute(trained.span.until),
        trained.seconds,
        minute(trained.test_from()),
        folder.display(),
        folder.join("report.html").display(),
        run.run_id,
        run.store
    )
}

fn training_json(trained: &TrainedLoad, run: &RunReference, folder: &Path) -> serde_json::Value {
    let heads: Vec<_> = trained
        .heads
        .iter()
        .map(|head| json!({ "head": head.key.slug(), "scores": head.scores, "yesterday": head.yesterday, "five_minute": head.five_minute, "held_out": head.held_out, "folds": head.folds, "evidence": head.fit.fitted.evidence }))
        .collect();
    json!({ "model": folder, "run": run, "seconds": trained.seconds, "rows": trained.rows, "nodes": trained.nodes, "heads": heads })
}

pub(super) fn validate(context: &Context, args: &ValidateArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let limits: GateSettings = context.config.resolve("trainer.validate", &args.limits, matches)?;
    let dataset = inputs::dataset(context, &args.features)?;
    let verdict = judge(context, &dataset, &args.model, &limits)?;
    if let Some(path) = &args.json_out {
        runtime::files::write_json(path, &verdict)?;
    }
    if let Some(path) = &args.html_out {
        runtime::files::write_text(path, &gate::page(&verdict))?;
    }
    print_or_json(args.output.json, &serde_json::to_value(&verdict)?, || verdict_text(&verdict));
    refuse(&verdict)
}

pub(super) fn judge(
    context: &Context,
    dataset: &DatasetVersion,
    folder: &Path,
    limits: &GateSettings,
) -> anyhow::Result<Verdict> {
    let model = train::read_model(folder)?;
    let champion = context.with_tracker(async |tracker| registry::fetch_champion(tracker).await)?;
    let mut columns = recipe::schema_columns();
    for column in model.predictor.features().iter() {
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    let rows = inputs::rows(context, dataset, &columns)?;
    gate::validate(&model, champion.as_ref(), &rows, &dataset.id, limits)
}

/// "Not yet" is no refusal: nothing is wrong with the model, and the champion goes on.
pub(super) fn refuse(verdict: &Verdict) -> anyhow::Result<()> {
    if verdict.passed {
        return Ok(());
    }
    Err(GateRefused(format!("validation refused the model: {}", verdict.reasons().join("; "))).into())
}

pub(super) fn verdict_text(verdict: &Verdict) -> String {
    let rows: Vec<Vec<String>> = verdict
        .checks
        .iter()
        .map(|check| {
            vec![
                check.head.clone(),
                check.rule.clone(),
                if check.passed { "holds" } else { "FAILS" }.to_owned(),
                check.reason.clone(),
            ]
        })
        .collect();
    let champion = match (&verdict.champion, &verdict.champion_note) {
        (Some(version), _) => format!("compared with champion version {version}"),
        (None, Some(note)) => format!("not compared with the champion: {note}"),
        (None, None) => "there is no champion yet".to_owned(),
    };
    let said = match verdict.decision {
        Decision::Promote => "passed",
        Decision::NotYet => "NOT YET decided",
        Decision::Keep => "REFUSED",
    };
    let waits = verdict.waits_for().map(|reason| format!("not yet: {reason}\n"));
    let fresh = match &verdict.fresh {
        Some(fresh) if fresh.passed => "the fresh fit of this recipe agrees with it and may serve\n".to_owned(),
        Some(fresh) => {
            format!("the fresh fit departs, the judged model serves instead: {}\n", fresh.reasons.join("; "))
        }
        None => String::new(),
    };
    format!(
        "{}validation {said} on {} to {} UTC, {champion}\n{}{fresh}",
        text_table(&["head", "rule", "", "why"], &rows),
        minute(verdict.window.from),
        minute(verdict.window.until),
        waits.unwrap_or_default()
    )
}

pub(super) fn register(context: &Context, args: &RegisterArgs) -> anyhow::Result<()> {
    let promote = !args.keep_champion;
    let text: serde_json::Value =
        runtime::files::read_json(&args.validation).context("that is no verdict on a model")?;
    let model = text.get("model").and_then(serde_json::Value::as_str).unwrap_or(registry::MODEL).to_owned();
    let (name, registered) = if model == registry::PLACEMENT_MODEL {
        let verdict: PlacementVerdict =
            serde_json::from_value(text).context("that is no verdict of `trainer train placement`")?;
        let register =
            async |tracker: &dyn Tracker| registry::register_placement(tracker, &args.model, &verdict, promote).await;
        (registry::PLACEMENT_MODEL, context.with_tracker(register)?)
    } else if model == registry::ANOMALY_MODEL {
        let verdict: AnomalyVerdict =
            serde_json::from_value(text).context("that is no verdict of `trainer train anomaly`")?;
        let register =
            async |tracker: &dyn Tracker| registry::register_detector(tracker, &args.model, &verdict, promote).await;
        (registry::ANOMALY_MODEL, context.with_tracker(register)?)
    } else {
        let verdict: Verdict = serde_json::from_value(text).context("that is no verdict of `trainer validate`")?;
        let register = async |tracker: &dyn Tracker| registry::register(tracker, &args.model, &verdict, promote).await;
        (registry::MODEL, context.with_tracker(register)?)
    };
    print_or_json(args.output.json, &serde_json::to_value(&registered)?, || registered_text(name, &registered));
    Ok(())
}

pub(super) fn registered_text(name: &str, registered: &Registered) -> String {
    let Registered { version, semver, is_new, is_champion, previous, judged, waits_for } = registered;
    let what = match judged {
        Some(judged) => format!("version {version} ({semver}) of {name}, a fresh fit of judged version {judged}"),
        None => format!("version {version} ({semver}) of {name}"),
    };
    let waits = waits_for.as_ref().map_or_else(String::new, |reason| format!(". Not champion yet: {reason}"));
    match (is_new, is_champion, previous) {
        (false, true, _) => format!("this very model is version {version} ({semver}) and champion already\n"),
        (false, false, _) => format!("this very model is version {version} ({semver}) and challenger already{waits}\n"),
        (true, true, Some(previous)) => {
            format!("registered {what}; it is champion, version {previous} is `previous`\n")
        }
        (true, true, None) => format!("registered {what}; it is the first champion\n"),
        (true, false, _) => format!("registered {what} as challenger{waits}\n"),
    }
}

pub(super) fn rollback(context: &Context, args: &RollbackArgs) -> anyhow::Result<()> {
    let done = context.with_tracker(async |tracker| {
        registry::rollback(tracker, &args.name, args.to.as_deref(), &args.reason).await
    })?;
    print_or_json(args.output.json, &serde_json::to_value(&done)?, || {
        format!("champion of {} is version {} again, version {} was taken back\n", args.name, done.to, done.from)
    });
    Ok(())
}

pub(super) fn compare(context: &Context, args: &CompareArgs) -> anyhow::Result<()> {
    let recipe: Recipe = inputs::defaults(context, "trainer.booster")?;
    let dataset = inputs::dataset(context, &args.features)?;
    context.experiment(compare::EXPERIMENT)?;
    let rows = inputs::rows(context, &dataset, &recipe::all_columns())?;
    let hours = args.validation_hours.unwrap_or_else(|| (rows.span().hours() / 10.0).min(24.0));
    let settings = CompareSettings {
        heads: args.heads.clone(),
        target: if args.five_minute { features::TargetKind::FiveMinute } else { features::TargetKind::HourMean },
        folds: args.folds,
        validation_hours: hours,
        max_rows: args.max_rows,
        seed: args.seed,
        threads: args.threads,
    };
    let spinner = runtime::progress::spinner("comparing");
    let comparison =
        compare::compare(&dataset.id, &rows, &recipe, &settings, |step| spinner.set_message(step.to_owned()))?;
    spinner.finish_and_clear();
    let out = args.out.clone().unwrap_or_else(|| context.store.root().join("reports/compare"));
    runtime::files::write_json(&out.join("comparison.json"), &comparison)?;
    let markdown = compare::markdown(&comparison);
    runtime::files::write_text(&out.join("comparison.md"), &markdown)?;
    runtime::files::write_text(&out.join("comparison.html"), &compare::page(&comparison))?;
    context.with_tracker(async |tracker| compare::log(tracker, &comparison, &out).await)?;
    print_or_json(args.output.json, &serde_json::to_value(&comparison)?, || {
        format!("{markdown}\npage {}\n", out.join("comparison.html").display())
    });
    Ok(())
}

pub(super) fn explain(context: &Context, args: &ExplainArgs) -> anyhow::Result<()> {
    let model = match &args.model {
        Some(folder) => train::read_model(folder)?,
        None => {
            let champion = context.with_tracker(async |tracker| registry::fetch_champion(tracker).await)?;
            champion
                .map(|champion| champion.model)
                .context("there is no champion to explain. Register a model, or name a folder with --model")?
        }
    };
    let dataset = inputs::dataset(context, &args.features)?;
    let rows = inputs::rows(context, &dataset, model.predictor.features())?;
    let explained = explain::explain(&model, &rows, &NodeName::new(&args.node), args.at, args.quantile, args.head)?;
    if let Some(path) = &args.html {
        runtime::files::write_text(path, &explain::page(&explained))?;
    }
    print_or_json(args.output.json, &serde_json::to_value(&explained)?, || explain::text(&explained));
    Ok(())
}

pub(super) fn export(context: &Context, args: &ExportArgs) -> anyhow::Result<()> {
    let blobs = match (&args.model, &args.id) {
        (Some(folder), _) => runtime::files::read_folder(folder)?,
        (None, Some(id)) => context.with_tracker(async |tracker| {
            let version = registry::version_named(tracker, id).await?.ok_or_else(|| {
                WrongUse(format!(
                    "`{id}` names no version: want MODEL@ALIAS or MODEL/VERSION, such as load-predictor@champion"
                ))
            })?;
            let folder = tempfile::tempdir().context("failed to make a temporary folder for a model")?;
            let fetched = tracker.fetch_version(&version.model, &version.version, folder.path()).await;
            fetched.with_context(|| format!("failed to fetch `{id}`"))?;
            anyhow::Ok(runtime::files::read_folder(folder.path())?)
        })?,
        (None, None) => return Err(WrongUse("name a model, or a folder with --model".to_owned()).into()),
    };
    let artifact = Artifact::from_blobs(blobs)?;
    if artifact.metadata().name == ANOMALY_DETECTOR {
        let why = "no interchange format has words for its calibrated vote. Its artifact is JSON and bytes that models/README.md describes";
        return Err(WrongUse(format!("`{ANOMALY_DETECTOR}` cannot be exported: {why}")).into());
    }
    let files = models::export::export(&artifact)?;
    for (name, bytes) in &files {
        runtime::files::write_atomic(&args.out.join(name), |file| std::io::Write::write_all(file, bytes))?;
    }
    let names: Vec<&String> = files.keys().collect();
    print_or_json(args.output.json, &serde_json::json!({ "folder": args.out, "files": names }), || {
        let list: String = names.iter().map(|name| format!("  {name}\n")).collect();
        format!("wrote {} files to {}\n{list}", names.len(), args.out.display())
    });
    Ok(())
}

pub(super) fn results(context: &Context, args: &ResultsArgs) -> anyhow::Result<()> {
    let dataset = inputs::dataset(context, &args.features)?;
    let rows = inputs::schema_rows(context, &dataset)?;
    let settings = ResultsSettings {
        seeds: args.seeds.clone(),
        test_share: args.test_share,
        max_rows: args.max_rows,
        retrain_days: args.retrain_days,
        held_out_nodes: args.held_out_nodes,
        threads: args.threads,
    };
    let script = PeerScript::new(args.peer_script.as_deref(), peer_script::XGBOOST)?;
    let peer = args.peer_python.clone().map(|python| Peer { python, script: script.path() });
    let bar = runtime::progress::bar(2 * HeadKey::all().count() as u64, "results");
    let recipe: Recipe = inputs::defaults(context, "trainer.booster")?;
    let results = results::results(&args.set, &dataset.id, &rows, &settings, &recipe, peer.as_ref(), |_| bar.inc(1))?;
    bar.finish_and_clear();
    let markdown = results::markdown(&results);
    runtime::files::write_json(&args.out.join(format!("{}.json", args.set)), &results)?;
    runtime::files::write_text(&args.out.join(format!("{}.md", args.set)), &markdown)?;
    let page: PathBuf = args.out.join(format!("{}.html", args.set));
    runtime::files::write_text(&page, &results::page(&results))?;
    print_or_json(args.output.json, &serde_json::to_value(&results)?, || {
        format!("{markdown}\npage {}\n", page.display())
    });
    Ok(())
}

pub(super) fn runs(context: &Context, args: &RunsArgs) -> anyhow::Result<()> {
    let listing = context.with_tracker(async |tracker| {
        list::runs(tracker, args.experiment.as_deref(), &args.filter, args.limit, args.nested).await
    })?;
    print_listing(args.output.json, &listing);
    Ok(())
}

pub(super) fn models(context: &Context, args: &JsonArgs) -> anyhow::Result<()> {
    let listing = context.with_tracker(async |tracker| list::models(tracker).await)?;
    print_listing(args.json, &listing);
    Ok(())
}

pub(super) fn show(context: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let listing = context.with_tracker(async |tracker| list::show(tracker, &args.id).await)?;
    print_listing(args.output.json, &listing);
    Ok(())
}

fn print_listing(as_json: bool, listing: &Listing) {
    print_or_json(as_json, &listing.json, || listing.text.clone());
}

/// A reader that went away (`trainer runs | head`) is no failure.
pub(super) fn print_or_json(as_json: bool, value: &serde_json::Value, text: impl FnOnce() -> String) {
    use std::io::Write;
    let text = if as_json { format!("{value:#}\n") } else { text() };
    let _ = std::io::stdout().write_all(text.as_bytes());
}
