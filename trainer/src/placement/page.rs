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
        .tile("network", kept(trained), Tone::Plain)
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
        .section("What it could begin as")
        .text("Linear rules, each looked at before learning in clusters that are not learned in; learning begins as the cheapest.")
        .table(&starts(trained))
        .chart("Search for a rule: cost against kube-scheduler's, other clusters in each round: typical ratio less 1", rounds(trained))
        .section("Learning")
        .chart("Cost against kube-scheduler's at the looks, in clusters that are not learned in, without random choices: typical ratio less 1", looks(trained))
        .chart("Mean reward of a decision, in hot node-hours", curve(trained, "reward", |point| point.reward))
        .charts(PARTS.iter().enumerate().map(|(at, part)| (*part, curve(trained, part, move |point| point.parts[at]))))
        .chart("Mean loss of an update", curve(trained, "loss", |point| point.loss))
        .chart("Mean value of the actions in an update", curve(trained, "value", |point| point.value))
        .html()
}

fn starts(trained: &Trained) -> Table {
    let mut table = Table::new(["rule", "cost", "against kube-scheduler", "begun as"]);
    let begun = trained.began_as();
    for start in &trained.starts {
        let word = if begun == Some(start) { "yes" } else { "" };
        let ratio = format!("{:+.1} %", 100.0 * start.against_kube);
        table.row([start.rule.clone(), format!("{:.1}", start.cost), ratio, word.to_owned()]);
    }
    table
}

fn rounds(trained: &Trained) -> report::Chart {
    let line = |name: &str, value: &dyn Fn(&super::Round) -> f64| {
        let points = trained.rounds.iter().enumerate().map(|(at, round)| (at as f64, value(round))).collect();
        Line { name: name.to_owned(), points, ..Line::default() }
    };
    let drawn = vec![line("rule", &|round| round.centre), line("cheapest candidate", &|round| round.best)];
    lines(&Lines { y_label: "ratio less 1", x_label: "round", axis: Axis::Number, lines: drawn, y_range: None })
}

/// Which of the networks that were looked at it is.
pub(crate) fn kept(trained: &Trained) -> String {
    let rule = trained.began_as().map_or("rule", |start| &start.rule);
    match trained.kept() {
        Some(look) if look.episode > 0 => format!("{rule}, improved over {} episodes", look.episode),
        _ => format!("the rule {rule} as it was"),
    }
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
