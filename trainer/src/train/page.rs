//! The training report: how well, by horizon, on an example node, and what mattered.

use super::{TrainedHead, TrainedLoad};
use crate::evaluate::{Outcomes, POINTS, Scores};
use crate::rows::LoadRows;
use crate::text_table::{figure, minute};
use cluster::{DAY_MS, Resource};
use models::load::{HeadKey, Horizon, Quantile};
use report::chart::{Axis, Bars, Chart, Line, Lines, bars, lines};
use report::{Page, Table, Tone};
use std::collections::BTreeMap;

/// Rows that SHAP values are averaged over: the order of the first ten features does not change beyond this many.
const SHAP_ROWS: usize = 500;

/// The example shows this much of the test, so that single hours can be told apart.
const EXAMPLE_MS: i64 = 2 * DAY_MS;

/// The report as one self-contained page.
///
/// # Errors
/// When the rows have other features than the predictor.
pub fn page(trained: &TrainedLoad, rows: &LoadRows, dataset: &str) -> anyhow::Result<String> {
    let subtitle = format!(
        "{} nodes, {} rows, {} to {} UTC, dataset {dataset}; tested on everything from {} UTC on, which no head has learned from",
        trained.nodes.len(),
        trained.rows,
        minute(trained.span.from),
        minute(trained.span.until),
        minute(trained.test_from())
    );
    let mut page = Page::new("Load predictor: training report", subtitle);
    for resource in Resource::ALL {
        if let Some(scores) = head(trained, resource, Horizon::ALL[0]).and_then(|head| head.scores) {
            let tone = if scores.skill.is_some_and(|skill| skill > 0.0) { Tone::Good } else { Tone::Warn };
            page = page
                .tile(format!("{resource} error at 1h"), format!("{:.2} points", scores.mae_points), tone)
                .tile(format!("{resource} skill at 1h"), figure(scores.skill, 3), tone)
                .tile(
                    format!("{resource} P90 coverage at 1h"),
                    figure(scores.p90_coverage, 3),
                    coverage_tone(scores.p90_coverage),
                );
        }
    }
    page = page
        .section("Figures of the test")
        .text("Mean of the hour that ends at the horizon, in utilization points. Skill is 1 − MAE ÷ MAE of persistence (the mean of the last hour); accuracy is 100 × (1 − WAPE) and never stands alone, since persistence alone is accurate on steady nodes. P90 as served follows its misses online, P90 of the model does not.")
        .table(&figures(trained));
    if !trained.held_out.is_empty() {
        let names: Vec<&str> = trained.held_out.iter().map(cluster::NodeName::as_str).collect();
        page = page
            .text(&format!("Nodes that never trained, for the claim that new nodes are served: {}.", names.join(", ")))
            .table(&held_out(trained));
    }
    page = page
        .section("Errors by horizon")
        .charts([("CPU", by_horizon(trained, Resource::Cpu)), ("Memory", by_horizon(trained, Resource::Memory))]);
    page = page
        .section("Coverage of the P90")
        .text("Nine of ten observations should lie at or below it.")
        .chart("Share of observations at or below the P90", coverage(trained));
    page = page.section("Forecast beside what came");
    for resource in Resource::ALL {
        if let Some((caption, chart)) = head(trained, resource, Horizon::ALL[0]).and_then(|head| example(head, rows)) {
            page = page.chart(&caption, chart);
        }
    }
    page = page.section("What mattered").text(
        "Mean absolute contribution to the forecast (SHAP values plus the baseline's share) over test rows, in points.",
    );
    for resource in Resource::ALL {
        if let Some(head) = head(trained, resource, Horizon::ALL[0]) {
            let (chart, table) = contributions(head, rows)?;
            page = page
                .chart(&format!("{resource} one hour ahead"), chart)
                .folded_table(&format!("all features of {resource}"), &table);
        }
    }
    page = page
        .section("Cross-validation before the test")
        .text("Rolling origins on growing history; the last column is the test itself.")
        .table(&folds(trained));
    page = page.section("How each head was made").table(&evidence(trained));
    Ok(page.html())
}

fn head(trained: &TrainedLoad, resource: Resource, horizon: Horizon) -> Option<&TrainedHead> {
    trained.heads.iter().find(|head| head.key == HeadKey { resource, horizon })
}

/// The target range of the project is 0.87 to 0.93.
fn coverage_tone(coverage: Option<f64>) -> Tone {
    match coverage {
        Some(share) if (0.87..=0.93).contains(&share) => Tone::Good,
        Some(_) => Tone::Warn,
        None => Tone::Plain,
    }
}

fn figures(trained: &TrainedLoad) -> Table {
    let mut table = Table::new([
        "head",
        "forecast",
        "rows",
        "MAE",
        "RMSE",
        "R² pooled",
        "R² median node",
        "accuracy %",
        "skill",
        "skill vs last value",
        "within 10",
        "pinball P90",
        "P90 served",
        "P90 model",
        "rows over 80 %",
        "MAE there",
        "recall P90",
        "precision P90",
    ]);
    for head in &trained.heads {
        let persistence = Scores::of(&head.test.forecast_by(head.test.persistence.clone()));
        let lines = [
            ("load predictor", head.scores),
            ("persistence", persistence),
            ("same hour yesterday", head.yesterday),
            ("against the 5-minute value", head.five_minute),
        ];
        for (name, scores) in lines {
            let Some(scores) = scores else { continue };
            table.row([
                head.key.slug(),
                name.to_owned(),
                scores.rows.to_string(),
                figure(Some(scores.mae_points), 3),
                figure(Some(scores.rmse_points), 3),
                figure(scores.r2_pooled, 3),
                figure(scores.r2_median_over_nodes, 3),
                figure(scores.accuracy_percent, 2),
                figure(scores.skill, 3),
                figure(scores.skill_against_last_value, 3),
                figure(Some(scores.share_within_10_points), 3),
                figure(scores.pinball_p90_points, 3),
                figure(scores.p90_coverage, 3),
                figure(scores.p90_coverage_of_model, 3),
                scores.overload.rows.to_string(),
                figure(scores.overload.mae_points, 2),
                figure(scores.overload_p90.and_then(|scores| scores.recall), 3),
                figure(scores.overload_p90.and_then(|scores| scores.precision), 3),
            ]);
        }
    }
    table
}

fn held_out(trained: &TrainedLoad) -> Table {
    let mut table = Table::new(["head", "rows", "MAE", "accuracy %", "skill", "P90 served"]);
    for (head, scores) in trained.heads.iter().filter_map(|head| Some((head, head.held_out?))) {
        table.row([
            head.key.slug(),
            scores.rows.to_string(),
            figure(Some(scores.mae_points), 3),
            figure(scores.accuracy_percent, 2),
            figure(scores.skill, 3),
            figure(scores.p90_coverage, 3),
        ]);
    }
    table
}

fn by_horizon(trained: &TrainedLoad, resource: Resource) -> Chart {
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

fn coverage(trained: &TrainedLoad) -> Chart {
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

fn example(head: &TrainedHead, rows: &LoadRows) -> Option<(String, Chart)> {
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

fn contributions(head: &TrainedHead, rows: &LoadRows) -> anyhow::Result<(Chart, Table)> {
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

fn folds(trained: &TrainedLoad) -> Table {
    let count = trained.heads.iter().map(|head| head.folds.len()).max().unwrap_or(0);
    let title = |fold: usize| format!("fold {} MAE (skill)", fold + 1);
    let mut table =
        Table::new(["head".to_owned()].into_iter().chain((0..count).map(title)).chain(["test MAE (skill)".to_owned()]));
    let cell = |scores: Option<&Scores>| {
        scores
            .map_or_else(|| "-".to_owned(), |scores| format!("{:.3} ({})", scores.mae_points, figure(scores.skill, 3)))
    };
    for head in &trained.heads {
        let folds = (0..count).map(|fold| cell(head.folds.get(fold)));
        table.row([head.key.slug()].into_iter().chain(folds).chain([cell(head.scores.as_ref())]));
    }
    table
}

fn evidence(trained: &TrainedLoad) -> Table {
    let mut table = Table::new([
        "head",
        "baseline",
        "columns",
        "weight of the booster",
        "answers",
        "P90 shift (points)",
        "rows trained",
        "rows calibrated",
        "fit s",
    ]);
    for head in &trained.heads {
        let evidence = &head.fit.fitted.evidence;
        let baseline: Vec<String> =
            evidence.baseline.parts().iter().map(|part| format!("{} × {}", part.weight, part.column)).collect();
        table.row([
            head.key.slug(),
            baseline.join(" + "),
            format!("{:?}", head.fit.columns),
            evidence.median_blend.to_string(),
            if evidence.fallback { "baseline, for want of skill" } else { "booster" }.to_owned(),
            format!("{:+.2}", 100.0 * f64::from(evidence.offset)),
            evidence.train_rows.to_string(),
            evidence.calibration_rows.to_string(),
            format!("{:.1}", head.fit.fit_time.as_secs_f64()),
        ]);
    }
    table
}
