//! Records kept: JSON Lines while they come, rolled to a Parquet table. Whoever answers never waits for the disk: the queue is
//! bounded, in records and in bytes, and what does not fit is counted.
//!
//! Several processes may keep records in one folder. Each writes files of its own, under a name that no other has, and holds a lock on
//! the one that it writes: what can be locked is what a process left that has ended.

mod file;
mod retention;

pub use retention::{JournalArgs, Retention};

use crate::budget::{Budget, Share};
use cluster::TableSchema;
use file::{Lines, roll, roll_left};
use polars::prelude::{DataFrame, PolarsResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::Store;

/// Records that wait for the disk: a second or two of the load that one process takes.
const QUEUE: usize = 1_024;
/// A longer record is not kept: it would be held several times over while its file is rolled.
const LONGEST_RECORD: usize = 16 << 20;
/// A file is rolled when it is so large or so old.
const ROLL_BYTES: u64 = 16 << 20;
const ROLL_AFTER: Duration = Duration::from_secs(3_600);
/// What was written reaches the disk at least so often, or when there is so much of it.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const FLUSH_BYTES: usize = 64 << 10;
/// Files that others left are looked for this often, as is what has been kept for long enough.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// How records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// When old ones go.
    pub retention: Retention,
    /// Memory of those that wait for the disk, in bytes.
    pub waiting_bytes: usize,
}

impl Default for Keeping {
    /// For good; 64 MiB may wait.
    fn default() -> Self {
        Self { retention: Retention::ALL, waiting_bytes: 64 << 20 }
    }
}

/// A kind of record, and the table that it ends in.
pub trait Kept: Serialize + DeserializeOwned + Send + 'static {
    /// What they are, in the plural: names the writer's thread.
    const WHAT: &'static str;

    /// Their table. The lines lie in its folder until they are rolled.
    fn table() -> &'static TableSchema;

    /// When it happened, UTC milliseconds.
    fn ts(&self) -> i64;

    /// About how much memory it takes, in bytes.
    fn bytes(&self) -> usize;

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

/// A record on its way to the disk, and what it takes of the queue.
type Waiting<R> = (R, Share);

/// The journal of one kind of record in one process. Dropping it writes what waits.
#[derive(Debug)]
pub struct Journal<R> {
    queue: Mutex<Option<SyncSender<Waiting<R>>>>,
    bytes: Budget,
    writer: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<dyn Counted>,
}

impl<R: Kept> Journal<R> {
    /// Begins a journal below a data root. What an ended process left as JSON Lines is rolled first, beside the work. A folder that
    /// cannot be written to costs records, which are counted, and keeps nobody from going on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn open(store: &Store, counters: Arc<dyn Counted>) -> anyhow::Result<Self> {
        Self::keeping(store, Keeping::default(), counters)
    }

    /// The same by other rules.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn keeping(store: &Store, keeping: Keeping, counters: Arc<dyn Counted>) -> anyhow::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        let mut writer = Writer {
            folder: store.root().join(R::table().name),
            store: store.clone(),
            retention: keeping.retention,
            open: None,
            counters: Arc::clone(&counters),
            failing: false,
            kind: PhantomData,
        };
        let thread = std::thread::Builder::new().name(R::WHAT.to_owned()).spawn(move || writer.run(&records))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            bytes: Budget::new(keeping.waiting_bytes),
            writer: Mutex::new(Some(thread)),
            counters,
        })
    }

    /// Keeps a record, unless the queue is full.
    pub fn put(&self, record: R) {
        self.put_with(record.bytes(), || record);
    }

    /// The same where making the record takes its `bytes` of memory: it is not made when they are not there.
    pub fn put_with(&self, bytes: usize, record: impl FnOnce() -> R) {
        let lost = if bytes > LONGEST_RECORD {
            "too_large"
        } else if let Some(share) = self.bytes.take(bytes) {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match queue.map(|queue| queue.try_send((record(), share))) {
                Some(Ok(())) => return,
                Some(Err(TrySendError::Full(_))) => "queue_full",
                Some(Err(TrySendError::Disconnected(_))) | None => "closed",
            }
        } else {
            "queue_full"
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
    lines: Lines,
    since: Instant,
    records: u64,
    /// Whole lines that are not in the file yet, and how many.
    buffer: Vec<u8>,
    waiting: u64,
    flushed: Instant,
}

struct Writer<R> {
    store: Store,
    folder: PathBuf,
    retention: Retention,
    open: Option<Open>,
    counters: Arc<dyn Counted>,
    /// The last attempt to write failed.
    failing: bool,
    kind: PhantomData<R>,
}

impl<R: Kept> Writer<R> {
    fn run(&mut self, records: &Receiver<Waiting<R>>) {
        let mut tidied = None::<Instant>;
        loop {
            if tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
                self.tidy();
                tidied = Some(Instant::now());
            }
            match records.recv_timeout(FLUSH_EVERY) {
                Ok((record, _share)) => {
                    if let Err((reason, error)) = self.write(&record) {
                        self.counters.log_dropped(reason, 1);
                        self.say(&error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self
                .open
                .as_ref()
                .is_some_and(|open| open.lines.bytes() >= ROLL_BYTES || open.since.elapsed() >= ROLL_AFTER)
            {
                self.roll();
            }
        }
        self.roll();
    }

    /// Rolls what ended processes left, and removes what was kept for long enough.
    fn tidy(&self) {
        roll_left::<R>(&self.store, &self.folder);
        self.retention.apply(&self.folder);
    }

    fn write(&mut self, record: &R) -> Result<(), (&'static str, anyhow::Error)> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.retention.check_space(&self.folder).map_err(|error| ("disk_low", error))?;
                let lines = Lines::create(&self.folder).map_err(|error| ("disk", error))?;
                let now = Instant::now();
                self.open.insert(Open { lines, since: now, records: 0, buffer: Vec::new(), waiting: 0, flushed: now })
            }
        };
        let before = open.buffer.len();
        if let Err(error) = serde_json::to_writer(&mut open.buffer, record) {
            open.buffer.truncate(before);
            return Err(("encoding", error.into()));
        }
        open.buffer.push(b'\n');
        open.waiting += 1;
        if open.buffer.len() >= FLUSH_BYTES || open.flushed.elapsed() >= FLUSH_EVERY {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| open.waiting > 0) else { return };
        let (lines, waiting) = (std::mem::take(&mut open.buffer), std::mem::take(&mut open.waiting));
        open.flushed = Instant::now();
        if let Err(error) = open.lines.append(&lines) {
            self.counters.log_dropped("disk", waiting);
            return self.say(&error);
        }
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

    /// The lines stay where they are when the table cannot be written: they are rolled later, by whoever comes by.
    fn roll(&mut self) {
        self.flush();
        let Some(open) = self.open.take() else { return };
        let path = open.lines.path().to_owned();
        match roll::<R>(&self.store, open.lines) {
            Ok(()) => tracing::info!(records = open.records, "rolled to parquet"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), file = %path.display(), "records stay as lines");
            }
        }
    }
}
