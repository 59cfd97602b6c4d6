//! Messages of `inference.GRPCInferenceService/ModelInfer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| {
    let _ = serving::grpc::parse(message);
});
