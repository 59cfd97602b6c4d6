//! Files in, files out, with the real program: `trainer anomaly train`, `predict`, `stream`.

use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// 2026-06-01T00:00:00Z, in seconds.
const MONDAY: i64 = 1_780_272_000;
const ROWS: i64 = 6_000;

struct Folder(TempDir);

/// The value of a column at a row, 0.3 to 0.5 and mostly in the middle: the mean of four repeatable draws.
fn usual(row: i64, column: i64) -> f64 {
    let draw = |at: i64| ((((row * 8 + column * 4 + at) * 2_654_435_761) >> 7) % 10_007) as f64 / 10_007.0;
    0.3 + (0..4).map(draw).sum::<f64>() / 4.0 * 0.2
}

/// Ten rows of every 300 are odd: CPU is far up.
fn is_odd(row: i64) -> bool {
    row % 300 >= 290
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("read")
    }

    /// A table with times, two nodes, numbers, a text, an empty and a constant column, and labels.
    fn table(&self, name: &str, label: impl Fn(i64) -> &'static str) {
        let mut text = "ts,node,cpu,disk,rack,empty,fixed,label\n".to_owned();
        for row in 0..ROWS {
            let cpu = if is_odd(row) { 0.95 } else { usual(row, 1) };
            let (time, node) = (MONDAY + row / 2 * 60, row % 2);
            writeln!(text, "{time},node-{node},{cpu},{},r1,,5,{}", usual(row, 2), label(row)).expect("text");
        }
        self.write(name, &text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_") || name.starts_with("MLFLOW_"))
        {
            command.env_remove(name);
        }
        command.current_dir(self.0.path()).env("BERTH_LOG", "warn").args(arguments);
        command
    }

    fn ends(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output: Output = self.command(arguments).output().expect("trainer starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, complaint) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{complaint}");
        (out, complaint)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (out, _) = self.ends(0, arguments);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

const TRAIN: [&str; 13] = [
    "anomaly",
    "train",
    "--data",
    "history.csv",
    "--model-out",
    "detector",
    "--time",
    "ts",
    "--entity",
    "node",
    "--label",
    "label",
    "--json",
];

#[test]
fn a_labelled_table_becomes_a_detector_that_finds_the_odd_rows_of_another() {
    let folder = Folder::new();
    folder.table("history.csv", |row| if is_odd(row) { "1" } else { "0" });
    let trained = folder.json(&TRAIN);
    assert_eq!(trained["columns"], serde_json::json!(["cpu", "disk"]));
    let reasons: Vec<&str> =
        trained["left_out"].as_array().expect("a list").iter().filter_map(|left| left["reason"].as_str()).collect();
    assert!(reasons[0].contains("no numbers, such as `r1` in line 2"), "{reasons:?}");
    assert!(reasons[1].contains("no value in any row") && reasons[2].contains("constant, 5"), "{reasons:?}");
    assert!(trained["threshold"].get("by_cost").is_some(), "{trained:#}");
    let scores = &trained["test"]["scores"];
    assert!(
        scores["recall"].as_f64() > Some(0.95) && scores["false_positive_rate"].as_f64() < Some(0.02),
        "{trained:#}"
    );
    assert_eq!(trained["test"]["rows"], 1_800);
    for file in ["metadata.json", "MODEL_CARD.md", "MLmodel", "detector.json"] {
        assert!(folder.path("detector").join(file).exists(), "{file}");
    }
    assert!(folder.read("detector/MODEL_CARD.md").contains("Tells which rows of a table"));

    // The same table again: the same files.
    let forest = std::fs::read(folder.path("detector/forest-values.bin")).expect("a forest");
    folder.json(&TRAIN);
    assert_eq!(std::fs::read(folder.path("detector/forest-values.bin")).expect("a forest"), forest);

    // New rows: one without a time, one with a wrong cell, one with too few fields, an extra column, 8 odd ones in a row.
    let mut text = "node,ts,disk,cpu,colour\n".to_owned();
    for row in 0..40 {
        let cpu = if (30..38).contains(&row) { "0.95".to_owned() } else { usual(row, 1).to_string() };
        writeln!(text, "node-0,{},{},{cpu},red", MONDAY + 1_000_000 + row * 60, usual(row, 2)).expect("text");
    }
    writeln!(text, "node-0,soon,0.4,0.4,red\nnode-1,{},0.4,high,red\nnode-1,0.4", MONDAY + 2_000_000).expect("text");
    folder.write("new.csv", &text);
    let predict = ["anomaly", "predict", "--model", "detector", "--input", "new.csv", "--output"];
    let summary = folder.json(&[&predict[..], &["results.csv", "--json"]].concat());
    assert_eq!((summary["rows"].as_u64(), summary["used"].as_u64()), (Some(43), Some(41)));
    assert_eq!(summary["unusable"]["count"], 2);
    assert_eq!(summary["wrong_cells"]["cpu"]["examples"][0], "line 43: `high`");
    assert_eq!(summary["extra_columns"], serde_json::json!(["colour"]));
    let results = folder.read("results.csv");
    let lines: Vec<&str> = results.lines().collect();
    assert_eq!(lines.len(), 44, "a line for the header and for each row");
    assert!(
        lines[41].contains("`soon` is no time") && lines[43].contains("it has 2 fields, the header 5"),
        "{results}"
    );
    let odd = lines[31..39].iter().filter(|line| line.contains("cpu")).count();
    assert!(odd >= 7 && (lines[38].contains(",watch,") || lines[38].contains(",quarantine,")), "{results}");
    assert!(lines[1..30].iter().all(|line| line.contains(",ignore,")), "{results}");

    // The same as Parquet and back in, and as JSON lines.
    folder.json(&[&predict[..], &["results.parquet", "--json"]].concat());
    folder.json(&[&predict[..], &["results.jsonl", "--json"]].concat());
    let first: Value =
        serde_json::from_str(folder.read("results.jsonl").lines().nth(32).expect("a line")).expect("JSON");
    assert_eq!((first["entity"].as_str(), first["blame"][0]["feature"].is_string()), (Some("node-0"), true), "{first}");
    let (_, complaint) = folder
        .ends(2, &["anomaly", "predict", "--model", "detector", "--input", "results.parquet", "--output", "again.csv"]);
    assert!(
        complaint.contains("lacks 3 of the columns") || complaint.contains("lacks 4 of the columns"),
        "{complaint}"
    );
    assert!(!folder.path("again.csv").exists());
}

#[test]
fn bad_input_gets_a_clear_message_and_the_right_exit_code() {
    let folder = Folder::new();
    folder.table("history.csv", |_| "0");
    // One class: the stated share decides, and it is said.
    let trained = folder.json(&TRAIN);
    assert!(
        trained["threshold"]["by_share"]["reason"].as_str().is_some_and(|reason| reason.contains("one class")),
        "{trained:#}"
    );
    folder.table("history.csv", |_| "1");
    let (_, complaint) = folder.ends(1, &TRAIN);
    assert!(complaint.contains("0 usual rows to learn from, at least 20"), "{complaint}");

    let train = |data: &'static str| ["anomaly", "train", "--data", data, "--model-out", "other"];
    folder.write("header.csv", "cpu,disk\n");
    let (_, complaint) = folder.ends(1, &train("header.csv"));
    assert!(complaint.contains("`header.csv` has a header and no rows"), "{complaint}");
    folder.write("empty.csv", "");
    let (_, complaint) = folder.ends(1, &train("empty.csv"));
    assert!(complaint.contains("`empty.csv`") && complaint.contains("the file is empty"), "{complaint}");
    folder.write("flat.csv", &format!("a,b\n{}", "1,\n".repeat(50)));
    let (_, complaint) = folder.ends(1, &train("flat.csv"));
    assert!(complaint.contains("`a`: it is constant, 1") && complaint.contains("`b`: it has no value"), "{complaint}");
    folder.write("twice.csv", "a,a\n1,2\n");
    assert!(folder.ends(1, &train("twice.csv")).1.contains("two columns named `a`"));
    folder.write("damaged.parquet", "no Parquet");
    assert!(folder.ends(1, &train("damaged.parquet")).1.contains("`damaged.parquet`"));
    assert!(folder.ends(2, &train("table.xlsx")).1.contains("must end in .csv"));
    assert!(folder.ends(1, &train("absent.csv")).1.contains("`absent.csv`"));
    for contamination in ["0", "0.6", "-0.1"] {
        let flag = format!("--contamination={contamination}");
        let (_, complaint) = folder.ends(2, &[&train("header.csv")[..], &[&flag]].concat());
        assert!(
            complaint.contains("`contamination` of [trainer.anomaly_table] must be above 0 and at most 0.5"),
            "{complaint}"
        );
    }
    let (_, complaint) = folder.ends(2, &[&train("flat.csv")[..], &["--label", "lable"]].concat());
    assert!(complaint.contains("no column `lable`. It has `a`, `b`"), "{complaint}");

    // A feature is missing at prediction time; a header alone; a damaged model.
    let predict =
        |input: &'static str| ["anomaly", "predict", "--model", "detector", "--input", input, "--output", "out.csv"];
    folder.write("less.csv", "ts,node,cpu\n2026-06-01,a,0.4\n");
    let (_, complaint) = folder.ends(2, &predict("less.csv"));
    assert!(complaint.contains("lacks 1 of the columns that the detector reads: `disk`"), "{complaint}");
    let (text, _) = folder.ends(0, &[&predict("less.csv")[..], &["--allow-missing"]].concat());
    assert!(text.contains("1 columns are absent and count as missing: disk"), "{text}");
    folder.write("headed.csv", "ts,node,cpu,disk\n");
    std::fs::remove_file(folder.path("out.csv")).expect("removed");
    assert!(folder.ends(1, &predict("headed.csv")).1.contains("a header and no rows"));
    assert!(!folder.path("out.csv").exists(), "a file is whole or absent");
    let forest = folder.path("detector/forest-values.bin");
    let mut bytes = std::fs::read(&forest).expect("a forest");
    bytes[40] ^= 1;
    std::fs::write(&forest, bytes).expect("damaged");
    assert!(folder.ends(1, &predict("less.csv")).1.contains("forest-values.bin"));
    let no_model = ["anomaly", "predict", "--input", "less.csv", "--output", "out.csv"];
    assert!(folder.ends(1, &no_model).1.contains("no detector is registered"));
}

#[test]
fn lines_of_standard_input_are_answered() {
    let folder = Folder::new();
    folder.table("history.csv", |row| if is_odd(row) { "1" } else { "0" });
    folder.json(&TRAIN);
    let stream = [
        "anomaly",
        "stream",
        "--model",
        "detector",
        "--summary-out",
        "summary.json",
        "--metrics-address",
        "127.0.0.1:0",
    ];
    let mut child = folder
        .command(&stream)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("trainer starts");
    let line =
        |row: i64, cpu: f64| format!("{{\"ts\":{},\"node\":\"a\",\"cpu\":{cpu},\"disk\":0.4}}\n", MONDAY + row * 60);
    let mut input = child.stdin.take().expect("a pipe");
    for row in 0..40 {
        input.write_all(line(row, usual(row, 1)).as_bytes()).expect("written");
    }
    for row in 40..43 {
        input.write_all(line(row, 0.95).as_bytes()).expect("written");
    }
    input.write_all(b"not json\n").expect("written");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 44);
    assert!(answers[42]["alarm"].is_string() && answers[42]["response"] != "ignore", "{}", answers[42]);
    assert_eq!(answers[43]["error"]["kind"], "not_json");
    let summary: Value = serde_json::from_str(&folder.read("summary.json")).expect("JSON");
    assert_eq!((summary["messages_processed"].as_u64(), summary["errors"]["not_json"].as_u64()), (Some(44), Some(1)));
}
