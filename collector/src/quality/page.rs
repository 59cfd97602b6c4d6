//! The report as one HTML page: first what is wrong and what to do, then the pictures, then every number.

use super::problems::{list, percent, span};
use super::summary::{NodeQuality, NodeState, QualityReport, Severity};
use chrono::DateTime;
use cluster::NodeMetric;
use report::chart::{Heatmap, Timeline, TimelineBar, heatmap, timeline};
use report::{Page, Table, Tone};
use std::collections::BTreeSet;

/// Rows of a picture; of more nodes the worst are drawn, so that the page stays small and readable.
const DRAWN_NODES: usize = 60;
/// Columns of the day picture; more days are drawn in groups.
const DRAWN_DAYS: usize = 62;
/// Shorter gaps leave no hole in the features' grid, and would hide the long ones.
const DRAWN_GAP_MS: i64 = cluster::GRID_STEP_MS;
/// The share of missing samples that gets the darkest colour.
const DARKEST: f64 = 0.2;

/// Renders the report. The page needs nothing but itself and stays below 1 MB for any number of nodes up to some
/// thousands.
pub fn page(report: &QualityReport) -> String {
    let figure = |name: &str| report.figures.get(name).copied().unwrap_or(f64::NAN);
    let dataset = report.dataset.as_deref().unwrap_or("live tables");
    let subtitle = format!("{dataset}, {} to {}", minute(&report.span.start), minute(&report.span.end));
    let count = |severity| report.problems.iter().filter(|problem| problem.severity == severity).count();
    let (bad, warn) = (count(Severity::Bad), count(Severity::Warn));
    let (gate, tone) = if report.gate.passed { ("passed", Tone::Good) } else { ("refused", Tone::Bad) };
    let coverage = figure("coverage");
    let mut page = Page::new("Data quality", subtitle)
        .tile("gate", gate, tone)
        .tile(
            "coverage of CPU and memory",
            percent(coverage),
            if coverage >= report.limits.min_coverage { Tone::Good } else { Tone::Bad },
        )
        .tile(
            "problems and warnings",
            format!("{bad} / {warn}"),
            if bad > 0 {
                Tone::Bad
            } else if warn > 0 {
                Tone::Warn
            } else {
                Tone::Good
            },
        )
        .tile("nodes", report.nodes.len().to_string(), Tone::Plain)
        .tile("rows", thousands(figure("rows") as u64), Tone::Plain)
        .tile("one sample every", span(report.span.step_seconds), Tone::Plain);
    page = match (report.gate.passed, bad + warn) {
        (false, _) => page.note(&format!("The gate refuses this dataset: {}.", plain(&report.gate.verdict)), Tone::Bad),
        (true, 0) => page.note("Nothing is wrong with this dataset.", Tone::Good),
        (true, _) => page.note("The gate lets this dataset pass. What is worth a look is listed below.", Tone::Warn),
    };
    page = what_is_wrong(page, report);
    page = pictures(page, report);
    page = metrics(page, report);
    page = nodes(page, report);
    page = events(page, report);
    method(page, report).html()
}

fn what_is_wrong(page: Page, report: &QualityReport) -> Page {
    let mut rules = Table::new(["Rule of the gate", "Found", "Limit", "Holds"]);
    for rule in &report.gate.rules {
        let (word, tone) = if rule.passed { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
        let bound = if rule.comparison == "at_least" { "at least" } else { "at most" };
        rules.toned_row([
            (format!("{} ({})", rule.what, rule.name), Tone::Plain),
            (percent(rule.value), tone),
            (format!("{bound} {}", percent(rule.limit)), Tone::Plain),
            (word.into(), tone),
        ]);
    }
    if report.problems.is_empty() {
        return page.section("Gate").table(&rules);
    }
    let mut table = Table::new(["", "Where", "What was found", "What to do"]);
    for problem in &report.problems {
        let (word, tone) = match problem.severity {
            Severity::Bad => ("problem", Tone::Bad),
            Severity::Warn => ("warning", Tone::Warn),
            Severity::Info => ("to know", Tone::Plain),
        };
        table.toned_row([
            (word.to_owned(), tone),
            (plain(&problem.place), Tone::Plain),
            (plain(&problem.found), Tone::Plain),
            (plain(problem.action), Tone::Plain),
        ]);
    }
    page.section("What is wrong, and what to do").table(&table).section("Gate").table(&rules)
}

/// The nodes to draw, in the order of their names: all of them, or the worst.
fn drawn(report: &QualityReport) -> Vec<&NodeQuality> {
    let mut nodes: Vec<&NodeQuality> = report.nodes.iter().collect();
    if nodes.len() > DRAWN_NODES {
        nodes.sort_by(|a, b| required_coverage(report, a).total_cmp(&required_coverage(report, b)));
        nodes.truncate(DRAWN_NODES);
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
    }
    nodes
}

fn required_coverage(report: &QualityReport, node: &NodeQuality) -> f64 {
    report
        .metrics
        .iter()
        .filter(|metric| metric.required)
        .filter_map(|metric| node.metrics.get(metric.column))
        .map(|own| own.coverage)
        .sum()
}

fn pictures(page: Page, report: &QualityReport) -> Page {
    let nodes = drawn(report);
    let names: Vec<String> = nodes.iter().map(|node| node.node.clone()).collect();
    let which = if nodes.len() < report.nodes.len() {
        format!(" (the {} nodes with the least, of {})", nodes.len(), report.nodes.len())
    } else {
        String::new()
    };
    let legend = format!("missing: pale 0 %, darkest {} and more", percent(DARKEST));
    let present: Vec<_> = report.metrics.iter().filter(|metric| metric.nodes_without < report.nodes.len()).collect();
    let metric_names: Vec<String> = present.iter().map(|metric| short(metric.column)).collect();
    let by_metric: Vec<Vec<f64>> = nodes
        .iter()
        .map(|node| {
            present
                .iter()
                .map(|metric| node.metrics.get(metric.column).map_or(f64::NAN, |own| 1.0 - own.coverage))
                .collect()
        })
        .collect();
    let days: BTreeSet<&String> = report.nodes.iter().flat_map(|node| node.coverage_by_day.keys()).collect();
    let days: Vec<&String> = days.into_iter().collect();
    let groups: Vec<&[&String]> = days.chunks(days.len().div_ceil(DRAWN_DAYS).max(1)).collect();
    let by_day: Vec<Vec<f64>> =
        nodes.iter().map(|node| groups.iter().map(|days| missing_in(node, days)).collect()).collect();
    let every = groups.len().div_ceil(12);
    let day_names: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(at, days)| {
            if at % every == 0 {
                days.first().map_or_else(String::new, |day| day[5..].to_owned())
            } else {
                String::new()
            }
        })
        .collect();
    let map = |columns: &[String], values: &[Vec<f64>]| {
        heatmap(&Heatmap {
            rows: &names,
            columns,
            values,
            limits: Some((0.0, DARKEST)),
            numbers: false,
            legend: &legend,
        })
    };
    page.section("Where samples are missing")
        .chart(&format!("Share of missing values by node and metric{which}"), map(&metric_names, &by_metric))
        .chart(
            &format!("Share of missing samples by node and day; blank where the node did not live{which}"),
            map(&day_names, &by_day),
        )
        .chart(
            &format!("Gaps of at least {}; the pale bar is the node's life{which}", span(DRAWN_GAP_MS as f64 / 1e3)),
            gaps(report, &nodes, &names),
        )
}

fn missing_in(node: &NodeQuality, days: &[&String]) -> f64 {
    let known: Vec<f64> =
        days.iter().filter_map(|day| node.coverage_by_day.get(*day)).map(|coverage| 1.0 - coverage).collect();
    if known.is_empty() { f64::NAN } else { known.iter().sum::<f64>() / known.len() as f64 }
}

fn gaps(report: &QualityReport, nodes: &[&NodeQuality], names: &[String]) -> report::Chart {
    let start = nodes.iter().map(|node| node.life.0).min().unwrap_or(0) as f64;
    let end = nodes.iter().map(|node| node.life.1).max().unwrap_or(1) as f64;
    let of_outage = |gap: (i64, i64)| {
        let slack = (2e3 * report.span.step_seconds) as i64;
        report.outages.iter().any(|outage| gap.0 >= outage.at.0 - slack && gap.1 <= outage.at.1 + slack)
    };
    let lives = nodes.iter().enumerate().map(|(row, node)| TimelineBar {
        row,
        start: node.life.0 as f64,
        end: node.life.1 as f64,
        group: 0,
    });
    let gaps = nodes.iter().enumerate().flat_map(|(row, node)| {
        node.all_gaps.iter().filter(|gap| gap.1 - gap.0 >= DRAWN_GAP_MS).map(move |gap| TimelineBar {
            row,
            start: gap.0 as f64,
            end: gap.1 as f64,
            group: if of_outage(*gap) { 2 } else { 1 },
        })
    });
    let bars: Vec<TimelineBar> = lives.chain(gaps).collect();
    timeline(&Timeline {
        rows: names,
        span: (start, end),
        groups: &["sampled", "gap of this node", "gap that most nodes share"],
        bars: &bars,
    })
}

fn metrics(page: Page, report: &QualityReport) -> Page {
    let mut table = Table::new([
        "Metric",
        "Unit",
        "Coverage",
        "Null",
        "Nodes without",
        "Out of range",
        "Flat",
        "Min",
        "P5",
        "P50",
        "P95",
        "Max",
    ]);
    for metric in &report.metrics {
        let required = if metric.required { " *" } else { "" };
        let low = metric.coverage < report.limits.min_coverage;
        let tone = match (low, metric.required) {
            (true, true) => Tone::Bad,
            (true, false) => Tone::Warn,
            _ => Tone::Plain,
        };
        let of_count = |count: u64| (count.to_string(), if count > 0 { Tone::Warn } else { Tone::Plain });
        let values = metric.distribution.map_or([f64::NAN; 5], |d| [d.min, d.p05, d.p50, d.p95, d.max]);
        let mut row = vec![
            (format!("{}{required}", metric.column), Tone::Plain),
            (metric.unit.to_owned(), Tone::Plain),
            (percent(metric.coverage), tone),
            (percent(metric.null_share), Tone::Plain),
            of_count(metric.nodes_without as u64),
            of_count(metric.out_of_range),
            of_count(metric.flat_lines),
        ];
        row.extend(values.map(|value| (short_number(value), Tone::Plain)));
        table.toned_row(row);
    }
    page.section("Metrics")
        .table(&table)
        .text("* counted by the gate. Percentiles come from an even sample of the values.")
}

fn nodes(page: Page, report: &QualityReport) -> Page {
    let head = [
        "Node",
        "State",
        "First",
        "Last",
        "Coverage",
        "Of the span",
        "Gaps",
        "Longest gap",
        "Duplicates",
        "Boots",
        "Clock jumps",
    ];
    let mut table = Table::new(head);
    // Enough for anyone to read; the JSON report has them all.
    const LISTED: usize = 500;
    for node in report.nodes.iter().take(LISTED) {
        let (state, tone) = match node.state {
            NodeState::Current => ("current".to_owned(), Tone::Plain),
            NodeState::Late => (format!("silent for {}", span(node.silent_seconds)), Tone::Warn),
            NodeState::Left => (format!("left {} before the end", span(node.silent_seconds)), Tone::Plain),
        };
        let low = node.coverage < report.limits.min_coverage;
        let warn = |count: u64| (count.to_string(), if count > 0 { Tone::Warn } else { Tone::Plain });
        table.toned_row([
            (node.node.clone(), Tone::Plain),
            (state, tone),
            (minute(&node.first), Tone::Plain),
            (minute(&node.last), Tone::Plain),
            (percent(node.coverage), if low { Tone::Bad } else { Tone::Plain }),
            (percent(node.coverage_of_span), Tone::Plain),
            (node.gaps.to_string(), Tone::Plain),
            (node.longest_gaps.first().map_or_else(|| "0 s".into(), |gap| span(gap.seconds)), Tone::Plain),
            warn(node.duplicates),
            (node.resets.to_string(), Tone::Plain),
            warn(node.clock_jumps),
        ]);
    }
    let rest = report.nodes.len().saturating_sub(LISTED);
    let summary = if rest > 0 {
        format!("The first {LISTED} nodes; {rest} more are in the JSON report")
    } else {
        format!("All {} nodes", report.nodes.len())
    };
    let page = page.section("Nodes");
    if report.nodes.len() <= 20 { page.table(&table) } else { page.folded_table(&summary, &table) }
}

fn events(page: Page, report: &QualityReport) -> Page {
    let mut page = page.section("Pods and incidents");
    let mut table = Table::new(["Table", "Rows", "Open", "Negative", "Overlapping", "Unknown node", "Duplicates"]);
    if let Some(pods) = &report.pods {
        let counts =
            [pods.rows, pods.alive, pods.negative_lives, pods.overlapping_lives, pods.unknown_nodes, pods.duplicates];
        table.row(std::iter::once("raw/pods".to_owned()).chain(counts.map(thousands)));
    }
    if let Some(incidents) = &report.incidents {
        let counts = [
            incidents.rows,
            incidents.open,
            incidents.negative_lengths,
            incidents.overlapping,
            incidents.unknown_nodes,
            incidents.duplicates,
        ];
        table.row(std::iter::once("raw/incidents".to_owned()).chain(counts.map(thousands)));
    }
    if report.pods.is_some() || report.incidents.is_some() {
        page = page.table(&table);
    }
    for (name, missing) in [("raw/pods", report.pods.is_none()), ("raw/incidents", report.incidents.is_none())] {
        if missing {
            page = page.text(&format!("The dataset has no {name}."));
        }
    }
    if let Some(incidents) = report.incidents.as_ref().filter(|incidents| !incidents.by_kind.is_empty()) {
        let mut kinds: Vec<_> = incidents.by_kind.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        page = page.text(&format!(
            "Incidents by kind: {}.",
            list(kinds.iter().map(|(kind, count)| format!("{kind} {count}")))
        ));
    }
    page
}

fn method(page: Page, report: &QualityReport) -> Page {
    let off = report.nodes.iter().filter(|node| node.absent_seconds > 0.0).count();
    page.section("How it is counted").text(&format!(
        "A sample speaks for the time up to the next one, and for one step where a sample is missing. Coverage is that \
         time, of the time between the node's first and last sample. Time before a node joins, after it leaves, and \
         while it was off ({off} nodes, told by their uptime) is not counted against it. A value that is null or cannot \
         be true covers nothing. A node that has been silent for {} at the end is late, for {} gone. A metric that \
         keeps one value for {} is flat.",
        span(report.limits.late_after_ms as f64 / 1e3),
        span(report.limits.absent_after_ms as f64 / 1e3),
        span(report.limits.flat_after_ms as f64 / 1e3),
    ))
}

/// Without the backticks that terminals and logs get.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// `2026-11-21 14:05`.
fn minute(rfc3339: &str) -> String {
    DateTime::parse_from_rfc3339(rfc3339)
        .map_or_else(|_| rfc3339.to_owned(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

/// A metric's column without its unit, so that it fits below a picture.
fn short(column: &str) -> String {
    let unit = NodeMetric::from_column(column).map_or("", NodeMetric::unit);
    let suffix = if unit == "bytes/s" { "_bytes_per_second".to_owned() } else { format!("_{unit}") };
    column.strip_suffix(&suffix).unwrap_or(column).replace('_', " ")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn short_number(value: f64) -> String {
    let size = value.abs();
    match size {
        size if size.is_nan() => "-".into(),
        0.0 => "0".into(),
        size if size >= 1e12 => format!("{:.1} T", value / 1e12),
        size if size >= 1e9 => format!("{:.1} G", value / 1e9),
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 1e3 => format!("{:.1} k", value / 1e3),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_lose_their_unit() {
        assert_eq!(short("cpu_used_cores"), "cpu used");
        assert_eq!(short("network_receive_bytes_per_second"), "network receive");
        assert_eq!(short("ready"), "ready");
        assert_eq!(short("load1"), "load1");
        assert_eq!(thousands(8_640_000), "8,640,000");
    }
}
