//! What the server answers about pods, put together pod by pod.

use super::fetch::{PodFacts, PodName};
use super::requests::{ContainerKey, effective};
use super::rows::PodRow;
use crate::prometheus::identity::Identity;
use crate::prometheus::queries::Fact;
use crate::prometheus::reply::Series;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The answers, by the name of the fact.
pub(super) struct Answers(pub HashMap<&'static str, Vec<Series>>);

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

    /// The finite values of a fact by pod and container.
    fn containers(&self, fact: Fact) -> HashMap<ContainerKey, f64> {
        let key = |series: &Series| Some((pod_key(series)?, series.label("container")?.to_owned()));
        let all = self.of(fact).iter();
        all.filter_map(|series| Some((key(series)?, series.last().filter(|value| value.is_finite())?))).collect()
    }

    /// What pods request of a resource, as kube-scheduler counts it.
    fn requests(&self, containers: Fact, init_containers: Fact, overhead: Fact) -> HashMap<PodKey, f64> {
        let sidecars = self.containers(Fact::PodSidecars).into_keys().collect();
        effective(self.numbers(containers), &self.containers(init_containers), &sidecars, &self.numbers(overhead))
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
pub(super) type PodKey = (String, String, String);

fn pod_key(series: &Series) -> Option<PodKey> {
    let (namespace, pod) = name(series)?;
    Some((namespace, pod, series.label("uid").unwrap_or_default().to_owned()))
}

pub(super) fn name(series: &Series) -> Option<PodName> {
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

/// One row per pod.
pub(super) fn put_together(
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
    let cpu = answers.requests(Fact::PodCpuRequest, Fact::PodInitCpuRequest, Fact::PodCpuOverhead);
    let memory = answers.requests(Fact::PodMemoryRequest, Fact::PodInitMemoryRequest, Fact::PodMemoryOverhead);
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

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::{DAY_MS, HOUR_MS};

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
    fn moments_that_cannot_be_are_none() {
        let answers = Answers(HashMap::from([(
            Fact::PodCreated.name(),
            vec![series(&CART, 1e300), series(&OLD, 1_767_225_600.0)],
        )]));
        let moments = answers.moments(Fact::PodCreated);
        assert_eq!(moments.into_values().collect::<Vec<_>>(), [START]);
    }
}
