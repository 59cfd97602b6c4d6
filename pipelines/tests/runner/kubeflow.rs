//! The real `kfp` package reads the same files.

use crate::definitions::{MISTAKES, two_steps};
use crate::fixture::{Place, documents, ended};
use std::path::PathBuf;
use std::process::Command;

const DAILY_RETRAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/daily-retrain.yaml");

/// `None`, with a line that says so, when tests against other people's programs are switched off.
fn python() -> Option<PathBuf> {
    if std::env::var("BERTH_SKIP_SERVERS").is_ok_and(|value| value == "1") {
        eprintln!("SKIPPED: BERTH_SKIP_SERVERS=1, so the definition is not loaded with kfp");
        return None;
    }
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/berth"));
    let cache = std::env::var_os("BERTH_CACHE").map(PathBuf::from).or_else(home).expect("BERTH_CACHE or HOME is set");
    let python = cache.join("venv-kfp/bin/python");
    assert!(python.exists(), "`{}` is missing. `make test-setup` installs it", python.display());
    Some(python)
}

/// What the script prints for the files: one line each.
fn kfp(place: &Place, script: &str, files: &[PathBuf]) -> Option<Vec<String>> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runner/");
    let mut command = Command::new(python()?);
    command.arg(format!("{program}{script}")).args(files).current_dir(place.path("."));
    let ended = ended(command.output().expect("python started"));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.errors);
    Some(ended.out.lines().map(str::to_owned).collect())
}

#[test]
fn kfp_loads_what_the_checker_accepts() {
    let place = Place::new();
    let Some(lines) = kfp(&place, "load.py", &[DAILY_RETRAIN.into()]) else { return };
    assert_eq!(
        lines,
        [
            "loaded daily-retrain: collect features quality register register-anomaly register-placement train-anomaly train-load train-placement validate; 8 executors with platform settings"
        ]
    );
}

#[test]
fn the_checker_finds_what_kfp_lets_pass() {
    let place = Place::new();
    let mut files = Vec::new();
    for (name, change, _) in MISTAKES {
        let (mut pipeline, _) = documents(&two_steps());
        change(&mut pipeline);
        let file = place.path(&format!("{name}.yaml"));
        std::fs::write(&file, pipeline.to_string()).expect("written");
        files.push(file);
    }
    let Some(lines) = kfp(&place, "load.py", &files) else { return };
    let passed = lines.iter().filter(|line| line.starts_with("loaded")).count();
    assert_eq!(passed, MISTAKES.len(), "kfp has learnt to see some of these: {lines:#?}");
}

#[test]
fn kfp_and_the_runner_refuse_a_misspelt_field() {
    let place = Place::new();
    let text = std::fs::read_to_string(DAILY_RETRAIN).expect("definition");
    let changed = text.replacen("enableCache", "enableCahe", 1);
    assert_ne!(changed, text);
    place.define(&changed);
    assert_eq!(place.check().code, Some(2));
    let Some(lines) = kfp(&place, "load.py", &[place.path("pipeline.yaml")]) else { return };
    assert!(lines[0].starts_with("refused") && lines[0].contains("enableCahe"), "{lines:?}");
}

/// Stands in for every command of the daily retrain: notes how it was called, reads its inputs, writes its outputs.
const FAKE_COMMAND: &str = r#"#!/bin/sh
set -eu
echo "$(basename "$0") $*" >> "$MARKS/commands"
while [ $# -gt 0 ]; do
  case $1 in
    --model-out) mkdir "$2"; echo model > "$2/model.ubj";;
    --*-out) echo output > "$2";;
    --dataset|--features|--model|--validation) cat "$2" > /dev/null 2>&1 || ls "$2"/* > /dev/null;;
  esac
  shift
done
"#;

/// The calls, with `<step>/<output>` for the paths that each runner chooses itself.
fn calls(place: &Place, roots: &[PathBuf]) -> Vec<String> {
    let lines = place.marks("commands");
    std::fs::remove_file(place.path("commands")).expect("marks removed");
    let name = |word: &str| {
        let path = PathBuf::from(word);
        if !roots.iter().any(|root| path.starts_with(root)) {
            return word.to_owned();
        }
        let parts: Vec<_> = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        parts[parts.len() - 2..].join("/")
    };
    let mut calls: Vec<_> = lines.iter().map(|line| line.split(' ').map(name).collect::<Vec<_>>().join(" ")).collect();
    // Steps that do not wait for each other may come in any order.
    calls.sort();
    calls
}

#[test]
fn kfp_and_the_runner_run_the_same_commands() {
    use std::os::unix::fs::PermissionsExt;
    let Some(python) = python() else { return };
    let place = Place::new();
    std::fs::create_dir(place.path("bin")).expect("folder");
    for name in ["collector", "features", "trainer"] {
        let program = place.path("bin").join(name);
        std::fs::write(&program, FAKE_COMMAND).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    }
    // The runner looks beside its own file first, where the real commands may be.
    let runner = place.path("bin/pipelines");
    std::fs::copy(env!("CARGO_BIN_EXE_pipelines"), &runner).expect("copied");

    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").expect("PATH"));
    let prepared = |program: &std::path::Path| {
        let mut command = place.program(program);
        command.env("PATH", &path);
        command
    };
    let mut command = prepared(&runner);
    let data = place.path("data");
    command.args(["run", "--param", &format!("data={}", data.display()), "--data"]).arg(&data);
    let ours = ended(command.output().expect("runner started"));
    assert_eq!(ours.code, Some(0), "{ours:?}");
    let ours = calls(&place, &[data.join("pipeline")]);
    assert_eq!(ours.len(), 10, "{ours:#?}");

    let root = place.path("kfp");
    let mut command = prepared(&python);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runner/local_run.py");
    let theirs = ended(command.args([script, DAILY_RETRAIN]).arg(&root).arg(&data).output().expect("python started"));
    assert_eq!(theirs.code, Some(0), "{theirs:?}");
    assert_eq!(calls(&place, &[root]), ours);
}
