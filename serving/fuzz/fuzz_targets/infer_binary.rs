//! Bodies of `POST /v2/models/M/infer` with binary tensors: the first two bytes say where the JSON ends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: (u16, &[u8])| {
    let _ = serving::protocol::InferRequest::parse(bytes.1, Some(usize::from(bytes.0)));
});
