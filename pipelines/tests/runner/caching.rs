//! What is skipped, and what makes a step run again.

use crate::fixture::{Place, definition, input, report, states, step, text};
use std::os::unix::fs::PermissionsExt;

const MARK_AND_COPY: &str = "echo x >> $MARKS/second; cp {{$.inputs.artifacts['first'].path}} OUT";

#[test]
fn a_step_runs_again_only_when_its_inputs_changed() {
    let first = "echo x >> $MARKS/first; printf '%s' \"$(cat $MARKS/source)\" > OUT";
    let place = Place::with(&[step("first", first).always(), step("second", MARK_AND_COPY).reads("first")]);
    let source = |text: &str| std::fs::write(place.path("source"), text).expect("source written");
    source("monday");
    assert_eq!(states(&place.summary(&[]).1), "first:done second:done");
    let (_, summary) = place.summary(&[]);
    assert_eq!(states(&summary), "first:done second:skipped", "the same content is no change");
    assert_eq!(text(&report(&summary, "first")["reason"]), "always runs");
    source("tuesday");
    let (_, summary) = place.summary(&[]);
    assert_eq!(states(&summary), "first:done second:done");
    assert_eq!(text(&report(&summary, "second")["reason"]), "input `first` changed");
    assert_eq!((place.marks("first").len(), place.marks("second").len()), (3, 2));
    assert_eq!(states(&place.summary(&["--force"]).1), "first:done second:done");
}

#[test]
fn a_parameter_counts_for_the_steps_that_read_it() {
    let greeting = "echo '{{$.inputs.parameters['greeting']}}' > OUT";
    let place = Place::with(&[
        step("first", "echo > OUT"),
        step("second", &format!("{greeting}; cat {} > /dev/null", input("first"))).reads("first").parameter("greeting"),
    ]);
    place.summary(&[]);
    let (_, summary) = place.summary(&["--param", "greeting=hello"]);
    assert_eq!(states(&summary), "first:skipped second:done");
    assert_eq!(text(&report(&summary, "second")["reason"]), "parameter `greeting` changed");
}

#[test]
fn settings_and_definition_and_program_count() {
    let script = |text: &str| format!("{text} > OUT");
    let place = Place::with(&[step("first", &script("echo 1"))]);
    place.summary(&[]);
    assert_eq!(states(&place.summary(&[]).1), "first:skipped");
    place.define(&definition(&[step("first", &script("echo 2"))]));
    assert_eq!(text(&report(&place.summary(&[]).1, "first")["reason"]), "its definition changed");
    std::fs::write(place.path("berth.toml"), "[pipelines.run]\nkeep = 5\n").expect("configuration written");
    assert_eq!(text(&report(&place.summary(&[]).1, "first")["reason"]), "the configuration file changed");

    let program = place.path("program");
    let write = |text: &str| {
        std::fs::write(&program, format!("#!/bin/sh\necho {text} > \"$1\"\n")).expect("program written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    };
    let command = r#"["sh","-euc","echo 2 > {{$.outputs.artifacts['out'].path}}"]"#;
    let text_of = definition(&[step("first", &script("echo 2"))]);
    let replaced =
        text_of.replace(command, &format!(r#"["{}","{{{{$.outputs.artifacts['out'].path}}}}"]"#, program.display()));
    assert_ne!(text_of, replaced);
    place.define(&replaced);
    write("one");
    assert_eq!(states(&place.summary(&[]).1), "first:done");
    assert_eq!(states(&place.summary(&[]).1), "first:skipped");
    write("two");
    assert_eq!(text(&report(&place.summary(&[]).1, "first")["reason"]), "its program changed");
}

#[test]
fn an_output_that_is_gone_or_damaged_is_made_again() {
    let place = Place::with(&[step("first", "mkdir OUT; echo 1 > OUT/model")]);
    let (_, summary) = place.summary(&[]);
    let model = std::path::PathBuf::from(text(&report(&summary, "first")["artifacts"]["out"])).join("model");
    std::fs::write(&model, "damaged").expect("written");
    let (_, summary) = place.summary(&[]);
    assert_eq!(text(&report(&summary, "first")["reason"]), "its output `out` is gone or was changed");
    assert_eq!(states(&place.summary(&[]).1), "first:skipped");
}

#[test]
fn old_runs_go_but_not_the_last_results() {
    let place = Place::with(&[step("first", "echo > OUT"), step("second", "echo > OUT").always()]);
    let (_, summary) = place.summary(&[]);
    let first = std::path::PathBuf::from(text(&report(&summary, "first")["artifacts"]["out"]));
    for _ in 0..4 {
        assert_eq!(states(&place.summary(&["--keep", "2"]).1), "first:skipped second:done");
    }
    assert!(first.exists());
    let runs = place.command(&["--data", "data", "runs", "--json"]).output().expect("runs");
    let runs: serde_json::Value = serde_json::from_slice(&runs.stdout).expect("JSON");
    assert_eq!(runs.as_array().map(Vec::len), Some(3), "two newest, and the one with the result of `first`");
}
