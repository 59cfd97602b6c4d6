//! Open Inference Protocol v2 (KServe): what comes in and what goes out, without HTTP.
//!
//! Specification: `open-inference-protocol`, `specification/protocol/inference_rest.md`; the binary tensor extension is
//! Triton's (`Inference-Header-Content-Length`, `binary_data_size`).

mod bounded;
mod datatype;
mod flat;
mod request;
mod response;
mod tensor;

pub use datatype::Datatype;
pub use request::{InferRequest, MOST_TENSORS, WantedOutput, check_names, raw_values};
pub use response::{Encoded, InferResponse, write_raw};
pub use tensor::{Tensor, Values};

pub use server::ApiError as Refusal;
