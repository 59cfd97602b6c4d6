//! How large what comes may be: the limits of Kubernetes itself, so that nothing real is ever refused, and nothing else costs much.

use crate::kubernetes::{MOST_NAME, Pod, is_dns_label, is_dns_subdomain, is_uid};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Most candidates of a pod: Kubernetes is made for 5,000 nodes, the largest clusters have 15,000.
pub(super) const MOST_CANDIDATES: usize = 20_000;
/// Most bytes of a pod as JSON: the API server's own limit of a request (`MaxRequestBodyBytes`).
const MOST_POD: usize = 3 << 20;
/// Most bytes of all labels, and of all annotations: `TotalAnnotationSizeLimitB` of Kubernetes.
const MOST_LABELS: usize = 256 << 10;
/// Most owners. Nobody has more than a few; Kubernetes sets no limit.
const MOST_OWNERS: usize = 64;

/// A list of at most so many entries: reading ends with an error at the first one more, before there is memory for the rest.
#[derive(Debug)]
pub(super) struct Few<T, const MOST: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries(PhantomData))
    }
}

struct Entries<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Entries<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::custom(format!("the list has more than {MOST} entries, the most that are read")));
            }
            list.push(entry);
        }
        Ok(Few(list))
    }
}

/// The pod, or why it cannot be one that an API server has. Fields that are absent are no error.
pub(super) fn checked_pod(text: &str) -> Result<Pod, String> {
    if text.len() > MOST_POD {
        return Err(format!("`Pod` has {} bytes, more than an API server takes", text.len()));
    }
    let pod: Pod = serde_json::from_str(text).map_err(|error| error.to_string())?;
    // A pod that seems to request nothing fits everywhere.
    pod.requests().map_err(|error| error.to_string())?;
    let (meta, spec) = (&pod.metadata, &pod.spec);
    let checks: [(&str, &str, fn(&str) -> bool); 6] = [
        ("metadata.name", &meta.name, is_harmless),
        ("metadata.namespace", &meta.namespace, is_dns_label),
        ("metadata.uid", &meta.uid, is_uid),
        ("spec.nodeName", &spec.node_name, is_dns_subdomain),
        ("spec.schedulerName", &spec.scheduler_name, is_dns_subdomain),
        ("spec.priorityClassName", &spec.priority_class_name, is_dns_subdomain),
    ];
    if let Some((field, value, _)) = checks.iter().find(|(_, value, is_valid)| !value.is_empty() && !is_valid(value)) {
        let shown: String = value.chars().take(80).collect();
        return Err(format!("`{field}` is not valid: {shown:?}"));
    }
    for (field, map) in [("labels", &meta.labels), ("annotations", &meta.annotations)] {
        let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MOST_LABELS {
            return Err(format!("`metadata.{field}` have {bytes} bytes, more than the {MOST_LABELS} of Kubernetes"));
        }
    }
    let is_name = |text: &str| text.len() <= MOST_NAME && !text.chars().any(char::is_control);
    let owners = &meta.owner_references;
    if owners.len() > MOST_OWNERS || !owners.iter().all(|owner| is_name(&owner.kind) && is_name(&owner.name)) {
        return Err("`metadata.ownerReferences` are not those of a pod".to_owned());
    }
    Ok(pod)
}

/// A name that does no harm wherever it is written. Kubernetes takes less still, and paths at its API are made of nothing else
/// ([`crate::kubernetes::ApiPath`]); but a pod is rather scored than refused for its name.
fn is_harmless(name: &str) -> bool {
    name.len() <= MOST_NAME && !name.chars().any(|letter| letter.is_control() || "/\\?#%".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(pod: &Value) -> Result<Pod, String> {
        checked_pod(&pod.to_string())
    }

    #[test]
    fn a_pod_within_the_limits_of_kubernetes_is_read() {
        let pod = json!({
            "metadata": { "name": "x".repeat(253), "namespace": "n".repeat(63), "uid": "u".repeat(64),
                "labels": { "a": "x".repeat((256 << 10) - 1) }, "ownerReferences": [{ "kind": "Foo.v1", "name": "Web_1" }] },
            "spec": { "schedulerName": "default-scheduler", "priorityClassName": "system-node-critical" },
        });
        checked(&pod).expect("a pod");
        assert_eq!(checked(&json!({})), Ok(Pod::default()));
    }

    #[test]
    fn what_no_api_server_has_is_named() {
        for (metadata, said) in [
            (json!({ "name": "x/../../kube-system/pods/etcd" }), "metadata.name"),
            (json!({ "name": "x".repeat(254) }), "metadata.name"),
            (json!({ "name": "x\u{1b}]0;y" }), "metadata.name"),
            (json!({ "namespace": "../../apis" }), "metadata.namespace"),
            (json!({ "namespace": "n".repeat(64) }), "metadata.namespace"),
            (json!({ "uid": "u".repeat(65) }), "metadata.uid"),
            (json!({ "labels": { "a": "x".repeat(256 << 10) } }), "metadata.labels"),
            (json!({ "annotations": { "a": "x".repeat(256 << 10) } }), "metadata.annotations"),
            (json!({ "ownerReferences": [{ "kind": "Job", "name": "\u{1b}]0;x" }] }), "metadata.ownerReferences"),
            (json!({ "ownerReferences": vec![json!({}); 65] }), "metadata.ownerReferences"),
        ] {
            let error = checked(&json!({ "metadata": metadata })).expect_err(said);
            assert!(error.contains(said) && error.len() < 300, "{error}");
        }
        assert!(
            checked(&json!({ "spec": { "x": "y".repeat(3 << 20) } })).expect_err("large").contains("more than an API")
        );
    }
}
