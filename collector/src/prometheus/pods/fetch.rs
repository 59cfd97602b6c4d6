//! Asks for the pods of a span and puts each one's facts together.

use super::USAGE_STEP_MS;
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
pub fn fetch<'a>(
    asking: PodAsking<'a>,
    times: Range<i64>,
) -> BoxFuture<'a, Result<PodFacts, PrometheusError>> {
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

struct Answers(HashMap<&'static str, Vec<Series>>);

impl Answers {
    fn of(&self, fact: Fact) -> &[Series] {
        self.0.get(fact.name()).map_or(&[], Vec::as_slice)
    }

    /// The finite values of a fact by pod; of several the largest, such as the later start.
    fn numbers(&self, fact: Fact) -> HashMap<PodKey, f64> {
        let mut numbers = HashMap::new();
        for series in self.of(fact) {
            let Some((key, value)) = pod_key(series).zip(series.last().filter(|value| value.is_finite())) else {
                continue;
            };
            numbers.entry(key).and_modify(|old: &mut f64| *old = old.max(value)).or_insert(value);
        }
        numbers
    }

    /// Moments in milliseconds, from seconds; what cannot be one is left out.
    fn moments(&self, fact: Fact) -> HashMap<PodKey, i64> {
        let numbers = self.numbers(fact).into_iter();
        numbers.filter_map(|(key, seconds)| Some((key, cluster::moment_from_seconds(seconds)?))).collect()
    }

    /// The texts of a label by pod; of several the one that `rank` puts highest.
    fn texts(&self, fact: Fact, label: &str, rank: impl Fn(&str) -> u8) -> HashMap<PodKey, String> {
        let mut texts: HashMap<PodKey, String> = HashMap::new();
        for series in self.of(fact) {
            let Some((key, text)) = pod_key(series).zip(series.label(label)) else { continue };
            let higher = |than: &String| (rank(text), text) > (rank(than), than.as_str());
            if texts.get(&key).is_none_or(higher) {
                texts.insert(key, text.to_owned());
            }
        }
        texts
    }
}

/// How far a pod has come in a phase. A pod never goes back, so where two are told of it (by a kube-state-metrics that is
/// gone and by the one that followed) the further one is the newer one,
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>.
fn phase_rank(phase: &str) -> u8 {
    match phase {
        "Succeeded" | "Failed" => 3,
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

/// Namespace, name and UID; the UID is empty where the exporter is too old to tell it.
type PodKey = (String, String, String);

fn pod_key(series: &Series) -> Option<PodKey> {
    let (namespace, pod) = name(series)?;
    Some((namespace, pod, series.label("uid").unwrap_or_default().to_owned()))
}

fn name(series: &Series) -> Option<PodName> {
    Some((series.label("namespace")?.to_owned(), series.label("pod")?.to_owned()))
}

/// kube-state-metrics has written the classes in lower case and as the API does; the table has the API's names.
fn qos_class_name(class: &str) -> String {
    let names = ["Guaranteed", "Burstable", "BestEffort"];
    names.into_iter().find(|name| name.eq_ignore_ascii_case(class)).unwrap_or(class).to_owned()
}

/// The priority of the classes that every cluster has; of others only the name is exported.
fn priority_of(class: &str) -> Option<i64> {
    match class {
        "system-node-critical" => Some(2_000_001_000),
        "system-cluster-critical" => Some(2_000_000_000),
        _ => None,
    }
}

fn put_together(
    pods: &[Series],
    answers: &Answers,
    identity: &Identity,
    times: &Range<i64>,
    interval: i64,
) -> PodFacts {
    let (created, scheduled) = (answers.moments(Fact::PodCreated), answers.moments(Fact::PodScheduled));
    let (started, completed) = (answers.moments(Fact::PodStarted), answers.moments(Fact::PodCompleted));
    let last_seen = answers.moments(Fact::PodLastSeen);
    // Where the exporter itself fell silent, no pod has ended: only those that it had stopped naming before.
    let exporter_seen = last_seen.values().copied().max().unwrap_or(times.end);
    let phase = answers.texts(Fact::PodPhase, "phase", phase_rank);
    let qos_class = answers.texts(Fact::PodQosClass, "qos_class", |_| 0);
    let (cpu, memory) = (answers.numbers(Fact::PodCpuRequest), answers.numbers(Fact::PodMemoryRequest));
    let gpu = answers.numbers(Fact::PodGpuRequest);
    let mut labels: HashMap<PodKey, String> = HashMap::new();
    for (key, json) in answers.of(Fact::PodLabels).iter().filter_map(|one| Some((pod_key(one)?, labels_json(one)?))) {
        // Of two that the server cannot order the same one is taken each time.
        labels.entry(key).and_modify(|known| *known = std::mem::take(known).max(json.clone())).or_insert(json);
    }
    let owners = Owners::new(answers);
    let mut facts = PodFacts::default();
    let mut rows: BTreeMap<String, PodRow> = BTreeMap::new();
    for series in pods {
        let Some(key) = pod_key(series) else { continue };
        let Some(created_at) = created.get(&key).or_else(|| started.get(&key)).copied() else {
            facts.without_creation += 1;
            continue;
        };
        let pod_uid = if key.2.is_empty() { format!("{}/{}@{created_at}", key.0, key.1) } else { key.2.clone() };
        let node = series
            .label("node")
            .map(|own| identity.node_at(&series.labels, times.end).map_or_else(|| own.to_owned(), |found| found.0));
        if let Some(row) = rows.get_mut(&pod_uid) {
            // The same life before and after it was bound to a node.
            row.node = row.node.take().or(node);
            continue;
        }
        let gone = last_seen
            .get(&key)
            .copied()
            .filter(|seen| exporter_seen - seen > (2 * interval).max(2 * cluster::MINUTE_MS));
        let owner = owners.of(series, &key);
        rows.insert(
            pod_uid.clone(),
            PodRow {
                pod_uid,
                workload_kind: owner.as_ref().map(|owner| owner.0.clone()),
                workload: owner.map(|owner| owner.1),
                node,
                created_at,
                scheduled_at: scheduled.get(&key).copied(),
                started_at: started.get(&key).copied(),
                finished_at: completed.get(&key).copied().or(gone),
                phase: phase.get(&key).cloned(),
                qos_class: qos_class.get(&key).map(|class| qos_class_name(class)),
                priority: series.label("priority_class").and_then(priority_of),
                cpu_request_cores: cpu.get(&key).copied(),
                memory_request_bytes: memory.get(&key).copied(),
                gpu_request: gpu.get(&key).copied(),
                labels: labels.get(&key).cloned(),
                namespace: key.0,
                pod: key.1,
                ..PodRow::default()
            },
        );
    }
    facts.rows = rows.into_values().collect();
    facts
}

/// The labels as JSON, names as the exporter writes them (`app_kubernetes_io_name`): it replaces what Prometheus does
/// not allow in a name, and that cannot be undone.
fn labels_json(series: &Series) -> Option<String> {
    let labels: BTreeMap<&str, &String> =
        series.labels.iter().filter_map(|(name, value)| Some((name.strip_prefix("label_")?, value))).collect();
    if labels.is_empty() { None } else { serde_json::to_string(&labels).ok() }
}

/// Who owns what: pod → ReplicaSet → Deployment, pod → Job → CronJob.
struct Owners {
    pods: HashMap<PodKey, (String, String)>,
    middle: HashMap<(&'static str, PodName), (String, String)>,
}

impl Owners {
    fn new(answers: &Answers) -> Self {
        let pods =
            answers.of(Fact::PodOwner).iter().filter_map(|series| Some((pod_key(series)?, owner(series)?))).collect();
        let kinds = [("ReplicaSet", Fact::ReplicaSetOwner, "replicaset"), ("Job", Fact::JobOwner, "job_name")];
        let mut middle = HashMap::new();
        for (kind, fact, label) in kinds {
            for series in answers.of(fact) {
                if let (Some(namespace), Some(name), Some(owner)) =
                    (series.label("namespace"), series.label(label), owner(series))
                {
                    middle.insert((kind, (namespace.to_owned(), name.to_owned())), owner);
                }
            }
        }
        Self { pods, middle }
    }

    fn of(&self, info: &Series, key: &PodKey) -> Option<(String, String)> {
        let created_by = || named(info.label("created_by_kind")?, info.label("created_by_name")?);
        let direct = self.pods.get(key).cloned().or_else(created_by)?;
        let above = ["ReplicaSet", "Job"]
            .into_iter()
            .find(|kind| *kind == direct.0)
            .and_then(|kind| self.middle.get(&(kind, (key.0.clone(), direct.1.clone()))).cloned());
        Some(above.unwrap_or(direct))
    }
}

fn owner(series: &Series) -> Option<(String, String)> {
    named(series.label("owner_kind")?, series.label("owner_name")?)
}

/// The exporter writes `<none>` where nothing owns the object.
fn named(kind: &str, name: &str) -> Option<(String, String)> {
    (kind != "<none>" && name != "<none>").then(|| (kind.to_owned(), name.to_owned()))
}

impl PodFacts {
    /// These facts, and those of the span before them.
    fn after(mut self, older: Self) -> Self {
        let mut rows: BTreeMap<String, PodRow> =
            older.rows.into_iter().map(|row| (row.pod_uid.clone(), row)).collect();
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
    use cluster::{DAY_MS, HOUR_MS, MINUTE_MS};

    /// 2026-01-01T00:00:00Z.
    const START: i64 = 1_767_225_600_000;

    fn series(labels: &[(&str, &str)], value: f64) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Series { labels, points: vec![(START + DAY_MS, value)] }
    }

    const CART: [(&str, &str); 3] = [("namespace", "shop"), ("pod", "cart-1"), ("uid", "u1")];
    const OLD: [(&str, &str); 3] = [("namespace", "shop"), ("pod", "old-1"), ("uid", "u2")];

    fn with(
        pod: [(&'static str, &'static str); 3],
        more: &[(&'static str, &'static str)],
    ) -> Vec<(&'static str, &'static str)> {
        pod.into_iter().chain(more.iter().copied()).collect()
    }

    #[test]
    fn the_facts_of_a_life_come_together() {
        let seconds = |ms: i64| (START + ms) as f64 / 1_000.0;
        let pods = [
            series(&with(CART, &[]), 1.0),
            series(&with(CART, &[("node", "node-1"), ("priority_class", "system-node-critical")]), 1.0),
            series(&with(OLD, &[("node", "node-2")]), 1.0),
            series(&[("namespace", "shop"), ("pod", "nameless")], 1.0),
        ];
        let answers = Answers(HashMap::from([
            (Fact::PodCreated.name(), vec![series(&CART, seconds(HOUR_MS)), series(&OLD, seconds(2 * HOUR_MS))]),
            (Fact::PodLastSeen.name(), vec![series(&CART, seconds(DAY_MS)), series(&OLD, seconds(5 * HOUR_MS))]),
            (
                Fact::PodPhase.name(),
                ["Running", "Pending"].map(|phase| series(&with(CART, &[("phase", phase)]), 1.0)).into(),
            ),
            (
                Fact::PodOwner.name(),
                vec![series(&with(CART, &[("owner_kind", "ReplicaSet"), ("owner_name", "cart-7f")]), 1.0)],
            ),
            (
                Fact::ReplicaSetOwner.name(),
                vec![series(
                    &[
                        ("namespace", "shop"),
                        ("replicaset", "cart-7f"),
                        ("owner_kind", "Deployment"),
                        ("owner_name", "cart"),
                    ],
                    1.0,
                )],
            ),
            (Fact::PodCpuRequest.name(), vec![series(&CART, 0.25), series(&OLD, f64::NAN)]),
            (Fact::PodLabels.name(), vec![series(&with(CART, &[("label_app", "cart")]), 1.0)]),
        ]));
        let facts = put_together(&pods, &answers, &Identity::default(), &(START..START + DAY_MS), 30_000);
        assert_eq!((facts.rows.len(), facts.without_creation), (2, 1));
        let cart = &facts.rows[0];
        assert_eq!((cart.workload_kind.as_deref(), cart.workload.as_deref()), (Some("Deployment"), Some("cart")));
        assert_eq!(
            (cart.node.as_deref(), cart.phase.as_deref(), cart.finished_at),
            (Some("node-1"), Some("Running"), None)
        );
        assert_eq!((cart.cpu_request_cores, cart.labels.as_deref()), (Some(0.25), Some(r#"{"app":"cart"}"#)));
        let old = &facts.rows[1];
        assert_eq!((old.finished_at, old.cpu_request_cores), (Some(START + 5 * HOUR_MS), None));
    }

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
    fn moments_that_cannot_be_are_none() {
        let answers = Answers(HashMap::from([(
            Fact::PodCreated.name(),
            vec![series(&CART, 1e300), series(&OLD, 1_767_225_600.0)],
        )]));
        let moments = answers.moments(Fact::PodCreated);
        assert_eq!(moments.into_values().collect::<Vec<_>>(), [START]);
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
