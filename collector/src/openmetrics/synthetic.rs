//! The made-up cluster as its exporters would have shown it, pods and alerts included.

use super::export::{FILE_MS, within, write_file};
use super::nodes::{ExportNode, NodeCounters, write_nodes};
use super::pods::{ExportAlert, ExportPod, PodCounters, write_alerts, write_pods};
use crate::synthesize::incident::ALERT_DELAY_MS;
use crate::synthesize::node::{NodeDay, TrackPoint};
use crate::synthesize::plan::Plan;
use crate::synthesize::workload::Kind;
use cluster::DAY_MS;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Writes day after day.
pub struct SyntheticExport<'a> {
    folder: PathBuf,
    plan: &'a Plan,
    nodes: Vec<(ExportNode, NodeCounters)>,
    /// Pods by node, in order of binding.
    pods_of_node: Vec<Vec<usize>>,
    pod_counters: PodCounters,
    files: u64,
}

impl<'a> SyntheticExport<'a> {
    /// Begins with the first day.
    pub fn new(folder: &Path, plan: &'a Plan) -> Self {
        let nodes = plan.machines.iter().map(|machine| {
            let node = ExportNode {
                name: machine.name.to_string(),
                address: machine.address.clone(),
                zone: machine.zone_name.clone(),
                machine_type: machine.machine_type.to_owned(),
                cores: machine.cores,
                memory: machine.memory,
                filesystem: machine.filesystem,
            };
            (node, NodeCounters::default())
        });
        let mut pods_of_node = vec![Vec::new(); plan.machines.len()];
        for (pod, life) in plan.pods.iter().enumerate() {
            if let Some(node) = life.node {
                pods_of_node[node].push(pod);
            }
        }
        Self {
            folder: folder.to_owned(),
            plan,
            nodes: nodes.collect(),
            pods_of_node,
            pod_counters: PodCounters::new(),
            files: 0,
        }
    }

    /// Files written so far.
    pub const fn files(&self) -> u64 {
        self.files
    }

    /// Writes the day that begins at `day`.
    ///
    /// # Errors
    /// When the disk is full or not writable.
    pub fn day(&mut self, day: i64, days: &[NodeDay]) -> anyhow::Result<()> {
        let tracks: HashMap<usize, &[TrackPoint]> =
            days.iter().flat_map(|day| day.tracks.iter().map(|(pod, track)| (*pod, track.as_slice()))).collect();
        for start in (day..day + DAY_MS).step_by(FILE_MS as usize) {
            let pods = self.pods(start, days, &tracks);
            let alerts = self.alerts(start, days);
            let mut readings = Vec::with_capacity(self.nodes.len());
            for ((node, counters), day) in self.nodes.iter_mut().zip(days) {
                readings.push(counters.read(node, within(&day.samples, start)));
            }
            let counters = &mut self.pod_counters;
            write_file(&self.folder, start, |writer| {
                write_nodes(writer, &readings)?;
                write_pods(writer, &pods, counters)?;
                write_alerts(writer, &alerts)
            })?;
            self.files += 1;
        }
        // Ended pods need their counters no more.
        let gone: Vec<&str> = self
            .plan
            .pods
            .iter()
            .filter(|pod| pod.finished.is_some_and(|at| at < day))
            .map(|pod| pod.uid.as_str())
            .collect();
        for uid in gone {
            self.pod_counters.remove(uid);
        }
        Ok(())
    }

    /// The pods of a span. A scrape of their node that the raw table misses is missing here too.
    fn pods(&self, start: i64, days: &[NodeDay], tracks: &HashMap<usize, &[TrackPoint]>) -> Vec<ExportPod<'a>> {
        let plan = self.plan;
        let mut all = Vec::new();
        for (node, pods) in self.pods_of_node.iter().enumerate() {
            let machine = &plan.machines[node];
            for pod in pods {
                let life = &plan.pods[*pod];
                let (Some(scheduled), Some(started)) = (life.scheduled, life.started) else { continue };
                let end = life.finished.unwrap_or(i64::MAX);
                if scheduled >= start + FILE_MS || end <= start {
                    continue;
                }
                let samples = within(&days[node].samples, start).iter();
                let seen: Vec<i64> =
                    samples.map(|sample| sample.ts).filter(|ts| (scheduled..end).contains(ts)).collect();
                if seen.is_empty() {
                    continue;
                }
                let span = start..start + FILE_MS;
                let scrapes =
                    tracks.get(pod).map_or(&[][..], |track| *track).iter().filter(|point| span.contains(&point.ts));
                let workload = &plan.workloads[life.workload];
                let (owner_kind, owner) = owner(workload.kind, &workload.name, &life.name);
                all.push(ExportPod {
                    uid: &life.uid,
                    namespace: workload.namespace,
                    name: &life.name,
                    owner_kind,
                    owner,
                    app: &workload.name,
                    node: machine.name.as_str(),
                    node_address: &machine.address,
                    created: life.created,
                    scheduled,
                    started,
                    qos: if workload.kind == Kind::Database { "Guaranteed" } else { "Burstable" },
                    cpu_request: workload.cpu_request,
                    memory_request: workload.memory_request,
                    seen,
                    scrapes: scrapes.map(|point| (point.ts, point.cpu, point.memory)).collect(),
                });
            }
        }
        all
    }

    /// The alerts of a span: each fires some minutes after its incident began, until the incident's end.
    fn alerts(&self, start: i64, days: &[NodeDay]) -> Vec<ExportAlert<'a>> {
        let plan = self.plan;
        let mut all: Vec<ExportAlert<'a>> = Vec::new();
        for incident in &plan.incidents {
            let fires = (incident.start + ALERT_DELAY_MS).min(incident.end)..incident.end;
            let firing: Vec<i64> = within(&days[incident.node].samples, start)
                .iter()
                .map(|sample| sample.ts)
                .filter(|ts| fires.contains(ts))
                .collect();
            if firing.is_empty() {
                continue;
            }
            let (name, node) = (incident.fault.alert(), plan.machines[incident.node].name.as_str());
            // Two incidents of a kind within one span are one series.
            match all.iter_mut().find(|alert| alert.name == name && alert.node == node) {
                Some(alert) => alert.firing.extend(firing),
                None => all.push(ExportAlert { name, severity: incident.fault.severity(), node, firing }),
            }
        }
        all
    }
}

/// The controller that owns the pod directly: a Deployment's pods belong to a ReplicaSet, a CronJob's to a Job.
fn owner(kind: Kind, workload: &str, pod: &str) -> (&'static str, String) {
    let without_suffix = || pod.rsplit_once('-').map_or(pod, |(front, _)| front).to_owned();
    match kind {
        Kind::Web | Kind::Worker => ("ReplicaSet", without_suffix()),
        Kind::Database => ("StatefulSet", workload.to_owned()),
        Kind::Daemon => ("DaemonSet", workload.to_owned()),
        Kind::Cron | Kind::Batch | Kind::Adhoc => ("Job", without_suffix()),
    }
}
