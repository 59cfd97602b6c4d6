//! `trainer show ID`: everything about one run or one version of a model.

use super::Listing;
use crate::registry;
use crate::text_table::text_table;
use anyhow::Context;
use runtime::WrongUse;
use serde_json::json;
use std::fmt::Write;
use tracking::{ModelVersion, Run, RunQuery, Tracker};

/// Shows a run (its id, or the beginning of it) or a model version (`load-predictor/3`, `load-predictor@champion`).
///
/// # Errors
/// When there is no such thing, or the beginning fits several runs.
pub async fn show(tracker: &dyn Tracker, id: &str) -> anyhow::Result<Listing> {
    if let Some(version) = registry::version_named(tracker, id).await? {
        return show_version(tracker, &version).await;
    }
    let run = find_run(tracker, id).await?;
    let artifacts = tracker.artifacts(&run.info.id, "").await.context("failed to list artifacts")?;
    let mut text = run_text(&run);
    if !artifacts.is_empty() {
        let rows: Vec<Vec<String>> = artifacts
            .iter()
            .map(|artifact| {
                vec![
                    artifact.path.clone(),
                    artifact.bytes.map_or_else(|| "folder".to_owned(), |bytes| format!("{bytes} bytes")),
                ]
            })
            .collect();
        let _ = write!(text, "\nartifacts in {}\n{}", run.info.artifact_uri, text_table(&["path", "size"], &rows));
    }
    Ok(Listing { text, json: json!({ "run": run, "artifacts": artifacts }) })
}

/// The run of this id, or the only one whose id begins with it.
async fn find_run(tracker: &dyn Tracker, id: &str) -> anyhow::Result<Run> {
    if let Ok(run) = tracker.run(id).await {
        return Ok(run);
    }
    let query = RunQuery { limit: 5_000, ..RunQuery::default() };
    let runs = tracker.search_runs(&query).await.context("failed to search runs")?;
    let mut fitting: Vec<Run> = runs.into_iter().filter(|run| !id.is_empty() && run.info.id.starts_with(id)).collect();
    match fitting.len() {
        1 => Ok(fitting.swap_remove(0)),
        0 => Err(WrongUse(format!(
            "`{id}` is no run and no model version in {}. `trainer runs` and `trainer models` list what is there",
            tracker.describe()
        ))
        .into()),
        count => Err(WrongUse(format!("`{id}` fits {count} runs; give more of the id")).into()),
    }
}

fn run_text(run: &Run) -> String {
    let info = &run.info;
    let mut text = format!(
        "run {}\nname {}\nstatus {}\nstarted {}\n",
        info.id,
        info.name,
        info.status,
        info.started_at.to_rfc3339()
    );
    if let Some(ended) = info.ended_at {
        let _ = writeln!(text, "ended {}", ended.to_rfc3339());
    }
    let mut section = |title: &str, rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            let _ = write!(text, "\n{}", text_table(&[title, "value"], &rows));
        }
    };
    let pairs =
        |labels: &tracking::Labels| labels.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect();
    section("tag", pairs(&run.tags));
    section("parameter", pairs(&run.params));
    section(
        "metric",
        run.metrics.values().map(|metric| vec![metric.key.clone(), format!("{:.4}", metric.value)]).collect(),
    );
    text
}

async fn show_version(tracker: &dyn Tracker, version: &ModelVersion) -> anyhow::Result<Listing> {
    let history = tracker.alias_history(&version.model).await.context("failed to read the history of aliases")?;
    let moves: Vec<_> = history
        .iter()
        .filter(|change| {
            change.from.as_deref() == Some(&version.version) || change.to.as_deref() == Some(&version.version)
        })
        .collect();
    let aliases = if version.aliases.is_empty() { "none".to_owned() } else { version.aliases.join(", ") };
    let mut text = format!(
        "model {} version {}\naliases {aliases}\ncreated {}\nrun {}\nfiles {}\n{}\n",
        version.model,
        version.version,
        version.created_at.to_rfc3339(),
        version.run_id,
        version.artifact_path,
        version.description
    );
    let tags: Vec<Vec<String>> = version.tags.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect();
    let _ = write!(text, "\n{}", text_table(&["tag", "value"], &tags));
    let rows: Vec<Vec<String>> = moves
        .iter()
        .map(|change| {
            let place = |version: &Option<String>| version.clone().unwrap_or_else(|| "nothing".to_owned());
            vec![
                change.at.format("%Y-%m-%d %H:%M:%S").to_string(),
                change.alias.clone(),
                format!("{} to {}", place(&change.from), place(&change.to)),
                change.decision.who.clone(),
                change.decision.why.clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let _ = write!(text, "\n{}", text_table(&["at", "alias", "moved from", "by", "because"], &rows));
    }
    Ok(Listing { text, json: json!({ "version": version, "alias_history": moves }) })
}
