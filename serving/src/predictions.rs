//! Every prediction, as it is kept.

use crate::journal::{Journal, Kept};
use crate::protocol::{InferRequest, InferResponse, Tensor, Values};
use crate::registry::ServedModel;
use cluster::{PREDICTIONS, TableSchema};
use polars::prelude::{Column, DataFrame, PolarsResult};
use score_api::{NodeScore, PodScores, ScoreAnswer, ScoreRequest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::borrow::Cow;
use store::polars_type;

/// Of the scores of a pod so many are kept, the best first: who would have been chosen, not all who would not.
const BEST: usize = 10;
/// The journal of predictions.
pub type PredictionLog = Journal<Record>;

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
    /// As it was read back, or as it came: nobody looks into it on its way to the table.
    Json(Box<RawValue>),
}

impl Content {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Json(text) => text.get().into(),
            // Maps with names as keys always have a text.
            Self::Tensors(_) => serde_json::to_string(self).unwrap_or_default().into(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Json(text) => text.get().len(),
            Self::Tensors(tensors) => tensors.iter().map(Tensor::bytes).sum(),
        }
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        // A value always has a text.
        Self::Json(to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned()))
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
        Box::deserialize(deserializer).map(Self::Json)
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

    /// About how much memory the record of a request for scores takes, in bytes.
    pub fn bytes_of_scores(request: &ScoreRequest) -> usize {
        // What a pod asked for, and its best nodes with their parts, each as a tree of values on the way.
        let pod = 1_024 + BEST * 512;
        request.pods.len().saturating_mul(pod)
    }

    /// Of scores of nodes.
    pub fn of_scores(request: &ScoreRequest, answer: &ScoreAnswer) -> Self {
        let nodes = |pod: &PodScores| -> Value {
            let line = |node: &NodeScore| {
                json!([node.node, node.score, node.parts.load, node.parts.placement, node.parts.anomaly])
            };
            // Of thousands the ten best: they need not all be in order. Equals are in the order of the request.
            let mut best: Vec<usize> = (0..pod.nodes.len()).collect();
            let order = |left: &usize, right: &usize| {
                pod.nodes[*right].score.total_cmp(&pod.nodes[*left].score).then(left.cmp(right))
            };
            if best.len() > BEST {
                best.select_nth_unstable_by(BEST, order);
                best.truncate(BEST);
            }
            best.sort_unstable_by(order);
            best.into_iter().map(|place| line(&pod.nodes[place])).collect()
        };
        let versions: Vec<String> = answer.models.iter().map(|(name, version)| format!("{name}={version}")).collect();
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

impl Kept for Record {
    const WHAT: &'static str = "predictions";

    fn table() -> &'static TableSchema {
        &PREDICTIONS
    }

    fn ts(&self) -> i64 {
        self.ts
    }

    fn bytes(&self) -> usize {
        let names = [&self.id, &self.model, &self.version, &self.feature_hash].map(String::len);
        size_of::<Self>() + names.iter().sum::<usize>() + self.inputs.bytes() + self.outputs.bytes()
    }

    fn frame(records: &[Self]) -> PolarsResult<DataFrame> {
        let text = |name: &str, value: fn(&Record) -> &str| {
            Column::new(name.into(), records.iter().map(value).collect::<Vec<&str>>())
        };
        let content = |name: &str, value: fn(&Record) -> Cow<'_, str>| {
            Column::new(name.into(), records.iter().map(value).collect::<Vec<Cow<'_, str>>>())
        };
        let ts: Vec<i64> = records.iter().map(|record| record.ts).collect();
        DataFrame::new(
            records.len(),
            vec![
                Column::new("ts".into(), ts).cast(&polars_type(cluster::ColumnKind::Timestamp))?,
                text("id", |record| &record.id),
                text("model", |record| &record.model),
                text("version", |record| &record.version),
                text("feature_hash", |record| &record.feature_hash),
                content("inputs", |record| record.inputs.text()),
                content("outputs", |record| record.outputs.text()),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::sync::Arc;
    use store::Store;

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
        let log = PredictionLog::open(&store, metrics.clone()).expect("a log");
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
