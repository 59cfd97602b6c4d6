//! Events: what `kubectl describe` shows below an object.

use super::{Api, ApiPath};
use serde_json::json;

/// Where events of objects without a namespace are kept.
const CLUSTER_WIDE: &str = "default";

/// Something to tell about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// `Pod` or `Node`.
    pub kind: &'a str,
    /// The object's namespace; empty for nodes.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID, where it is known: without it, `kubectl describe` does not find the event of a pod.
    pub uid: &'a str,
    /// One word in CamelCase.
    pub reason: &'a str,
    /// Somebody should look.
    pub is_warning: bool,
    /// A sentence.
    pub message: &'a str,
}

impl Api {
    /// Writes an event.
    ///
    /// # Errors
    /// See [`Api::create`]; and when the object's namespace cannot be one.
    pub async fn tell(&self, event: &Event<'_>) -> anyhow::Result<()> {
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let kept_in = if event.namespace.is_empty() { CLUSTER_WIDE } else { event.namespace };
        let mut object = json!({ "apiVersion": "v1", "kind": event.kind, "name": event.name });
        for (key, value) in [("namespace", event.namespace), ("uid", event.uid)] {
            if !value.is_empty() {
                object[key] = json!(value);
            }
        }
        let body = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "generateName": format!("{}.berth-", event.name), "namespace": kept_in },
            "involvedObject": object,
            "reason": event.reason, "type": if event.is_warning { "Warning" } else { "Normal" }, "message": event.message,
            "source": { "component": "berth-scheduler-extender" },
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        });
        self.create(&ApiPath::events(kept_in)?, &body).await?;
        Ok(())
    }
}
