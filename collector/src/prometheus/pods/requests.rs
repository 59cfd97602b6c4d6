//! What a pod requests, as kube-scheduler counts it: the sum of its containers and sidecars, or what an init container
//! needs besides the sidecars if that is more, and the overhead of its runtime class,
//! <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>.
//!
//! kube-state-metrics does not tell in which order init containers run: every sidecar is taken to run before the others,
//! as those that meshes inject do. Requests of a pod as a whole (`spec.resources`) it does not tell at all.

use super::answers::PodKey;
use std::collections::{HashMap, HashSet};

/// A pod and one of its containers.
pub(super) type ContainerKey = (PodKey, String);

/// One resource of all pods; a pod that requests nothing is absent.
pub(super) fn effective(
    containers: HashMap<PodKey, f64>,
    init_containers: &HashMap<ContainerKey, f64>,
    sidecars: &HashSet<ContainerKey>,
    overhead: &HashMap<PodKey, f64>,
) -> HashMap<PodKey, f64> {
    let (mut running, mut beside, mut largest) = (containers, HashMap::new(), HashMap::new());
    for (key, amount) in init_containers {
        if sidecars.contains(key) {
            *running.entry(key.0.clone()).or_insert(0.0) += amount;
            *beside.entry(key.0.clone()).or_insert(0.0) += amount;
        } else {
            let most: &mut f64 = largest.entry(key.0.clone()).or_insert(0.0);
            *most = most.max(*amount);
        }
    }
    let mut requests = running;
    for (pod, init) in largest {
        let starting = init + beside.get(&pod).copied().unwrap_or_default();
        requests.entry(pod).and_modify(|running| *running = running.max(starting)).or_insert(starting);
    }
    for (pod, more) in overhead {
        *requests.entry(pod.clone()).or_insert(0.0) += more;
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodKey {
        ("shop".into(), name.into(), String::new())
    }

    #[test]
    fn requests_count_as_in_kube_scheduler() {
        // Each by hand: containers, init containers (sidecars marked), overhead, request.
        type Case = (&'static str, Option<f64>, &'static [(&'static str, f64, bool)], Option<f64>, f64);
        let cases: [Case; 7] = [
            ("plain", Some(0.5), &[], None, 0.5),
            ("sidecar", Some(0.5), &[("proxy", 0.5, true)], None, 1.0),
            ("small init", Some(0.5), &[("migrate", 0.25, false)], None, 0.5),
            ("large init", Some(0.5), &[("migrate", 2.0, false), ("wait", 1.0, false)], None, 2.0),
            ("both", Some(0.5), &[("proxy", 0.5, true), ("migrate", 2.0, false)], None, 2.5),
            ("overhead", Some(0.5), &[], Some(0.25), 0.75),
            ("init alone", None, &[("migrate", 2.0, false)], Some(0.25), 2.25),
        ];
        let (mut containers, mut inits, mut sidecars, mut overhead) =
            (HashMap::new(), HashMap::new(), HashSet::new(), HashMap::new());
        for (name, own, init, more, _) in cases {
            own.map(|own| containers.insert(pod(name), own));
            more.map(|more| overhead.insert(pod(name), more));
            for (container, amount, is_sidecar) in init {
                inits.insert((pod(name), (*container).to_owned()), *amount);
                is_sidecar.then(|| sidecars.insert((pod(name), (*container).to_owned())));
            }
        }
        let requests = effective(containers, &inits, &sidecars, &overhead);
        for (name, .., wanted) in cases {
            assert_eq!(requests[&pod(name)], wanted, "{name}");
        }
        assert_eq!(requests.len(), cases.len());
    }
}
