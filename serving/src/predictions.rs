//! Every prediction, kept: JSON Lines while they come, rolled to Parquet. Whoever answers never waits for the disk: the
//! queue is bounded, and what does not fit is counted.

use crate::metrics::Metrics;
use crate::protocol::{InferRequest, InferResponse, Tensor, Values};
use crate::registry::ServedModel;
use crate::score::{ScoreAnswer, ScoreRequest};
use anyhow::Context;
use cluster::PREDICTIONS;
use polars::prelude::{Column, DataFrame, PolarsResult};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::{Store, date_of, polars_type};

/// Records that wait for the disk: a second or two of the load that one process takes.
const QUEUE: usize = 1_024;
/// Of the scores of a pod so many are kept, the best first: who would have been chosen, not all who would not.
const BEST: usize = 10;
/// A file is rolled when it is so large or so old.
const ROLL_BYTES: u64 = 16 << 20;
const ROLL_AFTER: Duration = Duration::from_secs(3_600);
/// What was written reaches the disk at least so often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// One prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, UTC milliseconds.
    pub ts: i64,
    /// The request's id, or one of ours.
    pub id: String,
    /// Which model; `score` for scores of nodes.
    pub model: String,
    /// Which version; for scores those of all models.
    pub version: String,
    /// Hash of the inputs' names: rows with the same hash have the same columns.
    pub feature_hash: String,
    /// What came in.
    pub inputs: Content,
    /// What went out.
    pub outputs: Content,
}

/// What came in or went out. Tensors become JSON where they are written: whoever answers does not wait for it.
#[derive(Debug, Clone)]
pub enum Content {
    /// By name: shape and elements; a missing number is null.
    Tensors(Vec<Tensor>),
    /// As it was read back, or as it came.
    Json(Value),
}

impl Content {
    fn text(&self) -> String {
        // Maps with names as keys always have a text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

/// By what they look like when written: tensors that were read back are JSON.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(value) => value.serialize(serializer),
            Self::Tensors(tensors) => serializer.collect_map(
                tensors.iter().map(|tensor| (&tensor.name, Elements { shape: &tensor.shape, data: &tensor.values })),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::Json)
    }
}

#[derive(Serialize)]
struct Elements<'a> {
    shape: &'a [usize],
    #[serde(serialize_with = "elements")]
    data: &'a Values,
}

/// JSON has no NaN: missing is null.
fn elements<S: Serializer>(values: &&Values, serializer: S) -> Result<S::Ok, S::Error> {
    match values {
        Values::None => serializer.collect_seq(std::iter::empty::<f64>()),
        Values::Numbers(numbers) => numbers.serialize(serializer),
        Values::Texts(texts) => texts.serialize(serializer),
    }
}

impl Record {
    /// Of an inference.
    pub fn of_inference(model: &ServedModel, request: &InferRequest, answer: &InferResponse) -> Self {
        Self {
            ts: now(),
            id: request.id.clone().unwrap_or_else(new_id),
            model: answer.model.clone(),
            version: answer.version.clone(),
            feature_hash: model.metadata.feature_schema_hash.clone(),
            inputs: Content::Tensors(request.inputs.clone()),
            outputs: Content::Tensors(answer.outputs.clone()),
        }
    }

    /// Of scores of nodes.
    pub fn of_scores(request: &ScoreRequest, answer: &ScoreAnswer) -> Self {
        let nodes = |pod: &crate::score::PodScores| -> Value {
            let line = |node: &crate::score::NodeScore| {
                json!([node.node, node.score, node.parts.load, node.parts.placement, node.parts.anomaly])
            };
            let mut best: Vec<&crate::score::NodeScore> = pod.nodes.iter().collect();
            best.sort_by(|left, right| right.score.total_cmp(&left.score));
            best.into_iter().take(BEST).map(line).collect()
        };
        let versions: Vec<String> =
            answer.models.iter().map(|(name, version)| format!("{}={version}", name.as_str())).collect();
        Self {
            ts: now(),
            id: new_id(),
            model: "score".to_owned(),
            version: versions.join(","),
            feature_hash: String::new(),
            inputs: json!({ "pods": request.pods, "nodes": request.nodes.len(), "at": answer.at }).into(),
            outputs: answer.pods.iter().map(nodes).collect::<Value>().into(),
        }
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The log of one process. Dropping it writes what waits.
#[derive(Debug)]
pub struct PredictionLog {
    queue: Mutex<Option<SyncSender<Record>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

impl PredictionLog {
    /// Begins a log below a data root. What an earlier process left as JSON Lines is rolled first.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(store: &Store, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let folder = store.root().join("serving/predictions");
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
        for left in lines_files(&folder)? {
            roll(store, &left).with_context(|| format!("failed to roll `{}`", left.display()))?;
        }
        let (queue, records) = sync_channel(QUEUE);
        let mut writer = Writer { store: store.clone(), folder, open: None, metrics: Arc::clone(&metrics) };
        let thread = std::thread::Builder::new().name("predictions".to_owned()).spawn(move || writer.run(&records))?;
        Ok(Self { queue: Mutex::new(Some(queue)), writer: Mutex::new(Some(thread)), metrics })
    }

    /// Keeps a record, unless the queue is full.
    pub fn put(&self, record: Record) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost = match queue.map(|queue| queue.try_send(record)) {
            Some(Ok(())) => return,
            Some(Err(TrySendError::Full(_))) => "queue_full",
            Some(Err(TrySendError::Disconnected(_))) | None => "closed",
        };
        self.metrics.log_dropped(lost, 1);
    }

    /// Writes what waits, rolls the file, and ends. Later records are counted as lost.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
            && writer.join().is_err()
        {
            tracing::error!("the prediction log's writer ended by a panic");
        }
    }
}

impl Drop for PredictionLog {
    fn drop(&mut self) {
        self.close();
    }
}

struct Open {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    since: Instant,
    records: u64,
}

struct Writer {
    store: Store,
    folder: PathBuf,
    open: Option<Open>,
    metrics: Arc<Metrics>,
}

impl Writer {
    fn run(&mut self, records: &Receiver<Record>) {
        loop {
            match records.recv_timeout(FLUSH_EVERY) {
                Ok(record) => {
                    if let Err(error) = self.write(&record) {
                        self.metrics.log_dropped("disk", 1);
                        tracing::warn!(error = format!("{error:#}"), "a prediction could not be kept");
                        self.open = None;
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

    fn write(&mut self, record: &Record) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(begin(&self.folder)?),
        };
        open.file.write_all(&line).with_context(|| format!("failed to write `{}`", open.path.display()))?;
        open.bytes += line.len() as u64;
        open.records += 1;
        self.metrics.logged(1);
        Ok(())
    }

    fn flush(&mut self) {
        if let Some(open) = &mut self.open
            && let Err(error) = open.file.flush()
        {
            tracing::warn!(%error, file = %open.path.display(), "predictions could not be written");
        }
    }

    /// The lines stay where they are when the table cannot be written: the next process rolls them.
    fn roll(&mut self) {
        self.flush();
        let Some(open) = self.open.take() else { return };
        drop(open.file);
        match roll(&self.store, &open.path) {
            Ok(()) => tracing::info!(records = open.records, "predictions rolled to parquet"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), file = %open.path.display(), "predictions stay as lines")
            }
        }
    }
}

fn begin(folder: &Path) -> anyhow::Result<Open> {
    let path = folder.join(format!("{}-{}.jsonl", now(), std::process::id()));
    let file = OpenOptions::new().create_new(true).append(true).open(&path);
    let file = file.with_context(|| format!("failed to make `{}`", path.display()))?;
    Ok(Open { path, file: BufWriter::new(file), bytes: 0, since: Instant::now(), records: 0 })
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
fn roll(store: &Store, path: &Path) -> anyhow::Result<()> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut by_day: BTreeMap<_, Vec<Record>> = BTreeMap::new();
    let mut broken = 0_u64;
    for line in BufReader::new(File::open(path)?).lines() {
        // The last line of a killed process may be half of one.
        match line.map_err(anyhow::Error::from).and_then(|line| Ok(serde_json::from_str::<Record>(&line)?)) {
            Ok(record) => by_day.entry(date_of(record.ts)).or_default().push(record),
            Err(_) => broken += 1,
        }
    }
    if broken > 0 {
        tracing::warn!(broken, file = %path.display(), "lines that are no predictions are left out");
    }
    for (day, records) in &by_day {
        store.write_part(&PREDICTIONS, *day, &name, &frame(records)?)?;
    }
    std::fs::remove_file(path).with_context(|| format!("failed to remove `{}`", path.display()))
}

fn frame(records: &[Record]) -> PolarsResult<DataFrame> {
    let text = |name: &str, value: fn(&Record) -> String| {
        Column::new(name.into(), records.iter().map(value).collect::<Vec<String>>())
    };
    let ts: Vec<i64> = records.iter().map(|record| record.ts).collect();
    DataFrame::new(
        records.len(),
        vec![
            Column::new("ts".into(), ts).cast(&polars_type(cluster::ColumnKind::Timestamp))?,
            text("id", |record| record.id.clone()),
            text("model", |record| record.model.clone()),
            text("version", |record| record.version.clone()),
            text("feature_hash", |record| record.feature_hash.clone()),
            text("inputs", |record| record.inputs.text()),
            text("outputs", |record| record.outputs.text()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            ts: 1_780_272_000_000,
            id: id.into(),
            model: "load-predictor".into(),
            version: "3".into(),
            feature_hash: "abc".into(),
            inputs: json!({ "features": { "shape": [1, 1], "data": [null] } }).into(),
            outputs: json!({ "cpu-1h-p50": { "shape": [1], "data": [0.5] } }).into(),
        }
    }

    #[test]
    fn what_was_put_is_in_the_table_when_it_ends_and_what_a_killed_process_left_too() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let metrics = Arc::new(Metrics::default());
        let log = PredictionLog::open(&store, Arc::clone(&metrics)).expect("a log");
        for id in ["a", "b"] {
            log.put(record(id));
        }
        log.close();
        log.put(record("late"));
        assert!(metrics.text().contains("predictions_dropped_total{reason=\"closed\"} 1"), "{}", metrics.text());

        // A killed process leaves lines, the last of them cut.
        let left = folder.path().join("serving/predictions/7-7.jsonl");
        let line = serde_json::to_string(&record("c")).expect("JSON");
        std::fs::write(&left, format!("{line}\n{}", &line[..20])).expect("written");
        drop(PredictionLog::open(&store, metrics).expect("again"));
        assert!(!left.exists());
        let day = store.days(&PREDICTIONS).expect("days")[0];
        let frame = store.read_day(&PREDICTIONS, day, &[]).expect("a day");
        let ids: Vec<&str> = frame.column("id").expect("ids").str().expect("text").iter().flatten().collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }
}
