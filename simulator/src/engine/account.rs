//! What a node has and what is requested of it: all that the resource filters read, in one cache line per node.

use crate::world::{Node, Request, ZoneId};

/// Most GPUs of a node.
pub const MAX_GPUS: usize = 16;
/// CPU that scores count for a pod that requests none (kube-scheduler, `pkg/scheduler/util/pod_resources.go`).
pub const SCORED_CPU_MILLI: u64 = 100;
/// Memory that scores count for a pod that requests none (same file).
pub const SCORED_MEMORY_BYTES: u64 = 200 * 1024 * 1024;

/// More zones than any cluster has.
const NO_ZONE: u16 = u16::MAX;

/// Allocatable and requested amounts of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Allocatable CPU in millicores.
    pub cpu: u64,
    /// Allocatable memory in bytes.
    pub memory: u64,
    /// Requested CPU in millicores.
    pub cpu_requested: u64,
    /// Requested memory in bytes.
    pub memory_requested: u64,
    /// Requested CPU as scores count it: with [`SCORED_CPU_MILLI`] for pods that request none.
    pub cpu_scored: u64,
    /// Requested memory as scores count it: with [`SCORED_MEMORY_BYTES`] for pods that request none.
    pub memory_scored: u64,
    /// Pods on it.
    pub pods: u32,
    /// Most pods.
    pub max_pods: u32,
    /// The most thousandths free on one GPU.
    pub gpu_free_most: u16,
    /// Number of its failure zone, `u16::MAX` without one; see [`Account::zone`].
    pub zone: u16,
    /// GPUs.
    pub gpus: u8,
    /// GPUs without any pod.
    pub gpu_free_whole: u8,
    /// Whether it is there.
    pub ready: bool,
    /// Whether the kubelet reports memory pressure: then it takes no BestEffort pod.
    pub memory_pressure: bool,
}

impl Account {
    /// An empty node that is not there yet.
    pub fn new(node: &Node) -> Self {
        Self {
            cpu: node.cpu.millicores(),
            memory: node.memory.get(),
            max_pods: node.max_pods,
            gpu_free_most: if node.gpus > 0 { 1_000 } else { 0 },
            zone: node.zone.map_or(NO_ZONE, |zone| zone.0),
            gpus: node.gpus,
            gpu_free_whole: node.gpus,
            ..Self::default()
        }
    }

    /// Whether `request` fits into what is free (kube-scheduler's NodeResourcesFit filter, GPU shares as in openb).
    #[inline]
    pub fn fits(&self, request: &Request) -> bool {
        let plain = self.ready
            & (self.pods < self.max_pods)
            & (self.cpu_requested + request.cpu.millicores() <= self.cpu)
            & (self.memory_requested + request.memory.get() <= self.memory);
        plain && (request.gpus == 0 || self.fits_gpus(request))
    }

    /// Its failure zone.
    #[inline]
    pub fn zone(&self) -> Option<ZoneId> {
        (self.zone != NO_ZONE).then_some(ZoneId(self.zone))
    }

    fn fits_gpus(&self, request: &Request) -> bool {
        if request.gpu_milli < 1_000 {
            self.gpu_free_most >= request.gpu_milli
        } else {
            self.gpu_free_whole >= request.gpus
        }
    }

    /// How many pods of `request` still fit.
    pub fn room_for(&self, request: &Request) -> u64 {
        if !self.ready {
            return 0;
        }
        let share = |free: u64, asked: u64| free.checked_div(asked).unwrap_or(u64::MAX);
        let cpu = share(self.cpu.saturating_sub(self.cpu_requested), request.cpu.millicores());
        let memory = share(self.memory.saturating_sub(self.memory_requested), request.memory.get());
        cpu.min(memory).min(u64::from(self.max_pods - self.pods))
    }

    pub(super) fn add(&mut self, request: &Request) {
        self.cpu_requested += request.cpu.millicores();
        self.memory_requested += request.memory.get();
        self.cpu_scored += scored_cpu(request);
        self.memory_scored += scored_memory(request);
        self.pods += 1;
    }

    pub(super) fn remove(&mut self, request: &Request) {
        self.cpu_requested -= request.cpu.millicores();
        self.memory_requested -= request.memory.get();
        self.cpu_scored -= scored_cpu(request);
        self.memory_scored -= scored_memory(request);
        self.pods -= 1;
    }
}

/// The CPU in millicores that scores count for a request.
pub(crate) fn scored_cpu(request: &Request) -> u64 {
    if request.cpu.millicores() == 0 { SCORED_CPU_MILLI } else { request.cpu.millicores() }
}

/// The memory in bytes that scores count for a request.
pub(crate) fn scored_memory(request: &Request) -> u64 {
    if request.memory.get() == 0 { SCORED_MEMORY_BYTES } else { request.memory.get() }
}

/// What the filters' inner loop reads of a node: a third of an account, kept in the order in which nodes are visited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    cpu: u64,
    memory: u64,
    /// 0 when the node is not there.
    pods: u32,
    pub node: u32,
}

impl Room {
    pub fn of(account: &Account, node: u32) -> Self {
        Self {
            cpu: account.cpu.saturating_sub(account.cpu_requested),
            memory: account.memory.saturating_sub(account.memory_requested),
            pods: if account.ready { account.max_pods.saturating_sub(account.pods) } else { 0 },
            node,
        }
    }

    /// [`Account::fits`] without GPUs.
    #[inline]
    pub fn fits(&self, request: &Request) -> bool {
        (self.cpu >= request.cpu.millicores()) & (self.memory >= request.memory.get()) & (self.pods > 0)
    }
}

/// Free thousandths of each GPU of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gpus {
    free: [u16; MAX_GPUS],
    count: u8,
}

impl Gpus {
    pub fn new(count: u8) -> Self {
        let mut free = [0; MAX_GPUS];
        free[..usize::from(count).min(MAX_GPUS)].fill(1_000);
        Self { free, count }
    }

    /// Takes devices for a request that fits and returns them as bits. A share goes to the device that it fills most, so
    /// that whole devices stay whole.
    pub fn take(&mut self, request: &Request, account: &mut Account) -> u16 {
        let mut taken = 0;
        for _ in 0..request.gpus {
            let devices = (0..usize::from(self.count)).filter(|device| taken >> device & 1 == 0);
            let tightest = devices
                .filter(|device| self.free[*device] >= request.gpu_milli)
                .min_by_key(|device| self.free[*device]);
            if let Some(device) = tightest {
                self.free[device] -= request.gpu_milli;
                taken |= 1 << device;
            }
        }
        self.sum_up(account);
        taken
    }

    /// Gives back what [`Gpus::take`] returned.
    pub fn give_back(&mut self, taken: u16, request: &Request, account: &mut Account) {
        for device in (0..MAX_GPUS).filter(|device| taken >> device & 1 == 1) {
            self.free[device] += request.gpu_milli;
        }
        self.sum_up(account);
    }

    fn sum_up(&self, account: &mut Account) {
        let free = &self.free[..usize::from(self.count)];
        account.gpu_free_most = free.iter().copied().max().unwrap_or(0);
        account.gpu_free_whole = free.iter().filter(|free| **free == 1_000).count() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cores, gib, node};

    fn gpu(gpus: u8, gpu_milli: u16) -> Request {
        Request { gpus, gpu_milli, ..Request::default() }
    }

    #[test]
    fn an_account_is_one_cache_line() {
        assert_eq!(std::mem::size_of::<Account>(), 64);
    }

    #[test]
    fn a_share_goes_to_the_gpu_that_it_fills_most() {
        let mut two = node("gpu", "8", 32);
        two.gpus = 2;
        let (mut account, mut gpus) = (Account::new(&two), Gpus::new(2));
        account.ready = true;
        let first = gpus.take(&gpu(1, 600), &mut account);
        let second = gpus.take(&gpu(1, 300), &mut account);
        assert_eq!(first, second, "600 and 300 thousandths share a GPU");
        assert!(account.fits(&gpu(1, 1_000)) && !account.fits(&gpu(2, 1_000)));
        let whole = gpus.take(&gpu(1, 1_000), &mut account);
        assert_ne!(whole, first);
        assert!(account.fits(&gpu(1, 100)) && !account.fits(&gpu(1, 101)));
        gpus.give_back(first, &gpu(1, 600), &mut account);
        gpus.give_back(second, &gpu(1, 300), &mut account);
        gpus.give_back(whole, &gpu(1, 1_000), &mut account);
        assert_eq!(gpus, Gpus::new(2));
        assert_eq!((account.gpu_free_most, account.gpu_free_whole), (1_000, 2));
    }

    #[test]
    fn what_is_full_in_one_resource_is_full() {
        let mut account = Account::new(&node("small", "4", 16));
        account.ready = true;
        account.add(&Request::new(cores("3"), gib(2)));
        assert!(account.fits(&Request::new(cores("1"), gib(14))));
        assert!(!account.fits(&Request::new(cores("1001m"), gib(1))));
        assert!(!account.fits(&Request::new(cores("1"), gib(15))));
        assert_eq!(account.room_for(&Request::new(cores("250m"), gib(4))), 3, "memory is short first");
        account.ready = false;
        assert!(!account.fits(&Request::default()));
    }

    #[test]
    fn a_pod_without_requests_is_scored_as_100m_and_200mi() {
        let mut account = Account::new(&node("small", "4", 16));
        account.add(&Request::default());
        assert_eq!((account.cpu_requested, account.cpu_scored, account.memory_scored), (0, 100, 209_715_200));
    }
}
