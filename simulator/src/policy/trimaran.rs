//! Trimaran's plugins (`kubernetes-sigs/scheduler-plugins`, `pkg/trimaran`), each as the only score plugin.

use super::Policy;
use super::allocation::whole;
use crate::engine::{Ask, View};
use crate::world::{NodeId, Request};

/// Packs up to a target of CPU utilization, spreads above it.
///
/// `targetloadpacking.go`: with U the predicted utilization in percent (15-minute mean of the node, plus the pod, plus
/// pods that the metrics do not show yet) and T the target: (100 − T) × U ÷ T + T up to T; T × (100 − U) ÷ (100 − T) up
/// to 100; 0 above; rounded. A node without metrics gets 0, as there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetLoadPacking {
    /// `targetUtilization`, in percent; the plugin's default is 40.
    pub target: f64,
    /// `defaultRequestsMultiplier`: usage of a pod without limits as a multiple of its request; the default is 1.5.
    pub multiplier: f64,
    /// `defaultRequests`: usage in millicores of a pod without requests; the default is 1 core.
    pub default_milli: f64,
}

impl Default for TargetLoadPacking {
    fn default() -> Self {
        Self { target: 40.0, multiplier: 1.5, default_milli: 1_000.0 }
    }
}

/// A pod bound this long before the end of the metrics' window may be missing in them
/// (`metricsAgentReportingIntervalSeconds`).
const REPORTING_INTERVAL_MS: i64 = 60_000;

impl TargetLoadPacking {
    /// The CPU in millicores that a pod is expected to use. No source has limits, so requests count.
    fn expected(&self, request: &Request) -> f64 {
        let milli = request.cpu.millicores() as f64;
        if milli > 0.0 { whole(milli * self.multiplier + 0.5) } else { self.default_milli }
    }

    /// The score of a node at a predicted utilization of `percent`.
    pub fn at(&self, percent: f64) -> f64 {
        let target = self.target;
        if percent > 100.0 {
            0.0
        } else if percent > target {
            whole(target * (100.0 - percent) / (100.0 - target) + 0.5)
        } else {
            whole((100.0 - target) * percent / target + target + 0.5)
        }
    }
}

impl Policy for TargetLoadPacking {
    fn name(&self) -> &'static str {
        "target-load-packing"
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let pod = self.expected(&ask.request);
        for (score, node) in scores.iter_mut().zip(candidates) {
            *score = view.seen(*node).map_or(0.0, |seen| {
                let since = seen.at_ms - REPORTING_INTERVAL_MS + 1;
                let missing: f64 = view.bound_since(*node, since).map(|entry| self.expected(&entry.request)).sum();
                let cpu = view.account(*node).cpu as f64;
                self.at(100.0 * (seen.cpu_mean() * cpu + pod + missing) / cpu)
            });
        }
    }
}

/// Balances the risk of mean and variation.
///
/// `loadvariationriskbalancing/analysis.go`: per resource mean μ = (used + request) ÷ capacity and deviation σ, both in
/// 0..1; σ to the power 1 ÷ sensitivity, times margin, in 0..1; score (1 − (μ + σ) ÷ 2) × 100, rounded; the lower of CPU
/// and memory. It has no account of pods in flight. A node without metrics gets 0, as there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadVariationRiskBalancing {
    /// `safeVarianceMargin`; the default is 1.
    pub margin: f64,
    /// `safeVarianceSensitivity`; the default is 1.
    pub sensitivity: f64,
}

impl Default for LoadVariationRiskBalancing {
    fn default() -> Self {
        Self { margin: 1.0, sensitivity: 1.0 }
    }
}

impl LoadVariationRiskBalancing {
    /// The score of one resource, before rounding.
    pub fn of(&self, mean: f64, deviation: f64) -> f64 {
        let mean = mean.clamp(0.0, 1.0);
        let deviation = deviation.clamp(0.0, 1.0).powf(1.0 / self.sensitivity);
        let deviation = (deviation * self.margin).clamp(0.0, 1.0);
        (1.0 - (mean + deviation) / 2.0) * 100.0
    }
}

impl Policy for LoadVariationRiskBalancing {
    fn name(&self) -> &'static str {
        "load-variation-risk-balancing"
    }

    fn score(&mut self, ask: &Ask<'_>, view: &View<'_>, candidates: &[NodeId], scores: &mut [f64]) {
        let (cpu, memory) = (ask.request.cpu.millicores() as f64, ask.request.memory.as_f64());
        for (score, node) in scores.iter_mut().zip(candidates) {
            let account = view.account(*node);
            *score = view.seen(*node).map_or(0.0, |seen| {
                let by_cpu = self.of(seen.cpu_mean() + cpu / account.cpu as f64, seen.cpu_deviation());
                let by_memory = self.of(seen.memory_mean() + memory / account.memory as f64, seen.memory_deviation());
                whole(by_cpu.min(by_memory) + 0.5)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{after_telemetry, cores, gib};

    #[test]
    fn target_load_packing_by_hand() {
        let policy = TargetLoadPacking::default();
        // Below 40: 60 × U ÷ 40 + 40. Above: 40 × (100 − U) ÷ 60.
        for (percent, score) in [(0.0, 40.0), (20.0, 70.0), (40.0, 100.0), (55.0, 30.0), (100.0, 0.0), (130.0, 0.0)] {
            assert_eq!(policy.at(percent), score, "{percent} %");
        }
        let sixty = TargetLoadPacking { target: 60.0, ..policy };
        assert_eq!(sixty.at(30.0), 80.0);
        assert_eq!(policy.expected(&Request::new(cores("500m"), gib(1))), 750.0);
        assert_eq!(policy.expected(&Request::default()), 1_000.0);
    }

    #[test]
    fn risk_balancing_by_hand() {
        let policy = LoadVariationRiskBalancing::default();
        assert!((policy.of(0.4, 0.2) - 70.0).abs() < 1e-9);
        assert!((policy.of(1.7, 0.0) - 50.0).abs() < 1e-9, "the mean is cut at 1");
        let sensitive = LoadVariationRiskBalancing { margin: 2.0, sensitivity: 2.0 };
        // σ = 0.09: root 0.3, times 2 is 0.6; (1 − (0.2 + 0.6) ÷ 2) × 100 = 60.
        assert!((sensitive.of(0.2, 0.09) - 60.0).abs() < 1e-9);
    }

    #[test]
    fn both_read_telemetry_and_only_one_counts_pods_in_flight() {
        // Node of 4 cores that uses 0.8 of them all the time; then a pod of 400 m is bound, and the next asks for 400 m.
        let request = Request::new(cores("400m"), gib(0));
        // 20 % + 600 m of 4,000 m, once for the pod and once for the one in flight: 50 % → 40 × 50 ÷ 60 = 33.3.
        assert_eq!(after_telemetry(&mut TargetLoadPacking::default(), 800.0, request), 33.0);
        // CPU is the lower: (1 − (0.2 + 0.1) ÷ 2) × 100 = 85; memory 0 of 16 GiB: 100.
        assert_eq!(after_telemetry(&mut LoadVariationRiskBalancing::default(), 800.0, request), 85.0);
    }
}
