//! The challenger becomes champion in the registry, and the way back.

use super::log::{Move, Versions};
use crate::registry::ModelName;
use anyhow::Context;
use runtime::{GateRefused, WrongUse};
use tracking::promotion::{self, Promotion, PromotionError};
use tracking::{Decision, Tracker};

/// The versions that an alias names, by model.
pub(super) async fn versions(tracker: &dyn Tracker, alias: &str) -> anyhow::Result<Versions> {
    let mut versions = Versions::new();
    for model in ModelName::TRAINED {
        let found = tracking::optional(tracker.version_by_alias(model.as_str(), alias).await);
        let found = found.with_context(|| format!("failed to look up `{}@{alias}`", model.as_str()))?;
        versions.extend(found.map(|version| (model, version.version)));
    }
    Ok(versions)
}

/// What it takes to let the alias that serves name `versions`. Nothing is moved yet.
///
/// # Errors
/// [`GateRefused`] for a version that passed no validation; what the registry answers.
pub(super) async fn plan(tracker: &dyn Tracker, alias: &str, versions: &Versions) -> anyhow::Result<Vec<Move>> {
    let mut moves = Vec::new();
    for (model, to) in versions {
        let planned = promotion::plan(tracker, model.as_str(), alias, to).await.map_err(exit)?;
        let Promotion { from, to, previous } = planned;
        moves.push(Move { model: *model, from, to, previous });
    }
    Ok(moves)
}

/// Moves the alias that serves. Doing so again after it was cut off completes it.
///
/// # Errors
/// When another version has become champion since; what the registry answers.
pub(super) async fn apply(
    tracker: &dyn Tracker,
    alias: &str,
    moves: &[Move],
    decision: &Decision,
) -> anyhow::Result<()> {
    for step in moves {
        promotion::apply(tracker, step.model.as_str(), alias, &step.promotion(), decision).await.map_err(exit)?;
    }
    Ok(())
}

/// Moves the aliases back, those that were not moved yet excepted.
///
/// # Errors
/// When another version has become champion since; what the registry answers.
pub(super) async fn take_back(
    tracker: &dyn Tracker,
    alias: &str,
    moves: &[Move],
    decision: &Decision,
) -> anyhow::Result<()> {
    // All are looked at before one is moved.
    let now = versions(tracker, alias).await?;
    for step in moves {
        let now = now.get(&step.model);
        if now != Some(&step.to) && now != step.from.as_ref() {
            let (model, alias, now) = (step.model.as_str().to_owned(), alias.to_owned(), now.cloned());
            let (now, expected) = (now.unwrap_or_else(|| "none".to_owned()), step.to.clone());
            return Err(exit(PromotionError::Superseded { model, alias, now, expected }));
        }
    }
    for step in moves {
        promotion::undo(tracker, step.model.as_str(), alias, &step.promotion(), None, decision).await.map_err(exit)?;
    }
    Ok(())
}

impl Move {
    fn promotion(&self) -> Promotion {
        Promotion { from: self.from.clone(), to: self.to.clone(), previous: self.previous.clone() }
    }
}

/// The error with the exit code that it means.
fn exit(error: PromotionError) -> anyhow::Error {
    match error {
        PromotionError::NotValidated { .. } => GateRefused(error.to_string()).into(),
        PromotionError::Superseded { .. } => WrongUse(error.to_string()).into(),
        PromotionError::Registry { .. } => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracking::promotion::{CHAMPION, PREVIOUS, tags};
    use tracking::testing::Interrupted;
    use tracking::{NewRun, NewVersion, TrackingArgs};

    /// Two models with a champion and a version more.
    async fn registry(folder: &std::path::Path) -> Box<dyn Tracker> {
        let tracker = tracking::open(&TrackingArgs::default(), folder).await.expect("a registry");
        let experiment = tracker.experiment("tests").await.expect("an experiment");
        let run = tracker.create_run(NewRun::new(experiment.id, "a")).await.expect("a run");
        tracker.log_artifact(&run.id, "model/a", vec![1]).await.expect("logged");
        for model in [ModelName::LoadPredictor, ModelName::PlacementAgent] {
            tracker.register_model(model.as_str(), "").await.expect("registered");
            for _ in 0..2 {
                let version = NewVersion {
                    model: model.as_str().to_owned(),
                    run_id: run.id.clone(),
                    artifact_path: "model".to_owned(),
                    description: String::new(),
                    tags: [(tags::VALIDATION.to_owned(), tags::PASSED.to_owned())].into(),
                };
                tracker.create_version(version).await.expect("a version");
            }
            let why = Decision::new("test", "first");
            promotion::promote(&*tracker, model.as_str(), CHAMPION, "1", &why).await.expect("promoted");
        }
        tracker
    }

    async fn champions(tracker: &dyn Tracker) -> Vec<(String, Option<String>)> {
        let (now, before) = (versions(tracker, CHAMPION).await, versions(tracker, PREVIOUS).await);
        let (now, before) = (now.expect("champions"), before.expect("previous"));
        now.into_iter().map(|(model, version)| (version, before.get(&model).cloned())).collect()
    }

    #[tokio::test]
    async fn a_promotion_of_two_models_that_is_killed_is_completed_or_taken_back_whole() {
        let why = Decision::new("test", "better");
        let wanted =
            Versions::from([ModelName::LoadPredictor, ModelName::PlacementAgent].map(|it| (it, "2".to_owned())));
        for killed_after in 0..=4 {
            for goes_on in [true, false] {
                let folder = tempfile::tempdir().expect("temporary folder");
                let tracker = registry(folder.path()).await;
                let moves = plan(&*tracker, CHAMPION, &wanted).await.expect("a plan");
                let killed = Interrupted::after(killed_after, &*tracker);
                let done = apply(&killed, CHAMPION, &moves, &why).await.is_ok();
                assert_eq!(done, killed_after == 4, "two aliases of two models");
                if goes_on {
                    let again = plan(&*tracker, CHAMPION, &wanted).await.expect("a plan");
                    assert_eq!(again, moves, "what they replace is still known after {killed_after} moves");
                    apply(&*tracker, CHAMPION, &again, &why).await.expect("completed");
                    assert_eq!(champions(&*tracker).await, vec![("2".to_owned(), Some("1".to_owned())); 2]);
                } else {
                    take_back(&*tracker, CHAMPION, &moves, &why).await.expect("taken back");
                    assert_eq!(
                        champions(&*tracker).await,
                        vec![("1".to_owned(), None); 2],
                        "after {killed_after} moves"
                    );
                }
            }
        }
    }
}
