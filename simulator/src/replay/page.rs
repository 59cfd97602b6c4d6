//! The page of a replay: first what a manager wants to know, then what an engineer wants to check.

use super::report::{PolicyReport, ReplayReport};
use crate::compare::{number, scenario};
use crate::policy::PolicyKind;
use report::{Page, Table, Tone};

/// One self-contained page.
pub fn page(replayed: &ReplayReport) -> Page {
    let figures = &replayed.figures;
    let recorded = replayed.policies.first();
    let best = best(replayed);
    let subtitle = format!(
        "{} nodes, {:.0} pods, {:.1} days of recorded history, placed again",
        figures.nodes, figures.pods, figures.days
    );
    let mut page = Page::new("What your cluster would have looked like", subtitle);
    if let (Some(recorded), Some(best)) = (recorded, best) {
        page = tiles(page, recorded, best).text(&in_words(replayed, recorded, best));
    }
    if replayed.moved > 0 {
        let (placements, pods) = if replayed.moved == 1 {
            ("1 placement of the history does".to_owned(), "this pod was")
        } else {
            (format!("{} placements of the history do", replayed.moved), "these pods were")
        };
        let text = format!(
            "{placements} not fit by the requests and allocatable amounts in the tables; {pods} put elsewhere, so the recorded line is not exact."
        );
        page = page.note(&text, Tone::Warn);
    }
    page = page.section("Capacity and cost by policy").table(&budget(replayed)).text(&format!(
        "Room: how many more pods of {} would have fitted in the tightest twentieth of the time, by requests, and by usage (no node over 80 % of CPU or 90 % of memory). Spare nodes: how many nodes of the most common shape could have been left out with no more hot minutes, no more pods without a node and no more cost in total than recorded. Price: {} per core-hour.",
        replayed.reference, replayed.price_per_core_hour
    ));
    page = page.text(crate::compare::LEGEND);
    scenario(page, &replayed.runs, figures)
}

/// The best policy that could have been used: the one of least cost, the record and those that know the future left out.
fn best(replayed: &ReplayReport) -> Option<&PolicyReport> {
    let real = |name: &str| !crate::compare::knows_the_future(name) && name != PolicyKind::Recorded.name();
    let rows = replayed.figures.rows.iter().filter(|row| real(&row.policy));
    let row = rows.min_by(|a, b| a.cost.mean.total_cmp(&b.cost.mean))?;
    replayed.policies.iter().find(|report| report.policy == row.policy)
}

fn tiles(page: Page, recorded: &PolicyReport, best: &PolicyReport) -> Page {
    let tone = |better: bool| if better { Tone::Good } else { Tone::Plain };
    page.tile("best policy", best.policy.clone(), Tone::Plain)
        .tile("node-hours over 80 % CPU, recorded", number(recorded.hot_hours), Tone::Plain)
        .tile("with the best policy", number(best.hot_hours), tone(best.hot_hours < recorded.hot_hours))
        .tile("nodes to spare", best.spare_nodes.to_string(), tone(best.spare_nodes > 0))
        .tile("saved per 30 days", number(best.saved_per_month), tone(best.saved_per_month > 0.0))
        .tile("more such pods (usage)", number(best.room_by_usage), Tone::Plain)
}

fn in_words(replayed: &ReplayReport, recorded: &PolicyReport, best: &PolicyReport) -> String {
    let change = if best.hot_hours < recorded.hot_hours { "fewer" } else { "no fewer" };
    let hot = format!(
        "Placed by {}, the same pods would have made {change} hot hours: {} instead of {} node-hours over 80 % CPU.",
        best.policy,
        number(best.hot_hours),
        number(recorded.hot_hours)
    );
    let spare = match best.spare_nodes {
        0 => "No node could have been left out without being worse than what was recorded.".to_owned(),
        spare => format!(
            "{spare} of {} nodes could have been left out without being worse than what was recorded, worth {} per 30 days.",
            replayed.figures.nodes,
            number(best.saved_per_month)
        ),
    };
    format!("{hot} {spare}")
}

/// The table of [`page`], for terminals too.
pub(crate) fn budget(replayed: &ReplayReport) -> Table {
    let mut table = Table::new([
        "policy",
        "node-hours over 80 %",
        "throttled pod-hours",
        "evictions",
        "room by requests",
        "room by usage",
        "spare nodes",
        "core-hours",
        "saved",
        "saved per 30 days",
    ]);
    for report in &replayed.policies {
        table.row([
            report.policy.clone(),
            number(report.hot_hours),
            number(report.throttled_hours),
            report.evictions.to_string(),
            number(report.room_by_requests),
            number(report.room_by_usage),
            report.spare_nodes.to_string(),
            number(report.spare_core_hours),
            number(report.saved),
            number(report.saved_per_month),
        ]);
    }
    table
}
