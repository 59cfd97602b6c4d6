//! Definitions that cannot work are refused before anything runs.

use crate::fixture::{FakeStep, Place, documents, input, step};
use serde_json::{Value, json};

pub fn two_steps() -> [FakeStep; 2] {
    [step("a", "echo > OUT"), step("b", &format!("cat {} > OUT", input("a"))).reads("a").parameter("days")]
}

/// A change of the two-step definition and a part of what the checker says about it.
pub type Mistake = (&'static str, fn(&mut Value), &'static str);

/// Mistakes that Kubeflow's own loader does not see.
pub const MISTAKES: [Mistake; 12] = [
    (
        "producer",
        |p| {
            p["root"]["dag"]["tasks"]["b"]["inputs"]["artifacts"]["a"]["taskOutputArtifact"]["producerTask"] =
                json!("z")
        },
        "producerTask `z`, which is no step",
    ),
    (
        "output",
        |p| {
            p["root"]["dag"]["tasks"]["b"]["inputs"]["artifacts"]["a"]["taskOutputArtifact"]["outputArtifactKey"] =
                json!("z")
        },
        "output artifact `z`, which step `a` does not declare",
    ),
    (
        "dependency",
        |p| p["root"]["dag"]["tasks"]["b"]["dependentTasks"] = json!(["a", "z"]),
        "dependentTasks names `z`, which is no step",
    ),
    (
        "unordered",
        |p| p["root"]["dag"]["tasks"]["b"]["dependentTasks"] = json!([]),
        "comes from `a`, which dependentTasks does not name",
    ),
    (
        "executor",
        |p| p["components"]["comp-b"]["executorLabel"] = json!("exec-z"),
        "executorLabel `exec-z` is not in deploymentSpec",
    ),
    (
        "input",
        |p| p["root"]["dag"]["tasks"]["b"]["inputs"]["parameters"]["z"] = json!({"runtimeValue": {"constant": "1"}}),
        "no input parameter `z`",
    ),
    (
        "missing",
        |p| p["root"]["dag"]["tasks"]["b"]["inputs"]["parameters"] = json!({}),
        "input parameter `days` is not given and has no default",
    ),
    (
        "outer",
        |p| p["root"]["dag"]["tasks"]["b"]["inputs"]["parameters"]["days"] = json!({"componentInputParameter": "z"}),
        "takes `z`, which is no parameter of the pipeline",
    ),
    (
        "type",
        |p| {
            p["components"]["comp-b"]["inputDefinitions"]["parameters"]["days"]["parameterType"] =
                json!("NUMBER_INTEGER")
        },
        "input parameter `days` is NUMBER_INTEGER, what it takes is STRING",
    ),
    (
        "name",
        |p| {
            p["deploymentSpec"]["executors"]["exec-b"]["container"]["command"][2] =
                json!("cat {{$.inputs.artifacts['z'].path}}")
        },
        "input artifact `z`, which the component does not declare",
    ),
    (
        "placeholder",
        |p| {
            p["deploymentSpec"]["executors"]["exec-b"]["container"]["command"][2] =
                json!("cat {{$.input.artifacts['a'].path}}")
        },
        "unknown placeholder `{{$.input.artifacts['a'].path}}`",
    ),
    (
        "circle",
        |p| p["root"]["dag"]["tasks"]["a"]["dependentTasks"] = json!(["b"]),
        "steps `a`, `b` wait for each other",
    ),
];

#[test]
fn names_that_lead_nowhere_are_refused() {
    let place = Place::new();
    for (name, change, wanted) in MISTAKES {
        let (mut pipeline, _) = documents(&two_steps());
        change(&mut pipeline);
        place.define(&pipeline.to_string());
        let ended = place.check();
        assert_eq!(ended.code, Some(2), "{name}: {ended:?}");
        assert!(ended.errors.contains(wanted), "{name}: {}", ended.errors);
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let (mut pipeline, _) = documents(&two_steps());
    pipeline["components"]["comp-a"]["executorLabel"] = json!("exec-z");
    pipeline["root"]["dag"]["tasks"]["b"]["inputs"]["parameters"] = json!({});
    let place = Place::new();
    place.define(&pipeline.to_string());
    let errors = place.check().errors;
    assert!(
        errors.contains("exec-z") && errors.contains("`days`") && errors.contains("no component uses it"),
        "{errors}"
    );
}

#[test]
fn fields_that_are_misspelt_unknown_or_twice_there_are_refused() {
    let (pipeline, _) = documents(&two_steps());
    let text = pipeline.to_string();
    let place = Place::new();
    for (from, to, wanted) in [
        ("enableCache", "enableCahe", "unknown field `enableCahe`, expected `enableCache`"),
        ("\"maxRetryCount\":0", "\"maxRetryCount\":\"often\"", "maxRetryCount"),
        ("\"image\"", "\"imgae\"", "unknown field `imgae`"),
        ("STRING", "TEXT", "unknown variant `TEXT`"),
        ("\"pipelineInfo\"", "\"extra\":1,\"pipelineInfo\"", "unknown field `extra`"),
        ("\"comp-a\":{", "\"comp-b\":{", "duplicate"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        place.define(&changed);
        let ended = place.check();
        assert_eq!(ended.code, Some(2), "{from}: {ended:?}");
        assert!(ended.errors.contains(wanted), "{from}: {}", ended.errors);
    }
    place.define("a: b: c");
    assert_eq!(place.check().code, Some(2));
    std::fs::remove_file(place.path("pipeline.yaml")).expect("removed");
    let ended = place.check();
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("failed to read pipeline definition `pipeline.yaml`"), "{}", ended.errors);
}

#[test]
fn a_wrong_definition_runs_nothing() {
    let (mut pipeline, _) = documents(&[step("a", "touch $MARKS/ran; echo > OUT")]);
    pipeline["root"]["dag"]["tasks"]["a"]["dependentTasks"] = json!(["z"]);
    let place = Place::new();
    place.define(&pipeline.to_string());
    assert_eq!(place.run(&[]).code, Some(2));
    assert!(!place.path("ran").exists() && !place.path("data").exists());
}

#[test]
fn the_daily_retrain_is_valid_and_shown_in_order() {
    let place = Place::new();
    let run = |arguments: &[&str]| crate::fixture::ended(place.command(arguments).output().expect("runner"));
    let checked = run(&["check"]);
    assert_eq!(checked.out, "pipeline `daily-retrain` is valid: 10 steps, 2 parameters\n", "{checked:?}");
    let shown = run(&["show"]).out;
    let place_of = |name: &&str| shown.find(&format!("\n{name}\n")).unwrap_or_else(|| panic!("no {name}: {shown}"));
    for road in [
        &["collect", "quality", "features", "train-load", "validate", "register"][..],
        &["features", "train-anomaly", "register-anomaly"],
        &["quality", "train-placement", "register-placement"],
    ] {
        assert!(road.iter().map(place_of).is_sorted(), "{road:?}: {shown}");
    }
}
