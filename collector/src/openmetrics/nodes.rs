//! A node's samples as node_exporter and kube-state-metrics would have shown them.

use super::write::Writer;
use cluster::{NodeMetric, NodeSample};
use std::io::{self, Write};

/// What the exporters tell of a node beside its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportNode {
    /// Its Kubernetes name.
    pub name: String,
    /// Its address inside the cluster.
    pub address: String,
    /// Its zone.
    pub zone: String,
    /// Its machine type.
    pub machine_type: String,
    /// Its cores, each with series of its own.
    pub cores: u32,
    /// Its memory in bytes.
    pub memory: f64,
    /// Size of its root filesystem in bytes.
    pub filesystem: f64,
}

impl ExportNode {
    /// node_exporter's `instance`.
    pub fn instance(&self) -> String {
        format!("{}:9100", self.address)
    }
}

/// The counters that a node's exporter keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    Cpu,
    IoWait,
    Idle,
    Receive,
    Transmit,
    Read,
    Write,
    IoTime,
    CpuPressure,
    MemoryPressure,
}

const COUNTERS: usize = 10;

/// The counters of one node, from file to file.
#[derive(Debug, Clone, Default)]
pub struct NodeCounters {
    values: [f64; COUNTERS],
    last_ts: [Option<i64>; COUNTERS],
    last_uptime: f64,
}

/// Samples with the counters' readings beside them.
pub struct Readings<'a> {
    node: &'a ExportNode,
    rows: Vec<(&'a NodeSample, [f64; COUNTERS])>,
}

impl NodeCounters {
    /// Counts on over the samples. A fall of the uptime is a reboot, which sets the counters back.
    pub fn read<'a>(&mut self, node: &'a ExportNode, samples: &'a [NodeSample]) -> Readings<'a> {
        let rows = samples.iter().map(|sample| (sample, self.advance(node, sample))).collect();
        Readings { node, rows }
    }

    fn advance(&mut self, node: &ExportNode, sample: &NodeSample) -> [f64; COUNTERS] {
        let uptime = sample.get(NodeMetric::Uptime);
        if uptime < self.last_uptime {
            *self = Self::default();
        }
        if !uptime.is_nan() {
            self.last_uptime = uptime;
        }
        let mut readings = [f64::NAN; COUNTERS];
        for (place, rate) in rates(node, sample).into_iter().enumerate() {
            if rate.is_nan() {
                continue;
            }
            // Before its first scrape a node has worked at the present rate, for a day at most.
            let seconds = match self.last_ts[place] {
                Some(last) => (sample.ts - last) as f64 / 1_000.0,
                None if uptime.is_nan() => 0.0,
                None => uptime.min(86_400.0),
            };
            self.values[place] += rate * seconds.max(0.0);
            self.last_ts[place] = Some(sample.ts);
            readings[place] = self.values[place];
        }
        readings
    }
}

/// What each counter gains in a second, by [`Counter`].
fn rates(node: &ExportNode, sample: &NodeSample) -> [f64; COUNTERS] {
    let cores = f64::from(node.cores);
    let used = (sample.get(NodeMetric::CpuUsed) / cores).min(1.0);
    // The disk keeps a tenth of a core waiting at most; what is left of the core is idle.
    let io_time = sample.get(NodeMetric::DiskIoTime);
    let waiting = if io_time.is_nan() { 0.0 } else { (io_time * 0.1).min(1.0 - used) };
    [
        used,
        if used.is_nan() { f64::NAN } else { waiting },
        1.0 - used - waiting,
        sample.get(NodeMetric::NetworkReceive),
        sample.get(NodeMetric::NetworkTransmit),
        sample.get(NodeMetric::DiskRead),
        sample.get(NodeMetric::DiskWrite),
        io_time,
        sample.get(NodeMetric::CpuPressure),
        sample.get(NodeMetric::MemoryPressure),
    ]
}

/// A family with one gauge per node.
type Gauge = (&'static str, &'static str, usize, fn(&ExportNode, &NodeSample) -> f64);

const GAUGES: [Gauge; 5] = [
    ("node_memory_MemTotal_bytes", "Memory information field MemTotal_bytes.", 0, |node, sample| {
        known(node.memory, sample, NodeMetric::MemoryUsed)
    }),
    ("node_memory_MemAvailable_bytes", "Memory information field MemAvailable_bytes.", 0, |node, sample| {
        (node.memory - sample.get(NodeMetric::MemoryUsed)).max(0.0)
    }),
    ("node_load1", "1m load average.", 2, |_, sample| sample.get(NodeMetric::Load1)),
    ("node_boot_time_seconds", "Node boot time, in unixtime.", 0, |_, sample| {
        sample.ts as f64 / 1_000.0 - sample.get(NodeMetric::Uptime)
    }),
    ("node_time_seconds", "System time in seconds since epoch (1970).", 3, |_, sample| {
        known(sample.ts as f64 / 1_000.0, sample, NodeMetric::CpuUsed)
    }),
];

/// `value`, or missing where `metric` is, so that a machine that is down shows nothing.
fn known(value: f64, sample: &NodeSample, metric: NodeMetric) -> f64 {
    if sample.get(metric).is_nan() { f64::NAN } else { value }
}

/// Writes all families of node_exporter and those of kube-state-metrics that are about nodes.
///
/// # Errors
/// When the output cannot be written.
pub fn write_nodes<W: Write>(writer: &mut Writer<W>, nodes: &[Readings<'_>]) -> io::Result<()> {
    write_cpu(writer, nodes)?;
    for (name, help, places, pick) in GAUGES {
        writer.family(name, "gauge", help)?;
        for readings in nodes {
            let instance = readings.node.instance();
            writer.series(name, &[("instance", &instance), ("job", "node-exporter")]);
            for (sample, _) in &readings.rows {
                writer.sample(sample.ts, pick(readings.node, sample), places)?;
            }
        }
    }
    write_uname(writer, nodes)?;
    write_filesystem(writer, nodes)?;
    for (family, help, places, label, counter) in DEVICE_COUNTERS {
        writer.family(family, "counter", help)?;
        let name = format!("{family}_total");
        for readings in nodes {
            let instance = readings.node.instance();
            let mut labels = vec![("instance", instance.as_str()), ("job", "node-exporter")];
            labels.extend(label);
            writer.series(&name, &labels);
            for (sample, counters) in &readings.rows {
                writer.sample(sample.ts, counters[counter as usize], places)?;
            }
        }
    }
    write_kube(writer, nodes)
}

type Label = (&'static str, &'static str);
type DeviceCounter = (&'static str, &'static str, usize, Option<Label>, Counter);

const DEVICE_COUNTERS: [DeviceCounter; 7] = [
    (
        "node_network_receive_bytes",
        "Network device statistic receive_bytes.",
        0,
        Some(("device", "eth0")),
        Counter::Receive,
    ),
    (
        "node_network_transmit_bytes",
        "Network device statistic transmit_bytes.",
        0,
        Some(("device", "eth0")),
        Counter::Transmit,
    ),
    (
        "node_disk_read_bytes",
        "The total number of bytes read successfully.",
        0,
        Some(("device", "nvme0n1")),
        Counter::Read,
    ),
    (
        "node_disk_written_bytes",
        "The total number of bytes written successfully.",
        0,
        Some(("device", "nvme0n1")),
        Counter::Write,
    ),
    ("node_disk_io_time_seconds", "Total seconds spent doing I/Os.", 3, Some(("device", "nvme0n1")), Counter::IoTime),
    (
        "node_pressure_cpu_waiting_seconds",
        "Total time in seconds that processes have waited for CPU time",
        6,
        None,
        Counter::CpuPressure,
    ),
    (
        "node_pressure_memory_waiting_seconds",
        "Total time in seconds that processes have waited for memory",
        6,
        None,
        Counter::MemoryPressure,
    ),
];

/// Every core has a series per mode, as the kernel counts them. Used time is three parts user, one part system.
fn write_cpu<W: Write>(writer: &mut Writer<W>, nodes: &[Readings<'_>]) -> io::Result<()> {
    writer.family("node_cpu_seconds", "counter", "Seconds the CPUs spent in each mode.")?;
    let modes = [
        ("idle", Counter::Idle, 1.0),
        ("iowait", Counter::IoWait, 1.0),
        ("system", Counter::Cpu, 0.25),
        ("user", Counter::Cpu, 0.75),
    ];
    for readings in nodes {
        let instance = readings.node.instance();
        for core in 0..readings.node.cores {
            let core = core.to_string();
            for (mode, counter, share) in modes {
                writer.series(
                    "node_cpu_seconds_total",
                    &[("cpu", &core), ("mode", mode), ("instance", &instance), ("job", "node-exporter")],
                );
                for (sample, counters) in &readings.rows {
                    writer.sample(sample.ts, counters[counter as usize] * share, 3)?;
                }
            }
        }
    }
    Ok(())
}

fn write_uname<W: Write>(writer: &mut Writer<W>, nodes: &[Readings<'_>]) -> io::Result<()> {
    writer.family("node_uname_info", "gauge", "Labeled system information as provided by the uname system call.")?;
    for readings in nodes {
        let instance = readings.node.instance();
        let labels = [
            ("nodename", readings.node.name.as_str()),
            ("sysname", "Linux"),
            ("machine", "x86_64"),
            ("instance", &instance),
            ("job", "node-exporter"),
        ];
        writer.series("node_uname_info", &labels);
        for (sample, _) in &readings.rows {
            writer.sample(sample.ts, known(1.0, sample, NodeMetric::CpuUsed), 0)?;
        }
    }
    Ok(())
}

fn write_filesystem<W: Write>(writer: &mut Writer<W>, nodes: &[Readings<'_>]) -> io::Result<()> {
    let free: fn(f64) -> f64 = |used| 1.0 - used;
    let all: fn(f64) -> f64 = |used| if used.is_nan() { used } else { 1.0 };
    for (name, help, share) in [
        ("node_filesystem_size_bytes", "Filesystem size in bytes.", all),
        ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", free),
    ] {
        writer.family(name, "gauge", help)?;
        for readings in nodes {
            let instance = readings.node.instance();
            let labels = [
                ("device", "/dev/nvme0n1p1"),
                ("fstype", "ext4"),
                ("mountpoint", "/"),
                ("instance", &instance),
                ("job", "node-exporter"),
            ];
            writer.series(name, &labels);
            for (sample, _) in &readings.rows {
                writer.sample(
                    sample.ts,
                    share(sample.get(NodeMetric::FilesystemUsed)) * readings.node.filesystem,
                    0,
                )?;
            }
        }
    }
    Ok(())
}

/// Labels that kube-state-metrics puts on every series.
pub const KUBE_STATE: [(&str, &str); 2] = [("instance", "10.1.0.9:8080"), ("job", "kube-state-metrics")];

fn write_kube<W: Write>(writer: &mut Writer<W>, nodes: &[Readings<'_>]) -> io::Result<()> {
    let series = |writer: &mut Writer<W>, name: &str, labels: &[(&str, &str)]| {
        writer.series(name, &[labels, KUBE_STATE.as_slice()].concat())
    };
    writer.family("kube_node_info", "gauge", "Information about a cluster node.")?;
    for readings in nodes {
        series(writer, "kube_node_info", &[("node", &readings.node.name), ("internal_ip", &readings.node.address)]);
        for (sample, _) in &readings.rows {
            writer.sample(sample.ts, 1.0, 0)?;
        }
    }
    writer.family("kube_node_labels", "gauge", "Kubernetes labels converted to Prometheus labels.")?;
    for readings in nodes {
        let labels = [
            ("node", readings.node.name.as_str()),
            ("label_node_kubernetes_io_instance_type", &readings.node.machine_type),
            ("label_topology_kubernetes_io_zone", &readings.node.zone),
        ];
        series(writer, "kube_node_labels", &labels);
        for (sample, _) in &readings.rows {
            writer.sample(sample.ts, 1.0, 0)?;
        }
    }
    let resources =
        [("cpu", "core", NodeMetric::CpuAllocatable, 4), ("memory", "byte", NodeMetric::MemoryAllocatable, 0)];
    writer.family(
        "kube_node_status_allocatable",
        "gauge",
        "The allocatable for different resources of a node that are available for scheduling.",
    )?;
    for readings in nodes {
        for (resource, unit, metric, places) in resources {
            series(
                writer,
                "kube_node_status_allocatable",
                &[("node", &readings.node.name), ("resource", resource), ("unit", unit)],
            );
            for (sample, _) in &readings.rows {
                writer.sample(sample.ts, sample.get(metric), places)?;
            }
        }
    }
    writer.family("kube_node_status_condition", "gauge", "The condition of a cluster node.")?;
    // A node whose kubelet is silent is neither ready nor not ready: its condition is unknown.
    let statuses: [(&str, fn(f64) -> f64); 3] =
        [("true", |ready| ready), ("false", |ready| ready * 0.0), ("unknown", |ready| 1.0 - ready)];
    for readings in nodes {
        for (status, value) in statuses {
            let labels = [("node", readings.node.name.as_str()), ("condition", "Ready"), ("status", status)];
            series(writer, "kube_node_status_condition", &labels);
            for (sample, _) in &readings.rows {
                writer.sample(sample.ts, value(sample.get(NodeMetric::Ready)), 0)?;
            }
        }
    }
    Ok(())
}
