//! Pods and alerts as kube-state-metrics, cAdvisor and Prometheus itself would have shown them.

use super::nodes::KUBE_STATE;
use super::write::Writer;
use std::collections::HashMap;
use std::io::{self, Write};

/// A pod in a span of time.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportPod<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The controller that owns it directly.
    pub owner_kind: &'a str,
    /// That controller's name.
    pub owner: String,
    /// Its label `app`.
    pub app: &'a str,
    /// Its node.
    pub node: &'a str,
    /// Its node's address.
    pub node_address: &'a str,
    /// Creation.
    pub created: i64,
    /// Binding.
    pub scheduled: i64,
    /// Start of its container.
    pub started: i64,
    /// Quality-of-service class, in lower case.
    pub qos: &'a str,
    /// In cores.
    pub cpu_request: f64,
    /// In bytes.
    pub memory_request: f64,
    /// When it was seen: from its binding until its end.
    pub seen: Vec<i64>,
    /// Scrapes of its container: time, CPU in cores, working set in bytes.
    pub scrapes: Vec<(i64, f64, f64)>,
}

/// An alert on a node in a span of time.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportAlert<'a> {
    /// Its rule.
    pub name: &'a str,
    /// `warning` or `critical`.
    pub severity: &'a str,
    /// The node's name.
    pub node: &'a str,
    /// When it fired.
    pub firing: Vec<i64>,
}

/// The CPU counter of every pod by UID, from file to file: the time of its last scrape and its reading.
pub type PodCounters = HashMap<String, (i64, f64)>;

/// Writes the families of pods.
///
/// # Errors
/// When the output cannot be written.
pub fn write_pods<W: Write>(
    writer: &mut Writer<W>,
    pods: &[ExportPod<'_>],
    counters: &mut PodCounters,
) -> io::Result<()> {
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    let plain: [PodGauge<'_>; 7] = [
        (
            "kube_pod_info",
            "Information about pod.",
            &|pod| {
                vec![
                    ("node", pod.node),
                    ("host_ip", pod.node_address),
                    ("created_by_kind", pod.owner_kind),
                    ("created_by_name", &pod.owner),
                ]
            },
            &|_| 1.0,
        ),
        (
            "kube_pod_owner",
            "Information about the Pod's owner.",
            &|pod| vec![("owner_kind", pod.owner_kind), ("owner_name", &pod.owner), ("owner_is_controller", "true")],
            &|_| 1.0,
        ),
        (
            "kube_pod_labels",
            "Kubernetes labels converted to Prometheus labels.",
            &|pod| vec![("label_app", pod.app)],
            &|_| 1.0,
        ),
        ("kube_pod_created", "Unix creation timestamp", &|_| Vec::new(), &|pod| seconds(pod.created)),
        ("kube_pod_start_time", "Start time in unix timestamp for a pod.", &|_| Vec::new(), &|pod| {
            seconds(pod.started)
        }),
        (
            "kube_pod_status_scheduled_time",
            "Unix timestamp when pod moved into scheduled status",
            &|_| Vec::new(),
            &|pod| seconds(pod.scheduled),
        ),
        ("kube_pod_status_qos_class", "The pods current qosClass.", &|pod| vec![("qos_class", pod.qos)], &|_| 1.0),
    ];
    for (name, help, labels, value) in plain {
        writer.family(name, "gauge", help)?;
        for pod in pods {
            pod_series(writer, name, pod, &labels(pod));
            for ts in &pod.seen {
                writer.sample(*ts, value(pod), 0)?;
            }
        }
    }
    writer.family("kube_pod_status_phase", "gauge", "The pods current phase.")?;
    for pod in pods {
        for phase in ["Pending", "Running", "Succeeded", "Failed", "Unknown"] {
            pod_series(writer, "kube_pod_status_phase", pod, &[("phase", phase)]);
            for ts in &pod.seen {
                let now = if *ts >= pod.started { "Running" } else { "Pending" };
                writer.sample(*ts, f64::from(u8::from(now == phase)), 0)?;
            }
        }
    }
    writer.family(
        "kube_pod_container_resource_requests",
        "gauge",
        "The number of requested request resource by a container.",
    )?;
    for pod in pods {
        for (resource, unit, value, places) in
            [("cpu", "core", pod.cpu_request, 4), ("memory", "byte", pod.memory_request, 0)]
        {
            let labels = [("container", "app"), ("node", pod.node), ("resource", resource), ("unit", unit)];
            pod_series(writer, "kube_pod_container_resource_requests", pod, &labels);
            for ts in &pod.seen {
                writer.sample(*ts, value, places)?;
            }
        }
    }
    write_containers(writer, pods, counters)
}

type PodGauge<'f> = (
    &'static str,
    &'static str,
    &'f dyn for<'p> Fn(&'p ExportPod<'_>) -> Vec<(&'static str, &'p str)>,
    &'f dyn Fn(&ExportPod<'_>) -> f64,
);

fn pod_series<W: Write>(writer: &mut Writer<W>, name: &str, pod: &ExportPod<'_>, labels: &[(&str, &str)]) {
    let own = [("namespace", pod.namespace), ("pod", pod.name), ("uid", pod.uid)];
    writer.series(name, &[own.as_slice(), labels, KUBE_STATE.as_slice()].concat());
}

/// What the kubelet's cAdvisor endpoint shows.
fn write_containers<W: Write>(
    writer: &mut Writer<W>,
    pods: &[ExportPod<'_>],
    counters: &mut PodCounters,
) -> io::Result<()> {
    let series = |writer: &mut Writer<W>, name: &str, pod: &ExportPod<'_>| {
        let instance = format!("{}:10250", pod.node_address);
        let labels = [
            ("container", "app"),
            ("image", "registry.example/app:1"),
            ("namespace", pod.namespace),
            ("pod", pod.name),
            ("node", pod.node),
            ("instance", &instance),
            ("job", "kubelet"),
            ("metrics_path", "/metrics/cadvisor"),
        ];
        writer.series(name, &labels);
    };
    writer.family("container_cpu_usage_seconds", "counter", "Cumulative cpu time consumed in seconds.")?;
    for pod in pods.iter().filter(|pod| !pod.scrapes.is_empty()) {
        series(writer, "container_cpu_usage_seconds_total", pod);
        // A container counts from its start.
        let (last, value) = counters.entry(pod.uid.to_owned()).or_insert((pod.started, 0.0));
        for (ts, cpu, _) in &pod.scrapes {
            *value += cpu * ((ts - *last).max(0) as f64 / 1_000.0).min(86_400.0);
            *last = *ts;
            writer.sample(*ts, *value, 6)?;
        }
    }
    writer.family("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes.")?;
    for pod in pods.iter().filter(|pod| !pod.scrapes.is_empty()) {
        series(writer, "container_memory_working_set_bytes", pod);
        for (ts, _, memory) in &pod.scrapes {
            writer.sample(*ts, *memory, 0)?;
        }
    }
    Ok(())
}

/// Writes Prometheus' own record of alerts.
///
/// # Errors
/// When the output cannot be written.
pub fn write_alerts<W: Write>(writer: &mut Writer<W>, alerts: &[ExportAlert<'_>]) -> io::Result<()> {
    if alerts.is_empty() {
        return Ok(());
    }
    writer.family("ALERTS", "gauge", "Alerts.")?;
    for alert in alerts {
        let labels =
            [("alertname", alert.name), ("alertstate", "firing"), ("node", alert.node), ("severity", alert.severity)];
        writer.series("ALERTS", &labels);
        for ts in &alert.firing {
            writer.sample(*ts, 1.0, 0)?;
        }
    }
    Ok(())
}
