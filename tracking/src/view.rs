//! What is tracked, as plain tables: for terminals and programs, without a browser.

use crate::types::*;
use crate::{RunQuery, Tracker, TrackingError};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// A table to print, and the same content for a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Headings.
    pub columns: Vec<String>,
    /// Cells, one per heading.
    pub rows: Vec<Vec<String>>,
    /// Everything behind the rows, unshortened.
    pub json: Value,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "nothing yet");
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.columns.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// How many metrics are shown when none are named.
const METRICS: usize = 4;

/// Runs that match, newest first unless the query says otherwise. Shows the named `metrics`, or those that most of the
/// runs have.
///
/// # Errors
/// What the tracker answers.
pub async fn runs(tracker: &dyn Tracker, query: &RunQuery, metrics: &[String]) -> Result<Listing, TrackingError> {
    let runs = tracker.search_runs(query).await?;
    let experiments: BTreeMap<String, String> = crate::optional_when_away(tracker.experiments().await)?
        .unwrap_or_default()
        .into_iter()
        .map(|experiment| (experiment.id, experiment.name))
        .collect();
    let metrics = if metrics.is_empty() { common_metrics(&runs) } else { metrics.to_vec() };
    let headings = ["RUN", "EXPERIMENT", "NAME", "STATUS", "STARTED", "TOOK"].map(str::to_owned);
    let row = |run: &Run| {
        let info = &run.info;
        let experiment = experiments.get(&info.experiment_id).unwrap_or(&info.experiment_id).clone();
        let name = if info.parent_id.is_some() { format!("└ {}", info.name) } else { info.name.clone() };
        let mut cells =
            vec![info.id.clone(), experiment, name, info.status.to_string(), time(info.started_at), took(info)];
        cells.extend(
            metrics
                .iter()
                .map(|key| run.metrics.get(key).map_or_else(|| "-".to_owned(), |metric| number(metric.value))),
        );
        cells
    };
    Ok(Listing {
        rows: runs.iter().map(row).collect(),
        columns: headings.into_iter().chain(metrics.iter().cloned()).collect(),
        json: json!({ "tracker": tracker.describe(), "runs": runs }),
    })
}

fn common_metrics(runs: &[Run]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for key in runs.iter().flat_map(|run| run.metrics.keys()) {
        *counts.entry(key).or_default() += 1;
    }
    let mut keys: Vec<_> = counts.into_iter().collect();
    keys.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
    keys.into_iter().take(METRICS).map(|(key, _)| key.to_owned()).collect()
}

/// Every version of every registered model, newest first, with its aliases and tags.
///
/// # Errors
/// What the tracker answers.
pub async fn models(tracker: &dyn Tracker) -> Result<Listing, TrackingError> {
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for model in tracker.registered_models().await? {
        let versions = tracker.versions(&model.name).await?;
        if versions.is_empty() {
            rows.push(vec![
                model.name.clone(),
                "-".into(),
                String::new(),
                time(model.created_at),
                String::new(),
                String::new(),
            ]);
        }
        for version in &versions {
            let tags: Vec<String> = version.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            rows.push(vec![
                model.name.clone(),
                version.version.clone(),
                version.aliases.join(", "),
                time(version.created_at),
                version.run_id.clone(),
                shortened(&tags.join(" "), 80),
            ]);
        }
        documents.push(json!({ "model": model, "versions": versions }));
    }
    let columns = ["MODEL", "VERSION", "ALIASES", "CREATED", "RUN", "TAGS"].map(str::to_owned).to_vec();
    Ok(Listing { columns, rows, json: json!({ "tracker": tracker.describe(), "models": documents }) })
}

/// Everything about one thing: a run by its id, a model by its name, a version as `model/3` or `model@champion`.
///
/// # Errors
/// When there is none, and what the tracker answers.
pub async fn show(tracker: &dyn Tracker, what: &str) -> Result<Listing, TrackingError> {
    if let Some((model, alias)) = what.split_once('@') {
        return Ok(version(tracker.version_by_alias(model, alias).await?));
    }
    if let Some((model, number)) = what.rsplit_once('/') {
        return Ok(version(tracker.version(model, number).await?));
    }
    match crate::optional(tracker.run(what).await) {
        Ok(Some(found)) => return run(tracker, found).await,
        Ok(None) => {}
        // MLflow calls a text that cannot be the id of a run a wrong request.
        Err(TrackingError::Refused { status: 400, .. }) => {}
        Err(error) => return Err(error),
    }
    match crate::optional(tracker.registered_model(what).await)? {
        Some(found) => model(tracker, found).await,
        None => Err(TrackingError::not_found("run or registered model", what)),
    }
}

fn version(version: ModelVersion) -> Listing {
    let mut rows = fields([
        ("model", version.model.clone()),
        ("version", version.version.clone()),
        ("aliases", version.aliases.join(", ")),
        ("description", version.description.clone()),
        ("created", time(version.created_at)),
        ("run", version.run_id.clone()),
        ("artifacts", version.artifact_path.clone()),
    ]);
    rows.extend(version.tags.iter().map(|(key, value)| vec![format!("tag {key}"), value.clone()]));
    described(rows, json!(version))
}

async fn run(tracker: &dyn Tracker, run: Run) -> Result<Listing, TrackingError> {
    let artifacts = tracker.artifacts(&run.info.id, "").await?;
    let info = &run.info;
    let mut rows = fields([
        ("run", info.id.clone()),
        ("name", info.name.clone()),
        ("experiment", info.experiment_id.clone()),
        ("parent", info.parent_id.clone().unwrap_or_default()),
        ("status", info.status.to_string()),
        ("started", time(info.started_at)),
        ("took", took(info)),
        ("artifacts", info.artifact_uri.clone()),
    ]);
    rows.extend(run.params.iter().map(|(key, value)| vec![format!("param {key}"), shortened(value, 100)]));
    rows.extend(run.metrics.iter().map(|(key, metric)| vec![format!("metric {key}"), number(metric.value)]));
    rows.extend(run.tags.iter().map(|(key, value)| vec![format!("tag {key}"), shortened(value, 100)]));
    rows.extend(artifacts.iter().map(|artifact| vec!["file".to_owned(), file(artifact)]));
    Ok(described(rows, json!({ "run": run, "artifacts": artifacts })))
}

async fn model(tracker: &dyn Tracker, model: RegisteredModel) -> Result<Listing, TrackingError> {
    let (versions, history) = (tracker.versions(&model.name).await?, tracker.alias_history(&model.name).await?);
    let mut rows = fields([
        ("model", model.name.clone()),
        ("description", model.description.clone()),
        ("created", time(model.created_at)),
    ]);
    rows.extend(
        model.aliases.iter().map(|(alias, version)| vec![format!("alias {alias}"), format!("version {version}")]),
    );
    rows.extend(versions.iter().map(|version| {
        vec![format!("version {}", version.version), format!("{} run {}", time(version.created_at), version.run_id)]
    }));
    rows.extend(history.iter().map(|change| {
        let pointed = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        let moved = format!("{}: {} → {}", change.alias, pointed(&change.from), pointed(&change.to));
        vec![time(change.at), format!("{moved}, by {}: {}", change.decision.who, change.decision.why)]
    }));
    Ok(described(rows, json!({ "model": model, "versions": versions, "alias_history": history })))
}

fn described(rows: Vec<Vec<String>>, json: Value) -> Listing {
    Listing { columns: vec!["FIELD".into(), "VALUE".into()], rows, json }
}

/// Rows of a name and a value; empty values are left out.
fn fields<const N: usize>(fields: [(&str, String); N]) -> Vec<Vec<String>> {
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect()
}

fn file(artifact: &Artifact) -> String {
    match artifact.bytes {
        Some(bytes) => format!("{} ({bytes} bytes)", artifact.path),
        None => format!("{}/", artifact.path),
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn took(info: &RunInfo) -> String {
    let Some(ended_at) = info.ended_at else { return "-".to_owned() };
    format!("{:.1} s", (ended_at - info.started_at).num_milliseconds() as f64 / 1000.0)
}

/// Four significant digits, which is more than a metric is good for.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    if (-12..=8).contains(&digits) {
        format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
    } else {
        format!("{value:.3e}")
    }
}

fn shortened(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= limit { line } else { line.chars().take(limit - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, text) in [
            (0.033_456, "0.03346"),
            (93.4567, "93.46"),
            (123_456.7, "123457"),
            (-0.5, "-0.5000"),
            (1e-12, "1.000e-12"),
            (f64::NAN, "NaN"),
            (0.0, "0"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let listing = Listing {
            columns: vec!["RUN".into(), "MAE".into()],
            rows: vec![vec!["größe".into(), "1".into()], vec!["b".into(), "22".into()]],
            json: Value::Null,
        };
        assert_eq!(listing.to_string(), "RUN    MAE\ngröße  1\nb      22\n");
    }
}
