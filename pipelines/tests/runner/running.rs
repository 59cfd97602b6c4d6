//! Order, parallelism, parameters, placeholders, parts of a pipeline.

use crate::fixture::{Place, documents, input, output, report, states, step, text};
use serde_json::json;

#[test]
fn a_step_reads_what_the_steps_before_it_wrote() {
    let place = Place::with(&[
        step("c", &format!("cat {} {} > OUT; echo c >> OUT", input("a"), input("b"))).reads("a").reads("b"),
        step("b", &format!("cat {} > OUT; echo b >> OUT", input("a"))).reads("a"),
        step("a", "echo a > OUT"),
    ]);
    let (code, summary) = place.summary(&[]);
    assert_eq!((code, states(&summary).as_str()), (0, "a:done b:done c:done"));
    assert_eq!(output(&summary, "c"), "a\na\nb\nc\n");
    let ended = place.run(&[]);
    for part in ["skipped", "inputs unchanged since run", "Where to look", "logs and state of this run"] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    assert_eq!(ended.errors.lines().filter(|line| line.contains("skipped")).count(), 3, "a line per step");
}

#[test]
fn steps_that_do_not_wait_for_each_other_run_at_the_same_time() {
    // Each step ends only when it has seen the other one.
    let wait = |own: &str, other: &str| {
        format!(
            "touch $MARKS/{own}; n=0; until [ -e $MARKS/{other} ]; do n=$((n+1)); [ $n -lt 300 ]; sleep 0.1; done; echo > OUT"
        )
    };
    let place = Place::with(&[step("a", &wait("here-a", "here-b")), step("b", &wait("here-b", "here-a"))]);
    let (code, summary) = place.summary(&["--parallel", "2"]);
    assert_eq!((code, states(&summary).as_str()), (0, "a:done b:done"));
}

#[test]
fn no_more_steps_than_allowed_run_at_the_same_time() {
    let alone = "mkdir $MARKS/alone; sleep 0.1; rmdir $MARKS/alone; echo > OUT";
    let place = Place::with(&[step("a", alone), step("b", alone), step("c", alone)]);
    let (code, _) = place.summary(&["--parallel", "1"]);
    assert_eq!(code, 0);
}

#[test]
fn parameters_are_given_by_name_and_checked() {
    let greet = step("a", "echo '{{$.inputs.parameters['greeting']}}' > OUT").parameter("greeting");
    let place = Place::with(&[greet]);
    assert_eq!(output(&place.summary(&[]).1, "a"), "default\n");
    assert_eq!(output(&place.summary(&["--param", "greeting=good day"]).1, "a"), "good day\n");
    let ended = place.run(&["--param", "greting=x"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.errors.contains("no parameter `greting`. It has `greeting`"), "{}", ended.errors);
    assert_eq!(place.run(&["--param", "greeting"]).code, Some(2));
}

#[test]
fn a_parameter_named_data_is_the_data_root() {
    let place = Place::with(&[step("a", "echo {{$.inputs.parameters['data']}} > OUT").parameter("data")]);
    let data = place.path("data").canonicalize().unwrap_or(place.path("data"));
    assert_eq!(output(&place.summary(&[]).1, "a").trim(), data.display().to_string());
}

#[test]
fn values_go_from_step_to_step() {
    let (mut pipeline, platform) = documents(&[
        step("a", "echo 41 > {{$.outputs.parameters['count'].output_file}}; echo > OUT"),
        step("b", "true"),
    ]);
    pipeline["components"]["comp-a"]["outputDefinitions"]["parameters"] =
        json!({"count": {"parameterType": "NUMBER_INTEGER"}});
    pipeline["components"]["comp-b"]["inputDefinitions"] =
        json!({"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}});
    pipeline["root"]["dag"]["tasks"]["b"]["dependentTasks"] = json!(["a"]);
    pipeline["root"]["dag"]["tasks"]["b"]["inputs"] =
        json!({"parameters": {"n": {"taskOutputParameter": {"producerTask": "a", "outputParameterKey": "count"}}}});
    pipeline["deploymentSpec"]["executors"]["exec-b"]["container"]["command"][2] =
        json!("echo $(({{$.inputs.parameters['n']}} + 1)) > {{$.outputs.artifacts['out'].path}}");
    let place = Place::new();
    place.define(&format!("{pipeline}\n---\n{platform}\n"));
    let (code, summary) = place.summary(&[]);
    assert_eq!((code, output(&summary, "b").as_str()), (0, "42\n"));
    // The value is remembered with the result.
    let (_, summary) = place.summary(&["--only", "b"]);
    assert_eq!(output(&summary, "b"), "42\n");
}

#[test]
fn the_executor_input_is_kubeflows_document() {
    let place = Place::new();
    let (mut pipeline, _) =
        documents(&[step("a", "echo > OUT"), step("b", "printf %s \"$1\" > OUT").reads("a").parameter("greeting")]);
    let container = &mut pipeline["deploymentSpec"]["executors"]["exec-b"]["container"];
    container["args"] = json!(["sh", "{{$}}"]);
    place.define(&pipeline.to_string());
    let (_, summary) = place.summary(&["--param", "greeting=hi"]);
    let document: serde_json::Value = serde_json::from_str(&output(&summary, "b")).expect("JSON");
    assert_eq!(document["inputs"]["parameterValues"]["greeting"], "hi");
    let artifact = &document["inputs"]["artifacts"]["a"]["artifacts"][0];
    assert_eq!(artifact["uri"], report(&summary, "a")["artifacts"]["out"]);
    assert_eq!(artifact["type"]["schemaTitle"], "system.Dataset");
    assert!(text(&document["outputs"]["outputFile"]).ends_with("executor_output.json"));
}

#[test]
fn part_of_a_pipeline_runs_on_the_last_results() {
    let mark = |name: &str, read: &str| format!("echo x >> $MARKS/{name}; cat {read} > OUT; echo {name} >> OUT");
    let place = Place::with(&[
        step("a", &mark("a", "/dev/null")).always(),
        step("b", &mark("b", &input("a"))).reads("a"),
        step("c", &mark("c", &input("b"))).reads("b"),
    ]);
    let (code, summary) = place.summary(&["--from", "b"]);
    assert_eq!((code, states(&summary).as_str()), (1, "a:not_run b:failed c:not_run"));
    assert!(text(&report(&summary, "b")["reason"]).contains("run the steps before it first"));
    assert_eq!(place.run(&[]).code, Some(0));
    let (code, summary) = place.summary(&["--only", "b"]);
    assert_eq!((code, states(&summary).as_str()), (0, "a:not_run b:done c:not_run"));
    let (code, summary) = place.summary(&["--from", "b"]);
    assert_eq!((code, states(&summary).as_str()), (0, "a:not_run b:done c:skipped"));
    let count = |name: &str| place.marks(name).len();
    assert_eq!((count("a"), count("b"), count("c")), (1, 3, 1));
    let ended = place.run(&["--only", "d"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.errors.contains("no step `d`. It has `a`, `b`, `c`"), "{}", ended.errors);
}
