//! The rules in force and the kill switch, as files that are looked at all the time.

use super::Rules;
use crate::metrics::Metrics;
use anyhow::Context;
use runtime::WrongUse;
use runtime::files::FileError;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// Both files are looked at this often: a kill has to work in under a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A look takes microseconds. One that takes this long hangs in a file system that is away, and what it would find is not known.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rules are a few hundred bytes; no more than this is read of what lies in their place.
const MOST_BYTES: u64 = 1 << 20;

/// The rules of a process, and whether its influence is stopped. The kill switch fails closed: whatever keeps us from knowing that it is
/// off counts as on.
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
    /// The rules file as it was last read, whether it could be used or not.
    seen: Option<Vec<u8>>,
    refused: Option<String>,
    /// The file that was refused says that influence is to be stopped.
    refused_says_kill: bool,
    /// Why the kill switch is on, as far as it is not the rules in force that say so.
    killed: Option<String>,
    /// The look that is under way takes too long.
    is_overdue: bool,
}

impl Inner {
    fn kill_reason(&self) -> Option<String> {
        if self.rules.kill {
            return Some("`kill = true` in the rules file".to_owned());
        }
        let overdue =
            || format!("the kill file and the rules file could not be looked at for {} s", PATIENCE.as_secs());
        self.killed.clone().or_else(|| self.is_overdue.then(overdue))
    }
}

impl Book {
    /// The rules of the file, or the defaults without one.
    ///
    /// # Errors
    /// A file that cannot be used at the start is refused: a process that begins with other rules than those that were written would
    /// surprise everyone. So is a kill file in a folder that does not exist, where nobody could put it.
    pub fn open(file: Option<PathBuf>, kill_file: Option<PathBuf>, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let seen = file.as_deref().map(read).transpose()?;
        let rules = match seen.as_deref().zip(file.as_deref()) {
            Some((bytes, path)) => parse(bytes, path)?,
            None => Rules::default(),
        };
        if let Some(path) = &kill_file
            && folder_of(path).metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            let said = format!("`kill_file` is `{}`, and its folder does not exist: make it", path.display());
            return Err(WrongUse(said).into());
        }
        let inner = Inner { rules: Arc::new(rules), seen, ..Inner::default() };
        let book = Self { file, kill_file, inner: RwLock::new(inner), metrics };
        book.look();
        book.tell(&book.read());
        Ok(book)
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.read().rules)
    }

    /// Whether all influence is stopped.
    pub fn is_killed(&self) -> bool {
        let inner = self.read();
        inner.rules.kill || inner.killed.is_some() || inner.is_overdue
    }

    /// Why all influence is stopped, if it is.
    pub fn kill_reason(&self) -> Option<String> {
        self.read().kill_reason()
    }

    /// Why the file as it is now is not in force.
    pub fn refused(&self) -> Option<String> {
        self.read().refused.clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, inner: &Inner) {
        self.metrics.rules(&inner.rules, inner.kill_reason().is_some(), inner.refused.is_some());
    }

    /// Looks at both files once. It waits for the file system, so it belongs into a thread of its own.
    pub fn look(&self) {
        let by_file = self.kill_file.as_deref().and_then(kill_file_says);
        // Rules are a few hundred bytes: reading them is as cheap as asking for their age, and sees what a ConfigMap's symbolic links hide.
        let found = self.file.as_deref().map(|path| (path, read(path)));
        let (news, unreadable) = match found {
            Some((path, Ok(bytes))) => ((self.read().seen.as_ref() != Some(&bytes)).then_some((path, bytes)), None),
            // It is being replaced: what was in force stays.
            Some((_, Err(error))) if error.source.kind() == ErrorKind::NotFound => (None, None),
            Some((_, Err(error))) => (None, Some(format!("{:#}", anyhow::Error::new(error)))),
            None => (None, None),
        };
        let news = news.map(|(path, bytes)| (parse(&bytes, path), bytes));
        let mut inner = self.write();
        let was_killed = inner.kill_reason();
        if let Some((read, bytes)) = news {
            self.take(&mut inner, read, bytes);
        }
        let by_refused = || "`kill` in the rules file, which is refused for another reason".to_owned();
        inner.killed = by_file.or(unreadable).or_else(|| inner.refused_says_kill.then(by_refused));
        let is_killed = inner.kill_reason();
        if was_killed != is_killed {
            match &is_killed {
                Some(reason) => tracing::warn!(reason, "influence is stopped, all answers are neutral"),
                None => tracing::warn!("influence is stopped no longer"),
            }
            self.tell(&inner);
        }
    }

    /// Takes in a rules file that is new.
    fn take(&self, inner: &mut Inner, read: anyhow::Result<Rules>, bytes: Vec<u8>) {
        match read {
            Ok(rules) => {
                let (mode, percent, kill) = (rules.mode.as_str(), rules.percent, rules.kill);
                tracing::info!(mode, percent, kill, "new rules are in force");
                inner.rules = Arc::new(rules);
                (inner.refused, inner.refused_says_kill) = (None, false);
                self.metrics.reloaded(true);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::warn!(error = reason, "the rules file is refused, the old rules stay");
                inner.refused = Some(reason);
                inner.refused_says_kill = says_kill(&String::from_utf8_lossy(&bytes));
                self.metrics.reloaded(false);
            }
        }
        inner.seen = Some(bytes);
        self.tell(inner);
    }

    /// Looks for as long as the process lives, in a thread of its own: a file system that hangs must not hold a thread that answers, and
    /// what cannot be looked at in time counts as a kill.
    pub async fn keep_looking(self: Arc<Self>) {
        self.keep_looking_within(PATIENCE).await;
    }

    async fn keep_looking_within(self: Arc<Self>, patience: Duration) {
        let (looked, mut looks) = tokio::sync::watch::channel(());
        let book = Arc::clone(&self);
        let thread = std::thread::Builder::new().name("rules".to_owned()).spawn(move || {
            loop {
                book.look();
                // Nobody waits for it when the process ends.
                if looked.send(()).is_err() {
                    return;
                }
                std::thread::sleep(LOOK_EVERY);
            }
        });
        if let Err(error) = thread {
            return tracing::error!(%error, "failed to start the thread that looks at the rules");
        }
        loop {
            match tokio::time::timeout(patience, looks.changed()).await {
                Ok(Ok(())) => self.overdue(false),
                // The thread has ended by a panic, and the process goes with it.
                Ok(Err(_)) => return,
                Err(_) => self.overdue(true),
            }
        }
    }

    fn overdue(&self, is_overdue: bool) {
        if self.read().is_overdue == is_overdue {
            return;
        }
        let mut inner = self.write();
        inner.is_overdue = is_overdue;
        if is_overdue {
            tracing::warn!(
                "a look at the kill file and the rules file does not end: answers are neutral until it does"
            );
        } else {
            tracing::info!("the kill file and the rules file can be looked at again");
        }
        self.tell(&inner);
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why the file stops influence; `None` where it is known not to be there. A link that leads nowhere is there.
fn kill_file_says(path: &Path) -> Option<String> {
    let shown = path.display();
    match path.symlink_metadata() {
        Ok(_) => Some(format!("the kill file `{shown}` exists")),
        Err(error) if error.kind() == ErrorKind::NotFound => match folder_of(path).metadata() {
            Ok(_) => None,
            // It was there when the process began: a volume that is gone took the switch with it.
            Err(error) => Some(format!("the folder of the kill file `{shown}` cannot be looked at: {error}")),
        },
        Err(error) => Some(format!("the kill file `{shown}` cannot be looked at: {error}")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let fail = |source| FileError::new("read", path, source);
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], path: &Path) -> anyhow::Result<Rules> {
    let shown = path.display();
    anyhow::ensure!(bytes.len() as u64 <= MOST_BYTES, "rules file `{shown}` is larger than {MOST_BYTES} bytes");
    let text = std::str::from_utf8(bytes).with_context(|| format!("rules file `{shown}` is not valid UTF-8"))?;
    Rules::parse(text, path)
}

/// Whether a text that is not valid as rules says all the same that influence is to be stopped: a line that sets `kill`, in whatever table
/// and spelling, to anything but `false`. Who writes it is in a hurry.
fn says_kill(text: &str) -> bool {
    let is_word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-');
    let quotes = ['"', '\''];
    let sets = |line: &str, at: usize| {
        let (before, after) = (&line[..at], &line[at + "kill".len()..]);
        if before.ends_with(is_word) {
            return false;
        }
        let after = after.trim_start_matches(quotes).trim_start();
        let value = after.strip_prefix(['=', ':']).map(|value| value.trim_start().trim_start_matches(quotes));
        value.is_some_and(|value| !value.starts_with("false"))
    };
    text.lines().map(|line| line.split('#').next().unwrap_or_default().to_ascii_lowercase()).any(|line| {
        let mut places = line.match_indices("kill").map(|(at, _)| at);
        places.any(|at| sets(&line, at))
    })
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

    #[test]
    fn a_kill_switch_that_cannot_be_looked_at_is_on() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("file"), "").expect("written");
        std::os::unix::fs::symlink(place("nowhere"), place("dangling")).expect("a link");
        std::os::unix::fs::symlink(place("loop"), place("loop")).expect("a link");
        std::fs::create_dir(place("volume")).expect("a folder");
        for (kill, said) in [
            // As root reads everything, a folder that may not be read cannot be had in a test; these fail in the same call.
            (place("file/kill"), "cannot be looked at"),
            (place("loop/kill"), "cannot be looked at"),
            (place(&"x".repeat(300)), "cannot be looked at"),
            (place("dangling"), "exists"),
        ] {
            let book = Book::open(None, Some(kill.clone()), Arc::default()).expect("a book");
            assert!(book.is_killed(), "{}", kill.display());
            let reason = book.kill_reason().expect("a reason");
            assert!(reason.contains(said), "{reason}");
        }
        let book = Book::open(None, Some(place("volume/kill")), Arc::default()).expect("a book");
        assert_eq!(book.kill_reason(), None);
        std::fs::remove_dir(place("volume")).expect("removed");
        book.look();
        assert!(book.kill_reason().is_some_and(|said| said.contains("the folder of the kill file")));
        std::fs::create_dir(place("volume")).expect("a folder");
        book.look();
        assert!(!book.is_killed());
        let error = Book::open(None, Some(place("none/kill")), Arc::default()).expect_err("no such folder");
        assert!(error.to_string().contains("its folder does not exist: make it"), "{error}");
    }

    #[test]
    fn a_refused_file_that_says_kill_kills() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("rules.toml");
        std::fs::write(&file, "mode = \"active\"").expect("written");
        let book = Book::open(Some(file.clone()), None, Arc::default()).expect("rules");
        for text in [
            "mode = \"active\"\n[guard]\nlatency = \"50ms\"\nkill = true\n",
            "mode = active\nkill=true",
            "kill = True",
            "kill: true",
            "\"kill\" = yes # now",
            "guard = { kill = true }",
            "kill = ture",
            "mode = \"active\"\nmode = \"active\"\n  kill   =   true",
        ] {
            std::fs::write(&file, text).expect("written");
            book.look();
            assert!(book.refused().is_some() && book.is_killed(), "{text}");
            assert_eq!(book.rules().mode, Mode::Active, "what is in force stays");
            std::fs::write(&file, "mode = \"active\"").expect("written");
            book.look();
            assert_eq!((book.refused(), book.is_killed()), (None, false), "{text}");
        }
        for text in ["[guard]\nkill = false", "# kill = true\nmode = ", "kill_file = 3", "overkill = true"] {
            std::fs::write(&file, text).expect("written");
            book.look();
            assert!(book.refused().is_some() && !book.is_killed(), "{text}");
        }
        // Latin-1, and something that is no file.
        std::fs::write(&file, b"mode = \"\xe4ctive\"\nkill = true").expect("written");
        book.look();
        assert!(book.refused().is_some_and(|said| said.contains("UTF-8")) && book.is_killed());
        std::fs::remove_file(&file).expect("removed");
        std::fs::create_dir(&file).expect("a folder");
        book.look();
        assert!(book.is_killed(), "rules that cannot be read may say kill");
    }

    #[tokio::test]
    async fn a_look_that_hangs_kills_until_it_ends() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("rules.toml");
        std::fs::write(&file, "mode = \"active\"").expect("written");
        let book = Arc::new(Book::open(Some(file.clone()), None, Arc::default()).expect("rules"));
        std::fs::remove_file(&file).expect("removed");
        // Nobody writes: opening it hangs, as a file of a server that is away does.
        let made = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo");
        assert!(made.success());
        let looking = tokio::spawn(Arc::clone(&book).keep_looking_within(Duration::from_millis(300)));
        let until = async |killed: bool| {
            let holds = async {
                while book.is_killed() != killed {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), holds).await.expect("in a minute");
        };
        until(true).await;
        assert!(book.kill_reason().is_some_and(|said| said.contains("could not be looked at for")));
        // Who waits for the other end is let go, and the file is one again.
        let end = std::fs::OpenOptions::new().write(true).open(&file).expect("a reader waits");
        std::fs::remove_file(&file).expect("removed");
        std::fs::write(&file, "mode = \"canary\"").expect("written");
        drop(end);
        until(false).await;
        looking.abort();
    }
}
