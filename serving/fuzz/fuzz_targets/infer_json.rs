//! Bodies of `POST /v2/models/M/infer`, JSON alone.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let _ = serving::protocol::InferRequest::parse(body, None);
});
