//! Schemas of scores and nodes, the types of `score-api`.

use super::{object, reference};
use score_api::{ApiVersion, Arm, MAX_AMOUNT};
use serde_json::{Value, json};

fn text() -> Value {
    json!({ "type": "string" })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// A number, null where it is unknown.
fn number() -> Value {
    json!({ "type": "number", "nullable": true })
}

fn moment() -> Value {
    json!({ "type": "string", "format": "date-time", "nullable": true })
}

fn version() -> Value {
    json!({ "type": "integer", "enum": [ApiVersion::NUMBER] })
}

fn severity() -> Value {
    json!({ "type": "string", "nullable": true, "enum": ["info", "warning", "critical", null] })
}

/// An object whose keys are names.
fn named(of: Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

/// An object of which other fields are refused.
fn strict(required: &[&str], properties: Value) -> Value {
    let mut schema = object(required, properties);
    schema["additionalProperties"] = json!(false);
    schema
}

/// An object that has all of these fields, but for those named as optional.
fn whole(optional: &[&str], properties: Value) -> Value {
    let names: Vec<&str> = properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let required: Vec<&str> = names.into_iter().filter(|name| !optional.contains(name)).collect();
    object(&required, properties.clone())
}

fn parts(nullable: bool) -> Value {
    let part = || json!({ "type": "number", "nullable": nullable });
    whole(&[], json!({ "load": part(), "placement": part(), "anomaly": part() }))
}

pub(super) fn schemas() -> Value {
    json!({
        "ScoreRequest": request(),
        "ScoreAnswer": answer(),
        "PodScores": pod_scores(),
        "NodeScore": node_score(),
        "NodeExplanation": explanation(),
        "Blame": blame(),
        "NodeList": nodes(),
        "NodeDescription": node(),
    })
}

fn request() -> Value {
    let amount = || json!({ "type": "number", "minimum": 0, "maximum": MAX_AMOUNT });
    let pod = json!({
        "namespace": text(), "name": text(),
        "workload": { "type": "string", "nullable": true, "description": "namespace/kind/name, such as shop/Deployment/cart" },
        "cpu_request_cores": amount(), "memory_request_bytes": amount(),
        "priority": { "type": "integer", "format": "int64" },
    });
    strict(
        &["pods"],
        json!({
            "pods": { "type": "array", "minItems": 1, "items": strict(&[], pod) },
            "nodes": { "type": "array", "items": text(), "description": "empty means all that are known" },
            "in_flight": named(strict(&[], json!({ "cpu_cores": amount(), "memory_bytes": amount() }))),
            "explain": { "type": "boolean", "nullable": true },
        }),
    )
}

fn answer() -> Value {
    let trial = "the versions that answered for pods whose `arm` is `challenger`";
    whole(
        &[],
        json!({
            "api_version": version(), "at": moment(), "data_age_seconds": number(), "models": named(text()),
            "challenger_models": { "type": "object", "nullable": true, "additionalProperties": text(), "description": trial },
            "weights": parts(false), "strategy": { "type": "string", "enum": ["spread", "pack"] },
            "pods": list(reference("PodScores")), "unknown_nodes": list(text()),
        }),
    )
}

fn pod_scores() -> Value {
    let expected = json!({
        "cpu_cores": { "type": "number" }, "memory_bytes": { "type": "number" },
        "source": { "type": "string", "enum": ["workload", "requests"] },
    });
    whole(
        &[],
        json!({
            "namespace": text(), "name": text(), "arm": { "type": "string", "enum": Arm::ALL.map(Arm::as_str) },
            "expected": whole(&[], expected), "nodes": list(reference("NodeScore")),
        }),
    )
}

fn node_score() -> Value {
    whole(
        &["explanation"],
        json!({
            "node": text(), "score": { "type": "number" }, "parts": parts(true), "uncertainty": number(), "peak": number(), "missing": list(text()),
            "data_age_seconds": number(), "severity": severity(), "explanation": reference("NodeExplanation"),
        }),
    )
}

fn explanation() -> Value {
    let quantiles =
        json!({ "p50": { "type": "number" }, "p90": { "type": "number" }, "p90_with_pod": { "type": "number" } });
    let contribution = json!({ "feature": text(), "value": number(), "mean": number(), "contribution": number() });
    whole(
        &[],
        json!({
            "forecast": named(named(whole(&[], quantiles))), "placement": list(whole(&[], contribution)),
            "blame": list(reference("Blame")), "reasons": list(text()),
        }),
    )
}

fn blame() -> Value {
    let normal = json!({ "low": number(), "median": number(), "high": number() });
    whole(
        &[],
        json!({ "feature": text(), "value": number(), "normal": whole(&[], normal), "share": { "type": "number" } }),
    )
}

fn nodes() -> Value {
    whole(
        &[],
        json!({
            "api_version": version(), "at": moment(), "data_age_seconds": number(), "models": named(text()),
            "workloads_known": { "type": "integer" }, "nodes": list(reference("NodeDescription")),
        }),
    )
}

fn node() -> Value {
    let forecast = json!({
        "resource": text(), "horizon": text(), "p50": number(), "p90": number(), "fallback": { "type": "boolean" },
    });
    let anomaly = json!({
        "score": { "type": "number" }, "severity": severity(), "kind": text(), "blame": list(reference("Blame")),
    });
    let nullable = |mut schema: Value| {
        schema["nullable"] = json!(true);
        schema
    };
    whole(
        &["features_at", "features"],
        json!({
            "node": text(), "data_age_seconds": { "type": "number" }, "stale": { "type": "boolean" },
            "cpu_utilization": number(), "memory_utilization": number(),
            "cpu_allocatable_cores": number(), "memory_allocatable_bytes": number(), "pods": { "type": "integer" },
            "forecasts": nullable(list(whole(&[], forecast))), "anomaly": nullable(whole(&[], anomaly)),
            "features_at": { "type": "string", "format": "date-time" }, "features": named(number()),
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use score_api::{NodeExplanation, NodeList, NodeScore, PodRequest, ScoreRequest};
    use std::collections::BTreeSet;

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    }

    #[test]
    fn what_is_written_has_the_fields_that_are_described() {
        let schemas = schemas();
        let described = |name: &str| keys(&schemas[name]["properties"]);
        let node = NodeScore { explanation: Some(Box::default()), ..NodeScore::default() };
        assert_eq!(keys(&json!(node)), described("NodeScore"));
        assert_eq!(keys(&json!(NodeExplanation::default())), described("NodeExplanation"));
        assert_eq!(keys(&json!(NodeList::default())), described("NodeList"));
        assert_eq!(keys(&json!(ScoreRequest::default())), described("ScoreRequest"));
        let pod = &schemas["ScoreRequest"]["properties"]["pods"]["items"]["properties"];
        assert_eq!(keys(&json!(PodRequest::default())), keys(pod));
        let required: Vec<&str> =
            schemas["NodeScore"]["required"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert!(required.contains(&"severity") && !required.contains(&"explanation"), "{required:?}");
    }
}
