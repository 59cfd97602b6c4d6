//! Whose pods are answered with scores.

use crate::kubernetes::Pod;
use crate::rules::{Mode, Rules};

/// Leaves a pod alone, whatever the rules say, where its value is `true`.
pub const OPT_OUT: &str = "berth.io/opt-out";

/// Why an answer is neutral.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Neutral {
    /// Influence is stopped by hand.
    Killed,
    /// The pod cannot be read.
    BadPod,
    /// The cluster depends on the pod, or it has no choice of nodes.
    Exempt,
    /// Its annotation says so.
    OptedOut,
    /// The rules leave it out.
    OutOfScope,
    /// The mode is shadow.
    Shadow,
    /// Its workload is not in the canary's share.
    NotInCanary,
    /// The state is fallback.
    Fallback,
    /// No time was left.
    Deadline,
    /// The scores could not be worked out.
    Failed,
    /// Nothing is known of any candidate.
    NothingKnown,
}

impl Neutral {
    /// As in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::BadPod => "bad_pod",
            Self::Exempt => "exempt",
            Self::OptedOut => "opted_out",
            Self::OutOfScope => "out_of_scope",
            Self::Shadow => "shadow",
            Self::NotInCanary => "not_in_canary",
            Self::Fallback => "fallback",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
            Self::NothingKnown => "nothing_known",
        }
    }
}

/// What to do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Neutral, and nothing is computed.
    Stand(Neutral),
    /// Neutral at once; scores are computed afterwards, to be kept and compared.
    Watch(Neutral),
    /// Scores.
    Act,
}

/// What the rules say of a pod.
pub fn course(pod: &Pod, rules: &Rules) -> Course {
    if pod.is_exempt() {
        return Course::Stand(Neutral::Exempt);
    }
    if pod.metadata.annotations.get(OPT_OUT).is_some_and(|value| value == "true") {
        return Course::Stand(Neutral::OptedOut);
    }
    if !is_in_scope(pod, rules) {
        return Course::Stand(Neutral::OutOfScope);
    }
    match rules.mode {
        Mode::Shadow => Course::Watch(Neutral::Shadow),
        Mode::Active => Course::Act,
        Mode::Canary if share_of(&identity(pod)) < rules.percent / 100.0 => Course::Act,
        Mode::Canary => Course::Watch(Neutral::NotInCanary),
    }
}

fn is_in_scope(pod: &Pod, rules: &Rules) -> bool {
    let (scope, meta) = (&rules.scope, &pod.metadata);
    let has = |(name, value): (&String, &String)| meta.labels.get(name) == Some(value);
    let within = |list: &[String], name: &String| list.is_empty() || list.contains(name);
    within(&scope.namespaces, &meta.namespace)
        && !scope.exclude_namespaces.contains(&meta.namespace)
        && scope.labels.iter().all(has)
        && !scope.exclude_labels.iter().any(has)
        && within(&scope.scheduler_names, &pod.spec.scheduler_name)
}

/// All pods of a workload go the same way; a pod without one is its own.
fn identity(pod: &Pod) -> String {
    pod.workload().unwrap_or_else(|| format!("{}/Pod/{}", pod.metadata.namespace, pod.metadata.name))
}

/// A place in 0..1 that follows from the name alone: the same on every replica and after every restart, and a workload that is in a
/// share stays in every larger one.
pub fn share_of(name: &str) -> f64 {
    let digest = runtime::files::sha256(name.as_bytes());
    let leading = u32::from_str_radix(&digest[..8], 16).unwrap_or(u32::MAX);
    f64::from(leading) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(metadata: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "schedulerName": "default-scheduler" } }))
            .expect("a pod")
    }

    fn active(rules: Rules) -> Rules {
        Rules { mode: Mode::Active, ..rules }
    }

    #[test]
    fn a_share_is_stable_and_of_the_stated_size() {
        // The first eight hex digits of the SHA-256 of "abc" are ba7816bf (FIPS 180-4).
        assert!((share_of("abc") - 0xba78_16bf_u32 as f64 / 4_294_967_296.0).abs() < 1e-12);
        let workloads: Vec<String> = (0..10_000).map(|place| format!("shop/Deployment/app-{place}")).collect();
        let within = |share: f64| workloads.iter().filter(|name| share_of(name) < share).count();
        // 10,000 draws at 10 %: three standard deviations are 90.
        assert!((within(0.1) as i64 - 1_000).abs() < 90, "{}", within(0.1));
        assert_eq!((within(0.0), within(1.0)), (0, 10_000));
    }

    #[test]
    fn pods_of_a_workload_go_the_same_way() {
        let rules = Rules { mode: Mode::Canary, percent: 50.0, ..Rules::default() };
        let of = |pod_name: &str, workload: &str| {
            course(
                &pod(
                    json!({ "namespace": "shop", "name": pod_name, "ownerReferences": [{ "kind": "StatefulSet", "name": workload }] }),
                ),
                &rules,
            )
        };
        for place in 0..50 {
            let workload = format!("db-{place}");
            assert_eq!(of("a", &workload), of("b", &workload));
        }
        assert!((0..50).any(|place| of("a", &format!("db-{place}")) == Course::Act));
        assert!((0..50).any(|place| of("a", &format!("db-{place}")) == Course::Watch(Neutral::NotInCanary)));
    }

    #[test]
    fn scope_and_annotation_leave_pods_alone() {
        let shop = json!({ "namespace": "shop", "name": "a", "labels": { "tier": "web" } });
        assert_eq!(course(&pod(shop.clone()), &active(Rules::default())), Course::Act);
        assert_eq!(course(&pod(shop.clone()), &Rules::default()), Course::Watch(Neutral::Shadow));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let label = |value: &str| BTreeMap::from([("tier".to_owned(), value.to_owned())]);
        for (scope, is_in) in [
            (Scope { namespaces: names(&["shop"]), ..Scope::default() }, true),
            (Scope { namespaces: names(&["other"]), ..Scope::default() }, false),
            (Scope { exclude_namespaces: names(&["shop"]), ..Scope::default() }, false),
            (Scope { labels: label("web"), ..Scope::default() }, true),
            (Scope { labels: label("db"), ..Scope::default() }, false),
            (Scope { exclude_labels: label("web"), ..Scope::default() }, false),
            (Scope { scheduler_names: names(&["default-scheduler"]), ..Scope::default() }, true),
            (Scope { scheduler_names: names(&["other"]), ..Scope::default() }, false),
        ] {
            let wanted = if is_in { Course::Act } else { Course::Stand(Neutral::OutOfScope) };
            assert_eq!(
                course(&pod(shop.clone()), &active(Rules { scope: scope.clone(), ..Rules::default() })),
                wanted,
                "{scope:?}"
            );
        }
        let out = json!({ "name": "a", "annotations": { OPT_OUT: "true" } });
        assert_eq!(course(&pod(out), &active(Rules::default())), Course::Stand(Neutral::OptedOut));
        let daemon = json!({ "ownerReferences": [{ "kind": "DaemonSet", "name": "agent" }] });
        assert_eq!(course(&pod(daemon), &active(Rules::default())), Course::Stand(Neutral::Exempt));
    }

    use crate::rules::Scope;
    use std::collections::BTreeMap;
}
