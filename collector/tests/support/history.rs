//! A made-up cluster's history as OpenMetrics text with the metric names of the real exporters, and the values that the
//! tables must have for it, from the same formulas.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

pub const STEP: i64 = 30;
const MINUTE: i64 = 60;

/// A history of `nodes` nodes in `[from, to)`, in seconds on the grid of steps.
#[derive(Debug, Clone, Copy)]
pub struct History {
    pub nodes: usize,
    pub from: i64,
    pub to: i64,
}

/// A family's type and its lines.
type Families = BTreeMap<&'static str, (&'static str, String)>;

impl History {
    /// Cores in use during the step that ends at `ts`.
    pub fn cores(&self, node: usize, ts: i64) -> f64 {
        let step = ((ts - self.from) / STEP) as f64;
        1.0 + node as f64 + 0.5 * (step / 40.0).sin()
    }

    /// Bytes in use.
    pub fn memory(&self, node: usize, ts: i64) -> f64 {
        4e9 + node as f64 * 1e9 + ((ts - self.from) / STEP) as f64 * 1e5
    }

    /// Whether node_exporter on the node was scraped: node 1 is silent for ten minutes, longer than rates look back, from minute 60 on,
    /// and for a minute and a half from minute 120 on.
    pub fn is_scraped(&self, node: usize, ts: i64) -> bool {
        let silences = [60 * MINUTE..70 * MINUTE, 120 * MINUTE..120 * MINUTE + 3 * STEP];
        node != 1 || !silences.iter().any(|silence| silence.contains(&(ts - self.from)))
    }

    /// Node 2 is not ready from minute 30 on, for fifteen minutes.
    pub fn is_ready(&self, node: usize, ts: i64) -> bool {
        node != 2 || !(30 * MINUTE..45 * MINUTE).contains(&(ts - self.from))
    }

    /// Writes the text.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.text()).expect("OpenMetrics file");
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut families = Families::new();
        for ts in (self.from..self.to).step_by(STEP as usize) {
            for node in 0..self.nodes {
                self.node_exporter(&mut families, node, ts);
                self.state_of_nodes(&mut families, node, ts);
            }
            self.pods(&mut families, ts);
            if (100 * MINUTE..110 * MINUTE).contains(&(ts - self.from)) {
                let labels = r#"alertname="DiskSlow",alertstate="firing",severity="warning",instance="10.0.0.1:9100""#;
                put(&mut families, "gauge", "ALERTS", "", labels, ts, 1.0);
            }
        }
        let mut text = String::new();
        for (family, (kind, lines)) in families {
            writeln!(text, "# TYPE {family} {kind}\n{}", lines.trim_end()).expect("text");
        }
        text.push_str("# EOF\n");
        text
    }

    fn node_exporter(&self, families: &mut Families, node: usize, ts: i64) {
        if !self.is_scraped(node, ts) {
            return;
        }
        let instance = format!(r#"instance="10.0.0.{node}:9100",job="node-exporter""#);
        let elapsed = (ts - self.from) as f64;
        let busy: f64 =
            (self.from..=ts).step_by(STEP as usize).skip(1).map(|at| self.cores(node, at) * STEP as f64).sum();
        let mut gauge =
            |family, more: &str, value| put(families, "gauge", family, "", &join(&instance, more), ts, value);
        gauge("node_uname_info", &format!(r#"nodename="host-{node}.example.org""#), 1.0);
        gauge("node_load1", "", self.cores(node, ts));
        gauge("node_memory_MemTotal_bytes", "", 64e9);
        gauge("node_memory_MemAvailable_bytes", "", 64e9 - self.memory(node, ts));
        gauge("node_filesystem_size_bytes", r#"mountpoint="/",fstype="ext4",device="/dev/sda1""#, 100e9);
        gauge("node_filesystem_avail_bytes", r#"mountpoint="/",fstype="ext4",device="/dev/sda1""#, 60e9);
        gauge("node_time_seconds", "", ts as f64);
        gauge("node_boot_time_seconds", "", (self.from - 1_000) as f64);
        let mut counter =
            |family, more: &str, value| put(families, "counter", family, "_total", &join(&instance, more), ts, value);
        for cpu in 0..2 {
            counter("node_cpu_seconds", &format!(r#"cpu="{cpu}",mode="user""#), busy / 2.0);
            counter("node_cpu_seconds", &format!(r#"cpu="{cpu}",mode="idle""#), elapsed * 8.0);
            counter("node_cpu_seconds", &format!(r#"cpu="{cpu}",mode="iowait""#), elapsed * 0.1);
        }
        for (device, rate) in [("eth0", 1_000.0), ("lo", 77.0), ("cali1", 99.0)] {
            counter("node_network_receive_bytes", &format!(r#"device="{device}""#), elapsed * rate);
            counter("node_network_transmit_bytes", &format!(r#"device="{device}""#), elapsed * rate * 2.0);
        }
        for (device, rate) in [("sda", 300.0), ("sdb", 200.0), ("dm-0", 500.0)] {
            counter("node_disk_read_bytes", &format!(r#"device="{device}""#), elapsed * rate);
            counter("node_disk_written_bytes", &format!(r#"device="{device}""#), elapsed * rate);
            counter("node_disk_io_time_seconds", &format!(r#"device="{device}""#), elapsed * rate / 1_000.0);
        }
        counter("node_pressure_cpu_waiting_seconds", "", elapsed * 0.05);
        counter("node_pressure_memory_waiting_seconds", "", elapsed * 0.01);
    }

    fn state_of_nodes(&self, families: &mut Families, node: usize, ts: i64) {
        let labels = format!(r#"node="worker-{node}",job="kube-state-metrics",instance="10.9.0.1:8080""#);
        let mut gauge = |family, more: &str, value| put(families, "gauge", family, "", &join(&labels, more), ts, value);
        gauge("kube_node_info", &format!(r#"internal_ip="10.0.0.{node}""#), 1.0);
        gauge("kube_node_status_allocatable", r#"resource="cpu",unit="core""#, 15.5);
        gauge("kube_node_status_allocatable", r#"resource="memory",unit="byte""#, 60e9);
        let ready = self.is_ready(node, ts);
        for (status, value) in [("true", ready), ("false", false), ("unknown", !ready)] {
            gauge(
                "kube_node_status_condition",
                &format!(r#"condition="Ready",status="{status}""#),
                f64::from(u8::from(value)),
            );
            let value = f64::from(u8::from(status == "false"));
            gauge("kube_node_status_condition", &format!(r#"condition="MemoryPressure",status="{status}""#), value);
        }
    }

    /// Two pods of the Deployment `cart` on node 0; the second ends at minute 90.
    fn pods(&self, families: &mut Families, ts: i64) {
        for pod in 0..2 {
            if pod == 1 && ts - self.from >= 90 * MINUTE {
                continue;
            }
            let name = format!(r#"namespace="shop",pod="cart-7f-{pod}""#);
            let labels = format!(r#"{name},uid="uid-{pod}""#);
            let mut gauge =
                |family, more: &str, value| put(families, "gauge", family, "", &join(&labels, more), ts, value);
            gauge("kube_pod_info", r#"node="worker-0",created_by_kind="ReplicaSet",created_by_name="cart-7f""#, 1.0);
            gauge("kube_pod_owner", r#"owner_kind="ReplicaSet",owner_name="cart-7f""#, 1.0);
            gauge("kube_pod_created", "", (self.from - 3_600) as f64);
            gauge("kube_pod_start_time", "", (self.from - 3_590) as f64);
            gauge("kube_pod_status_scheduled_time", "", (self.from - 3_595) as f64);
            for phase in ["Pending", "Running", "Succeeded", "Failed", "Unknown"] {
                gauge("kube_pod_status_phase", &format!(r#"phase="{phase}""#), f64::from(u8::from(phase == "Running")));
            }
            gauge("kube_pod_status_qos_class", r#"qos_class="Burstable""#, 1.0);
            gauge("kube_pod_labels", r#"label_app="cart""#, 1.0);
            for (resource, value) in [("cpu", 0.25), ("memory", 2e8)] {
                let more = format!(r#"container="cart",node="worker-0",resource="{resource}""#);
                gauge("kube_pod_container_resource_requests", &more, value);
            }
            put(
                families,
                "gauge",
                "container_memory_working_set_bytes",
                "",
                &join(&name, r#"container="cart""#),
                ts,
                1e8 + pod as f64,
            );
            let cpu = (ts - self.from) as f64 * 0.2;
            put(
                families,
                "counter",
                "container_cpu_usage_seconds",
                "_total",
                &join(&name, r#"container="cart""#),
                ts,
                cpu,
            );
            put(families, "counter", "container_cpu_usage_seconds", "_total", &join(&name, r#"container="""#), ts, cpu);
        }
        let labels = r#"namespace="shop",replicaset="cart-7f",owner_kind="Deployment",owner_name="cart""#;
        put(families, "gauge", "kube_replicaset_owner", "", labels, ts, 1.0);
    }
}

fn join(labels: &str, more: &str) -> String {
    if more.is_empty() { labels.to_owned() } else { format!("{labels},{more}") }
}

fn put(
    families: &mut Families,
    kind: &'static str,
    family: &'static str,
    suffix: &str,
    labels: &str,
    ts: i64,
    value: f64,
) {
    let (_, lines) = families.entry(family).or_insert_with(|| (kind, String::new()));
    writeln!(lines, "{family}{suffix}{{{labels}}} {value} {ts}").expect("text");
}
