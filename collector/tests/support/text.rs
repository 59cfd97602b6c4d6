//! OpenMetrics text of small clusters, series by series, and ways in which a store comes to hold every series twice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

/// A text in the making: one sample of every series every 30 s in `[from, to)`, seconds.
#[derive(Debug, Clone)]
pub struct Text {
    pub from: i64,
    pub to: i64,
    families: BTreeMap<String, String>,
}

impl Text {
    pub fn new(from: i64, to: i64) -> Self {
        Self { from, to, families: BTreeMap::new() }
    }

    /// A series whose value depends on the seconds since the start; `None`: no sample then.
    pub fn add(&mut self, name: &str, labels: &str, value: impl Fn(i64) -> Option<f64>) -> &mut Self {
        let lines = self.families.entry(name.to_owned()).or_default();
        for ts in (self.from..self.to).step_by(30) {
            if let Some(value) = value(ts - self.from) {
                writeln!(lines, "{name}{{{labels}}} {value} {ts}").expect("text");
            }
        }
        self
    }

    /// A series with one value.
    pub fn gauge(&mut self, name: &str, labels: &str, value: f64) -> &mut Self {
        self.add(name, labels, |_| Some(value))
    }

    /// A counter that gains so much in a second.
    pub fn counter(&mut self, name: &str, labels: &str, rate: f64) -> &mut Self {
        self.add(name, labels, |elapsed| Some(1e6 + rate * elapsed as f64))
    }

    /// What node_exporter shows of a host that is busy with `cores` of two, within a span of seconds since the start.
    pub fn host(&mut self, labels: &str, nodename: &str, cores: f64, alive: Range<i64>) -> &mut Self {
        for cpu in 0..2 {
            for (mode, rate) in [("user", cores / 2.0), ("idle", 1.0 - cores / 2.0)] {
                let labels = format!(r#"{labels},cpu="{cpu}",mode="{mode}""#);
                self.add("node_cpu_seconds_total", &labels, during(&alive, move |elapsed| 1e3 + rate * elapsed as f64));
            }
        }
        self.add("node_uname_info", &format!(r#"{labels},nodename="{nodename}""#), during(&alive, |_| 1.0));
        self.add("node_memory_MemTotal_bytes", labels, during(&alive, |_| 8e9));
        self.add("node_memory_MemAvailable_bytes", labels, during(&alive, move |_| 8e9 - cores * 1e9));
        self.add("node_load1", labels, during(&alive, move |_| cores))
    }

    /// What kube-state-metrics shows of a node.
    pub fn node(&mut self, labels: &str, alive: Range<i64>) -> &mut Self {
        self.add("kube_node_info", labels, during(&alive, |_| 1.0));
        let node = labels.split(r#",internal_ip="#).next().expect("labels").to_owned();
        for (resource, amount) in [("cpu", 2.0), ("memory", 8e9)] {
            let labels = format!(r#"{node},resource="{resource}",unit="x""#);
            self.add("kube_node_status_allocatable", &labels, during(&alive, move |_| amount));
        }
        self
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.families.values().map(String::as_str).chain(["# EOF\n"]).collect()
    }
}

/// A value within a span of seconds since the start, and none outside of it.
pub fn during(alive: &Range<i64>, value: impl Fn(i64) -> f64) -> impl Fn(i64) -> Option<f64> {
    let alive = alive.clone();
    move |elapsed| alive.contains(&elapsed).then(|| value(elapsed))
}

/// A line of a text: name, labels, value, time.
pub struct Line<'a> {
    pub name: &'a str,
    pub labels: &'a str,
    pub value: &'a str,
    pub ts: i64,
}

/// Writes a text anew: each line becomes those that `change` makes of it, each given by its labels and value.
pub fn changed(text: &str, change: impl Fn(&Line<'_>) -> Vec<(String, String)>) -> String {
    let mut families: BTreeMap<&str, String> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once('{').expect("labels");
        let (labels, rest) = rest.rsplit_once("} ").expect("end of labels");
        let (value, ts) = rest.split_once(' ').expect("a time");
        let read = Line { name, labels, value, ts: ts.parse().expect("seconds") };
        let lines = families.entry(name).or_default();
        for (labels, value) in change(&read) {
            writeln!(lines, "{name}{{{labels}}} {value} {ts}").expect("text");
        }
    }
    families.values().map(String::as_str).chain(["# EOF\n"]).collect()
}

/// The labels with another value of one of them, or with that label added.
pub fn with(labels: &str, name: &str, value: &str) -> String {
    let all = labels.strip_suffix('"').map(|labels| labels.split(r#"","#)).into_iter().flatten();
    let kept = all.filter(|label| !label.starts_with(&format!("{name}="))).map(|label| format!("{label}\""));
    kept.chain([format!(r#"{name}="{value}""#)]).collect::<Vec<_>>().join(",")
}
