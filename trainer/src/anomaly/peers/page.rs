//! The comparison as a table and as a page.

use super::{Comparison, PeerResult, Primary, ThresholdChoice};
use crate::anomaly::{precision_recall, roc_curve};
use crate::text_table::figure;
use report::chart::{Bars, Line, Lines, bars, lines};
use report::{Page, Table, Tone};

/// One row per peer; figures of the test.
pub fn comparison_table(comparison: &Comparison) -> Table {
    let mut table = Table::new([
        "model",
        "",
        "ROC-AUC",
        "PR-AUC",
        "alarms",
        "alarm precision",
        "incidents found",
        "incident recall",
        "false alarms per node-day",
        "cost",
        "accuracy",
        "point precision",
        "point recall",
        "fit s",
    ]);
    for peer in &comparison.peers {
        let (scores, points) = (&peer.scores, &peer.scores.points);
        let (word, tone) = verdict(comparison, peer);
        let cells = [
            figure(points.roc_auc, 3),
            figure(points.pr_auc, 3),
            scores.alarms.to_string(),
            figure(scores.precision, 3),
            format!("{} of {}", scores.found, scores.incidents),
            figure(scores.recall, 3),
            figure(scores.false_alarms_per_node_day, 3),
            format!("{:.0}", peer.cost),
            figure(peer.accuracy, 4),
            figure(points.precision, 3),
            figure(points.recall, 3),
            format!("{:.2}", peer.fit_seconds),
        ];
        let cells = cells.into_iter().map(|cell| (cell, Tone::Plain));
        table.toned_row([(peer.kind.name().to_owned(), Tone::Plain), (word, tone)].into_iter().chain(cells));
    }
    table
}

fn verdict(comparison: &Comparison, peer: &PeerResult) -> (String, Tone) {
    if comparison.choice.best == Some(peer.kind) {
        return ("best".to_owned(), Tone::Good);
    }
    match comparison.choice.refused.iter().any(|(kind, _)| *kind == peer.kind) {
        true => ("does not qualify".to_owned(), Tone::Warn),
        false => ("qualifies".to_owned(), Tone::Plain),
    }
}

/// What the best is picked by, in words.
pub(super) const fn primary_in_words(primary: Primary) -> &'static str {
    match primary {
        Primary::Cost => "least cost",
        Primary::PrAuc => "largest PR-AUC",
        Primary::RocAuc => "largest ROC-AUC",
        Primary::Recall => "largest incident recall",
        Primary::Precision => "largest alarm precision",
    }
}

/// The comparison as one self-contained page.
pub fn page(comparison: &Comparison, notes: &[String]) -> String {
    let settings = &comparison.settings;
    let [train, validation, test] = comparison.slices;
    let subtitle = format!(
        "{}; {} columns; learned from {} readings ({} incidents), thresholds from {} ({}), figures from {} ({})",
        comparison.task,
        comparison.columns.len(),
        train.rows,
        train.incidents,
        validation.rows,
        validation.incidents,
        test.rows,
        test.incidents
    );
    let best = comparison.choice.best;
    let of_best = comparison.peers.iter().find(|peer| Some(peer.kind) == best);
    let tile = |value: Option<f64>| figure(value, 3);
    let mut page = Page::new("Anomaly detectors compared", subtitle).tile(
        "best",
        best.map_or("none qualifies", |best| best.name()),
        if best.is_some() { Tone::Good } else { Tone::Bad },
    );
    if let Some(peer) = of_best {
        page = page
            .tile("its ROC-AUC", tile(peer.scores.points.roc_auc), Tone::Plain)
            .tile("its PR-AUC", tile(peer.scores.points.pr_auc), Tone::Plain)
            .tile("its alarm precision", tile(peer.scores.precision), Tone::Plain)
            .tile("its incident recall", tile(peer.scores.recall), Tone::Plain);
    }
    for (kind, reason) in &comparison.left_out {
        page = page.note(&format!("{} was left out: {reason}.", kind.name()), Tone::Warn);
    }
    for note in notes {
        page = page.note(&format!("{note}."), Tone::Warn);
    }
    page = page
        .section("Figures of the test")
        .text(&format!(
            "The best has the {} among those with an accuracy of at least {}, an alarm precision of at least {} and an incident recall of at least {}. An alarm is a run of flagged readings of one series, gaps of up to 10 readings joined; it is right if it meets an incident. Accuracy, point precision and point recall count readings one by one; nothing is point-adjusted.",
            primary_in_words(settings.primary),
            settings.min_accuracy,
            settings.min_precision,
            settings.min_recall
        ))
        .table(&comparison_table(comparison));
    for (kind, reason) in &comparison.choice.refused {
        page = page.note(&format!("{} does not qualify: {reason}.", kind.name()), Tone::Warn);
    }
    page = page
        .section("Curves of single readings")
        .text("Each point is a threshold. In the first chart a coin lies on the diagonal; in the second it lies at the share of readings within incidents.")
        .chart("True positives against false positives (ROC)", roc_chart(comparison))
        .chart("Precision against recall", precision_chart(comparison))
        .section("What a threshold costs")
        .text(&format!(
            "On the validation slice: {} × missed incident + {} × false alarm, against the share of the tried thresholds below; thresholds of different models have no common scale. The lowest point is chosen, of several the middle one.",
            settings.missed_cost, settings.false_alarm_cost
        ))
        .chart("Cost against threshold", cost_chart(comparison))
        .table(&thresholds(comparison))
        .section("Incidents by kind")
        .table(&kinds(comparison))
        .section("Time")
        .text("Wall time of one fit on one machine; the detector is fitted once per series, the others once for all.")
        .chart("Seconds", time_chart(comparison));
    page.html()
}

/// At most 400 points: a pixel holds no more. The last one stays.
fn thinned(curve: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = curve.len().div_ceil(400).max(1);
    let last = curve.len().saturating_sub(1);
    curve.into_iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last).map(|(_, point)| point).collect()
}

fn roc_chart(comparison: &Comparison) -> report::Chart {
    let curves = comparison.peers.iter().map(|peer| Line {
        name: peer.kind.name().to_owned(),
        points: thinned(roc_curve(&peer.test_scores, &comparison.test_odd)),
        ..Line::default()
    });
    let coin = Line { name: "coin".to_owned(), points: vec![(0.0, 0.0), (1.0, 1.0)], dashed: true, ..Line::default() };
    lines(&Lines {
        y_label: "share of odd readings flagged",
        x_label: "share of usual readings flagged",
        lines: curves.chain([coin]).collect(),
        y_range: Some((0.0, 1.02)),
        ..Lines::default()
    })
}

fn precision_chart(comparison: &Comparison) -> report::Chart {
    let odd = comparison.test_odd.iter().filter(|odd| **odd).count() as f64 / comparison.test_odd.len().max(1) as f64;
    let curves = comparison.peers.iter().map(|peer| Line {
        name: peer.kind.name().to_owned(),
        points: thinned(precision_recall(&peer.test_scores, &comparison.test_odd)),
        ..Line::default()
    });
    let coin = Line { name: "coin".to_owned(), points: vec![(0.0, odd), (1.0, odd)], dashed: true, ..Line::default() };
    lines(&Lines {
        y_label: "precision",
        x_label: "recall",
        lines: curves.chain([coin]).collect(),
        y_range: Some((0.0, 1.02)),
        ..Lines::default()
    })
}

fn cost_chart(comparison: &Comparison) -> report::Chart {
    let line = |peer: &PeerResult| match &peer.choice {
        ThresholdChoice::ByShare(_) => None,
        ThresholdChoice::ByCost(curve) => {
            let last = curve.points.len().saturating_sub(1).max(1) as f64;
            let points = curve.points.iter().enumerate().map(|(at, point)| (at as f64 / last, point.cost));
            Some(Line { name: peer.kind.name().to_owned(), points: points.collect(), ..Line::default() })
        }
    };
    lines(&Lines {
        y_label: "cost",
        x_label: "share of the tried thresholds below",
        lines: comparison.peers.iter().filter_map(line).collect(),
        ..Lines::default()
    })
}

fn thresholds(comparison: &Comparison) -> Table {
    let mut table = Table::new(["model", "threshold", "chosen by", "missed there", "false alarms there", "cost there"]);
    for peer in &comparison.peers {
        let cells = match &peer.choice {
            ThresholdChoice::ByShare(share) => [
                format!("a share of {share} of the readings: no incident is labelled there"),
                "-".into(),
                "-".into(),
                "-".into(),
            ],
            ThresholdChoice::ByCost(curve) => {
                let choice = curve.choice();
                let of = |value: Option<usize>| value.map_or("-".to_owned(), |value| value.to_string());
                [
                    "cost".to_owned(),
                    of(choice.map(|choice| choice.missed)),
                    of(choice.map(|choice| choice.false_alarms)),
                    figure(choice.map(|choice| choice.cost), 0),
                ]
            }
        };
        table.row([peer.kind.name().to_owned(), format!("{:.4}", peer.threshold)].into_iter().chain(cells));
    }
    table
}

fn kinds(comparison: &Comparison) -> Table {
    let names = comparison.peers.iter().map(|peer| format!("{} found", peer.kind.name()));
    let mut table = Table::new(["kind".to_owned(), "incidents".to_owned()].into_iter().chain(names));
    let Some(first) = comparison.peers.first() else { return table };
    for (kind, own) in &first.scores.kinds {
        let found =
            comparison.peers.iter().map(|peer| peer.scores.kinds.get(kind).map_or(0, |kind| kind.found).to_string());
        table.row([kind.clone(), own.incidents.to_string()].into_iter().chain(found));
    }
    table
}

fn time_chart(comparison: &Comparison) -> report::Chart {
    let names: Vec<&str> = comparison.peers.iter().map(|peer| peer.kind.name()).collect();
    let of = |pick: &dyn Fn(&PeerResult) -> f64| -> Vec<f64> { comparison.peers.iter().map(pick).collect() };
    let (fit, score) = (of(&|peer| peer.fit_seconds), of(&|peer| peer.score_seconds));
    bars(&Bars { y_label: "seconds", categories: &names, series: &[("fit", &fit), ("score all rows", &score)] })
}
