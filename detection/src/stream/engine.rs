//! One JSON object in, one JSON object out.

use crate::folder::LoadedDetector;
use crate::metrics::Metrics;
use crate::plan::InputPlan;
use crate::quality::Quality;
use crate::scorer::{Order, Scorer};
use crate::table::{Binding, Cell, Renamed, RowCounts, TableRow};
use collector::text::Dialect;
use models::anomaly::Severity;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Where a message came from; part of its answer, so that whoever reads the answers can tell repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A line of standard input, from 1.
    Line(u64),
    /// A message of a Kafka topic.
    Kafka {
        /// Its partition.
        partition: i32,
        /// Its place there.
        offset: i64,
    },
}

/// Bytes of the time and of the entity of a reading, as JSON.
const LONGEST_KEY: usize = 1 << 10;

impl Origin {
    pub(super) fn note(self, answer: &mut Map<String, Value>) {
        match self {
            Self::Line(line) => {
                answer.insert("line".to_owned(), line.into());
            }
            Self::Kafka { partition, offset } => {
                answer.insert("partition".to_owned(), partition.into());
                answer.insert("offset".to_owned(), offset.into());
            }
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One line of JSON without its end.
    pub text: String,
    /// Whether the message could be scored.
    pub is_scored: bool,
}

/// What became of a stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StreamSummary {
    /// Which detector.
    pub model: String,
    /// Messages that came.
    pub messages_processed: u64,
    /// Odd readings by severity.
    pub anomalies_detected: BTreeMap<&'static str, u64>,
    /// Messages that could not be scored, by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// Time spent on reading and scoring.
    pub processing_seconds: f64,
    /// What was wrong with values.
    pub counts: RowCounts,
    /// How good the verdicts were, where labels came along.
    pub quality: Quality,
    /// Precision, recall and false-positive rate of `quality`.
    pub model_quality: BTreeMap<&'static str, Option<f64>>,
    /// Entities whose state is known at the end.
    pub entities: usize,
}

/// Keys of messages that nothing reads; as many are named as a person reads.
const MOST_EXTRA: usize = 20;

/// Scores messages.
#[derive(Debug)]
pub struct Engine {
    scorer: Scorer,
    binding: Binding,
    columns: Vec<String>,
    keys: [Option<String>; 3],
    needs_keys: bool,
    metrics: Arc<Metrics>,
    counts: RowCounts,
    extra: BTreeSet<String>,
    messages: u64,
    anomalies: BTreeMap<&'static str, u64>,
    errors: BTreeMap<&'static str, u64>,
    seconds: f64,
    quality: Quality,
    row: TableRow,
    values: Vec<f32>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(loaded: LoadedDetector, renamed: &Renamed<'_>, metrics: Arc<Metrics>) -> Self {
        let plan = &loaded.plan;
        let name = |given: Option<&str>, planned: Option<&str>| given.or(planned).map(str::to_owned);
        let keys =
            [name(renamed.time, plan.time()), name(renamed.entity, plan.entity()), name(renamed.label, plan.label())];
        let columns = plan.columns();
        let is_table = matches!(plan, InputPlan::Table(_));
        Self {
            needs_keys: is_table || renamed.time.is_some() || renamed.entity.is_some(),
            binding: Binding::in_order(&columns),
            scorer: Scorer::new(loaded),
            columns,
            keys,
            metrics,
            counts: RowCounts::default(),
            extra: BTreeSet::new(),
            messages: 0,
            anomalies: BTreeMap::new(),
            errors: BTreeMap::new(),
            seconds: 0.0,
            quality: Quality::default(),
            row: TableRow::default(),
            values: Vec::new(),
        }
    }

    /// The answer to one message.
    pub fn answer(&mut self, message: &[u8], origin: Origin) -> Answer {
        let began = Instant::now();
        self.messages += 1;
        let mut answer = Map::new();
        origin.note(&mut answer);
        self.row.line = match origin {
            Origin::Line(line) => line,
            Origin::Kafka { .. } => self.messages,
        };
        let scored = self.score(message, &mut answer);
        if let Err((kind, text)) = &scored {
            self.count_error(kind);
            // A sentence may quote what came.
            let text: String = text.chars().take(LONGEST_KEY).collect();
            answer.insert("error".to_owned(), json!({ "kind": kind, "message": text }));
        }
        let seconds = began.elapsed().as_secs_f64();
        self.seconds += seconds;
        self.metrics.processed(seconds);
        Answer { text: Value::Object(answer).to_string(), is_scored: scored.is_ok() }
    }

    /// The answer to a message that was not even read, and why.
    pub fn refuse(&mut self, origin: Origin, kind: &'static str, text: &str) -> Answer {
        self.messages += 1;
        self.count_error(kind);
        self.metrics.processed(0.0);
        let mut answer = Map::new();
        origin.note(&mut answer);
        answer.insert("error".to_owned(), json!({ "kind": kind, "message": text }));
        Answer { text: Value::Object(answer).to_string(), is_scored: false }
    }

    fn count_error(&mut self, kind: &'static str) {
        *self.errors.entry(kind).or_default() += 1;
        self.metrics.error(kind);
    }

    fn score(&mut self, message: &[u8], answer: &mut Map<String, Value>) -> Result<(), (&'static str, String)> {
        let object: Map<String, Value> = match serde_json::from_slice(message) {
            Ok(Value::Object(object)) => object,
            Ok(other) => {
                return Err((
                    "not_an_object",
                    format!("it is {}, want an object of columns and values", kind_of(&other)),
                ));
            }
            Err(error) => return Err(("not_json", format!("it is no JSON: {error}"))),
        };
        // They come back in the answer, and who they are of is remembered: what is too long for that is not echoed either.
        for (key, place) in self.keys.iter().zip(["time", "entity"]) {
            let length = key.as_ref().and_then(|key| object.get(key)).map_or(0, |value| value.to_string().len());
            if length > LONGEST_KEY {
                return Err((
                    "key_too_long",
                    format!("its {place} has {length} bytes, at most {LONGEST_KEY} are read"),
                ));
            }
        }
        self.row.cells.clear();
        for column in &self.columns {
            self.row.cells.push(object.get(column).map_or(Cell::Missing, |value| cell(value, false)));
        }
        for (place, key) in self.keys.iter().enumerate() {
            let value = key.as_ref().and_then(|key| object.get(key));
            self.binding.use_key(
                place,
                self.columns.len(),
                key.is_some() && (value.is_some() || (self.needs_keys && place < 2)),
            );
            self.row.cells.push(value.map_or(Cell::Missing, |value| cell(value, place < 2)));
        }
        for key in object.keys() {
            let is_read = self.columns.contains(key) || self.keys.iter().any(|known| known.as_ref() == Some(key));
            if !is_read && self.extra.len() < MOST_EXTRA {
                self.extra.insert(key.clone());
            }
        }
        let keys =
            self.binding.read(&self.row, &mut self.values, &mut self.counts).map_err(|text| ("unusable", text))?;
        let (verdict, order) = self
            .scorer
            .score(&keys.entity, keys.time, &self.values)
            .map_err(|error| ("unusable", format!("{error:#}")))?;
        for (key, place) in self.keys.iter().zip(["time", "entity"]) {
            if let Some(value) = key.as_ref().and_then(|key| object.get(key)) {
                answer.insert(place.to_owned(), value.clone());
            }
        }
        match serde_json::to_value(&verdict) {
            Ok(Value::Object(verdict)) => answer.extend(verdict),
            Ok(_) => {}
            Err(error) => return Err(("unusable", format!("the verdict cannot be written: {error}"))),
        }
        let missing: Vec<&String> = self
            .columns
            .iter()
            .zip(&self.values)
            .filter(|(_, value)| value.is_nan())
            .map(|(column, _)| column)
            .collect();
        if !missing.is_empty() {
            answer.insert("missing".to_owned(), json!(missing));
        }
        if order == Order::Late {
            answer.insert("late".to_owned(), true.into());
            let line = self.row.line;
            self.counts.late.add(|| format!("message {line}"));
        }
        if let Some(severity) = verdict.severity {
            *self.anomalies.entry(severity.as_str()).or_default() += 1;
            self.metrics.anomaly(severity.as_str());
        }
        if let Some(label) = keys.label {
            let flagged = verdict.severity >= Some(Severity::Warning);
            self.quality.count(label, flagged);
            self.metrics.labelled(label, flagged, &self.quality);
        }
        Ok(())
    }

    /// What became of the stream until now.
    pub fn summary(&self) -> StreamSummary {
        let quality = self.quality;
        StreamSummary {
            model: self.scorer.loaded().origin.clone(),
            messages_processed: self.messages,
            anomalies_detected: self.anomalies.clone(),
            errors: self.errors.clone(),
            processing_seconds: self.seconds,
            counts: RowCounts { extra_columns: self.extra.iter().cloned().collect(), ..self.counts.clone() },
            quality,
            model_quality: BTreeMap::from([
                ("precision", quality.precision()),
                ("recall", quality.recall()),
                ("false_positive_rate", quality.false_positive_rate()),
            ]),
            entities: self.scorer.entities(),
        }
    }
}

/// Numbers in quotes are numbers, as in a CSV file; keys stay as they are.
fn cell(value: &Value, is_key: bool) -> Cell {
    match value {
        Value::Null => Cell::Missing,
        Value::Number(number) => {
            number.as_f64().filter(|number| number.is_finite()).map_or(Cell::Missing, Cell::Number)
        }
        Value::String(text) if is_key => Cell::text(text),
        Value::String(text) => Cell::parse(text, Dialect::default()),
        other => Cell::Text(other.to_string()),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl StreamSummary {
    /// For people.
    pub fn text(&self) -> String {
        let listed = |counts: &BTreeMap<&'static str, u64>| {
            let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
        };
        let mut text = format!(
            "messages processed {}, anomalies detected: {}, errors: {}, processing {:.3} s, entities {}\n",
            self.messages_processed,
            listed(&self.anomalies_detected),
            listed(&self.errors),
            self.processing_seconds,
            self.entities
        );
        for line in self.counts.lines().into_iter().chain(self.quality.text()) {
            text.push_str(&format!("note  {line}\n"));
        }
        text.push_str(&format!("model {}\n", self.model));
        text
    }
}
