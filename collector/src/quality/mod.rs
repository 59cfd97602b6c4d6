//! Judges a dataset version: is it fit to be trained on, what is wrong with it, what is to be done.
//!
//! # What is expected
//! The step is the sample interval that the dataset's manifest names (or `--step`), one for the whole dataset. A node is expected to
//! have a sample every step from its first to its last one. So a node that joins late or leaves early is not blamed
//! for the time before and after: it is said in a line of its own ([`NodeQuality::joined_after_seconds`],
//! [`NodeQuality::silent_seconds`]). Three things keep that from hiding losses:
//! - a node whose uptime says that it ran before its first sample has history that was not collected
//!   ([`NodeQuality::history_missing_seconds`], a warning);
//! - a node that fell silent within the last `absent_after` is late, and the gate refuses when more than `max_silent`
//!   of the nodes of that time are; one that has been silent for longer has left;
//! - a silence in the middle counts as a gap, unless it is longer than `absent_after` and the node comes back with an
//!   uptime that is shorter: then it was off, and nothing could be sampled.
//!
//! # What is covered
//! Every sample speaks for the time up to the next one; where at least one sample is missing (a distance above one and a
//! half steps) it speaks for one step only. Coverage is the time spoken for, of the time expected: it does not depend on
//! jitter or phase, and lies in 0..1. A value that is null, not finite, below 0 or above
//! [`cluster::NodeMetric::plausible_max`] covers nothing. Duplicates are counted and cover once.
//!
//! # What the gate asks
//! Every limit is a setting of `[collector.quality]`; when one is broken the reports are still written and the command
//! ends with exit code 3:
//! - `min_coverage`: mean coverage of the four [`REQUIRED`] metrics, 0.95;
//! - `max_out_of_range`: values that cannot be true, of all values, 0.01;
//! - `max_duplicates`: rows that repeat another row's node and time, of all rows, 0.01;
//! - `max_silent`: see above, 0.5.

mod advice;
mod assess;
mod day;
mod events;
mod gate;
mod metric;
mod node;
mod outage;
mod page;
mod problems;
mod settings;
mod summary;
#[cfg(test)]
mod tests;

pub use assess::{Subject, assess};
pub use page::page;
pub use settings::{Limits, QualityArgs};
pub use summary::{
    DataSpan, Distribution, Gate, GateRule, IncidentsQuality, MetricQuality, NodeMetricQuality, NodeQuality, NodeState,
    OutageQuality, PodsQuality, Problem, QualityReport, Severity, Stretch,
};

use cluster::{NODE_METRICS, NodeMetric};
use runtime::GateRefused;
use std::collections::BTreeSet;
use store::Store;

/// The metrics without which no load can be predicted; the gate counts their coverage.
pub const REQUIRED: [NodeMetric; 4] =
    [NodeMetric::CpuUsed, NodeMetric::CpuAllocatable, NodeMetric::MemoryUsed, NodeMetric::MemoryAllocatable];

/// Judges the dataset, writes the reports and applies the gate.
///
/// # Errors
/// [`GateRefused`] when the gate says no, after the reports are written; else when the dataset cannot be read or a
/// report cannot be written.
pub fn run(args: &QualityArgs, store: &Store) -> anyhow::Result<()> {
    let mut limits = args.limits()?;
    let version = store.find_version(args.dataset.as_deref().unwrap_or("latest"), &NODE_METRICS)?;
    limits.step_ms = limits.step_ms.or(version.sample_interval_ms);
    let subject = Subject {
        dataset: Some(version.id.clone()),
        sources: version.inputs.iter().map(|input| input.kind.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        ignored: args.ignored()?,
    };
    let report = assess(&store.open_version(&version.id)?, &subject, &limits)?;
    if let Some(path) = &args.json_out {
        runtime::files::write_json(path, &report)?;
    }
    if let Some(path) = &args.html_out {
        runtime::files::write_text(path, &page(&report))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_summary(&report);
    }
    if report.gate.passed {
        Ok(())
    } else {
        Err(GateRefused(format!("quality gate of `{}`: {}", version.id, report.gate.verdict)).into())
    }
}

fn print_summary(report: &QualityReport) {
    let span = &report.span;
    println!(
        "{} nodes, {} to {}, one sample every {}",
        report.nodes.len(),
        span.start,
        span.end,
        problems::span(span.step_seconds)
    );
    for (node, rule) in &report.ignored {
        println!("left  {node}: left out by --ignore-nodes ({rule})");
    }
    for problem in &report.problems {
        let mark = match problem.severity {
            Severity::Bad => "bad ",
            Severity::Warn => "warn",
            Severity::Info => "info",
        };
        println!("{mark}  {:<22} {}: {}", problem.kind, problem.place, problem.found);
    }
    println!("gate {}: {}", if report.gate.passed { "passed" } else { "refused" }, report.gate.verdict);
}
