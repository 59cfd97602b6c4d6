//! The real program, and what it talks to: a `serving` that can be made to misbehave, and an API server that tells what the test
//! wants. (The real API server and the real kube-scheduler are in `deploy/e2e`.)

#![allow(dead_code, unused_imports, reason = "each test file uses its own share")]

mod api;
mod extender;
mod scorer;

pub use api::FakeApi;
pub use extender::Extender;
pub use scorer::{Behaviour, FakeScorer, answer};

use serde_json::{Value, json};

/// What kube-scheduler sends with `nodeCacheCapable: true`.
pub fn ask(pod: &Value, names: &[String]) -> Value {
    json!({ "Pod": pod, "Nodes": null, "NodeNames": names })
}

/// So many names.
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|place| format!("node-{place}")).collect()
}

/// A pod of a Deployment.
pub fn pod(name: &str, workload: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": { "pod-template-hash": "5d9c7" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{workload}-5d9c7"), "controller": true }],
        },
        "spec": {
            "schedulerName": "default-scheduler",
            "containers": [{ "name": "main", "image": "x", "resources": { "requests": { "cpu": "500m", "memory": "256Mi" } } }],
        },
        "status": { "phase": "Pending", "qosClass": "Burstable" },
    })
}

/// The same, bound.
pub fn bound(mut pod: Value, node: &str) -> Value {
    pod["spec"]["nodeName"] = json!(node);
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    pod["status"]["conditions"] = json!([{ "type": "PodScheduled", "status": "True", "lastTransitionTime": now }]);
    pod
}

/// The points of an answer, in its order.
pub fn points(answer: &Value) -> Vec<i64> {
    answer.as_array().expect("a list").iter().map(|it| it["Score"].as_i64().expect("a score")).collect()
}
