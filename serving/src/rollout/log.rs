//! Every change of a rollout, in a file that only grows: who, when, why, and what it rested on. What holds now is the last
//! line; a process that starts or looks again reads it there.

use crate::registry::ModelName;
use anyhow::{Context, bail};
use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Versions by model.
pub type Versions = BTreeMap<ModelName, String>;

/// How pods are shared out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Percent of workloads that the challenger answers for, 0..100.
    pub percent: f64,
    /// The versions that the percentage was given to. Others get nothing.
    pub challenger: Versions,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A percentage was set.
    Set,
    /// The challenger became champion.
    Promote,
    /// The champion answers for all again.
    Return,
    /// An earlier change was taken back.
    Undo,
}

/// An alias of the registry that was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Whose.
    pub model: ModelName,
    /// The version before, if there was one.
    pub from: Option<String>,
    /// The version since.
    pub to: String,
    /// What the alias `previous` pointed at before.
    pub previous: Option<String>,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Counts from 1.
    pub id: u64,
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub action: Action,
    /// A person or a program.
    pub who: String,
    /// In a sentence.
    pub why: String,
    /// What held before.
    pub before: Share,
    /// What holds since.
    pub after: Share,
    /// Champions that were moved in the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<Move>,
    /// The change that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// Figures that it rests on; null where a person gave none.
    #[serde(default)]
    pub evidence: Value,
}

/// A change that is not in the log yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What.
    pub action: Action,
    /// A person or a program.
    pub who: String,
    /// In a sentence.
    pub why: String,
    /// What is to hold.
    pub after: Share,
    /// Champions that were moved in the registry.
    pub moved: Vec<Move>,
    /// The change that this one takes back.
    pub undoes: Option<u64>,
    /// Figures that it rests on.
    pub evidence: Value,
}

/// The changes of a file, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// All of them.
    pub changes: Vec<Change>,
    /// Lines that are no change: a process may have been killed while it wrote.
    pub broken: usize,
}

impl History {
    /// Reads the lines of a log.
    pub fn parse(text: &str) -> Self {
        let mut history = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str(line) {
                Ok(change) => history.changes.push(change),
                Err(_) => history.broken += 1,
            }
        }
        history
    }

    /// What holds now.
    pub fn share(&self) -> Share {
        self.changes.last().map(|change| change.after.clone()).unwrap_or_default()
    }

    /// The newest change that can be taken back: none that was, and none that takes back another.
    pub fn undoable(&self) -> Option<&Change> {
        let undone = |id: u64| self.changes.iter().any(|change| change.undoes == Some(id));
        self.changes.iter().rev().find(|change| change.undoes.is_none() && !undone(change.id))
    }
}

/// The file.
#[derive(Debug, Clone)]
pub struct RolloutLog {
    path: PathBuf,
}

impl RolloutLog {
    /// The file below a data root. Nothing is read or made yet.
    pub fn below(root: &Path) -> Self {
        Self { path: root.join("serving/rollout.jsonl") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All changes; none where there is no file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> anyhow::Result<History> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(History::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(History::default()),
            Err(error) => Err(error).with_context(|| format!("failed to read `{}`", self.path.display())),
        }
    }

    /// Adds a line and waits until it is on the disk. `step` sees what holds while nobody else can change it.
    ///
    /// # Errors
    /// What `step` says; when the disk is full or not writable: then the file is as it was.
    pub fn append(&self, step: impl FnOnce(&History) -> anyhow::Result<Step>) -> anyhow::Result<Change> {
        let mut file = self.open().with_context(|| format!("failed to open `{}`", self.path.display()))?;
        // Released when the file is closed, by a kill as well.
        file.lock().with_context(|| format!("failed to lock `{}`", self.path.display()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(|| format!("failed to read `{}`", self.path.display()))?;
        // A process that was killed may have left half a letter.
        let text = String::from_utf8_lossy(&bytes);
        let history = History::parse(&text);
        let Step { action, who, why, after, moved, undoes, evidence } = step(&history)?;
        if why.trim().is_empty() {
            bail!("a change of the rollout wants a reason");
        }
        let change = Change {
            id: history.changes.last().map_or(0, |change| change.id) + 1,
            at: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            action,
            who,
            why,
            before: history.share(),
            after,
            moved,
            undoes,
            evidence,
        };
        // Half a line that a killed process left gets its end, so that ours is a line of its own.
        let mut line = if text.is_empty() || text.ends_with('\n') { String::new() } else { "\n".to_owned() };
        line.push_str(&serde_json::to_string(&change)?);
        line.push('\n');
        let length = file.metadata()?.len();
        if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.sync_all()) {
            // What was written of it goes again; if that fails too, readers leave half a line out.
            let _ = file.set_len(length);
            return Err(error).with_context(|| format!("failed to write `{}`", self.path.display()));
        }
        Ok(change)
    }

    fn open(&self) -> std::io::Result<File> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        OpenOptions::new().read(true).append(true).create(true).open(&self.path)
    }

    /// What tells whether the file has grown: its length; `None` where it cannot be told.
    pub fn length(&self) -> Option<u64> {
        std::fs::metadata(&self.path).ok().map(|metadata| metadata.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(percent: f64) -> impl FnOnce(&History) -> anyhow::Result<Step> {
        move |_| {
            Ok(Step {
                action: Action::Set,
                who: "a test".into(),
                why: "it wants to".into(),
                after: Share { percent, challenger: Versions::from([(ModelName::LoadPredictor, "2".into())]) },
                moved: Vec::new(),
                undoes: None,
                evidence: Value::Null,
            })
        }
    }

    #[test]
    fn the_last_whole_line_holds_and_half_a_line_harms_nobody() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let log = RolloutLog::below(folder.path());
        assert_eq!(log.read().expect("none").share(), Share::default());
        log.append(set(5.0)).expect("kept");
        let killed = std::fs::read_to_string(log.path()).expect("text");
        // Cut within a letter.
        std::fs::write(log.path(), [killed.as_bytes(), &killed.as_bytes()[..40], &"é".as_bytes()[..1]].concat())
            .expect("written");
        assert_eq!(log.read().expect("read").broken, 1);
        let second = log.append(set(25.0)).expect("kept");
        assert_eq!((second.id, second.before.percent), (2, 5.0));
        let history = log.read().expect("read");
        assert_eq!((history.changes.len(), history.broken, history.share().percent), (2, 1, 25.0));
        // A refusal leaves no line.
        assert!(log.append(|_| bail!("no")).is_err());
        assert_eq!(log.read().expect("read"), history);
    }

    #[test]
    fn undoing_goes_back_one_change_after_the_other() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let log = RolloutLog::below(folder.path());
        log.append(set(5.0)).expect("kept");
        log.append(set(25.0)).expect("kept");
        for wanted in [Some(2), Some(1), None] {
            let history = log.read().expect("read");
            let last = history.undoable().cloned();
            assert_eq!(last.as_ref().map(|change| change.id), wanted);
            let Some(last) = last else { break };
            let undo = |_: &History| {
                let step = set(0.0)(&History::default())?;
                Ok(Step { action: Action::Undo, undoes: Some(last.id), after: last.before.clone(), ..step })
            };
            log.append(undo).expect("kept");
        }
        assert_eq!(log.read().expect("read").share(), Share::default());
    }

    #[test]
    fn many_writers_lose_no_line() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let log = RolloutLog::below(folder.path());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|at| drop(log.append(set(f64::from(at))).expect("kept"))));
            }
        });
        let ids: Vec<u64> = log.read().expect("read").changes.iter().map(|change| change.id).collect();
        assert_eq!(ids, (1..=40).collect::<Vec<u64>>());
    }
}
