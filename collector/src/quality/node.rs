//! One node, day by day: when it was sampled, and what each metric said.

use super::day::{Day, Rows};
use super::metric::{MetricScan, ScanRules};
use cluster::{DAY_MS, MINUTE_MS, NodeMetric};
use std::collections::BTreeMap;
use std::ops::Range;

/// What was seen of one node.
#[derive(Debug, Clone)]
pub(super) struct NodeScan {
    /// Rows in the files.
    pub rows: u64,
    /// Second rows of the same time.
    pub duplicates: u64,
    /// Rows older than their predecessor in the file.
    pub out_of_order: u64,
    /// Rows that lie in another day's folder.
    pub misfiled: u64,
    /// Boots after the first sample.
    pub resets: u64,
    /// Steps of the node's clock.
    pub clock_jumps: u64,
    /// First and last sample.
    pub life: Option<(i64, i64)>,
    /// Uptime in seconds at the first sample; NaN when unknown.
    pub first_uptime: f64,
    /// Time that samples speak for.
    pub covered_ms: i64,
    /// The same by day number.
    pub covered_by_day: BTreeMap<i64, i64>,
    /// Stretches in which the node was off.
    pub absences: Vec<(i64, i64)>,
    /// Stretches with missing samples.
    pub gaps: Gaps,
    /// By [`NodeMetric`].
    pub metrics: Vec<MetricScan>,
    /// Rows in which CPU, then memory usage exceeds allocatable by more than the margin.
    pub over_allocatable: [u64; 2],
    last_uptime: Option<(i64, f64)>,
}

/// Stretches with missing samples, the longest of them in full.
#[derive(Debug, Clone, Default)]
pub(super) struct Gaps {
    /// How many.
    pub count: u64,
    /// Their time together.
    pub total_ms: i64,
    longest: Vec<(i64, i64)>,
}

impl Gaps {
    /// Enough for the timeline; a node with more has a problem that no list makes clearer.
    const KEPT: usize = 200;

    fn add(&mut self, start: i64, end: i64) {
        self.count += 1;
        self.total_ms += end - start;
        self.longest.push((start, end));
        if self.longest.len() >= 2 * Self::KEPT {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.longest.sort_by_key(|(start, end)| (start - end, *start));
        self.longest.truncate(Self::KEPT);
    }

    /// The longest ones, longest first.
    pub fn longest(&self) -> &[(i64, i64)] {
        &self.longest
    }
}

impl NodeScan {
    pub fn new() -> Self {
        Self {
            rows: 0,
            duplicates: 0,
            out_of_order: 0,
            misfiled: 0,
            resets: 0,
            clock_jumps: 0,
            life: None,
            first_uptime: f64::NAN,
            covered_ms: 0,
            covered_by_day: BTreeMap::new(),
            absences: Vec::new(),
            gaps: Gaps::default(),
            metrics: vec![MetricScan::new(); NodeMetric::COUNT],
            over_allocatable: [0; 2],
            last_uptime: None,
        }
    }

    /// Goes on with the rows of one more day.
    pub fn take(&mut self, day: &Day, runs: &[Range<usize>], rules: &ScanRules) {
        let ordered = day.ordered(runs);
        self.rows += runs.iter().map(|run| run.len() as u64).sum::<u64>();
        self.duplicates += ordered.duplicates;
        self.out_of_order += ordered.out_of_order;
        self.misfiled += ordered.misfiled;
        match ordered.rows {
            Rows::Neighbours(rows) => self.take_rows(day, rows, rules),
            Rows::Picked(rows) => self.take_rows(day, rows.iter().copied(), rules),
        }
    }

    fn take_rows(&mut self, day: &Day, rows: impl Iterator<Item = usize> + Clone, rules: &ScanRules) {
        let uptime = &day.metrics[NodeMetric::Uptime as usize];
        for row in rows.clone() {
            self.take_time(day.ts[row], uptime[row], rules);
        }
        for (metric, scan) in NodeMetric::ALL.iter().zip(&mut self.metrics) {
            let values = &day.metrics[*metric as usize];
            scan.take(*metric, rows.clone().map(|row| (day.ts[row], values[row])), rules);
        }
        let pairs = [
            (NodeMetric::CpuUsed, NodeMetric::CpuAllocatable),
            (NodeMetric::MemoryUsed, NodeMetric::MemoryAllocatable),
        ];
        for ((used, allocatable), count) in pairs.into_iter().zip(&mut self.over_allocatable) {
            let (used, allocatable) = (&day.metrics[used as usize], &day.metrics[allocatable as usize]);
            let limit = 1.0 + rules.limits.allocatable_margin;
            let over = |row: &usize| used[*row].is_finite() && used[*row] > allocatable[*row] * limit;
            *count += rows.clone().filter(over).count() as u64;
        }
    }

    fn take_time(&mut self, ts: i64, uptime: f64, rules: &ScanRules) {
        match self.life {
            None => {
                self.life = Some((ts, ts));
                self.first_uptime = uptime;
            }
            Some((first, last)) => {
                let distance = ts - last;
                self.cover(last, rules.spoken_for(distance));
                if rules.is_gap(distance) {
                    // A machine that booted during a long silence was off: nothing could be sampled.
                    let was_off = distance >= rules.limits.absent_after_ms && uptime * 1e3 < distance as f64;
                    let silence = (last + rules.step_ms, ts);
                    if was_off { self.absences.push(silence) } else { self.gaps.add(silence.0, silence.1) }
                }
                self.life = Some((first, ts));
            }
        }
        if uptime.is_finite() {
            self.compare_clocks(ts, uptime, rules);
        }
    }

    /// Time and uptime run alike. Uptime that begins anew is a boot; any other difference is a step of the clock.
    fn compare_clocks(&mut self, ts: i64, uptime: f64, rules: &ScanRules) {
        if let Some((last_ts, last_uptime)) = self.last_uptime.replace((ts, uptime)) {
            let elapsed = (ts - last_ts) as f64;
            let tolerance = (2 * rules.step_ms).max(MINUTE_MS) as f64;
            let grown = (uptime - last_uptime) * 1e3;
            let began_anew = uptime * 1e3 <= elapsed + tolerance;
            if began_anew && (grown < 0.0 || elapsed - grown > tolerance) {
                self.resets += 1;
            } else if (elapsed - grown).abs() > tolerance {
                self.clock_jumps += 1;
            }
        }
    }

    fn cover(&mut self, start: i64, length: i64) {
        self.covered_ms += length;
        for (day, part) in by_day(start, start + length) {
            *self.covered_by_day.entry(day).or_insert(0) += part;
        }
    }

    /// No more samples will come.
    pub fn finish(&mut self, rules: &ScanRules) {
        if let Some((_, last)) = self.life {
            self.cover(last, rules.step_ms);
        }
        self.gaps.shorten();
        for scan in &mut self.metrics {
            scan.finish(rules);
        }
    }

    /// Time for which samples were to be expected: the node's own life less what it was off, so that a node that joins
    /// late or leaves early is not blamed for it here.
    pub fn expected_ms(&self, rules: &ScanRules) -> i64 {
        let Some((first, last)) = self.life else { return 0 };
        last - first + rules.step_ms - self.absences.iter().map(|(start, end)| end - start).sum::<i64>()
    }

    /// The same by day number.
    pub fn expected_by_day(&self, rules: &ScanRules) -> BTreeMap<i64, i64> {
        let mut expected = BTreeMap::new();
        let Some((first, last)) = self.life else { return expected };
        for (day, part) in by_day(first, last + rules.step_ms) {
            *expected.entry(day).or_insert(0) += part;
        }
        for (day, part) in self.absences.iter().flat_map(|(start, end)| by_day(*start, *end)) {
            *expected.entry(day).or_insert(0) -= part;
        }
        expected
    }
}

/// Cuts `[start, end)` at midnights: day number and milliseconds of each piece.
fn by_day(start: i64, end: i64) -> impl Iterator<Item = (i64, i64)> {
    (start.div_euclid(DAY_MS)..=(end - 1).div_euclid(DAY_MS)).map(move |day| {
        let midnight = day * DAY_MS;
        (day, end.min(midnight + DAY_MS) - start.max(midnight))
    })
}

/// `part` of `whole` as a ratio in 0..1; 1 of nothing.
pub(super) fn share(part: i64, whole: i64) -> f64 {
    if whole <= 0 { 1.0 } else { (part as f64 / whole as f64).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_cut_at_midnight() {
        let pieces: Vec<_> = by_day(DAY_MS - 10, 2 * DAY_MS + 5).collect();
        assert_eq!(pieces, [(0, 10), (1, DAY_MS), (2, 5)]);
        assert_eq!(by_day(7, 7).map(|(_, part)| part).sum::<i64>(), 0);
    }

    #[test]
    fn only_the_longest_gaps_are_kept_but_all_are_counted() {
        let mut gaps = Gaps::default();
        for at in 0..1_000 {
            gaps.add(0, 1 + at);
        }
        gaps.shorten();
        assert_eq!((gaps.count, gaps.total_ms, gaps.longest().len()), (1_000, 500_500, Gaps::KEPT));
        assert_eq!(gaps.longest()[0], (0, 1_000));
    }
}
