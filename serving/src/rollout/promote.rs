//! The challenger becomes champion in the registry, and the way back.

use super::log::{Move, Versions};
use crate::registry::ModelName;
use anyhow::Context;
use runtime::{GateRefused, WrongUse};
use tracking::{Decision, Tracker};

/// The champion before, as `trainer` names it.
const PREVIOUS: &str = "previous";
/// The tag that `trainer` gives to a version, and its value after a passed validation.
const VALIDATION: (&str, &str) = ("validation", "passed");

/// The versions that an alias names, by model.
pub(super) async fn versions(tracker: &dyn Tracker, alias: &str) -> anyhow::Result<Versions> {
    let mut versions = Versions::new();
    for model in ModelName::TRAINED {
        if let Some(version) = by_alias(tracker, model, alias).await? {
            versions.insert(model, version);
        }
    }
    Ok(versions)
}

async fn by_alias(tracker: &dyn Tracker, model: ModelName, alias: &str) -> anyhow::Result<Option<String>> {
    let found = tracking::optional(tracker.version_by_alias(model.as_str(), alias).await);
    let found = found.with_context(|| format!("failed to look up `{}@{alias}`", model.as_str()))?;
    Ok(found.map(|version| version.version))
}

/// Moves the alias that serves to `versions`. All are looked at before one is moved.
///
/// # Errors
/// [`GateRefused`] for a version that passed no validation; what the registry answers.
pub(super) async fn promote(
    tracker: &dyn Tracker,
    alias: &str,
    versions: &Versions,
    decision: &Decision,
) -> anyhow::Result<Vec<Move>> {
    let mut moves = Vec::new();
    for (model, to) in versions {
        let version = tracker.version(model.as_str(), to).await;
        let version = version.with_context(|| format!("failed to look up version {to} of `{}`", model.as_str()))?;
        if version.tags.get(VALIDATION.0).map(String::as_str) != Some(VALIDATION.1) {
            return Err(GateRefused(format!(
                "version {to} of `{}` never passed a validation, so it cannot become {alias}. Run `trainer validate`",
                model.as_str()
            ))
            .into());
        }
        let (from, previous) = (by_alias(tracker, *model, alias).await?, by_alias(tracker, *model, PREVIOUS).await?);
        if from.as_ref() != Some(to) {
            moves.push(Move { model: *model, from, to: to.clone(), previous });
        }
    }
    for step in &moves {
        set(tracker, step.model, alias, Some(&step.to), decision).await?;
        set(tracker, step.model, PREVIOUS, step.from.as_deref(), decision).await?;
    }
    Ok(moves)
}

/// Moves the aliases back.
///
/// # Errors
/// When another version has become champion since; what the registry answers.
pub(super) async fn take_back(
    tracker: &dyn Tracker,
    alias: &str,
    moves: &[Move],
    decision: &Decision,
) -> anyhow::Result<()> {
    for step in moves {
        let now = by_alias(tracker, step.model, alias).await?;
        if now.as_ref() != Some(&step.to) && now != step.from {
            return Err(WrongUse(format!(
                "`{}@{alias}` is version {} by now, not {}. `trainer rollback` takes a champion back",
                step.model.as_str(),
                now.as_deref().unwrap_or("none"),
                step.to
            ))
            .into());
        }
    }
    for step in moves {
        set(tracker, step.model, alias, step.from.as_deref(), decision).await?;
        set(tracker, step.model, PREVIOUS, step.previous.as_deref(), decision).await?;
    }
    Ok(())
}

async fn set(
    tracker: &dyn Tracker,
    model: ModelName,
    alias: &str,
    version: Option<&str>,
    decision: &Decision,
) -> anyhow::Result<()> {
    let model = model.as_str();
    let moved = match version {
        Some(version) => tracker.set_alias(model, alias, version, decision).await,
        None => tracker.delete_alias(model, alias, decision).await,
    };
    moved.with_context(|| format!("failed to move `{model}@{alias}`"))
}
