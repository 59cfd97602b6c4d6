//! A decision as it is kept in the table `raw/decisions`.

use crate::decision::{Decision, Outcome};
use cluster::score::Parts;
use cluster::{ColumnKind, DECISIONS, TableSchema};
use polars::prelude::{Column, DataFrame, PolarsError, PolarsResult};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serving::journal::Kept;
use store::polars_type;

/// One row; see [`DECISIONS`] for what each column says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the table's schema describes each column")]
pub struct Record {
    pub ts: i64,
    pub id: String,
    pub verb: String,
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub workload: Option<String>,
    pub mode: String,
    pub answer: String,
    pub reason: Option<String>,
    pub state: String,
    pub candidates: i64,
    pub best: Option<String>,
    pub best_score: Option<f64>,
    pub bound: Option<String>,
    pub bound_score: Option<f64>,
    pub bound_after_seconds: Option<f64>,
    pub took_seconds: f64,
    pub data_age_seconds: Option<f64>,
    pub versions: Value,
    pub scores: Value,
    // Earlier versions did not keep these.
    #[serde(default)]
    pub gain: Option<f64>,
    #[serde(default)]
    pub agrees: Option<bool>,
    #[serde(default)]
    pub hot: Option<bool>,
    #[serde(default)]
    pub best_hot: Option<bool>,
}

impl Record {
    /// Of a decision as far as it has come.
    pub fn of(decision: &Decision) -> Self {
        let first = decision.first();
        let (bound, outcome) = (decision.bound.as_ref(), decision.outcome());
        let brief = bound.and_then(|bound| decision.brief(&bound.node));
        let line = |line: &crate::decision::Line| {
            let Parts { load, placement, anomaly } = line.parts;
            json!([line.node, line.score, load, placement, anomaly, line.points, line.peak])
        };
        let mut scores: Vec<Value> = decision.best.iter().map(line).collect();
        if let (Some(bound), Some(brief)) = (bound, brief)
            && !decision.best.iter().any(|line| line.node == bound.node)
        {
            let (score, load, peak) = (finite(brief.score), finite(brief.load), finite(brief.peak));
            scores.push(json!([bound.node, score, load, null, null, brief.points, peak]));
        }
        Self {
            ts: decision.ts,
            id: decision.id.to_string(),
            verb: decision.verb.to_owned(),
            namespace: decision.namespace.clone(),
            pod: decision.pod.clone(),
            pod_uid: decision.uid.clone(),
            workload: decision.workload.clone(),
            mode: decision.mode.as_str().to_owned(),
            answer: decision.answer().to_owned(),
            reason: decision.neutral.map(|neutral| neutral.as_str().to_owned()),
            state: decision.state.as_str().to_owned(),
            candidates: decision.candidates as i64,
            best: first.map(|line| line.node.clone()),
            best_score: first.and_then(|line| line.score),
            bound: bound.map(|bound| bound.node.clone()),
            bound_score: brief.and_then(|brief| finite(brief.score)),
            // The API server tells whole seconds.
            bound_after_seconds: bound.map(|bound| (bound.at - decision.ts).max(0) as f64 / 1e3),
            took_seconds: decision.took.as_secs_f64(),
            data_age_seconds: decision.data_age_seconds,
            versions: json!(decision.versions),
            scores: Value::Array(scores),
            gain: outcome.map(|outcome| outcome.gain),
            agrees: outcome.map(|outcome| outcome.agrees),
            hot: outcome.map(|outcome| outcome.hot),
            best_hot: outcome.map(|outcome| outcome.best_hot),
        }
    }

    /// How it turned out, as it was judged when the pod was bound.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(Outcome { gain: self.gain?, agrees: self.agrees?, hot: self.hot?, best_hot: self.best_hot? })
    }
}

impl Record {
    /// A row of the table.
    ///
    /// # Errors
    /// When a column is absent or of another kind.
    pub fn of_row(frame: &DataFrame, row: usize) -> PolarsResult<Self> {
        let maybe =
            |name: &str| -> PolarsResult<Option<String>> { Ok(frame.column(name)?.str()?.get(row).map(str::to_owned)) };
        let text = |name: &str| Ok::<_, PolarsError>(maybe(name)?.unwrap_or_default());
        let number = |name: &str| -> PolarsResult<Option<f64>> { Ok(frame.column(name)?.f64()?.get(row)) };
        let flag = |name: &str| -> PolarsResult<Option<bool>> {
            Ok(frame.column(name)?.i64()?.get(row).map(|value| value != 0))
        };
        let json = |name: &str| Ok::<_, PolarsError>(serde_json::from_str(&text(name)?).unwrap_or_default());
        Ok(Self {
            ts: frame.column("ts")?.datetime()?.physical().get(row).unwrap_or_default(),
            id: text("id")?,
            verb: text("verb")?,
            namespace: text("namespace")?,
            pod: text("pod")?,
            pod_uid: text("pod_uid")?,
            workload: maybe("workload")?,
            mode: text("mode")?,
            answer: text("answer")?,
            reason: maybe("reason")?,
            state: text("state")?,
            candidates: frame.column("candidates")?.i64()?.get(row).unwrap_or_default(),
            best: maybe("best")?,
            best_score: number("best_score")?,
            bound: maybe("bound")?,
            bound_score: number("bound_score")?,
            bound_after_seconds: number("bound_after_seconds")?,
            took_seconds: number("took_seconds")?.unwrap_or_default(),
            data_age_seconds: number("data_age_seconds")?,
            versions: json("versions")?,
            scores: json("scores")?,
            gain: number("gain")?,
            agrees: flag("agrees")?,
            hot: flag("hot")?,
            best_hot: flag("best_hot")?,
        })
    }
}

fn finite(value: f32) -> Option<f64> {
    value.is_finite().then_some(f64::from(value))
}

impl Kept for Record {
    const WHAT: &'static str = "decisions";

    fn table() -> &'static TableSchema {
        &DECISIONS
    }

    fn ts(&self) -> i64 {
        self.ts
    }

    fn bytes(&self) -> usize {
        // Names have their limits, and scores are the ten best: what is left over is some hundred bytes.
        size_of::<Self>() + 2_048 + 1_024 * self.scores.as_array().map_or(0, Vec::len)
    }

    fn frame(records: &[Self]) -> PolarsResult<DataFrame> {
        let text = |name: &str, value: fn(&Self) -> &str| {
            Column::new(name.into(), records.iter().map(value).collect::<Vec<&str>>())
        };
        let maybe = |name: &str, value: fn(&Self) -> Option<&str>| {
            Column::new(name.into(), records.iter().map(value).collect::<Vec<Option<&str>>>())
        };
        let number = |name: &str, value: fn(&Self) -> Option<f64>| {
            Column::new(name.into(), records.iter().map(value).collect::<Vec<Option<f64>>>())
        };
        let json = |name: &str, value: fn(&Self) -> &Value| {
            Column::new(name.into(), records.iter().map(|it| value(it).to_string()).collect::<Vec<String>>())
        };
        let flag = |name: &str, value: fn(&Self) -> Option<bool>| {
            Column::new(name.into(), records.iter().map(|it| value(it).map(i64::from)).collect::<Vec<Option<i64>>>())
        };
        let ts: Vec<i64> = records.iter().map(|record| record.ts).collect();
        let candidates: Vec<i64> = records.iter().map(|record| record.candidates).collect();
        DataFrame::new(
            records.len(),
            vec![
                Column::new("ts".into(), ts).cast(&polars_type(ColumnKind::Timestamp))?,
                text("id", |it| &it.id),
                text("verb", |it| &it.verb),
                text("namespace", |it| &it.namespace),
                text("pod", |it| &it.pod),
                text("pod_uid", |it| &it.pod_uid),
                maybe("workload", |it| it.workload.as_deref()),
                text("mode", |it| &it.mode),
                text("answer", |it| &it.answer),
                maybe("reason", |it| it.reason.as_deref()),
                text("state", |it| &it.state),
                Column::new("candidates".into(), candidates),
                maybe("best", |it| it.best.as_deref()),
                number("best_score", |it| it.best_score),
                maybe("bound", |it| it.bound.as_deref()),
                number("bound_score", |it| it.bound_score),
                number("bound_after_seconds", |it| it.bound_after_seconds),
                number("took_seconds", |it| Some(it.took_seconds)),
                number("data_age_seconds", |it| it.data_age_seconds),
                json("versions", |it| &it.versions),
                json("scores", |it| &it.scores),
                number("gain", |it| it.gain),
                flag("agrees", |it| it.agrees),
                flag("hot", |it| it.hot),
                flag("best_hot", |it| it.best_hot),
            ],
        )
    }
}
