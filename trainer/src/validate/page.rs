//! The verdict as a page.

use super::{Decision, Standing, Verdict, in_days};
use crate::text_table::{figure, minute};
use report::chart::{Bars, bars};
use report::{Page, Table, Tone};

/// Reasons first, then figures.
pub fn page(verdict: &Verdict) -> String {
    let (word, tone) = match (verdict.decision, verdict.passed) {
        (Decision::Promote, _) => ("passed: promote", Tone::Good),
        (Decision::NotYet, _) => ("not yet", Tone::Warn),
        (Decision::Keep, _) => ("refused: keep the champion", Tone::Bad),
    };
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
    if let Some(reason) = verdict.waits_for() {
        page = page.note(&format!("Not yet: {reason}."), Tone::Warn);
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
    let mut families = Table::new([
        "resource",
        "error against the champion's",
        "95 % interval",
        "one-sided 95 %",
        "allowed",
        "so",
        "days missing",
    ]);
    let percent = |share: f64| format!("{:+.2} %", 100.0 * share);
    if let Some(comparison) = &verdict.comparison {
        for family in &comparison.families {
            let (so, tone) = match family.standing {
                Standing::NoWorse => ("no worse", Tone::Good),
                Standing::Worse => ("worse", Tone::Bad),
                Standing::Unclear => ("not clear yet", Tone::Warn),
            };
            families.toned_row([
                (family.resource.to_string(), Tone::Plain),
                (percent(family.mean_share), Tone::Plain),
                (format!("{} to {}", percent(family.low_share), percent(family.high_share)), Tone::Plain),
                (percent(family.upper_share), Tone::Plain),
                (percent(comparison.margin_share), Tone::Plain),
                (so.to_owned(), tone),
                (family.missing_days.map_or_else(|| "more will not help".to_owned(), in_days), Tone::Plain),
            ]);
        }
    }
    let names: Vec<&str> = verdict.heads.iter().map(|head| head.head.as_str()).collect();
    let column = |pick: &dyn Fn(&super::HeadVerdict) -> Option<f64>| {
        verdict.heads.iter().map(|head| pick(head).unwrap_or(f64::NAN)).collect::<Vec<_>>()
    };
    let model = column(&|head| head.scores.map(|scores| scores.mae_points));
    let persistence = column(&|head| head.scores.map(|scores| scores.persistence_mae_points));
    if let Some(comparison) = &verdict.comparison {
        page = page
            .section("Beside the champion")
            .text(&format!(
                "Over {} that neither has learned from. All heads of a resource together; errors so small that {} points would be more than the margin count as if they were larger. A promotion wants every resource to be no worse; one that is worse keeps the champion.",
                in_days(comparison.days),
                verdict.limits.champion_slack_points
            ))
            .table(&families);
    }
    if let Some(fresh) = &verdict.fresh {
        let mut table = Table::new([
            "head",
            "rows",
            "judged MAE",
            "fresh MAE",
            "distance",
            "judged P90 covers",
            "fresh P90 covers",
        ]);
        for head in &fresh.heads {
            table.row([
                head.head.clone(),
                head.rows.to_string(),
                figure(Some(head.judged_mae_points), 3),
                figure(Some(head.fresh_mae_points), 3),
                figure(Some(head.distance_points), 3),
                figure(Some(head.judged_coverage), 3),
                figure(Some(head.fresh_coverage), 3),
            ]);
        }
        page = page.section("The fresh fit").text(
            "The same recipe fitted up to the end of the history, which serves once the recipe has passed. On these hours, which it has learned from, it has to err no more than the judged model and to stay within reach of it.",
        );
        for reason in &fresh.reasons {
            page = page.note(&format!("Not served, the judged model is: {reason}."), Tone::Warn);
        }
        page = page.table(&table);
    }
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
