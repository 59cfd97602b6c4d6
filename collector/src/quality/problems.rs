//! What is wrong, said once per kind and place, and what to do about it.

use super::advice::can_be_fetched;
use super::outage::Outage;
use super::summary::{MetricQuality, NodeMetricQuality, NodeQuality, NodeState, Problem, QualityReport, Severity};

/// Everything worth a word, the worst first.
pub(super) fn find(report: &QualityReport, outages: &[Outage], keyless: u64, step_ms: i64) -> Vec<Problem> {
    let mut problems = Vec::new();
    for outage in report.outages.iter().take(5) {
        problems.push(Problem {
            severity: if outage.stretch.seconds >= 3_600.0 { Severity::Bad } else { Severity::Warn },
            kind: "outage",
            place: format!("{} of {} nodes", outage.nodes, report.nodes.len()),
            found: format!("no samples for {} from {} to {}", span(outage.stretch.seconds), outage.stretch.start, outage.stretch.end),
            action: if can_be_fetched(report) {
                "The server or the collector was away, not the nodes. Fetch the time again with `collector backfill --from … --to …`"
            } else {
                "The source was away, not the nodes. Import the time again if it has it by now"
            },
        });
    }
    coverage_problems(report, outages, step_ms, &mut problems);
    for metric in &report.metrics {
        metric_problems(report, metric, &mut problems);
    }
    life_problems(report, &mut problems);
    row_problems(report, keyless, &mut problems);
    event_problems(report, &mut problems);
    problems.sort_by_key(|problem| problem.severity); // stable: within a severity the order above stays
    problems
}

fn coverage_problems(report: &QualityReport, outages: &[Outage], step_ms: i64, problems: &mut Vec<Problem>) {
    let own_gap = |node: &NodeQuality| {
        let own = |gap: &&(i64, i64)| !outages.iter().any(|outage| outage.explains(**gap, 2 * step_ms));
        node.all_gaps.iter().find(own).copied()
    };
    let describe = |node: &NodeQuality, gap: (i64, i64)| {
        format!(
            "`{}` {} (longest gap {} at {})",
            node.node,
            percent(node.coverage),
            span((gap.1 - gap.0) as f64 / 1e3),
            super::summary::rfc3339(gap.0)
        )
    };
    let mut below: Vec<_> = report.nodes.iter().filter_map(|node| Some((node, own_gap(node)?))).collect();
    below.sort_by(|a, b| a.0.coverage.total_cmp(&b.0.coverage));
    // What it lost on its own, of the time in which it was expected: an outage is no fault of the node.
    let own_loss = |node: &NodeQuality| {
        let is_shared = |gap: &&(i64, i64)| outages.iter().any(|outage| outage.explains(**gap, 2 * step_ms));
        let shared: i64 = node.all_gaps.iter().filter(is_shared).map(|(start, end)| end - start).sum();
        (1.0 - node.coverage) * (1.0 - shared as f64 / (1e3 * node.gap_seconds).max(1.0))
    };
    let (low, fine): (Vec<_>, Vec<_>) =
        below.into_iter().partition(|(node, _)| own_loss(node) > 1.0 - report.limits.min_coverage);
    let long: Vec<_> = fine.into_iter().filter(|(_, gap)| gap.1 - gap.0 > report.limits.late_after_ms).collect();
    let action = if can_be_fetched(report) {
        "See whether the node was down (then nothing is lost) or its exporter was; what Prometheus still has comes with `collector backfill --from … --to …`"
    } else {
        "See whether the node was down (then nothing is lost) or what measured it was; what the source has comes with `collector import`"
    };
    for (nodes, severity) in [(low, Severity::Bad), (long, Severity::Warn)] {
        if !nodes.is_empty() {
            let found = list(nodes.iter().map(|(node, gap)| describe(node, *gap)));
            problems.push(Problem {
                severity,
                kind: "gaps",
                place: count(nodes.len(), "node"),
                found: format!("coverage {found}"),
                action,
            });
        }
    }
    let coarse: Vec<_> = report
        .nodes
        .iter()
        .filter(|node| node.step_seconds.is_some_and(|step| step > 1.5 * report.span.step_seconds))
        .collect();
    if !coarse.is_empty() {
        let found = list(
            coarse.iter().map(|node| format!("`{}` every {}", node.node, span(node.step_seconds.unwrap_or_default()))),
        );
        problems.push(Problem {
            severity: Severity::Warn,
            kind: "coarse_step",
            place: count(coarse.len(), "node"),
            found: format!("sampled {found}, the others every {}", span(report.span.step_seconds)),
            action: "Give all nodes the same scrape interval, or judge with the coarser one (--step)",
        });
    }
}

fn metric_problems(report: &QualityReport, metric: &MetricQuality, problems: &mut Vec<Problem>) {
    let of = |node: &NodeQuality| node.metrics.get(metric.column).cloned();
    let each: Vec<(&NodeQuality, NodeMetricQuality)> =
        report.nodes.iter().filter_map(|node| Some((node, of(node)?))).collect();
    let mut say = |severity, kind, found: String, action| {
        problems.push(Problem { severity, kind, place: format!("`{}`", metric.column), found, action });
    };
    let severity = |otherwise| if metric.required { Severity::Bad } else { otherwise };
    let query = "See its query in `[collector.queries]` and whether its exporter runs on these nodes";
    let without: Vec<_> = each.iter().filter(|(_, own)| own.null_share >= 1.0).collect();
    if without.len() == each.len() {
        let action = "The source does not have it; features that need it stay empty. If it should be there, see its query in `[collector.queries]`";
        say(severity(Severity::Info), "metric_absent", "null on every node".into(), action);
        return;
    }
    if !without.is_empty() {
        let names = list(without.iter().map(|(node, _)| format!("`{}`", node.node)));
        say(
            severity(Severity::Warn),
            "metric_partly_absent",
            format!("null on {} of {} nodes: {names}", without.len(), each.len()),
            query,
        );
    }
    // Five points: what a restart of an exporter leaves out is less.
    let mut holey: Vec<_> =
        each.iter().filter(|(node, own)| own.null_share < 1.0 && own.coverage < node.coverage - 0.05).collect();
    if !holey.is_empty() {
        holey.sort_by(|a, b| a.1.coverage.total_cmp(&b.1.coverage));
        let found = list(holey.iter().map(|(node, own)| format!("`{}` {}", node.node, percent(own.coverage))));
        say(
            severity(Severity::Warn),
            "metric_gaps",
            format!("values are missing in rows that exist: coverage {found}"),
            query,
        );
    }
    if metric.out_of_range > 0 {
        let mut nodes: Vec<_> = each.iter().filter(|(_, own)| own.out_of_range > 0).collect();
        nodes.sort_by_key(|(_, own)| std::cmp::Reverse(own.out_of_range));
        let found = list(nodes.iter().map(|(node, own)| format!("`{}` {}", node.node, own.out_of_range)));
        let broken =
            report.figures.get("out_of_range_share").is_some_and(|share| *share > report.limits.max_out_of_range);
        let action = "A wrong unit, or a rate across a restart: see its query in `[collector.queries]`";
        let severity = if broken { Severity::Bad } else { Severity::Warn };
        say(
            severity,
            "out_of_range",
            format!("{} values below 0, above what can be, or not finite: {found}", metric.out_of_range),
            action,
        );
    }
    if metric.flat_lines > 0 {
        let mut nodes: Vec<_> =
            each.iter().filter_map(|(node, own)| Some((*node, own.longest_flat.clone()?))).collect();
        nodes.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        let found = list(
            nodes.iter().map(|(node, flat)| format!("`{}` {} from {}", node.node, span(flat.seconds), flat.start)),
        );
        let action = "A metric that moves stood still: a hung exporter, or a source that repeats its last value. Restart the exporter; leave that time out of training";
        say(
            Severity::Warn,
            "flat_line",
            format!("{}: {found}", count(usize::try_from(metric.flat_lines).unwrap_or(usize::MAX), "stretch")),
            action,
        );
    }
}

fn life_problems(report: &QualityReport, problems: &mut Vec<Problem>) {
    let late = report.limits.late_after_ms as f64 / 1e3;
    let mut say = |severity, kind, nodes: Vec<(&NodeQuality, f64)>, what: &str, action| {
        if !nodes.is_empty() {
            let found = list(nodes.iter().map(|(node, seconds)| format!("`{}` {}", node.node, span(*seconds))));
            problems.push(Problem {
                severity,
                kind,
                place: count(nodes.len(), "node"),
                found: format!("{what} {found}"),
                action,
            });
        }
    };
    let of = |keep: &dyn Fn(&NodeQuality) -> Option<f64>| -> Vec<(&NodeQuality, f64)> {
        let mut nodes: Vec<_> = report.nodes.iter().filter_map(|node| Some((node, keep(node)?))).collect();
        nodes.sort_by(|a, b| b.1.total_cmp(&a.1));
        nodes
    };
    let silent = |state| of(&|node| (node.state == state).then_some(node.silent_seconds));
    let missing = of(&|node| (node.history_missing_seconds > late).then_some(node.history_missing_seconds));
    let joined = of(&|node| {
        (node.joined_after_seconds > late && node.history_missing_seconds <= late).then_some(node.joined_after_seconds)
    });
    let all_late = report.figures.get("silent_share").is_some_and(|share| *share > report.limits.max_silent);
    let severity = if all_late { Severity::Bad } else { Severity::Warn };
    say(
        severity,
        "late",
        silent(NodeState::Late),
        "silent at the end for",
        "See whether the node or its exporter is down; a node that was removed needs nothing",
    );
    say(
        Severity::Warn,
        "history_missing",
        missing,
        "up and running before the first sample for",
        if can_be_fetched(report) {
            "Older history of these nodes may still be in Prometheus: `collector backfill --since …`"
        } else {
            "Older history of these nodes may still be where the tables come from"
        },
    );
    say(
        Severity::Info,
        "joined",
        joined,
        "joined after the dataset's start by",
        "Nothing to do: the time before is not counted against them",
    );
    say(
        Severity::Info,
        "left",
        silent(NodeState::Left),
        "left before the dataset's end by",
        "Nothing to do if they were removed: the time after is not counted against them",
    );
}

fn row_problems(report: &QualityReport, keyless: u64, problems: &mut Vec<Problem>) {
    let mut say = |severity, kind, what: &str, of: fn(&NodeQuality) -> u64, action| {
        let mut nodes: Vec<_> =
            report.nodes.iter().map(|node| (of(node), node)).filter(|(count, _)| *count > 0).collect();
        if nodes.is_empty() {
            return;
        }
        nodes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let all: u64 = nodes.iter().map(|(count, _)| count).sum();
        let found = list(nodes.iter().map(|(count, node)| format!("`{}` {count}", node.node)));
        problems.push(Problem {
            severity,
            kind,
            place: count(nodes.len(), "node"),
            found: format!("{all} {what}: {found}"),
            action,
        });
    };
    let too_many = report.figures.get("duplicate_share").is_some_and(|share| *share > report.limits.max_duplicates);
    let of_duplicates = if too_many { Severity::Bad } else { Severity::Warn };
    say(
        of_duplicates,
        "duplicates",
        "rows repeat the time of another row of the same node",
        |node| node.duplicates,
        "Two sources or two parts hold the same time; the first is used. Keep one source per node",
    );
    say(
        Severity::Warn,
        "misfiled",
        "rows lie in the folder of another day and are not used",
        |node| node.misfiled,
        "Write the day again: `collector import` and `collector backfill` put rows where they belong",
    );
    say(
        Severity::Info,
        "out_of_order",
        "rows are older than their predecessor in the file",
        |node| node.out_of_order,
        "Another program wrote the file. Readers sort; write the day again to save them the work",
    );
    say(
        Severity::Warn,
        "clock_jump",
        "times at which time and uptime part",
        |node| node.clock_jumps,
        "The node's clock was set, or its samples came late: see its time synchronisation (chrony, systemd-timesyncd)",
    );
    say(
        Severity::Warn,
        "over_allocatable",
        "rows with more CPU in use than allocatable and the margin",
        |node| node.cpu_over_allocatable,
        "Two machines share a name, or a unit is wrong: see the node mapping and the queries",
    );
    say(
        Severity::Warn,
        "over_allocatable",
        "rows with more memory in use than allocatable and the margin",
        |node| node.memory_over_allocatable,
        "Two machines share a name, or a unit is wrong: see the node mapping and the queries",
    );
    if keyless > 0 {
        problems.push(Problem {
            severity: Severity::Warn,
            kind: "keyless",
            place: "`raw/node_metrics`".into(),
            found: format!("{keyless} rows without node or time"),
            action: "Another program wrote the file: such rows are not used, write the day again",
        });
    }
}

fn event_problems(report: &QualityReport, problems: &mut Vec<Problem>) {
    let mut say = |kind, place: &str, count: u64, what: &str, names: &[String], action| {
        if count > 0 {
            let names = if names.is_empty() { String::new() } else { format!(": `{}`", names.join("`, `")) };
            problems.push(Problem {
                severity: Severity::Warn,
                kind,
                place: place.into(),
                found: format!("{count} {what}{names}"),
                action,
            });
        }
    };
    let again = "See the clocks of the source, then collect the table again";
    let unknown = "See the node mapping: the two tables name the same machine differently, or its metrics are missing";
    if let Some(pods) = &report.pods {
        let mut say =
            |count, what: &str, names: &[String], action| say("pods", "`raw/pods`", count, what, names, action);
        say(pods.negative_lives, "lives end before they start, or start before they were created", &[], again);
        say(pods.overlapping_lives, "lives overlap another life of the same UID", &[], again);
        say(pods.unknown_nodes, "lives on nodes without samples", &pods.unknown_node_names, unknown);
        say(pods.started_without_node, "lives started without a node", &[], unknown);
        say(
            pods.duplicates,
            "rows repeat another row's UID and creation",
            &[],
            "Two parts hold the same life; the first is used",
        );
    }
    if let Some(incidents) = &report.incidents {
        let mut say = |count, what: &str, names: &[String], action| {
            say("incidents", "`raw/incidents`", count, what, names, action)
        };
        say(incidents.negative_lengths, "incidents end before they start", &[], again);
        say(incidents.overlapping, "incidents overlap another of the same node and kind", &[], again);
        say(incidents.unknown_nodes, "incidents of nodes without samples", &incidents.unknown_node_names, unknown);
        say(
            incidents.unknown_severities,
            "incidents with a severity other than info, warning and critical",
            &[],
            "Map the alert's severity label in `[collector.queries]`",
        );
        say(
            incidents.duplicates,
            "rows repeat another row's node, kind and start",
            &[],
            "Two parts hold the same incident; the first is used",
        );
    }
}

/// The first few, and how many more.
pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    const NAMED: usize = 4;
    let items: Vec<String> = items.collect();
    match items.len() {
        0 => "none".into(),
        all if all > NAMED => format!("{} and {} more", items[..NAMED].join(", "), all - NAMED),
        _ => items.join(", "),
    }
}

/// `1 node`, `3 nodes`.
fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}{}", if what.ends_with("ch") { "es" } else { "s" }),
    }
}

/// A ratio as a percentage, rounded down, so that what misses a limit never reads as if it kept it.
pub(super) fn percent(ratio: f64) -> String {
    let percent = (ratio * 1e4 + 1e-6).floor() / 100.0;
    if percent == 0.0 && ratio > 0.0 { "<0.01 %".into() } else { format!("{percent} %") }
}

/// A length of time as people say it.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.round() as i64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) if whole % 60 == 0 || whole >= 600 => format!("{minutes} min"),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_say_them() {
        for (seconds, said) in
            [(30.0, "30 s"), (90.0, "1 min 30 s"), (300.0, "5 min"), (5_400.0, "1 h 30 min"), (90_000.0, "1 d 1 h")]
        {
            assert_eq!(span(seconds), said);
        }
        for (ratio, said) in [
            (0.95, "95 %"),
            (0.949_999, "94.99 %"),
            (1.0, "100 %"),
            (0.999_999, "99.99 %"),
            (0.0, "0 %"),
            (0.0004, "0.04 %"),
            (0.00001, "<0.01 %"),
        ] {
            assert_eq!(percent(ratio), said);
        }
        assert_eq!(list(["a", "b", "c", "d", "e", "f"].into_iter().map(String::from)), "a, b, c, d and 2 more");
        assert_eq!(count(2, "stretch"), "2 stretches");
    }
}
