//! `trainer train placement`.

use super::{Context, TrainPlacementArgs, WeightsArgs, commands, inputs};
use crate::placement::{
    self, Clusters, OwnHistory, PlacementGate, PlacementSettings, PlacementVerdict, Trained, Tried, WeightSearch,
};
use crate::registry;
use crate::text_table::text_table;
use crate::train::{RUN_FILE, RunReference, write_model};
use anyhow::Context as _;
use clap::ArgMatches;
use cluster::PODS;
use cluster::score::PartWeights;
use runtime::GateRefused;
use serde_json::json;
use simulator::compare::Interval;
use simulator::outcome::CostWeights;
use std::path::{Path, PathBuf};
use store::StoreError;

/// Where things go.
struct Places<'a> {
    model: &'a Path,
    checkpoint: PathBuf,
    verdict: Option<&'a Path>,
    page: Option<&'a Path>,
}

pub(super) fn train(context: &Context, args: &TrainPlacementArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: PlacementSettings = context.config.resolve("trainer.placement", &args.settings, matches)?;
    let gate: PlacementGate = context.config.resolve("trainer.placement_gate", &args.gate, matches)?;
    let weights: CostWeights = context.config.resolve("simulator.cost", &args.weights, matches)?;
    let places = Places {
        model: &args.model_out,
        checkpoint: args.checkpoint.clone().unwrap_or_else(|| default_checkpoint(context)),
        verdict: args.json_out.as_deref(),
        page: args.html_out.as_deref(),
    };
    if args.restart && places.checkpoint.exists() {
        std::fs::remove_file(&places.checkpoint)
            .with_context(|| format!("failed to remove checkpoint `{}`", places.checkpoint.display()))?;
    }
    let history = own_history(context, &args.history, &settings)?;
    let clusters = Clusters { settings: &settings, history: history.as_ref() };
    let (trained, run, verdict) = train_and_judge(context, clusters, &gate, &weights, &places)?;
    let json = json!({
        "model": args.model_out,
        "run": run,
        "history": history.as_ref().map(|history| &history.dataset),
        "seconds": trained.seconds,
        "starts": trained.starts,
        "looks": trained.looks,
        "verdict": verdict,
    });
    commands::print_or_json(args.output.json, &json, || text(clusters, &trained, &verdict, &run, places.model));
    refuse(&verdict)
}

/// `trainer weights`.
pub(super) fn weights(context: &Context, args: &WeightsArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings: PlacementSettings = context.config.resolve("trainer.placement", &args.settings, matches)?;
    let costs: CostWeights = context.config.resolve("simulator.cost", &args.weights, matches)?;
    settings.check()?;
    costs.check()?;
    let network = placement::read_placement(&args.agent)?.network;
    let clusters = Clusters { settings: &settings, history: None };
    let bar = runtime::progress::bar(placement::WEIGHTS_TRIED as u64, "trying weights");
    let found = placement::search_weights(clusters, &costs, &network, args.strategy, args.rounds, |_| bar.inc(1))?;
    bar.finish_and_clear();
    commands::print_or_json(args.output.json, &serde_json::to_value(&found)?, || weights_text(&found));
    Ok(())
}

fn weights_text(found: &WeightSearch) -> String {
    let percent = |interval: &Interval| {
        format!("{:+.1} % [{:+.1}, {:+.1}]", 100.0 * interval.mean, 100.0 * interval.low, 100.0 * interval.high)
    };
    let row = |tried: &Tried| {
        let PartWeights { load, placement, anomaly } = tried.weights;
        vec![
            format!("{load:.3}"),
            format!("{placement:.3}"),
            format!("{anomaly:.3}"),
            percent(&tried.against_kube),
            percent(&tried.against_default),
            percent(&tried.against_agent),
            percent(&tried.against_load),
        ]
    };
    let heads = [
        "load",
        "placement",
        "anomaly",
        "against kube-scheduler",
        "against the defaults",
        "against agent",
        "against predictor",
    ];
    let words = |tried: Option<&Tried>| {
        tried.map_or("none".to_owned(), |tried| {
            format!(
                "load {:.3}, placement {:.3}, anomaly {:.3}",
                tried.weights.load, tried.weights.placement, tried.weights.anomaly
            )
        })
    };
    format!(
        "strategy {}, {} clusters that the agent has not seen; the first line has the default weights\n{}cheapest: {}\nproposed: {}\n",
        found.strategy,
        found.clusters,
        text_table(&heads, &found.tried.iter().map(row).collect::<Vec<_>>()),
        words(found.cheapest()),
        words(found.proposed()),
    )
}

/// Trains, judges and registers with the settings of the configuration: the agent's part of `trainer` without a command.
pub(super) fn retrain(context: &Context) -> anyhow::Result<()> {
    let settings: PlacementSettings = inputs::defaults(context, "trainer.placement")?;
    let gate: PlacementGate = inputs::defaults(context, "trainer.placement_gate")?;
    let weights: CostWeights = inputs::defaults(context, "simulator.cost")?;
    let folder = context.store.root().join("models").join(registry::PLACEMENT_MODEL);
    let reports = context.store.root().join("reports");
    let (verdict_file, page_file) = (reports.join("placement-validation.json"), reports.join("placement-agent.html"));
    let places = Places {
        model: &folder,
        checkpoint: default_checkpoint(context),
        verdict: Some(&verdict_file),
        page: Some(&page_file),
    };
    let named = std::env::var("BERTH_PLACEMENT_HISTORY").unwrap_or_else(|_| "latest".to_owned());
    let history = own_history(context, &named, &settings)?;
    let clusters = Clusters { settings: &settings, history: history.as_ref() };
    let (trained, run, verdict) = train_and_judge(context, clusters, &gate, &weights, &places)?;
    let print = |text: String| commands::print_or_json(false, &serde_json::Value::Null, || text);
    print(text(clusters, &trained, &verdict, &run, &folder));
    refuse(&verdict)?;
    let registered =
        context.with_tracker(async |tracker| registry::register_placement(tracker, &folder, &verdict, true).await)?;
    print(commands::registered_text(registry::PLACEMENT_MODEL, &registered));
    Ok(())
}

fn default_checkpoint(context: &Context) -> PathBuf {
    context.store.root().join("checkpoints").join(registry::PLACEMENT_MODEL)
}

/// The history that is named, if there is something to learn from in it.
fn own_history(context: &Context, named: &str, settings: &PlacementSettings) -> anyhow::Result<Option<OwnHistory>> {
    settings.check()?;
    if named == "none" {
        return Ok(None);
    }
    let dataset = match context.store.find_version(named, &PODS) {
        Err(StoreError::Empty { .. }) if named == "latest" => {
            tracing::info!("learns in made-up clusters only: no dataset with pods was collected");
            return Ok(None);
        }
        found => found.with_context(|| format!("--history `{named}` is no dataset"))?,
    };
    match OwnHistory::read(&context.store, &dataset, settings)? {
        Ok(history) => Ok(Some(history)),
        Err(reason) => {
            tracing::warn!(dataset = dataset.id, reason, "learns in made-up clusters only");
            Ok(None)
        }
    }
}

fn train_and_judge(
    context: &Context,
    clusters: Clusters<'_>,
    gate: &PlacementGate,
    weights: &CostWeights,
    places: &Places<'_>,
) -> anyhow::Result<(Trained, RunReference, PlacementVerdict)> {
    let settings = clusters.settings;
    gate.check()?;
    weights.check()?;
    context.experiment(placement::EXPERIMENT)?;
    let trained_at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let bar = runtime::progress::bar(settings.episodes, "learning to place");
    let trained = placement::train(clusters, weights, Some(&places.checkpoint), |point| {
        bar.set_position(point.episode + 1);
        bar.set_message(format!("reward {:.3} loss {:.3}", point.reward, point.loss));
        tracing::debug!(
            episode = point.episode,
            reward = point.reward,
            loss = point.loss,
            cost = point.cost,
            "episode"
        );
    })?;
    bar.finish_and_clear();
    let artifact = placement::seal_placement(&trained, clusters, weights, &trained_at)?;
    write_model(places.model, artifact, &[])?;
    let model = placement::read_placement(places.model)?;
    let champion = context.with_tracker(async |tracker| registry::fetch_placement_champion(tracker).await)?;
    let verdict = placement::judge(&model, champion.as_ref(), clusters, weights, gate)?;
    let page = placement::page(&trained, &verdict);
    runtime::files::write_text(&places.model.join("report.html"), &page)?;
    if let Some(path) = places.page {
        runtime::files::write_text(path, &page)?;
    }
    if let Some(path) = places.verdict {
        runtime::files::write_json(path, &verdict)?;
    }
    let run = context.with_tracker(async |tracker| {
        placement::log_run(tracker, &trained, settings, weights, places.model, Some(&places.checkpoint)).await
    })?;
    runtime::files::write_json(&places.model.join(RUN_FILE), &run)?;
    // What is done needs no way to go on: the next training begins anew.
    std::fs::remove_file(&places.checkpoint)
        .with_context(|| format!("failed to remove checkpoint `{}`", places.checkpoint.display()))?;
    Ok((trained, run, verdict))
}

fn refuse(verdict: &PlacementVerdict) -> anyhow::Result<()> {
    if verdict.passed {
        return Ok(());
    }
    Err(GateRefused(format!("validation refused the agent: {}", verdict.reasons().join("; "))).into())
}

fn text(
    clusters: Clusters<'_>,
    trained: &Trained,
    verdict: &PlacementVerdict,
    run: &RunReference,
    folder: &Path,
) -> String {
    let history =
        clusters.history.map_or(String::new(), |history| format!(" and the history of {}", history.dataset.id));
    let rows: Vec<Vec<String>> = verdict
        .checks
        .iter()
        .map(|check| {
            let word = if check.passed { "holds" } else { "FAILS" };
            vec![check.rule.clone(), word.to_owned(), check.reason.clone()]
        })
        .collect();
    let starts: Vec<Vec<String>> = trained
        .starts
        .iter()
        .map(|start| vec![start.rule.clone(), format!("{:+.1} %", 100.0 * start.against_kube)])
        .collect();
    let scale = trained.network.scale();
    format!(
        "learned in {} episodes, {} updates, {:.1} s, from made-up clusters{history}\n{}kept: {}\nvalues: {:.3} hot node-hours between the best and the worst candidate of a typical decision, {:.3} of noise\n{}validation {}\nmodel  {}\nreport {}\nrun    {} in {}\n",
        trained.curve.len(),
        trained.updates,
        trained.seconds,
        text_table(&["could begin as", "cost against kube-scheduler"], &starts),
        placement::kept(trained),
        scale.full_difference,
        scale.noise,
        text_table(&["rule", "", "why"], &rows),
        if verdict.passed { "passed" } else { "REFUSED" },
        folder.display(),
        folder.join("report.html").display(),
        run.run_id,
        run.store
    )
}
