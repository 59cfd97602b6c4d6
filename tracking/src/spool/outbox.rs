//! The writes that wait: one small file each, named by its position, whole or absent.
//!
//! ```text
//! spool/outbox/0000000000000042.json    a write that waits
//! spool/refused/0000000000000007.json   one that the server refused; beside it `….reason.txt`
//! spool/files/<id>                      bytes of an artifact that waits
//! spool/sent/<local id>                 the server's id of what has been sent
//! ```

use super::operation::{Entry, Operation};
use crate::TrackingError;
use crate::types::{Waiting, now};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) struct Outbox {
    root: PathBuf,
    /// Locks of files hold between processes; within one process these do.
    writing: tokio::sync::Mutex<()>,
    sending: tokio::sync::Mutex<()>,
}

/// Holds a lock until it is dropped.
pub(super) struct Guard<'a> {
    _within: tokio::sync::MutexGuard<'a, ()>,
    _file: File,
}

impl Outbox {
    pub(super) fn open(root: &Path) -> Result<Self, TrackingError> {
        for folder in ["outbox", "refused", "files", "sent"] {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).map_err(|source| TrackingError::io("create", &folder, source))?;
        }
        Ok(Self { root: root.to_owned(), writing: tokio::sync::Mutex::new(()), sending: tokio::sync::Mutex::new(()) })
    }

    /// Where the bytes of an artifact wait.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join("files").join(name)
    }

    /// Held while a write is put down, by one process at a time.
    pub(super) async fn writing(&self) -> Result<Guard<'_>, TrackingError> {
        let within = self.writing.lock().await;
        Ok(Guard { _within: within, _file: crate::lock::hold(&self.root.join("writing.lock")).await? })
    }

    /// Held while writes are sent, by one process at a time; this keeps their order.
    pub(super) async fn sending(&self) -> Result<Guard<'_>, TrackingError> {
        let within = self.sending.lock().await;
        Ok(Guard { _within: within, _file: crate::lock::hold(&self.root.join("sending.lock")).await? })
    }

    /// The positions of the writes that wait, in order.
    pub(super) fn positions(&self) -> Result<Vec<u64>, TrackingError> {
        let mut positions = self.listed("outbox")?;
        positions.sort_unstable();
        Ok(positions)
    }

    pub(super) fn is_empty(&self) -> Result<bool, TrackingError> {
        Ok(self.listed("outbox")?.is_empty())
    }

    fn listed(&self, folder: &str) -> Result<Vec<u64>, TrackingError> {
        let folder = self.root.join(folder);
        let failed = |source| TrackingError::io("list", &folder, source);
        let mut positions = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            positions.extend(name.to_string_lossy().strip_suffix(".json").and_then(|stem| stem.parse::<u64>().ok()));
        }
        Ok(positions)
    }

    fn entry(&self, folder: &str, position: u64) -> PathBuf {
        self.root.join(folder).join(format!("{position:016}.json"))
    }

    /// Puts a write down behind all others. The caller holds [`Outbox::writing`].
    pub(super) fn put(&self, operation: Operation) -> Result<(), TrackingError> {
        // Above refused ones too, so that a position never names two writes.
        let highest = self.listed("outbox")?.into_iter().chain(self.listed("refused")?).max().unwrap_or(0);
        let last = self.root.join("position");
        let remembered = std::fs::read_to_string(&last).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let position = highest.max(remembered) + 1;
        let entry = Entry { queued_at: now(), failures: 0, operation };
        runtime::files::write_json(&self.entry("outbox", position), &entry)?;
        Ok(runtime::files::write_text(&last, &position.to_string())?)
    }

    pub(super) fn read(&self, position: u64) -> Result<Entry, TrackingError> {
        Ok(runtime::files::read_json(&self.entry("outbox", position))?)
    }

    /// Counts one more failure of the server at a write.
    pub(super) fn failed_again(&self, position: u64, entry: &Entry) -> Result<(), TrackingError> {
        let entry = Entry { failures: entry.failures + 1, ..entry.clone() };
        Ok(runtime::files::write_json(&self.entry("outbox", position), &entry)?)
    }

    /// Forgets a write that the server has.
    pub(super) fn done(&self, position: u64) -> Result<(), TrackingError> {
        let path = self.entry("outbox", position);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(TrackingError::io("remove", &path, source)),
            _ => Ok(()),
        }
    }

    /// Puts aside a write that the server will never take, with the reason beside it.
    pub(super) fn refuse(&self, position: u64, reason: &str) -> Result<(), TrackingError> {
        let (from, to) = (self.entry("outbox", position), self.entry("refused", position));
        runtime::files::write_text(&to.with_extension("reason.txt"), &format!("{reason}\n"))?;
        std::fs::rename(&from, &to).map_err(|source| TrackingError::io("move aside", &from, source))
    }

    /// Remembers the server's id of something that was made under a local id.
    pub(super) fn sent(&self, local: &str, server: &str) -> Result<(), TrackingError> {
        Ok(runtime::files::write_text(&self.root.join("sent").join(local), server)?)
    }

    /// The server's id of something that was made under a local id, once it has been sent.
    pub(super) fn server_id(&self, local: &str) -> Result<Option<String>, TrackingError> {
        // The id becomes the name of a file, so nothing else may be in it.
        if !local.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') {
            return Ok(None);
        }
        let path = self.root.join("sent").join(local);
        match std::fs::read_to_string(&path) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TrackingError::io("read", &path, source)),
        }
    }

    /// Keeps why the last attempt to send did not work; `None` when it did.
    pub(super) fn note(&self, error: Option<&TrackingError>) -> Result<(), TrackingError> {
        let text = error.map(ToString::to_string).unwrap_or_default();
        Ok(runtime::files::write_text(&self.root.join("last_error"), &text)?)
    }

    pub(super) fn waiting(&self) -> Result<Waiting, TrackingError> {
        let positions = self.positions()?;
        // A write may be sent between the listing and the reading.
        let since = positions.iter().find_map(|position| self.read(*position).ok()).map(|entry| entry.queued_at);
        let last_error = std::fs::read_to_string(self.root.join("last_error")).ok().filter(|text| !text.is_empty());
        Ok(Waiting {
            writes: positions.len() as u64,
            since,
            refused: self.listed("refused")?.len() as u64,
            last_error: last_error.filter(|_| !positions.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str) -> Operation {
        Operation::RegisterModel { name: name.into(), description: String::new() }
    }

    #[test]
    fn writes_keep_their_order_and_never_share_a_position() {
        let folder = tempfile::tempdir().expect("folder");
        let outbox = Outbox::open(folder.path()).expect("outbox");
        for name in ["a", "b", "c"] {
            outbox.put(write(name)).expect("put");
        }
        assert_eq!(outbox.positions().expect("positions"), [1, 2, 3]);
        for position in [1, 2, 3] {
            outbox.done(position).expect("done");
        }
        outbox.done(3).expect("once more is no error");
        outbox.put(write("d")).expect("put");
        assert_eq!(outbox.positions().expect("positions"), [4]);
        outbox.refuse(4, "no such model").expect("refuse");
        let waiting = outbox.waiting().expect("waiting");
        assert_eq!((waiting.writes, waiting.refused), (0, 1));
        let reason =
            std::fs::read_to_string(folder.path().join("refused/0000000000000004.reason.txt")).expect("reason");
        assert!(reason.contains("no such model"));
    }

    #[test]
    fn a_local_id_never_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let outbox = Outbox::open(folder.path()).expect("outbox");
        std::fs::write(folder.path().join("secret"), "x").expect("file");
        assert_eq!(outbox.server_id("../secret").expect("no error"), None);
        outbox.sent("local-1", "abc").expect("sent");
        assert_eq!(outbox.server_id("local-1").expect("id").as_deref(), Some("abc"));
    }
}
