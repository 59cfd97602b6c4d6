//! JSON lines in, JSON lines out: one answer for each line, in order.

mod support;

use detection::stream::lines::{LONGEST_LINE, answer_lines};
use serde_json::Value;
use std::io::BufReader;
use std::sync::Mutex;
use support::{detector, engine};

fn answers(input: &[u8]) -> (Vec<Value>, detection::stream::StreamSummary, String) {
    let (engine, metrics) = engine(detector(&["cpu", "disk"]));
    let engine = Mutex::new(engine);
    let mut output = Vec::new();
    answer_lines(&engine, BufReader::new(input), &mut output).expect("a stream");
    let lines = String::from_utf8(output).expect("text");
    let answers = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let summary = engine.lock().expect("no panic").summary();
    (answers, summary, metrics.text())
}

#[test]
fn odd_readings_in_a_row_raise_an_alarm_with_reasons() {
    let usual = r#"{"node":"a","cpu":0.4,"disk":0.4,"label":0}"#;
    let odd = r#"{"node":"a","cpu":7.5,"disk":9.5,"label":1,"rack":"r1"}"#;
    let (answers, summary, metrics) = answers([usual, odd, odd, usual].join("\n").as_bytes());
    assert_eq!(answers.len(), 4);
    assert_eq!((answers[0]["severity"].clone(), answers[0]["response"].clone()), (Value::Null, "ignore".into()));
    // One odd reading raises nothing; the second one does.
    let severity = answers[1]["severity"].clone();
    assert!(severity == "warning" || severity == "critical", "{}", answers[1]);
    assert_eq!((answers[1]["alarm"].clone(), answers[1]["response"].clone()), (Value::Null, "ignore".into()));
    let response = if severity == "critical" { "quarantine" } else { "watch" };
    assert_eq!((answers[2]["alarm"].clone(), answers[2]["response"].clone()), (severity.clone(), response.into()));
    assert_eq!(answers[3]["alarm"], severity, "one usual reading ends nothing");
    let blame = answers[2]["blame"].as_array().expect("a list").iter().find(|blame| blame["feature"] == "cpu");
    let blame = blame.expect("cpu is to blame");
    assert_eq!(blame["value"], 7.5);
    assert!(blame["normal"]["high"].as_f64().is_some_and(|high| (0.45..0.6).contains(&high)), "{blame}");
    let odd = summary.anomalies_detected.values().sum::<u64>();
    assert_eq!((summary.messages_processed, odd, summary.entities), (4, 2, 1));
    assert_eq!((summary.quality.true_positives, summary.quality.true_negatives), (2, 2));
    assert_eq!(summary.counts.extra_columns, ["rack"]);
    assert!(metrics.contains("berth_trainer_anomaly_recall_ratio 1"), "{metrics}");
}

#[test]
fn a_key_that_is_too_long_is_not_echoed() {
    let long = "x".repeat(900_000);
    let lines = [
        format!(r#"{{"node":"{long}","cpu":0.4,"disk":0.4}}"#),
        format!(r#"{{"node":"{}","cpu":0.4,"disk":0.4}}"#, "x".repeat(1_000)),
    ];
    let (answers, summary, metrics) = answers(lines.join("\n").as_bytes());
    assert_eq!(answers[0]["error"]["kind"], "key_too_long");
    assert!(answers[0].to_string().len() < 300, "{}", answers[0]);
    assert_eq!((answers[1]["error"].is_null(), summary.entities), (true, 1), "a thousand letters are");
    assert!(metrics.contains("berth_trainer_anomaly_errors_total{reason=\"key_too_long\"} 1"), "{metrics}");
}

#[test]
fn bad_lines_are_answered_and_counted() {
    let long = format!(r#"{{"cpu":0.4,"pad":"{}"}}"#, "x".repeat(2 * LONGEST_LINE));
    let lines = [
        "no json",
        "[1,2]",
        r#"{"node":"a"}"#,
        r#"{"cpu":0.4}"#,
        "",
        &long,
        r#"{"node":"a","cpu":"busy","disk":0.4,"label":"maybe"}"#,
        r#"{"node":"a","cpu":"0.4","disk":0.4}"#,
    ];
    let (answers, summary, metrics) = answers(lines.join("\r\n").as_bytes());
    let kinds: Vec<Option<&str>> = answers.iter().map(|answer| answer["error"]["kind"].as_str()).collect();
    let wanted =
        [Some("not_json"), Some("not_an_object"), Some("unusable"), Some("unusable"), Some("too_long"), None, None];
    assert_eq!(kinds, wanted);
    assert_eq!(answers[0]["line"], 1);
    assert_eq!(answers[4]["line"], 6, "the empty line is passed over and counted as a line");
    assert!(answers[3]["error"]["message"].as_str().is_some_and(|text| text.contains("whose row")), "{}", answers[3]);
    assert_eq!(answers[5]["missing"], serde_json::json!(["cpu"]));
    assert_eq!((summary.messages_processed, summary.errors["unusable"]), (7, 2));
    assert_eq!(summary.counts.wrong_cells["cpu"].examples, ["line 7: `busy`"]);
    assert_eq!(summary.counts.unreadable_labels.count, 1);
    assert!(metrics.contains("berth_trainer_anomaly_errors_total{reason=\"too_long\"} 1"), "{metrics}");
}
