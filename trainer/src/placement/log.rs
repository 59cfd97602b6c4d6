//! A training of the agent as a tracking run: settings, learning curves, the model and the checkpoint.

use super::{PlacementSettings, Trained};
use crate::train::{MODEL_PATH, RunReference};
use anyhow::Context;
use simulator::learning::PARTS;
use simulator::outcome::CostWeights;
use std::path::Path;
use tracking::{Batch, Metric, NewRun, RunStatus, Tracker};

/// The experiment that trainings of the agent belong to.
pub const EXPERIMENT: &str = models::artifact::PLACEMENT_AGENT;

/// Logs a training; `folder` is the model's.
///
/// # Errors
/// When the store refuses. A server that is away is no error: what was logged is sent later.
pub async fn log_run(
    tracker: &dyn Tracker,
    trained: &Trained,
    settings: &PlacementSettings,
    weights: &CostWeights,
    folder: &Path,
    checkpoint: Option<&Path>,
) -> anyhow::Result<RunReference> {
    let store = tracker.describe();
    let doing = || format!("failed to log the training to {store}");
    let experiment = tracker.experiment(EXPERIMENT).await.with_context(doing)?;
    let mut run =
        NewRun::new(&experiment.id, format!("train {} episodes", trained.curve.len())).tag("step", "train placement");
    run.started_at = chrono::Utc::now() - chrono::Duration::milliseconds((trained.seconds * 1e3) as i64);
    let run = tracker.create_run(run).await.with_context(doing)?;
    tracker.log_batch(&run.id, &batch(trained, settings, weights)?).await.with_context(doing)?;
    tracker.log_artifacts(&run.id, MODEL_PATH, folder).await.with_context(doing)?;
    if let Some(file) = checkpoint.filter(|file| file.exists()) {
        tracker.log_artifact_file(&run.id, "checkpoint/placement.checkpoint", file).await.with_context(doing)?;
    }
    tracker.set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now())).await.with_context(doing)?;
    Ok(RunReference { run_id: run.id, store })
}

fn batch(trained: &Trained, settings: &PlacementSettings, weights: &CostWeights) -> anyhow::Result<Batch> {
    let mut batch = Batch::default();
    for (prefix, value) in [("", serde_json::to_value(settings)?), ("cost_", serde_json::to_value(weights)?)] {
        let entries = value.as_object().into_iter().flatten();
        batch.params.extend(entries.map(|(key, value)| (format!("{prefix}{key}"), value.to_string())));
    }
    batch.metrics.push(Metric::now("training_seconds", trained.seconds));
    batch.metrics.push(Metric::now("updates", trained.updates as f64));
    batch.params.extend(trained.began_as().map(|start| ("began_as".to_owned(), start.rule.clone())));
    for start in &trained.starts {
        batch.metrics.push(Metric::now(format!("against_kube_start.{}", start.rule), start.against_kube));
    }
    for (at, round) in trained.rounds.iter().enumerate() {
        batch.metrics.push(Metric::now("against_kube_searched", round.centre).at_step(at as i64));
    }
    for point in &trained.curve {
        let step = point.episode as i64;
        let mut log = |key: String, value| batch.metrics.push(Metric::now(key, value).at_step(step));
        log("reward".into(), point.reward);
        log("loss".into(), point.loss);
        log("value".into(), point.value);
        log("epsilon".into(), point.epsilon);
        log(format!("cost.{}", point.scenario), point.cost);
        PARTS.iter().zip(point.parts).for_each(|(part, value)| log(format!("reward.{part}"), value));
    }
    for look in &trained.looks {
        for (key, value) in [("cost_looked_at", look.cost), ("against_kube_looked_at", look.against_kube)] {
            batch.metrics.push(Metric::now(key, value).at_step(look.episode as i64));
        }
    }
    Ok(batch)
}
