//! A training as a tracking run.

use super::{AnomalySettings, AnomalyVerdict, TrainedDetector, VoteChoice};
use crate::train::RunReference;
use anyhow::Context;
use std::path::Path;
use store::DatasetVersion;
use tracking::{Batch, Metric, NewRun, RunStatus, Tracker};

/// The experiment that trainings of the anomaly detector belong to.
pub const EXPERIMENT: &str = models::artifact::ANOMALY_DETECTOR;

/// Logs a training: parameters, test figures beside the z-score's, cost by threshold, and the files of `folder`.
///
/// # Errors
/// When the store refuses. A server that is away is no error: what was logged is sent later.
pub async fn log_run(
    tracker: &dyn Tracker,
    trained: &TrainedDetector,
    verdict: &AnomalyVerdict,
    dataset: &DatasetVersion,
    settings: &AnomalySettings,
    folder: &Path,
) -> anyhow::Result<RunReference> {
    let store = tracker.describe();
    let doing = || format!("failed to log the training to {store}");
    let experiment = tracker.experiment(EXPERIMENT).await.with_context(doing)?;
    let mut run = NewRun::new(&experiment.id, format!("train {}", dataset.id))
        .tag("step", "train anomaly")
        .tag("dataset", &dataset.id)
        .tag("validation", if verdict.passed { "passed" } else { "refused" });
    run.started_at = chrono::Utc::now() - chrono::Duration::milliseconds((trained.seconds * 1e3) as i64);
    let run = tracker.create_run(run).await.with_context(doing)?;
    let mut batch = Batch::default();
    let table = serde_json::to_value(settings)?;
    for (key, value) in table.as_object().into_iter().flatten() {
        batch.params.insert(key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    batch.params.insert("dataset_hash".into(), dataset.hash.clone());
    batch.metrics.push(Metric::now("training_seconds", trained.seconds));
    batch.metrics.push(Metric::now("threshold", f64::from(trained.detector.threshold())));
    let named = |prefix: &str, figures: Vec<(&'static str, f64)>| -> Vec<Metric> {
        figures.into_iter().map(|(name, value)| Metric::now(format!("{prefix}{name}"), value)).collect()
    };
    batch.metrics.extend(named("", trained.scores.figures()));
    batch.metrics.extend(named("zscore.", trained.zscore.figures()));
    if let VoteChoice::ByEvidence(chosen) = &trained.choice {
        for (step, point) in chosen.curve.points.iter().enumerate() {
            batch.metrics.push(Metric::now("selection.cost_by_threshold", point.cost).at_step(step as i64));
        }
        if let Some(point) = chosen.curve.choice() {
            batch.metrics.extend([
                Metric::now("selection.precision", point.precision),
                Metric::now("selection.precision_low", point.precision_low),
                Metric::now("selection.recall", point.recall),
                Metric::now("selection.false_alarms_per_node_day", point.false_alarms),
            ]);
        }
    }
    tracker.log_batch(&run.id, &batch).await.with_context(doing)?;
    tracker.log_artifacts(&run.id, "model", folder).await.with_context(doing)?;
    tracker.set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now())).await.with_context(doing)?;
    Ok(RunReference { run_id: run.id, store })
}
