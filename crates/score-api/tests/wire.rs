//! The wire as both sides see it: what is there, what must be, what may be new.

use score_api::{NodeDescription, NodeList, ScoreAnswer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Fields that may be absent; the crate's documentation names the same.
const OPTIONAL: [&str; 3] = ["explanation", "features", "features_at"];
/// Objects whose keys are names, not fields.
const MAPS: [&str; 5] = ["models", "challenger_models", "features", "forecast", "cpu"];

fn scores() -> Value {
    json!({
        "api_version": 1,
        "at": "2026-06-01T12:00:00Z",
        "data_age_seconds": 5.0,
        "models": { "load-predictor": "3", "placement-agent": "2" },
        "challenger_models": { "load-predictor": "4" },
        "weights": { "load": 0.3, "placement": 0.4, "anomaly": 0.3 },
        "strategy": "spread",
        "pods": [{
            "namespace": "shop",
            "name": "cart-1",
            "arm": "challenger",
            "expected": { "cpu_cores": 0.25, "memory_bytes": 100_000_000.0, "source": "workload" },
            "nodes": [{
                "node": "node-1",
                "score": 0.5,
                "parts": { "load": 0.5, "placement": null, "anomaly": 0.75 },
                "uncertainty": 0.0625,
                "peak": 0.75,
                "missing": ["no_placement_agent"],
                "data_age_seconds": 12.5,
                "severity": "warning",
                "explanation": {
                    "forecast": { "cpu": { "1h": { "p50": 0.25, "p90": 0.5, "p90_with_pod": 0.75 } } },
                    "placement": [{ "feature": "cpu_after", "value": 0.5, "mean": 0.25, "contribution": -0.125 }],
                    "blame": [{ "feature": "load1", "value": null, "normal": { "low": 0.25, "median": 0.5, "high": null }, "share": 1.0 }],
                    "reasons": ["cpu stays below 75 % with the pod"],
                },
            }],
        }],
        "unknown_nodes": ["elsewhere"],
    })
}

fn node() -> Value {
    json!({
        "node": "node-1",
        "data_age_seconds": 12.5,
        "stale": false,
        "cpu_utilization": 0.5,
        "memory_utilization": null,
        "cpu_allocatable_cores": 8.0,
        "memory_allocatable_bytes": 1_000_000_000.0,
        "pods": 3,
        "forecasts": [{ "resource": "cpu", "horizon": "1h", "p50": 0.25, "p90": null, "fallback": false }],
        "anomaly": {
            "score": 0.75,
            "severity": null,
            "kind": "availability",
            "blame": [{ "feature": "load1", "value": 2.0, "normal": { "low": null, "median": null, "high": null }, "share": 1.0 }],
        },
        "features_at": "2026-06-01T12:00:00Z",
        "features": { "load1": 2.0, "uptime": null },
    })
}

fn nodes() -> Value {
    json!({
        "api_version": 1,
        "at": null,
        "data_age_seconds": null,
        "models": {},
        "workloads_known": 17,
        "nodes": [node()],
    })
}

/// The places of all fields, as JSON pointers to their objects and their names.
fn fields(value: &Value, at: &str, name: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                if !MAPS.contains(&name) {
                    found.push((at.to_owned(), key.clone()));
                }
                fields(inner, &format!("{at}/{key}"), key, found);
            }
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, inner)| fields(inner, &format!("{at}/{index}"), "", found));
        }
        _ => {}
    }
}

fn check<T: Serialize + DeserializeOwned>(whole: &Value, least: usize) {
    let read = |value: &Value| serde_json::from_value::<T>(value.clone());
    let answer = read(whole).expect("the whole answer");
    assert_eq!(&serde_json::to_value(&answer).expect("JSON"), whole, "what is written is what was read");
    let mut places = Vec::new();
    fields(whole, "", "", &mut places);
    assert!(places.len() >= least, "{}", places.len());
    for (at, name) in places {
        let mut changed = whole.clone();
        let object = changed.pointer_mut(&at).and_then(Value::as_object_mut).expect("an object");
        let value = object.shift_remove(&name).expect("a field");
        let result = read(&changed);
        if OPTIONAL.contains(&name.as_str()) {
            assert!(result.is_ok(), "{at}/{name} may be absent");
            continue;
        }
        let error = result.err().unwrap_or_else(|| panic!("{at}/{name} is missing and nobody says so"));
        assert!(error.to_string().contains(&format!("missing field `{name}`")), "{at}/{name}: {error}");
        // A field that is misspelt is the same as none.
        let object = changed.pointer_mut(&at).and_then(Value::as_object_mut).expect("an object");
        object.insert(format!("{name}s"), value.clone());
        assert!(read(&changed).is_err(), "{at}/{name}s");
        // A newer server may say more, but for the weights, which are a setting as well.
        let object = changed.pointer_mut(&at).and_then(Value::as_object_mut).expect("an object");
        object.insert(name.clone(), value);
        assert_eq!(read(&changed).is_ok(), !at.ends_with("/weights"), "{at}/{name}s beside {name}");
    }
}

#[test]
fn a_field_of_the_scores_that_is_missing_or_misspelt_is_named() {
    check::<ScoreAnswer>(&scores(), 40);
}

#[test]
fn a_field_of_the_nodes_that_is_missing_or_misspelt_is_named() {
    check::<NodeList>(&nodes(), 25);
    check::<NodeDescription>(&node(), 20);
}

#[test]
fn a_reason_that_is_new_is_one_that_is_not_known() {
    let mut newer = scores();
    newer["pods"][0]["nodes"][0]["missing"] = json!(["no_moon"]);
    let answer: ScoreAnswer = serde_json::from_value(newer).expect("an answer");
    assert_eq!(answer.pods[0].nodes[0].missing, [score_api::MissingReason::Other]);
}

#[test]
fn an_answer_is_about_what_was_asked_or_says_what_differs() {
    let answer: ScoreAnswer = serde_json::from_value(scores()).expect("an answer");
    let ask = |pods: usize, nodes: &[&str]| score_api::ScoreRequest {
        pods: vec![score_api::PodRequest::default(); pods],
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..score_api::ScoreRequest::default()
    };
    assert_eq!(answer.check(&ask(1, &["node-1"])), Ok(()));
    // All nodes are wanted: the server knows which these are.
    assert_eq!(answer.check(&ask(1, &[])), Ok(()));
    for (request, said) in [
        (ask(2, &["node-1"]), "scores for 1 pods, 2 were asked for"),
        (ask(1, &["node-1", "node-2"]), "1 scores for 2 candidates"),
        (ask(1, &["node-2"]), "score 0 of the answer is for node `node-1`, candidate 0 is `node-2`"),
    ] {
        let error = answer.check(&request).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_score_is_weighed_anew_by_the_parts_that_are_known() {
    use cluster::score::{PartWeights, Parts};
    let of = |load, anomaly| {
        let parts = Parts { load: Some(load), placement: None, anomaly: Some(anomaly) };
        score_api::NodeScore { parts, ..score_api::NodeScore::default() }.weighed(&PartWeights::DESIGN)
    };
    let close = |got: Option<f64>, wanted: f64| got.is_some_and(|got| (got - wanted).abs() < 1e-12);
    // 0.3 and 0.3 of 0.6.
    assert!(close(of(0.5, 1.0), 0.75));
    // What is not a number is unknown; what is beyond the ends is taken for them.
    assert!(close(of(0.5, f64::NAN), 0.5) && close(of(-3.0, 7.0), 0.5));
    assert_eq!(of(f64::NAN, f64::INFINITY), None);
}
