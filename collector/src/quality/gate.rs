//! The figures, and the rules that they must keep.

use super::advice;
use super::assess::ratio;
use super::node::NodeScan;
use super::problems::{list, percent};
use super::summary::{Gate, GateRule, NodeState, QualityReport};
use std::collections::BTreeMap;

/// The figures by name; see [`QualityReport::figures`].
pub(super) fn figures(
    report: &QualityReport,
    scans: &BTreeMap<String, NodeScan>,
    keyless: u64,
) -> BTreeMap<String, f64> {
    let sum = |count: fn(&super::NodeQuality) -> u64| report.nodes.iter().map(count).sum::<u64>();
    let of_state = |state| report.nodes.iter().filter(|node| node.state == state).count() as u64;
    let (late, current) = (of_state(NodeState::Late), of_state(NodeState::Current));
    let rows = sum(|node| node.rows) + keyless;
    let scans = || scans.values().flat_map(|scan| &scan.metrics);
    let (present, missing) =
        (scans().map(|scan| scan.present).sum::<u64>(), scans().map(|scan| scan.missing).sum::<u64>());
    let out_of_range = scans().map(|scan| scan.out_of_range).sum::<u64>();
    let over_allocatable = sum(|node| node.cpu_over_allocatable + node.memory_over_allocatable);
    let required: Vec<_> = report.metrics.iter().filter(|metric| metric.required).collect();
    let longest_gap =
        report.nodes.iter().filter_map(|node| node.longest_gaps.first()).map(|gap| gap.seconds).fold(0.0, f64::max);
    let mut figures: BTreeMap<String, f64> = [
        ("coverage", required.iter().map(|metric| metric.coverage).sum::<f64>() / required.len().max(1) as f64),
        ("nodes", report.nodes.len() as f64),
        ("rows", rows as f64),
        ("step_seconds", report.span.step_seconds),
        ("gaps", sum(|node| node.gaps) as f64),
        ("longest_gap_seconds", longest_gap),
        ("outages", report.outages.len() as f64),
        ("duplicate_rows", sum(|node| node.duplicates) as f64),
        ("duplicate_share", ratio(sum(|node| node.duplicates), rows)),
        ("out_of_order_rows", sum(|node| node.out_of_order) as f64),
        ("misfiled_rows", sum(|node| node.misfiled) as f64),
        ("out_of_range_values", out_of_range as f64),
        ("out_of_range_share", ratio(out_of_range, present)),
        ("over_allocatable_rows", over_allocatable as f64),
        ("null_share", ratio(missing, missing + present)),
        ("flat_lines", report.metrics.iter().map(|metric| metric.flat_lines).sum::<u64>() as f64),
        ("late_nodes", late as f64),
        ("silent_share", ratio(late, late + current)),
        ("resets", sum(|node| node.resets) as f64),
        ("clock_jumps", sum(|node| node.clock_jumps) as f64),
        ("pod_problems", report.pods.as_ref().map_or(0, super::PodsQuality::problems) as f64),
        ("incident_problems", report.incidents.as_ref().map_or(0, super::IncidentsQuality::problems) as f64),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    figures.extend(required.iter().map(|metric| (format!("coverage_{}", metric.column), metric.coverage)));
    figures
}

/// Applies the rules to the figures.
pub(super) fn apply(report: &QualityReport) -> Gate {
    let figure = |name: &str| report.figures.get(name).copied().unwrap_or(f64::NAN);
    let limits = &report.limits;
    let at_least = |name, what, value: f64, limit: f64| GateRule {
        name,
        what,
        value,
        comparison: "at_least",
        limit,
        passed: value >= limit,
    };
    let at_most = |name, what, value: f64, limit: f64| GateRule {
        name,
        what,
        value,
        comparison: "at_most",
        limit,
        passed: value <= limit,
    };
    let rules = vec![
        at_least(
            "min_coverage",
            "coverage of CPU and memory, used and allocatable",
            figure("coverage"),
            limits.min_coverage,
        ),
        at_most(
            "max_out_of_range",
            "share of values that cannot be true",
            figure("out_of_range_share"),
            limits.max_out_of_range,
        ),
        at_most("max_duplicates", "share of duplicated rows", figure("duplicate_share"), limits.max_duplicates),
        at_most("max_silent", "share of recent nodes that fell silent", figure("silent_share"), limits.max_silent),
    ];
    let broken: Vec<String> = rules.iter().filter(|rule| !rule.passed).map(|rule| refusal(rule, report)).collect();
    let verdict = if broken.is_empty() {
        format!(
            "coverage of CPU and memory is {}, limit is {}",
            percent(figure("coverage")),
            percent(limits.min_coverage)
        )
    } else {
        broken.join(". ")
    };
    Gate { passed: broken.is_empty(), rules, verdict }
}

/// Why a rule is broken, where it is worst, and what to do.
fn refusal(rule: &GateRule, report: &QualityReport) -> String {
    let said = format!("{} is {}, limit is {} (`{}`)", rule.what, percent(rule.value), percent(rule.limit), rule.name);
    let (worst, action) = match rule.name {
        "min_coverage" => (worst_coverage(report), advice::for_coverage(report)),
        "max_out_of_range" => (
            worst_range(report),
            "Look for a wrong unit or query in `[collector.queries]`, correct it and collect again".to_owned(),
        ),
        "max_duplicates" => (
            worst_nodes(report, |node| node.duplicates as f64 / node.rows.max(1) as f64),
            "Two sources write the same nodes, or a day was written twice: keep one, delete the other part files and collect again".to_owned(),
        ),
        _ => (
            list(
                report.nodes.iter().filter(|node| node.state == NodeState::Late).map(|node| format!("`{}`", node.node)),
            ),
            "Their exporters, the network or Prometheus fell out: see whether their targets are up, then collect again".to_owned(),
        ),
    };
    format!("{said}: {worst}. {action}")
}

fn worst_coverage(report: &QualityReport) -> String {
    let required: Vec<_> = report.metrics.iter().filter(|metric| metric.required).collect();
    let mut metrics: Vec<_> = required.iter().filter(|metric| metric.coverage < report.limits.min_coverage).collect();
    metrics.sort_by(|a, b| a.coverage.total_cmp(&b.coverage));
    let of_node = |node: &super::NodeQuality| {
        let sum: f64 =
            required.iter().filter_map(|metric| node.metrics.get(metric.column)).map(|metric| metric.coverage).sum();
        1.0 - sum / required.len().max(1) as f64
    };
    let metrics = list(metrics.into_iter().map(|metric| format!("`{}` {}", metric.column, percent(metric.coverage))));
    format!("metrics {metrics}; {} missing", worst_nodes(report, of_node))
}

fn worst_range(report: &QualityReport) -> String {
    let mut metrics: Vec<_> = report.metrics.iter().filter(|metric| metric.out_of_range > 0).collect();
    metrics.sort_by_key(|metric| std::cmp::Reverse(metric.out_of_range));
    let metrics = list(metrics.into_iter().map(|metric| format!("`{}` {} values", metric.column, metric.out_of_range)));
    let values = |node: &super::NodeQuality| node.metrics.values().map(|metric| metric.out_of_range).sum::<u64>();
    let all = report.figures.get("out_of_range_values").copied().unwrap_or(0.0).max(1.0);
    format!("metrics {metrics}; {} of these", worst_nodes(report, |node| values(node) as f64 / all))
}

/// The nodes with the most of something, as shares.
fn worst_nodes(report: &QualityReport, badness: impl Fn(&super::NodeQuality) -> f64) -> String {
    let mut nodes: Vec<(f64, &str)> = report
        .nodes
        .iter()
        .map(|node| (badness(node), node.node.as_str()))
        .filter(|(badness, _)| *badness > 0.0)
        .collect();
    nodes.sort_by(|a, b| b.0.total_cmp(&a.0));
    format!("nodes {}", list(nodes.into_iter().map(|(badness, node)| format!("`{node}` {}", percent(badness)))))
}
