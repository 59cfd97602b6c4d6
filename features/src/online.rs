//! The whole cluster's windows, as a server keeps them: samples in as they come, all rows of a grid time out.

use crate::GRID_STEP_MS;
use crate::catalogue;
use crate::settings::WindowRules;
use crate::slot::{Dropped, Slot};
use crate::windows::{ClusterContext, ClusterWindows, Incident, NodeWindows, Passed};
use cluster::{NodeName, NodeSample, grid_floor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Rows of all nodes at one grid time.
#[derive(Debug, Clone, Default)]
pub struct GridRows {
    /// The grid time, UTC milliseconds.
    pub ts: i64,
    /// The nodes that have a row, sorted by name.
    pub nodes: Vec<NodeName>,
    /// Row-major in catalogue order, NaN = missing.
    pub values: Vec<f32>,
}

impl GridRows {
    /// The row of the node in place `place` of `nodes`.
    pub fn row(&self, place: usize) -> &[f32] {
        let width = catalogue::len();
        &self.values[place * width..(place + 1) * width]
    }
}

/// Windows of every node and of the cluster. They can be put aside and taken up again in any format that keeps NaN, such as
/// MessagePack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnlineFeatures {
    rules: Arc<WindowRules>,
    nodes: BTreeMap<NodeName, NodeWindows>,
    cluster: ClusterWindows,
    /// The newest grid time that has been closed for the whole cluster.
    clock: Option<i64>,
    dropped: Dropped,
}

impl OnlineFeatures {
    /// A cluster of which nothing is known. Warm it with seven days of samples, then rows are exact.
    pub fn new(rules: WindowRules) -> Self {
        let cluster = ClusterWindows::new(rules.clone());
        Self { rules: Arc::new(rules), nodes: BTreeMap::new(), cluster, clock: None, dropped: Dropped::default() }
    }

    /// Takes in one sample of one node. Samples of different nodes may come in any order.
    pub fn push(&mut self, node: &NodeName, sample: &NodeSample) {
        let late = self.clock.is_some_and(|clock| sample.ts < clock);
        if late {
            // The cluster's context of that time has been given already.
            self.dropped.out_of_order += 1;
            return;
        }
        match self.nodes.get_mut(node) {
            Some(windows) => windows.push(sample),
            None => {
                let mut windows = NodeWindows::new(Arc::clone(&self.rules));
                windows.push(sample);
                self.nodes.insert(node.clone(), windows);
            }
        }
    }

    /// Takes in an incident, or the end of one that was open.
    pub fn push_incident(&mut self, node: &NodeName, incident: Incident) {
        let rules = &self.rules;
        self.nodes.entry(node.clone()).or_insert_with(|| NodeWindows::new(Arc::clone(rules))).push_incident(incident);
    }

    /// Takes in the moments of `times`, seen every `step`, at which things were bad: node, what, when. Moments no further apart than `join`
    /// are one incident; it lasts while it is bad at the newest step.
    pub fn push_bad_moments<'a>(
        &mut self,
        times: &Range<i64>,
        (step, join): (i64, i64),
        bad: impl IntoIterator<Item = (&'a NodeName, &'a str, &'a BTreeSet<i64>)>,
    ) {
        // What lasted so far did so until these times began; whether it still does they tell.
        for known in self.incidents_mut().filter(|known| known.ended_at.is_none()) {
            known.ended_at = Some(known.started_at.max(times.start - 1));
        }
        for (node, kind, moments) in bad {
            let rules = &self.rules;
            let windows = self.nodes.entry(node.clone()).or_insert_with(|| NodeWindows::new(Arc::clone(rules)));
            moments.range(times.clone()).for_each(|moment| windows.push_bad_moment(kind, *moment, join));
        }
        for known in self.incidents_mut().filter(|known| known.ended_at >= Some(times.end - step)) {
            known.ended_at = None;
        }
    }

    fn incidents_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.nodes.values_mut().flat_map(NodeWindows::incidents_mut)
    }

    /// The rows of grid time `t` (rounded down to the grid) of all nodes heard of in the hour before it. The grid times
    /// since the last call are closed on the way, so a server that slept goes on correctly.
    ///
    /// # Errors
    /// When rows of a later time were given already.
    pub fn rows(&mut self, t: i64) -> Result<GridRows, Passed> {
        let t = grid_floor(t, GRID_STEP_MS);
        if let Some(now) = self.clock.filter(|now| *now > t) {
            return Err(Passed { wanted: t, now });
        }
        let context = self.advance(t);
        let mut rows = GridRows { ts: t, ..GridRows::default() };
        let mut row = vec![f32::NAN; catalogue::len()];
        for (node, windows) in &mut self.nodes {
            if windows.row(t, &context, &mut row)? {
                rows.nodes.push(node.clone());
                rows.values.extend_from_slice(&row);
            }
        }
        Ok(rows)
    }

    /// The rows of grid time `t` as they would be with `newest` taken in, where everything before the slot that ends at `t` is closed.
    /// Nothing changes here: each node is tried on a copy that is gone before the next one, so that a second set of windows never exists.
    ///
    /// # Errors
    /// When rows of `t` or of a later time were given already.
    pub fn rows_with(&self, t: i64, newest: &BTreeMap<NodeName, Vec<NodeSample>>) -> Result<GridRows, Passed> {
        let t = grid_floor(t, GRID_STEP_MS);
        if let Some(now) = self.clock.filter(|now| *now >= t) {
            return Err(Passed { wanted: t, now });
        }
        let unheard = NodeWindows::new(Arc::clone(&self.rules));
        let names: BTreeSet<&NodeName> = self.nodes.keys().chain(newest.keys()).collect();
        let of = |name: &NodeName| {
            let samples = newest.get(name).map_or(&[][..], Vec::as_slice);
            (self.nodes.get(name).unwrap_or(&unheard), samples)
        };
        let slots: Vec<Slot> = names
            .iter()
            .map(|name| {
                let (windows, samples) = of(name);
                windows.slot_with(t, samples)
            })
            .collect();
        let context = self.cluster.clone().push(slots.iter());
        let mut rows = GridRows { ts: t, ..GridRows::default() };
        let mut row = vec![f32::NAN; catalogue::len()];
        for name in names {
            let (windows, samples) = of(name);
            let mut tried = windows.clone();
            samples.iter().for_each(|sample| tried.push(sample));
            if tried.row(t, &context, &mut row)? {
                rows.nodes.push(name.clone());
                rows.values.extend_from_slice(&row);
            }
        }
        Ok(rows)
    }

    /// The grid time up to which slots are closed; `None` before the first.
    pub const fn clock(&self) -> Option<i64> {
        self.clock
    }

    /// Closes the slots up to `t` for everyone; gives the cluster's context at `t`.
    fn advance(&mut self, t: i64) -> ClusterContext {
        let first_open = || self.nodes.values().filter_map(NodeWindows::open).min();
        let first = self.clock.map(|clock| clock + GRID_STEP_MS).or_else(first_open);
        let mut context = self.cluster.current();
        let Some(first) = first else { return context };
        // Rows look back a week, so after a longer sleep only the last week is walked through.
        let week = 7 * cluster::DAY_MS;
        let mut at = if t - first > 2 * week { self.skip(t - week) } else { first };
        while at <= t {
            let slots: Vec<Slot> = self.nodes.values_mut().map(|windows| windows.slot_at(at)).collect();
            context = self.cluster.push(slots.iter());
            at += GRID_STEP_MS;
        }
        self.clock = Some(t);
        self.nodes.retain(|_, windows| !windows.is_forgotten());
        context
    }

    /// Jumps over a silence of more than two weeks; gives the first grid time to close.
    fn skip(&mut self, to: i64) -> i64 {
        for windows in self.nodes.values_mut() {
            windows.advance(to);
        }
        self.cluster = ClusterWindows::new((*self.rules).clone());
        to + GRID_STEP_MS
    }

    /// Samples and values that could not be used, over all nodes that are still known.
    pub fn dropped(&self) -> Dropped {
        let mut dropped = self.dropped;
        for windows in self.nodes.values() {
            dropped += windows.dropped();
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::{HOUR_MS, NodeMetric};

    fn fill(windows: &mut OnlineFeatures, times: Range<i64>) {
        for ts in times.step_by(60_000) {
            for node in 0..3 {
                let mut sample = NodeSample::empty(ts);
                sample.set(NodeMetric::CpuUsed, 1.0 + ((ts / 60_000 + node) % 7) as f64);
                sample.set(NodeMetric::CpuAllocatable, 8.0);
                windows.push(&NodeName::new(format!("node-{node}")), &sample);
            }
        }
    }

    #[test]
    fn windows_that_were_put_aside_go_on_as_if_nothing_had_been() {
        let (start, cut, end) = (1_780_272_000_000, 1_780_272_000_000 + 30 * HOUR_MS, 1_780_272_000_000 + 33 * HOUR_MS);
        let mut one = OnlineFeatures::new(WindowRules::default());
        fill(&mut one, start..cut + 120_000);
        one.rows(cut).expect("rows");
        let bytes = rmp_serde::to_vec(&one).expect("bytes");
        let mut other: OnlineFeatures = rmp_serde::from_slice(&bytes).expect("windows");
        for windows in [&mut one, &mut other] {
            fill(windows, cut + 120_000..end);
        }
        let bits = |rows: GridRows| rows.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let (one, other) = (one.rows(end).expect("rows"), other.rows(end).expect("rows"));
        assert_eq!((one.nodes.len(), &one.nodes), (3, &other.nodes));
        assert_eq!(bits(one), bits(other));
        assert!(rmp_serde::from_slice::<OnlineFeatures>(&bytes[..bytes.len() / 2]).is_err());
    }
    #[test]
    fn bad_moments_become_incidents_that_go_on_over_pieces_and_a_repetition() {
        let (node, step, join) = (NodeName::new("node-1"), 60_000, 300_000);
        let mut windows = OnlineFeatures::new(WindowRules::default());
        let mut push = |times: Range<i64>, bad: &[i64]| {
            let moments: BTreeSet<i64> = bad.iter().map(|minute| minute * step).collect();
            let times = times.start * step..times.end * step;
            windows.push_bad_moments(&times, (step, join), [(&node, "not_ready", &moments)]);
            let spans = windows.incidents_mut().map(|known| {
                assert_eq!(known.kind, "not_ready");
                (known.started_at / step, known.ended_at.map(|end| end / step))
            });
            spans.collect::<Vec<_>>()
        };
        assert_eq!(push(0..10, &[2, 3, 9]), [(2, Some(3)), (9, None)]);
        assert_eq!(push(10..20, &[10, 14]), [(2, Some(3)), (9, Some(14))]);
        assert_eq!(push(20..21, &[20]), [(2, Some(3)), (9, Some(14)), (20, None)]);
        // Whoever goes on from windows on disk sees the last minutes again.
        assert_eq!(push(12..22, &[14, 20]), [(2, Some(3)), (9, Some(14)), (20, Some(20))]);
    }
}
