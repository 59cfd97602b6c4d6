//! Runs that are stopped or killed, and how they go on.

use crate::fixture::{FakeStep, Place, ended, input, is_alive, report, send, states, step, text, wait_for, wait_until};

/// `first` always runs; `second` waits for a file before it goes on.
fn two_steps() -> Vec<FakeStep> {
    let second = format!(
        "echo $$ > $MARKS/process; touch $MARKS/second-runs; until [ -e $MARKS/go ]; do sleep 0.05; done; cp {} OUT",
        input("first")
    );
    vec![step("first", "echo x >> $MARKS/first; echo 1 > OUT").always(), step("second", &second).reads("first")]
}

#[test]
fn a_run_that_is_asked_to_stop_goes_on_where_it_was() {
    let place = Place::with(&two_steps());
    for signal in ["-TERM", "-INT"] {
        let runner = place.start(&[]);
        wait_for(&place.path("second-runs"));
        send(signal, runner.id());
        let ended = ended(runner.wait_with_output().expect("runner ended"));
        assert_eq!(ended.code, Some(1));
        assert!(ended.errors.contains("pipelines run --resume"), "{}", ended.errors);
        let process = place.marks("process").concat();
        wait_until("the end of the step", || !is_alive(&process));
        std::fs::remove_file(place.path("second-runs")).expect("mark removed");
    }
    let runs = place.marks("first").len();
    std::fs::write(place.path("go"), "").expect("mark");
    let (code, summary) = place.summary(&["--resume"]);
    assert_eq!((code, states(&summary).as_str()), (0, "first:skipped second:done"));
    assert_eq!(text(&report(&summary, "first")["reason"]), "done before this run was interrupted");
    assert_eq!(place.marks("first").len(), runs, "also a step that always runs is not run twice in one run");
    let ended = place.run(&["--resume"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.errors.contains("no unfinished run"), "{}", ended.errors);
}

#[test]
fn what_a_killed_runner_left_behind_is_ended_first() {
    let place = Place::with(&two_steps());
    let mut runner = place.start(&[]);
    wait_for(&place.path("second-runs"));
    runner.kill().expect("killed");
    runner.wait().expect("ended");
    let process = place.marks("process").concat();
    assert!(is_alive(&process), "the step goes on without its runner");
    std::fs::write(place.path("data/pipeline/running/other.json"), "{\"group\": 1, \"started\": 1}").expect("written");
    // `go` appears when the old step is gone, so only the new one can end well.
    std::fs::remove_file(place.path("second-runs")).expect("mark removed");
    let runner = place.start(&["--resume", "--json"]);
    wait_for(&place.path("second-runs"));
    assert!(!is_alive(&process), "two processes must not write the same files");
    std::fs::write(place.path("go"), "").expect("mark");
    let ended = ended(runner.wait_with_output().expect("runner ended"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.errors.contains("had left behind"), "{}", ended.errors);
    let summary = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(states(&summary), "first:skipped second:done");
}

#[test]
fn one_data_root_has_one_runner() {
    let place = Place::with(&two_steps());
    let runner = place.start(&[]);
    wait_for(&place.path("second-runs"));
    let other = place.run(&[]);
    assert_eq!(other.code, Some(1));
    assert!(other.errors.contains("another run is going on"), "{}", other.errors);
    std::fs::write(place.path("go"), "").expect("mark");
    assert_eq!(ended(runner.wait_with_output().expect("runner ended")).code, Some(0));
}

#[test]
fn a_stop_between_attempts_does_not_wait_for_the_pause() {
    let text_of = crate::fixture::definition(&[step("a", "touch $MARKS/tried; exit 1").retries(3)]);
    let place = Place::new();
    place.define(&text_of.replace("0.05s", "600s"));
    let runner = place.start(&[]);
    wait_for(&place.path("tried"));
    send("-TERM", runner.id());
    assert_eq!(ended(runner.wait_with_output().expect("runner ended")).code, Some(1));
}

#[test]
fn a_failed_run_goes_on_with_its_parameters() {
    let place = Place::with(&[
        step("a", "echo x >> $MARKS/a; echo '{{$.inputs.parameters['greeting']}}' > OUT")
            .always()
            .parameter("greeting"),
        step("b", &format!("[ -e $MARKS/go ]; cp {} OUT", input("a"))).reads("a"),
    ]);
    assert_eq!(place.run(&["--param", "greeting=hello"]).code, Some(1));
    std::fs::write(place.path("go"), "").expect("mark");
    let (code, summary) = place.summary(&["--resume"]);
    assert_eq!((code, states(&summary).as_str()), (0, "a:skipped b:done"));
    assert_eq!(crate::fixture::output(&summary, "b"), "hello\n");
    assert_eq!(place.marks("a").len(), 1);
}
