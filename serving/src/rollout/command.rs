//! `serving rollout …`: what people do with a challenger. A running server heeds the log within a second.

use super::log::{Action, Change, History, RolloutLog, Share, Step, Versions};
use super::{promote, report_path};
use crate::settings::ServerArgs;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use runtime::{GateRefused, WrongUse};
use serde_json::{Value, json};
use std::path::Path;
use tracking::{Decision, Tracker, TrackingArgs};

const EXAMPLES: &str = "Examples:
  serving rollout set 5 --reason 'first look'     5 percent of the workloads, always the same ones
  serving rollout status                          what holds, and how champion and challenger compare
  serving rollout promote --reason 'better by a point'
  serving rollout undo --reason 'too early'       takes the last change back, a promotion as well
  serving rollout log --json

A server on the same data folder heeds it within a second. BERTH_USER says who does it.";

/// What to do with the challenger.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RolloutCommand {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Give the challenger so many percent of the workloads
    #[command(after_help = EXAMPLES)]
    Set {
        /// 0 to 100
        percent: f64,
        #[command(flatten)]
        reason: Reason,
    },
    /// Make the challenger champion in the registry; it must have passed a validation, and must not be worse by the report
    Promote {
        #[command(flatten)]
        reason: Reason,
    },
    /// Let the champion answer for all again
    Return {
        #[command(flatten)]
        reason: Reason,
    },
    /// Take the last change back; again, the one before
    Undo {
        #[command(flatten)]
        reason: Reason,
    },
    /// Show what holds and how champion and challenger compare
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every change: who, when, why, and what it rested on
    Log {
        /// As JSON Lines
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Reason {
    /// Why, for those who read the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs the command on the data root and the registry.
///
/// # Errors
/// A percentage out of range, no challenger, nothing to undo (wrong use); a promotion that a gate refuses; a log or a
/// registry that cannot be used.
pub async fn run(
    command: &RolloutCommand,
    root: &Path,
    tracking: &TrackingArgs,
    server: &ServerArgs,
) -> anyhow::Result<()> {
    let desk = Desk { log: RolloutLog::below(root), root, tracking, server };
    let change = match &command.command {
        Verb::Set { percent, reason } => desk.set(*percent, &reason.reason).await?,
        Verb::Promote { reason } => desk.promote(&reason.reason).await?,
        Verb::Return { reason } => desk.back(&reason.reason)?,
        Verb::Undo { reason } => desk.undo(&reason.reason).await?,
        Verb::Status { json } => return desk.status(*json),
        Verb::Log { json } => return desk.list(*json),
    };
    println!("{}", line(&change));
    Ok(())
}

struct Desk<'a> {
    log: RolloutLog,
    root: &'a Path,
    tracking: &'a TrackingArgs,
    server: &'a ServerArgs,
}

impl Desk<'_> {
    /// The registry, opened by those who need it: the way back works without.
    async fn registry(&self) -> anyhow::Result<Box<dyn Tracker>> {
        Ok(tracking::open(self.tracking, self.root).await?)
    }

    /// The challengers that are not champion already.
    async fn challengers(&self, registry: &dyn Tracker) -> anyhow::Result<Versions> {
        let (alias, beside) = (&self.server.alias, &self.server.shadow);
        if beside.is_empty() {
            return Err(WrongUse("there is no challenger: `shadow` of [serving.server] is empty".to_owned()).into());
        }
        let champions = promote::versions(registry, alias).await?;
        let mut versions = promote::versions(registry, beside).await?;
        versions.retain(|model, version| champions.get(model) != Some(version));
        if versions.is_empty() {
            return Err(WrongUse(format!(
                "the registry has no version under `{beside}` that is not `{alias}` already. `trainer models` lists what there is"
            ))
            .into());
        }
        Ok(versions)
    }

    async fn set(&self, percent: f64, why: &str) -> anyhow::Result<Change> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(WrongUse(format!("{percent} percent, want 0 to 100")).into());
        }
        let challenger = self.challengers(&*self.registry().await?).await?;
        let after = if percent > 0.0 { Share { percent, challenger } } else { Share::default() };
        self.append(Action::Set, why, |_| Ok((after, None)), Vec::new())
    }

    fn back(&self, why: &str) -> anyhow::Result<Change> {
        let held = |history: &History| {
            if history.share().percent <= 0.0 {
                return Err(WrongUse("the champion answers for all already".to_owned()).into());
            }
            Ok((Share::default(), None))
        };
        self.append(Action::Return, why, held, Vec::new())
    }

    async fn promote(&self, why: &str) -> anyhow::Result<Change> {
        let registry = self.registry().await?;
        let challenger = self.challengers(&*registry).await?;
        let share = self.log.read()?.share();
        if share.percent > 0.0 && share.challenger != challenger {
            return Err(WrongUse(format!(
                "{} was decided on, the challenger is {} by now: set a percentage for it first",
                named(&share.challenger),
                named(&challenger)
            ))
            .into());
        }
        if let Some(sentence) = self.report()["breach"].as_str() {
            return Err(GateRefused(format!("by the report, {sentence}")).into());
        }
        let decision = Decision::new(who(), format!("promoted by a rollout: {why}"));
        let alias = &self.server.alias;
        let moves = promote::plan(&*registry, alias, &challenger).await?;
        // The way back is written first: whatever of this is done when the process is killed, `undo` knows it.
        let change = self.append(Action::Promote, why, |_| Ok((Share::default(), None)), moves)?;
        promote::apply(&*registry, alias, &change.moved, &decision).await.with_context(|| {
            format!("change {} is not complete: promote again, or take it back with `serving rollout undo`", change.id)
        })?;
        Ok(change)
    }

    async fn undo(&self, why: &str) -> anyhow::Result<Change> {
        let history = self.log.read()?;
        let last = history.undoable().ok_or_else(|| WrongUse("there is no change to take back".to_owned()))?;
        let decision = Decision::new(who(), format!("a rollout's change {} was taken back: {why}", last.id));
        if !last.moved.is_empty() {
            promote::take_back(&*self.registry().await?, &self.server.alias, &last.moved, &decision).await?;
        }
        let (id, before) = (last.id, last.before.clone());
        let same = |history: &History| {
            if history.undoable().map(|change| change.id) != Some(id) {
                bail!("somebody changed it meanwhile, look at `serving rollout log`");
            }
            Ok((before, Some(id)))
        };
        self.append(Action::Undo, why, same, Vec::new())
    }

    fn append(
        &self,
        action: Action,
        why: &str,
        after: impl FnOnce(&History) -> anyhow::Result<(Share, Option<u64>)>,
        moved: Vec<super::log::Move>,
    ) -> anyhow::Result<Change> {
        let evidence = self.report()["report"].clone();
        self.log.append(|history| {
            let (after, undoes) = after(history)?;
            Ok(Step { action, who: who(), why: why.to_owned(), after, moved, undoes, evidence })
        })
    }

    /// What a running server told last; null where none did.
    fn report(&self) -> Value {
        runtime::files::read_json(&report_path(self.root)).unwrap_or(Value::Null)
    }

    fn status(&self, as_json: bool) -> anyhow::Result<()> {
        let history = self.log.read()?;
        let share = history.share();
        let told = self.report();
        if as_json {
            let status = json!({ "share": share, "last": history.changes.last(), "broken_lines": history.broken, "server": told });
            println!("{}", serde_json::to_string_pretty(&status)?);
            return Ok(());
        }
        match share.percent > 0.0 {
            true => println!("{} answers for {} % of the workloads", named(&share.challenger), share.percent),
            false => println!("the champion answers for all"),
        }
        if let Some(last) = history.changes.last() {
            println!("{}", line(last));
        }
        if history.broken > 0 {
            println!("{} lines of {} are no change", history.broken, self.log.path().display());
        }
        print!("{}", super::text::of(&told));
        Ok(())
    }

    fn list(&self, as_json: bool) -> anyhow::Result<()> {
        for change in self.log.read()?.changes {
            let text =
                if as_json { serde_json::to_string(&change).context("a change is no JSON")? } else { line(&change) };
            println!("{text}");
        }
        Ok(())
    }
}

fn line(change: &Change) -> String {
    let what = match (change.action, change.undoes) {
        (_, Some(undone)) => format!("change {undone} taken back, {} %", change.after.percent),
        (Action::Promote, _) => {
            let moved: Versions = change.moved.iter().map(|step| (step.model, step.to.clone())).collect();
            format!("{} promoted", named(&moved))
        }
        _ => format!("{} % to {} %", change.before.percent, change.after.percent),
    };
    format!("{:>4}  {}  {}  {}: {}", change.id, change.at, what, change.who, change.why)
}

fn named(versions: &Versions) -> String {
    let list: Vec<String> = versions.iter().map(|(model, version)| format!("{} {version}", model.as_str())).collect();
    list.join(", ")
}

/// Who does it: `BERTH_USER`, else the user that the system names.
fn who() -> String {
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    ["BERTH_USER", "USER", "LOGNAME"].iter().find_map(set).unwrap_or_else(|| "unknown".to_owned())
}
