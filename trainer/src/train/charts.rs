//! The charts of the training report.

use super::page::head;
use super::{TrainedHead, TrainedLoad};
use crate::evaluate::{Outcomes, POINTS, Scores};
use crate::rows::LoadRows;
use cluster::{DAY_MS, Resource};
use models::load::{Horizon, Quantile};
use report::Table;
use report::chart::{Axis, Bars, Chart, Line, Lines, bars, lines};
use std::collections::BTreeMap;

/// Rows that SHAP values are averaged over: the order of the first ten features does not change beyond this many.
const SHAP_ROWS: usize = 500;

/// The example shows this much of the test, so that single hours can be told apart.
const EXAMPLE_MS: i64 = 2 * DAY_MS;

pub(super) fn by_horizon(trained: &TrainedLoad, resource: Resource) -> Chart {
    let names: Vec<String> = Horizon::ALL.iter().map(ToString::to_string).collect();
    let categories: Vec<&str> = names.iter().map(String::as_str).collect();
    let of = |pick: &dyn Fn(&TrainedHead) -> Option<f64>| -> Vec<f64> {
        Horizon::ALL
            .iter()
            .map(|horizon| head(trained, resource, *horizon).and_then(pick).unwrap_or(f64::NAN))
            .collect()
    };
    let model = of(&|head| head.scores.map(|scores| scores.mae_points));
    let persistence = of(&|head| head.scores.map(|scores| scores.persistence_mae_points));
    let yesterday = of(&|head| head.yesterday.map(|scores| scores.mae_points));
    bars(&Bars {
        y_label: "MAE (points)",
        categories: &categories,
        series: &[("load predictor", &model), ("persistence", &persistence), ("same hour yesterday", &yesterday)],
    })
}

pub(super) fn coverage(trained: &TrainedLoad) -> Chart {
    let names: Vec<String> = trained.heads.iter().map(|head| head.key.slug()).collect();
    let categories: Vec<&str> = names.iter().map(String::as_str).collect();
    let of = |pick: &dyn Fn(Scores) -> Option<f64>| -> Vec<f64> {
        trained.heads.iter().map(|head| head.scores.and_then(pick).unwrap_or(f64::NAN)).collect()
    };
    let (served, model) = (of(&|scores| scores.p90_coverage), of(&|scores| scores.p90_coverage_of_model));
    bars(&Bars {
        y_label: "share covered",
        categories: &categories,
        series: &[("as served", &served), ("model alone", &model)],
    })
}

/// The node whose error is the median among the nodes: neither a show piece nor a failure.
fn example_node(test: &Outcomes) -> Option<u32> {
    let mut errors: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for row in 0..test.len() {
        let entry = errors.entry(test.node[row]).or_default();
        *entry = (entry.0 + (test.observed[row] - test.median[row]).abs(), entry.1 + 1.0);
    }
    let mut by_error: Vec<(f64, u32)> = errors.into_iter().map(|(node, (sum, rows))| (sum / rows, node)).collect();
    by_error.sort_by(|left, right| left.0.total_cmp(&right.0));
    by_error.get(by_error.len() / 2).map(|(_, node)| *node)
}

pub(super) fn example(head: &TrainedHead, rows: &LoadRows) -> Option<(String, Chart)> {
    let test = &head.test;
    let node = example_node(test)?;
    let last = (0..test.len()).filter(|row| test.node[*row] == node).map(|row| test.ts[row]).max()?;
    let shown: Vec<usize> =
        (0..test.len()).filter(|row| test.node[*row] == node && test.ts[*row] > last - EXAMPLE_MS).collect();
    let ahead = f64::from(head.key.horizon.hours()) * 3.6e6;
    let line = |name: &str, values: &[f64], dashed| Line {
        name: name.to_owned(),
        points: shown.iter().map(|&row| (test.ts[row] as f64 + ahead, values[row] * POINTS)).collect(),
        band: Vec::new(),
        dashed,
    };
    let chart = lines(&Lines {
        y_label: "utilization (points)",
        x_label: "time (UTC) at which the forecast hour ends",
        axis: Axis::Time,
        lines: vec![
            line("observed", &test.observed, false),
            line("P50", &test.median, false),
            line("P90", &test.p90, true),
        ],
        y_range: None,
    });
    let name = rows.nodes.get(node as usize)?;
    Some((
        format!("{} of node {name}, {} ahead; the node with the median error", head.key.resource, head.key.horizon),
        chart,
    ))
}

pub(super) fn contributions(head: &TrainedHead, rows: &LoadRows) -> anyhow::Result<(Chart, Table)> {
    let every = (head.test.len() / SHAP_ROWS).max(1);
    let sample: Vec<usize> = (0..head.test.len())
        .step_by(every)
        .filter_map(|at| rows.row_at(rows.nodes.get(head.test.node[at] as usize)?, head.test.ts[at]))
        .collect();
    let model = &head.fit.fitted.head;
    let x = rows.x.select_rows(&sample)?.select_columns(model.features())?;
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for explanation in model.explain(Quantile::P50, &x)? {
        for part in explanation.contributions {
            *sums.entry(part.feature).or_default() += f64::from(part.contribution.abs()) * POINTS / sample.len() as f64;
        }
    }
    let mut all: Vec<(String, f64)> = sums.into_iter().collect();
    all.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    let mut table = Table::new(["feature", "mean absolute contribution (points)"]);
    for (name, value) in &all {
        table.row([name.clone(), format!("{value:.4}")]);
    }
    let top = &all[..all.len().min(8)];
    let names: Vec<&str> = top.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<f64> = top.iter().map(|(_, value)| *value).collect();
    Ok((bars(&Bars { y_label: "points", categories: &names, series: &[("mean |contribution|", &values)] }), table))
}

/// The loss on the stop rows by round, of the P50 or the P90, one line per head.
pub(super) fn learning(trained: &TrainedLoad, upper: bool) -> Chart {
    let line = |head: &TrainedHead| {
        let curves = &head.fit.fitted.curves;
        let curve = if upper { &curves.upper } else { &curves.median };
        let points = curve.iter().enumerate().map(|(round, loss)| ((round + 1) as f64, loss * POINTS)).collect();
        Line { name: head.key.slug(), points, ..Line::default() }
    };
    lines(&Lines {
        y_label: "loss (points)",
        x_label: "trees",
        axis: Axis::Number,
        lines: trained.heads.iter().map(line).collect(),
        y_range: None,
    })
}
