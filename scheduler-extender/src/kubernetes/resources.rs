//! What a pod requests, as kube-scheduler counts it (`PodRequests` of k8s.io/component-helpers): containers and sidecars together, at least
//! what any init container needs, the pod's own requests in their place, and the overhead of its runtime class.

use super::objects::{Pod, or_default};
use cluster::{Bytes, Cores};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// Amounts by resource, such as `cpu`. Other resources than CPU and memory are not read.
pub type ResourceList = BTreeMap<String, Quantity>;

/// A container or an init container.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// What it may use.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
    /// `Always` makes an init container a sidecar, which goes on beside the containers.
    #[serde(deserialize_with = "or_default")]
    pub restart_policy: String,
}

/// Requests of a container or of a pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// By resource. Text as Kubernetes writes it, or a bare number.
    #[serde(deserialize_with = "or_default")]
    pub requests: ResourceList,
}

/// What a container has been given, which differs from its requests while it is resized in place.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Whose it is.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// What the kubelet has set aside for it.
    #[serde(deserialize_with = "or_default")]
    pub allocated_resources: ResourceList,
    /// What it runs with.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
}

/// A quantity as it was sent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// Such as `250m` or `1Gi`.
    Text(String),
    /// Cores or bytes.
    Number(serde_json::Number),
    /// Something else.
    Other(serde::de::IgnoredAny),
}

/// Cores and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Requests {
    /// Of CPU.
    pub cpu_cores: f64,
    /// Of memory.
    pub memory_bytes: f64,
}

/// A request that is not a quantity, with the field that holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not valid: {why}")]
pub struct InvalidRequest {
    field: String,
    why: String,
}

impl Requests {
    fn read(list: &ResourceList, whose: &dyn fmt::Display) -> Result<Self, InvalidRequest> {
        let of = |resource: &str, read: fn(&str) -> Result<f64, cluster::ParseQuantityError>| {
            let invalid = |why: String| InvalidRequest { field: format!("`{resource}` of {whose}"), why };
            match list.get(resource) {
                None => Ok(0.0),
                Some(Quantity::Text(text)) => read(text).map_err(|error| invalid(error.to_string())),
                Some(Quantity::Number(number)) => read(&number.to_string()).map_err(|error| invalid(error.to_string())),
                Some(Quantity::Other(_)) => Err(invalid("it is neither a text nor a number".to_owned())),
            }
        };
        Ok(Self {
            cpu_cores: of("cpu", |text| text.parse::<Cores>().map(Cores::as_f64))?,
            memory_bytes: of("memory", |text| text.parse::<Bytes>().map(Bytes::as_f64))?,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu_cores: self.cpu_cores + other.cpu_cores, memory_bytes: self.memory_bytes + other.memory_bytes }
    }

    fn max(self, other: Self) -> Self {
        Self { cpu_cores: self.cpu_cores.max(other.cpu_cores), memory_bytes: self.memory_bytes.max(other.memory_bytes) }
    }
}

impl Pod {
    /// What it requests altogether.
    ///
    /// # Errors
    /// The first amount that is not a quantity, with its field. Absent ones are none.
    pub fn requests(&self) -> Result<Requests, InvalidRequest> {
        let (spec, status) = (&self.spec, &self.status);
        let mut together = Requests::default();
        for container in &spec.containers {
            together = together.plus(self.counted(container, &status.container_statuses, "container")?);
        }
        // A sidecar goes on; what is started after it, or is done before the containers start, needs room beside it.
        let (mut sidecars, mut starting) = (Requests::default(), Requests::default());
        for init in &spec.init_containers {
            let own = self.counted(init, &status.init_container_statuses, "init container")?;
            if init.restart_policy == "Always" {
                sidecars = sidecars.plus(own);
                starting = starting.max(sidecars);
            } else {
                starting = starting.max(sidecars.plus(own));
            }
        }
        let mut total = together.plus(sidecars).max(starting);
        // Requests of the pod stand in the place of the sum, each resource for itself.
        let whole = Requests::read(&spec.resources.requests, &"the pod")?;
        if spec.resources.requests.contains_key("cpu") {
            total.cpu_cores = whole.cpu_cores;
        }
        if spec.resources.requests.contains_key("memory") {
            total.memory_bytes = whole.memory_bytes;
        }
        Ok(total.plus(Requests::read(&spec.overhead, &"the overhead")?))
    }

    /// What is counted for a container. While it is resized in place that is the most of what is wanted, set aside and in use; a resize that
    /// its node can never grant is not counted.
    fn counted(
        &self,
        container: &Container,
        statuses: &[ContainerStatus],
        kind: &str,
    ) -> Result<Requests, InvalidRequest> {
        let whose = format!("{kind} `{}`", container.name);
        let wanted = Requests::read(&container.resources.requests, &whose)?;
        let is_known = |status: &&ContainerStatus| {
            status.name == container.name
                && !(status.resources.requests.is_empty() && status.allocated_resources.is_empty())
        };
        let Some(status) = statuses.iter().find(is_known) else { return Ok(wanted) };
        let in_use = Requests::read(&status.resources.requests, &format_args!("the status of {whose}"))?;
        let allocated = Requests::read(&status.allocated_resources, &format_args!("the allocation of {whose}"))?;
        let given = in_use.max(allocated);
        Ok(if self.is_resize_infeasible() { given } else { given.max(wanted) })
    }

    fn is_resize_infeasible(&self) -> bool {
        let pending = self.status.conditions.iter().find(|condition| condition.kind == "PodResizePending");
        pending.is_some_and(|condition| condition.reason == "Infeasible")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const MIB: f64 = 1_048_576.0;

    fn requests(pod: Value) -> (f64, f64) {
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let Requests { cpu_cores, memory_bytes } = pod.requests().expect("quantities");
        (cpu_cores, memory_bytes / MIB)
    }

    fn of(cpu: &str, memory: &str) -> Value {
        json!({ "requests": { "cpu": cpu, "memory": memory } })
    }

    fn container(name: &str, cpu: &str, memory: &str) -> Value {
        json!({ "name": name, "resources": of(cpu, memory) })
    }

    fn sidecar(name: &str, cpu: &str, memory: &str) -> Value {
        json!({ "name": name, "restartPolicy": "Always", "resources": of(cpu, memory) })
    }

    #[test]
    fn containers_are_summed() {
        let two =
            [container("a", "250m", "1Gi"), container("b", "1", "1024Ki"), json!({}), json!({ "resources": null })];
        assert_eq!(requests(json!({ "spec": { "containers": two } })), (1.25, 1_025.0));
        let numbers =
            json!({ "resources": { "requests": { "cpu": 1, "memory": 1_048_576, "nvidia.com/gpu": "many" } } });
        assert_eq!(
            requests(json!({ "spec": { "containers": [numbers, container("b", "0.5", "0.5Mi")] } })),
            (1.5, 1.5)
        );
    }

    /// The cases that kube-scheduler's own tests of `PodRequests` tell apart.
    #[test]
    fn sidecars_init_containers_overhead_and_the_pod_s_own_requests_count_as_in_kube_scheduler() {
        let main = container("main", "500m", "256Mi");
        for (spec, wanted) in [
            // A sidecar goes on beside the container.
            (json!({ "initContainers": [sidecar("proxy", "500m", "256Mi")], "containers": [main] }), (1.0, 512.0)),
            // A plain init container is done before: the larger counts, each resource for itself.
            (json!({ "initContainers": [container("migrate", "2", "128Mi")], "containers": [main] }), (2.0, 256.0)),
            // It needs room beside the sidecars before it, and not beside those after it.
            (
                json!({ "initContainers": [sidecar("proxy", "1", "64Mi"), container("migrate", "2", "1Gi")], "containers": [main] }),
                (3.0, 1_088.0),
            ),
            (
                json!({ "initContainers": [container("migrate", "2", "1Gi"), sidecar("proxy", "1", "64Mi")], "containers": [main] }),
                (2.0, 1_024.0),
            ),
            // Two sidecars that together need more than the containers with them: they are with them.
            (
                json!({ "initContainers": [sidecar("a", "1", "1Mi"), sidecar("b", "2", "1Mi")], "containers": [main] }),
                (3.5, 258.0),
            ),
            (json!({ "overhead": { "cpu": "250m", "memory": "160Mi" }, "containers": [main] }), (0.75, 416.0)),
            // Requests of the pod stand in the place of the sum, and the overhead comes on top.
            (json!({ "resources": of("2", "1Gi"), "containers": [{ "name": "a" }, { "name": "b" }] }), (2.0, 1_024.0)),
            (
                json!({ "resources": { "requests": { "cpu": "2" } }, "overhead": { "cpu": "1" }, "containers": [main] }),
                (3.0, 256.0),
            ),
        ] {
            assert_eq!(requests(json!({ "spec": spec })), wanted, "{spec}");
        }
    }

    #[test]
    fn a_pod_that_is_resized_in_place_counts_with_the_most_of_what_it_wants_and_has() {
        let resized = |wanted: &str, allocated: &str, in_use: &str, conditions: Value| {
            requests(json!({ "spec": { "containers": [container("main", wanted, "256Mi")] }, "status": {
                "conditions": conditions,
                "containerStatuses": [{ "name": "main", "allocatedResources": { "cpu": allocated }, "resources": { "requests": { "cpu": in_use } } }],
            } }))
        };
        // Up: what is wanted is counted before it is there. Down: what is there, until it is given back.
        assert_eq!(resized("2", "1", "1", json!([])), (2.0, 256.0));
        assert_eq!(resized("500m", "500m", "1", json!([])), (1.0, 256.0));
        assert_eq!(resized("500m", "2", "1", json!([])), (2.0, 256.0));
        // Its node can never grant it: it stays as it is.
        let never = json!([{ "type": "PodResizePending", "status": "True", "reason": "Infeasible" }]);
        assert_eq!(resized("64", "1", "1", never).0, 1.0);
        let later = json!([{ "type": "PodResizePending", "status": "True", "reason": "Deferred" }]);
        assert_eq!(resized("64", "1", "1", later), (64.0, 256.0));
        // A status that tells nothing of resources.
        let silent = json!({ "spec": { "containers": [container("main", "1", "256Mi")] },
            "status": { "containerStatuses": [{ "name": "main", "ready": true }] } });
        assert_eq!(requests(silent), (1.0, 256.0));
    }

    #[test]
    fn what_is_not_a_quantity_is_named_with_its_field() {
        for (spec, said) in [
            (
                json!({ "containers": [container("main", "lots", "1Gi")] }),
                "`cpu` of container `main` is not valid: `lots`",
            ),
            (
                json!({ "containers": [container("main", "1", "1GB")] }),
                "`memory` of container `main` is not valid: `1GB`",
            ),
            (json!({ "initContainers": [container("a", "-1", "1Gi")] }), "`cpu` of init container `a` is not valid"),
            (json!({ "overhead": { "memory": [1] } }), "`memory` of the overhead is not valid: it is neither"),
            (json!({ "resources": { "requests": { "cpu": "1 " } } }), "`cpu` of the pod is not valid: `1 `"),
        ] {
            let pod: Pod = serde_json::from_value(json!({ "spec": spec })).expect("a pod");
            let error = pod.requests().expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn every_form_of_a_quantity_is_read_and_none_counts_as_nothing() {
        // 1.2Gi as the API server keeps it, exponents, and what the vertical autoscaler writes.
        for (cpu, memory, wanted) in [
            ("500m", "1288490188800m", (0.5, 1_288_490_189.0)),
            ("1e-1", "1e9", (0.1, 1e9)),
            ("5E-1", "2E9", (0.5, 2e9)),
            ("250000u", "107374182400m", (0.25, 107_374_183.0)),
            ("100000000n", "1G", (0.1, 1e9)),
            ("1k", "1Ti", (1_000.0, 1_099_511_627_776.0)),
        ] {
            let (cores, mebibytes) = requests(json!({ "spec": { "containers": [container("main", cpu, memory)] } }));
            assert_eq!((cores, mebibytes * MIB), wanted, "{cpu} {memory}");
        }
    }
}
