//! A running server heeds what people decide, and takes the challenger back by itself.

use super::log::{Action, Step};
use super::standing::Standing;
use super::{Rollout, Share, lock};
use anyhow::{Context, bail};
use serde_json::json;
use std::sync::PoisonError;
use std::time::Duration;

/// The log is looked at this often, so that a command is heeded within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Who takes the challenger back when nobody asks for it.
const OURSELVES: &str = "serving";

impl Rollout {
    /// Heeds the log and the limits, for ever.
    pub async fn follow(&self) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut was_unreadable = false;
        loop {
            ticks.tick().await;
            match tokio::task::block_in_place(|| self.heed()) {
                Ok(()) => was_unreadable = false,
                Err(error) if !std::mem::replace(&mut was_unreadable, true) => {
                    tracing::error!(error = format!("{error:#}"), "the rollout's log cannot be used, trying again");
                }
                Err(_) => {}
            }
        }
    }

    /// Heeds the log and the limits once.
    ///
    /// # Errors
    /// When the log cannot be read, or a return could not be written down; it holds all the same.
    pub fn heed(&self) -> anyhow::Result<()> {
        // A log that cannot be read is no reason to let a bad version go on.
        let looked = self.look(false);
        self.judge().and(looked)
    }

    /// Reads the log where it has grown. `starts`: this process has only just begun, and goes on with what it counted before.
    pub(super) fn look(&self, starts: bool) -> anyhow::Result<()> {
        let length = self.log.length();
        let mut seen = lock(&self.seen);
        if *seen == length && seen.is_some() {
            return Ok(());
        }
        let history = self.log.read()?;
        let share = history.share();
        let mut held_back = lock(&self.held_back);
        if held_back.as_ref().is_some_and(|(held, _)| *held == share) {
            return Ok(());
        }
        *held_back = None;
        let before = self.share();
        if before.percent <= 0.0 && share.percent > 0.0 && !starts {
            // Another look has another beginning: what was held against the challenger before was known to who decided.
            lock(&self.analysis).forget_pods();
        }
        if share != before {
            let (id, who) = history.changes.last().map_or((0, "nobody"), |change| (change.id, change.who.as_str()));
            tracing::info!(percent = share.percent, change = id, who, "the challenger's share of workloads changed");
        }
        self.metrics.rollout_percent(share.percent);
        *self.share.write().unwrap_or_else(PoisonError::into_inner) = share;
        *seen = length;
        Ok(())
    }

    /// Takes the challenger back when it has to go.
    fn judge(&self) -> anyhow::Result<()> {
        let held_back = lock(&self.held_back).clone();
        if let Some((share, why)) = held_back {
            return self.write_return(&share, &why);
        }
        let share = self.share();
        if share.percent <= 0.0 {
            return Ok(());
        }
        let report = lock(&self.analysis).report(&self.limits);
        let (limit, why) = match (self.standing(&share), report.breach()) {
            (Standing::Gone(why), _) => ("version", why),
            (Standing::Ready, Some(breach)) => (breach.limit, breach.sentence),
            _ => return Ok(()),
        };
        tracing::warn!(percent = share.percent, limit, why, "the champion answers for all again");
        self.metrics.rollout_returned(limit);
        self.metrics.rollout_percent(0.0);
        // First the pods, then the paper: a full disk must not keep a bad version at work.
        *self.share.write().unwrap_or_else(PoisonError::into_inner) = Share::default();
        *lock(&self.held_back) = Some((share.clone(), why.clone()));
        // Who looks now should see why.
        self.tell();
        self.write_return(&share, &why)
    }

    fn write_return(&self, share: &Share, why: &str) -> anyhow::Result<()> {
        let evidence = json!(lock(&self.analysis).report(&self.limits));
        let written = self.log.append(|history| {
            if history.share() != *share {
                bail!("somebody changed it meanwhile");
            }
            Ok(Step {
                action: Action::Return,
                who: OURSELVES.to_owned(),
                why: why.to_owned(),
                after: Share::default(),
                moved: Vec::new(),
                undoes: None,
                evidence,
            })
        });
        // Whoever was quicker: the log is what holds, and it says something else by now.
        let is_settled = written.is_ok() || self.log.read().is_ok_and(|history| history.share() != *share);
        if is_settled {
            *lock(&self.held_back) = None;
            *lock(&self.seen) = None;
            return self.look(false);
        }
        written.map(drop).context("the champion answers for all again, and this could not be written down")
    }
}
