//! One CloudEvent of an inference, in either of HTTP's modes: attributes as headers (what KServe sends), or all of it as JSON.

use crate::protocol::Refusal;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What KServe's logger calls it, before `request` or `response`.
const PREFIX: &str = "org.kubeflow.serving.inference.";
const STRUCTURED: &str = "application/cloudevents+json";
const SPECIFICATION: &str = "1.0";

/// Which half of an inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// What was asked.
    Request,
    /// What was answered.
    Response,
}

/// A request or a response.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEvent {
    /// The same for both halves.
    pub id: String,
    /// Which of them.
    pub half: Half,
    /// `namespace/name` of the inference service; the event's source where it names none.
    pub service: String,
    /// When it happened, UTC milliseconds; now where it does not say.
    pub at: i64,
    /// The request's or response's own body.
    pub body: Value,
}

/// The attributes that matter here; JSON may have others, and null is the same as absent.
#[derive(Debug, Deserialize)]
struct Attributes {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    time: Option<String>,
    recordedtime: Option<String>,
    namespace: Option<String>,
    inferenceservicename: Option<String>,
}

impl Attributes {
    fn of_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        Self {
            specversion: text("ce-specversion"),
            id: text("ce-id"),
            source: text("ce-source"),
            kind: text("ce-type"),
            time: text("ce-time"),
            recordedtime: text("ce-recordedtime"),
            namespace: text("ce-namespace"),
            inferenceservicename: text("ce-inferenceservicename"),
        }
    }
}

/// An event as one JSON object.
#[derive(Debug, Deserialize)]
struct Structured {
    #[serde(flatten)]
    attributes: Attributes,
    data: Map<String, Value>,
}

impl CloudEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// 400 with the attribute that is absent or not understood, or where the body is no JSON.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.trim_start().starts_with(STRUCTURED) {
            let event: Structured = serde_json::from_slice(body)
                .map_err(|error| Refusal::bad(format!("the body is no CloudEvent: {error}")))?;
            return Self::of(event.attributes, || Ok(Value::Object(event.data)));
        }
        let attributes = Attributes::of_headers(headers);
        if attributes.specversion.is_none() {
            return Err(Refusal::bad(format!("no header `ce-specversion`, and the content type is not {STRUCTURED}")));
        }
        Self::of(attributes, || {
            serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the body is no JSON: {error}")))
        })
    }

    fn of(attributes: Attributes, body: impl FnOnce() -> Result<Value, Refusal>) -> Result<Self, Refusal> {
        let wanted = |name: &str, value: &Option<String>| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| Refusal::bad(format!("the event has no `{name}`")))
        };
        let version = wanted("specversion", &attributes.specversion)?;
        if version != SPECIFICATION {
            return Err(Refusal::bad(format!("`specversion` is `{version}`, want {SPECIFICATION}")));
        }
        let kind = wanted("type", &attributes.kind)?;
        let half = match kind.strip_prefix(PREFIX) {
            Some("request") => Half::Request,
            Some("response") => Half::Response,
            _ => return Err(Refusal::bad(format!("`type` is `{kind}`, want {PREFIX}request or {PREFIX}response"))),
        };
        let (source, id) = (wanted("source", &attributes.source)?, wanted("id", &attributes.id)?);
        let service = match (attributes.namespace, attributes.inferenceservicename) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name,
            (_, None) => source,
        };
        let at = attributes.time.or(attributes.recordedtime);
        let at = at.and_then(|at| chrono::DateTime::parse_from_rfc3339(&at).ok()).map(|at| at.timestamp_millis());
        Ok(Self { id, half, service, at: at.unwrap_or_else(|| chrono::Utc::now().timestamp_millis()), body: body()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().expect("a value")))
            .collect()
    }

    const REQUEST: (&str, &str) = ("ce-type", "org.kubeflow.serving.inference.request");

    #[test]
    fn both_modes_say_the_same() {
        let binary = CloudEvent::parse(
            &headers(&[
                ("ce-specversion", "1.0"),
                ("ce-id", "a"),
                ("ce-source", "http://agent"),
                REQUEST,
                ("ce-time", "2026-11-01T00:00:00Z"),
                ("ce-inferenceservicename", "m"),
                ("ce-namespace", "shop"),
            ]),
            br#"{"inputs":[]}"#,
        );
        let structured = CloudEvent::parse(
            &headers(&[("content-type", "application/cloudevents+json; charset=utf-8")]),
            br#"{"specversion":"1.0","id":"a","source":"http://agent","type":"org.kubeflow.serving.inference.request",
                "time":"2026-11-01T00:00:00Z","inferenceservicename":"m","namespace":"shop","data":{"inputs":[]}}"#,
        );
        let event = binary.expect("an event");
        assert_eq!((event.service.as_str(), event.at, event.half), ("shop/m", 1_793_491_200_000, Half::Request));
        assert_eq!(structured, Ok(event));
    }

    #[test]
    fn what_lacks_is_named() {
        let version = ("ce-specversion", "1.0");
        for (list, body, said) in [
            (vec![], "{}", "ce-specversion"),
            (vec![("ce-specversion", "0.3")], "{}", "`0.3`"),
            (vec![version], "{}", "no `type`"),
            (vec![version, ("ce-type", "com.example.order")], "{}", "`com.example.order`"),
            (vec![version, REQUEST], "{}", "no `source`"),
            (vec![version, REQUEST, ("ce-source", "x")], "{}", "no `id`"),
            (vec![version, REQUEST, ("ce-source", "x"), ("ce-id", "1")], "\u{1}binary", "no JSON"),
            (vec![("content-type", STRUCTURED)], r#"{"specversion":"1.0"}"#, "data"),
        ] {
            let refusal = CloudEvent::parse(&headers(&list), body.as_bytes()).expect_err(said);
            assert!(refusal.message.contains(said), "{refusal}");
        }
    }
}
