//! Between the messages of gRPC and the protocol's own words.

use super::messages::{
    InferParameter, InferTensor, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataResponse,
    ParameterChoice, Parameters, RequestedOutput, TensorMetadata,
};
use crate::protocol::{
    Datatype, InferRequest, InferResponse, Refusal, Tensor, Values, WantedOutput, check_names, raw_values, write_raw,
};
use serde_json::{Map, Value, json};

/// A request, with its tensors as typed lists or as raw bytes.
pub(super) fn request(message: ModelInferRequest) -> Result<InferRequest, Refusal> {
    let raw = message.raw_input_contents;
    if !raw.is_empty() && raw.len() != message.inputs.len() {
        return Err(Refusal::bad(format!(
            "raw_input_contents has {} entries for {} inputs",
            raw.len(),
            message.inputs.len()
        )));
    }
    let mut raw = raw.into_iter();
    check_names(message.inputs.iter().map(|input| input.name.as_str()))?;
    let mut inputs: Vec<Tensor> = Vec::with_capacity(message.inputs.len());
    for input in message.inputs {
        let datatype = Datatype::parse(&input.datatype, &input.name)?;
        let values = match (raw.next(), input.contents) {
            (Some(_), Some(_)) => {
                return Err(Refusal::bad(format!("input `{}` has contents and raw_input_contents", input.name)));
            }
            (Some(bytes), None) => raw_values(&input.name, datatype, &bytes)?,
            (None, contents) => contents_values(&input.name, datatype, contents.unwrap_or_default())?,
        };
        inputs.push(Tensor::new(input.name, &input.shape, datatype, values)?);
    }
    let outputs = (!message.outputs.is_empty()).then(|| message.outputs.into_iter().map(wanted).collect());
    let parameters =
        message.parameters.into_iter().map(|(name, parameter)| (name, parameter_value(parameter))).collect();
    Ok(InferRequest { id: (!message.id.is_empty()).then_some(message.id), parameters, inputs, outputs })
}

fn wanted(output: RequestedOutput) -> WantedOutput {
    WantedOutput { name: output.name, binary: None }
}

fn contents_values(name: &str, datatype: Datatype, contents: InferTensorContents) -> Result<Values, Refusal> {
    let numbers = |numbers: Vec<f64>| Values::Numbers(numbers);
    Ok(match datatype {
        Datatype::Bool => numbers(contents.bool_contents.into_iter().map(|value| f64::from(u8::from(value))).collect()),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            numbers(contents.int_contents.into_iter().map(f64::from).collect())
        }
        Datatype::Int64 => numbers(contents.int64_contents.into_iter().map(|value| value as f64).collect()),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            numbers(contents.uint_contents.into_iter().map(f64::from).collect())
        }
        Datatype::Uint64 => numbers(contents.uint64_contents.into_iter().map(|value| value as f64).collect()),
        Datatype::Fp32 => numbers(contents.fp32_contents.into_iter().map(f64::from).collect()),
        Datatype::Fp64 => numbers(contents.fp64_contents),
        Datatype::Bytes => {
            let text = |(place, bytes): (usize, Vec<u8>)| {
                String::from_utf8(bytes)
                    .map_err(|_| Refusal::bad(format!("element {place} of tensor `{name}` is no UTF-8")))
            };
            Values::Texts(contents.bytes_contents.into_iter().enumerate().map(text).collect::<Result<_, _>>()?)
        }
    })
}

fn parameter_value(parameter: InferParameter) -> Value {
    match parameter.choice {
        None => Value::Null,
        Some(ParameterChoice::Bool(value)) => value.into(),
        Some(ParameterChoice::Int64(value)) => value.into(),
        Some(ParameterChoice::Text(value)) => value.into(),
        Some(ParameterChoice::Double(value)) => json!(value),
        Some(ParameterChoice::Uint64(value)) => value.into(),
    }
}

/// An answer, its tensors as raw bytes. What is no plain value among the parameters travels as JSON text.
pub(super) fn response(request: &InferRequest, mut answer: InferResponse) -> Result<ModelInferResponse, Refusal> {
    let chosen = answer.take_chosen(request)?;
    let (id, parameters) = (request.id.clone().unwrap_or_default(), parameters(&answer.parameters));
    let (model_name, model_version) = (answer.model, answer.version);
    let mut message = ModelInferResponse { model_name, model_version, id, parameters, ..ModelInferResponse::default() };
    for (tensor, _) in chosen {
        let mut raw = Vec::new();
        write_raw(tensor.datatype, &tensor.values, &mut raw);
        message.raw_output_contents.push(raw);
        message.outputs.push(InferTensor {
            name: tensor.name,
            datatype: tensor.datatype.as_str().to_owned(),
            shape: tensor.shape.iter().map(|side| *side as i64).collect(),
            ..InferTensor::default()
        });
    }
    Ok(message)
}

fn parameters(list: &Map<String, Value>) -> Parameters {
    let choice = |value: &Value| match value {
        Value::Bool(value) => ParameterChoice::Bool(*value),
        Value::Number(value) => ParameterChoice::Double(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => ParameterChoice::Text(value.clone()),
        other => ParameterChoice::Text(other.to_string()),
    };
    list.iter().map(|(name, value)| (name.clone(), InferParameter { choice: Some(choice(value)) })).collect()
}

/// What REST says of a model, as a message.
pub(super) fn metadata(description: &Value) -> ModelMetadataResponse {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |name: &str| description[name].as_array().cloned().unwrap_or_default();
    let tensors = |name: &str| {
        let one = |tensor: &Value| TensorMetadata {
            name: text(&tensor["name"]),
            datatype: text(&tensor["datatype"]),
            shape: tensor["shape"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect(),
        };
        list(name).iter().map(one).collect()
    };
    ModelMetadataResponse {
        name: text(&description["name"]),
        versions: list("versions").iter().map(text).collect(),
        platform: text(&description["platform"]),
        inputs: tensors("inputs"),
        outputs: tensors("outputs"),
    }
}
