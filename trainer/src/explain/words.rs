//! Explanations in words, and bars for the terminal.

use super::{Explained, ExplainedHead};
use crate::text_table::minute;
use std::fmt::Write;

/// What a model column means, from the catalogue of features; a difference names both.
pub fn describe(column: &str) -> String {
    let meaning = |name: &str| {
        features::catalogue::index(name)
            .and_then(|at| features::catalogue::all().get(at))
            .map(|feature| (feature.formula.clone(), feature.window.clone()))
    };
    match column.split_once(" - ") {
        None => meaning(column).map_or_else(String::new, |(formula, window)| format!("{formula} ({window})")),
        Some((plus, minus)) => match (meaning(plus), meaning(minus)) {
            (Some((formula, window)), Some(_)) => format!("{formula} ({window}), less {minus}"),
            _ => String::new(),
        },
    }
}

/// How many features the terminal shows.
const SHOWN: usize = 8;
/// Cells of the longest bar on either side.
const BAR: f64 = 16.0;

/// One sentence: the forecast, what raised it most, what lowered it most.
pub(super) fn sentence(head: &ExplainedHead) -> String {
    let Some(forecast) = head.forecast_points else {
        return "Nothing recent is known of this node, so there is no forecast.".to_owned();
    };
    let strongest = |up: bool| head.parts.iter().find(|part| (part.points > 0.0) == up && part.points.abs() >= 0.05);
    let mut text = format!("The {} of {} is {forecast:.1} points", head.quantile.to_uppercase(), head.head);
    match (strongest(true), strongest(false)) {
        (Some(up), Some(down)) => {
            let _ = write!(
                text,
                ": {} raises it most ({:+.1}), {} lowers it most ({:+.1})",
                up.feature, up.points, down.feature, down.points
            );
        }
        (Some(only), None) | (None, Some(only)) => {
            let _ = write!(text, ", mostly because of {} ({:+.1})", only.feature, only.points);
        }
        (None, None) => {
            let _ = write!(text, ", what the model says of any node");
        }
    }
    if head.fallback {
        text.push_str("; the model has no skill of its own here, the baseline answers");
    }
    if let Some(observed) = head.observed_points {
        let _ = write!(text, "; {observed:.1} points came");
    }
    text.push('.');
    text
}

/// For the terminal.
pub fn text(explained: &Explained) -> String {
    let mut text = format!(
        "node {} at {} UTC, model {}\n",
        explained.node,
        minute(explained.ts),
        &explained.model[..explained.model.len().min(12)]
    );
    if explained.in_training {
        text.push_str("note: the model has learned from this hour\n");
    }
    for head in &explained.heads {
        let _ = writeln!(text, "\n{}", sentence(head));
        let shown = &head.parts[..head.parts.len().min(SHOWN)];
        let largest = shown.iter().map(|part| part.points.abs()).fold(f64::MIN_POSITIVE, f64::max);
        let width = shown.iter().map(|part| part.feature.chars().count()).max().unwrap_or(0).max(20);
        let _ = writeln!(text, "  {:<width$} {:>8}", "start", format!("{:.2}", head.start_points));
        for part in shown {
            let cells = (part.points.abs() / largest * BAR).round() as usize;
            let bar = if part.points < 0.0 {
                format!("{:>16}|", "#".repeat(cells))
            } else {
                format!("{:>16}|{}", "", "#".repeat(cells))
            };
            let _ = writeln!(text, "  {:<width$} {:>8} {bar}", part.feature, format!("{:+.2}", part.points));
        }
        let rest: f64 = head.parts.iter().skip(SHOWN).map(|part| part.points).sum();
        if head.parts.len() > SHOWN {
            let _ = writeln!(
                text,
                "  {:<width$} {:>8}",
                format!("{} others", head.parts.len() - SHOWN),
                format!("{rest:+.2}")
            );
        }
        if head.correction_points.abs() >= 0.005 {
            let _ = writeln!(
                text,
                "  {:<width$} {:>8}",
                "calibration and limits",
                format!("{:+.2}", head.correction_points)
            );
        }
        if let Some(forecast) = head.forecast_points {
            let _ = writeln!(text, "  {:<width$} {:>8}", "forecast", format!("{forecast:.2}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;
    use cluster::NodeName;

    fn head() -> ExplainedHead {
        let part =
            |feature: &str, points| Part { feature: feature.into(), meaning: String::new(), value: Some(0.5), points };
        ExplainedHead {
            head: "cpu-1h".into(),
            quantile: "p50",
            forecast_points: Some(42.0),
            p90_points: Some(50.0),
            start_points: 35.0,
            parts: vec![part("cpu_mean_1h", 8.0), part("day_sin", -1.0)],
            correction_points: 0.0,
            observed_points: Some(40.0),
            fallback: false,
        }
    }

    #[test]
    fn the_sentence_names_what_raises_and_what_lowers() {
        assert_eq!(
            sentence(&head()),
            "The P50 of cpu-1h is 42.0 points: cpu_mean_1h raises it most (+8.0), day_sin lowers it most (-1.0); 40.0 points came."
        );
        assert!(sentence(&ExplainedHead { forecast_points: None, ..head() }).contains("no forecast"));
    }

    #[test]
    fn bars_go_to_both_sides() {
        let explained =
            Explained { node: NodeName::new("a"), ts: 0, model: "abc".into(), in_training: true, heads: vec![head()] };
        let text = text(&explained);
        assert!(text.contains("note: the model has learned from this hour"), "{text}");
        assert!(text.contains("+8.00                 |################"), "{text}");
        assert!(text.contains("##|\n"), "{text}");
    }
}
