//! What helps where samples are missing. A backfill does only where a Prometheus is the source, the node was observed at
//! all, and the time is one that a server can still have.

use super::problems::list;
use super::summary::{NodeQuality, QualityReport};
use cluster::NodeMetric;

/// Whether what is missing may still be fetched: the tables come from a Prometheus, or nobody knows where from.
pub(super) fn can_be_fetched(report: &QualityReport) -> bool {
    report.sources.is_empty() || report.sources.iter().any(|source| source == "prometheus")
}

/// Whether no usage of the node was ever measured: what is known of it comes from the control plane alone.
fn is_unobserved(node: &NodeQuality) -> bool {
    [NodeMetric::CpuUsed, NodeMetric::MemoryUsed]
        .iter()
        .all(|metric| node.metrics.get(metric.column()).is_some_and(|own| own.null_share >= 1.0))
}

/// What raises the coverage.
pub(super) fn for_coverage(report: &QualityReport) -> String {
    let (unobserved, observed): (Vec<&NodeQuality>, Vec<&NodeQuality>) =
        report.nodes.iter().partition(|node| is_unobserved(node));
    let required = || report.metrics.iter().filter(|metric| metric.required);
    let is_short = |node: &&&NodeQuality| {
        required()
            .any(|metric| node.metrics.get(metric.column).is_some_and(|own| own.coverage < report.limits.min_coverage))
    };
    let mut advice = Vec::new();
    if !unobserved.is_empty() {
        let names = list(unobserved.iter().map(|node| format!("`{}`", node.node)));
        advice.push(format!(
            "No usage of {names} was ever measured: node_exporter does not run there, and fetching again changes nothing. Install it, or, where it cannot run (Fargate, virtual kubelets, Windows), leave the nodes out with --ignore-nodes"
        ));
    }
    if unobserved.is_empty() || observed.iter().any(|node| is_short(&node)) {
        advice.push(if can_be_fetched(report) {
            "Fill the gaps with `collector backfill --from … --to …`, or leave out the time before them".to_owned()
        } else {
            let sources = report.sources.join("`, `");
            format!("The tables come from `{sources}`: import the missing time from there, or leave out the time before the gaps")
        });
    }
    advice.join(". ")
}
