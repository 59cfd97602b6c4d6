//! One metric of one node, sample by sample.

use super::Limits;
use cluster::NodeMetric;

/// What every scan needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanRules {
    /// Distance of samples in milliseconds.
    pub step_ms: i64,
    /// The limits of the settings.
    pub limits: Limits,
    /// Every how many rows a value is kept for the distribution.
    pub sample_every: u64,
}

impl ScanRules {
    /// The time that a sample speaks for when the next one follows after `distance`: up to the next one, and no more
    /// than one step where at least one sample is missing in between. So jitter costs nothing, and the times of all
    /// samples together never exceed the node's life.
    pub fn spoken_for(&self, distance: i64) -> i64 {
        if self.is_gap(distance) { self.step_ms } else { distance }
    }

    /// Whether at least one sample is missing.
    pub fn is_gap(&self, distance: i64) -> bool {
        2 * distance > 3 * self.step_ms
    }
}

/// What was seen of one metric of one node.
#[derive(Debug, Clone)]
pub(super) struct MetricScan {
    /// Values that are not null.
    pub present: u64,
    /// Nulls.
    pub missing: u64,
    /// Values that cannot be true; they cover nothing.
    pub out_of_range: u64,
    /// Time that usable values speak for.
    pub covered_ms: i64,
    /// Stretches of at least one missing sample.
    pub gaps: u64,
    /// Start and end of the longest.
    pub longest_gap: Option<(i64, i64)>,
    /// Usable values: smallest, largest, sum.
    pub low: f64,
    pub high: f64,
    pub sum: f64,
    /// Every so many values, for the distribution.
    pub sample: Vec<f64>,
    /// Stretches of one value.
    pub flat: FlatScan,
    last: Option<i64>,
    rows: u64,
}

impl MetricScan {
    pub fn new() -> Self {
        Self {
            present: 0,
            missing: 0,
            out_of_range: 0,
            covered_ms: 0,
            gaps: 0,
            longest_gap: None,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            sum: 0.0,
            sample: Vec::new(),
            flat: FlatScan::default(),
            last: None,
            rows: 0,
        }
    }

    /// Values that can be true.
    pub fn usable(&self) -> u64 {
        self.present - self.out_of_range
    }

    /// Goes on with samples in order of time.
    pub fn take(&mut self, metric: NodeMetric, samples: impl Iterator<Item = (i64, f64)>, rules: &ScanRules) {
        let (max, moves) = (metric.plausible_max(), should_move(metric));
        for (ts, value) in samples {
            self.rows += 1;
            if value.is_nan() {
                self.missing += 1;
                continue;
            }
            self.present += 1;
            if !(0.0..=max).contains(&value) {
                self.out_of_range += 1;
                continue;
            }
            if let Some(last) = self.last {
                let distance = ts - last;
                self.covered_ms += rules.spoken_for(distance);
                if rules.is_gap(distance) {
                    self.add_gap(last + rules.step_ms, ts);
                }
            }
            self.last = Some(ts);
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            self.sum += value;
            if self.rows.is_multiple_of(rules.sample_every) {
                self.sample.push(value);
            }
            if moves {
                self.flat.take(ts, value, rules);
            }
        }
    }

    fn add_gap(&mut self, start: i64, end: i64) {
        self.gaps += 1;
        if self.longest_gap.is_none_or(|(from, to)| end - start > to - from) {
            self.longest_gap = Some((start, end));
        }
    }

    /// No more samples will come: the last one speaks for one step.
    pub fn finish(&mut self, rules: &ScanRules) {
        if self.last.is_some() {
            self.covered_ms += rules.step_ms;
        }
        self.flat.close(rules);
    }
}

/// A machine that runs shows another value of these at every scrape. Not among them: what is set (allocatable, requests),
/// what an idle machine keeps at zero for hours (disk, pressure, load), and what moves slowly (filesystem, pods).
pub(super) fn should_move(metric: NodeMetric) -> bool {
    use NodeMetric::{CpuUsed, MemoryUsed, NetworkReceive, NetworkTransmit, Uptime};
    matches!(metric, CpuUsed | MemoryUsed | NetworkReceive | NetworkTransmit | Uptime)
}

/// Stretches in which a value does not change.
#[derive(Debug, Clone, Default)]
pub(super) struct FlatScan {
    /// How many were longer than the limit.
    pub stretches: u64,
    /// Their time together.
    pub total_ms: i64,
    /// Start and end of the longest.
    pub longest: Option<(i64, i64)>,
    run: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    value: f64,
    from: i64,
    to: i64,
    samples: u64,
}

impl FlatScan {
    /// A few equal values in a coarse series prove nothing.
    const MIN_SAMPLES: u64 = 10;
    /// A longer silence ends a stretch: nobody knows what the value did meanwhile.
    const MAX_MISSING_STEPS: i64 = 10;

    fn take(&mut self, ts: i64, value: f64, rules: &ScanRules) {
        if let Some(run) = &mut self.run
            && run.value == value
            && ts - run.to <= Self::MAX_MISSING_STEPS * rules.step_ms
        {
            run.to = ts;
            run.samples += 1;
            return;
        }
        self.close(rules);
        self.run = Some(Run { value, from: ts, to: ts, samples: 1 });
    }

    fn close(&mut self, rules: &ScanRules) {
        let Some(run) = self.run.take() else { return };
        let length = run.to - run.from;
        if length < rules.limits.flat_after_ms || run.samples < Self::MIN_SAMPLES {
            return;
        }
        self.stretches += 1;
        self.total_ms += length;
        if self.longest.is_none_or(|(from, to)| length > to - from) {
            self.longest = Some((run.from, run.to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::{HOUR_MS, MINUTE_MS};

    fn rules() -> ScanRules {
        ScanRules { step_ms: MINUTE_MS, limits: Limits::default(), sample_every: 1 }
    }

    fn scan(metric: NodeMetric, samples: impl IntoIterator<Item = (i64, f64)>) -> MetricScan {
        let mut scan = MetricScan::new();
        scan.take(metric, samples.into_iter(), &rules());
        scan.finish(&rules());
        scan
    }

    #[test]
    fn nulls_and_impossible_values_cover_nothing() {
        // Minutes 0..9; 2 is null, 5 negative, 6 infinite: seven of ten minutes are covered, in two gaps.
        let values = [1.0, 2.0, f64::NAN, 3.0, 4.0, -1.0, f64::INFINITY, 5.0, 6.0, 7.0];
        let scan = scan(NodeMetric::CpuUsed, values.iter().enumerate().map(|(at, v)| (at as i64 * MINUTE_MS, *v)));
        assert_eq!((scan.present, scan.missing, scan.out_of_range, scan.usable()), (9, 1, 2, 7));
        assert_eq!(scan.covered_ms, 7 * MINUTE_MS);
        assert_eq!((scan.gaps, scan.longest_gap), (2, Some((5 * MINUTE_MS, 7 * MINUTE_MS))));
        assert_eq!((scan.low, scan.high, scan.sum), (1.0, 7.0, 28.0));
    }

    #[test]
    fn a_flat_line_is_one_stretch_and_a_quiet_allocatable_is_none() {
        let minutes = 10 * 60;
        let line = |at: i64| if (60..60 + 7 * 60).contains(&at) { 4.0 } else { at as f64 };
        let samples = || (0..minutes).map(|at| (at * MINUTE_MS, line(at)));
        let found = scan(NodeMetric::MemoryUsed, samples());
        assert_eq!(found.flat.stretches, 1);
        assert_eq!(found.flat.longest, Some((HOUR_MS, 8 * HOUR_MS - MINUTE_MS)));
        assert_eq!(scan(NodeMetric::MemoryAllocatable, samples()).flat.stretches, 0);
        let short = scan(NodeMetric::CpuUsed, (0..5 * 60).map(|at| (at * MINUTE_MS, 1.0)));
        assert_eq!(short.flat.stretches, 0, "five hours are within the limit of six");
    }
}
