//! Whether the challengers in memory are those that were given a share.

use super::log::Share;
use crate::registry::Registry;

/// How the challengers stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// They can answer.
    Ready,
    /// They are not in memory yet: the registry is away, or this server has just started.
    Waiting(String),
    /// They are others than those that were decided on, and nobody decided on these.
    Gone(String),
}

/// `seen`: whether the challengers have forecast the nodes.
pub(super) fn of(share: &Share, challengers: &Registry, seen: bool) -> Standing {
    let slots = challengers.slots();
    let mut waiting = None;
    for (name, slot) in &slots {
        let wanted = share.challenger.get(name);
        match (wanted, &slot.current) {
            (Some(wanted), Some(held)) if held.version == *wanted => {}
            (Some(wanted), Some(held)) => {
                return Standing::Gone(format!(
                    "version {wanted} of {} was decided on, the challenger is {} by now",
                    name.as_str(),
                    held.version
                ));
            }
            (Some(wanted), None) if slot.unregistered => {
                return Standing::Gone(format!(
                    "version {wanted} of {} was decided on, and the registry has no challenger any more",
                    name.as_str()
                ));
            }
            (Some(wanted), None) => {
                waiting = Some(format!("version {wanted} of {} is not in memory", name.as_str()));
            }
            (None, Some(held)) => {
                return Standing::Gone(format!(
                    "nobody decided on version {} of {}, which is a challenger by now",
                    held.version,
                    name.as_str()
                ));
            }
            (None, None) => {}
        }
    }
    match waiting {
        Some(reason) => Standing::Waiting(reason),
        None if !seen => Standing::Waiting("the challengers have not forecast the nodes yet".to_owned()),
        None => Standing::Ready,
    }
}
