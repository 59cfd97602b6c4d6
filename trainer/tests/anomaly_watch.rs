//! A real Prometheus and a real Alertmanager: an incident in the cluster's history fires an alert and, when it is over,
//! resolves it; also across a restart, and while Alertmanager is away.

mod support;

use collector::testing::{PrometheusServer, free_port, load_openmetrics, program};
use detection::testing::AlertmanagerServer;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use support::Root;

const STEP: i64 = 60;
const HOUR: i64 = 3_600;
const NODES: usize = 4;

/// A cluster as the detector learned it, for three days, since long windows compare with the same hour of days before; node 2
/// does not answer for forty minutes near the end, though the cluster counts its pods.
struct Cluster {
    from: i64,
    until: i64,
}

impl Cluster {
    fn until(until: i64) -> Self {
        Self { from: until - 79 * HOUR, until }
    }

    /// First and last second of the incident.
    fn incident(&self) -> (i64, i64) {
        (self.until - 4 * HOUR, self.until - 200 * 60)
    }

    fn is_odd(&self, node: usize, ts: i64) -> bool {
        let (from, until) = self.incident();
        node == 2 && (from..until).contains(&ts)
    }

    /// Cores, bytes and load, by the formulas of the history that was learned from.
    fn values(&self, node: usize, ts: i64) -> (f64, f64, f64) {
        let turn = (ts % 86_400) as f64 / 86_400.0 * std::f64::consts::TAU;
        let noise = (((ts / 300) * 7_919 + node as i64 * 104_729) % 1_009) as f64 / 1_009.0 - 0.5;
        let memory = (0.5 + 0.05 * turn.cos() + 0.02 * noise) * 1e9;
        let used = 8.0 * (0.35 + 0.15 * turn.sin() + 0.08 * noise);
        (used, memory, used + 0.4 * noise)
    }

    fn write(&self, path: &Path) {
        let names = [
            "kube_node_info",
            "kube_node_status_allocatable",
            "node_cpu_seconds",
            "node_load1",
            "node_memory_MemAvailable_bytes",
            "node_memory_MemTotal_bytes",
            "node_uname_info",
            "kube_pod_info",
            "kube_pod_status_phase",
        ];
        let mut lines = vec![String::new(); names.len()];
        let mut busy = [0.0; NODES];
        for ts in (self.from..self.until).step_by(STEP as usize) {
            for (node, busy) in busy.iter_mut().enumerate() {
                let (cores, memory, load) = self.values(node, ts);
                *busy += cores * STEP as f64;
                let instance = format!(r#"instance="10.0.0.{node}:9100",job="node-exporter""#);
                let known = format!(r#"node="node-{node}",job="kube-state-metrics",instance="10.9.0.1:8080""#);
                let mut put = |family: usize, text: String| writeln!(lines[family], "{text} {ts}").expect("text");
                put(0, format!(r#"kube_node_info{{{known},internal_ip="10.0.0.{node}"}} 1"#));
                put(1, format!(r#"kube_node_status_allocatable{{{known},resource="cpu",unit="core"}} 8"#));
                put(1, format!(r#"kube_node_status_allocatable{{{known},resource="memory",unit="byte"}} 1000000000"#));
                let pod = format!(r#"namespace="shop",pod="cart-{node}",uid="uid-{node}""#);
                put(7, format!(r#"kube_pod_info{{{pod},node="node-{node}"}} 1"#));
                put(8, format!(r#"kube_pod_status_phase{{{pod},phase="Running"}} 1"#));
                if self.is_odd(node, ts) {
                    continue;
                }
                put(2, format!(r#"node_cpu_seconds_total{{{instance},cpu="0",mode="user"}} {busy}"#));
                put(2, format!(r#"node_cpu_seconds_total{{{instance},cpu="0",mode="idle"}} {}"#, (ts - self.from) * 4));
                put(3, format!("node_load1{{{instance}}} {load}"));
                put(4, format!("node_memory_MemAvailable_bytes{{{instance}}} {}", 1e9 - memory));
                put(5, format!("node_memory_MemTotal_bytes{{{instance}}} 1000000000"));
                put(6, format!(r#"node_uname_info{{{instance},nodename="node-{node}"}} 1"#));
            }
        }
        let mut text = String::new();
        for (name, lines) in names.iter().zip(lines) {
            let kind = if name.ends_with("seconds") { "counter" } else { "gauge" };
            write!(text, "# TYPE {name} {kind}\n{lines}").expect("text");
        }
        text.push_str("# EOF\n");
        std::fs::write(path, text).expect("written");
    }
}

fn time(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).expect("a time").to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn findings(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn an_incident_fires_an_alert_and_its_end_resolves_it() {
    if program("prometheus").expect("prometheus").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let Some(alertmanager) = AlertmanagerServer::start(&folder.path().join("alertmanager")).expect("alertmanager")
    else {
        return;
    };
    let root = Root::new(true);
    root.ends(0, &["train", "anomaly", "--model-out", "detector", "--json-out", "verdict.json"]);
    root.ends(0, &["register", "--model", "detector", "--validation", "verdict.json"]);

    let cluster = Cluster::until(chrono::Utc::now().timestamp() / 300 * 300 - 600);
    let text = folder.path().join("history.om");
    cluster.write(&text);
    load_openmetrics(&text, folder.path()).expect("loaded");
    let server = PrometheusServer::start(folder.path(), &[]).expect("started");
    let (began, ended) = cluster.incident();
    let (url, alerts) = (server.url(), alertmanager.url());
    let watch = |from: i64, to: i64, alertmanager: &str, summary: &str| {
        let (from, to) = (time(from), time(to));
        let arguments = [
            "anomaly",
            "watch",
            "--prometheus",
            &url,
            "--alertmanager",
            alertmanager,
            "--from",
            &from,
            "--to",
            &to,
            "--every",
            "1m",
            "--warm",
            "72h",
            "--json",
            "--summary-out",
            summary,
        ];
        let (findings, summary) = root.ends(0, &arguments);
        println!("{findings}{summary}");
        findings
    };

    // Half an hour before the incident to its last minutes: one critical alarm, which stands. On nodes as simple as these
    // a cheap threshold warns of noise now and then; nobody is woken for that.
    let said = findings(&watch(began - HOUR / 2, began + 30 * 60, &alerts, "first.json"));
    let is_critical = |change: &&Value| change["change"] == "raised" && change["severity"] == "critical";
    let raised: Vec<&Value> = said.iter().filter(is_critical).collect();
    assert!(!raised.is_empty() && raised.iter().all(|change| change["node"] == "node-2"), "{said:#?}");
    let last = raised[raised.len() - 1];
    // Which type it is depends on the hour: the last reading before the silence is half a slot, and that is odd too.
    let wanted = "quarantine";
    assert_eq!(last["response"], wanted, "{last:#}");
    assert!(!last["finding"]["blame"].as_array().expect("blame").is_empty(), "{last:#}");
    let delay = last["at"].as_i64().expect("a time") / 1_000 - began;
    println!("the incident was told {delay} s after it began");
    assert!((0..=600).contains(&delay), "{delay} s after it began");
    let mut firing = alertmanager.alerts().expect("alerts");
    firing.retain(|alert| alert["labels"]["severity"] == "critical");
    assert!(!firing.is_empty(), "nothing fires");
    for alert in &firing {
        let labels = &alert["labels"];
        assert_eq!((labels["alertname"].as_str(), labels["node"].as_str()), (Some("BerthNodeAnomaly"), Some("node-2")));
        assert_eq!(alert["annotations"]["response"], wanted);
    }

    // Another process goes on, knows the alarm that stands, and ends it when all is well again.
    let said = findings(&watch(began + 30 * 60, cluster.until, &alerts, "second.json"));
    let said: Vec<&Value> = said.iter().filter(|change| change["node"] == "node-2").collect();
    assert!(said.iter().any(|change| change["severity"] == "critical"), "{said:#?}");
    let Some(last) = said.iter().rfind(|change| change["change"] == "cleared") else {
        panic!("not cleared: {said:#?}")
    };
    let cleared = last["at"].as_i64().expect("a time") / 1_000;
    assert!((ended..=cluster.until).contains(&cleared), "cleared {} s after its end", cleared - ended);
    let mut left = alertmanager.alerts().expect("alerts");
    left.retain(|alert| alert["labels"]["severity"] == "critical");
    assert_eq!(left, Vec::<Value>::new(), "it is resolved");
    let summary: Value =
        serde_json::from_slice(&std::fs::read(root.path("second.json")).expect("summary")).expect("JSON");
    assert_eq!(summary["alerts_waiting"].as_u64(), Some(0), "{summary:#}");

    // Alertmanager is away: the findings are printed, the alerts are kept and counted.
    let nobody = format!("http://127.0.0.1:{}", free_port().expect("a port"));
    let said = findings(&watch(began - HOUR / 2, began + 30 * 60, &nobody, "third.json"));
    assert!(said.iter().any(|change| change["change"] == "raised"), "{said:#?}");
    let summary: Value =
        serde_json::from_slice(&std::fs::read(root.path("third.json")).expect("summary")).expect("JSON");
    assert!(
        summary["alert_failures"].as_u64() > Some(0) && summary["alerts_waiting"].as_u64() > Some(0),
        "{summary:#}"
    );
}
