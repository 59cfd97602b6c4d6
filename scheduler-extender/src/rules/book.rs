//! The rules in force and the kill switch, as files that are looked at all the time.

use super::Rules;
use crate::metrics::Metrics;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Both files are looked at this often: a kill has to work in under a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The rules of a process, and whether it is stopped by the kill file.
#[derive(Debug)]
pub struct Book {
    file: Option<PathBuf>,
    kill_file: Option<PathBuf>,
    inner: RwLock<Inner>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Arc<Rules>,
    seen: Option<String>,
    refused: Option<String>,
    killed: bool,
}

impl Book {
    /// The rules of the file, or the defaults without one.
    ///
    /// # Errors
    /// A file that cannot be used at the start is refused: a process that begins with other rules than those that were written would
    /// surprise everyone.
    pub fn open(file: Option<PathBuf>, kill_file: Option<PathBuf>, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let rules = file.as_deref().map(Rules::read).transpose()?.unwrap_or_default();
        let seen = file.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
        let killed = kill_file.as_deref().is_some_and(Path::exists);
        metrics.rules(&rules, killed, false);
        let inner = Inner { rules: Arc::new(rules), seen, refused: None, killed };
        Ok(Self { file, kill_file, inner: RwLock::new(inner), metrics })
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.read().rules)
    }

    /// Whether all influence is stopped.
    pub fn is_killed(&self) -> bool {
        let inner = self.read();
        inner.killed || inner.rules.kill
    }

    /// Why the file as it is now is not in force.
    pub fn refused(&self) -> Option<String> {
        self.read().refused.clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at both files once.
    pub fn look(&self) {
        let killed = self.kill_file.as_deref().is_some_and(Path::exists);
        // Rules are a few hundred bytes: reading them is as cheap as asking for their age, and sees what a ConfigMap's symbolic links hide.
        // A file that cannot be read for a moment (it is being replaced) changes nothing.
        let text = self.file.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
        let (is_news, was_killed) = {
            let inner = self.read();
            (text.is_some() && text != inner.seen, inner.killed)
        };
        if !is_news && killed == was_killed {
            return;
        }
        let news = text.as_deref().zip(self.file.as_deref()).filter(|_| is_news);
        let read = news.map(|(text, path)| Rules::parse(text, path));
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if killed != std::mem::replace(&mut inner.killed, killed) {
            tracing::warn!(killed, "the kill file has changed the answers: neutral while it exists");
        }
        match read {
            Some(Ok(rules)) => {
                tracing::info!(
                    mode = rules.mode.as_str(),
                    percent = rules.percent,
                    kill = rules.kill,
                    "new rules are in force"
                );
                inner.rules = Arc::new(rules);
                inner.refused = None;
                inner.seen = text;
                self.metrics.reloaded(true);
            }
            Some(Err(error)) => {
                let reason = format!("{error:#}");
                tracing::warn!(error = reason, "the rules file is refused, the old rules stay");
                inner.refused = Some(reason);
                inner.seen = text;
                self.metrics.reloaded(false);
            }
            None => {}
        }
        self.metrics.rules(&inner.rules, inner.killed || inner.rules.kill, inner.refused.is_some());
    }

    /// Looks for as long as the process lives.
    pub async fn keep_looking(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Mode;

    #[test]
    fn a_broken_file_is_refused_and_what_was_in_force_stays() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (file, kill) = (folder.path().join("rules.toml"), folder.path().join("kill"));
        std::fs::write(&file, "mode = \"canary\"\npercent = 25.0\n").expect("written");
        let book = Book::open(Some(file.clone()), Some(kill.clone()), Arc::default()).expect("rules");
        assert_eq!((book.rules().mode, book.rules().percent), (Mode::Canary, 25.0));
        for (text, said) in [
            ("mode = \"canry\"", "canry"),
            ("modus = \"active\"", "modus"),
            ("percent = 101.0", "`percent` is 101"),
            ("[weights]\nload = 1.0\nplacement = 1.0\nanomaly = 0.0", "sum to 1"),
            ("[spread]\nfull_at = 0.0", "spread.full_at"),
            ("[guard]\nlatency = \"soon\"", "soon"),
            ("mode = ", "rules.toml"),
        ] {
            std::fs::write(&file, text).expect("written");
            book.look();
            let refused = book.refused().expect(text);
            assert!(refused.contains(said), "{refused}");
            assert_eq!((book.rules().mode, book.rules().percent), (Mode::Canary, 25.0));
        }
        std::fs::remove_file(&file).expect("removed");
        book.look();
        assert_eq!(book.rules().mode, Mode::Canary);
        std::fs::write(&file, "mode = \"active\"").expect("written");
        book.look();
        assert_eq!((book.rules().mode, book.refused(), book.is_killed()), (Mode::Active, None, false));
        std::fs::write(&kill, "").expect("written");
        book.look();
        assert!(book.is_killed());
        std::fs::remove_file(&kill).expect("removed");
        book.look();
        assert!(!book.is_killed());
        std::fs::write(&file, "kill = true").expect("written");
        book.look();
        assert!(book.is_killed());
        assert!(Book::open(Some(folder.path().join("absent.toml")), None, Arc::default()).is_err());
    }
}
