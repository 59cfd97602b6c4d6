//! Decisions of past days, from the table `raw/decisions` and from the lines that have not been rolled into it yet.

use crate::decision::{Line, Outcome};
use crate::explain::Explanation;
use crate::record::Record;
use crate::shadow::Comparison;
use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use cluster::score::Parts;
use cluster::{DECISIONS, HOT_UTILIZATION};
use polars::prelude::{DataFrame, PolarsResult};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use store::Store;

/// Earlier versions did not keep how a decision turned out, nor how sure the forecasts were: of theirs, scores that are closer than this count
/// as equal.
const AS_GOOD: f64 = 0.02;

/// Compares kube-scheduler's choices with the best candidates over the last `days` that have decisions. Returns how many decisions
/// there are as well.
///
/// # Errors
/// When a part of the table is damaged.
pub fn compared(store: &Store, days: usize) -> anyhow::Result<(Comparison, u64)> {
    let (mut comparison, mut count) = (Comparison::default(), 0);
    let mut add = |record: &Record| {
        count += 1;
        if let Some(outcome) = outcome(record) {
            let is_scored = record.answer == "scored";
            if is_scored { &mut comparison.scored } else { &mut comparison.neutral }.add(outcome);
        }
    };
    let all = store.days(&DECISIONS)?;
    for day in all.iter().skip(all.len().saturating_sub(days)) {
        let frame = store.read_day(&DECISIONS, *day, &[])?;
        for row in 0..frame.height() {
            add(&Record::of_row(&frame, row).with_context(|| format!("failed to read decisions of {day}"))?);
        }
    }
    lines(store, |record| add(&record))?;
    Ok((comparison, count))
}

/// Why a pod went where it went: its newest decision of the last `days` that have any. What was on its way to nodes, and reasons in
/// words, are not in the table.
///
/// # Errors
/// When a part of the table is damaged.
pub fn explained(store: &Store, namespace: &str, pod: &str, days: usize) -> anyhow::Result<Option<Explanation>> {
    let mut newest: Option<Record> = None;
    let mut take = |record: Record| {
        if newest.as_ref().is_none_or(|newest| newest.ts <= record.ts) {
            newest = Some(record);
        }
    };
    lines(store, |record| {
        if record.namespace == namespace && record.pod == pod {
            take(record);
        }
    })?;
    for day in store.days(&DECISIONS)?.iter().rev().take(days) {
        let frame = store.read_day(&DECISIONS, *day, &[])?;
        let found = of_pod(&frame, namespace, pod).with_context(|| format!("failed to read decisions of {day}"))?;
        let is_found = !found.is_empty();
        found.into_iter().for_each(&mut take);
        if is_found {
            break;
        }
    }
    Ok(newest.map(|record| told(&record)))
}

/// Goes through what has not been rolled into the table yet.
fn lines(store: &Store, mut each: impl FnMut(Record)) -> anyhow::Result<()> {
    let folder = store.root().join(DECISIONS.name);
    for entry in std::fs::read_dir(&folder).with_context(|| format!("no decisions below `{}`", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            // The last line of a process that writes may be half of one.
            let lines = BufReader::new(std::fs::File::open(&path)?).lines().map_while(Result::ok);
            lines.filter_map(|line| serde_json::from_str::<Record>(&line).ok()).for_each(&mut each);
        }
    }
    Ok(())
}

fn of_pod(frame: &DataFrame, namespace: &str, pod: &str) -> PolarsResult<Vec<Record>> {
    let (namespaces, pods) = (frame.column("namespace")?.str()?, frame.column("pod")?.str()?);
    let rows = (0..frame.height()).filter(|row| pods.get(*row) == Some(pod) && namespaces.get(*row) == Some(namespace));
    rows.map(|row| Record::of_row(frame, row)).collect()
}

fn told(record: &Record) -> Explanation {
    let outcome = outcome(record);
    let best: Vec<Line> = record.scores.as_array().into_iter().flatten().map(line).collect();
    let bound = best.iter().find(|line| Some(&line.node) == record.bound.as_ref());
    let at = DateTime::from_timestamp_millis(record.ts).unwrap_or_default();
    let explanation = Explanation {
        id: record.id.clone(),
        at: at.to_rfc3339_opts(SecondsFormat::Millis, true),
        namespace: record.namespace.clone(),
        pod: record.pod.clone(),
        workload: record.workload.clone(),
        mode: record.mode.clone(),
        answer: record.answer.clone(),
        reason: record.reason.clone(),
        state: record.state.clone(),
        candidates: usize::try_from(record.candidates).unwrap_or_default(),
        bound: record.bound.clone(),
        bound_score: record.bound_score,
        bound_points: bound.map(|line| line.points),
        gain: outcome.map(|outcome| outcome.gain),
        agrees: outcome.map(|outcome| outcome.agrees),
        expected_cores: None,
        best,
        details: None,
        versions: serde_json::from_value(record.versions.clone()).unwrap_or_default(),
        data_age_seconds: record.data_age_seconds,
        took_seconds: record.took_seconds,
        sentences: Vec::new(),
    };
    explanation.in_sentences()
}

/// Records of earlier versions have no P90: their load part was below one half where it was over 80 %.
const HOT_LOAD: f64 = 0.5;

/// A candidate as [`Record::of`] writes it.
fn line(written: &Value) -> Line {
    let parts = Parts { load: written[2].as_f64(), placement: written[3].as_f64(), anomaly: written[4].as_f64() };
    Line {
        node: written[0].as_str().unwrap_or_default().to_owned(),
        score: written[1].as_f64(),
        parts,
        uncertainty: None,
        peak: written[6].as_f64(),
        points: written[5].as_u64().and_then(|points| points.try_into().ok()).unwrap_or_default(),
        in_flight_cores: None,
    }
}

/// How a decision turned out: as it was judged when it was made, by the same rule as the running process reports.
fn outcome(record: &Record) -> Option<Outcome> {
    record.outcome().or_else(|| earlier_outcome(record))
}

/// The same of a record of an earlier version.
fn earlier_outcome(record: &Record) -> Option<Outcome> {
    let (best, bound) = (record.best.as_ref()?, record.bound.as_ref()?);
    let gain = record.best_score? - record.bound_score?;
    let is_hot = |node: &str| {
        let written = record.scores.as_array().into_iter().flatten().find(|written| written[0] == node);
        written.map(line).is_some_and(|line| match line.peak {
            Some(peak) => peak > HOT_UTILIZATION,
            None => line.parts.load.is_some_and(|load| load < HOT_LOAD),
        })
    };
    Some(Outcome { gain, agrees: best == bound || gain <= AS_GOOD, hot: is_hot(bound), best_hot: is_hot(best) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use serving::journal::Kept;

    fn record(id: &str, bound: Option<(&str, f64)>) -> Record {
        let mut scores = vec![json!(["n1", 0.9, 0.9, 0.9, 0.9, 10])];
        scores.extend(bound.map(|(node, score)| json!([node, score, score, null, null, 2, 1.25 - score])));
        let mut value = json!({
            "ts": 1_780_272_000_000_i64, "id": id, "verb": "prioritize", "namespace": "shop", "pod": id, "pod_uid": id, "workload": null,
            "mode": "shadow", "answer": "neutral", "reason": "shadow", "state": "healthy", "candidates": 2, "best": "n1", "best_score": 0.9,
            "bound": null, "bound_score": null, "bound_after_seconds": null, "took_seconds": 0.001, "data_age_seconds": 5.0,
            "versions": { "load-predictor": "1" }, "scores": scores,
        });
        if let Some((node, score)) = bound {
            (value["bound"], value["bound_score"]) = (json!(node), json!(score));
        }
        serde_json::from_value(value).expect("a record")
    }

    #[test]
    fn days_and_lines_are_compared_together() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let rolled = [record("a", Some(("n2", 0.4))), record("b", None)];
        let day = store::date_of(rolled[0].ts);
        store.write_part(&DECISIONS, day, "1", &Record::frame(&rolled).expect("rows")).expect("written");
        let line = serde_json::to_string(&record("c", Some(("n1", 0.9)))).expect("JSON");
        std::fs::write(folder.path().join("raw/decisions/9-9.jsonl"), format!("{line}\n{}", &line[..30]))
            .expect("written");
        let (comparison, count) = compared(&store, 7).expect("a comparison");
        let neutral = comparison.neutral;
        assert_eq!((count, neutral.outcomes, neutral.agreed, neutral.hot, neutral.best_hot), (3, 2, 1, 1, 0));
        assert!((neutral.gain - 0.5).abs() < 1e-9, "{}", neutral.gain);
        assert!(compared(&Store::new(folder.path().join("none")), 7).is_err());
        // What was judged when the decision was made stands: sure of its forecasts to 0.01, or unsure to 0.6.
        for (id, gain, agrees) in [("sure", 0.015, false), ("unsure", 0.5, true)] {
            let stored = Record {
                gain: Some(gain),
                agrees: Some(agrees),
                hot: Some(false),
                best_hot: Some(false),
                ..record(id, Some(("n2", 0.9 - gain)))
            };
            store.write_part(&DECISIONS, day, id, &Record::frame(&[stored]).expect("rows")).expect("written");
        }
        let neutral = compared(&store, 7).expect("a comparison").0.neutral;
        assert_eq!((neutral.outcomes, neutral.agreed, neutral.hot), (4, 2, 1));

        // `a` is in the table, `c` only in the lines; `b` of another namespace is nobody's.
        let kept = |pod: &str| explained(&store, "shop", pod, 7).expect("readable");
        let found = kept("a").expect("a decision");
        assert_eq!((found.bound.as_deref(), found.bound_points, found.agrees), (Some("n2"), Some(2), Some(false)));
        assert_eq!(
            (found.best.len(), found.best[0].parts.load, found.at.as_str()),
            (2, Some(0.9), "2026-06-01T00:00:00.000Z")
        );
        assert!(found.sentences.iter().any(|it| it.contains("n2, which scores 0.50 less")), "{:?}", found.sentences);
        assert_eq!(kept("c").and_then(|it| it.agrees), Some(true));
        assert!(explained(&store, "other", "a", 7).expect("readable").is_none() && kept("d").is_none());
    }
}
