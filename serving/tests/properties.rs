//! No body makes a parser panic: whatever comes is read or refused with a sentence. The same parsers have fuzz targets in
//! `fuzz/`, which look for longer.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use score_api::ScoreRequest;
use serde_json::{Map, Value, json};
use serving::events::CloudEvent;
use serving::protocol::{InferRequest, Refusal};
use serving::rollout::log::History;

/// Any JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

/// A body that is right but for one place, where anything stands.
fn nearly(right: Value) -> impl Strategy<Value = Value> {
    let places = places_of(&right, String::new());
    (prop::sample::select(places), any_json()).prop_map(move |(place, anything)| {
        let mut body = right.clone();
        if let Some(there) = body.pointer_mut(&place) {
            *there = anything;
        }
        body
    })
}

fn places_of(value: &Value, path: String) -> Vec<String> {
    let mut places = vec![path.clone()];
    match value {
        Value::Object(map) => {
            places.extend(map.iter().flat_map(|(name, inner)| places_of(inner, format!("{path}/{name}"))));
        }
        Value::Array(list) => {
            places.extend(list.iter().enumerate().flat_map(|(at, inner)| places_of(inner, format!("{path}/{at}"))));
        }
        _ => {}
    }
    places
}

fn inference() -> Value {
    json!({
        "id": "1",
        "parameters": { "explain": true },
        "inputs": [{ "name": "features", "shape": [1, 2], "datatype": "FP32", "parameters": { "binary_data_size": 8 }, "data": [0.5, 1] }],
        "outputs": [{ "name": "cpu-1h-p50", "parameters": { "binary_data": true } }],
    })
}

fn score() -> Value {
    json!({
        "pods": [{ "namespace": "shop", "name": "cart-1", "workload": "shop/Deployment/cart", "cpu_request_cores": 0.5, "memory_request_bytes": 1e8, "priority": 1 }],
        "nodes": ["n1"],
        "in_flight": { "n1": { "cpu_cores": 1, "memory_bytes": 1e8 } },
        "explain": false,
    })
}

fn event() -> Value {
    json!({
        "specversion": "1.0", "id": "1", "source": "http://agent", "type": "org.kubeflow.serving.inference.request",
        "time": "2026-11-01T00:00:00Z", "namespace": "shop", "inferenceservicename": "m", "data": { "inputs": [] },
    })
}

fn structured() -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static("content-type"),
        HeaderValue::from_static("application/cloudevents+json"),
    )])
}

/// A refusal is the client's fault and says something.
fn is_told<T>(result: Result<T, Refusal>) -> bool {
    result.err().is_none_or(|refusal| refusal.status.is_client_error() && !refusal.message.is_empty())
}

fn score_request(body: &[u8]) -> Result<ScoreRequest, Refusal> {
    ScoreRequest::parse(body).map_err(|error| Refusal::bad(error.to_string()))
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), end in prop::option::of(0_usize..220)) {
        prop_assert!(is_told(InferRequest::parse(&bytes, end)));
        prop_assert!(is_told(serving::grpc::parse(&bytes)));
        prop_assert!(is_told(score_request(&bytes)));
        prop_assert!(is_told(CloudEvent::parse(&structured(), &bytes)));
        let history = History::parse(&String::from_utf8_lossy(&bytes));
        prop_assert!(history.changes.is_empty());
    }

    #[test]
    fn an_inference_that_is_nearly_right_is_read_or_refused(body in nearly(inference()), behind in prop::collection::vec(any::<u8>(), 0..20)) {
        let text = body.to_string();
        prop_assert!(is_told(InferRequest::parse(text.as_bytes(), None)));
        let with_tensors = [text.as_bytes(), &behind].concat();
        prop_assert!(is_told(InferRequest::parse(&with_tensors, Some(text.len()))));
    }

    #[test]
    fn a_score_request_that_is_nearly_right_is_read_or_refused(body in nearly(score())) {
        prop_assert!(is_told(score_request(body.to_string().as_bytes())));
    }

    #[test]
    fn an_event_that_is_nearly_right_is_read_or_refused(body in nearly(event()), value in "\\PC{0,20}") {
        prop_assert!(is_told(CloudEvent::parse(&structured(), body.to_string().as_bytes())));
        let mut headers = HeaderMap::new();
        for name in ["ce-specversion", "ce-type", "ce-id", "ce-source"] {
            let text = body[&name[3..]].as_str().unwrap_or(&value);
            if let Ok(text) = HeaderValue::from_str(text) {
                headers.insert(HeaderName::from_static(name), text);
            }
        }
        prop_assert!(is_told(CloudEvent::parse(&headers, body["data"].to_string().as_bytes())));
    }
}
