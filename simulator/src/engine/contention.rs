//! What happens when a node's pods want more than it has.
//!
//! - **CPU** is shared in proportion to requests, as the kernel does by `cpu.weight`, which the kubelet sets from the
//!   request (2 shares at least, where a core is 1,024): a pod that wants less than its part gets what it wants, and what
//!   it leaves is shared among the others in the same way. Nobody is killed; who gets less than it wants is throttled.
//! - **Memory** cannot be shared: while usage is over allocatable the kubelet evicts, one pod after the other, in the
//!   order of `pkg/kubelet/eviction/helpers.go` (`rankMemoryPressureFunc`): first pods that use more than they request,
//!   then the lower priority, then the larger usage over request. Critical pods are never evicted.

use crate::world::{Pod, PodId};
use std::cmp::Ordering;

/// One pod's wish for CPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuClaim {
    /// Millicores that it would use.
    pub wants: f64,
    /// Its request in millicores.
    pub requests: f64,
}

/// What came of the wishes on one node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CpuShare {
    /// Millicores that the pods got together.
    pub granted: f64,
    /// Pods that got less than they wanted.
    pub throttled: u32,
}

/// The least weight of a container in millicores: 2 of 1,024 shares (`pkg/kubelet/cm/helpers_linux.go`, `MinShares`).
const LEAST_WEIGHT: f64 = 2.0 * 1_000.0 / 1_024.0;
/// A pod that gets 99.9 % of its wish is not called throttled: that is rounding.
const TOLERANCE: f64 = 1e-3;

/// Shares `capacity` millicores among pods in proportion to their requests.
///
/// `claims` is put into the order in which the pods are satisfied. Time: O(n log n) for n pods.
pub fn share_cpu(capacity: f64, claims: &mut [CpuClaim]) -> CpuShare {
    let weight = |claim: &CpuClaim| claim.requests.max(LEAST_WEIGHT);
    // Whoever wants least for its weight is satisfied first.
    claims.sort_by(|a, b| (a.wants / weight(a)).total_cmp(&(b.wants / weight(b))));
    let mut weights: f64 = claims.iter().map(weight).sum();
    let (mut left, mut share) = (capacity.max(0.0), CpuShare::default());
    for claim in claims.iter() {
        let part = left * weight(claim) / weights;
        let got = claim.wants.min(part);
        share.throttled += u32::from(got < claim.wants * (1.0 - TOLERANCE));
        share.granted += got;
        left -= got;
        weights -= weight(claim);
    }
    share
}

/// Pods of this priority and more are never evicted (`IsCriticalPod`: `system-cluster-critical` and above).
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Who is evicted first: the smaller goes first.
pub(super) fn eviction_order(pods: &[Pod], a: (PodId, f64), b: (PodId, f64)) -> Ordering {
    let over = |(id, used): (PodId, f64)| used - pods[id.index()].request.memory.as_f64();
    let exceeds = |entry| over(entry) > 0.0;
    exceeds(b)
        .cmp(&exceeds(a))
        .then_with(|| pods[a.0.index()].priority.cmp(&pods[b.0.index()].priority))
        .then_with(|| over(b).total_cmp(&over(a)))
        .then_with(|| a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PodWords, pod};
    use proptest::prelude::*;

    fn claim(wants: f64, requests: f64) -> CpuClaim {
        CpuClaim { wants, requests }
    }

    #[test]
    fn what_a_modest_pod_leaves_goes_to_the_others_by_request() {
        // By hand: 4,000 m, weights 1:1:2. The first wants 400 of its 1,000 m; 3,600 m are left for 1:2, so 1,200 and
        // 2,400; they want 2,000 and 2,200, so the last is satisfied and the second gets 1,400.
        let mut claims = [claim(400.0, 500.0), claim(2_000.0, 500.0), claim(2_200.0, 1_000.0)];
        let share = share_cpu(4_000.0, &mut claims);
        assert_eq!(share, CpuShare { granted: 4_000.0, throttled: 1 });
    }

    #[test]
    fn pods_without_requests_starve_first() {
        let mut claims = [claim(1_000.0, 0.0), claim(1_000.0, 1_000.0)];
        let share = share_cpu(1_000.0, &mut claims);
        assert_eq!(share.throttled, 1 + 1, "1 of 513 parts is missing to the pod with a request");
        let mut claims = [claim(1_000.0, 0.0), claim(990.0, 1_000.0)];
        assert_eq!(share_cpu(1_000.0, &mut claims).throttled, 1);
    }

    #[test]
    fn the_kubelet_evicts_by_excess_then_priority_then_size_of_excess() {
        let pods = [
            pod("within its request", "1", 4),
            pod("important and over", "1", 1).with_priority(1_000),
            pod("a little over", "1", 1),
            pod("far over", "1", 1),
        ];
        let used = [3.0, 9.0, 2.0, 3.0].map(|gib: f64| gib * f64::from(1 << 30));
        let mut order: Vec<(PodId, f64)> = (0..4).map(|at| (PodId(at), used[at as usize])).collect();
        order.sort_by(|a, b| eviction_order(&pods, *a, *b));
        let names: Vec<&str> = order.iter().map(|(id, _)| pods[id.index()].name.as_str()).collect();
        assert_eq!(names, ["far over", "a little over", "important and over", "within its request"]);
    }

    proptest! {
        #[test]
        fn cpu_is_neither_made_nor_wasted(
            claims in proptest::collection::vec((0.0..8_000.0_f64, 0.0..4_000.0_f64), 1..40),
            capacity in 1.0..64_000.0_f64,
        ) {
            let mut claims: Vec<CpuClaim> = claims.into_iter().map(|(wants, requests)| claim(wants, requests)).collect();
            let wanted: f64 = claims.iter().map(|claim| claim.wants).sum();
            let share = share_cpu(capacity, &mut claims);
            prop_assert!((share.granted - wanted.min(capacity)).abs() < 1e-6 * wanted.max(1.0));
            prop_assert_eq!(share.throttled == 0, wanted <= capacity * (1.0 + 2e-3) && share.throttled == 0);
        }
    }
}
