//! `collector inject`: a copy of a history in which things go wrong at known times, so that a detector can be judged on
//! real series.

mod labels;
mod plan;

pub use plan::{Injection, plan};

use crate::openmetrics::export::read_day;
use crate::raw::{self, DropCounts};
use crate::sources;
use clap::Args;
use cluster::{INCIDENTS, NODE_METRICS, NodeMetric, NodeName, NodeSample, SampleIntervals};
use runtime::WrongUse;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use store::{DatasetInput, Store};
use synthetic::InjectedFault;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct InjectArgs {
    /// Data root whose raw node metrics are copied; it stays as it is
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The same seed gives the same incidents
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub seed: u64,
    /// Mean days between two incidents of one node, beside two hours of rest
    #[arg(long, default_value_t = 1.0, value_name = "DAYS")]
    pub mean_days_between: f64,
    /// Shortest incident
    #[arg(long, default_value_t = 30, value_name = "MINUTES")]
    pub shortest_minutes: u32,
    /// Longest incident
    #[arg(long, default_value_t = 90, value_name = "MINUTES")]
    pub longest_minutes: u32,
    /// Kinds that only come in the last part of the history, so that nothing can have learned them
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    pub late_kinds: Vec<InjectedFault>,
    /// How much of the history, at its end, has the late kinds too
    #[arg(long, default_value_t = 0.3, value_name = "SHARE")]
    pub late_share: f64,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

impl Default for InjectArgs {
    fn default() -> Self {
        Self {
            from: PathBuf::new(),
            seed: 1,
            mean_days_between: 1.0,
            shortest_minutes: 30,
            longest_minutes: 90,
            late_kinds: Vec::new(),
            late_share: 0.3,
            json: false,
        }
    }
}

impl InjectArgs {
    fn validate(&self) -> Result<(), WrongUse> {
        if !(0.05..=3_650.0).contains(&self.mean_days_between) {
            return Err(WrongUse(format!("--mean-days-between is {}, want 0.05 to 3650", self.mean_days_between)));
        }
        if !(5..=self.longest_minutes).contains(&self.shortest_minutes) || self.longest_minutes > 1_440 {
            return Err(WrongUse(format!(
                "--shortest-minutes is {} and --longest-minutes {}, want 5 or more, in this order, and at most 1440",
                self.shortest_minutes, self.longest_minutes
            )));
        }
        if !(0.0..=1.0).contains(&self.late_share) {
            return Err(WrongUse(format!("--late-share is {}, want 0 to 1", self.late_share)));
        }
        if InjectedFault::ALL.iter().all(|fault| self.late_kinds.contains(fault)) {
            return Err(WrongUse("--late-kinds names every kind, so nothing could go wrong before".to_owned()));
        }
        Ok(())
    }

    fn name(&self) -> String {
        let late: Vec<&str> = self.late_kinds.iter().map(|fault| fault.kind()).collect();
        format!(
            "seed={} every={}d minutes={}..{} late={}({})",
            self.seed,
            self.mean_days_between,
            self.shortest_minutes,
            self.longest_minutes,
            self.late_share,
            late.join("+")
        )
    }
}

/// What was done, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct InjectSummary {
    /// Rows that were written.
    pub rows: u64,
    /// Rows that lie within an incident.
    pub changed_rows: u64,
    /// Incidents by kind.
    pub incidents: BTreeMap<String, u64>,
    /// Planned incidents that were left out: the node had too few samples then, or no metric that would show it.
    pub left_out: u64,
}

impl fmt::Display for InjectSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self.incidents.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        write!(f, "{} rows, {} of them within incidents: {}", self.rows, self.changed_rows, kinds.join(", "))?;
        write!(f, "; {} planned ones left out for want of samples", self.left_out)
    }
}

/// Pods that a node is said to run where the source knows none: a control plane counts them also while the node is away.
const ASSUMED_PODS: f64 = 20.0;

/// Runs `collector inject`.
///
/// # Errors
/// When a setting makes no sense, the target is not empty, the source has no rows, or the disk is full.
pub fn run(args: &InjectArgs, store: &Store) -> anyhow::Result<()> {
    let summary = inject(args, store)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!("{summary}");
    }
    Ok(())
}

/// As [`run`], without printing. The history of all nodes is in memory meanwhile: 160 bytes a sample.
pub fn inject(args: &InjectArgs, store: &Store) -> anyhow::Result<InjectSummary> {
    args.validate()?;
    if !store.days(&NODE_METRICS)?.is_empty() {
        return Err(WrongUse(format!(
            "`{}` has node metrics already. Give a new folder as --data",
            store.root().display()
        ))
        .into());
    }
    let source = Store::new(&args.from);
    let days = source.days(&NODE_METRICS)?;
    if days.is_empty() {
        return Err(WrongUse(format!("`{}` has no node metrics to copy", args.from.display())).into());
    }
    if !source.days(&INCIDENTS)?.is_empty() {
        return Err(WrongUse(format!(
            "`{}` has incidents of its own, which injected ones would meet. Give a history without",
            args.from.display()
        ))
        .into());
    }
    let mut nodes: BTreeMap<String, Vec<NodeSample>> = BTreeMap::new();
    for date in &days {
        for (node, samples) in read_day(&source, *date)? {
            nodes.entry(node).or_default().extend(samples);
        }
    }
    let ends = nodes.values().flatten().map(|sample| sample.ts);
    let (first, last) = (ends.clone().min().unwrap_or(0), ends.max().unwrap_or(0));
    let mut summary = InjectSummary::default();
    let mut injected = Vec::new();
    for (place, (node, samples)) in nodes.iter_mut().enumerate() {
        for sample in samples.iter_mut() {
            complete(sample);
        }
        for incident in plan(args, place as u64, (first, last)) {
            let within = samples.partition_point(|sample| sample.ts < incident.start)
                ..samples.partition_point(|sample| sample.ts < incident.end);
            if !shows(&samples[within.clone()], &incident, interval(samples)) {
                summary.left_out += 1;
                continue;
            }
            for sample in &mut samples[within] {
                let progress = (sample.ts - incident.start) as f64 / (incident.end - incident.start) as f64;
                incident.fault.apply(sample, progress, &incident.fault.effect(incident.strength));
                summary.changed_rows += 1;
            }
            *summary.incidents.entry(incident.fault.kind().to_owned()).or_insert(0) += 1;
            injected.push((node.clone(), incident));
        }
    }
    let mut drops = DropCounts::default();
    let named = nodes.into_iter().map(|(node, samples)| (NodeName::new(node), samples));
    for (date, samples) in raw::by_day(named.collect()) {
        let written = raw::write_node_day(store, date, PART, samples)?;
        summary.rows += written.rows;
        drops.merge(&written.drops);
    }
    labels::write(store, &injected)?;
    for entry in sources::sources(&source)? {
        sources::record(store, entry.input, &entry.drops)?;
    }
    sources::record(store, DatasetInput { kind: "injected".into(), name: args.name(), hash: None }, &drops)?;
    Ok(summary)
}

const PART: &str = "injected";

/// What a control plane would say of a node that measures.
fn complete(sample: &mut NodeSample) {
    for (metric, value) in [(NodeMetric::PodsRunning, ASSUMED_PODS), (NodeMetric::Ready, 1.0)] {
        if sample.get(metric).is_nan() {
            sample.set(metric, value);
        }
    }
}

/// The sample interval of one node; the shortest there is for a single sample, which has none.
fn interval(samples: &[NodeSample]) -> i64 {
    let mut intervals = SampleIntervals::default();
    intervals.add(samples.iter().map(|sample| sample.ts));
    intervals.usual().unwrap_or(1)
}

fn shows(samples: &[NodeSample], incident: &Injection, step: i64) -> bool {
    let seen = |sample: &&NodeSample| incident.fault.shows_in().iter().any(|metric| !sample.get(*metric).is_nan());
    let expected = (incident.end - incident.start) / step;
    samples.iter().filter(seen).count() as i64 * 2 >= expected.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::{DAY_MS, GRID_STEP_MS};

    fn source(folder: &std::path::Path) -> Store {
        let store = Store::new(folder);
        let samples = (0..10 * 288)
            // Half a day without samples: what would happen then is left out.
            .filter(|slot| !(600..744).contains(slot))
            .map(|slot| {
                let mut sample = NodeSample::empty(slot * GRID_STEP_MS);
                sample.set(NodeMetric::CpuUsed, 4.0);
                sample.set(NodeMetric::CpuAllocatable, 10.0);
                sample
            })
            .collect();
        for (date, nodes) in raw::by_day(vec![(NodeName::new("node-a"), samples)]) {
            raw::write_node_day(&store, date, "day", nodes).expect("written");
        }
        store
    }

    #[test]
    fn a_copy_differs_within_its_labels_alone() {
        let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        source(from.path());
        let args =
            InjectArgs { from: from.path().to_owned(), mean_days_between: 0.2, seed: 3, ..InjectArgs::default() };
        let store = Store::new(to.path());
        let summary = inject(&args, &store).expect("injected");
        let planned = plan(&args, 0, (0, (10 * 288 - 1) * GRID_STEP_MS));
        let cpu_kinds = |fault: InjectedFault| fault.shows_in().contains(&NodeMetric::CpuUsed);
        let made: u64 = summary.incidents.values().sum();
        assert_eq!(made + summary.left_out, planned.len() as u64);
        assert!(
            summary
                .incidents
                .keys()
                .all(|kind| ["cpu_saturation", "not_ready", "noisy_neighbour"].contains(&kind.as_str())),
            "{summary}"
        );
        assert!(made >= 3, "{summary}");
        for day in 0..10 {
            for sample in
                read_day(&store, store::date_of(day * DAY_MS)).expect("a day").remove("node-a").unwrap_or_default()
            {
                let meets = planned
                    .iter()
                    .any(|incident| cpu_kinds(incident.fault) && (incident.start..incident.end).contains(&sample.ts));
                let changed = sample.get(NodeMetric::CpuUsed) != 4.0;
                assert_eq!(changed, meets, "at {}", sample.ts);
            }
        }
        let again = inject(&args, &store).expect_err("not empty").to_string();
        assert!(again.contains("has node metrics already"), "{again}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_value() {
        let store = Store::new("nowhere");
        let refused = |args: InjectArgs| inject(&args, &store).expect_err("refused").to_string();
        let base = InjectArgs::default();
        assert!(refused(InjectArgs { mean_days_between: 0.0, ..base.clone() }).contains("--mean-days-between is 0"));
        assert!(refused(InjectArgs { shortest_minutes: 91, ..base.clone() }).contains("--shortest-minutes is 91"));
        assert!(refused(InjectArgs { late_share: 1.5, ..base.clone() }).contains("--late-share is 1.5"));
        assert!(refused(InjectArgs { late_kinds: InjectedFault::ALL.to_vec(), ..base.clone() }).contains("every kind"));
        assert!(refused(InjectArgs { from: "absent".into(), ..base }).contains("`absent` has no node metrics"));
    }
}
