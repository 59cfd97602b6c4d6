//! The report of a training: figures beside the z-score, what a threshold costs, precision against recall.

use super::{
    AlarmScores, AnomalySettings, AnomalyVerdict, Chosen, History, KindScores, ThresholdCurve, ThresholdPoint,
    TrainedDetector, VoteChoice, precision_recall,
};
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
        "{} nodes, {} readings, dataset {}; learned from {} to {}, tested until {} UTC",
        history.nodes.len(),
        history.ts.len(),
        verdict.dataset,
        minute(trained.learn.from),
        minute(trained.learn.until),
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
        .text("An alarm is a run of flagged readings of one node, gaps of up to 10 readings joined; it is right if it meets a labelled incident. Readings are counted one by one below, nothing is point-adjusted. The z-score is the largest distance of six five-minute means from the node's mean, in standard deviations, its threshold the cheapest on the hours before the test, whatever its precision.")
        .table(&figures(&[("detector", scores), ("z-score", plain)], settings))
        .table(&points(&[("detector", scores), ("z-score", plain)]));
    page = page
        .section("Incidents by kind")
        .table(&kinds(scores, plain))
        .chart("Share of incidents found", by_kind(scores, plain));
    page = page.section("How the threshold was chosen");
    page = match &trained.choice {
        VoteChoice::ByEvidence(chosen) => page
            .text(&selection_text(trained, chosen, settings))
            .table(&selection_table(trained, chosen))
            .chart("Precision and recall against threshold", threshold_chart(&chosen.curve)),
        VoteChoice::ByShare(share) => page.note(
            &format!("No incident is labelled and none could be injected, since the raw samples are gone or `faults_per_kind` is 0: the threshold is the vote that a share of {share} of the usual readings exceeds, {:.3}.", trained.detector.threshold()),
            Tone::Warn,
        ),
    };
    page = page
        .section("Precision against recall")
        .text("Of single readings of the test.")
        .chart("Precision against recall", precision_chart(trained))
        .section("Members")
        .text("A forest finds what is unlike the rest, a reach what lies far from its middle, the classifier what resembles faults that were injected or labelled. Readings are counted in the vote by their surprise: 2 is one in a hundred usual readings, 3 one in a thousand; of the classifier, odds of a hundred and of a thousand to one.")
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

/// What the threshold was chosen by, and what is expected of it.
fn selection_text(trained: &TrainedDetector, chosen: &Chosen, settings: &AnomalySettings) -> String {
    let Some(point) = chosen.curve.choice() else { return String::new() };
    let keeps = match point.precision_low >= settings.least_precision {
        _ if settings.least_precision <= 0.0 => "No precision was asked for, so cost alone decided".to_owned(),
        true => format!(
            "It is the cheapest of those whose alarms are right in a share of at least {} with a confidence of {}",
            settings.least_precision, settings.confidence
        ),
        false => format!(
            "No threshold keeps a precision of {} with a confidence of {}, so it is the one that keeps most",
            settings.least_precision, settings.confidence
        ),
    };
    format!(
        "Every stretch of the hours before the test was rated by members that had not learned from it: {:.0} node-days of readings outside incidents, on which {} alarms were raised, labelled incidents, and faults that were injected into replays of the same hours. {keeps}: {:.3} are expected to be right ({:.3} with that confidence), {:.3} of the incidents to be found, {:.4} false alarms per node-day, at {:.3} incidents per node-day. The threshold of the vote is {:.3}; {} readings in a row raise an alarm. A missed incident costs {}, a false alarm {}.",
        chosen.node_days,
        chosen.false_alarms,
        point.precision,
        point.precision_low,
        point.recall,
        point.false_alarms,
        chosen.incidents_per_node_day,
        trained.detector.threshold(),
        chosen.raise_after,
        settings.missed_cost,
        settings.false_alarm_cost,
    )
}

/// By kind, what the threshold finds of labelled and of injected incidents, before the test and in it.
fn selection_table(trained: &TrainedDetector, chosen: &Chosen) -> Table {
    let of = |scores: &KindScores| match scores.interval() {
        Some((low, high)) => format!("{} of {} ({low:.2} to {high:.2})", scores.found, scores.incidents),
        None => "-".to_owned(),
    };
    let mut table = Table::new([
        "kind",
        "found of those labelled",
        "found of those injected",
        "found of those injected into the test",
    ]);
    for (kind, [labelled, injected]) in &chosen.kinds {
        let tested = trained.injected.get(kind).copied().unwrap_or_default();
        table.row([kind.clone(), of(labelled), of(injected), of(&tested)]);
    }
    table
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

fn threshold_chart(curve: &ThresholdCurve) -> Chart {
    let line = |name: &str, pick: &dyn Fn(&ThresholdPoint) -> f64| Line {
        name: name.to_owned(),
        points: curve.points.iter().map(|point| (f64::from(point.threshold), pick(point))).collect(),
        ..Line::default()
    };
    let chosen = curve.choice().map(|choice| Line {
        name: "chosen".to_owned(),
        points: vec![(f64::from(choice.threshold), 0.0), (f64::from(choice.threshold), 1.0)],
        dashed: true,
        ..Line::default()
    });
    let own = [
        line("recall", &|point| point.recall),
        line("precision", &|point| point.precision),
        line("precision that is kept", &|point| point.precision_low),
    ];
    lines(&Lines {
        y_label: "share",
        x_label: "threshold of the vote",
        lines: own.into_iter().chain(chosen).collect(),
        y_range: Some((0.0, 1.02)),
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
