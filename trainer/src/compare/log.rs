//! The comparison as tracking runs: one parent, one nested run per candidate.

use super::Comparison;
use anyhow::Context;
use std::path::Path;
use tracking::{Batch, Metric, NewRun, RunStatus, Tracker};

/// The experiment that comparisons belong to.
pub const EXPERIMENT: &str = "load-comparison";

/// Logs a comparison and the files of `folder`.
///
/// # Errors
/// When the store refuses.
pub async fn log(tracker: &dyn Tracker, comparison: &Comparison, folder: &Path) -> anyhow::Result<()> {
    let doing = || format!("failed to log the comparison to {}", tracker.describe());
    let experiment = tracker.experiment(EXPERIMENT).await.with_context(doing)?;
    let parent = tracker
        .create_run(
            NewRun::new(&experiment.id, format!("compare {}", comparison.dataset))
                .tag("step", "compare")
                .tag("dataset", &comparison.dataset),
        )
        .await
        .with_context(doing)?;
    let names: Vec<&str> = comparison.lines.iter().map(|line| line.candidate.as_str()).collect();
    let mut logged: Vec<&str> = Vec::new();
    for name in names {
        if logged.contains(&name) {
            continue;
        }
        logged.push(name);
        let run = tracker
            .create_run(NewRun::new(&experiment.id, name).nested_in(&parent.id).tag("candidate", name))
            .await
            .with_context(doing)?;
        let mut batch = Batch::default();
        for line in comparison.lines.iter().filter(|line| line.candidate == name) {
            batch.params.insert("role".into(), format!("{:?}", line.role).to_lowercase());
            batch.metrics.push(Metric::now(format!("{}.fit_seconds", line.head), line.fit_seconds));
            for (figure, value) in line.scores.iter().flat_map(|scores| scores.figures()) {
                batch.metrics.push(Metric::now(format!("{}.{figure}", line.head), value));
            }
            for (fold, mae) in line.fold_mae_points.iter().enumerate() {
                batch.metrics.push(Metric::now(format!("{}.fold_mae_points", line.head), *mae).at_step(fold as i64));
            }
        }
        tracker.log_batch(&run.id, &batch).await.with_context(doing)?;
        tracker.set_status(&run.id, RunStatus::Finished, Some(chrono::Utc::now())).await.with_context(doing)?;
    }
    tracker.log_artifacts(&parent.id, "comparison", folder).await.with_context(doing)?;
    tracker.set_status(&parent.id, RunStatus::Finished, Some(chrono::Utc::now())).await.with_context(doing)?;
    Ok(())
}
