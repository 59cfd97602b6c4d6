//! The page of a comparison.

use super::figures::{LEGEND, Row, Saved, ScenarioFigures, least_cost, tables};
use super::runs::ScenarioRuns;
use super::stats::Interval;
use crate::outcome::{CostWeights, Outcome};
use crate::policy::PolicyKind;
use cluster::MINUTE_MS;
use report::chart::{self, Axis, Bars, Heatmap, Line, Lines};
use report::{Page, Table, Tone};

/// Curves that a reader can still tell apart.
const CURVES: usize = 6;
/// Rows of a heat map.
const HEAT_ROWS: usize = 40;

/// One self-contained page for all scenarios.
pub fn page(all: &[(ScenarioRuns, ScenarioFigures)], weights: &CostWeights) -> Page {
    let seeds = all.first().map_or(0, |(_, figures)| figures.seeds);
    let names: Vec<&str> = all.iter().map(|(_, figures)| figures.scenario.as_str()).collect();
    let subtitle = format!("{} × {seeds} seeds, paired: {}", policies(all), names.join(", "));
    let mut page = Page::new("Placement policies compared", subtitle);
    for (_, figures) in all {
        if let Some(best) = best_row(figures) {
            let tone = if best.relative.is_below_zero() { Tone::Good } else { Tone::Plain };
            // No break between number and sign.
            let value = format!("{} {:+.0}\u{a0}%", best.policy, 100.0 * best.relative.mean);
            page = page.tile(format!("best on {}, cost against {}", figures.scenario, figures.base), value, tone);
        }
    }
    page = page.text(LEGEND).text(&weights_in_words(weights));
    for (runs, figures) in all {
        page = scenario(page, runs, figures);
    }
    page
}

fn policies(all: &[(ScenarioRuns, ScenarioFigures)]) -> String {
    format!("{} policies", all.first().map_or(0, |(runs, _)| runs.outcomes.len()))
}

fn weights_in_words(weights: &CostWeights) -> String {
    let parts: Vec<String> = weights
        .parts(&Outcome::default())
        .iter()
        .map(|part| format!("{} {}", in_words(part.name), part.weight))
        .collect();
    format!(
        "Weights of the cost, in the worth of a node-minute over 80 % CPU (imbalance, stranded capacity and P95: of each node-minute, times the ratio): {}.",
        parts.join(", ")
    )
}

/// A part of the cost as a reader knows it.
fn in_words(part: &str) -> &str {
    match part {
        "hot_80" => "node over 80 % CPU",
        "hot_90" => "node over 90 % CPU",
        "throttled" => "throttled pod",
        "eviction" => "killed pod",
        "pending" => "waiting pod",
        "stranded" => "stranded capacity",
        "p95_over_target" => "P95 over target",
        other => other,
    }
}

/// Parts that are about how evenly load lies: small, and one bar together.
const EVENNESS: [&str; 3] = ["imbalance", "stranded", "p95_over_target"];

/// What a reader in a hurry should know of a scenario.
fn finding(figures: &ScenarioFigures) -> String {
    let Some(best) = best_row(figures) else { return String::new() };
    let percent = |ratio: f64| format!("{:.0} % {}", 100.0 * ratio.abs(), if ratio < 0.0 { "less" } else { "more" });
    let relative = &best.relative;
    let sure = match relative {
        relative if relative.low.is_nan() => "one seed, so nothing says how sure that is".to_owned(),
        relative if relative.is_below_zero() || relative.is_above_zero() => {
            format!("95 % interval: {} to {}", percent(relative.low), percent(relative.high))
        }
        relative => format!(
            "95 % interval: {} to {}, so there may be no difference",
            percent(relative.low),
            percent(relative.high)
        ),
    };
    let lead = if relative.mean < 0.0 { "Cheapest" } else { "None is cheaper than what they are compared with. Next" };
    format!(
        "{lead}, those that know the future left out: {}, which costs typically {} than {} ({sure}).",
        best.policy,
        percent(relative.mean),
        figures.base
    )
}

/// Whether the policy of this name is none that can be used.
pub(crate) fn knows_the_future(policy: &str) -> bool {
    [PolicyKind::GreedyOracle, PolicyKind::SearchOracle].iter().any(|kind| kind.name() == policy)
}

fn best_row(figures: &ScenarioFigures) -> Option<&Row> {
    let fair = figures.rows.iter().filter(|row| !knows_the_future(&row.policy) && row.policy != figures.base);
    // By the typical ratio, as it is told: a mean over seeds is decided by the dearest.
    fair.min_by(|a, b| a.relative.mean.total_cmp(&b.relative.mean))
}

pub(crate) fn scenario(page: Page, runs: &ScenarioRuns, figures: &ScenarioFigures) -> Page {
    let [cost, outcomes] = tables(figures);
    let page = page
        .section(&format!(
            "{}: {} nodes, {:.0} pods, {:.1} days",
            figures.scenario, figures.nodes, figures.pods, figures.days
        ))
        .text(&finding(figures))
        .text(&least_cost(figures))
        .table(&cost)
        .table(&outcomes)
        .chart("What the cost is made of, per 1,000 node-minutes", cost_chart(figures))
        .chart(
            &format!("Node-minutes over 80 % CPU in every {}, mean over the seeds", bin_in_words(runs)),
            hot_chart(runs, figures),
        )
        .chart("Share of node-time at each CPU utilization, mean over the seeds", distribution(runs, figures));
    let page = if figures.rows.iter().any(|row| row.saved.is_some()) {
        page.chart("Share of the possible that is saved (%), cut off at −100", saved_chart(figures))
    } else {
        page
    };
    let page = heat_maps(page, runs, figures);
    notes(page, figures)
}

/// The assumptions and counts behind a scenario.
pub(crate) fn notes(mut page: Page, figures: &ScenarioFigures) -> Page {
    for sentence in &figures.notes.assumptions {
        page = page.note(sentence, Tone::Plain);
    }
    if !figures.notes.counts.is_empty() {
        let mut counts = Table::new(["what was left out, put right or stands out", "how many"]);
        for (reason, count) in &figures.notes.counts {
            counts.row([reason.clone(), count.to_string()]);
        }
        page = page.folded_table("Counts", &counts);
    }
    page
}

/// The base, those that know the future, and the best of the others.
fn shown<'a>(runs: &'a ScenarioRuns, figures: &ScenarioFigures) -> Vec<(String, &'a [Outcome])> {
    let mut order: Vec<usize> = (0..figures.rows.len()).collect();
    let special = |at: &usize| {
        let policy = &figures.rows[*at].policy;
        *policy == figures.base || knows_the_future(policy) || *policy == PolicyKind::Random.name()
    };
    order.sort_by(|a, b| {
        special(b).cmp(&special(a)).then(figures.rows[*a].cost.mean.total_cmp(&figures.rows[*b].cost.mean))
    });
    order.into_iter().take(CURVES).map(|at| (figures.rows[at].policy.clone(), runs.outcomes[at].1.as_slice())).collect()
}

fn cost_chart(figures: &ScenarioFigures) -> report::Chart {
    let names: Vec<&str> = figures.rows.iter().map(|row| row.policy.as_str()).collect();
    let parts = figures.rows.first().map_or(&[] as &[_], |row| row.parts.as_slice());
    let sum = |wanted: &dyn Fn(&str) -> bool| -> Vec<f64> {
        let of = |row: &Row| row.parts.iter().filter(|part| wanted(part.name)).map(|part| part.cost).sum();
        figures.rows.iter().map(of).collect()
    };
    let alone = parts.iter().map(|part| part.name).filter(|name| !EVENNESS.contains(name));
    let mut values: Vec<(&str, Vec<f64>)> = alone.map(|name| (in_words(name), sum(&|other| other == name))).collect();
    values.push(("imbalance, stranded, P95", sum(&|name| EVENNESS.contains(&name))));
    // Parts that are nothing everywhere would only fill the legend.
    values.retain(|(_, costs)| costs.iter().any(|cost| *cost > 0.0));
    let series: Vec<(&str, &[f64])> = values.iter().map(|(name, values)| (*name, values.as_slice())).collect();
    chart::bars(&Bars { y_label: "cost", categories: &names, series: &series })
}

fn saved_chart(figures: &ScenarioFigures) -> report::Chart {
    let fair = || figures.rows.iter().filter(|row| row.policy != figures.base);
    let names: Vec<&str> = fair().map(|row| row.policy.as_str()).collect();
    let shares = |share: fn(&Saved) -> Interval| -> Vec<f64> {
        fair().map(|row| row.saved.as_ref().map_or(f64::NAN, |saved| 100.0 * share(saved).mean.max(-1.0))).collect()
    };
    let (least, most) = (shares(|saved| saved.at_least), shares(|saved| saved.at_most));
    let series: [(&str, &[f64]); 2] = [("at least, by the bound", &least), ("at most, by the cheapest run", &most)];
    chart::bars(&Bars { y_label: "% of what can be saved", categories: &names, series: &series })
}

fn mean_of(outcomes: &[Outcome], values: impl Fn(&Outcome) -> &[f64]) -> Vec<f64> {
    let length = outcomes.iter().map(|outcome| values(outcome).len()).min().unwrap_or(0);
    let mean = |at: usize| outcomes.iter().map(|outcome| values(outcome)[at]).sum::<f64>() / outcomes.len() as f64;
    (0..length).map(mean).collect()
}

/// How long a bin of the series is.
fn bin_in_words(runs: &ScenarioRuns) -> String {
    let bin =
        runs.outcomes.iter().find_map(|(_, outcomes)| outcomes.first()).map_or(0, |outcome| outcome.series.bin_ms);
    match bin / MINUTE_MS {
        60 => "hour".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

fn hot_chart(runs: &ScenarioRuns, figures: &ScenarioFigures) -> report::Chart {
    let line = |(name, outcomes): (String, &[Outcome])| {
        let bin = outcomes.first().map_or(1, |outcome| outcome.series.bin_ms);
        let values = mean_of(outcomes, |outcome| &outcome.series.hot_80);
        let points = values.into_iter().enumerate();
        let points = points.map(|(at, value)| ((runs.origin_ms + at as i64 * bin) as f64, value)).collect();
        Line { name, points, ..Line::default() }
    };
    let lines = shown(runs, figures).into_iter().map(line).collect();
    chart::lines(&Lines { y_label: "node-minutes", axis: Axis::Time, lines, ..Lines::default() })
}

fn distribution(runs: &ScenarioRuns, figures: &ScenarioFigures) -> report::Chart {
    let line = |(name, outcomes): (String, &[Outcome])| {
        let values = mean_of(outcomes, |outcome| &outcome.series.utilization);
        // Bins of two points: single ones flicker.
        let points = values.chunks(2).enumerate();
        let points = points.map(|(at, pair)| (at as f64 * 2.0 + 1.0, 100.0 * pair.iter().sum::<f64>())).collect();
        Line { name, points, ..Line::default() }
    };
    let lines = shown(runs, figures).into_iter().map(line).collect();
    chart::lines(&Lines {
        y_label: "% of node-time",
        x_label: "CPU utilization (%)",
        axis: Axis::Number,
        lines,
        ..Lines::default()
    })
}

/// Per-node heat maps of the base, the best policy and the one that knows the future, first seed, on the same scale.
fn heat_maps(mut page: Page, runs: &ScenarioRuns, figures: &ScenarioFigures) -> Page {
    let best = best_row(figures).map(|row| row.policy.clone());
    let wanted = [Some(figures.base.clone()), best, Some(PolicyKind::SearchOracle.name())];
    for policy in wanted.into_iter().flatten() {
        let Some((_, outcomes)) = runs.outcomes.iter().find(|(kind, _)| kind.name() == policy) else { continue };
        let Some(outcome) = outcomes.first() else { continue };
        let caption = format!(
            "{policy}: mean CPU utilization by node and time, first seed, {} nodes",
            if runs.nodes.len() > HEAT_ROWS {
                format!("the {HEAT_ROWS} hottest of {}", runs.nodes.len())
            } else {
                "all".to_owned()
            }
        );
        page = page.chart(&caption, heat_map(runs, outcome));
    }
    page
}

fn heat_map(runs: &ScenarioRuns, outcome: &Outcome) -> report::Chart {
    let hottest = |row: &[f32]| {
        row.iter()
            .copied()
            .filter(|value| value.is_finite())
            .map(f64::from)
            .fold((0.0, 0.0), |(sum, most): (f64, f64), value| (sum + value, most.max(value)))
    };
    let mut order: Vec<usize> = (0..outcome.series.nodes.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (hottest(&outcome.series.nodes[*a]), hottest(&outcome.series.nodes[*b]));
        b.0.total_cmp(&a.0)
    });
    order.truncate(HEAT_ROWS);
    // At most as many columns as have room.
    let bins = outcome.series.hot_80.len();
    let group = bins.div_ceil(84).max(1);
    let mean = |values: &[f32]| {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).map(f64::from).collect();
        if finite.is_empty() { f64::NAN } else { 100.0 * finite.iter().sum::<f64>() / finite.len() as f64 }
    };
    let values: Vec<Vec<f64>> =
        order.iter().map(|node| outcome.series.nodes[*node].chunks(group).map(mean).collect()).collect();
    let rows: Vec<String> = order.iter().map(|node| runs.nodes.get(*node).cloned().unwrap_or_default()).collect();
    let hours = |at: usize| (at * group) as f64 * outcome.series.bin_ms as f64 / 3_600_000.0;
    let columns = bins.div_ceil(group);
    let named = columns.div_ceil(8).max(1);
    let columns: Vec<String> =
        (0..columns).map(|at| if at % named == 0 { format!("{:.0} h", hours(at)) } else { String::new() }).collect();
    chart::heatmap(&Heatmap {
        rows: &rows,
        columns: &columns,
        values: &values,
        limits: Some((0.0, 100.0)),
        numbers: false,
        legend: "CPU utilization, 0 to 100 %",
    })
}
