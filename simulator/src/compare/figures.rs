//! What the runs of a scenario come to: one row per policy.

use super::runs::ScenarioRuns;
use super::stats::{Interval, gap_closed, paired_difference, paired_ratio, t_interval};
use crate::outcome::{CostPart, CostWeights, Outcome};
use crate::policy::PolicyKind;
use crate::world::Notes;
use report::{Table, Tone};
use serde::Serialize;

/// One policy on one scenario. Amounts are means over the seeds, per 1,000 node-minutes where they say so.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The policy.
    pub policy: String,
    /// Weighted cost per 1,000 node-minutes.
    pub cost: Interval,
    /// Cost − cost of the base policy, paired by seed.
    pub against_base: Interval,
    /// Cost ÷ cost of the base − 1, by seed: seeds whose clusters are fuller do not weigh more.
    pub relative: Interval,
    /// Share of what can be saved against the base that it saves; absent where next to nothing can be.
    pub saved: Option<Saved>,
    /// Node-minutes over 80 % CPU, per 1,000.
    pub hot_80: Interval,
    /// Node-minutes over 90 % CPU, per 1,000.
    pub hot_90: Interval,
    /// Throttled pod-minutes per 1,000 node-minutes.
    pub throttled: Interval,
    /// Pods killed for memory, per run.
    pub evictions: Interval,
    /// Pod-minutes waited for a node, per 1,000 node-minutes.
    pub pending: Interval,
    /// 95th percentile of CPU utilization.
    pub p95_utilization: Interval,
    /// Standard deviation of CPU utilization over the nodes.
    pub imbalance: Interval,
    /// Share of CPU that no median pod can use.
    pub stranded: Interval,
    /// More median pods that would have fitted by requests, median over time.
    pub room: Interval,
    /// What the cost is made of, mean over the seeds.
    pub parts: Vec<CostPart>,
    /// Wall-clock seconds of a run, mean over the seeds.
    pub seconds: f64,
}

/// A share of what can be saved: the least possible cost lies between a bound and the cheapest placement that is known, so the
/// share lies between these two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Saved {
    /// If the bound could be reached.
    pub at_least: Interval,
    /// If nothing were cheaper than the cheapest run of the same seed.
    pub at_most: Interval,
}

/// All policies on one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct ScenarioFigures {
    /// Its name.
    pub scenario: String,
    /// How many nodes.
    pub nodes: usize,
    /// How many pods, mean over the seeds.
    pub pods: f64,
    /// How many days.
    pub days: f64,
    /// How many seeds.
    pub seeds: usize,
    /// What the others are compared with.
    pub base: String,
    /// The cost that no placement can beat.
    pub bound: Interval,
    /// The cost of the cheapest run of each seed.
    pub best_known: Interval,
    /// In the order of the settings.
    pub rows: Vec<Row>,
    /// Assumptions and counts.
    pub notes: Notes,
}

/// Works out the rows. `base` is what the others are compared with; where it was not run, the first policy is.
pub fn figures(runs: &ScenarioRuns, weights: &CostWeights, base: PolicyKind) -> ScenarioFigures {
    let costs = |outcomes: &[Outcome]| outcomes.iter().map(|outcome| weights.cost(outcome)).collect::<Vec<f64>>();
    let of = |kind: PolicyKind| {
        runs.outcomes.iter().find(|(policy, _)| *policy == kind).map(|(_, outcomes)| costs(outcomes))
    };
    let base = if of(base).is_some() { base } else { runs.outcomes.first().map_or(base, |(policy, _)| *policy) };
    let base_costs = of(base).unwrap_or_default();
    let best_known: Vec<f64> = (0..runs.bounds.len())
        .map(|seed| {
            let of_seed = runs.outcomes.iter().filter_map(|(_, outcomes)| outcomes.get(seed));
            of_seed.map(|outcome| weights.cost(outcome)).fold(f64::INFINITY, f64::min)
        })
        .collect();
    // A share of next to nothing says nothing.
    let can_save = paired_ratio(&best_known, &base_costs).mean < LEAST_GAP;
    let saved = |own: &[f64]| Saved {
        at_least: gap_closed(own, &base_costs, &runs.bounds),
        at_most: gap_closed(own, &base_costs, &best_known),
    };
    let rows = runs.outcomes.iter().zip(&runs.seconds).map(|((policy, outcomes), seconds)| {
        let own = costs(outcomes);
        let over = |value: &dyn Fn(&Outcome) -> f64| t_interval(&outcomes.iter().map(value).collect::<Vec<_>>());
        let per_thousand = |value: &dyn Fn(&Outcome) -> f64| {
            over(&|outcome| 1_000.0 * value(outcome) / outcome.node_minutes.max(f64::MIN_POSITIVE))
        };
        let against_base = paired_difference(&own, &base_costs);
        Row {
            policy: policy.name(),
            cost: t_interval(&own),
            against_base,
            relative: paired_ratio(&own, &base_costs),
            saved: (can_save && *policy != base).then(|| saved(&own)),
            hot_80: per_thousand(&|outcome| outcome.hot_80_minutes),
            hot_90: per_thousand(&|outcome| outcome.hot_90_minutes),
            throttled: per_thousand(&|outcome| outcome.throttled_pod_minutes),
            evictions: over(&|outcome| outcome.evictions as f64),
            pending: per_thousand(&|outcome| outcome.pending_pod_minutes),
            p95_utilization: over(&|outcome| outcome.p95_utilization),
            imbalance: over(&|outcome| outcome.imbalance),
            stranded: over(&|outcome| outcome.stranded_share),
            room: over(&|outcome| outcome.room_by_requests),
            parts: mean_parts(outcomes, weights),
            seconds: seconds.iter().sum::<f64>() / seconds.len().max(1) as f64,
        }
    });
    ScenarioFigures {
        scenario: runs.name.clone(),
        nodes: runs.nodes.len(),
        pods: runs.pods.iter().sum::<usize>() as f64 / runs.pods.len().max(1) as f64,
        days: runs.span_ms as f64 / 86_400_000.0,
        seeds: runs.pods.len(),
        base: base.name(),
        bound: t_interval(&runs.bounds),
        best_known: t_interval(&best_known),
        rows: rows.collect(),
        notes: runs.notes.clone(),
    }
}

fn mean_parts(outcomes: &[Outcome], weights: &CostWeights) -> Vec<CostPart> {
    let mut sums: Vec<CostPart> = Vec::new();
    for outcome in outcomes {
        let parts = weights.parts(outcome);
        if sums.is_empty() {
            sums = parts;
        } else {
            sums.iter_mut().zip(parts).for_each(|(sum, part)| sum.cost += part.cost);
        }
    }
    sums.iter_mut().for_each(|sum| sum.cost /= outcomes.len().max(1) as f64);
    sums
}

/// The table of a scenario: cost with its interval, the paired difference, the outcomes.
pub fn table(figures: &ScenarioFigures) -> Table {
    let [cost, outcomes] = halves(figures);
    joined(figures, &[cost, outcomes])
}

/// The same as two tables, each narrow enough for a page: what it costs, and what the cost is made of.
pub(crate) fn tables(figures: &ScenarioFigures) -> [Table; 2] {
    halves(figures).map(|half| joined(figures, &[half]))
}

/// Columns beside the policy's name: heads, and the cells of each policy.
type Columns = (Vec<String>, Vec<Vec<(String, Tone)>>);

fn halves(figures: &ScenarioFigures) -> [Columns; 2] {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let mut cost = words(&["cost", "", "relative", "of the possible", "over 80 %", "over 90 %"]);
    cost[1] = format!("− {}", figures.base);
    let outcomes = words(&["throttled", "evictions", "pending", "P95", "imbalance", "stranded"]);
    [
        (cost, figures.rows.iter().map(|row| cost_cells(row, row.policy == figures.base)).collect()),
        (outcomes, figures.rows.iter().map(outcome_cells).collect()),
    ]
}

fn joined(figures: &ScenarioFigures, parts: &[Columns]) -> Table {
    let heads = parts.iter().flat_map(|(heads, _)| heads.iter().cloned());
    let mut table = Table::new(std::iter::once("policy".to_owned()).chain(heads));
    for (at, row) in figures.rows.iter().enumerate() {
        let cells = parts.iter().flat_map(|(_, cells)| cells[at].iter().cloned());
        table.toned_row(std::iter::once((row.policy.clone(), Tone::Plain)).chain(cells));
    }
    table
}

fn cost_cells(row: &Row, is_base: bool) -> Vec<(String, Tone)> {
    let tone = |difference: &Interval| match difference {
        _ if is_base => Tone::Plain,
        difference if difference.is_below_zero() => Tone::Good,
        difference if difference.is_above_zero() => Tone::Bad,
        _ => Tone::Plain,
    };
    vec![
        (with_interval(&row.cost), Tone::Plain),
        (if is_base { "–".to_owned() } else { with_interval(&row.against_base) }, tone(&row.against_base)),
        (if is_base { "–".to_owned() } else { percent(&row.relative) }, tone(&row.relative)),
        (row.saved.as_ref().map_or("–".to_owned(), share), Tone::Plain),
        (number(row.hot_80.mean), Tone::Plain),
        (number(row.hot_90.mean), Tone::Plain),
    ]
}

fn outcome_cells(row: &Row) -> Vec<(String, Tone)> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let cells = [
        number(row.throttled.mean),
        number(row.evictions.mean),
        number(row.pending.mean),
        percent(row.p95_utilization.mean),
        percent(row.imbalance.mean),
        percent(row.stranded.mean),
    ];
    cells.map(|cell| (cell, Tone::Plain)).to_vec()
}

fn share(saved: &Saved) -> String {
    let (least, most) = (100.0 * saved.at_least.mean, 100.0 * saved.at_most.mean);
    // What makes things worse makes them worse by any measure.
    if most <= 0.0 { "none".to_owned() } else { format!("{least:.0} to {most:.0} %") }
}

/// What is known of the least possible cost, in a sentence.
pub(crate) fn least_cost(figures: &ScenarioFigures) -> String {
    let ScenarioFigures { bound, best_known, .. } = figures;
    format!(
        "No placement costs less than {}; the cheapest run of each seed costs {}.",
        with_interval(bound),
        with_interval(best_known)
    )
}

/// The cheapest known placement must save this share of the base's cost before shares of it are shown.
const LEAST_GAP: f64 = -0.05;

/// What the columns of [`table`] mean, in one paragraph.
pub(crate) const LEGEND: &str = "Cost, hot minutes, throttled pod-minutes and pending pod-minutes are per 1,000 node-minutes; brackets hold the 95 % interval over the seeds (Student's t); the difference is paired by seed, and so is the relative change, a geometric mean of ratios. The share of the possible is what a policy saves, (base − policy), of what can be saved: at least of (base − a cost that is proven to be out of reach of every placement), at most of (base − the cheapest run of the seed).";

fn percent(interval: &Interval) -> String {
    let at = |value: f64| format!("{:+.1}", 100.0 * value);
    if interval.low.is_nan() {
        return format!("{} %", at(interval.mean));
    }
    format!("{} % [{}, {}]", at(interval.mean), at(interval.low), at(interval.high))
}

/// As many digits as say something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn with_interval(interval: &Interval) -> String {
    if interval.low.is_nan() {
        return number(interval.mean);
    }
    format!("{} [{}, {}]", number(interval.mean), number(interval.low), number(interval.high))
}
