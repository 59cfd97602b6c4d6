//! The report of a training: figures beside the z-score, what a threshold costs, precision against recall.

use super::{AlarmScores, AnomalySettings, AnomalyVerdict, History, TrainedDetector, VoteChoice, precision_recall};
use crate::text_table::{figure, minute};
use models::anomaly::Vote;
use report::chart::{Bars, Chart, Line, Lines, bars, lines};
use report::{Page, Table, Tone};

/// The report as one self-contained page.
pub fn page(
    trained: &TrainedDetector,
    verdict: &AnomalyVerdict,
    history: &History,
    settings: &AnomalySettings,
) -> String {
    let subtitle = format!(
        "{} nodes, {} readings, dataset {}; learned from {} to {}, threshold from the hours to {}, tested until {} UTC",
        history.nodes.len(),
        history.ts.len(),
        verdict.dataset,
        minute(trained.train.from),
        minute(trained.train.until),
        minute(trained.validation.until),
        minute(trained.test.until)
    );
    let scores = &verdict.scores;
    let tone = |holds: Option<bool>| match holds {
        Some(true) => Tone::Good,
        Some(false) => Tone::Warn,
        None => Tone::Plain,
    };
    let better = |own: Option<f64>, plain: Option<f64>| own.map(|own| plain.is_none_or(|plain| own >= plain));
    let plain = &verdict.zscore;
    let (word, verdict_tone) = if verdict.passed { ("passed", Tone::Good) } else { ("refused", Tone::Bad) };
    let mut page = Page::new("Anomaly detector: training report", subtitle)
        .tile("validation", word, verdict_tone)
        .tile("alarm precision", figure(scores.precision, 3), tone(better(scores.precision, plain.precision)))
        .tile("incident recall", figure(scores.recall, 3), tone(better(scores.recall, plain.recall)))
        .tile("false alarms per node-day", figure(scores.false_alarms_per_node_day, 3), Tone::Plain)
        .tile(
            "median delay",
            scores.delay_minutes.map_or("-".to_owned(), |minutes| format!("{minutes:.0} min")),
            Tone::Plain,
        );
    for reason in verdict.reasons() {
        page = page.note(&reason, Tone::Bad);
    }
    if let Some(note) = &verdict.champion_note {
        page = page.note(&format!("Not compared with the champion: {note}."), Tone::Warn);
    }
    page = page
        .section("Figures of the test")
        .text("An alarm is a run of flagged readings of one node, gaps of up to 10 readings joined; it is right if it meets a labelled incident. Readings are counted one by one below, nothing is point-adjusted. The z-score is the largest distance of six five-minute means from the node's mean, in standard deviations, its threshold the cheapest on the same slice, whatever its precision.")
        .table(&figures(&[("detector", scores), ("z-score", plain)], settings))
        .table(&points(&[("detector", scores), ("z-score", plain)]));
    page = page
        .section("Incidents by kind")
        .table(&kinds(scores, plain))
        .chart("Share of incidents found", by_kind(scores, plain));
    page = page.section("What a threshold costs");
    page = match &trained.choice {
        VoteChoice::ByCost(curve) => page
            .text(&format!(
                "On the validation slice: {} × missed incident + {} × false alarm. The chosen threshold is {:.3}; of several equally good ones, the middle one. {} readings in a row raise an alarm. {}",
                settings.missed_cost,
                settings.false_alarm_cost,
                trained.detector.threshold(),
                trained.detector.alarms().raise_after,
                precision_there(curve, settings.least_precision)
            ))
            .chart("Cost against threshold", cost_chart(curve)),
        VoteChoice::ByShare(share) => page.note(
            &format!("No incident is labelled in the validation slice, so the threshold is the vote that a share of {share} of the usual readings exceeds: {:.3}.", trained.detector.threshold()),
            Tone::Warn,
        ),
    };
    page = page
        .section("Precision against recall")
        .text("Of single readings of the test.")
        .chart("Precision against recall", precision_chart(trained))
        .section("Members")
        .text("A forest or a reach each: a forest finds what is unlike the rest, a reach what lies far from its middle. Readings are counted in the vote by their surprise: 2 is one in a hundred usual readings, 3 one in a thousand.")
        .table(&members(trained));
    let mut checks = Table::new(["rule", "holds", "why"]);
    for check in &verdict.checks {
        let (word, tone) = if check.passed { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
        checks.toned_row([
            (check.rule.clone(), Tone::Plain),
            (word.to_owned(), tone),
            (check.reason.clone(), Tone::Plain),
        ]);
    }
    page.section("Rules").table(&checks).html()
}

/// Whether the chosen threshold's alarms were right as often as they should.
fn precision_there(curve: &super::CostCurve, least: f64) -> String {
    let precision = figure(curve.choice().and_then(|choice| choice.precision()), 3);
    let is_precise = curve.choice().is_some_and(|choice| choice.is_precise(least));
    match is_precise {
        _ if least <= 0.0 => format!("A share of {precision} of its alarms there were right; nothing was asked of it."),
        true => format!(
            "It is the cheapest of those whose alarms there were right in a share of at least {least}: {precision}."
        ),
        false => format!(
            "No threshold's alarms there were right in a share of at least {least}, so cost alone decided: {precision} were right."
        ),
    }
}

/// The table that the terminal shows too.
pub(crate) fn figures(detectors: &[(&str, &AlarmScores)], settings: &AnomalySettings) -> Table {
    let mut table = Table::new([
        "",
        "alarms",
        "right",
        "precision",
        "incidents",
        "found",
        "recall",
        "critical recall",
        "false alarms per node-day",
        "median delay min",
        "cost",
    ]);
    for (name, scores) in detectors {
        table.row([
            (*name).to_owned(),
            scores.alarms.to_string(),
            scores.right_alarms.to_string(),
            figure(scores.precision, 3),
            scores.incidents.to_string(),
            scores.found.to_string(),
            figure(scores.recall, 3),
            figure(scores.critical_recall, 3),
            figure(scores.false_alarms_per_node_day, 3),
            figure(scores.delay_minutes, 0),
            format!("{:.0}", scores.cost(settings.missed_cost, settings.false_alarm_cost)),
        ]);
    }
    table
}

pub(crate) fn points(detectors: &[(&str, &AlarmScores)]) -> Table {
    let mut table = Table::new([
        "single readings",
        "readings",
        "within incidents",
        "precision",
        "recall",
        "false-positive rate",
        "ROC-AUC",
        "PR-AUC",
    ]);
    for (name, scores) in detectors {
        let points = &scores.points;
        table.row([
            (*name).to_owned(),
            points.rows.to_string(),
            points.odd_rows.to_string(),
            figure(points.precision, 3),
            figure(points.recall, 3),
            figure(points.false_positive_rate, 4),
            figure(points.roc_auc, 3),
            figure(points.pr_auc, 3),
        ]);
    }
    table
}

fn kinds(scores: &AlarmScores, plain: &AlarmScores) -> Table {
    let mut table = Table::new(["kind", "incidents", "found by the detector", "found by the z-score"]);
    for (kind, own) in &scores.kinds {
        let theirs = plain.kinds.get(kind).map_or(0, |kind| kind.found);
        table.row([kind.clone(), own.incidents.to_string(), own.found.to_string(), theirs.to_string()]);
    }
    table
}

fn by_kind(scores: &AlarmScores, plain: &AlarmScores) -> Chart {
    let names: Vec<&str> = scores.kinds.keys().map(String::as_str).collect();
    let shares = |of: &AlarmScores| -> Vec<f64> {
        let share =
            |kind: &&str| of.kinds.get(*kind).map_or(f64::NAN, |kind| kind.found as f64 / kind.incidents as f64);
        names.iter().map(share).collect()
    };
    let (own, theirs) = (shares(scores), shares(plain));
    bars(&Bars { y_label: "share found", categories: &names, series: &[("detector", &own), ("z-score", &theirs)] })
}

fn cost_chart(curve: &super::CostCurve) -> Chart {
    let line = |name: &str, pick: &dyn Fn(&super::CostPoint) -> f64| Line {
        name: name.to_owned(),
        points: curve.points.iter().map(|point| (f64::from(point.threshold), pick(point))).collect(),
        ..Line::default()
    };
    let most = curve.points.iter().map(|point| point.cost).fold(0.0, f64::max);
    let chosen = curve.choice().map(|choice| Line {
        name: "chosen".to_owned(),
        points: vec![(f64::from(choice.threshold), 0.0), (f64::from(choice.threshold), most)],
        dashed: true,
        ..Line::default()
    });
    let own = [line("cost", &|point| point.cost), line("false alarms", &|point| point.false_alarms as f64)];
    lines(&Lines {
        y_label: "cost",
        x_label: "threshold of the vote",
        lines: own.into_iter().chain(chosen).collect(),
        ..Lines::default()
    })
}

fn precision_chart(trained: &TrainedDetector) -> Chart {
    let odd = &trained.test_votes.1;
    let line = |name: &str, votes: &[f32]| {
        let curve = precision_recall(votes, odd);
        // A pixel holds no more.
        let every = curve.len().div_ceil(400).max(1);
        Line { name: name.to_owned(), points: curve.into_iter().step_by(every).collect(), ..Line::default() }
    };
    lines(&Lines {
        y_label: "precision",
        x_label: "recall",
        lines: vec![line("detector", &trained.test_votes.0), line("z-score", &trained.zscore_votes)],
        y_range: Some((0.0, 1.02)),
        ..Lines::default()
    })
}

fn members(trained: &TrainedDetector) -> Table {
    let mut table = Table::new(["member", "about", "weight in the vote", "features"]);
    for (place, member) in trained.detector.members().iter().enumerate() {
        let weight = match trained.detector.vote() {
            Vote::Largest => "the largest surprise decides".to_owned(),
            Vote::Scaled(factors) => format!("factor {:.2}, the largest decides", factors[place]),
            Vote::Weighted(weights) => format!("{:.3} of the sum", weights[place]),
        };
        let names: Vec<&str> =
            member.columns.iter().map(|column| trained.detector.features()[*column].as_str()).collect();
        table.row([member.name.clone(), member.kind.as_str().to_owned(), weight, names.join(", ")]);
    }
    table
}
