//! Reads the tables day by day and puts the report together. Memory holds one day of samples at a time.

use super::day::Day;
use super::metric::{MetricScan, ScanRules};
use super::node::{NodeScan, share};
use super::outage::outages;
use super::summary::{
    DataSpan, Distribution, MetricQuality, NodeMetricQuality, NodeQuality, NodeState, OutageQuality, QualityReport,
    Stretch, rfc3339, seconds,
};
use super::{Limits, REQUIRED, events, gate, problems};
use crate::prometheus::labels_of;
use anyhow::Context;
use chrono::NaiveDate;
use cluster::{DAY_MS, GRID_STEP_MS, IgnoredNodes, NODE_METRICS, NodeMetric, SampleIntervals, is_plausible_moment};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use store::{Store, StoreError, date_of, day_start};

/// What is judged, beside the tables themselves.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Id of the dataset version; `None` for live tables.
    pub dataset: Option<String>,
    /// What the tables were made from, such as `prometheus` or `csv`; empty where nobody knows.
    pub sources: Vec<String>,
    /// Nodes that are left out. Tables have no labels of nodes: what counts are names, and what names give away.
    pub ignored: IgnoredNodes,
}

/// Judges the raw tables of a dataset version, or the live ones.
///
/// # Errors
/// When there are no node metrics, when a file is damaged or does not fit its table (the message names it), when a day is
/// none that samples can have, or when no node has two samples and the settings do not give the step.
pub fn assess(tables: &Store, subject: &Subject, limits: &Limits) -> anyhow::Result<QualityReport> {
    let days = tables.days(&NODE_METRICS)?;
    if days.is_empty() {
        return Err(StoreError::Empty { table: NODE_METRICS.name.to_owned(), root: tables.root().to_owned() }.into());
    }
    if let Some(day) = days.iter().find(|day| !is_plausible_moment(day_start(**day))) {
        anyhow::bail!(
            "`{}` has samples of `{day}`, which is not in the years 2000 to 2199: their time was read in a wrong unit. Remove the folder `date={day}` and import the file again in the right one",
            NODE_METRICS.name
        );
    }
    let (steps, rows_per_day) = sample_intervals(tables, &days)?;
    let step_ms = limits.step_ms.or_else(|| sample_interval(&steps)).with_context(|| {
        format!(
            "no node below `{}` has two samples, so their distance cannot be told. Give it with --step",
            tables.root().display()
        )
    })?;
    let sample_every = (rows_per_day * days.len() as u64 / MetricQuality::SAMPLE) | 1; // odd, so that it meets all times of day
    let rules = ScanRules { step_ms, limits: *limits, sample_every };
    let (mut scans, keyless) = scan_days(tables, &days, &rules)?;
    let ignored: BTreeMap<String, String> = scans
        .keys()
        .filter_map(|node| Some((node.clone(), subject.ignored.why(node, &labels_of(node))?.to_string())))
        .collect();
    scans.retain(|node, _| !ignored.contains_key(node));
    let lives = || scans.values().filter_map(|scan| scan.life);
    let (Some(start), Some(end)) = (lives().map(|life| life.0).min(), lives().map(|life| life.1).max()) else {
        anyhow::bail!("no row below `{}` has a node and a time within its day", tables.root().display());
    };
    let span = Span { start, end };
    let nodes: Vec<NodeQuality> =
        scans.iter().filter_map(|(node, scan)| span.node(node, scan, steps.get(node), &rules)).collect();
    let metrics: Vec<MetricQuality> =
        NodeMetric::ALL.iter().map(|metric| judge_metric(*metric, &scans, &rules)).collect();
    let found = outages(nodes.iter().map(|node| (node.life, node.all_gaps.as_slice())), GRID_STEP_MS.max(2 * step_ms));
    let outages = found
        .iter()
        .map(|outage| OutageQuality {
            stretch: Stretch::new((outage.start, outage.end)),
            nodes: outage.nodes,
            at: (outage.start, outage.end),
        })
        .collect::<Vec<_>>();
    let names: BTreeSet<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
    let tolerance = step_ms.max(1_000);
    let mut report = QualityReport {
        schema: QualityReport::SCHEMA,
        dataset: subject.dataset.clone(),
        sources: subject.sources.clone(),
        ignored,
        gate: super::summary::Gate { passed: true, rules: Vec::new(), verdict: String::new() },
        problems: Vec::new(),
        span: DataSpan { start: rfc3339(start), end: rfc3339(end), days: days.len(), step_seconds: seconds(step_ms) },
        pods: events::judge_pods(tables, &names, tolerance)?,
        incidents: events::judge_incidents(tables, &names, tolerance)?,
        figures: BTreeMap::new(),
        metrics,
        nodes,
        outages,
        limits: *limits,
    };
    report.figures = gate::figures(&report, &scans, keyless);
    report.problems = problems::find(&report, &found, keyless, step_ms);
    report.gate = gate::apply(&report);
    report.figures.insert("gate_passed".into(), f64::from(u8::from(report.gate.passed)));
    Ok(report)
}

/// The distances of samples on the first, the middle and the last day (on all days when these have none), and rows per
/// day.
fn sample_intervals(tables: &Store, days: &[NaiveDate]) -> anyhow::Result<(BTreeMap<String, SampleIntervals>, u64)> {
    let some: BTreeSet<NaiveDate> = [0, days.len() / 2, days.len() - 1].into_iter().map(|at| days[at]).collect();
    let mut counts = BTreeMap::new();
    let mut rows = 0;
    for day in &some {
        let day = Day::read_times(tables, *day)?;
        rows += day.ts.len() as u64;
        day.count_intervals(&mut counts);
    }
    if sample_interval(&counts).is_none() && some.len() < days.len() {
        for day in days.iter().filter(|day| !some.contains(day)) {
            Day::read_times(tables, *day)?.count_intervals(&mut counts);
        }
    }
    Ok((counts, rows / some.len() as u64))
}

/// The dataset's sample interval: one for all nodes, since one grid of scrapes is what the features expect. A node that
/// is sampled half as often as the others has half of the coverage.
fn sample_interval(by_node: &BTreeMap<String, SampleIntervals>) -> Option<i64> {
    let mut all = SampleIntervals::default();
    by_node.values().for_each(|node| all.merge(node));
    all.usual()
}

/// All nodes, and how many rows have no node or time.
fn scan_days(
    tables: &Store,
    days: &[NaiveDate],
    rules: &ScanRules,
) -> anyhow::Result<(BTreeMap<String, NodeScan>, u64)> {
    let mut scans: BTreeMap<String, NodeScan> = BTreeMap::new();
    let mut keyless = 0;
    let bar = runtime::progress::bar(days.len() as u64, "judging days");
    for date in days {
        let day = Day::read(tables, *date)?;
        keyless += day.keyless;
        for node in day.nodes.keys().filter(|node| !scans.contains_key(node.as_str())).cloned().collect::<Vec<_>>() {
            scans.insert(node, NodeScan::new());
        }
        scans.par_iter_mut().for_each(|(node, scan)| {
            if let Some(runs) = day.nodes.get(node) {
                scan.take(&day, runs, rules);
            }
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    scans.par_iter_mut().for_each(|(_, scan)| scan.finish(rules));
    Ok((scans, keyless))
}

/// First and last sample of any node.
struct Span {
    start: i64,
    end: i64,
}

impl Span {
    fn node(
        &self,
        node: &str,
        scan: &NodeScan,
        intervals: Option<&SampleIntervals>,
        rules: &ScanRules,
    ) -> Option<NodeQuality> {
        let (first, last) = scan.life?;
        let expected = scan.expected_ms(rules);
        let covered = &scan.covered_by_day;
        let coverage_by_day = scan
            .expected_by_day(rules)
            .into_iter()
            .filter(|(_, expected)| *expected > 0)
            .map(|(day, expected)| {
                (date_of(day * DAY_MS).to_string(), share(covered.get(&day).copied().unwrap_or(0), expected))
            })
            .collect();
        let joined_after = first - self.start;
        let uptime_ms = if scan.first_uptime.is_finite() { scan.first_uptime * 1e3 } else { 0.0 };
        let history_missing = (uptime_ms as i64).clamp(0, joined_after);
        let silent = self.end - last;
        let state = match silent {
            silent if silent > rules.limits.absent_after_ms => NodeState::Left,
            silent if silent > rules.limits.late_after_ms => NodeState::Late,
            _ => NodeState::Current,
        };
        let metrics = NodeMetric::ALL.iter().zip(&scan.metrics);
        Some(NodeQuality {
            node: node.to_owned(),
            first: rfc3339(first),
            last: rfc3339(last),
            state,
            joined_after_seconds: seconds(joined_after),
            history_missing_seconds: seconds(history_missing),
            silent_seconds: seconds(silent),
            absent_seconds: seconds(scan.absences.iter().map(|(start, end)| end - start).sum()),
            rows: scan.rows,
            coverage: share(scan.covered_ms, expected),
            coverage_by_day,
            coverage_of_span: share(scan.covered_ms, self.end - self.start + rules.step_ms),
            step_seconds: intervals.and_then(SampleIntervals::usual).map(seconds),
            gaps: scan.gaps.count,
            gap_seconds: seconds(scan.gaps.total_ms),
            longest_gaps: scan.gaps.longest().iter().take(10).map(|gap| Stretch::new(*gap)).collect(),
            duplicates: scan.duplicates,
            out_of_order: scan.out_of_order,
            misfiled: scan.misfiled,
            resets: scan.resets,
            clock_jumps: scan.clock_jumps,
            cpu_over_allocatable: scan.over_allocatable[0],
            memory_over_allocatable: scan.over_allocatable[1],
            metrics: metrics.map(|(metric, scan)| (metric.column(), node_metric(scan, expected))).collect(),
            all_gaps: scan.gaps.longest().to_vec(),
            life: (first, last),
        })
    }
}

fn node_metric(scan: &MetricScan, expected_ms: i64) -> NodeMetricQuality {
    NodeMetricQuality {
        coverage: share(scan.covered_ms, expected_ms),
        null_share: ratio(scan.missing, scan.missing + scan.present),
        gaps: scan.gaps,
        longest_gap: scan.longest_gap.map(Stretch::new),
        out_of_range: scan.out_of_range,
        flat_lines: scan.flat.stretches,
        longest_flat: scan.flat.longest.map(Stretch::new),
    }
}

fn judge_metric(metric: NodeMetric, scans: &BTreeMap<String, NodeScan>, rules: &ScanRules) -> MetricQuality {
    let of = |scan: &NodeScan| scan.metrics[metric as usize].clone();
    let alive = || scans.values().filter(|scan| scan.life.is_some());
    let covered = alive().map(|scan| scan.metrics[metric as usize].covered_ms).sum();
    let expected = alive().map(|scan| scan.expected_ms(rules)).sum();
    let (missing, present) = alive().fold((0, 0), |(missing, present), scan| {
        let scan = &scan.metrics[metric as usize];
        (missing + scan.missing, present + scan.present)
    });
    MetricQuality {
        column: metric.column(),
        unit: metric.unit(),
        required: REQUIRED.contains(&metric),
        coverage: share(covered, expected),
        null_share: ratio(missing, missing + present),
        nodes_without: alive().filter(|scan| scan.metrics[metric as usize].present == 0).count(),
        out_of_range: alive().map(|scan| scan.metrics[metric as usize].out_of_range).sum(),
        flat_lines: alive().map(|scan| scan.metrics[metric as usize].flat.stretches).sum(),
        distribution: distribution(&alive().map(of).collect::<Vec<_>>()),
    }
}

fn distribution(scans: &[MetricScan]) -> Option<Distribution> {
    let usable: u64 = scans.iter().map(MetricScan::usable).sum();
    if usable == 0 {
        return None;
    }
    let mut sample: Vec<f64> = scans.iter().flat_map(|scan| scan.sample.iter().copied()).collect();
    sample.sort_by(f64::total_cmp);
    let low = scans.iter().map(|scan| scan.low).fold(f64::INFINITY, f64::min);
    let high = scans.iter().map(|scan| scan.high).fold(f64::NEG_INFINITY, f64::max);
    let mean = scans.iter().map(|scan| scan.sum).sum::<f64>() / usable as f64;
    let quantile = |share: f64| {
        let place = share * sample.len().saturating_sub(1) as f64;
        sample.get(place.round() as usize).copied().unwrap_or(mean)
    };
    Some(Distribution { min: low, p05: quantile(0.05), p50: quantile(0.5), p95: quantile(0.95), max: high, mean })
}

/// `part` of `whole`; 0 of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
