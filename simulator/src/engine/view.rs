//! What a policy may see: what it would see live, and no more.

use super::account::Account;
use super::habits::Habits;
use super::node_run::NodeRun;
use super::presence::Presence;
use super::telemetry::{Seen, Telemetry};
use crate::world::{Node, NodeId, PodId, QosClass, Request, Rules, Scenario, Topology, WorkloadId};
use features::habit::Habit;
use std::collections::VecDeque;

/// The pod that wants a node. How long it will run and what it will use are not part of it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Which pod.
    pub pod: PodId,
    /// Whose it is.
    pub workload: WorkloadId,
    /// What it requests.
    pub request: Request,
    /// Its quality of service.
    pub qos: QosClass,
    /// Its priority.
    pub priority: i32,
    /// Its affinity, tolerations and spread constraints.
    pub rules: &'a Rules,
}

impl<'a> Ask<'a> {
    pub(super) fn of(scenario: &'a Scenario, pod: PodId) -> Self {
        let spec = scenario.pod(pod);
        Self {
            pod,
            workload: spec.workload,
            request: spec.request,
            qos: spec.qos,
            priority: spec.priority,
            rules: scenario.rules_of(spec.workload),
        }
    }
}

/// A pod that was bound a short while ago.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InFlight {
    /// When, in ms from the start.
    pub at_ms: i64,
    /// Which pod.
    pub pod: PodId,
    /// What it requests.
    pub request: Request,
}

/// The cluster as the scheduler knows it at this moment: requests are known at once, usage only as samples that have
/// arrived.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) now_ms: i64,
    pub(super) scenario: &'a Scenario,
    pub(super) accounts: &'a [Account],
    pub(super) telemetry: &'a Telemetry,
    pub(super) recent: &'a [VecDeque<InFlight>],
    pub(super) presence: &'a [Presence],
    pub(super) drawn_by: &'a [Vec<(WorkloadId, Topology, f64)>],
    pub(super) nodes: &'a [NodeRun],
    pub(super) habits: &'a Habits,
    pub(super) zones: usize,
    pub(super) tainted: bool,
}

impl<'a> View<'a> {
    /// Now, in ms from the start of the scenario.
    pub const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Now, in UTC milliseconds since the epoch: for the hour of the day.
    pub const fn utc_ms(&self) -> i64 {
        self.scenario.origin_ms + self.now_ms
    }

    /// How many nodes the cluster has, those that are not there included.
    pub const fn node_count(&self) -> usize {
        self.accounts.len()
    }

    /// How many zones it has.
    pub const fn zone_count(&self) -> usize {
        self.zones
    }

    /// Whether any node has a taint.
    pub const fn has_taints(&self) -> bool {
        self.tainted
    }

    /// A node's shape, labels and taints.
    pub fn node(&self, id: NodeId) -> &'a Node {
        &self.scenario.nodes[id.index()]
    }

    /// A node's allocatable and requested amounts, right now.
    #[inline]
    pub fn account(&self, id: NodeId) -> &'a Account {
        &self.accounts[id.index()]
    }

    /// What has arrived of a node's usage; `None` before its first sample. A policy answers missing telemetry with a
    /// neutral score, never with "idle".
    #[inline]
    pub fn seen(&self, id: NodeId) -> Option<&'a Seen> {
        self.telemetry.seen(id.index())
    }

    /// Pods that were bound to the node at or after `since_ms` (as far back as two minutes before the newest sample).
    pub fn bound_since(&self, id: NodeId, since_ms: i64) -> impl Iterator<Item = &'a InFlight> {
        self.recent[id.index()].iter().rev().take_while(move |entry| entry.at_ms >= since_ms)
    }

    /// Where the pods of a workload run.
    pub fn presence(&self, workload: WorkloadId) -> &'a Presence {
        &self.presence[workload.index()]
    }

    /// The workloads whose affinity names this one: over what, and how much each of their pods adds to a place, less than 0 to keep away.
    pub fn drawn_by(&self, workload: WorkloadId) -> &'a [(WorkloadId, Topology, f64)] {
        &self.drawn_by[workload.index()]
    }

    /// The pods that run on a node.
    pub fn pods_on(&self, id: NodeId) -> &'a [PodId] {
        &self.nodes[id.index()].pods
    }

    /// Whose a pod is.
    pub fn workload_of(&self, pod: PodId) -> WorkloadId {
        self.scenario.pod(pod).workload
    }

    /// What a pod requests.
    pub fn request_of(&self, pod: PodId) -> Request {
        self.scenario.pod(pod).request
    }

    /// The pod's side of a decision, as it was or would be.
    pub fn ask_of(&self, pod: PodId) -> Ask<'a> {
        Ask::of(self.scenario, pod)
    }

    /// What has arrived of the usage of a workload's pods, and how long they lived. `None` for policies that did not ask
    /// for it ([`crate::policy::Policy::watches_workloads`]).
    pub fn habit(&self, workload: WorkloadId) -> Option<&'a Habit> {
        self.habits.list.get(workload.index())
    }

    /// Mean CPU usage as a share of requests over all pods, by the samples that have arrived.
    pub fn usage_of_requests(&self) -> Option<f64> {
        self.habits.usage_of_requests()
    }

    /// The name of a workload, for policies that know its history.
    pub fn workload_name(&self, workload: WorkloadId) -> &'a str {
        &self.scenario.workloads[workload.index()].name
    }
}
