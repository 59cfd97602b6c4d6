//! From exporters' names to the columns of `raw/node_metrics`.

use super::rates::{Counters, Rate};
use super::summary::ImportSummary;
use crate::openmetrics::parse::{Reader, Sample};
use crate::raw::{self, DropReason};
use anyhow::Context;
use chrono::NaiveDate;
use cluster::{NodeMetric, NodeName, NodeSample, grid_floor, is_plausible_moment};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::BufRead;
use store::Store;

/// What several series of one node add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Sum,
    Largest,
}

/// Counters of node_exporter: the metric, the column, how its series join.
const COUNTERS: [(&str, NodeMetric, Join); 8] = [
    ("node_cpu_seconds_total", NodeMetric::CpuUsed, Join::Sum),
    ("node_network_receive_bytes_total", NodeMetric::NetworkReceive, Join::Sum),
    ("node_network_transmit_bytes_total", NodeMetric::NetworkTransmit, Join::Sum),
    ("node_disk_read_bytes_total", NodeMetric::DiskRead, Join::Sum),
    ("node_disk_written_bytes_total", NodeMetric::DiskWrite, Join::Sum),
    ("node_disk_io_time_seconds_total", NodeMetric::DiskIoTime, Join::Largest),
    ("node_pressure_cpu_waiting_seconds_total", NodeMetric::CpuPressure, Join::Sum),
    ("node_pressure_memory_waiting_seconds_total", NodeMetric::MemoryPressure, Join::Sum),
];

/// Modes in which a CPU does nothing for anybody.
const IDLE_MODES: [&str; 3] = ["idle", "iowait", "steal"];
/// Interfaces that carry what a physical one has carried already.
const VIRTUAL_INTERFACES: [&str; 12] =
    ["lo", "veth", "cali", "cni", "flannel", "docker", "br-", "virbr", "tunl", "cilium", "kube-", "vxlan"];
/// Block devices that stand on others.
const VIRTUAL_DISKS: [&str; 5] = ["loop", "ram", "dm-", "md", "sr"];

/// Values that two metrics make together.
#[derive(Debug, Clone, Copy)]
struct Halves {
    memory_total: f64,
    memory_available: f64,
    filesystem_size: f64,
    filesystem_available: f64,
}

impl Default for Halves {
    fn default() -> Self {
        Self {
            memory_total: f64::NAN,
            memory_available: f64::NAN,
            filesystem_size: f64::NAN,
            filesystem_available: f64::NAN,
        }
    }
}

type Rows = BTreeMap<i64, (NodeSample, Halves)>;

/// A pod at a time, as kube-state-metrics tells of it in several families.
#[derive(Debug, Default)]
struct PodSeries {
    node: String,
    running: HashSet<i64>,
    waiting: HashSet<i64>,
    /// Time to requested cores and bytes.
    requested: HashMap<i64, (f64, f64)>,
}

/// Reads files one after the other; counters and names live on from file to file.
pub struct Importer {
    step: i64,
    counters: Counters,
    /// Rows of node_exporter by its `instance`, until the file's end tells whose they are.
    by_instance: HashMap<String, Rows>,
    /// Rows of kube-state-metrics by node name.
    by_node: HashMap<String, Rows>,
    pods: HashMap<String, PodSeries>,
    /// `instance` to `nodename`.
    host_names: HashMap<String, String>,
    /// Address to node name.
    addresses: HashMap<String, String>,
    node_names: BTreeSet<String>,
    /// Finished rows, waiting for their day to be complete.
    days: BTreeMap<NaiveDate, BTreeMap<NodeName, Vec<NodeSample>>>,
    summary: ImportSummary,
}

impl Importer {
    /// `step`: distance of samples in milliseconds; times are rounded down to it.
    pub fn new(step: i64) -> Self {
        Self {
            step,
            counters: Counters::new(step),
            by_instance: HashMap::new(),
            by_node: HashMap::new(),
            pods: HashMap::new(),
            host_names: HashMap::new(),
            addresses: HashMap::new(),
            node_names: BTreeSet::new(),
            days: BTreeMap::new(),
            summary: ImportSummary::default(),
        }
    }

    /// Reads one text to its end.
    ///
    /// # Errors
    /// When the text breaks the format; the message has the line. Nothing of this text is kept then.
    pub fn read(&mut self, input: impl BufRead) -> anyhow::Result<()> {
        let mut reader = Reader::new(input);
        let read = loop {
            match reader.next_sample() {
                Ok(Some(sample)) => self.take(&sample),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let lines = reader.line_number();
        if let Err(error) = read {
            self.by_instance.clear();
            self.by_node.clear();
            self.pods.clear();
            return Err(error).context("no OpenMetrics text");
        }
        self.summary.lines += lines;
        self.summary.files += 1;
        self.join_pods();
        self.name_rows();
        Ok(())
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let line = sample.line;
        let Some(ts) = sample.ts else {
            self.summary.examples.add(DropReason::NoKey, || format!("line {line} has no time"));
            return self.summary.drops.add(DropReason::NoKey);
        };
        if !is_plausible_moment(ts) {
            self.summary.examples.add(DropReason::NotATime, || {
                let seconds = ts as f64 / 1e3;
                let hint = if is_plausible_moment(ts / 1_000) { ", but would be as milliseconds" } else { "" };
                format!("line {line} has the time {seconds}, which is not in the years 2000 to 2199 as the seconds that OpenMetrics counts{hint}")
            });
            return self.summary.drops.add(DropReason::NotATime);
        }
        if sample.name.starts_with("node_") {
            self.take_node_exporter(sample, ts);
        } else if sample.name.starts_with("kube_") {
            self.take_kube_state(sample, grid_floor(ts, self.step));
        } else {
            self.unused(sample.name);
        }
    }

    fn unused(&mut self, name: &str) {
        self.summary.drops.add(DropReason::UnknownMetric);
        match self.summary.unused.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.summary.unused.insert(name.to_owned(), 1)),
        }
    }

    fn take_node_exporter(&mut self, sample: &Sample<'_>, ts: i64) {
        let instance = sample.label("instance");
        let slot = grid_floor(ts, self.step);
        if let Some((_, metric, join)) = COUNTERS.iter().find(|(name, ..)| *name == sample.name) {
            if is_left_out(*metric, sample) {
                return;
            }
            let (device, part) = (sample.label("device"), sample.label("cpu"));
            let rate =
                self.counters.rate(&[sample.name, instance, device, part, sample.label("mode")], ts, sample.value);
            match rate {
                Rate::First => {}
                Rate::Dropped(reason) => self.summary.drops.add(reason),
                Rate::Value(value) | Rate::AfterReset(value) => {
                    if matches!(rate, Rate::AfterReset(_)) {
                        self.summary.drops.add(DropReason::CounterReset);
                    }
                    let (row, _) = row(&mut self.by_instance, instance, slot);
                    let so_far = row.get(*metric);
                    let joined = match join {
                        _ if so_far.is_nan() => value,
                        Join::Sum => so_far + value,
                        Join::Largest => so_far.max(value),
                    };
                    row.set(*metric, joined);
                }
            }
            return;
        }
        if sample.name == "node_uname_info" {
            let name = sample.label("nodename");
            if !name.is_empty() && !self.host_names.contains_key(instance) {
                self.host_names.insert(instance.to_owned(), name.to_owned());
            }
            return;
        }
        if !matches!(
            sample.name,
            "node_memory_MemTotal_bytes"
                | "node_memory_MemAvailable_bytes"
                | "node_load1"
                | "node_boot_time_seconds"
                | "node_filesystem_size_bytes"
                | "node_filesystem_avail_bytes"
        ) {
            return self.unused(sample.name);
        }
        if sample.name.starts_with("node_filesystem") && sample.label("mountpoint") != "/" {
            return;
        }
        if !sample.value.is_finite() {
            return self.summary.drops.add(DropReason::NotFinite);
        }
        let (row, halves) = row(&mut self.by_instance, instance, slot);
        match sample.name {
            "node_memory_MemTotal_bytes" => halves.memory_total = sample.value,
            "node_memory_MemAvailable_bytes" => halves.memory_available = sample.value,
            "node_filesystem_size_bytes" => halves.filesystem_size = sample.value,
            "node_filesystem_avail_bytes" => halves.filesystem_available = sample.value,
            "node_load1" => row.set(NodeMetric::Load1, sample.value),
            _ => row.set(NodeMetric::Uptime, ts as f64 / 1_000.0 - sample.value),
        }
    }

    fn take_kube_state(&mut self, sample: &Sample<'_>, slot: i64) {
        let node = sample.label("node");
        match sample.name {
            "kube_node_info" => {
                self.node_names.insert(node.to_owned());
                self.addresses.insert(sample.label("internal_ip").to_owned(), node.to_owned());
            }
            "kube_node_status_allocatable" => {
                let metric = match sample.label("resource") {
                    "cpu" => NodeMetric::CpuAllocatable,
                    "memory" => NodeMetric::MemoryAllocatable,
                    _ => return,
                };
                row(&mut self.by_node, node, slot).0.set(metric, sample.value);
            }
            "kube_node_status_condition" if sample.label("condition") == "Ready" => {
                if sample.label("status") == "true" {
                    row(&mut self.by_node, node, slot).0.set(NodeMetric::Ready, sample.value);
                }
            }
            "kube_pod_info" => {
                let pod = self.pod(sample);
                if pod.node != node {
                    node.clone_into(&mut pod.node);
                }
            }
            "kube_pod_status_phase" if sample.value == 1.0 => match sample.label("phase") {
                "Running" => drop(self.pod(sample).running.insert(slot)),
                "Pending" => drop(self.pod(sample).waiting.insert(slot)),
                _ => {}
            },
            "kube_pod_container_resource_requests" => {
                let value = sample.value;
                let resource = sample.label("resource").to_owned();
                let requested = self.pod(sample).requested.entry(slot).or_default();
                match resource.as_str() {
                    "cpu" => requested.0 += value,
                    "memory" => requested.1 += value,
                    _ => {}
                }
            }
            "kube_pod_status_phase" | "kube_node_status_condition" => {}
            other => self.unused(other),
        }
    }

    fn pod(&mut self, sample: &Sample<'_>) -> &mut PodSeries {
        let key = format!("{}/{}/{}", sample.label("namespace"), sample.label("pod"), sample.label("uid"));
        self.pods.entry(key).or_default()
    }

    /// Adds the pods up by node. Pods that have ended hold no requests.
    fn join_pods(&mut self) {
        let mut sums: HashMap<(String, i64), (f64, f64, f64)> = HashMap::new();
        for (_, pod) in self.pods.drain().filter(|(_, pod)| !pod.node.is_empty()) {
            for ts in pod.running.union(&pod.waiting) {
                let sum = sums.entry((pod.node.clone(), *ts)).or_default();
                let (cpu, memory) = pod.requested.get(ts).copied().unwrap_or_default();
                sum.0 += f64::from(u8::from(pod.running.contains(ts)));
                sum.1 += cpu;
                sum.2 += memory;
            }
        }
        for ((node, ts), (running, cpu, memory)) in sums {
            let (row, _) = row(&mut self.by_node, &node, ts);
            row.set(NodeMetric::PodsRunning, running);
            row.set(NodeMetric::CpuRequested, cpu);
            row.set(NodeMetric::MemoryRequested, memory);
        }
    }

    /// Finds out whose the rows of the file are, and joins those of both exporters.
    fn name_rows(&mut self) {
        let mut named: BTreeMap<NodeName, BTreeMap<i64, NodeSample>> = BTreeMap::new();
        for (instance, rows) in std::mem::take(&mut self.by_instance) {
            let Some(node) = self.node_of(&instance) else {
                self.summary.drops.add_many(DropReason::UnknownNode, rows.len() as u64);
                *self.summary.unmatched.entry(instance).or_insert(0) += rows.len() as u64;
                continue;
            };
            merge(named.entry(node).or_default(), rows);
        }
        for (node, rows) in std::mem::take(&mut self.by_node) {
            merge(named.entry(NodeName::new(node)).or_default(), rows);
        }
        for (node, rows) in named {
            self.summary.nodes.insert(node.as_str().to_owned());
            for (ts, sample) in rows {
                let day = self.days.entry(store::date_of(ts)).or_default();
                day.entry(node.clone()).or_default().push(sample);
            }
        }
    }

    /// The node that an `instance` is: by its `nodename`, its address, or its own name.
    fn node_of(&self, instance: &str) -> Option<NodeName> {
        let host = instance.rsplit_once(':').map_or(instance, |(host, _)| host);
        let by_host_name = self.host_names.get(instance);
        by_host_name
            .filter(|name| self.node_names.is_empty() || self.node_names.contains(*name))
            .or_else(|| self.addresses.get(host))
            .or_else(|| self.node_names.get(host))
            .or(by_host_name)
            .map(NodeName::new)
    }

    /// Writes days that no later file can add to; `all` writes the rest too.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn write(&mut self, store: &Store, all: bool) -> anyhow::Result<()> {
        while let Some((date, _)) = self.days.first_key_value() {
            let date = *date;
            if !all && self.days.len() == 1 {
                return Ok(());
            }
            if let Some(nodes) = self.days.remove(&date) {
                let written = raw::merge_node_day(store, date, nodes.into_iter().collect())?;
                self.summary.add(date, &written);
            }
        }
        Ok(())
    }

    /// What was done.
    pub fn into_summary(self) -> ImportSummary {
        self.summary
    }
}

/// The row of a key at a time.
fn row<'a>(rows: &'a mut HashMap<String, Rows>, key: &str, ts: i64) -> &'a mut (NodeSample, Halves) {
    if !rows.contains_key(key) {
        rows.insert(key.to_owned(), Rows::new());
    }
    let own = rows.entry(key.to_owned()).or_default();
    own.entry(ts).or_insert_with(|| (NodeSample::empty(ts), Halves::default()))
}

fn merge(into: &mut BTreeMap<i64, NodeSample>, rows: Rows) {
    for (ts, (mut sample, halves)) in rows {
        let used = halves.memory_total - halves.memory_available;
        if !used.is_nan() {
            sample.set(NodeMetric::MemoryUsed, used);
        }
        let free = halves.filesystem_available / halves.filesystem_size;
        if free.is_finite() {
            sample.set(NodeMetric::FilesystemUsed, 1.0 - free);
        }
        let own = into.entry(ts).or_insert_with(|| NodeSample::empty(ts));
        for metric in NodeMetric::ALL {
            if own.get(*metric).is_nan() {
                own.set(*metric, sample.get(*metric));
            }
        }
    }
}

/// Whether a series of the counter counts what others count too, or nothing of use.
fn is_left_out(metric: NodeMetric, sample: &Sample<'_>) -> bool {
    let device = sample.label("device");
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| device.starts_with(prefix));
    match metric {
        NodeMetric::CpuUsed => IDLE_MODES.contains(&sample.label("mode")),
        NodeMetric::NetworkReceive | NodeMetric::NetworkTransmit => begins(&VIRTUAL_INTERFACES),
        NodeMetric::DiskRead | NodeMetric::DiskWrite | NodeMetric::DiskIoTime => begins(&VIRTUAL_DISKS),
        _ => false,
    }
}
