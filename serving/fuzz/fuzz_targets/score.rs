//! Bodies of `POST /v1/score`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let _ = score_api::ScoreRequest::parse(body);
});
