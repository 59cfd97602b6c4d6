//! An inference answer, as JSON alone or with tensors behind it.

use super::{InferRequest, Refusal, Tensor, Values, WantedOutput};
use serde_json::{Map, Value, json};

/// What a model answers.
#[derive(Debug, Clone, PartialEq)]
pub struct InferResponse {
    /// Which model.
    pub model: String,
    /// Which version of it.
    pub version: String,
    /// The outputs.
    pub outputs: Vec<Tensor>,
    /// More than tensors, such as explanations.
    pub parameters: Map<String, Value>,
}

/// An answer's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// JSON, and the binary tensors behind it.
    pub body: Vec<u8>,
    /// Where the JSON ends; `None` when nothing follows it.
    pub header_length: Option<usize>,
}

impl InferResponse {
    /// Takes out the outputs that a request wants, and whether as binary.
    ///
    /// # Errors
    /// 400 when an output is wanted that the model does not have.
    pub fn take_chosen(&mut self, request: &InferRequest) -> Result<Vec<(Tensor, bool)>, Refusal> {
        let all_binary = request.flag("binary_data_output")?;
        let outputs = std::mem::take(&mut self.outputs);
        let mut chosen: Vec<(Tensor, bool)> = Vec::new();
        match &request.outputs {
            None => chosen.extend(outputs.into_iter().map(|output| (output, all_binary))),
            Some(wanted) => {
                for WantedOutput { name, binary } in wanted {
                    let found = outputs.iter().find(|output| output.name == *name).cloned().ok_or_else(|| {
                        let known: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
                        Refusal::bad(format!("output `{name}` is unknown; the model gives {}", known.join(", ")))
                    })?;
                    chosen.push((found, binary.unwrap_or(all_binary)));
                }
            }
        }
        Ok(chosen)
    }

    /// The answer to a request: the outputs that it wants, each as it wants it.
    ///
    /// # Errors
    /// 400 when an output is wanted that the model does not have.
    pub fn encode(mut self, request: &InferRequest) -> Result<Encoded, Refusal> {
        let chosen = self.take_chosen(request)?;
        let mut behind = Vec::new();
        let mut outputs = Vec::with_capacity(chosen.len());
        for (tensor, is_binary) in chosen {
            let mut output = Map::new();
            output.insert("name".into(), tensor.name.into());
            output.insert("shape".into(), json!(tensor.shape));
            output.insert("datatype".into(), tensor.datatype.as_str().into());
            if is_binary {
                let before = behind.len();
                write_raw(tensor.datatype, &tensor.values, &mut behind);
                output.insert("parameters".into(), json!({ "binary_data_size": behind.len() - before }));
            } else {
                output.insert("data".into(), to_json(tensor.datatype, &tensor.values));
            }
            outputs.push(Value::Object(output));
        }
        let mut body = Map::new();
        body.insert("model_name".into(), self.model.into());
        body.insert("model_version".into(), self.version.into());
        if let Some(id) = &request.id {
            body.insert("id".into(), id.clone().into());
        }
        if !self.parameters.is_empty() {
            body.insert("parameters".into(), Value::Object(self.parameters));
        }
        body.insert("outputs".into(), Value::Array(outputs));
        let mut body = Value::Object(body).to_string().into_bytes();
        let header_length = (!behind.is_empty()).then_some(body.len());
        body.append(&mut behind);
        Ok(Encoded { body, header_length })
    }
}

/// A missing number is null: JSON has no NaN.
fn to_json(datatype: super::Datatype, values: &Values) -> Value {
    let number = |value: &f64| match datatype {
        super::Datatype::Bool => Value::Bool(*value != 0.0),
        // Through single precision, so that 0.1 is written as such and not with sixteen digits.
        super::Datatype::Fp32 => shortest(*value as f32),
        super::Datatype::Fp64 => json!(value),
        _ => json!(*value as i64),
    };
    match values {
        Values::None => Value::Array(Vec::new()),
        Values::Numbers(numbers) => numbers.iter().map(number).collect(),
        Values::Texts(texts) => json!(texts),
    }
}

/// The shortest decimal that reads back as the same single-precision number.
fn shortest(value: f32) -> Value {
    value.to_string().parse::<f64>().ok().filter(|value| value.is_finite()).map_or(Value::Null, |value| json!(value))
}

/// Elements as the binary extension and gRPC's raw contents have them.
pub fn write_raw(datatype: super::Datatype, values: &Values, bytes: &mut Vec<u8>) {
    match values {
        Values::None => {}
        Values::Numbers(numbers) => numbers.iter().for_each(|number| datatype.write(*number, bytes)),
        Values::Texts(texts) => {
            for text in texts {
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Datatype;

    fn answer() -> InferResponse {
        InferResponse {
            model: "m".into(),
            version: "3".into(),
            outputs: vec![
                Tensor::numbers("p50", Datatype::Fp32, vec![f64::from(0.1_f32), f64::NAN]),
                Tensor::texts("severity", vec!["warning".into(), String::new()]),
            ],
            parameters: Map::new(),
        }
    }

    fn request(more: Value) -> InferRequest {
        let mut body = json!({ "id": "a", "inputs": [] });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        InferRequest::parse(body.to_string().as_bytes(), None).expect("a request")
    }

    #[test]
    fn json_has_the_id_short_numbers_and_null_for_missing() {
        let encoded = answer().encode(&request(json!({}))).expect("encoded");
        let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        assert_eq!(encoded.header_length, None);
        assert_eq!(
            body,
            json!({ "model_name": "m", "model_version": "3", "id": "a", "outputs": [
                { "name": "p50", "shape": [2], "datatype": "FP32", "data": [0.1, null] },
                { "name": "severity", "shape": [2], "datatype": "BYTES", "data": ["warning", ""] },
            ] })
        );
    }

    #[test]
    fn only_what_is_wanted_comes_and_binary_lies_behind() {
        let wanted = json!({ "outputs": [{ "name": "severity", "parameters": { "binary_data": true } }] });
        let encoded = answer().encode(&request(wanted)).expect("encoded");
        let end = encoded.header_length.expect("binary");
        let header: Value = serde_json::from_slice(&encoded.body[..end]).expect("JSON");
        assert_eq!(header["outputs"][0]["parameters"]["binary_data_size"], 15);
        assert_eq!(&encoded.body[end..end + 11], b"\x07\0\0\0warning");
        let unknown = answer().encode(&request(json!({ "outputs": [{ "name": "q" }] }))).expect_err("refused");
        assert!(unknown.message.contains("`q`") && unknown.message.contains("p50"), "{unknown}");
    }
}
