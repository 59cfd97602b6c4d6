//! Which workloads the challenger answers for: always the same ones at the same percentage, on every replica and after every
//! restart; a larger percentage adds some and takes none away.

use score_api::{Arm, PodRequest};
use sha2::{Digest, Sha256};

/// So that another share of workloads by hash (the extender's, say) is not the same share.
const SALT: &str = "serving-rollout";

/// A workload's place in 0..100.
fn place(workload: &str) -> f64 {
    let digest = Sha256::digest(format!("{SALT}\0{workload}"));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // 53 bits are what a double holds whole.
    (u64::from_be_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64 * 100.0
}

/// Who answers for a pod when the challenger has `percent` of the workloads. A pod without a workload stands for itself; one
/// that has not even a name is the champion's, since nobody could tell it apart from others.
pub fn arm_of(pod: &PodRequest, percent: f64) -> Arm {
    let place = match &pod.workload {
        Some(workload) => place(workload),
        None if !pod.name.is_empty() => place(&format!("{}/Pod/{}", pod.namespace, pod.name)),
        None => return Arm::Champion,
    };
    if place < percent { Arm::Challenger } else { Arm::Champion }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(workload: usize) -> PodRequest {
        PodRequest { workload: Some(format!("shop/Deployment/w{workload}")), ..PodRequest::default() }
    }

    #[test]
    fn a_percentage_is_kept_and_growing_takes_nobody_away() {
        let of = |percent: f64| -> Vec<usize> {
            (0..20_000).filter(|at| arm_of(&pod(*at), percent) == Arm::Challenger).collect()
        };
        let (few, more) = (of(10.0), of(25.0));
        // Three standard deviations of a binomial share.
        assert!((few.len() as f64 - 2_000.0).abs() < 3.0 * (20_000.0_f64 * 0.1 * 0.9).sqrt(), "{}", few.len());
        assert!(few.iter().all(|at| more.contains(at)));
        assert_eq!((of(0.0).len(), of(100.0).len()), (0, 20_000));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // python3 -c 'import hashlib; print((int.from_bytes(hashlib.sha256(b"serving-rollout\0shop/Deployment/cart").digest()[:8],"big")>>11)/2**53*100)'
        assert!((place("shop/Deployment/cart") - 71.90201373281259).abs() < 1e-9);
        let nameless = PodRequest::default();
        assert_eq!(arm_of(&nameless, 99.9), Arm::Champion);
    }
}
