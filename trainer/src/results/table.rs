//! The lines as Markdown and as a page.

use super::{ResultLine, Results};
use crate::rows::in_words;
use crate::text_table::{figure, minute};
use features::TargetKind;
use models::load::HeadKey;
use report::chart::{Bars, bars};
use report::{Page, Table, Tone};

fn table(lines: &[&ResultLine]) -> Table {
    let mut table = Table::new([
        "head",
        "forecaster",
        "MAE points",
        "RMSE",
        "R² pooled",
        "R² median node",
        "accuracy %",
        "skill",
        "skill vs last value",
        "within 10",
        "pinball P50",
        "pinball P90",
        "P90 served",
        "P90 model",
        "rows over 80 %",
        "MAE there",
        "recall P50",
        "recall P90",
        "precision P90",
        "against persistence",
        "fit s",
    ]);
    for line in lines {
        let scores = &line.scores;
        let mae = line
            .mae_half_width
            .filter(|half| *half > 0.0)
            .map_or_else(|| format!("{:.3}", line.mae_points), |half| format!("{:.3} ± {half:.3}", line.mae_points));
        table.row([
            line.head.clone(),
            line.forecaster.clone(),
            mae,
            figure(Some(scores.rmse_points), 3),
            figure(scores.r2_pooled, 3),
            figure(scores.r2_median_over_nodes, 3),
            figure(scores.accuracy_percent, 2),
            figure(scores.skill, 3),
            figure(scores.skill_against_last_value, 3),
            figure(Some(scores.share_within_10_points), 3),
            figure(Some(scores.pinball_p50_points), 3),
            figure(scores.pinball_p90_points, 3),
            figure(scores.p90_coverage, 3),
            figure(scores.p90_coverage_of_model, 3),
            scores.overload.rows.to_string(),
            figure(scores.overload.mae_points, 2),
            figure(scores.overload.recall, 3),
            figure(scores.overload_p90.and_then(|scores| scores.recall), 3),
            figure(scores.overload_p90.and_then(|scores| scores.precision), 3),
            line.against_persistence.map_or_else(
                || "-".to_owned(),
                |difference| {
                    format!(
                        "{:+.3} ({:+.3} to {:+.3})",
                        difference.mean_points, difference.low_points, difference.high_points
                    )
                },
            ),
            figure(line.fit_seconds, 2),
        ]);
    }
    table
}

fn terms(results: &Results) -> String {
    let seeds: Vec<String> = results.settings.seeds.iter().map(ToString::to_string).collect();
    format!(
        "{} nodes, {} to {} UTC; tested on {} to {} UTC, the last {:.0} %, which nothing was fitted, stopped, calibrated or chosen on; seeds {}; at most {} training rows per head. \
         Skill is against persistence (mean of the last hour; for the 5-minute value the last one). P90 as served follows its misses online, P90 of the model does not. \
         MAE ± is the 95 % interval over seeds; “against persistence” is the difference in MAE with its 95 % interval (one series over time, fixed-b).",
        results.nodes,
        minute(results.span.from),
        minute(results.span.until),
        minute(results.test.from),
        minute(results.test.until),
        100.0 * results.settings.test_share,
        seeds.join(", "),
        results.settings.max_rows
    )
}

fn of(results: &Results, kind: TargetKind) -> Vec<&ResultLine> {
    results.lines.iter().filter(|line| line.target == kind).collect()
}

/// A section of `docs/results.md`.
pub fn markdown(results: &Results) -> String {
    let mut text = format!("## {}\n\n{}\n", results.set, terms(results));
    for kind in crate::rows::TARGET_KINDS {
        text.push_str(&format!(
            "\n### {}: {}\n\n{}",
            results.set,
            in_words(kind),
            table(&of(results, kind)).markdown()
        ));
    }
    text
}

/// The same as a page with charts.
pub fn page(results: &Results) -> String {
    let mut page = Page::new(format!("Results on {}", results.set), terms(results));
    for kind in crate::rows::TARGET_KINDS {
        let lines = of(results, kind);
        page = page.section(in_words(kind));
        let heads: Vec<String> = HeadKey::all().map(HeadKey::slug).collect();
        let categories: Vec<&str> = heads.iter().map(String::as_str).collect();
        let shown = ["persistence", "last value", "linear", "XGBoost (Python), plain", "load predictor"];
        let series: Vec<(&str, Vec<f64>)> = shown
            .iter()
            .map(|name| {
                let mae = |head: &String| {
                    lines
                        .iter()
                        .find(|line| line.head == *head && line.forecaster == *name)
                        .map_or(f64::NAN, |line| line.mae_points)
                };
                (*name, heads.iter().map(mae).collect())
            })
            .filter(|(_, values): &(&str, Vec<f64>)| values.iter().any(|value| value.is_finite()))
            .collect();
        let series: Vec<(&str, &[f64])> = series.iter().map(|(name, values)| (*name, values.as_slice())).collect();
        page = page
            .chart(
                "Mean absolute error",
                bars(&Bars { y_label: "MAE (points)", categories: &categories, series: &series }),
            )
            .table(&table(&lines));
    }
    let missed: Vec<String> = results
        .lines
        .iter()
        .filter(|line| {
            line.forecaster == "load predictor"
                && line.scores.p90_coverage.is_some_and(|share| !(0.87..=0.93).contains(&share))
        })
        .map(|line| format!("{} {}", line.head, in_words(line.target)))
        .collect();
    if !missed.is_empty() {
        page = page.note(&format!("P90 coverage is outside 0.87 to 0.93 for: {}.", missed.join(", ")), Tone::Warn);
    }
    page.html()
}
