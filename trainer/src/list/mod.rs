//! `trainer runs | models | show`: what the tracking store holds, without a browser.

mod show;

pub use show::show;

use crate::text_table::{figure, text_table};
use anyhow::Context;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tracking::{Field, Run, RunQuery, Tracker};

/// What to list, as text for people and as JSON for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// For the terminal.
    pub text: String,
    /// For `--json`.
    pub json: Value,
}

/// Metrics that the list of runs shows, when a run has them.
const SHOWN: [(&str, &str); 4] = [
    ("cpu-1h.mae_points", "CPU 1h MAE"),
    ("cpu-1h.skill", "skill"),
    ("memory-1h.mae_points", "memory 1h MAE"),
    ("cpu-1h.p90_coverage", "P90 cover"),
];

/// The runs of an experiment (all experiments when absent) that match `filter`, newest first; nested runs are left out
/// unless `nested`.
///
/// # Errors
/// When the store cannot be read, the experiment does not exist, or the filter is no condition.
pub async fn runs(
    tracker: &dyn Tracker,
    experiment: Option<&str>,
    filter: &str,
    limit: usize,
    nested: bool,
) -> anyhow::Result<Listing> {
    let experiments = tracker.experiments().await.context("failed to list experiments")?;
    let names: BTreeMap<String, String> =
        experiments.iter().map(|known| (known.id.clone(), known.name.clone())).collect();
    let mut query = RunQuery::default().filter(filter)?;
    if let Some(wanted) = experiment {
        let known = experiments.iter().find(|known| known.name == wanted).with_context(|| {
            let all: Vec<&str> = experiments.iter().map(|known| known.name.as_str()).collect();
            format!("no experiment `{wanted}`. There are: {}", all.join(", "))
        })?;
        query.experiments = vec![known.id.clone()];
    }
    // Nested runs are taken out here, so more than `limit` must be asked for.
    query.limit = if nested { limit } else { limit.saturating_mul(20).min(5_000) };
    query.order = Some((Field::StartedAt, tracking::Direction::Descending));
    let mut found = tracker.search_runs(&query).await.context("failed to search runs")?;
    if !nested {
        found.retain(|run| run.info.parent_id.is_none());
    }
    found.truncate(limit);
    let mut head = vec!["run", "experiment", "name", "status", "started", "seconds"];
    head.extend(SHOWN.iter().map(|(_, title)| *title));
    let rows: Vec<Vec<String>> = found.iter().map(|run| run_row(run, &names)).collect();
    let text = if rows.is_empty() { format!("no runs in {}\n", tracker.describe()) } else { text_table(&head, &rows) };
    Ok(Listing { text, json: json!({ "store": tracker.describe(), "runs": found }) })
}

fn run_row(run: &Run, experiments: &BTreeMap<String, String>) -> Vec<String> {
    let info = &run.info;
    let seconds = info.ended_at.map(|end| (end - info.started_at).num_milliseconds() as f64 / 1_000.0);
    let mut row = vec![
        info.id.clone(),
        experiments.get(&info.experiment_id).cloned().unwrap_or_else(|| info.experiment_id.clone()),
        info.name.clone(),
        info.status.to_string(),
        info.started_at.format("%Y-%m-%d %H:%M").to_string(),
        figure(seconds, 1),
    ];
    row.extend(SHOWN.iter().map(|(key, _)| figure(run.metrics.get(*key).map(|metric| metric.value), 3)));
    row
}

/// All registered models with their versions, newest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn models(tracker: &dyn Tracker) -> anyhow::Result<Listing> {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for model in tracker.registered_models().await.context("failed to list models")? {
        let versions = tracker
            .versions(&model.name)
            .await
            .with_context(|| format!("failed to list versions of `{}`", model.name))?;
        for version in &versions {
            let tag = |key: &str| version.tags.get(key).cloned().unwrap_or_else(|| "-".to_owned());
            rows.push(vec![
                model.name.clone(),
                version.version.clone(),
                tag("semver"),
                if version.aliases.is_empty() { "-".to_owned() } else { version.aliases.join(", ") },
                version.created_at.format("%Y-%m-%d %H:%M").to_string(),
                tag("dataset"),
                tag("validation"),
                version.run_id.clone(),
            ]);
        }
        all.push(json!({ "model": model, "versions": versions }));
    }
    let head = ["model", "version", "semver", "aliases", "created", "dataset", "validation", "run"];
    let text =
        if rows.is_empty() { format!("no models in {}\n", tracker.describe()) } else { text_table(&head, &rows) };
    Ok(Listing { text, json: json!({ "store": tracker.describe(), "models": all }) })
}
