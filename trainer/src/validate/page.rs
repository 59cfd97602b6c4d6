//! The verdict as a page.

use super::Verdict;
use crate::text_table::{figure, minute};
use report::chart::{Bars, bars};
use report::{Page, Table, Tone};

/// Reasons first, then figures.
pub fn page(verdict: &Verdict) -> String {
    let (word, tone) = if verdict.passed { ("passed", Tone::Good) } else { ("refused", Tone::Bad) };
    let subtitle = format!(
        "model {} on dataset {}, {} to {} UTC, judged at {}",
        &verdict.model_hash[..verdict.model_hash.len().min(12)],
        verdict.dataset,
        minute(verdict.window.from),
        minute(verdict.window.until),
        verdict.at
    );
    let failed = verdict.checks.iter().filter(|check| !check.passed).count();
    let mut page = Page::new("Load predictor: validation", subtitle)
        .tile("verdict", word, tone)
        .tile("rules that hold", format!("{} of {}", verdict.checks.len() - failed, verdict.checks.len()), tone)
        .tile(
            "compared with champion",
            verdict.champion.clone().map_or_else(|| "none".to_owned(), |version| format!("version {version}")),
            Tone::Plain,
        );
    if let Some(note) = &verdict.champion_note {
        page = page.note(&format!("Not compared with the champion: {note}."), Tone::Warn);
    }
    for reason in verdict.reasons() {
        page = page.note(&reason, Tone::Bad);
    }
    let mut checks = Table::new(["head", "rule", "holds", "why"]);
    for check in &verdict.checks {
        let tone = if check.passed { Tone::Good } else { Tone::Bad };
        checks.toned_row([
            (check.head.clone(), Tone::Plain),
            (check.rule.clone(), Tone::Plain),
            (if check.passed { "yes" } else { "no" }.to_owned(), tone),
            (check.reason.clone(), Tone::Plain),
        ]);
    }
    let mut figures = Table::new([
        "head",
        "rows",
        "MAE",
        "persistence MAE",
        "yesterday MAE",
        "accuracy %",
        "skill",
        "P90 covers",
        "against champion (points)",
    ]);
    for head in &verdict.heads {
        let scores = head.scores;
        figures.row([
            head.head.clone(),
            scores.map_or(0, |scores| scores.rows).to_string(),
            figure(scores.map(|scores| scores.mae_points), 3),
            figure(scores.map(|scores| scores.persistence_mae_points), 3),
            figure(head.yesterday.map(|scores| scores.mae_points), 3),
            figure(scores.and_then(|scores| scores.accuracy_percent), 2),
            figure(scores.and_then(|scores| scores.skill), 3),
            figure(scores.and_then(|scores| scores.p90_coverage), 3),
            head.against_champion.map_or_else(
                || "-".to_owned(),
                |difference| {
                    format!(
                        "{:+.3} ({:+.3} to {:+.3})",
                        difference.mean_points, difference.low_points, difference.high_points
                    )
                },
            ),
        ]);
    }
    let names: Vec<&str> = verdict.heads.iter().map(|head| head.head.as_str()).collect();
    let column = |pick: &dyn Fn(&super::HeadVerdict) -> Option<f64>| {
        verdict.heads.iter().map(|head| pick(head).unwrap_or(f64::NAN)).collect::<Vec<_>>()
    };
    let model = column(&|head| head.scores.map(|scores| scores.mae_points));
    let persistence = column(&|head| head.scores.map(|scores| scores.persistence_mae_points));
    page.section("Errors")
        .chart(
            "Mean absolute error",
            bars(&Bars {
                y_label: "MAE (points)",
                categories: &names,
                series: &[("model", &model), ("persistence", &persistence)],
            }),
        )
        .table(&figures)
        .section("Rules")
        .table(&checks)
        .html()
}
