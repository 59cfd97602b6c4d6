//! Bodies of `POST /v1/inference-events`: events as one JSON object.
#![no_main]

use axum::http::{HeaderMap, HeaderName, HeaderValue};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let kind = HeaderValue::from_static("application/cloudevents+json");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("content-type"), kind)]);
    let _ = serving::events::CloudEvent::parse(&headers, body);
});
