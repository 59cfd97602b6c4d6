//! One CloudEvent of an inference, in either of HTTP's modes: attributes as headers (what KServe sends), or all of it as JSON.

use crate::protocol::Refusal;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;

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

/// An event of longer ago, or of later, is no event of now: its time would choose the day that it is kept under.
const MOST_APART: i64 = cluster::DAY_MS;
/// Bytes of an id, and of the name of a service.
const LONGEST_NAME: usize = 1 << 10;

/// A request or a response.
#[derive(Clone)]
pub struct CloudEvent {
    /// The same for both halves.
    pub id: String,
    /// Which of them.
    pub half: Half,
    /// `namespace/name` of the inference service; the event's source where it names none.
    pub service: String,
    /// When it happened, UTC milliseconds; now where it does not say.
    pub at: i64,
    /// The request's or response's own body: JSON that nobody has looked into yet.
    pub body: Box<RawValue>,
}

impl fmt::Debug for CloudEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, half, service, at, body } = self;
        write!(f, "{half:?} {id} of {service} at {at}: {} bytes", body.get().len())
    }
}

/// What it says, with its body as it is written.
impl PartialEq for CloudEvent {
    fn eq(&self, other: &Self) -> bool {
        let said = |event: &Self| (event.id.clone(), event.half, event.service.clone(), event.at);
        said(self) == said(other) && self.body.get() == other.body.get()
    }
}

impl CloudEvent {
    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.service.len() + self.body.get().len()
    }
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

/// What else is in an event that is one JSON object.
#[derive(Debug, Deserialize)]
struct Data {
    data: Box<RawValue>,
}

impl CloudEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// 400 with the attribute that is absent or not understood, or where the body is no JSON.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.trim_start().starts_with(STRUCTURED) {
            let wrong = |error| Refusal::bad(format!("the body is not a CloudEvent: {error}"));
            let attributes: Attributes = serde_json::from_slice(body).map_err(wrong)?;
            let Data { data } = serde_json::from_slice(body).map_err(wrong)?;
            if !data.get().starts_with('{') {
                return Err(Refusal::bad("`data` of the event is not an object"));
            }
            return Self::of(attributes, || Ok(data));
        }
        let attributes = Attributes::of_headers(headers);
        if attributes.specversion.is_none() {
            return Err(Refusal::bad(format!("no header `ce-specversion`, and the content type is not {STRUCTURED}")));
        }
        Self::of(attributes, || {
            serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the body is not JSON: {error}")))
        })
    }

    fn of(attributes: Attributes, body: impl FnOnce() -> Result<Box<RawValue>, Refusal>) -> Result<Self, Refusal> {
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
        for (name, value) in [("id", &id), ("source", &service)] {
            if value.len() > LONGEST_NAME {
                let length = value.len();
                return Err(Refusal::bad(format!(
                    "`{name}` of the event has {length} bytes, at most {LONGEST_NAME} are kept"
                )));
            }
        }
        let now = chrono::Utc::now().timestamp_millis();
        let at = match attributes.time.or(attributes.recordedtime) {
            None => now,
            Some(text) => moment(&text, now)?,
        };
        Ok(Self { id, half, service, at, body: body()? })
    }
}

/// The time of an event, UTC milliseconds.
fn moment(text: &str, now: i64) -> Result<i64, Refusal> {
    let at = chrono::DateTime::parse_from_rfc3339(text).map_err(|error| {
        let text: String = text.chars().take(64).collect();
        Refusal::bad(format!("`time` of the event is `{text}`, which is not RFC 3339: {error}"))
    })?;
    let at = at.timestamp_millis();
    if at.saturating_sub(now).unsigned_abs() > MOST_APART.unsigned_abs() {
        return Err(Refusal::bad(format!("`time` of the event is `{text}`, more than a day from now: it is not kept")));
    }
    Ok(at)
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
        let at = chrono::Utc::now().timestamp() / 60 * 60;
        let time = chrono::DateTime::from_timestamp(at, 0).expect("a time").to_rfc3339();
        let binary = CloudEvent::parse(
            &headers(&[
                ("ce-specversion", "1.0"),
                ("ce-id", "a"),
                ("ce-source", "http://agent"),
                REQUEST,
                ("ce-time", &time),
                ("ce-inferenceservicename", "m"),
                ("ce-namespace", "shop"),
            ]),
            br#"{"inputs":[]}"#,
        );
        let structured = CloudEvent::parse(
            &headers(&[("content-type", "application/cloudevents+json; charset=utf-8")]),
            format!(
                r#"{{"specversion":"1.0","id":"a","source":"http://agent","type":"org.kubeflow.serving.inference.request",
                "time":"{time}","inferenceservicename":"m","namespace":"shop","data":{{"inputs":[]}}}}"#
            )
            .as_bytes(),
        );
        let event = binary.expect("an event");
        assert_eq!((event.service.as_str(), event.at, event.half), ("shop/m", 1_000 * at, Half::Request));
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
            (vec![version, REQUEST, ("ce-source", "x"), ("ce-id", "1")], "\u{1}binary", "not JSON"),
            (vec![("content-type", STRUCTURED)], r#"{"specversion":"1.0"}"#, "data"),
            (vec![("content-type", STRUCTURED)], r#"{"specversion":"1.0","data":7}"#, "not an object"),
            (vec![version, REQUEST, ("ce-source", "x"), ("ce-id", "1"), ("ce-time", "yesterday")], "{}", "`yesterday`"),
            (
                vec![version, REQUEST, ("ce-source", "x"), ("ce-id", "1"), ("ce-time", "0000-01-01T00:00:00Z")],
                "{}",
                "a day from now",
            ),
            (
                vec![version, REQUEST, ("ce-source", "x"), ("ce-id", "1"), ("ce-time", "9999-01-01T00:00:00Z")],
                "{}",
                "a day from now",
            ),
            (
                vec![version, REQUEST, ("ce-source", "x"), ("ce-id", &"7".repeat(1_025))],
                "{}",
                "`id` of the event has 1025 bytes",
            ),
        ] {
            let refusal = CloudEvent::parse(&headers(&list), body.as_bytes()).expect_err(said);
            assert!(refusal.message.contains(said), "{refusal}");
        }
    }
}
