//! Learning curves and verdict as a page.

use super::{PlacementVerdict, Trained};
use report::chart::{Axis, Line, Lines, lines};
use report::{Page, Table, Tone};
use simulator::learning::PARTS;

/// The verdict first, then how it was learned.
pub fn page(trained: &Trained, verdict: &PlacementVerdict) -> String {
    let (word, tone) = if verdict.passed { ("passed", Tone::Good) } else { ("refused", Tone::Bad) };
    let subtitle =
        format!("network {}, judged at {}", &verdict.model_hash[..verdict.model_hash.len().min(12)], verdict.at);
    let mut page = Page::new("Placement agent", subtitle)
        .tile("verdict", word, tone)
        .tile("episodes", trained.curve.len().to_string(), Tone::Plain)
        .tile("updates", trained.updates.to_string(), Tone::Plain)
        .tile("learning took", format!("{:.0} s", trained.seconds), Tone::Plain);
    for reason in verdict.reasons() {
        page = page.note(&reason, Tone::Bad);
    }
    let mut checks = Table::new(["rule", "holds", "why"]);
    for check in &verdict.checks {
        let tone = if check.passed { Tone::Good } else { Tone::Bad };
        checks.toned_row([
            (check.rule.clone(), Tone::Plain),
            (if check.passed { "yes" } else { "no" }.to_owned(), tone),
            (check.reason.clone(), Tone::Plain),
        ]);
    }
    let mut costs = Table::new(["cluster", "policy", "mean cost"]);
    for (cluster, policies) in &verdict.costs {
        for (policy, cost) in policies {
            costs.row([cluster.clone(), policy.clone(), format!("{cost:.1}")]);
        }
    }
    page.section("Rules")
        .table(&checks)
        .section("Cost in clusters that it did not learn in")
        .text("Per 1,000 node-minutes; lower is better. No random choices.")
        .table(&costs)
        .section("Learning")
        .chart("Cost against kube-scheduler's at the looks, in clusters that are not learned in, without random choices: typical ratio less 1", looks(trained))
        .chart("Mean reward of a decision, in hot node-hours", curve(trained, "reward", |point| point.reward))
        .charts(PARTS.iter().enumerate().map(|(at, part)| (*part, curve(trained, part, move |point| point.parts[at]))))
        .chart("Mean loss of an update", curve(trained, "loss", |point| point.loss))
        .chart("Mean value of the actions in an update", curve(trained, "value", |point| point.value))
        .html()
}

fn looks(trained: &Trained) -> report::Chart {
    let points = trained.looks.iter().map(|look| (look.episode as f64, look.against_kube)).collect();
    let zero = trained.looks.iter().map(|look| (look.episode as f64, 0.0)).collect();
    let line = |name: &str, points, dashed| Line { name: name.to_owned(), points, dashed, ..Line::default() };
    chart("ratio less 1", vec![line("agent", points, false), line("kube-scheduler", zero, true)])
}

fn curve(trained: &Trained, label: &str, value: impl Fn(&super::CurvePoint) -> f64) -> report::Chart {
    let points = trained.curve.iter().map(|point| (point.episode as f64, value(point))).collect();
    chart(label, vec![Line { name: label.to_owned(), points, ..Line::default() }])
}

fn chart(y_label: &str, drawn: Vec<Line>) -> report::Chart {
    lines(&Lines { y_label, x_label: "episode", axis: Axis::Number, lines: drawn, y_range: None })
}
