//! Journals that share a folder: two in one process, and two of two processes, of which one is killed.

use cluster::{Column as Declared, ColumnKind, TableSchema};
use polars::prelude::{Column, DataFrame, PolarsResult};
use serde::{Deserialize, Serialize, Serializer};
use server::journal::{Counted, Journal, Keeping, Kept, Retention};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{Store, polars_type};

const fn column(name: &'static str, kind: ColumnKind) -> Declared {
    Declared { name, kind, optional: false, unit: "", help: "" }
}

static NOTES: TableSchema = TableSchema {
    name: "test/notes",
    columns: &[column("ts", ColumnKind::Timestamp), column("text", ColumnKind::Text)],
    key: &["ts", "text"],
    time: "ts",
};
const TS: i64 = 1_580_000_000_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    ts: i64,
    #[serde(serialize_with = "unless_held_up")]
    text: String,
}

/// The writer waits with this one until it is told to go on.
const HELD_UP: &str = "held up";
static GO_ON: AtomicBool = AtomicBool::new(false);

fn unless_held_up<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    while text == HELD_UP && !GO_ON.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    serializer.serialize_str(text)
}

impl Note {
    fn new(text: impl Into<String>) -> Self {
        Self { ts: TS, text: text.into() }
    }
}

impl Kept for Note {
    const WHAT: &'static str = "notes";

    fn table() -> &'static TableSchema {
        &NOTES
    }

    fn ts(&self) -> i64 {
        self.ts
    }

    fn bytes(&self) -> usize {
        self.text.len()
    }

    fn frame(records: &[Self]) -> PolarsResult<DataFrame> {
        let ts: Vec<i64> = records.iter().map(|note| note.ts).collect();
        let texts: Vec<&str> = records.iter().map(|note| note.text.as_str()).collect();
        let ts = Column::new("ts".into(), ts).cast(&polars_type(ColumnKind::Timestamp))?;
        DataFrame::new(records.len(), vec![ts, Column::new("text".into(), texts)])
    }
}

#[derive(Debug, Default)]
struct Counts {
    logged: AtomicU64,
    dropped: AtomicU64,
}

impl Counted for Counts {
    fn logged(&self, count: u64) {
        self.logged.fetch_add(count, Ordering::SeqCst);
    }

    fn log_dropped(&self, _: &'static str, count: u64) {
        self.dropped.fetch_add(count, Ordering::SeqCst);
    }
}

fn open(root: &Path) -> (Journal<Note>, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    (Journal::open(&Store::new(root), counts.clone()).expect("a journal"), counts)
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the table holds, in order.
fn kept(root: &Path) -> Vec<String> {
    let store = Store::new(root);
    let mut texts = Vec::new();
    for day in store.days(&NOTES).expect("days") {
        let frame = store.read_day(&NOTES, day, &[]).expect("a day");
        let column = frame.column("text").expect("texts").str().expect("text");
        texts.extend(column.iter().flatten().map(str::to_owned));
    }
    texts.sort();
    texts
}

fn lines(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join(NOTES.name)).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

#[test]
fn a_second_journal_leaves_the_file_of_the_first_alone() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (one, counts) = open(folder.path());
    (0..3).for_each(|at| one.put(Note::new(format!("one-{at}"))));
    wait("the first has written", || counts.logged.load(Ordering::SeqCst) == 3);
    // The second begins, writes and ends while the first goes on.
    let (two, _) = open(folder.path());
    two.put(Note::new("two"));
    two.close();
    (3..10).for_each(|at| one.put(Note::new(format!("one-{at}"))));
    one.close();
    assert_eq!(counts.logged.load(Ordering::SeqCst), 10);
    let wanted: Vec<String> = (0..10).map(|at| format!("one-{at}")).chain(["two".to_owned()]).collect();
    assert_eq!((kept(folder.path()), lines(folder.path())), (wanted, Vec::new()));
}

/// Where the child of the next test keeps its notes.
const CHILD: &str = "BERTH_TEST_JOURNAL";

/// Not a test of its own: the next one starts it as a process.
#[test]
fn child_process() {
    let Ok(root) = std::env::var(CHILD) else { return };
    let (journal, counts) = open(Path::new(&root));
    journal.put(Note::new("child"));
    wait("it is written", || counts.logged.load(Ordering::SeqCst) == 1);
    println!("written");
    std::io::stdout().flush().expect("told");
    // Until it is killed.
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_another_process_writes_is_left_alone_until_it_has_ended() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "child_process", "--nocapture"]).env(CHILD, folder.path()).stdout(Stdio::null());
    let child = Process(child.spawn().expect("started"));
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    wait("the child has written", || lines(folder.path()).iter().any(|path| text(path).ends_with("\n")));

    let (own, _) = open(folder.path());
    own.put(Note::new("own"));
    own.close();
    assert_eq!(kept(folder.path()), ["own"], "the child's record is not in the table yet");
    assert_eq!(lines(folder.path()).len(), 1, "and its lines are still there");
    drop(child);
    open(folder.path()).0.close();
    assert_eq!(kept(folder.path()), ["child", "own"]);
    assert!(lines(folder.path()).is_empty());
}

#[test]
fn what_cannot_be_read_or_written_is_counted_and_keeps_nobody_from_going_on() {
    // A folder that is named as a file of lines, half a letter, a time that cannot be, and a file that is none of ours.
    let folder = tempfile::tempdir().expect("temporary folder");
    let table = folder.path().join(NOTES.name);
    std::fs::create_dir_all(table.join("folder.jsonl")).expect("made");
    let line = |note: &Note| serde_json::to_string(note).expect("JSON");
    let far = Note { ts: i64::MAX, text: "far".into() };
    let mut bytes =
        format!("{}\n{}\n{}\n", line(&Note::new("whole")), line(&far), line(&Note::new("next"))).into_bytes();
    bytes.extend(br#"{"ts":1580000000000,"text":"h"#);
    bytes.push("é".as_bytes()[0]);
    std::fs::write(table.join("left.jsonl"), bytes).expect("written");
    let (journal, counts) = open(folder.path());
    journal.put(Note::new("new"));
    journal.close();
    assert_eq!(kept(folder.path()), ["new", "next", "whole"]);
    assert_eq!(counts.dropped.load(Ordering::SeqCst), 0);
    assert_eq!(lines(folder.path()), [table.join("folder.jsonl")]);

    // A root that is a file: nothing can be kept, and nobody ends for it.
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").expect("written");
    let (journal, counts) = open(&blocked);
    journal.put(Note::new("lost"));
    journal.close();
    assert_eq!((counts.logged.load(Ordering::SeqCst), counts.dropped.load(Ordering::SeqCst)), (0, 1));
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (journal, counts) = open(folder.path());
    journal.put(Note::new(HELD_UP));
    // 16 MiB each, of which 64 MiB less that one may wait; what is lost is never made.
    let made = AtomicU64::new(0);
    for at in 0..100 {
        journal.put_with(16 << 20, || {
            made.fetch_add(1, Ordering::SeqCst);
            Note::new(at.to_string())
        });
    }
    journal.put_with(17 << 20, || unreachable!("a record that is too large is not made"));
    assert_eq!((made.load(Ordering::SeqCst), counts.dropped.load(Ordering::SeqCst)), (3, 98));
    GO_ON.store(true, Ordering::SeqCst);
    journal.close();
    assert_eq!(kept(folder.path()), ["0", "1", "2", HELD_UP]);
}

#[test]
fn old_days_go_by_and_by() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (journal, _) = open(folder.path());
    journal.put(Note::new("old"));
    journal.put(Note { ts: chrono::Utc::now().timestamp_millis(), text: "new".into() });
    journal.close();
    assert_eq!(kept(folder.path()), ["new", "old"]);
    let rules = Keeping { retention: Retention { days: Some(1), ..Retention::ALL }, ..Keeping::default() };
    let later = Journal::<Note>::keeping(&Store::new(folder.path()), rules, Arc::new(Counts::default()));
    later.expect("a journal").close();
    assert_eq!(kept(folder.path()), ["new"]);
}

#[test]
fn a_large_file_becomes_several_parts_and_a_second_try_the_same_ones() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let table = folder.path().join(NOTES.name);
    std::fs::create_dir_all(&table).expect("made");
    // Nine records of a megabyte and one of six: four megabytes are taken at once, and what is longer alone.
    let line = |at: usize| {
        let length = if at == 4 { 6 << 20 } else { 1 << 20 };
        let note = Note::new(format!("{at}{}", "x".repeat(length)));
        format!("{}\n", serde_json::to_string(&note).expect("JSON"))
    };
    let lines: String = (0..10).map(line).collect();
    for _ in 0..2 {
        std::fs::write(table.join("left.jsonl"), &lines).expect("written");
        open(folder.path()).0.close();
        let texts = kept(folder.path());
        let first: Vec<&str> = texts.iter().map(|text| &text[..1]).collect();
        assert_eq!(first, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    }
    let parts = std::fs::read_dir(table.join("date=2020-01-26")).expect("a day").count();
    assert_eq!(parts, 5, "0 to 2, 3, 4, 5 to 7, 8 and 9");
}
