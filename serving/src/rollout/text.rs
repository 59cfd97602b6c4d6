//! The comparison as lines for a terminal.

use serde_json::Value;
use std::fmt::Write;

/// What a server told last, for people; what is not known yet is a dash.
pub(super) fn of(told: &Value) -> String {
    let report = &told["report"];
    let mut text = String::new();
    if let Some(reason) = told["waits_for"].as_str() {
        line(&mut text, &format!("it does not answer yet: {reason}"));
    }
    if report.is_null() {
        return text;
    }
    line(&mut text, "");
    line(&mut text, &format!("compared since {}", report["since"].as_str().unwrap_or("-")));
    line(
        &mut text,
        &format!("{:22} {:>12} {:>12}   {}", "", "champion", "challenger", "difference [confidence sequence], limit"),
    );
    let pods = &report["pods"];
    line(&mut text, &format!("{:22} {:>12} {:>12}", "pods", count(&pods["champion"]), count(&pods["challenger"])));
    for (name, figures, limit, scale, unit) in [
        ("errors", &report["errors"], &report["errors"]["limit"], 100.0, "%"),
        ("slow", &report["slow"], &report["slow"]["limit"], 100.0, "%"),
        ("time per pod", &report["seconds"], &Value::Null, 1e3, "ms"),
        ("forecast error", &report["forecasts"], &report["forecast_limit"], 100.0, "%"),
        ("loss of choices", &report["choices"], &report["choices"]["limit"], 100.0, "%"),
        ("alarms", &report["alarms"], &report["alarms"]["limit"], 100.0, "%"),
    ] {
        let number =
            |value: &Value| value.as_f64().map_or("-".to_owned(), |value| format!("{:.3} {unit}", scale * value));
        let difference = &figures["difference"];
        let limit = if limit.is_null() { String::new() } else { format!(", {}", number(limit)) };
        line(
            &mut text,
            &format!(
                "{name:22} {:>12} {:>12}   {} [{}, {}]{limit}",
                number(&figures["champion"]),
                number(&figures["challenger"]),
                number(&difference["value"]),
                number(&difference["low"]),
                number(&difference["high"]),
            ),
        );
    }
    let forecasts = &report["forecasts"];
    line(
        &mut text,
        &format!(
            "{} forecasts over {} hours were compared with what happened, {} wait for their hour, {} were lost",
            count(&forecasts["forecasts"]),
            forecasts["hours"].as_f64().map_or("-".to_owned(), |hours| format!("{hours:.0}")),
            count(&report["forecasts_waiting"]),
            count(&report["forecasts_lost"])
        ),
    );
    line(
        &mut text,
        &format!(
            "{} choices of nodes wait for their hour, {} were lost",
            count(&report["choices_waiting"]),
            count(&report["choices_lost"])
        ),
    );
    if let Some(hours) = report["least_hours"].as_f64().filter(|least| forecasts["hours"].as_f64() < Some(*least)) {
        line(&mut text, &format!("no verdict on forecasts, choices and alarms before {hours:.0} hours"));
    }
    if let Some(breach) = told["breach"].as_str() {
        line(&mut text, breach);
    }
    text
}

fn count(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), |count| count.to_string())
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(of(&Value::Null), "");
        let told = json!({ "report": {
            "since": "2026-06-01T00:00:00Z",
            "pods": { "champion": 900, "challenger": 100 },
            "errors": { "champion": 0.0, "challenger": 0.05, "difference": { "value": 0.05, "low": 0.02, "high": 0.11 }, "limit": 0.01 },
            "forecasts": { "difference": {}, "forecasts": 0 },
        } });
        let text = of(&told);
        assert!(text.contains("compared since 2026-06-01T00:00:00Z"), "{text}");
        assert!(text.contains("5.000 % [2.000 %, 11.000 %], 1.000 %"), "{text}");
        assert!(text.contains("forecast error") && text.contains("- [-, -]"), "{text}");
    }
}
