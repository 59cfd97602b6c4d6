//! Policies that read requests alone.

use super::Policy;
use crate::engine::{Account, Ask, View};
use crate::engine::{scored_cpu, scored_memory};
use crate::world::{NodeId, Request};

/// The whole part of a score, which is never negative: a conversion costs less than a call of `floor`.
#[inline]
pub(super) fn whole(score: f64) -> f64 {
    f64::from(score as i32)
}

/// An amount as a float. Amounts stay below 2^46, and a signed conversion is one instruction.
#[inline]
fn float(amount: u64) -> f64 {
    amount as i64 as f64
}

/// kube-scheduler's share of free capacity after placement, as an integer of 0..=100; 0 when it does not fit.
///
/// `leastRequestedScore`: (allocatable − requested) × 100 ÷ allocatable, in integers
/// (`pkg/scheduler/framework/plugins/noderesources/least_allocated.go`).
///
/// Amounts stay below 2^46 bytes (64 TiB), so the quotient of floats rounds down as the quotient of integers does.
pub(super) fn least_requested(requested: u64, allocatable: u64) -> f64 {
    if allocatable == 0 || requested > allocatable {
        return 0.0;
    }
    whole(float(allocatable - requested) * 100.0 / float(allocatable))
}

/// `mostRequestedScore`: requested × 100 ÷ allocatable, in integers; a full node counts as 100
/// (`…/noderesources/most_allocated.go`).
pub(super) fn most_requested(requested: u64, allocatable: u64) -> f64 {
    if allocatable == 0 {
        return 0.0;
    }
    whole(float(requested.min(allocatable)) * 100.0 / float(allocatable))
}

/// NodeResourcesFit with the strategy LeastAllocated: the mean of CPU and memory, in integers of 0..=100.
pub(super) fn least_allocated(account: &Account, request: &Request) -> f64 {
    let cpu = least_requested(account.cpu_scored + scored_cpu(request), account.cpu);
    let memory = least_requested(account.memory_scored + scored_memory(request), account.memory);
    whole((cpu + memory) / 2.0)
}

/// NodeResourcesBalancedAllocation: 75, and more where the pod brings CPU and memory nearer to each other, less where it drives them
/// apart: 50 + (50 + balance after − balance before) ÷ 2, in integers (`…/noderesources/balanced_allocation.go` of 1.36).
///
/// A balance is (1 − standard deviation of the requested fractions) × 100, rounded down; of two resources the deviation is half their
/// difference.
pub(super) fn balanced(account: &Account, request: &Request) -> f64 {
    let fraction = |requested: u64, allocatable: u64| (float(requested) / float(allocatable)).min(1.0);
    let balance = |more_cpu: u64, more_memory: u64| {
        let cpu = fraction(account.cpu_requested + more_cpu, account.cpu);
        let memory = fraction(account.memory_requested + more_memory, account.memory);
        whole((1.0 - (cpu - memory).abs() / 2.0) * 100.0)
    };
    50.0 + whole((50.0 + balance(request.cpu.millicores(), request.memory.get()) - balance(0, 0)) / 2.0)
}

/// NodeResourcesFit with the strategy MostAllocated: packs by requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct MostAllocated;

impl Policy for MostAllocated {
    fn name(&self) -> &'static str {
        "most-allocated"
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let (more_cpu, more_memory) = (scored_cpu(&ask.request), scored_memory(&ask.request));
        for (score, node) in scores.iter_mut().zip(candidates) {
            let account = view.account(*node);
            let cpu = most_requested(account.cpu_scored + more_cpu, account.cpu);
            let memory = most_requested(account.memory_scored + more_memory, account.memory);
            *score = whole((cpu + memory) / 2.0);
        }
    }
}

/// Best fit: the node on which least is left after placement, as the sum of the free shares of CPU, memory and GPUs
/// (Panigrahy et al., "Heuristics for Vector Bin Packing", 2011; the baseline of Weng et al., USENIX ATC 2023).
#[derive(Debug, Clone, Copy, Default)]
pub struct BestFit;

impl Policy for BestFit {
    fn name(&self) -> &'static str {
        "best-fit"
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        for (score, node) in scores.iter_mut().zip(candidates) {
            let account = view.account(*node);
            let left = |free: u64, all: u64| float(free) / float(all);
            let cpu =
                left(account.cpu.saturating_sub(account.cpu_requested + ask.request.cpu.millicores()), account.cpu);
            let memory = left(
                account.memory.saturating_sub(account.memory_requested + ask.request.memory.get()),
                account.memory,
            );
            let gpus =
                if account.gpus == 0 { 0.0 } else { f64::from(account.gpu_free_whole) / f64::from(account.gpus) };
            *score = -(cpu + memory + gpus);
        }
    }
}

/// Dot product: the node whose free capacity points most in the direction of the request, both as shares of the node's
/// capacity (Grandl et al., "Multi-resource Packing for Cluster Schedulers", SIGCOMM 2014, "alignment score").
#[derive(Debug, Clone, Copy, Default)]
pub struct DotProduct;

impl Policy for DotProduct {
    fn name(&self) -> &'static str {
        "dot-product"
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        for (score, node) in scores.iter_mut().zip(candidates) {
            let account = view.account(*node);
            let aligned = |asked: u64, free: u64, all: u64| float(asked) / float(all) * (float(free) / float(all));
            let cpu =
                aligned(ask.request.cpu.millicores(), account.cpu.saturating_sub(account.cpu_requested), account.cpu);
            let memory = aligned(
                ask.request.memory.get(),
                account.memory.saturating_sub(account.memory_requested),
                account.memory,
            );
            let gpus = if account.gpus == 0 {
                0.0
            } else {
                let asked = f64::from(ask.request.gpus) * f64::from(ask.request.gpu_milli) / 1_000.0;
                asked * f64::from(account.gpu_free_whole) / f64::from(account.gpus).powi(2)
            };
            *score = cpu + memory + gpus;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cores, gib, scored};

    fn account(cpu: u64, memory: u64, cpu_requested: u64, memory_requested: u64) -> Account {
        Account {
            cpu,
            memory,
            cpu_requested,
            memory_requested,
            cpu_scored: cpu_requested,
            memory_scored: memory_requested,
            ..Account::default()
        }
    }

    #[test]
    fn least_allocated_by_hand() {
        // 4,000 m with 1,500 m requested, pod 500 m: (4000 − 2000) × 100 ÷ 4000 = 50.
        // 10,000 B with 2,500 B requested, pod 834 B: (10000 − 3334) × 100 ÷ 10000 = 66.66 → 66. Mean 58.
        let request = Request::new(cores("500m"), cluster::Bytes::new(834));
        assert_eq!(least_allocated(&account(4_000, 10_000, 1_500, 2_500), &request), 58.0);
        assert_eq!(least_requested(5, 4), 0.0, "over allocatable is never preferred");
        assert_eq!(least_requested(0, 3), 100.0);
    }

    #[test]
    fn balanced_allocation_by_hand() {
        // After: fractions 0.5 and 0.3334: (1 − 0.1666 ÷ 2) × 100 = 91.67 → 91. Before: 0.375 and 0.25: 93.75 → 93.
        // 50 + (50 + 91 − 93) ÷ 2 = 74.
        let request = Request::new(cores("500m"), cluster::Bytes::new(834));
        assert_eq!(balanced(&account(4_000, 10_000, 1_500, 2_500), &request), 74.0);
        assert_eq!(balanced(&account(1_000, 1_000, 500, 500), &Request::default()), 75.0);
    }

    #[test]
    fn most_allocated_by_hand() {
        assert_eq!(most_requested(2_000, 4_000), 50.0);
        assert_eq!(most_requested(3_334, 10_000), 33.0);
        assert_eq!(most_requested(5, 4), 100.0);
    }

    /// Two nodes of 4 cores and 16 GiB; the first has 2 cores and 4 GiB requested, the second nothing.
    fn two_nodes(policy: &mut dyn Policy) -> Vec<f64> {
        scored(policy, &[("4", 16, "2", 4), ("4", 16, "0", 0)], Request::new(cores("1"), gib(2)))
    }

    #[test]
    fn packing_policies_by_hand() {
        // After placement: CPU 3 of 4, memory 6 of 16 → floor((75 + 37) ÷ 2) = 56; CPU 1 of 4, 2 of 16 → 18.
        assert_eq!(two_nodes(&mut MostAllocated), [56.0, 18.0]);
        // Left: 0.25 + 0.625 = 0.875 and 0.75 + 0.875 = 1.625.
        assert_eq!(two_nodes(&mut BestFit), [-0.875, -1.625]);
        // Request 0.25 and 0.125; free 0.5 and 0.75, then 1 and 1: 0.125 + 0.09375 and 0.25 + 0.125.
        assert_eq!(two_nodes(&mut DotProduct), [0.21875, 0.375]);
    }
}
