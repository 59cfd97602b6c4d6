//! Rows of `raw/pods`, merged with those that are there and written by day of creation.

use crate::prometheus::frames::{float, floats, integer, integers, text, texts, time};
use anyhow::Context;
use chrono::NaiveDate;
use cluster::PODS;
use polars::prelude::{DataFrame, PolarsResult};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use store::{Store, date_of};

/// One row of the table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are the columns of `cluster::PODS`, which says what they mean")]
pub struct PodRow {
    pub pod_uid: String,
    pub namespace: String,
    pub pod: String,
    pub workload_kind: Option<String>,
    pub workload: Option<String>,
    pub node: Option<String>,
    pub created_at: i64,
    pub scheduled_at: Option<i64>,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub phase: Option<String>,
    pub qos_class: Option<String>,
    pub priority: Option<i64>,
    pub cpu_request_cores: Option<f64>,
    pub memory_request_bytes: Option<f64>,
    pub gpu_request: Option<f64>,
    pub labels: Option<String>,
    pub cpu_used_cores_mean: Option<f64>,
    pub cpu_used_cores_p95: Option<f64>,
    pub memory_used_bytes_max: Option<f64>,
}

impl PodRow {
    /// What is known from `self`, the rest from `older`. The end of the life is the newer row's word alone: a pod that is
    /// seen again lives.
    pub(super) fn over(self, older: &Self) -> Self {
        let text = |new: Option<String>, old: &Option<String>| new.or_else(|| old.clone());
        Self {
            workload_kind: text(self.workload_kind, &older.workload_kind),
            workload: text(self.workload, &older.workload),
            node: text(self.node, &older.node),
            created_at: older.created_at, // it names the partition, and a life begins once
            scheduled_at: self.scheduled_at.or(older.scheduled_at),
            started_at: self.started_at.or(older.started_at),
            phase: text(self.phase, &older.phase),
            qos_class: text(self.qos_class, &older.qos_class),
            priority: self.priority.or(older.priority),
            cpu_request_cores: self.cpu_request_cores.or(older.cpu_request_cores),
            memory_request_bytes: self.memory_request_bytes.or(older.memory_request_bytes),
            gpu_request: self.gpu_request.or(older.gpu_request),
            labels: text(self.labels, &older.labels),
            cpu_used_cores_mean: self.cpu_used_cores_mean.or(older.cpu_used_cores_mean),
            cpu_used_cores_p95: self.cpu_used_cores_p95.or(older.cpu_used_cores_p95),
            memory_used_bytes_max: self.memory_used_bytes_max.or(older.memory_used_bytes_max),
            ..self
        }
    }
}

/// The days of the table that a run has touched, read when they are first needed.
#[derive(Debug, Default)]
pub struct PodBook {
    days: BTreeMap<NaiveDate, Day>,
}

#[derive(Debug, Default)]
struct Day {
    rows: BTreeMap<String, PodRow>,
    changed: bool,
}

impl PodBook {
    /// Takes in a row. `newer` tells whether it is newer than what the table has.
    ///
    /// # Errors
    /// When a part is damaged.
    pub fn put(&mut self, store: &Store, row: PodRow, newer: bool) -> anyhow::Result<()> {
        let date = date_of(row.created_at);
        let day = match self.days.entry(date) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(empty) => {
                let rows = read_pods(store, date)?.into_iter().map(|row| (row.pod_uid.clone(), row)).collect();
                empty.insert(Day { rows, changed: false })
            }
        };
        let merged = match day.rows.get(&row.pod_uid) {
            Some(there) if newer => row.over(there),
            Some(there) => {
                let finished_at = there.finished_at;
                PodRow { finished_at, ..there.clone().over(&row) }
            }
            None => row,
        };
        if day.rows.get(&merged.pod_uid) != Some(&merged) {
            day.changed = true;
            day.rows.insert(merged.pod_uid.clone(), merged);
        }
        Ok(())
    }

    /// Writes the days that have changed, each whole. Returns how many rows they have.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn save(&mut self, store: &Store) -> anyhow::Result<u64> {
        let mut written = 0;
        for (date, day) in self.days.iter_mut().filter(|(_, day)| day.changed) {
            let doing = || format!("failed to write pods of {date}");
            let all: Vec<&PodRow> = day.rows.values().collect();
            store.replace_day(&PODS, *date, &frame(&all).with_context(doing)?).with_context(doing)?;
            written += all.len() as u64;
            day.changed = false;
        }
        Ok(written)
    }
}

fn frame(rows: &[&PodRow]) -> PolarsResult<DataFrame> {
    let all = || rows.iter();
    DataFrame::new(
        rows.len(),
        vec![
            text("pod_uid", all().map(|row| Some(row.pod_uid.as_str()))),
            text("namespace", all().map(|row| Some(row.namespace.as_str()))),
            text("pod", all().map(|row| Some(row.pod.as_str()))),
            text("workload_kind", all().map(|row| row.workload_kind.as_deref())),
            text("workload", all().map(|row| row.workload.as_deref())),
            text("node", all().map(|row| row.node.as_deref())),
            time("created_at", all().map(|row| Some(row.created_at)))?,
            time("scheduled_at", all().map(|row| row.scheduled_at))?,
            time("started_at", all().map(|row| row.started_at))?,
            time("finished_at", all().map(|row| row.finished_at))?,
            text("phase", all().map(|row| row.phase.as_deref())),
            text("qos_class", all().map(|row| row.qos_class.as_deref())),
            integer("priority", all().map(|row| row.priority)),
            float("cpu_request_cores", all().map(|row| row.cpu_request_cores)),
            float("memory_request_bytes", all().map(|row| row.memory_request_bytes)),
            float("gpu_request", all().map(|row| row.gpu_request)),
            text("labels", all().map(|row| row.labels.as_deref())),
            float("cpu_used_cores_mean", all().map(|row| row.cpu_used_cores_mean)),
            float("cpu_used_cores_p95", all().map(|row| row.cpu_used_cores_p95)),
            float("memory_used_bytes_max", all().map(|row| row.memory_used_bytes_max)),
        ],
    )
}

/// The pods of the table that were created on a day.
///
/// # Errors
/// When a part is damaged.
pub fn read_pods(store: &Store, date: NaiveDate) -> anyhow::Result<Vec<PodRow>> {
    let frame = store.read_day(&PODS, date, &[])?;
    rows(&frame).with_context(|| format!("failed to read pods of {date}"))
}

fn rows(frame: &DataFrame) -> PolarsResult<Vec<PodRow>> {
    let mut rows = vec![PodRow::default(); frame.height()];
    macro_rules! fill {
        ($read:ident, optional: $($optional:ident),* ; needed: $($needed:ident),*) => {
            $(for (row, value) in rows.iter_mut().zip($read(frame, stringify!($optional))?) { row.$optional = value; })*
            $(for (row, value) in rows.iter_mut().zip($read(frame, stringify!($needed))?) { row.$needed = value.unwrap_or_default(); })*
        };
    }
    fill!(texts, optional: workload_kind, workload, node, phase, qos_class, labels; needed: pod_uid, namespace, pod);
    fill!(integers, optional: scheduled_at, started_at, finished_at, priority; needed: created_at);
    fill!(floats, optional: cpu_request_cores, memory_request_bytes, gpu_request, cpu_used_cores_mean, cpu_used_cores_p95, memory_used_bytes_max; needed: );
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> PodRow {
        PodRow {
            pod_uid: uid.into(),
            namespace: "shop".into(),
            pod: format!("cart-{uid}"),
            created_at: 1_000,
            ..PodRow::default()
        }
    }

    fn read(store: &Store) -> Vec<PodRow> {
        rows(&store.read_day(&PODS, NaiveDate::default(), &[]).expect("day")).expect("rows")
    }

    #[test]
    fn a_life_is_one_row_that_is_rewritten_as_it_goes_on() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let mut book = PodBook::default();
        let pending = PodRow { phase: Some("Pending".into()), cpu_request_cores: Some(0.5), ..pod("a") };
        book.put(&store, pending, true).expect("first");
        book.save(&store).expect("saved");
        let mut book = PodBook::default();
        let running = PodRow { phase: Some("Running".into()), node: Some("node-1".into()), ..pod("a") };
        book.put(&store, running.clone(), true).expect("second");
        assert_eq!(book.save(&store).expect("saved"), 1);
        book.put(&store, running, true).expect("again");
        assert_eq!(book.save(&store).expect("nothing new"), 0);
        let all = read(&store);
        assert_eq!(
            all,
            [PodRow {
                phase: Some("Running".into()),
                node: Some("node-1".into()),
                cpu_request_cores: Some(0.5),
                ..pod("a")
            }]
        );
    }

    #[test]
    fn older_history_fills_holes_and_changes_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::new(folder.path());
        let mut book = PodBook::default();
        let finished = PodRow { phase: Some("Succeeded".into()), finished_at: Some(9_000), ..pod("a") };
        book.put(&store, finished, true).expect("newer");
        let older = PodRow { phase: Some("Running".into()), started_at: Some(2_000), ..pod("a") };
        book.put(&store, older, false).expect("older");
        book.save(&store).expect("saved");
        let all = read(&store);
        assert_eq!(
            (all[0].phase.as_deref(), all[0].started_at, all[0].finished_at),
            (Some("Succeeded"), Some(2_000), Some(9_000))
        );
    }
}
