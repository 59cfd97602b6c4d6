//! The description of the interface, for programs (OpenAPI 3.0) and as a page for people, made from the same lists.

mod scores;

use crate::registry::ModelName;
use report::{Page, Table, Tone};
use score_api::{MAX_TIMEOUT_MILLIS, NODES_PATH, SCORE_PATH, TIMEOUT_HEADER};
use serde_json::{Map, Value, json};

/// One call.
struct Call {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Schema of the body, where there is one.
    body: Option<&'static str>,
    /// Schema of the answer.
    answer: &'static str,
    /// Other statuses than 200 that it may answer.
    statuses: &'static [u16],
}

const fn get(path: &'static str, summary: &'static str, answer: &'static str, statuses: &'static [u16]) -> Call {
    Call { method: "get", path, summary, body: None, answer, statuses }
}

const fn post(path: &'static str, summary: &'static str, body: &'static str, answer: &'static str) -> Call {
    Call {
        method: "post",
        path,
        summary,
        body: Some(body),
        answer,
        statuses: &[400, 401, 403, 404, 408, 413, 415, 503],
    }
}

const GUARDED: &[u16] = &[400, 401, 408, 503];
const NAMED: &[u16] = &[400, 401, 404, 408, 503];

const CALLS: [Call; 21] = [
    post(SCORE_PATH, "Scores of nodes for pods: load, placement and anomaly together", "ScoreRequest", "ScoreAnswer"),
    get(NODES_PATH, "What is known of every node: age, forecasts, anomaly", "NodeList", NAMED),
    get("/v1/nodes/{node}", "One node with all of its features", "NodeDescription", NAMED),
    post(
        "/v1/inference-events",
        "Takes what KServe's logger sends (CloudEvents) into the log of predictions",
        "InferenceEvent",
        "Kept",
    ),
    get("/v1/shadow", "How far the challengers are from the champions", "Object", GUARDED),
    get("/v1/rollout", "Which share of the workloads the challenger has, and how it compares", "Object", GUARDED),
    get("/model-info", "The versions that serve, what they are, and what was refused", "Object", GUARDED),
    get("/health", "How the server does", "Object", &[]),
    get("/metrics", "Metrics in OpenMetrics text", "Text", &[]),
    get("/v2", "The server: name, version, extensions of the protocol", "ServerMetadata", GUARDED),
    get("/v2/health/live", "The process answers", "Live", &[]),
    get("/v2/health/ready", "All models are loaded and nodes are known", "Ready", &[503]),
    get("/v2/models", "The models", "ModelList", GUARDED),
    get("/v2/models/{model}", "A model: inputs and outputs", "ModelMetadata", NAMED),
    get("/v2/models/{model}/ready", "Whether it answers", "ModelReady", NAMED),
    post("/v2/models/{model}/infer", "Asks a model", "InferenceRequest", "InferenceResponse"),
    get("/v2/models/{model}/versions/{version}", "A version of a model", "ModelMetadata", NAMED),
    get("/v2/models/{model}/versions/{version}/ready", "Whether it answers", "ModelReady", NAMED),
    post(
        "/v2/models/{model}/versions/{version}/infer",
        "Asks a version that is in memory",
        "InferenceRequest",
        "InferenceResponse",
    ),
    get("/openapi.json", "This description", "Object", &[]),
    get("/docs", "This page", "Page", &[]),
];

/// OpenAPI 3.0.
pub fn document() -> Value {
    let mut paths = Map::new();
    for call in &CALLS {
        let entry = paths.entry(call.path).or_insert_with(|| json!({}));
        if let Value::Object(entry) = entry {
            entry.insert(call.method.to_owned(), operation(call));
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Berth serving",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Open Inference Protocol v2 for load-predictor, placement-agent, anomaly-detector and combined, and scores of nodes.",
        },
        "paths": paths,
        "components": { "schemas": schemas(), "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    })
}

fn operation(call: &Call) -> Value {
    let mut responses = Map::new();
    let schema = reference(call.answer);
    let kind = match call.answer {
        "Text" => "application/openmetrics-text",
        "Page" => "text/html",
        _ => "application/json",
    };
    responses.insert("200".into(), json!({ "description": "done", "content": { kind: { "schema": schema } } }));
    for status in call.statuses {
        // A probe's body is the same whether it is ready or not.
        let schema = match (*status, call.answer) {
            (503, "Ready") => reference("Ready"),
            (503, "ModelReady") => json!({ "oneOf": [reference("ModelReady"), reference("Error")] }),
            _ => reference("Error"),
        };
        responses.insert(
            status.to_string(),
            json!({ "description": meaning(*status), "content": { "application/json": { "schema": schema } } }),
        );
    }
    let named = ["model", "version", "node"].into_iter().filter(|name| call.path.contains(&format!("{{{name}}}")));
    let mut parameters: Vec<Value> = named
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": path_schema(name) }))
        .collect();
    if call.statuses.contains(&408) {
        parameters.push(json!({
            "name": TIMEOUT_HEADER, "in": "header", "required": false,
            "description": "The client's own limit in milliseconds",
            "schema": { "type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_MILLIS },
        }));
    }
    let mut operation = json!({ "summary": call.summary, "parameters": parameters, "responses": responses });
    if let (Some(body), Value::Object(operation)) = (call.body, &mut operation) {
        let kind = if body == "InferenceEvent" { "application/cloudevents+json" } else { "application/json" };
        let content = json!({ kind: { "schema": reference(body) } });
        operation.insert("requestBody".into(), json!({ "required": true, "content": content }));
    }
    operation
}

fn path_schema(name: &str) -> Value {
    match name {
        "model" => json!({ "type": "string", "enum": ModelName::ALL.map(ModelName::as_str) }),
        _ => json!({ "type": "string" }),
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "the request is at fault",
        401 => "a bearer token is wanted",
        403 => "a web page sent it",
        404 => "there is no such thing",
        413 => "more than is read at once",
        408 => "not answered in time",
        415 => "a content encoding that is not supported",
        _ => "not now",
    }
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn schemas() -> Value {
    let mut schemas = protocol();
    if let (Value::Object(all), Value::Object(more)) = (&mut schemas, scores::schemas()) {
        all.extend(more);
    }
    schemas
}

fn protocol() -> Value {
    let text = || json!({ "type": "string" });
    let optional = || json!({ "type": "string", "nullable": true });
    let moment = json!({ "type": "string", "format": "date-time", "nullable": true });
    let shape = || json!({ "type": "array", "items": { "type": "integer", "minimum": 0 } });
    let datatype = || json!({ "type": "string", "enum": ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64", "BYTES"] });
    let tensor = || {
        object(
            &["name", "shape", "datatype"],
            json!({ "name": text(), "shape": shape(), "datatype": datatype(), "parameters": { "type": "object" }, "data": { "type": "array", "items": {} } }),
        )
    };
    json!({
        "Error": object(&["error"], json!({ "error": text() })),
        "Object": { "type": "object" },
        "Text": text(),
        "Page": text(),
        "Live": object(&["live"], json!({ "live": { "type": "boolean" } })),
        "Ready": object(&["ready"], json!({ "ready": { "type": "boolean" }, "lacking": { "type": "array", "items": text() } })),
        "ServerMetadata": object(&["name", "version", "extensions"], json!({ "name": text(), "version": text(), "extensions": { "type": "array", "items": text() } })),
        "ModelList": object(&["models"], json!({ "models": { "type": "array", "items": text() } })),
        "ModelReady": object(&["name", "ready"], json!({ "name": text(), "ready": { "type": "boolean" } })),
        "TensorMetadata": object(&["name", "datatype", "shape"], json!({ "name": text(), "datatype": datatype(), "shape": { "type": "array", "items": { "type": "integer" } } })),
        "ModelMetadata": object(&["name", "platform", "inputs", "outputs"], json!({
            "name": text(),
            "versions": { "type": "array", "items": text() },
            "platform": text(),
            "inputs": { "type": "array", "items": reference("TensorMetadata") },
            "outputs": { "type": "array", "items": reference("TensorMetadata") },
            "parameters": { "type": "object" },
        })),
        "Tensor": tensor(),
        "InferenceRequest": object(&["inputs"], json!({
            "id": text(),
            "parameters": { "type": "object", "properties": { "explain": { "type": "boolean" }, "binary_data_output": { "type": "boolean" } } },
            "inputs": { "type": "array", "minItems": 1, "items": tensor() },
            "outputs": { "type": "array", "items": object(&["name"], json!({ "name": text(), "parameters": { "type": "object" } })) },
        })),
        "InferenceResponse": object(&["model_name", "outputs"], json!({
            "model_name": text(), "model_version": text(), "id": text(),
            "parameters": { "type": "object" },
            "outputs": { "type": "array", "items": tensor() },
        })),
        "Kept": object(&["kept"], json!({ "kept": { "type": "boolean", "description": "whether the other half was there" } })),
        "InferenceEvent": object(&["specversion", "id", "source", "type", "data"], json!({
            "specversion": { "type": "string", "enum": ["1.0"] },
            "id": { "type": "string", "minLength": 1 },
            "source": { "type": "string", "minLength": 1 },
            "type": { "type": "string", "enum": ["org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"] },
            "time": moment.clone(),
            "namespace": optional(),
            "inferenceservicename": optional(),
            "recordedtime": moment,
            "data": { "type": "object" },
        })),
    })
}

/// The same as a page.
pub fn page() -> String {
    let mut table = Table::new(["call", "what it gives", "answers beside 200"]);
    for call in &CALLS {
        let statuses: Vec<String> = call.statuses.iter().map(u16::to_string).collect();
        table.row([
            format!("{} {}", call.method.to_uppercase(), call.path),
            call.summary.to_owned(),
            statuses.join(", "),
        ]);
    }
    Page::new("Berth serving", "Open Inference Protocol v2, and one score per node")
        .note("Errors are {\"error\": \"…\"} with a status that says whose fault it is.", Tone::Plain)
        .section("Calls")
        .table(&table)
        .section("A score")
        .text("curl -s http://127.0.0.1:8080/v1/score -d '{\"pods\":[{\"workload\":\"shop/Deployment/cart\",\"cpu_request_cores\":0.5,\"memory_request_bytes\":536870912}],\"nodes\":[\"node-1\",\"node-2\"]}'")
        .text("Each node has a score in 0..1 and the parts that it is made of: load (the strategy `spread`: 1 less the chance that the node passes 80 and 90 % with the pod; `pack`: best at 65 %), placement (how far the agent's value is below that of the best candidate, on a fixed scale) and anomaly. A part that is missing or stale is null, says why in `missing`, and the others are scaled up; a node of which nothing is known gets the mean of the others.")
        .section("A forecast")
        .text("GET /v2/models/load-predictor names the columns of the one input, `features`, in `parameters.features`; null is a missing value. The parameter `explain` adds what each feature contributed.")
        .section("For programs")
        .text("GET /openapi.json")
        .html()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        let known = document["components"]["schemas"].as_object().expect("schemas");
        for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(known.contains_key(name), "{name}");
        }
        assert_eq!(document["paths"].as_object().expect("paths").len(), CALLS.len());
        assert!(page().contains("/v1/score"));
    }
}
