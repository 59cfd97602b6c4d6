//! A whole scenario, checked.

use super::node::{Node, NodeId};
use super::pod::{Pod, PodId, Request, Workload, WorkloadId};
use super::rules::{Rules, Strength};
use super::usage::{Usage, UsageSeries};
use cluster::{Bytes, Cores};
use std::collections::BTreeMap;

/// What must be said beside any figure from a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Notes {
    /// What was assumed where the source is silent, in sentences.
    pub assumptions: Vec<String>,
    /// How many were left out, put right or stand out, by reason.
    pub counts: BTreeMap<String, u64>,
}

impl Notes {
    /// Adds an assumption.
    pub fn assume(&mut self, sentence: impl Into<String>) {
        self.assumptions.push(sentence.into());
    }

    /// Counts `count` cases of `reason`; none are not noted.
    pub fn count(&mut self, reason: &str, count: u64) {
        if count > 0 {
            *self.counts.entry(reason.to_owned()).or_default() += count;
        }
    }
}

/// A scenario that cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Nothing to place on.
    #[error("scenario `{scenario}` has no node. Name a source that has nodes")]
    NoNodes {
        /// Which scenario.
        scenario: String,
    },
    /// Nothing to place.
    #[error("scenario `{scenario}` has no pod. Name a source or a span that has pods")]
    NoPods {
        /// Which scenario.
        scenario: String,
    },
    /// A value that makes no sense.
    #[error("scenario `{scenario}`: {what} `{name}` has {field} {value}, want {wanted}")]
    Value {
        /// Which scenario.
        scenario: String,
        /// `node`, `pod`, `workload` or `scenario`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        wanted: &'static str,
    },
}

/// Nodes, pods and what they use, over a span of time. All times are ms from its start.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name in tables.
    pub name: String,
    /// The start in UTC milliseconds since the epoch, for the axes of charts.
    pub origin_ms: i64,
    /// How long it lasts, in ms.
    pub span_ms: i64,
    /// Distance of usage values, in ms; divides the span of a day.
    pub usage_step_ms: i64,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The pods, by arrival.
    pub pods: Vec<Pod>,
    /// Their workloads.
    pub workloads: Vec<Workload>,
    /// Their rules; the first has none.
    pub rules: Vec<Rules>,
    /// Their usage.
    pub series: Vec<UsageSeries>,
    /// Assumptions and counts.
    pub notes: Notes,
}

impl Scenario {
    /// Sorts the pods by arrival (the order of equals stays) and checks everything that the engine relies on. Pods that
    /// no node can ever hold stay, and are counted in the notes: they will be seen pending.
    ///
    /// # Errors
    /// [`ScenarioError`] that names the thing, its value and the limit.
    pub fn checked(mut self) -> Result<Self, ScenarioError> {
        let scenario = self.name.clone();
        if self.nodes.is_empty() {
            return Err(ScenarioError::NoNodes { scenario });
        }
        if self.pods.is_empty() {
            return Err(ScenarioError::NoPods { scenario });
        }
        self.pods.sort_by_key(|pod| pod.arrives_ms);
        self.check_times()?;
        self.check_nodes()?;
        self.check_pods()?;
        let too_large = self.pods.iter().filter(|pod| !self.fits_somewhere(&pod.request)).count();
        self.notes.count("pods larger than every node", too_large as u64);
        Ok(self)
    }

    fn value_error(
        &self,
        what: &'static str,
        name: &str,
        field: &'static str,
        value: impl ToString,
        wanted: &'static str,
    ) -> ScenarioError {
        let (scenario, name, value) = (self.name.clone(), name.to_owned(), value.to_string());
        ScenarioError::Value { scenario, what, name, field, value, wanted }
    }

    fn check_times(&self) -> Result<(), ScenarioError> {
        let fail = |field, value: i64, wanted| Err(self.value_error("scenario", &self.name, field, value, wanted));
        if self.usage_step_ms <= 0 {
            return fail("a usage step of (ms)", self.usage_step_ms, "more than 0");
        }
        if self.span_ms < self.usage_step_ms {
            return fail("a span of (ms)", self.span_ms, "at least one usage step");
        }
        Ok(())
    }

    fn check_nodes(&self) -> Result<(), ScenarioError> {
        for node in &self.nodes {
            let name = node.name.as_str();
            if node.cpu == Cores::default() || node.memory == Bytes::default() {
                let value = format!("{} and {}", node.cpu, node.memory);
                return Err(self.value_error(
                    "node",
                    name,
                    "allocatable CPU and memory of",
                    value,
                    "more than 0 of each",
                ));
            }
            if usize::from(node.gpus) > crate::engine::MAX_GPUS {
                return Err(self.value_error("node", name, "a GPU count of", node.gpus, "at most 16"));
            }
            if node.leaves_ms.is_some_and(|leaves| leaves <= node.joins_ms) {
                return Err(self.value_error(
                    "node",
                    name,
                    "an end at or before its start",
                    node.joins_ms,
                    "an end after it",
                ));
            }
            if let Some(usage) = &node.baseline {
                self.check_usage("node", name, usage)?;
            }
        }
        Ok(())
    }

    fn check_pods(&self) -> Result<(), ScenarioError> {
        for workload in &self.workloads {
            let Some(rules) = self.rules.get(workload.rules as usize) else {
                return Err(self.value_error("workload", &workload.name, "rules", workload.rules, "rules that exist"));
            };
            for term in &rules.affinity {
                if term.workload.index() >= self.workloads.len() {
                    let value = term.workload.0;
                    return Err(self.value_error(
                        "workload",
                        &workload.name,
                        "affinity to",
                        value,
                        "a workload that exists",
                    ));
                }
                if matches!(term.strength, Strength::Preferred(0 | 101..)) {
                    return Err(self.value_error(
                        "workload",
                        &workload.name,
                        "an affinity weight",
                        "out of range",
                        "1 to 100",
                    ));
                }
            }
            if rules.spread.iter().any(|constraint| constraint.max_skew == 0) {
                return Err(self.value_error("workload", &workload.name, "a max skew of", 0, "at least 1"));
            }
        }
        for pod in &self.pods {
            if pod.workload.index() >= self.workloads.len() {
                return Err(self.value_error("pod", &pod.name, "workload", pod.workload.0, "a workload that exists"));
            }
            if pod.arrives_ms < 0 {
                return Err(self.value_error("pod", &pod.name, "an arrival of (ms)", pod.arrives_ms, "0 or more"));
            }
            if let Some(runs) = pod.runs_ms.filter(|runs| *runs <= 0) {
                return Err(self.value_error("pod", &pod.name, "a running time of (ms)", runs, "more than 0"));
            }
            let Request { gpus, gpu_milli, .. } = pod.request;
            let whole_or_share = (gpus == 0 && gpu_milli == 0)
                || (gpus == 1 && (1..=1_000).contains(&gpu_milli))
                || (gpus > 1 && gpu_milli == 1_000);
            if !whole_or_share {
                let value = format!("{gpus} GPUs of {gpu_milli} thousandths");
                return Err(self.value_error(
                    "pod",
                    &pod.name,
                    "a request of",
                    value,
                    "a share of one GPU, or whole GPUs",
                ));
            }
            self.check_usage("pod", &pod.name, &pod.usage)?;
        }
        Ok(())
    }

    fn check_usage(&self, what: &'static str, name: &str, usage: &Usage) -> Result<(), ScenarioError> {
        if usage.series.0 as usize >= self.series.len() {
            return Err(self.value_error(what, name, "usage series", usage.series.0, "a series that exists"));
        }
        let fine = |scale: f32| scale.is_finite() && scale >= 0.0;
        if !fine(usage.cpu_milli) || !fine(usage.memory_bytes) {
            let value = format!("{} and {}", usage.cpu_milli, usage.memory_bytes);
            return Err(self.value_error(what, name, "usage scales of", value, "finite numbers of at least 0"));
        }
        Ok(())
    }

    /// Whether some node could hold `request` when it is empty.
    pub fn fits_somewhere(&self, request: &Request) -> bool {
        let holds = |node: &Node| {
            node.cpu >= request.cpu && node.memory >= request.memory && node.gpus >= request.gpus && node.max_pods > 0
        };
        self.nodes.iter().any(holds)
    }

    /// A node by its id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// A pod by its id.
    pub fn pod(&self, id: PodId) -> &Pod {
        &self.pods[id.index()]
    }

    /// The rules of a workload's pods.
    pub fn rules_of(&self, workload: WorkloadId) -> &Rules {
        &self.rules[self.workloads[workload.index()].rules as usize]
    }

    /// The slot of the usage grid that `ms` falls into, counted from the start.
    pub fn slot(&self, ms: i64) -> u64 {
        (ms.max(0) / self.usage_step_ms) as u64
    }

    /// CPU allocatable over all nodes, in millicores.
    pub fn total_cpu(&self) -> u64 {
        self.nodes.iter().map(|node| node.cpu.millicores()).sum()
    }

    /// "Such a pod": the median of the CPU requests and the median of the memory requests of the pods without GPU; of
    /// all pods when every pod has one.
    pub fn reference_request(&self) -> Request {
        let plain: Vec<&Pod> = self.pods.iter().filter(|pod| pod.request.gpus == 0).collect();
        let pods: Vec<&Pod> = if plain.is_empty() { self.pods.iter().collect() } else { plain };
        let middle = |mut values: Vec<u64>| {
            values.sort_unstable();
            values[values.len() / 2]
        };
        let cpu = middle(pods.iter().map(|pod| pod.request.cpu.millicores()).collect()).max(1);
        let memory = middle(pods.iter().map(|pod| pod.request.memory.get()).collect()).max(1);
        Request::new(Cores::from_millicores(cpu), Bytes::new(memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cores, gib, node, pod, scenario};

    fn refused(change: impl FnOnce(&mut Scenario)) -> String {
        let mut bad = scenario(vec![node("node-a", "4", 16)], vec![pod("web", "1", 1)]);
        change(&mut bad);
        bad.checked().expect_err("refused").to_string()
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_limit() {
        assert!(refused(|bad| bad.nodes.clear()).contains("no node"));
        assert!(refused(|bad| bad.pods.clear()).contains("no pod"));
        assert!(refused(|bad| bad.nodes[0].cpu = cores("0")).contains("`node-a`"));
        assert!(refused(|bad| bad.pods[0].runs_ms = Some(-5)).contains("-5"));
        assert!(refused(|bad| bad.pods[0].arrives_ms = -1).contains("arrival"));
        assert!(refused(|bad| bad.pods[0].request.gpus = 2).contains("2 GPUs of 0 thousandths"));
        assert!(refused(|bad| bad.pods[0].usage.cpu_milli = f32::NAN).contains("NaN"));
        assert!(refused(|bad| bad.nodes[0].leaves_ms = Some(0)).contains("end"));
        assert!(refused(|bad| bad.usage_step_ms = 0).contains("usage step"));
        assert!(refused(|bad| bad.pods[0].workload = WorkloadId(9)).contains("workload 9"));
    }

    #[test]
    fn a_pod_that_no_node_can_hold_is_counted_and_kept() {
        let large = scenario(vec![node("node-a", "4", 16)], vec![pod("web", "1", 1), pod("huge", "5", 1)]);
        let large = large.checked().expect("a scenario");
        assert_eq!(large.notes.counts["pods larger than every node"], 1);
        assert_eq!(large.pods.len(), 2);
    }

    #[test]
    fn such_a_pod_is_the_median_of_the_requests() {
        let pods = vec![pod("a", "1", 1), pod("b", "2", 8), pod("c", "8", 4)];
        let reference = scenario(vec![node("node-a", "4", 16)], pods).reference_request();
        assert_eq!((reference.cpu, reference.memory), (cores("2"), gib(4)));
    }
}
