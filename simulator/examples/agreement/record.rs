//! Nodes and pods as the API server gives them, read into a scenario. What the simulator has no word for is counted.

use anyhow::Context;
use cluster::{Bytes, Cores, HOUR_MS, MINUTE_MS};
use serde::Deserialize;
use simulator::world::{
    AffinityTerm, Label, Node, NodeId, Notes, Pod, QosClass, Request, Rules, Scenario, SeriesId, SpreadConstraint,
    Strength, Taint, TaintEffect, Topology, Usage, UsageSeries, Workload, WorkloadId, ZoneId,
};
use std::collections::{BTreeMap, HashMap};

/// What was met and not understood, and how often.
pub type Unread = BTreeMap<String, usize>;

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// The label that names a pod's workload.
const APP: &str = "app";

/// The whole record.
#[derive(Debug, Deserialize)]
pub struct Record {
    nodes: Vec<Object>,
    pods: Vec<Object>,
}

type Map = BTreeMap<String, String>;

/// A node or a pod. Only what counts for placement.
#[derive(Debug, Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: Map,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    taints: Vec<Keyed>,
    node_name: String,
    priority: i32,
    containers: Vec<Container>,
    node_selector: Map,
    tolerations: Vec<Keyed>,
    affinity: Affinity,
    topology_spread_constraints: Vec<Spread>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    allocatable: Map,
}

/// A taint or a toleration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keyed {
    key: String,
    effect: String,
    operator: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    resources: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: Map,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    node_affinity: Terms,
    pod_affinity: Terms,
    pod_anti_affinity: Terms,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Terms {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: serde_json::Value,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    preferred: Vec<Weighted>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Weighted {
    weight: u8,
    preference: Preference,
    pod_affinity_term: Near,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preference {
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Near {
    topology_key: String,
    label_selector: Selector,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    match_labels: Map,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spread {
    max_skew: u32,
    topology_key: String,
    when_unsatisfiable: String,
}

fn topology(key: &str) -> Option<Topology> {
    match key {
        HOSTNAME => Some(Topology::Node),
        ZONE => Some(Topology::Zone),
        _ => None,
    }
}

/// What is gathered on the way.
#[derive(Debug, Default)]
struct Reading {
    workloads: HashMap<String, WorkloadId>,
    names: Vec<String>,
    unread: Unread,
}

impl Reading {
    fn workload(&mut self, name: String) -> WorkloadId {
        let next = WorkloadId(self.names.len() as u32);
        *self.workloads.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            next
        })
    }

    fn unread(&mut self, what: &str) {
        *self.unread.entry(what.to_owned()).or_default() += 1;
    }

    fn rules(&mut self, pod: &Object) -> anyhow::Result<Rules> {
        let spec = &pod.spec;
        let mut rules = Rules {
            node_selector: spec.node_selector.iter().map(|(key, value)| Label::new(key, value)).collect(),
            tolerations: spec.tolerations.iter().map(|toleration| toleration.key.clone()).collect(),
            ..Rules::default()
        };
        if spec.tolerations.iter().any(|it| it.operator != "Exists" && !it.value.is_empty()) {
            self.unread("a toleration of one value");
        }
        if !spec.affinity.node_affinity.required.is_null() {
            self.unread("required node affinity");
        }
        for liked in &spec.affinity.node_affinity.preferred {
            match liked.preference.match_expressions.as_slice() {
                [Expression { key, operator, values }] if operator == "In" && values.len() == 1 => {
                    rules.preferred_labels.push((liked.weight, Label::new(key, &values[0])));
                }
                _ => self.unread("a node preference of several expressions"),
            }
        }
        for (anti, terms) in [(false, &spec.affinity.pod_affinity), (true, &spec.affinity.pod_anti_affinity)] {
            let required: Vec<Near> = match &terms.required {
                serde_json::Value::Null => Vec::new(),
                terms => serde_json::from_value(terms.clone())?,
            };
            let required = required.iter().map(|near| (near, Strength::Required));
            let preferred = terms.preferred.iter().map(|it| (&it.pod_affinity_term, Strength::Preferred(it.weight)));
            for (near, strength) in required.chain(preferred) {
                match (topology(&near.topology_key), near.label_selector.match_labels.get(APP)) {
                    (Some(topology), Some(app)) => {
                        let workload = self.workload(format!("{}/{app}", pod.metadata.namespace));
                        rules.affinity.push(AffinityTerm { workload, topology, anti, strength });
                    }
                    _ => self.unread("an affinity term by other labels or topologies"),
                }
            }
        }
        for spread in &spec.topology_spread_constraints {
            match topology(&spread.topology_key) {
                Some(topology) => rules.spread.push(SpreadConstraint {
                    topology,
                    max_skew: spread.max_skew,
                    hard: spread.when_unsatisfiable == "DoNotSchedule",
                }),
                None => self.unread("a spread constraint over another topology"),
            }
        }
        Ok(rules)
    }
}

fn quantity<T: std::str::FromStr + Default>(map: &Map, key: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    map.get(key).map_or_else(|| Ok(T::default()), |text| text.parse().with_context(|| format!("`{key}`")))
}

fn request(pod: &Object) -> anyhow::Result<Request> {
    let (mut cpu, mut memory) = (0, 0);
    for container in &pod.spec.containers {
        cpu += quantity::<Cores>(&container.resources.requests, "cpu")?.millicores();
        memory += quantity::<Bytes>(&container.resources.requests, "memory")?.get();
    }
    Ok(Request::new(Cores::from_millicores(cpu), Bytes::new(memory)))
}

impl Record {
    /// The scenario in which each pod comes after the one before it, and what could not be read.
    pub fn scenario(&self) -> anyhow::Result<(Scenario, Unread)> {
        let mut reading = Reading::default();
        let mut zones: Vec<&String> = self.nodes.iter().filter_map(|node| node.metadata.labels.get(ZONE)).collect();
        zones.sort();
        zones.dedup();
        let mut nodes = Vec::new();
        for node in &self.nodes {
            let allocatable = &node.status.allocatable;
            let mut shape =
                Node::new(&node.metadata.name, quantity(allocatable, "cpu")?, quantity(allocatable, "memory")?);
            shape.max_pods = allocatable.get("pods").map_or(Ok(Node::MAX_PODS), |pods| pods.parse())?;
            shape.zone = node
                .metadata
                .labels
                .get(ZONE)
                .and_then(|zone| zones.binary_search(&zone).ok())
                .map(|at| ZoneId(at as u16));
            shape.labels = node.metadata.labels.iter().map(|(key, value)| Label::new(key, value)).collect();
            for taint in &node.spec.taints {
                match taint.effect.as_str() {
                    "NoSchedule" => {
                        shape.taints.push(Taint { key: taint.key.clone(), effect: TaintEffect::NoSchedule })
                    }
                    "PreferNoSchedule" => {
                        shape.taints.push(Taint { key: taint.key.clone(), effect: TaintEffect::PreferNoSchedule });
                    }
                    other => reading.unread(&format!("a taint of effect {other}")),
                }
            }
            nodes.push(shape);
        }
        let places: HashMap<&str, NodeId> =
            self.nodes.iter().enumerate().map(|(at, node)| (node.metadata.name.as_str(), NodeId(at as u32))).collect();
        let mut rules = vec![Rules::default()];
        let mut rules_of: HashMap<WorkloadId, u32> = HashMap::new();
        let mut pods = Vec::new();
        for (at, pod) in self.pods.iter().enumerate() {
            let name = pod.metadata.labels.get(APP).unwrap_or(&pod.metadata.name);
            let workload = reading.workload(format!("{}/{name}", pod.metadata.namespace));
            let read = reading.rules(pod).with_context(|| format!("pod `{}`", pod.metadata.name))?;
            let place = rules_of.entry(workload).or_insert_with(|| {
                rules.push(read.clone());
                rules.len() as u32 - 1
            });
            if rules[*place as usize] != read {
                reading.unread("a pod with other rules than its workload");
            }
            let request = request(pod).with_context(|| format!("pod `{}`", pod.metadata.name))?;
            let is_best_effort = request == Request::default();
            let recorded = match pod.spec.node_name.as_str() {
                "" => None,
                node => Some(*places.get(node).with_context(|| {
                    format!("pod `{}` is on `{node}`, which is none of the nodes", pod.metadata.name)
                })?),
            };
            pods.push(Pod {
                name: pod.metadata.name.clone(),
                workload,
                priority: pod.spec.priority,
                qos: if is_best_effort { QosClass::BestEffort } else { QosClass::Burstable },
                arrives_ms: at as i64,
                runs_ms: None,
                request,
                usage: Usage::constant(SeriesId(0), 0.0, 0.0),
                recorded,
            });
        }
        let workloads = reading.names.iter().enumerate().map(|(at, name)| Workload {
            name: name.clone(),
            rules: rules_of.get(&WorkloadId(at as u32)).copied().unwrap_or_default(),
        });
        let scenario = Scenario {
            name: "record".to_owned(),
            origin_ms: 0,
            span_ms: HOUR_MS,
            usage_step_ms: MINUTE_MS,
            workloads: workloads.collect(),
            nodes,
            pods,
            rules,
            series: vec![UsageSeries::constant()],
            notes: Notes::default(),
        };
        Ok((scenario.checked()?, reading.unread))
    }
}
