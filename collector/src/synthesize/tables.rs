//! The made-up pods and incidents as rows of their tables.

use super::incident::Incident;
use super::plan::Plan;
use super::usage::Usage;
use super::workload::Kind;
use anyhow::Context;
use chrono::NaiveDate;
use cluster::{ColumnKind, INCIDENTS, PODS};
use polars::prelude::{
    Column, DataFrame, Float64Chunked, Int64Chunked, IntoSeries, NewChunkedArray, PolarsResult, StringChunked,
};
use std::collections::BTreeMap;
use store::{Store, date_of, polars_type};

/// Name of the parts that the generator writes.
pub const PART: &str = "synthetic";

/// Writes the pods, each into the day of its creation.
///
/// # Errors
/// When the table cannot be written.
pub fn write_pods(store: &Store, plan: &Plan, usage: &BTreeMap<usize, Usage>) -> anyhow::Result<u64> {
    let mut days: BTreeMap<NaiveDate, Vec<usize>> = BTreeMap::new();
    for (pod, life) in plan.pods.iter().enumerate() {
        days.entry(date_of(life.created)).or_default().push(pod);
    }
    for (date, pods) in &days {
        let frame = pod_frame(plan, pods, usage).with_context(|| format!("failed to build the pods of {date}"))?;
        store.write_part(&PODS, *date, PART, &frame)?;
    }
    Ok(plan.pods.len() as u64)
}

fn pod_frame(plan: &Plan, pods: &[usize], usage: &BTreeMap<usize, Usage>) -> PolarsResult<DataFrame> {
    let life = |pod: &usize| &plan.pods[*pod];
    let workload = |pod: &usize| &plan.workloads[plan.pods[*pod].workload];
    let text = |name: &str, values: Vec<Option<&str>>| -> Column {
        StringChunked::from_iter_options(name.into(), values.into_iter()).into_series().into()
    };
    let float = |name: &str, values: Vec<Option<f64>>| -> Column {
        Float64Chunked::from_iter_options(name.into(), values.into_iter()).into_series().into()
    };
    let labels: Vec<String> = pods
        .iter()
        .map(|pod| {
            serde_json::json!({ "app": workload(pod).name, "app.kubernetes.io/part-of": workload(pod).namespace })
                .to_string()
        })
        .collect();
    let used = |pick: &dyn Fn(&Usage, f64) -> Option<f64>| -> Vec<Option<f64>> {
        pods.iter().map(|pod| usage.get(pod).and_then(|usage| pick(usage, workload(pod).cpu_request))).collect()
    };
    let columns = vec![
        text("pod_uid", pods.iter().map(|pod| Some(life(pod).uid.as_str())).collect()),
        text("namespace", pods.iter().map(|pod| Some(workload(pod).namespace)).collect()),
        text("pod", pods.iter().map(|pod| Some(life(pod).name.as_str())).collect()),
        text("workload_kind", pods.iter().map(|pod| Some(workload(pod).controller())).collect()),
        text("workload", pods.iter().map(|pod| Some(workload(pod).name.as_str())).collect()),
        text("node", pods.iter().map(|pod| life(pod).node.map(|node| plan.machines[node].name.as_str())).collect()),
        times("created_at", pods.iter().map(|pod| Some(life(pod).created)).collect())?,
        times("scheduled_at", pods.iter().map(|pod| life(pod).scheduled).collect())?,
        times("started_at", pods.iter().map(|pod| life(pod).started).collect())?,
        times("finished_at", pods.iter().map(|pod| life(pod).finished.filter(|at| *at < plan.end)).collect())?,
        text("phase", pods.iter().map(|pod| Some(phase_at(plan, *pod, plan.end))).collect()),
        text(
            "qos_class",
            pods.iter()
                .map(|pod| Some(if workload(pod).kind == Kind::Database { "Guaranteed" } else { "Burstable" }))
                .collect(),
        ),
        Int64Chunked::from_vec("priority".into(), pods.iter().map(|pod| workload(pod).priority).collect())
            .into_series()
            .into(),
        float("cpu_request_cores", pods.iter().map(|pod| Some(workload(pod).cpu_request)).collect()),
        float("memory_request_bytes", pods.iter().map(|pod| Some(workload(pod).memory_request)).collect()),
        float("gpu_request", vec![Some(0.0); pods.len()]),
        text("labels", labels.iter().map(|labels| Some(labels.as_str())).collect()),
        float("cpu_used_cores_mean", used(&|usage, _| usage.mean())),
        float("cpu_used_cores_p95", used(&|usage, request| usage.p95(request))),
        float("memory_used_bytes_max", used(&|usage, _| usage.memory_max())),
    ];
    DataFrame::new(pods.len(), columns)
}

/// The pod's phase as `ts` shows it.
pub fn phase_at(plan: &Plan, pod: usize, ts: i64) -> &'static str {
    let life = &plan.pods[pod];
    match life.finished {
        Some(at) if at <= ts => life.phase,
        _ if life.started.is_some_and(|at| at <= ts) => "Running",
        _ => "Pending",
    }
}

/// Writes the incidents, each into the day of its start.
///
/// # Errors
/// When the table cannot be written.
pub fn write_incidents(store: &Store, plan: &Plan, incidents: &[Incident]) -> anyhow::Result<u64> {
    let mut days: BTreeMap<NaiveDate, Vec<&Incident>> = BTreeMap::new();
    for incident in incidents {
        days.entry(date_of(incident.start)).or_default().push(incident);
    }
    for (date, incidents) in &days {
        let frame =
            incident_frame(plan, incidents).with_context(|| format!("failed to build the incidents of {date}"))?;
        store.write_part(&INCIDENTS, *date, PART, &frame)?;
    }
    Ok(incidents.len() as u64)
}

fn incident_frame(plan: &Plan, incidents: &[&Incident]) -> PolarsResult<DataFrame> {
    let text = |name: &str, value: &dyn Fn(&Incident) -> String| -> Column {
        StringChunked::from_iter_values(name.into(), incidents.iter().map(|incident| value(incident)))
            .into_series()
            .into()
    };
    let columns = vec![
        text("node", &|incident| plan.machines[incident.node].name.to_string()),
        text("kind", &|incident| incident.fault.kind().to_owned()),
        text("severity", &|incident| incident.fault.severity().to_owned()),
        times("started_at", incidents.iter().map(|incident| Some(incident.start)).collect())?,
        times("ended_at", incidents.iter().map(|incident| Some(incident.end)).collect())?,
        text("source", &|_| "synthetic".to_owned()),
    ];
    DataFrame::new(incidents.len(), columns)
}

fn times(name: &str, values: Vec<Option<i64>>) -> PolarsResult<Column> {
    let values = Int64Chunked::from_iter_options(name.into(), values.into_iter());
    Ok(values.into_series().cast(&polars_type(ColumnKind::Timestamp))?.into())
}
