//! Records kept: JSON Lines while they come, rolled to a Parquet table. Whoever answers never waits for the disk: the queue is
//! bounded, and what does not fit is counted.

use anyhow::Context;
use cluster::TableSchema;
use polars::prelude::{DataFrame, PolarsResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::{Store, date_of};

/// Records that wait for the disk: a second or two of the load that one process takes.
const QUEUE: usize = 1_024;
/// A file is rolled when it is so large or so old.
const ROLL_BYTES: u64 = 16 << 20;
const ROLL_AFTER: Duration = Duration::from_secs(3_600);
/// What was written reaches the disk at least so often, or when there is so much of it.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const FLUSH_BYTES: usize = 64 << 10;

/// A kind of record, and the table that it ends in.
pub trait Kept: Serialize + DeserializeOwned + Send + 'static {
    /// What they are, in the plural: names the writer's thread.
    const WHAT: &'static str;

    /// Their table. The lines lie in its folder until they are rolled.
    fn table() -> &'static TableSchema;

    /// When it happened, UTC milliseconds.
    fn ts(&self) -> i64;

    /// Records as rows of the table.
    ///
    /// # Errors
    /// When Polars refuses a column.
    fn frame(records: &[Self]) -> PolarsResult<DataFrame>;
}

/// Who counts what is kept and what is lost.
pub trait Counted: Send + Sync + std::fmt::Debug {
    /// Records were written.
    fn logged(&self, count: u64);

    /// Records were lost, and why.
    fn log_dropped(&self, reason: &'static str, count: u64);
}

/// The journal of one kind of record in one process. Dropping it writes what waits.
#[derive(Debug)]
pub struct Journal<R> {
    queue: Mutex<Option<SyncSender<R>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<dyn Counted>,
}

impl<R: Kept> Journal<R> {
    /// Begins a log below a data root. What an earlier process left as JSON Lines is rolled first.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(store: &Store, counters: Arc<dyn Counted>) -> anyhow::Result<Self> {
        let folder = store.root().join(R::table().name);
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
        for left in lines_files(&folder)? {
            roll::<R>(store, &left).with_context(|| format!("failed to roll `{}`", left.display()))?;
        }
        let (queue, records) = sync_channel(QUEUE);
        let mut writer = Writer {
            store: store.clone(),
            folder,
            open: None,
            counters: Arc::clone(&counters),
            failing: false,
            kind: PhantomData,
        };
        let thread = std::thread::Builder::new().name(R::WHAT.to_owned()).spawn(move || writer.run(&records))?;
        Ok(Self { queue: Mutex::new(Some(queue)), writer: Mutex::new(Some(thread)), counters })
    }

    /// Keeps a record, unless the queue is full.
    pub fn put(&self, record: R) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost = match queue.map(|queue| queue.try_send(record)) {
            Some(Ok(())) => return,
            Some(Err(TrySendError::Full(_))) => "queue_full",
            Some(Err(TrySendError::Disconnected(_))) | None => "closed",
        };
        self.counters.log_dropped(lost, 1);
    }
}

impl<R> Journal<R> {
    /// Writes what waits, rolls the file, and ends. Later records are counted as lost.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer ended by a panic");
        }
    }
}

impl<R> Drop for Journal<R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A file that grows. Records count as written when the system has taken them, and as lost when it has not.
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    since: Instant,
    records: u64,
    /// Whole lines that are not in the file yet, and how many.
    lines: Vec<u8>,
    waiting: u64,
    flushed: Instant,
}

struct Writer<R> {
    store: Store,
    folder: PathBuf,
    open: Option<Open>,
    counters: Arc<dyn Counted>,
    /// The last attempt to write failed.
    failing: bool,
    kind: PhantomData<R>,
}

impl<R: Kept> Writer<R> {
    fn run(&mut self, records: &Receiver<R>) {
        loop {
            match records.recv_timeout(FLUSH_EVERY) {
                Ok(record) => {
                    if let Err(error) = self.write(&record) {
                        self.counters.log_dropped("disk", 1);
                        self.say(&error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.open.as_ref().is_some_and(|open| open.bytes >= ROLL_BYTES || open.since.elapsed() >= ROLL_AFTER) {
                self.roll();
            }
        }
        self.roll();
    }

    fn write(&mut self, record: &R) -> anyhow::Result<()> {
        let line = serde_json::to_vec(record)?;
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(begin(&self.folder)?),
        };
        open.lines.extend_from_slice(&line);
        open.lines.push(b'\n');
        open.waiting += 1;
        if open.lines.len() >= FLUSH_BYTES || open.flushed.elapsed() >= FLUSH_EVERY {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| open.waiting > 0) else { return };
        let (lines, waiting) = (std::mem::take(&mut open.lines), std::mem::take(&mut open.waiting));
        open.flushed = Instant::now();
        if let Err(error) = open.file.write_all(&lines) {
            // Half of it may be there: readers would leave out a half line, but not a record that was counted as lost.
            let _ = open.file.set_len(open.bytes);
            self.counters.log_dropped("disk", waiting);
            let error = anyhow::Error::new(error).context(format!("failed to write `{}`", open.path.display()));
            return self.say(&error);
        }
        open.bytes += lines.len() as u64;
        open.records += waiting;
        self.failing = false;
        self.counters.logged(waiting);
    }

    /// A full disk is news once; the counter tells the rest.
    fn say(&mut self, error: &anyhow::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error = format!("{error:#}"), "records are lost");
        }
    }

    /// The lines stay where they are when the table cannot be written: the next process rolls them.
    fn roll(&mut self) {
        self.flush();
        let Some(open) = self.open.take() else { return };
        drop(open.file);
        match roll::<R>(&self.store, &open.path) {
            Ok(()) => tracing::info!(records = open.records, "rolled to parquet"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), file = %open.path.display(), "records stay as lines")
            }
        }
    }
}

fn begin(folder: &Path) -> anyhow::Result<Open> {
    let path = folder.join(format!("{}-{}.jsonl", chrono::Utc::now().timestamp_millis(), std::process::id()));
    let file = OpenOptions::new().create_new(true).append(true).open(&path);
    let file = file.with_context(|| format!("failed to make `{}`", path.display()))?;
    let now = Instant::now();
    Ok(Open { path, file, bytes: 0, since: now, records: 0, lines: Vec::new(), waiting: 0, flushed: now })
}

fn lines_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Puts the lines of a file into the table, then removes it. A part's name follows from the file's, so that a kill in between
/// leads to the same part again and not to a second one.
fn roll<R: Kept>(store: &Store, path: &Path) -> anyhow::Result<()> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut by_day: BTreeMap<_, Vec<R>> = BTreeMap::new();
    let mut broken = 0_u64;
    for line in BufReader::new(File::open(path)?).lines() {
        // The last line of a killed process may be half of one.
        match line.map_err(anyhow::Error::from).and_then(|line| Ok(serde_json::from_str::<R>(&line)?)) {
            Ok(record) => by_day.entry(date_of(record.ts())).or_default().push(record),
            Err(_) => broken += 1,
        }
    }
    if broken > 0 {
        tracing::warn!(broken, file = %path.display(), "lines that are no records are left out");
    }
    for (day, records) in &by_day {
        store.write_part(R::table(), *day, &name, &R::frame(records)?)?;
    }
    std::fs::remove_file(path).with_context(|| format!("failed to remove `{}`", path.display()))
}
