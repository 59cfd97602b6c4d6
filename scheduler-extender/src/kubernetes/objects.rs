//! The few fields of Kubernetes objects that are read here. Objects come from kube-scheduler and from watches alike;
//! fields that are absent, null or unknown are no error, since another version of Kubernetes may have sent them.

use super::resources::{Container, ContainerStatus, ResourceList, Resources};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Null is as good as absent.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// What every object has.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its namespace; empty for nodes.
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    /// Unlike its name, never given twice.
    #[serde(deserialize_with = "or_default")]
    pub uid: String,
    /// The version of a list or of an object.
    #[serde(deserialize_with = "or_default")]
    pub resource_version: String,
    /// Where a list that came in pieces goes on.
    #[serde(rename = "continue", deserialize_with = "or_default")]
    pub continues: String,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// Who owns it.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<Owner>,
}

/// An owner of an object.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Such as `ReplicaSet`.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Whether it is the one that made the object.
    pub controller: Option<bool>,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Who it is.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// What it asks for.
    #[serde(deserialize_with = "or_default")]
    pub spec: PodSpec,
    /// How it does.
    #[serde(deserialize_with = "or_default")]
    pub status: PodStatus,
}

/// What a pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// The node that it is bound to; empty before.
    #[serde(deserialize_with = "or_default")]
    pub node_name: String,
    /// Which profile of the scheduler places it.
    #[serde(deserialize_with = "or_default")]
    pub scheduler_name: String,
    /// Higher goes first.
    pub priority: Option<i64>,
    /// The class that the priority comes from.
    #[serde(deserialize_with = "or_default")]
    pub priority_class_name: String,
    /// Its containers.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// What runs before them, or beside them: those that are restarted always.
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    /// What the runtime class adds.
    #[serde(deserialize_with = "or_default")]
    pub overhead: ResourceList,
    /// Requests of the pod as a whole, which go before the sum of its containers.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
}

/// How a pod does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    /// What has become true of it, and when.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
    /// What its containers have been given.
    #[serde(deserialize_with = "or_default")]
    pub container_statuses: Vec<ContainerStatus>,
    /// The same of its init containers.
    #[serde(deserialize_with = "or_default")]
    pub init_container_statuses: Vec<ContainerStatus>,
}

/// A condition of a pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Such as `PodScheduled`.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "or_default")]
    pub status: String,
    /// Why, in one word.
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    /// Since when.
    pub last_transition_time: Option<chrono::DateTime<chrono::Utc>>,
}

/// A node. What is known of it comes from its metrics; its labels and taints tell whether it can have any.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Who it is.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// What keeps pods away from it.
    #[serde(deserialize_with = "or_default")]
    pub spec: NodeSpec,
}

/// What keeps pods away from a node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Each of them.
    #[serde(deserialize_with = "or_default")]
    pub taints: Vec<Taint>,
}

/// A taint, without its effect.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Such as `node.kubernetes.io/unreachable`.
    #[serde(deserialize_with = "or_default")]
    pub key: String,
    /// May be empty.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
}

/// From here on a priority is that of a system class; see `SystemCriticalPriority` of Kubernetes.
const SYSTEM_PRIORITY: i64 = 2_000_000_000;
/// Marks the API server's picture of a pod that a kubelet runs from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The part of a ReplicaSet's name that its Deployment added.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// A CronJob's jobs are named by their minute since the epoch, which has eight digits until the year 2160.
const CRON_DIGITS: usize = 8;

impl Pod {
    /// Whose it is: `namespace/kind/name`, as metrics tell it. The pod names its direct owner only; the Deployment above a
    /// ReplicaSet and the CronJob above a Job follow from how Kubernetes names them.
    pub fn workload(&self) -> Option<String> {
        let owners = &self.metadata.owner_references;
        let owner = owners.iter().find(|owner| owner.controller == Some(true)).or(owners.first())?;
        let (kind, name) = self.above(owner).unwrap_or((&owner.kind, &owner.name));
        Some(format!("{}/{kind}/{name}", self.metadata.namespace))
    }

    fn above<'a>(&'a self, owner: &'a Owner) -> Option<(&'a str, &'a str)> {
        let (name, suffix) = owner.name.rsplit_once('-')?;
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let hash = self.metadata.labels.get(TEMPLATE_HASH)?;
                (suffix == hash).then_some(("Deployment", name))
            }
            "Job" => {
                let is_minute = suffix.len() >= CRON_DIGITS && suffix.bytes().all(|byte| byte.is_ascii_digit());
                is_minute.then_some(("CronJob", name))
            }
            _ => None,
        }
    }

    /// Whether the cluster itself depends on it, or it has no choice of nodes: then it is left alone.
    pub fn is_exempt(&self) -> bool {
        let owned_by = |kind: &str| self.metadata.owner_references.iter().any(|owner| owner.kind == kind);
        self.spec.priority_class_name.starts_with("system-")
            || self.spec.priority.is_some_and(|priority| priority >= SYSTEM_PRIORITY)
            || owned_by("DaemonSet")
            // A mirror pod's owner is its node.
            || owned_by("Node")
            || self.metadata.annotations.contains_key(MIRROR)
    }

    /// Whether it will use nothing any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// When it was bound, UTC milliseconds, as far as its conditions say.
    pub fn bound_at(&self) -> Option<i64> {
        let scheduled = self.status.conditions.iter().find(|it| it.kind == "PodScheduled" && it.status == "True")?;
        Some(scheduled.last_transition_time?.timestamp_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(value).expect("a pod")
    }

    #[test]
    fn a_workload_is_whoever_made_the_pod() {
        let owned = |kind: &str, name: &str, labels: serde_json::Value| {
            pod(json!({ "metadata": { "namespace": "shop", "labels": labels,
                "ownerReferences": [{ "kind": "Other", "name": "x" }, { "kind": kind, "name": name, "controller": true }] } }))
            .workload()
        };
        for (kind, name, labels, wanted) in [
            ("ReplicaSet", "web-7d4b9", json!({ "pod-template-hash": "7d4b9" }), "shop/Deployment/web"),
            ("ReplicaSet", "web-7d4b9", json!({ "pod-template-hash": "other" }), "shop/ReplicaSet/web-7d4b9"),
            ("ReplicaSet", "bare", json!(null), "shop/ReplicaSet/bare"),
            ("Job", "report-29384400", json!({}), "shop/CronJob/report"),
            ("Job", "report-2", json!({}), "shop/Job/report-2"),
            ("StatefulSet", "db", json!({}), "shop/StatefulSet/db"),
        ] {
            assert_eq!(owned(kind, name, labels).as_deref(), Some(wanted));
        }
        assert_eq!(pod(json!({ "metadata": { "namespace": "shop" } })).workload(), None);
    }

    #[test]
    fn nulls_everywhere_are_no_error() {
        let nothing = pod(json!({ "metadata": null, "spec": null, "status": null }));
        assert_eq!(nothing, Pod::default());
        let nulls = pod(json!({ "metadata": { "name": null, "labels": null, "ownerReferences": null },
            "spec": { "containers": null, "nodeName": null, "priority": null }, "status": { "conditions": null } }));
        assert_eq!(nulls, Pod::default());
    }

    #[test]
    fn what_the_cluster_depends_on_is_exempt() {
        for value in [
            json!({ "spec": { "priorityClassName": "system-node-critical" } }),
            json!({ "spec": { "priority": 2_000_000_000 } }),
            json!({ "metadata": { "ownerReferences": [{ "kind": "DaemonSet", "name": "agent" }] } }),
            json!({ "metadata": { "ownerReferences": [{ "kind": "Node", "name": "n1" }] } }),
            json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "abc" } } }),
        ] {
            assert!(pod(value.clone()).is_exempt(), "{value}");
        }
        assert!(!pod(json!({ "spec": { "priority": 1_000_000_000, "priorityClassName": "high" } })).is_exempt());
    }

    #[test]
    fn the_moment_of_binding_comes_from_the_condition() {
        let condition = |status: &str| json!({ "status": { "conditions": [{ "type": "PodScheduled", "status": status, "lastTransitionTime": "2026-06-01T00:00:01Z" }] } });
        assert_eq!(pod(condition("True")).bound_at(), Some(1_780_272_001_000));
        assert_eq!(pod(condition("False")).bound_at(), None);
    }
}
