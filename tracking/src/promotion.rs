//! The one place that moves the alias of the version that serves, and the way back. A version becomes champion by [`promote`] and loses that
//! place by [`undo`], and by nothing else. Only what passed a validation is promoted; the way back leads to whatever served before.
//!
//! Two aliases move, and a process may be killed between them. The way back is written first: `previous` names the champion before another
//! version takes its place, and keeps that name until the champion has been taken back. So whenever `previous` names the champion itself, a
//! move was cut off: the history of aliases tells which one, [`promote`] and [`undo`] complete it when they are called again, and [`last`] knows the
//! way back from there as well.

use crate::{AliasChange, Decision, ModelVersion, Tracker, TrackingError, optional};
use serde::{Deserialize, Serialize};

/// Serves.
pub const CHAMPION: &str = "champion";
/// Is compared with the champion.
pub const CHALLENGER: &str = "challenger";
/// Was champion before: the way back.
pub const PREVIOUS: &str = "previous";

/// Tags of a version.
pub mod tags {
    /// Semantic version.
    pub const SEMVER: &str = "semver";
    /// Hash of the files that forecast.
    pub const MODEL_HASH: &str = "model_hash";
    /// Hash of the feature schema.
    pub const SCHEMA: &str = "feature_schema";
    /// Hash of hyper-parameters and code.
    pub const RECIPE: &str = "recipe";
    /// Id of the training dataset.
    pub const DATASET: &str = "dataset";
    /// [`PASSED`]; a version without it can never be champion.
    pub const VALIDATION: &str = "validation";
    /// Value of [`VALIDATION`].
    pub const PASSED: &str = "passed";
    /// Value of [`VALIDATION`] for a version that there are too few days to tell of.
    pub const NOT_YET: &str = "not_yet";
    /// Hash of the judged model, for a fresh fit of its recipe.
    pub const FRESH_FIT_OF: &str = "fresh_fit_of";
    /// Why a version was taken back.
    pub const WITHDRAWN: &str = "withdrawn";
}

/// A version that takes, or took, the place of another: what [`undo`] needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// The version that served before, if there was one.
    pub from: Option<String>,
    /// The version that serves since.
    pub to: String,
    /// What `previous` named before.
    pub previous: Option<String>,
}

/// An alias cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum PromotionError {
    /// The version has no tag that says it passed.
    #[error(
        "version {version} of `{model}` never passed a validation, so it cannot become `{alias}`. Run `trainer validate`"
    )]
    NotValidated {
        /// Whose version.
        model: String,
        /// Which one.
        version: String,
        /// Which alias was to name it.
        alias: String,
    },
    /// Somebody moved the alias meanwhile.
    #[error("`{model}@{alias}` is version {now} by now, not {expected}. `trainer rollback` takes a champion back")]
    Superseded {
        /// Whose alias.
        model: String,
        /// Which one.
        alias: String,
        /// The version that it names; `none` where it names none.
        now: String,
        /// The version that it should name.
        expected: String,
    },
    /// The registry did not answer, or refused.
    #[error("failed to {doing}")]
    Registry {
        /// What was being done.
        doing: String,
        /// What it answered.
        source: TrackingError,
    },
}

/// Makes version `to` the one that `alias` names, and the one before it `previous`. Doing so again after it was cut off completes it, and
/// returns what the first call would have; where nothing is left to do, nothing is moved.
///
/// # Errors
/// See [`plan`] and [`apply`].
pub async fn promote(
    tracker: &dyn Tracker,
    model: &str,
    alias: &str,
    to: &str,
    decision: &Decision,
) -> Result<Promotion, PromotionError> {
    let promotion = plan(tracker, model, alias, to).await?;
    apply(tracker, model, alias, &promotion, decision).await?;
    Ok(promotion)
}

/// What [`promote`] would do, for those who write it down first. Nothing is moved.
///
/// # Errors
/// [`PromotionError::NotValidated`], and what the registry answers.
pub async fn plan(tracker: &dyn Tracker, model: &str, alias: &str, to: &str) -> Result<Promotion, PromotionError> {
    let registry = Registry { tracker, model, alias };
    registry.validated(to).await?;
    let (now, before) = (registry.version(alias).await?, registry.version(PREVIOUS).await?);
    let is_done = now.as_deref() == Some(to);
    let previous = if before.is_some() && (is_done || before == now) {
        // `previous` was moved already: what it named before stands in the history.
        registry.history().await?.replaced(PREVIOUS, before.as_deref())
    } else {
        before.clone()
    };
    Ok(Promotion { from: if is_done { before } else { now }, to: to.to_owned(), previous })
}

/// Moves the aliases as [`plan`] says.
///
/// # Errors
/// [`PromotionError::Superseded`] when the alias names a third version by now; what the registry answers.
pub async fn apply(
    tracker: &dyn Tracker,
    model: &str,
    alias: &str,
    promotion: &Promotion,
    decision: &Decision,
) -> Result<(), PromotionError> {
    let registry = Registry { tracker, model, alias };
    let now = registry.version(alias).await?;
    if now.as_ref() != Some(&promotion.to) && now != promotion.from {
        return Err(registry.superseded(now, promotion.from.as_deref().unwrap_or("none")));
    }
    if let Some(from) = &promotion.from {
        registry.name(PREVIOUS, Some(from), decision).await?;
    }
    registry.name(alias, Some(&promotion.to), decision).await
}

/// Takes a promotion back: the version before serves again, and `previous` names what it named. Doing so again after it was cut off completes
/// it. With `withdrawn` the version that is taken back keeps that reason as a tag.
///
/// # Errors
/// [`PromotionError::Superseded`] when the alias names a third version by now; what the registry answers.
pub async fn undo(
    tracker: &dyn Tracker,
    model: &str,
    alias: &str,
    promotion: &Promotion,
    withdrawn: Option<&str>,
    decision: &Decision,
) -> Result<(), PromotionError> {
    let registry = Registry { tracker, model, alias };
    let now = registry.version(alias).await?;
    if now.as_ref() != Some(&promotion.to) && now != promotion.from {
        return Err(registry.superseded(now, &promotion.to));
    }
    // First the alias that serves. `previous` comes last: until then it says that something is left to do.
    registry.name(alias, promotion.from.as_deref(), decision).await?;
    if let Some(reason) = withdrawn {
        let tagged = tracker.set_version_tag(model, &promotion.to, tags::WITHDRAWN, reason).await;
        let doing = || format!("tag version {} of `{model}`, which was taken back", promotion.to);
        tagged.map_err(|source| PromotionError::Registry { doing: doing(), source })?;
    }
    registry.name(PREVIOUS, promotion.previous.as_deref(), decision).await
}

/// Puts version `to` in the place of `from`, which is tagged with the reason; the way back stays what it was. For a fit that departs from the
/// one that was judged. Doing so again after it was cut off completes it. Returns whether the alias was moved: not where it names another
/// version than `from`.
///
/// # Errors
/// [`PromotionError::NotValidated`], and what the registry answers.
pub async fn replace(
    tracker: &dyn Tracker,
    model: &str,
    alias: &str,
    (from, to): (&str, &str),
    decision: &Decision,
) -> Result<bool, PromotionError> {
    let registry = Registry { tracker, model, alias };
    let now = registry.version(alias).await?;
    let moves = now.as_deref() == Some(from);
    if !moves && now.as_deref() != Some(to) {
        return Ok(false);
    }
    if moves {
        registry.validated(to).await?;
        // First the alias that serves: a kill after this leaves the right version at work.
        registry.name(alias, Some(to), decision).await?;
    }
    let tagged = tracker.set_version_tag(model, from, tags::WITHDRAWN, &decision.why).await;
    let doing = || format!("tag version {from} of `{model}`, which was taken back");
    tagged.map_err(|source| PromotionError::Registry { doing: doing(), source })?;
    Ok(moves)
}

/// The promotion that [`undo`] would take back; `None` where there is no champion or no way back. Where an undo was cut off, the same one, of
/// which `from` is the champion already.
///
/// # Errors
/// What the registry answers.
pub async fn last(tracker: &dyn Tracker, model: &str, alias: &str) -> Result<Option<Promotion>, PromotionError> {
    let registry = Registry { tracker, model, alias };
    let Some(champion) = registry.version(alias).await? else { return Ok(None) };
    let Some(before) = registry.version(PREVIOUS).await? else { return Ok(None) };
    let history = registry.history().await?;
    if before != champion {
        let previous = history.first_replaced(alias, &before).filter(|version| *version != champion);
        return Ok(Some(Promotion { from: Some(before), to: champion, previous }));
    }
    let served = history.newest(alias, Some(&champion));
    let way_back = history.newest(PREVIOUS, Some(&champion));
    let version_of = |place: Option<usize>| place.and_then(|place| history.changes[place].from.clone());
    if served > way_back {
        // The champion was taken back, and `previous` still names it.
        let Some(to) = version_of(served) else { return Ok(None) };
        let previous = history.first_replaced(alias, &champion).filter(|version| *version != to);
        return Ok(Some(Promotion { from: Some(champion), to, previous }));
    }
    // `previous` was written for a version that did not become champion.
    let Some(from) = version_of(way_back) else { return Ok(None) };
    let previous = history.first_replaced(alias, &from).filter(|version| *version != champion);
    Ok(Some(Promotion { from: Some(from), to: champion, previous }))
}

/// The champion that `version` replaced when it first became champion, unless that is `except`.
///
/// # Errors
/// What the registry answers.
pub async fn before(
    tracker: &dyn Tracker,
    model: &str,
    alias: &str,
    version: &str,
    except: &str,
) -> Result<Option<String>, PromotionError> {
    let history = Registry { tracker, model, alias }.history().await?;
    Ok(history.first_replaced(alias, version).filter(|before| before != except))
}

/// Whether a version may become champion.
pub fn is_validated(version: &ModelVersion) -> bool {
    version.tags.get(tags::VALIDATION).is_some_and(|value| value == tags::PASSED)
}

/// One model's aliases.
struct Registry<'a> {
    tracker: &'a dyn Tracker,
    model: &'a str,
    alias: &'a str,
}

impl Registry<'_> {
    fn failed(&self, doing: String) -> impl FnOnce(TrackingError) -> PromotionError {
        move |source| PromotionError::Registry { doing, source }
    }

    fn superseded(&self, now: Option<String>, expected: &str) -> PromotionError {
        PromotionError::Superseded {
            model: self.model.to_owned(),
            alias: self.alias.to_owned(),
            now: now.unwrap_or_else(|| "none".to_owned()),
            expected: expected.to_owned(),
        }
    }

    async fn version(&self, alias: &str) -> Result<Option<String>, PromotionError> {
        let found = optional(self.tracker.version_by_alias(self.model, alias).await);
        let found = found.map_err(self.failed(format!("look up `{}@{alias}`", self.model)))?;
        Ok(found.map(|version| version.version))
    }

    async fn validated(&self, version: &str) -> Result<(), PromotionError> {
        let found = self.tracker.version(self.model, version).await;
        let found = found.map_err(self.failed(format!("look up version {version} of `{}`", self.model)))?;
        if is_validated(&found) {
            return Ok(());
        }
        let [model, version, alias] = [self.model, version, self.alias].map(str::to_owned);
        Err(PromotionError::NotValidated { model, version, alias })
    }

    async fn history(&self) -> Result<History, PromotionError> {
        let changes = self.tracker.alias_history(self.model).await;
        changes
            .map(|changes| History { changes })
            .map_err(self.failed(format!("read the history of the aliases of `{}`", self.model)))
    }

    /// Lets an alias name a version, or none.
    async fn name(&self, alias: &str, version: Option<&str>, decision: &Decision) -> Result<(), PromotionError> {
        let moved = match version {
            Some(version) => self.tracker.set_alias(self.model, alias, version, decision).await,
            None => self.tracker.delete_alias(self.model, alias, decision).await,
        };
        moved.map_err(self.failed(format!("move `{}@{alias}`", self.model)))
    }
}

/// Every move of every alias, oldest first. On MLflow the last entry of an alias may stand for a move that was cut off, so entries are
/// looked up by the version that the alias names now.
struct History {
    changes: Vec<AliasChange>,
}

impl History {
    /// Where an alias came to name a version most recently.
    fn newest(&self, alias: &str, version: Option<&str>) -> Option<usize> {
        self.changes.iter().rposition(|change| change.alias == alias && change.to.as_deref() == version)
    }

    /// What an alias named before it came to name `version` most recently.
    fn replaced(&self, alias: &str, version: Option<&str>) -> Option<String> {
        self.changes[self.newest(alias, version)?].from.clone()
    }

    /// What an alias named before it first came to name `version`.
    fn first_replaced(&self, alias: &str, version: &str) -> Option<String> {
        let first = self.changes.iter().find(|change| change.alias == alias && change.to.as_deref() == Some(version));
        first.and_then(|change| change.from.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rollbacks_go_two_champions_back() {
        let change = |from: Option<&str>, to: &str| AliasChange {
            id: to.to_owned(),
            alias: CHAMPION.to_owned(),
            from: from.map(str::to_owned),
            to: Some(to.to_owned()),
            at: chrono::DateTime::UNIX_EPOCH,
            decision: Decision::new("test", "test"),
        };
        let changes = vec![change(None, "1"), change(Some("1"), "2"), change(Some("2"), "3"), change(Some("3"), "2")];
        let history = History { changes };
        assert_eq!(history.first_replaced(CHAMPION, "2"), Some("1".to_owned()));
        assert_eq!(history.first_replaced(CHAMPION, "1"), None);
        assert_eq!(history.replaced(CHAMPION, Some("2")), Some("3".to_owned()));
    }
}
