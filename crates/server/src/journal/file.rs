//! One file of JSON Lines, from its first line to its place in the table.

use super::Kept;
use anyhow::{Context, ensure};
use cluster::DAY_MS;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use store::{Store, date_of};
use uuid::Uuid;

const EXTENSION: &str = "jsonl";
/// Lines that are taken into memory at once: their records, their columns and the encoded part are there beside each other.
const SLICE: usize = 4 << 20;
/// A record of another time was never made by Berth: a line that is damaged.
const POSSIBLE: std::ops::Range<i64> = 30 * 365 * DAY_MS..230 * 365 * DAY_MS;

/// A file of lines, and the lock on it. Dropping it lets go of the lock, as does the end of the process, however it comes.
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Lines {
    /// A new file in `folder`, which is made where it is absent.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
        // A process id would not do: in a container it is 1 everywhere.
        let name = format!("{}-{}.{EXTENSION}", chrono::Utc::now().timestamp_millis(), Uuid::new_v4().simple());
        let path = folder.join(name);
        let open = || -> anyhow::Result<Option<Self>> {
            let file = OpenOptions::new().create_new(true).read(true).append(true).open(&path)?;
            Self::lock(path.clone(), file)
        };
        let lines = open().with_context(|| format!("failed to make `{}`", path.display()))?;
        lines.with_context(|| format!("another process has locked `{}`, which was made just now", path.display()))
    }

    /// The file of a process that has ended; `None` where one is writing it, or where somebody else has rolled it just now.
    fn of_ended(path: &Path) -> anyhow::Result<Option<Self>> {
        match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => Self::lock(path.to_owned(), file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn lock(path: PathBuf, file: File) -> anyhow::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).context("failed to lock it"),
        }
        let own = file.metadata()?;
        ensure!(own.is_file(), "it is not a file");
        // Between opening and locking, whoever had the lock may have rolled and removed it.
        let is_there = std::fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        Ok(is_there.then_some(Self { path, file, bytes: own.len() }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds whole lines: all of them, or none.
    pub fn append(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // Half of it may be there: readers would leave out a half line, but not a record that was counted as lost.
            let _ = self.file.set_len(self.bytes);
            return Err(error).with_context(|| format!("failed to write `{}`", self.path.display()));
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }
}

/// Rolls what ended processes left in `folder`. What cannot be rolled stays, and is said.
pub(super) fn roll_left<R: Kept>(store: &Store, folder: &Path) {
    let left = match left_in(folder) {
        Ok(left) => left,
        Err(error) => return tracing::warn!(error = format!("{error:#}"), "records that others left are not rolled"),
    };
    for path in left {
        let rolled = Lines::of_ended(&path).and_then(|lines| lines.map_or(Ok(()), |lines| roll::<R>(store, lines)));
        if let Err(error) = rolled {
            tracing::warn!(error = format!("{error:#}"), file = %path.display(), "records stay as lines");
        }
    }
}

fn left_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("failed to list `{}`", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(failed),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(failed)?.path();
        if path.extension() == Some(OsStr::new(EXTENSION)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Puts the lines of a file into the table, then removes it. The names of its parts follow from the file's, so that a kill in between
/// leads to the same parts again and not to others.
pub(super) fn roll<R: Kept>(store: &Store, mut lines: Lines) -> anyhow::Result<()> {
    let path = lines.path.clone();
    let failed = |doing: &str| format!("failed to {doing} `{}`", path.display());
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut by_day: BTreeMap<_, Vec<R>> = BTreeMap::new();
    let (mut broken, mut held, mut slice) = (0_u64, 0, 0);
    lines.file.rewind().with_context(|| failed("read"))?;
    let mut reader = BufReader::new(&lines.file);
    let mut line = Vec::new();
    loop {
        line.clear();
        // An error would come again at each try: the lines stay as they are.
        let length = reader.read_until(b'\n', &mut line).with_context(|| failed("read"))?;
        if length == 0 || held + length > SLICE {
            for (day, records) in std::mem::take(&mut by_day) {
                // The first part is named as its file, which one part used to be all of.
                let part = if slice == 0 { name.clone() } else { format!("{name}-{slice}") };
                store.write_part(R::table(), day, &part, &R::frame(&records)?)?;
            }
            (held, slice) = (0, slice + 1);
        }
        if length == 0 {
            break;
        }
        held += length;
        // The last line of a killed process may be half of one, and end in half a letter.
        match serde_json::from_str::<R>(&String::from_utf8_lossy(&line)) {
            Ok(record) if POSSIBLE.contains(&record.ts()) => {
                by_day.entry(date_of(record.ts())).or_default().push(record)
            }
            Ok(_) | Err(_) => broken += 1,
        }
    }
    if broken > 0 {
        tracing::warn!(broken, file = %path.display(), "lines that are not valid records are left out");
    }
    std::fs::remove_file(&path).with_context(|| failed("remove"))
}
