//! What a pod used over its life: mean, 95th percentile, largest memory, in bounded space.

/// Bins per unit of the natural logarithm: a bin is 10 % wide, so a percentile is right to about 5 %.
const BINS_PER_LOG: f64 = 10.0;
/// Usage ÷ request is kept from e^-5 (0.7 %) to e^4.5 (90-fold).
const LOWEST_LOG: f64 = -5.0;
const BINS: usize = 95;

/// Usage so far.
#[derive(Debug, Clone)]
pub struct Usage {
    sum: f64,
    count: u64,
    bins: Box<[u32; BINS]>,
    memory_max: f64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { sum: 0.0, count: 0, bins: Box::new([0; BINS]), memory_max: 0.0 }
    }
}

impl Usage {
    /// Adds one sample; `request` is the pod's CPU request, which sets the scale of the histogram.
    pub fn add(&mut self, cpu: f64, memory: f64, request: f64) {
        self.sum += cpu;
        self.count += 1;
        self.memory_max = self.memory_max.max(memory);
        let place = ((cpu / request).max(1e-9).ln() - LOWEST_LOG) * BINS_PER_LOG;
        self.bins[(place.max(0.0) as usize).min(BINS - 1)] += 1;
    }

    /// Mean CPU in cores; `None` without a sample.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// 95th percentile of CPU in cores, to about 5 %; `None` without a sample.
    pub fn p95(&self, request: f64) -> Option<f64> {
        let wanted = (self.count as f64 * 0.95).ceil() as u64;
        let mut seen = 0;
        let bin = self.bins.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted && seen > 0
        })?;
        Some(((bin as f64 + 0.5) / BINS_PER_LOG + LOWEST_LOG).exp() * request)
    }

    /// Largest memory in bytes; `None` without a sample.
    pub fn memory_max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.memory_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_with_counting_by_hand() {
        let mut usage = Usage::default();
        assert_eq!((usage.mean(), usage.p95(1.0), usage.memory_max()), (None, None, None));
        for sample in 1..=100 {
            usage.add(f64::from(sample) / 100.0, f64::from(sample), 0.5);
        }
        assert_eq!(usage.mean(), Some(0.505));
        assert_eq!(usage.memory_max(), Some(100.0));
        let p95 = usage.p95(0.5).expect("p95");
        assert!((p95 / 0.95 - 1.0).abs() < 0.06, "{p95}");
    }
}
