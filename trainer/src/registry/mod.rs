//! The registered models: versions, aliases, and the way back. Nothing becomes champion except through a passed
//! validation, and every move is kept with who and why.

mod register;
mod rollback;
mod semver;

pub use register::{Registered, register, register_detector, register_placement};
pub use rollback::{RolledBack, rollback};
pub use semver::{Lineage, NoSemanticVersion, SemanticVersion};
pub use tracking::promotion::{CHALLENGER, CHAMPION, PREVIOUS, tags};

use crate::anomaly::{DetectorFolder, read_detector};
use crate::placement::{PlacementFolder, read_placement};
use crate::train::read_model;
use crate::validate::Champion;
use anyhow::Context;
use models::artifact::ArtifactMetadata;
use std::path::Path;
use tracking::{ModelVersion, Tracker, TrackingError};

/// The load predictor's registered name.
pub const MODEL: &str = models::artifact::LOAD_PREDICTOR;
/// The placement agent's registered name.
pub const PLACEMENT_MODEL: &str = models::artifact::PLACEMENT_AGENT;
/// The anomaly detector's registered name.
pub const ANOMALY_MODEL: &str = models::artifact::ANOMALY_DETECTOR;
/// The version that an alias points at; `None` when there is none.
///
/// # Errors
/// When the store cannot be asked.
pub async fn by_alias(tracker: &dyn Tracker, model: &str, alias: &str) -> anyhow::Result<Option<ModelVersion>> {
    optional(tracker.version_by_alias(model, alias).await)
        .with_context(|| format!("failed to look up `{model}@{alias}`"))
}

fn optional<T>(result: Result<T, TrackingError>) -> Result<Option<T>, TrackingError> {
    tracking::optional(result)
}

/// Fetches the champion's files and reads them.
///
/// # Errors
/// When the store cannot be asked, or the champion's files are damaged: then it must be rolled back first.
pub async fn fetch_champion(tracker: &dyn Tracker) -> anyhow::Result<Option<Champion>> {
    let Some((version, model)) = fetch(tracker, MODEL, read_model).await? else { return Ok(None) };
    let judged = match judged_version(tracker, MODEL, &version).await? {
        Some(judged) => Some(fetch_one(tracker, &judged, read_model).await?),
        None => None,
    };
    Ok(Some(Champion { version: version.version, model, judged }))
}

/// The version that was judged, where `version` is a fresh fit of its recipe; `None` where it is none, or where the judged
/// one is not registered any more.
///
/// # Errors
/// When the store cannot be asked.
pub async fn judged_version(
    tracker: &dyn Tracker,
    model: &str,
    version: &ModelVersion,
) -> anyhow::Result<Option<ModelVersion>> {
    let Some(hash) = version.tags.get(tags::FRESH_FIT_OF) else { return Ok(None) };
    let versions = tracker.versions(model).await.with_context(|| format!("failed to list versions of `{model}`"))?;
    Ok(versions.into_iter().find(|other| other.tags.get(tags::MODEL_HASH) == Some(hash)))
}

/// The same for the placement agent: version and model.
///
/// # Errors
/// See [`fetch_champion`].
pub async fn fetch_placement_champion(tracker: &dyn Tracker) -> anyhow::Result<Option<(String, PlacementFolder)>> {
    let fetched = fetch(tracker, PLACEMENT_MODEL, read_placement).await?;
    Ok(fetched.map(|(version, model)| (version.version, model)))
}

/// The same for the anomaly detector: version and model.
///
/// # Errors
/// See [`fetch_champion`].
pub async fn fetch_detector_champion(tracker: &dyn Tracker) -> anyhow::Result<Option<(String, DetectorFolder)>> {
    let fetched = fetch(tracker, ANOMALY_MODEL, read_detector).await?;
    Ok(fetched.map(|(version, model)| (version.version, model)))
}

async fn fetch<T>(
    tracker: &dyn Tracker,
    model: &str,
    read: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<Option<(ModelVersion, T)>> {
    let Some(version) = by_alias(tracker, model, CHAMPION).await? else { return Ok(None) };
    let fetched = fetch_one(tracker, &version, read).await.with_context(|| {
        format!(
            "failed to fetch champion version {} of `{model}`. `trainer rollback` goes back to the one before",
            version.version
        )
    })?;
    Ok(Some((version, fetched)))
}

async fn fetch_one<T>(
    tracker: &dyn Tracker,
    version: &ModelVersion,
    read: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let folder = tempfile::tempdir().context("failed to make a temporary folder for a model")?;
    let doing = || format!("failed to fetch version {} of `{}`", version.version, version.model);
    tracker.fetch_version(&version.model, &version.version, folder.path()).await.with_context(doing)?;
    read(folder.path()).with_context(doing)
}

/// The version that `MODEL@ALIAS` or `MODEL/VERSION` names; `None` where `id` has neither form.
///
/// # Errors
/// When there is no such version.
pub async fn version_named(tracker: &dyn Tracker, id: &str) -> anyhow::Result<Option<ModelVersion>> {
    if let Some((model, alias)) = id.split_once('@') {
        let found = tracker.version_by_alias(model, alias).await;
        return found.map(Some).with_context(|| format!("no version of `{model}` has the alias `{alias}`"));
    }
    if let Some((model, version)) = id.split_once('/') {
        let found = tracker.version(model, version).await;
        return found.map(Some).with_context(|| format!("`{model}` has no version `{version}`"));
    }
    Ok(None)
}

/// What a model's place in the line of versions depends on.
pub fn lineage(metadata: &ArtifactMetadata) -> Lineage {
    // What follows from the data is no hyper-parameter: a retrain on newer days must stay a patch.
    let chosen = metadata
        .hyper_parameters
        .iter()
        .filter(|(name, _)| !name.starts_with("columns_") && *name != "trained_until_ms");
    let text: String = chosen.map(|(name, value)| format!("{name}={value}\n")).collect();
    let recipe = runtime::files::sha256(format!("{}\n{text}", metadata.code).as_bytes());
    Lineage { schema: metadata.feature_schema_hash.clone(), recipe }
}

/// Who moves aliases: `BERTH_USER`, else the user that the system names.
pub fn who() -> String {
    ["BERTH_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "trainer".to_owned())
}
