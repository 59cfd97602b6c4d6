//! `trainer rollback`: the way back, in one command.

use super::{CHAMPION, PREVIOUS, by_alias, tags, who};
use anyhow::Context;
use runtime::WrongUse;
use serde::Serialize;
use tracking::{AliasChange, Decision, Tracker};

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// The champion that was taken back.
    pub from: String,
    /// The champion now.
    pub to: String,
    /// What `previous` points at now: the champion before that one.
    pub previous: Option<String>,
}

/// Makes the former champion champion again, or the version `to`, which must have passed a validation. The reason is
/// kept as a tag of the version that was taken back and in the history of aliases.
///
/// # Errors
/// When there is no champion or nothing to go back to.
pub async fn rollback(
    tracker: &dyn Tracker,
    model: &str,
    to: Option<&str>,
    reason: &str,
) -> anyhow::Result<RolledBack> {
    let Some(champion) = by_alias(tracker, model, CHAMPION).await? else {
        return Err(WrongUse(format!("`{model}` has no champion to take back")).into());
    };
    let target = match to {
        Some(version) => {
            tracker.version(model, version).await.with_context(|| format!("`{model}` has no version `{version}`"))?
        }
        None => by_alias(tracker, model, PREVIOUS).await?.ok_or_else(|| {
            WrongUse(format!(
                "`{model}` has no previous champion. `trainer models` lists the versions; name one with --to"
            ))
        })?,
    };
    if target.version == champion.version {
        return Err(WrongUse(format!("version {} is champion already", target.version)).into());
    }
    if target.tags.get(tags::VALIDATION).map(String::as_str) != Some("passed") {
        return Err(WrongUse(format!(
            "version {} never passed a validation, so it cannot become champion",
            target.version
        ))
        .into());
    }
    let decision = Decision::new(who(), format!("rolled back from version {}: {reason}", champion.version));
    // First the alias that serves: a kill after this line leaves the right champion.
    tracker.set_alias(model, CHAMPION, &target.version, &decision).await.context("failed to move `champion`")?;
    tracker
        .set_version_tag(model, &champion.version, tags::WITHDRAWN, reason)
        .await
        .context("failed to tag the version that was taken back")?;
    let history = tracker.alias_history(model).await.context("failed to read the history of aliases")?;
    let previous = champion_before(&history, &target.version, &champion.version);
    match &previous {
        Some(version) => {
            tracker.set_alias(model, PREVIOUS, version, &decision).await.context("failed to move `previous`")?
        }
        None => tracker.delete_alias(model, PREVIOUS, &decision).await.context("failed to take `previous` away")?,
    }
    Ok(RolledBack { from: champion.version, to: target.version, previous })
}

/// The champion that `version` replaced when it first became champion, unless that is the one being taken back.
fn champion_before(history: &[AliasChange], version: &str, withdrawn: &str) -> Option<String> {
    history
        .iter()
        .find(|change| change.alias == CHAMPION && change.to.as_deref() == Some(version))
        .and_then(|change| change.from.clone())
        .filter(|before| before != withdrawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(from: Option<&str>, to: &str) -> AliasChange {
        AliasChange {
            id: to.to_owned(),
            alias: CHAMPION.to_owned(),
            from: from.map(str::to_owned),
            to: Some(to.to_owned()),
            at: chrono::DateTime::UNIX_EPOCH,
            decision: Decision::new("test", "test"),
        }
    }

    #[test]
    fn two_rollbacks_go_two_champions_back() {
        let history = [change(None, "1"), change(Some("1"), "2"), change(Some("2"), "3"), change(Some("3"), "2")];
        assert_eq!(champion_before(&history, "2", "3"), Some("1".to_owned()));
        assert_eq!(champion_before(&history, "1", "2"), None);
    }
}
