//! Steps that fail, take too long, or say no.

use crate::fixture::{Place, input, is_alive, report, states, step, text, wait_until};

#[test]
fn a_step_that_fails_is_tried_again() {
    let flaky = "echo x >> $MARKS/tries; [ $(wc -l < $MARKS/tries) -ge 3 ]; echo > OUT";
    let place = Place::with(&[step("a", flaky).retries(2)]);
    let (code, summary) = place.summary(&[]);
    assert_eq!((code, states(&summary).as_str()), (0, "a:done"));
    assert_eq!(report(&summary, "a")["attempts"], 3);
}

#[test]
fn a_step_out_of_attempts_stops_what_depends_on_it_and_nothing_else() {
    let place = Place::with(&[
        step("a", "echo x >> $MARKS/tries; echo the disk is on fire >&2; exit 7").retries(1),
        step("b", &format!("cat {} > OUT", input("a"))).reads("a"),
        step("c", &format!("cat {} > OUT", input("b"))).reads("b"),
        step("d", "echo > OUT"),
    ]);
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("the disk is on fire"), "the end of the log is shown: {}", ended.out);
    assert!(ended.errors.contains("error: step `a` failed"), "{}", ended.errors);
    assert_eq!(place.marks("tries").len(), 2);
    let (_, summary) = place.summary(&[]);
    assert_eq!(states(&summary), "a:failed d:skipped b:not_run c:not_run");
    assert_eq!(text(&report(&summary, "a")["reason"]), "exit code 7");
    assert_eq!(text(&report(&summary, "b")["reason"]), "`a`: failed");
}

#[test]
fn wrong_use_and_missing_programs_are_not_tried_again() {
    let place = Place::with(&[step("a", "echo x >> $MARKS/tries; exit 2").retries(3)]);
    assert_eq!(place.run(&[]).code, Some(1));
    assert_eq!(place.marks("tries").len(), 1);
    let text_of = crate::fixture::definition(&[step("a", "true")]);
    place.define(&text_of.replace("\"sh\"", "\"no-such-program\""));
    let (code, summary) = place.summary(&[]);
    assert_eq!(code, 1);
    let reason = text(&report(&summary, "a")["reason"]);
    assert_eq!(reason, "program `no-such-program` is neither beside the runner nor in PATH");
}

#[test]
fn a_step_that_does_not_write_its_output_has_failed() {
    let place = Place::with(&[step("a", "true")]);
    let (code, summary) = place.summary(&[]);
    assert_eq!(code, 1);
    assert_eq!(text(&report(&summary, "a")["reason"]), "exit code 0, but it did not write its output `out`");
}

#[test]
fn an_attempt_starts_without_the_files_of_the_one_before() {
    let place = Place::with(&[step(
        "a",
        "[ ! -e OUT ]; echo half > OUT; echo x >> $MARKS/tries; [ $(wc -l < $MARKS/tries) -ge 2 ]",
    )
    .retries(1)]);
    assert_eq!(place.run(&[]).code, Some(0));
}

#[test]
fn a_step_that_takes_too_long_is_killed_with_all_that_it_started() {
    let place =
        Place::with(&[step("a", "sleep 300 & echo $! > $MARKS/child; echo $$ >> $MARKS/child; wait").limit_seconds(1)]);
    let (code, summary) = place.summary(&[]);
    assert_eq!(code, 1);
    assert_eq!(text(&report(&summary, "a")["reason"]), "took longer than its limit of 1 s");
    let processes = place.marks("child");
    assert_eq!(processes.len(), 2);
    wait_until("the end of the step's processes", || !processes.iter().any(|id| is_alive(id)));
}

#[test]
fn a_gate_that_says_no_ends_the_run_with_exit_code_3() {
    let place = Place::with(&[
        step("gate", "echo coverage 0.5 is below 0.95 >&2; echo '{}' > OUT; echo x >> $MARKS/tries; exit 3").retries(3),
        step("after", &format!("cat {} > OUT", input("gate"))).reads("gate"),
        step("beside", "echo > OUT"),
    ]);
    let (code, summary) = place.summary(&[]);
    assert_eq!((code, states(&summary).as_str()), (3, "beside:done gate:refused after:not_run"));
    assert_eq!(place.marks("tries").len(), 1, "a verdict does not change by asking again");
    assert!(text(&report(&summary, "gate")["artifacts"]["out"]).ends_with("gate/out"), "what it wrote is named");
    assert_eq!(summary["state"], "refused");
    let ended = place.run(&[]);
    assert!(ended.out.contains("coverage 0.5 is below 0.95"), "{}", ended.out);
    assert!(ended.errors.contains("`gate` said no"), "{}", ended.errors);
}
