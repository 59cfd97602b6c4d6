//! The training report: how well, by horizon, on an example node, and what mattered.

use super::{TrainedHead, TrainedLoad, charts};
use crate::evaluate::Scores;
use crate::rows::LoadRows;
use crate::text_table::{figure, minute};
use cluster::Resource;
use models::load::{HeadKey, Horizon};
use report::{Page, Table, Tone};

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
    page = page.section("Errors by horizon").charts([
        ("CPU", charts::by_horizon(trained, Resource::Cpu)),
        ("Memory", charts::by_horizon(trained, Resource::Memory)),
    ]);
    page = page
        .section("Coverage of the P90")
        .text("Nine of ten observations should lie at or below it.")
        .chart("Share of observations at or below the P90", charts::coverage(trained));
    page = page.section("Forecast beside what came");
    for resource in Resource::ALL {
        if let Some((caption, chart)) =
            head(trained, resource, Horizon::ALL[0]).and_then(|head| charts::example(head, rows))
        {
            page = page.chart(&caption, chart);
        }
    }
    page = page.section("What mattered").text(
        "Mean absolute contribution to the forecast (SHAP values plus the baseline's share) over test rows, in points.",
    );
    for resource in Resource::ALL {
        if let Some(head) = head(trained, resource, Horizon::ALL[0]) {
            let (chart, table) = charts::contributions(head, rows)?;
            page = page
                .chart(&format!("{resource} one hour ahead"), chart)
                .folded_table(&format!("all features of {resource}"), &table);
        }
    }
    page = page
        .section("Cross-validation before the test")
        .text("Rolling origins on growing history; the last column is the test itself.")
        .table(&folds(trained));
    page = page
        .section("Learning curves")
        .text("Loss on the hours that stop the boosters, by trees grown; each booster keeps the trees up to its lowest point.")
        .charts([("P50, mean absolute error", charts::learning(trained, false)), ("P90, mean pinball loss", charts::learning(trained, true))]);
    page = page.section("How each head was made").table(&evidence(trained));
    Ok(page.html())
}

pub(super) fn head(trained: &TrainedLoad, resource: Resource, horizon: Horizon) -> Option<&TrainedHead> {
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
        table.row([
            head.key.slug(),
            evidence.baseline.to_string(),
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
