//! The comparison as Markdown and as a page.

use super::{Comparison, Line, Role};
use crate::rows::in_words;
use crate::text_table::figure;
use report::chart::{Bars, Scatter, bars, scatter};
use report::{Page, Table, Tone};

fn table(lines: &[&Line]) -> Table {
    let best =
        lines.iter().filter_map(|line| line.scores.map(|scores| scores.mae_points)).fold(f64::INFINITY, f64::min);
    let mut table = Table::new([
        "candidate",
        "MAE points",
        "RMSE points",
        "accuracy %",
        "skill",
        "within 10",
        "P90 covers",
        "fit s",
        "size kB",
        "row µs",
        "chosen",
        "what it is",
    ]);
    for line in lines {
        let scores = line.scores;
        let digits = |value: Option<f64>, digits| figure(value, digits);
        let tone = match scores {
            None => Tone::Bad,
            Some(scores) if scores.mae_points <= best => Tone::Good,
            Some(_) => Tone::Plain,
        };
        let note = line
            .failure
            .as_ref()
            .map_or_else(|| line.note.clone(), |failure| format!("could not be fitted: {failure}"));
        table.toned_row([
            (line.candidate.clone(), Tone::Plain),
            (digits(scores.map(|scores| scores.mae_points), 3), tone),
            (digits(scores.map(|scores| scores.rmse_points), 3), Tone::Plain),
            (digits(scores.and_then(|scores| scores.accuracy_percent), 2), Tone::Plain),
            (digits(scores.and_then(|scores| scores.skill), 3), Tone::Plain),
            (digits(scores.map(|scores| scores.share_within_10_points), 3), Tone::Plain),
            (digits(scores.and_then(|scores| scores.p90_coverage), 3), Tone::Plain),
            (format!("{:.1}", line.fit_seconds), Tone::Plain),
            (format!("{:.0}", line.bytes as f64 / 1e3), Tone::Plain),
            (digits(line.row_microseconds, 1), Tone::Plain),
            (if line.role == Role::Chosen { "yes" } else { "no" }.to_owned(), Tone::Plain),
            (note, Tone::Plain),
        ]);
    }
    table
}

fn by_head(comparison: &Comparison) -> Vec<(String, Vec<&Line>)> {
    let mut groups: Vec<(String, Vec<&Line>)> = Vec::new();
    for line in &comparison.lines {
        match groups.last_mut() {
            Some((head, lines)) if *head == line.head => lines.push(line),
            _ => groups.push((line.head.clone(), vec![line])),
        }
    }
    groups
}

fn terms(comparison: &Comparison) -> String {
    let settings = &comparison.settings;
    format!(
        "Dataset {}: {} nodes; {} of each horizon; {} rolling origins of {:.1} hours, purged by the horizon; up to {} training rows in the newest fold; seed {}, {} threads.",
        comparison.dataset,
        comparison.nodes,
        in_words(settings.target),
        settings.folds,
        settings.validation_hours,
        comparison.train_rows,
        settings.seed,
        settings.threads
    )
}

/// One table per head.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = format!("# Comparison of load models\n\n{}\n", terms(comparison));
    for (head, lines) in by_head(comparison) {
        text.push_str(&format!("\n## {head}\n\n{}", table(&lines).markdown()));
    }
    text
}

/// Tables and charts.
pub fn page(comparison: &Comparison) -> String {
    let mut page = Page::new("Comparison of load models", terms(comparison));
    for (head, lines) in by_head(comparison) {
        let scored: Vec<&Line> = lines.iter().copied().filter(|line| line.scores.is_some()).collect();
        if let Some((chosen, skill)) =
            scored.iter().find(|line| line.role == Role::Chosen).and_then(|line| Some((line, line.scores?.skill?)))
        {
            let tone = if skill > 0.0 { Tone::Good } else { Tone::Bad };
            page = page.tile(format!("skill of the {} at {head}", chosen.candidate), format!("{skill:.3}"), tone);
        }
    }
    page = page.text(
        "Skill is 1 − MAE ÷ MAE of persistence; accuracy is 100 × (1 − WAPE) and proves little without it. Every candidate gets the same rows; \
         where a slow learner draws a subsample, its line says so. A variant changes one thing of the chosen recipe and is fitted without its calibration.",
    );
    for (head, lines) in by_head(comparison) {
        let scored: Vec<&Line> = lines.iter().copied().filter(|line| line.scores.is_some()).collect();
        let names: Vec<&str> = scored.iter().map(|line| line.candidate.as_str()).collect();
        let mae: Vec<f64> = scored.iter().filter_map(|line| line.scores).map(|scores| scores.mae_points).collect();
        let split = scored.iter().position(|line| line.role == Role::Variant).unwrap_or(scored.len());
        page = page.section(&head).chart(
            "Mean absolute error by candidate",
            bars(&Bars { y_label: "MAE (points)", categories: &names[..split], series: &[("MAE", &mae[..split])] }),
        );
        if split < scored.len() {
            page = page.chart(
                "Mean absolute error of the variants",
                bars(&Bars { y_label: "MAE (points)", categories: &names[split..], series: &[("MAE", &mae[split..])] }),
            );
        }
        let groups = scored
            .iter()
            .filter(|line| line.fit_seconds > 0.0)
            .map(|line| {
                (
                    line.candidate.clone(),
                    vec![(line.fit_seconds.log10(), line.scores.map_or(f64::NAN, |scores| scores.mae_points))],
                )
            })
            .collect();
        page = page
            .chart(
                "Error against time to fit",
                scatter(&Scatter {
                    x_label: "time to fit, log10 of seconds",
                    y_label: "MAE (points)",
                    groups,
                    diagonal: false,
                }),
            )
            .table(&table(&lines));
    }
    page.html()
}
