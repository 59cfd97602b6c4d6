//! `collector import openmetrics` as a command: nothing is left behind, whatever ends it.

mod support;

use collector::testing::program;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::history::History;

/// 2026-01-01T00:00:00Z, in seconds.
const FROM: i64 = 1_767_225_600;

fn import(data: &Path, text: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collector"));
    command.current_dir(data).args(["import", "openmetrics"]).arg(text).arg("--data").arg(data.join("root"));
    command
}

fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The port that the import's Prometheus listens on, as its log tells.
fn port_of(data: &Path) -> Option<u16> {
    let log = std::fs::read_to_string(data.join("root/collector/import/prometheus.log")).ok()?;
    let line = log.lines().find(|line| line.contains("Start listening for connections"))?;
    line.split("address=127.0.0.1:").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_killed_import_leaves_no_server_and_the_next_one_is_whole() {
    if program("prometheus").expect("prometheus").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = folder.path().join("history.om");
    std::fs::write(&text, History { nodes: 3, from: FROM, to: FROM + 12 * 3_600 }.text()).expect("text");
    let mut killed: Child =
        import(folder.path(), &text).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let port = wait_for("the server", || port_of(folder.path()));
    killed.kill().expect("killed");
    assert!(!killed.wait().expect("ended").success(), "it was killed before its end");
    wait_for("the end of the server", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    let output = import(folder.path(), &text).arg("--json").output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a summary");
    // Node 1 is silent twice, but kube-state-metrics speaks of it meanwhile: a row for every step of each node.
    assert_eq!(summary["rows"], 3 * 12 * 120, "{summary}");
    assert!(!folder.path().join("root/collector/import").exists(), "the work folder is gone");
}

#[test]
fn a_machine_without_prometheus_is_told_what_to_install() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = folder.path().join("history.om");
    std::fs::write(&text, "# EOF\n").expect("text");
    let output = import(folder.path(), &text).env("PATH", folder.path()).output().expect("started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`promtool` is not installed") && said.contains("collector backfill"), "{said}");
}

#[test]
fn text_in_milliseconds_is_refused_and_odd_line_ends_are_read() {
    if program("prometheus").expect("prometheus").is_none() {
        return;
    }
    let good = History { nodes: 1, from: FROM, to: FROM + 3_600 }.text();
    let read = |text: &str| {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("history.om");
        std::fs::write(&path, text).expect("text");
        let output = import(folder.path(), &path).output().expect("started");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
    };
    let is_sample = |line: &&str| !line.starts_with('#');
    let in_milliseconds: Vec<String> =
        good.lines().map(|line| if is_sample(&line) { format!("{line}000") } else { line.to_owned() }).collect();
    let first = 1 + good.lines().position(|line| is_sample(&line)).expect("a sample");
    let (code, said) = read(&in_milliseconds.join("\n"));
    let wanted = format!("line {first}");
    assert!(code == Some(1) && said.contains(&wanted) && said.contains("not in the years 2000 to 2199"), "{said}");
    assert!(said.contains("milliseconds"), "{said}");
    // An hour of samples 30 s apart.
    for (name, text) in [
        ("as it is", good.clone()),
        ("CRLF", good.replace('\n', "\r\n")),
        ("spaces", good.replace('\n', " \n")),
        ("a mark", format!("\u{feff}{good}")),
    ] {
        let (code, said) = read(&text);
        assert!(code == Some(0) && said.contains("written    120 rows of 1 nodes"), "{name}: {said}");
    }
    let (code, said) = read(&good.replacen('\n', "\n\n", 1));
    assert!(code == Some(1) && said.contains("line 2: an empty line"), "{said}");
}
