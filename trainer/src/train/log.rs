//! A training as a tracking run, with one nested run per head.

use super::{LoadSettings, RunReference, TrainedHead, TrainedLoad};
use crate::recipe::Recipe;
use anyhow::Context;
use std::path::Path;
use store::DatasetVersion;
use tracking::{Batch, Labels, Metric, NewRun, RunStatus, Tracker};

/// The experiment that trainings of the load predictor belong to.
pub const EXPERIMENT: &str = models::artifact::LOAD_PREDICTOR;

/// Where the model lies among a run's artifacts.
pub const MODEL_PATH: &str = "model";

/// Logs a training: parameters, test figures, cross-validation and the files of `folder`.
///
/// # Errors
/// When the store refuses. A server that is away is no error: what was logged is sent later.
pub async fn log_run(
    tracker: &dyn Tracker,
    trained: &TrainedLoad,
    dataset: &DatasetVersion,
    settings: &LoadSettings,
    recipe: &Recipe,
    folder: &Path,
) -> anyhow::Result<RunReference> {
    let store = tracker.describe();
    let doing = || format!("failed to log the training to {store}");
    let experiment = tracker.experiment(EXPERIMENT).await.with_context(doing)?;
    let now = chrono::Utc::now();
    let started_at = now - chrono::Duration::milliseconds((trained.seconds * 1e3) as i64);
    let mut run = NewRun::new(&experiment.id, format!("train {}", dataset.id))
        .tag("step", "train load")
        .tag("dataset", &dataset.id);
    run.started_at = started_at;
    let run = tracker.create_run(run).await.with_context(doing)?;
    let mut batch = Batch { params: parameters(settings, recipe), ..Batch::default() };
    batch.params.insert("dataset_hash".into(), dataset.hash.clone());
    batch.params.insert("nodes".into(), trained.nodes.len().to_string());
    batch.params.insert("rows".into(), trained.rows.to_string());
    batch.metrics.push(Metric::now("training_seconds", trained.seconds));
    for head in &trained.heads {
        for (name, value) in head.scores.iter().flat_map(|scores| scores.figures()) {
            batch.metrics.push(Metric::now(format!("{}.{name}", head.key.slug()), value));
        }
    }
    tracker.log_batch(&run.id, &batch).await.with_context(doing)?;
    for head in &trained.heads {
        let nested = NewRun {
            started_at,
            ..NewRun::new(&experiment.id, head.key.slug()).nested_in(&run.id).tag("head", head.key.slug())
        };
        let nested = tracker.create_run(nested).await.with_context(doing)?;
        tracker.log_batch(&nested.id, &head_batch(head)).await.with_context(doing)?;
        tracker.set_status(&nested.id, RunStatus::Finished, Some(now)).await.with_context(doing)?;
    }
    tracker.log_artifacts(&run.id, MODEL_PATH, folder).await.with_context(doing)?;
    tracker.set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now())).await.with_context(doing)?;
    Ok(RunReference { run_id: run.id, store })
}

/// Settings and recipe as flat text.
fn parameters(settings: &LoadSettings, recipe: &Recipe) -> Labels {
    let values = [serde_json::to_value(settings), serde_json::to_value(recipe)];
    let tables = values.into_iter().flatten().filter_map(|value| value.as_object().cloned());
    tables
        .flatten()
        .map(|(key, value)| (key, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

fn head_batch(head: &TrainedHead) -> Batch {
    let evidence = &head.fit.fitted.evidence;
    let mut batch = Batch::default();
    for (key, value) in [
        ("baseline", evidence.baseline.to_string()),
        (
            "columns",
            serde_json::to_value(head.fit.columns)
                .ok()
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default(),
        ),
        ("median_blend", evidence.median_blend.to_string()),
        ("upper_blend", evidence.upper_blend.to_string()),
        ("fallback", evidence.fallback.to_string()),
        ("train_rows", evidence.train_rows.to_string()),
        ("calibration_rows", evidence.calibration_rows.to_string()),
    ] {
        batch.params.insert(key.to_owned(), value);
    }
    let mut log = |prefix: &str, figures: Vec<(&'static str, f64)>, step: i64| {
        batch.metrics.extend(
            figures.into_iter().map(|(name, value)| Metric::now(format!("{prefix}{name}"), value).at_step(step)),
        );
    };
    log("", head.scores.map(|scores| scores.figures()).unwrap_or_default(), 0);
    log("yesterday.", head.yesterday.map(|scores| scores.figures()).unwrap_or_default(), 0);
    log("five_minute.", head.five_minute.map(|scores| scores.figures()).unwrap_or_default(), 0);
    log("held_out.", head.held_out.map(|scores| scores.figures()).unwrap_or_default(), 0);
    let curves = &head.fit.fitted.curves;
    for (name, curve) in [("p50.stop_loss", &curves.median), ("p90.stop_loss", &curves.upper)] {
        for (round, loss) in curve.iter().enumerate() {
            log("", vec![(name, *loss)], round as i64);
        }
    }
    // The folds train on ever more history: their errors by step tell what more history is worth.
    for (step, scores) in head.folds.iter().enumerate() {
        log("fold.", scores.figures(), step as i64);
    }
    log(
        "",
        vec![("fit_seconds", head.fit.fit_time.as_secs_f64()), ("offset_points", 100.0 * f64::from(evidence.offset))],
        0,
    );
    batch
}
