//! `trainer rollback`: the way back, in one command.

use super::{CHAMPION, by_alias, who};
use anyhow::Context;
use runtime::WrongUse;
use serde::Serialize;
use tracking::promotion::{self, Promotion};
use tracking::{Decision, Tracker};

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
/// kept as a tag of the version that was taken back and in the history of aliases. A rollback that was cut off is completed first.
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
    let last = promotion::last(tracker, model, CHAMPION).await?;
    // A rollback that was cut off, of which the champion is where it should be already.
    let begun = last.as_ref().is_some_and(|last| last.from.as_ref() == Some(&champion.version));
    let step = match (to, last) {
        (Some(version), Some(last)) if begun && version == champion.version => last,
        (Some(version), _) => {
            let previous = promotion::before(tracker, model, CHAMPION, version, &champion.version).await?;
            Promotion { from: Some(version.to_owned()), to: champion.version, previous }
        }
        (None, Some(last)) => last,
        (None, None) => {
            return Err(WrongUse(format!(
                "`{model}` has no previous champion. `trainer models` lists the versions; name one with --to"
            ))
            .into());
        }
    };
    let target = step.from.clone().unwrap_or_default();
    if target == step.to {
        return Err(WrongUse(format!("version {target} is champion already")).into());
    }
    let found =
        tracker.version(model, &target).await.with_context(|| format!("`{model}` has no version `{target}`"))?;
    if !promotion::is_validated(&found) {
        return Err(
            WrongUse(format!("version {target} never passed a validation, so it cannot become champion")).into()
        );
    }
    let decision = Decision::new(who(), format!("rolled back from version {}: {reason}", step.to));
    promotion::undo(tracker, model, CHAMPION, &step, Some(reason), &decision).await?;
    Ok(RolledBack { from: step.to, to: target, previous: step.previous })
}
