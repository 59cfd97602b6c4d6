//! Asks for the pods of a span and puts each one's facts together.

use super::USAGE_STEP_MS;
use super::answers::{Answers, name, put_together};
use super::rows::PodRow;
use super::usage::UsageBook;
use crate::prometheus::client::Client;
use crate::prometheus::clusters::{state_not_honored, usage_not_honored};
use crate::prometheus::error::PrometheusError;
use crate::prometheus::identity::Identity;
use crate::prometheus::queries::{Fact, Group, Queries, Spans, fill};
use crate::prometheus::reply::Series;
use cluster::grid_floor;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// A namespace and a name.
pub type PodName = (String, String);
/// Values of one pod: moments in UTC milliseconds, and cores or bytes.
pub type PodPoints = (PodName, Vec<(i64, f64)>);

/// What a span told about pods.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PodFacts {
    /// One row per pod, usage left out.
    pub rows: Vec<PodRow>,
    /// Pods of which no creation time is known; they have no place in the table.
    pub without_creation: u64,
    /// Cores, every five minutes.
    pub cpu: Vec<PodPoints>,
    /// Bytes, every five minutes.
    pub memory: Vec<PodPoints>,
    /// What a person should know.
    #[serde(skip)]
    pub warnings: BTreeSet<String>,
}

/// Whom to ask for pods, and how.
#[derive(Debug, Clone, Copy)]
pub struct PodAsking<'a> {
    /// Whom.
    pub client: &'a Client,
    /// What.
    pub queries: &'a Queries,
    /// Which node a pod is on.
    pub identity: &'a Identity,
    /// Queries under way.
    pub concurrency: usize,
    /// The scrape interval in milliseconds.
    pub interval: i64,
}

/// Asks for all pods that were seen in `times`; where the server finds that too much, for one half after the other.
///
/// # Errors
/// See [`PrometheusError`]. No pods at all are no error.
pub fn fetch<'a>(asking: PodAsking<'a>, times: Range<i64>) -> BoxFuture<'a, Result<PodFacts, PrometheusError>> {
    Box::pin(async move {
        match whole(asking, &times).await {
            Err(error) if error.is_too_much() && times.end - times.start > 2 * USAGE_STEP_MS => {
                tracing::debug!("the server finds it too much, asking for the pods of half the span");
                let middle = grid_floor(times.start + (times.end - times.start) / 2, USAGE_STEP_MS);
                let older = fetch(asking, times.start..middle).await?;
                Ok(fetch(asking, middle..times.end).await?.after(older))
            }
            answer => answer,
        }
    })
}

async fn whole(asking: PodAsking<'_>, times: &Range<i64>) -> Result<PodFacts, PrometheusError> {
    let PodAsking { client, queries, identity, concurrency, interval } = asking;
    let spans = Spans { window: USAGE_STEP_MS, range: times.end - times.start, stale: 2 * interval };
    let ask = |fact: Fact| async move {
        let Some(query) = queries.fact(fact) else { return Ok(Vec::new()) };
        client.instant(&fill(query, &Group::everything(), spans), times.end).await
    };
    let pods = ask(Fact::PodInfo).await?;
    if pods.is_empty() {
        let why = state_not_honored(client, times.end, spans.range).await?;
        return Ok(PodFacts { warnings: why.iter().map(ToString::to_string).collect(), ..PodFacts::default() });
    }
    let wanted = [
        Fact::PodLastSeen,
        Fact::PodOwner,
        Fact::ReplicaSetOwner,
        Fact::JobOwner,
        Fact::PodCreated,
        Fact::PodScheduled,
        Fact::PodStarted,
        Fact::PodCompleted,
        Fact::PodPhase,
        Fact::PodQosClass,
        Fact::PodCpuRequest,
        Fact::PodMemoryRequest,
        Fact::PodInitCpuRequest,
        Fact::PodInitMemoryRequest,
        Fact::PodSidecars,
        Fact::PodCpuOverhead,
        Fact::PodMemoryOverhead,
        Fact::PodGpuRequest,
        Fact::PodLabels,
    ];
    let answers: HashMap<&str, Vec<Series>> = stream::iter(wanted)
        .map(|fact| async move { Ok::<_, PrometheusError>((fact.name(), ask(fact).await?)) })
        .buffer_unordered(concurrency)
        .try_collect()
        .await?;
    let mut facts = put_together(&pods, &Answers(answers), identity, times, interval);
    let steps = grid_floor(times.start + USAGE_STEP_MS - 1, USAGE_STEP_MS)..times.end;
    for (fact, place) in [(Fact::PodCpuUsage, &mut facts.cpu), (Fact::PodMemoryUsage, &mut facts.memory)] {
        if let Some(query) = queries.fact(fact) {
            let series = client.range(&fill(query, &Group::everything(), spans), steps.clone(), USAGE_STEP_MS).await?;
            *place = series.into_iter().filter_map(|one| Some((name(&one)?, one.points))).collect();
        }
    }
    if facts.cpu.is_empty() && facts.memory.is_empty() {
        let why = usage_not_honored(client, times.end, spans.range).await?;
        facts.warnings.extend(why.iter().map(ToString::to_string));
    }
    Ok(facts)
}

impl PodFacts {
    /// These facts, and those of the span before them.
    fn after(mut self, older: Self) -> Self {
        let mut rows: BTreeMap<String, PodRow> = older.rows.into_iter().map(|row| (row.pod_uid.clone(), row)).collect();
        for row in std::mem::take(&mut self.rows) {
            let row = match rows.remove(&row.pod_uid) {
                Some(before) => row.over(&before),
                None => row,
            };
            rows.insert(row.pod_uid.clone(), row);
        }
        Self {
            rows: rows.into_values().collect(),
            without_creation: self.without_creation + older.without_creation,
            cpu: older.cpu.into_iter().chain(self.cpu).collect(),
            memory: older.memory.into_iter().chain(self.memory).collect(),
            warnings: older.warnings.into_iter().chain(self.warnings).collect(),
        }
    }

    /// Takes the usage before `settled` into the book, each moment once, and gives the rows their figures.
    pub fn count_usage(&mut self, book: &mut UsageBook, settled: i64) {
        let mut lives: HashMap<PodName, Vec<(i64, String)>> = HashMap::new();
        for row in &self.rows {
            lives
                .entry((row.namespace.clone(), row.pod.clone()))
                .or_default()
                .push((row.created_at, row.pod_uid.clone()));
        }
        lives.values_mut().for_each(|lives| lives.sort_unstable());
        // A StatefulSet gives the same name to one pod after the other: the life that had begun last is meant.
        let life = |name: &PodName, ts: i64| {
            Some(lives.get(name)?.iter().rfind(|(created_at, _)| *created_at <= ts)?.1.clone())
        };
        let fresh: Box<dyn Fn(i64) -> bool> = {
            let taken = (book.from, book.until);
            Box::new(move |ts| ts < settled && !taken.0.is_some_and(|from| (from..taken.1).contains(&ts)))
        };
        let usable = |value: f64| value.is_finite() && value >= 0.0;
        for (lines, is_cpu) in [(&self.cpu, true), (&self.memory, false)] {
            for (name, points) in lines {
                for (ts, value) in points.iter().filter(|(ts, value)| fresh(*ts) && usable(*value)) {
                    let Some(uid) = life(name, *ts) else { continue };
                    let usage = book.pods.entry(uid).or_default();
                    if is_cpu { usage.add_cpu(*value) } else { usage.add_memory(*value) }
                }
            }
        }
        for row in &mut self.rows {
            if let Some(usage) = book.pods.get(&row.pod_uid) {
                row.cpu_used_cores_mean = usage.cpu_mean();
                row.cpu_used_cores_p95 = usage.cpu_p95();
                row.memory_used_bytes_max = usage.memory_max();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::MINUTE_MS;

    #[test]
    fn the_halves_of_a_span_are_put_together_and_the_newer_one_has_the_last_word() {
        let row = |uid: &str, phase: &str, finished_at| PodRow {
            pod_uid: uid.into(),
            phase: Some(phase.into()),
            finished_at,
            cpu_request_cores: (phase == "Pending").then_some(0.5),
            ..PodRow::default()
        };
        let points = |ts| vec![(("db".to_owned(), "db-0".to_owned()), vec![(ts, 1.0)])];
        let older = PodFacts {
            rows: vec![row("a", "Pending", Some(10)), row("b", "Failed", Some(20))],
            cpu: points(1),
            ..PodFacts::default()
        };
        let newer = PodFacts { rows: vec![row("a", "Running", None)], cpu: points(2), ..PodFacts::default() };
        let both = newer.after(older);
        assert_eq!(both.rows.len(), 2);
        let (a, b) = (&both.rows[0], &both.rows[1]);
        assert_eq!((a.phase.as_deref(), a.finished_at, a.cpu_request_cores), (Some("Running"), None, Some(0.5)));
        assert_eq!((b.phase.as_deref(), b.finished_at), (Some("Failed"), Some(20)));
        assert_eq!(both.cpu.iter().map(|line| line.1[0].0).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn usage_is_counted_once_and_for_the_right_life() {
        let row = |uid: &str, created_at| PodRow {
            pod_uid: uid.into(),
            namespace: "db".into(),
            pod: "db-0".into(),
            created_at,
            ..PodRow::default()
        };
        let points = (0..4).map(|at| (at * 5 * MINUTE_MS, at as f64)).collect();
        let mut facts = PodFacts {
            rows: vec![row("first", 0), row("second", 10 * MINUTE_MS)],
            cpu: vec![(("db".into(), "db-0".into()), points)],
            ..PodFacts::default()
        };
        let mut book = UsageBook::default();
        for _ in 0..2 {
            facts.count_usage(&mut book, 15 * MINUTE_MS);
            (book.from, book.until) = (Some(0), 15 * MINUTE_MS);
            assert_eq!(facts.rows[0].cpu_used_cores_mean, Some(0.5));
            assert_eq!(facts.rows[1].cpu_used_cores_mean, Some(2.0));
        }
    }
}
