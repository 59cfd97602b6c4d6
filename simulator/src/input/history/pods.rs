//! The pods of a history: lives, requests, and which of them can be placed elsewhere.

use super::STEP_MS;
use super::nodes::{Explained, MeasuredNodes};
use crate::engine::CRITICAL_PRIORITY;
use crate::input::InputError;
use crate::world::{Label, NodeId, Notes, Pod, QosClass, Request, Rules, SeriesId, Usage, Workload, WorkloadId};
use cluster::{Bytes, Cores, PODS};
use polars::prelude::{DataFrame, PolarsResult};
use std::collections::HashMap;
use store::Store;

/// What the tables say of the pods.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub pods: Vec<Pod>,
    pub workloads: Vec<Workload>,
    /// Rules after the first, which has none.
    pub rules: Vec<Rules>,
    pub explained: Explained,
    known: HashMap<String, WorkloadId>,
    /// Latest end of each pod name.
    ends: HashMap<String, i64>,
}

/// One row of `raw/pods`.
struct Row<'a> {
    name: String,
    kind: &'a str,
    workload: Option<&'a str>,
    namespace: &'a str,
    node: Option<&'a str>,
    created: i64,
    started: i64,
    finished: Option<i64>,
    qos: &'a str,
    priority: i64,
    cpu_request: f64,
    memory_request: f64,
    gpu_request: f64,
    cpu_mean: Option<f64>,
    memory_max: Option<f64>,
}

pub(super) fn read_pods(
    store: &Store,
    nodes: &MeasuredNodes,
    start_ms: i64,
    end_ms: i64,
    notes: &mut Notes,
) -> Result<Found, InputError> {
    let mut found = Found { explained: vec![vec![(0.0, 0.0); nodes.slots]; nodes.nodes.len()], ..Found::default() };
    for day in store.days(&PODS)? {
        let frame = store.read_day(&PODS, day, &[])?;
        found
            .take_in(&frame, nodes, (start_ms, end_ms), notes)
            .map_err(|source| InputError::Table { table: PODS.name, source })?;
    }
    if found.pods.is_empty() {
        return Err(InputError::History {
            what: "no pod in this span".to_owned(),
            hint: "Take a longer --days, or collect pods (kube-state-metrics) as well",
        });
    }
    Ok(found)
}

/// Pods of a DaemonSet, and static pods, whose owner is their node.
fn is_bound(kind: &str) -> bool {
    matches!(kind, "DaemonSet" | "Node")
}

impl Found {
    fn take_in(
        &mut self,
        frame: &DataFrame,
        nodes: &MeasuredNodes,
        span: (i64, i64),
        notes: &mut Notes,
    ) -> PolarsResult<()> {
        let text = |name: &str| frame.column(name)?.str().cloned();
        let time = |name: &str| frame.column(name)?.to_physical_repr().i64().cloned();
        let float = |name: &str| frame.column(name)?.f64().cloned();
        let (namespaces, pods, kinds) = (text("namespace")?, text("pod")?, text("workload_kind")?);
        let (workloads, node_names, qos) = (text("workload")?, text("node")?, text("qos_class")?);
        let (created, scheduled, started) = (time("created_at")?, time("scheduled_at")?, time("started_at")?);
        let (finished, priority) = (time("finished_at")?, frame.column("priority")?.i64()?.clone());
        let (cpu, memory, gpu) = (float("cpu_request_cores")?, float("memory_request_bytes")?, float("gpu_request")?);
        let (cpu_mean, memory_max) = (float("cpu_used_cores_mean")?, float("memory_used_bytes_max")?);
        let mut order: Vec<usize> = (0..frame.height()).collect();
        order.sort_by_key(|row| created.get(*row));
        for row in order {
            let (Some(namespace), Some(pod), Some(created)) = (namespaces.get(row), pods.get(row), created.get(row))
            else {
                continue;
            };
            let row = Row {
                name: format!("{namespace}/{pod}"),
                kind: kinds.get(row).unwrap_or(""),
                workload: workloads.get(row),
                namespace,
                node: node_names.get(row),
                created,
                started: started.get(row).or(scheduled.get(row)).unwrap_or(created),
                finished: finished.get(row),
                qos: qos.get(row).unwrap_or(""),
                priority: priority.get(row).unwrap_or(0),
                cpu_request: cpu.get(row).unwrap_or(0.0),
                memory_request: memory.get(row).unwrap_or(0.0),
                gpu_request: gpu.get(row).unwrap_or(0.0),
                cpu_mean: cpu_mean.get(row),
                memory_max: memory_max.get(row),
            };
            self.add(&row, nodes, span, notes);
        }
        Ok(())
    }

    /// Adds a pod, or counts why not.
    fn add(&mut self, row: &Row<'_>, nodes: &MeasuredNodes, (start_ms, end_ms): (i64, i64), notes: &mut Notes) {
        if row.created >= end_ms || row.finished.is_some_and(|finished| finished <= start_ms) {
            return;
        }
        if row.finished.is_some_and(|finished| finished <= row.started) {
            notes.count("left out: pods that ended before they started", 1);
            return;
        }
        let amounts = [row.cpu_request, row.memory_request, row.gpu_request];
        if amounts.iter().any(|amount| !amount.is_finite() || *amount < 0.0) {
            notes.count("left out: pods with a negative or damaged request", 1);
            return;
        }
        let ended = row.finished.unwrap_or(end_ms);
        if self.ends.get(&row.name).is_some_and(|before| *before > row.created.max(start_ms)) {
            notes.count("left out: pods of a name whose earlier life had not ended", 1);
            return;
        }
        self.ends.insert(row.name.clone(), ended);
        let node = row.node.and_then(|name| nodes.find(name));
        if row.node.is_some() && node.is_none() {
            notes.count("left out: pods on nodes without metrics", 1);
            return;
        }
        if row.gpu_request > 0.0 {
            notes.count("pods whose GPU request is not looked at, since the tables have no GPUs of nodes", 1);
        }
        let request = Request::new(
            Cores::from_millicores((row.cpu_request * 1_000.0).round() as u64),
            Bytes::new(row.memory_request as u64),
        );
        let usable = |value: Option<f64>| value.filter(|value| value.is_finite() && *value >= 0.0);
        let cpu_mean = usable(row.cpu_mean).unwrap_or_else(|| {
            notes.count("pods without measured CPU, taken for using half of their request", 1);
            row.cpu_request / 2.0
        });
        let memory = usable(row.memory_max).unwrap_or_else(|| {
            notes.count("pods without measured memory, taken for using half of their request", 1);
            row.memory_request / 2.0
        });
        if let Some(node) = node {
            let first = ((row.started.max(start_ms) - start_ms) / STEP_MS) as usize;
            let last = ((ended.min(end_ms) - start_ms) as u64).div_ceil(STEP_MS as u64) as usize;
            let slots = &mut self.explained[node];
            let last = last.min(slots.len());
            for sums in &mut slots[first.min(last)..last] {
                *sums = (sums.0 + cpu_mean, sums.1 + memory);
            }
        }
        let (workload, arrives_ms) = (self.workload(row), (row.created - start_ms).max(0));
        let runs_ms = row.finished.map(|finished| finished - row.started.max(start_ms)).filter(|_| ended < end_ms);
        self.pods.push(Pod {
            name: row.name.clone(),
            workload,
            // What is bound to its node comes first there and is not evicted; without preemption it could else be locked out.
            priority: match i32::try_from(row.priority).unwrap_or(i32::MAX) {
                priority if is_bound(row.kind) => priority.max(CRITICAL_PRIORITY),
                priority => priority,
            },
            qos: match row.qos {
                "Guaranteed" => QosClass::Guaranteed,
                "BestEffort" => QosClass::BestEffort,
                _ => QosClass::Burstable,
            },
            arrives_ms,
            runs_ms,
            request,
            usage: Usage {
                series: SeriesId(node.unwrap_or(0) as u32),
                shift: 0,
                cpu_milli: (cpu_mean * 1_000.0) as f32,
                memory_bytes: memory as f32,
            },
            recorded: node.map(|node| NodeId(node as u32)),
        });
    }

    /// The workload of a row. DaemonSet and static pods are one workload per node, bound to it.
    fn workload(&mut self, row: &Row<'_>) -> WorkloadId {
        let own = row.workload.unwrap_or(&row.name);
        let bound = is_bound(row.kind).then_some(row.node).flatten();
        let name = match bound {
            Some(node) => format!("{}/{}/{own}@{node}", row.namespace, row.kind),
            None => format!("{}/{}/{own}", row.namespace, row.kind),
        };
        if let Some(known) = self.known.get(&name) {
            return *known;
        }
        let rules = bound.map_or(0, |node| {
            let selector = vec![Label::new("kubernetes.io/hostname", node)];
            let rules = Rules { node_selector: selector, ..Rules::default() };
            let place = self.rules.iter().position(|known| *known == rules).unwrap_or_else(|| {
                self.rules.push(rules);
                self.rules.len() - 1
            });
            place as u32 + 1
        });
        let id = WorkloadId(self.workloads.len() as u32);
        self.workloads.push(Workload { name: name.clone(), rules });
        self.known.insert(name, id);
        id
    }
}
