//! Rows of features for any moment, not only for the grid that models are trained on.
//!
//! A row of the catalogue summarises five minutes that end on the grid, so alone it would tell of an incident up to five
//! minutes late. Here the last five minutes before any moment are put in the place of the newest slot, behind the slots that
//! were closed on the grid: the newest values are as fresh as the samples, and the windows behind them lack at most five
//! minutes. On the grid both are the same row, to the last bit.

use cluster::{NodeName, NodeSample, grid_floor};
use collector::prometheus::incidents::{BadMoments, JOIN_MS};
use features::{GRID_STEP_MS, GridRows, Incident, OnlineFeatures, WindowRules};
use std::collections::BTreeMap;
use std::ops::Range;

/// Windows of all nodes, and the samples of the last minutes.
#[derive(Debug, Clone)]
pub struct SlidingFeatures {
    /// Has taken in every sample before `grid`.
    settled: OnlineFeatures,
    grid: i64,
    recent: BTreeMap<NodeName, Vec<NodeSample>>,
    late: u64,
}

impl SlidingFeatures {
    /// Windows that know nothing; history begins at `from`.
    pub fn new(rules: WindowRules, from: i64) -> Self {
        let grid = grid_floor(from, GRID_STEP_MS);
        Self { settled: OnlineFeatures::new(rules), grid, recent: BTreeMap::new(), late: 0 }
    }

    /// The windows of everything before their grid time, for a snapshot.
    pub fn settled(&self) -> (&OnlineFeatures, i64) {
        (&self.settled, self.grid)
    }

    /// Goes on from windows that were put aside at a grid time. Samples from then on come in again.
    pub fn resume(settled: OnlineFeatures, grid: i64) -> Self {
        Self { settled, grid, recent: BTreeMap::new(), late: 0 }
    }

    /// Takes in samples of one node, in order of time.
    pub fn push(&mut self, node: &NodeName, samples: &[NodeSample]) {
        let recent = self.recent.entry(node.clone()).or_default();
        for sample in samples {
            let is_late = sample.ts < self.grid || recent.last().is_some_and(|last| sample.ts <= last.ts);
            if is_late {
                self.late += 1;
            } else {
                recent.push(*sample);
            }
        }
    }

    /// Takes in incidents of one node that began before the windows do, or within them.
    pub fn push_incidents(&mut self, node: &NodeName, incidents: Vec<Incident>) {
        for incident in incidents {
            self.settled.push_incident(node, incident);
        }
    }

    /// Takes in what was bad about nodes at the steps of `times`.
    pub fn push_bad_moments(&mut self, times: &Range<i64>, step: i64, bad: &[BadMoments]) {
        let names: Vec<NodeName> = bad.iter().map(|one| NodeName::new(one.node.as_str())).collect();
        let bad = names.iter().zip(bad).map(|(node, one)| (node, one.kind.as_str(), &one.moments));
        self.settled.push_bad_moments(times, (step, JOIN_MS), bad);
    }

    /// Samples that came after their time had passed, or twice.
    pub fn late(&self) -> u64 {
        self.late + self.settled.dropped().out_of_order + self.settled.dropped().duplicates
    }

    /// The rows of grid time `t`, of samples before it. Nothing older than five minutes before can come in any more.
    ///
    /// # Errors
    /// When rows of a later time were given already.
    pub fn on_grid(&mut self, t: i64) -> anyhow::Result<GridRows> {
        self.ending_at(grid_floor(t, GRID_STEP_MS))
    }

    /// The rows of the five minutes before `end`. Their `ts` is `end`.
    ///
    /// # Errors
    /// When rows of a time more than five minutes later were given already.
    pub fn ending_at(&mut self, end: i64) -> anyhow::Result<GridRows> {
        self.settle(end - GRID_STEP_MS)?;
        let shift = end - GRID_STEP_MS - self.grid;
        anyhow::ensure!(
            (0..GRID_STEP_MS).contains(&shift),
            "rows that end at {end} ms were asked for after later ones"
        );
        let moved = |samples: &Vec<NodeSample>| {
            let within = samples.iter().filter(|sample| sample.ts >= self.grid + shift && sample.ts < end);
            within.map(|sample| NodeSample { ts: sample.ts - shift, ..*sample }).collect()
        };
        let newest: BTreeMap<NodeName, Vec<NodeSample>> =
            self.recent.iter().map(|(node, samples)| (node.clone(), moved(samples))).collect();
        let rows = self.settled.rows_with(self.grid + GRID_STEP_MS, &newest)?;
        Ok(GridRows { ts: end, ..rows })
    }

    /// Closes the slots that end at or before `to`: samples before it come in no more.
    ///
    /// # Errors
    /// When a later one was closed already.
    pub fn settle(&mut self, to: i64) -> anyhow::Result<()> {
        let to = grid_floor(to, GRID_STEP_MS);
        if to <= self.grid {
            return Ok(());
        }
        for (node, samples) in &mut self.recent {
            let closed = samples.partition_point(|sample| sample.ts < to);
            for sample in samples.drain(..closed) {
                self.settled.push(node, &sample);
            }
        }
        self.recent.retain(|_, samples| !samples.is_empty());
        self.settled.rows(to)?;
        self.grid = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::{HOUR_MS, NodeMetric};
    use features::catalogue;

    const START: i64 = 1_780_272_000_000;

    fn sample(ts: i64, used: f64) -> NodeSample {
        let mut sample = NodeSample::empty(ts);
        sample.set(NodeMetric::CpuUsed, used);
        sample.set(NodeMetric::CpuAllocatable, 8.0);
        sample
    }

    fn used(ts: i64) -> f64 {
        2.0 + ((ts / 30_000) % 7) as f64 * 0.3
    }

    #[test]
    fn on_the_grid_rows_are_those_of_the_catalogue_to_the_last_bit() {
        let node = NodeName::new("worker-1");
        let mut sliding = SlidingFeatures::new(WindowRules::default(), START);
        let mut plain = OnlineFeatures::new(WindowRules::default());
        for ts in (START..START + 3 * HOUR_MS).step_by(30_000) {
            sliding.push(&node, &[sample(ts, used(ts))]);
            plain.push(&node, &sample(ts, used(ts)));
            let end = ts + 30_000;
            if end < START + GRID_STEP_MS {
                continue;
            }
            // Between the grid times rows are asked for too, and change nothing.
            let rows = sliding.ending_at(end).expect("rows");
            if end % GRID_STEP_MS == 0 {
                let wanted = plain.rows(end).expect("rows");
                let bits = |rows: &GridRows| rows.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                assert_eq!((&rows.nodes, bits(&rows)), (&wanted.nodes, bits(&wanted)), "{end}");
                assert_eq!(bits(&sliding.on_grid(end).expect("rows")), bits(&wanted));
            }
        }
        assert_eq!(sliding.late(), 0);
        sliding.push(&node, &[sample(START, 1.0)]);
        assert_eq!(sliding.late(), 1);
    }

    #[test]
    fn between_grid_times_the_newest_value_is_the_mean_of_the_last_five_minutes() {
        let node = NodeName::new("worker-1");
        let mut sliding = SlidingFeatures::new(WindowRules::default(), START);
        let end = START + HOUR_MS + 120_000;
        for ts in (START..end).step_by(30_000) {
            // The last two minutes are busy.
            let cores = if ts >= end - 120_000 { 8.0 } else { 2.0 };
            sliding.push(&node, &[sample(ts, cores)]);
        }
        let rows = sliding.ending_at(end).expect("rows");
        let cpu = rows.row(0)[catalogue::index("cpu_utilization").expect("a feature")];
        // Four of ten samples at 1, six at 1/4.
        assert!((f64::from(cpu) - 0.55).abs() < 1e-6, "{cpu}");
        assert_eq!(rows.ts, end);
        assert!(sliding.ending_at(end - HOUR_MS).is_err());
    }
}
