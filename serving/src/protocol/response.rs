//! An inference answer, as JSON alone or with tensors behind it.

use super::{Datatype, InferRequest, Refusal, Tensor, Values, WantedOutput};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

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
        let outputs = chosen.iter().map(|(tensor, is_binary)| {
            let before = behind.len();
            if *is_binary {
                write_raw(tensor.datatype, &tensor.values, &mut behind);
            }
            Output {
                name: &tensor.name,
                shape: &tensor.shape,
                datatype: tensor.datatype.as_str(),
                parameters: is_binary.then(|| BinarySize { binary_data_size: behind.len() - before }),
                data: (!is_binary).then_some(Data(tensor)),
            }
        });
        let written = Body {
            model_name: &self.model,
            model_version: &self.version,
            id: request.id.as_deref(),
            outputs: outputs.collect(),
            parameters: &self.parameters,
        };
        let mut body = serde_json::to_vec(&written).map_err(Refusal::failed)?;
        let header_length = (!behind.is_empty()).then_some(body.len());
        body.append(&mut behind);
        Ok(Encoded { body, header_length })
    }
}

/// The protocol's names.
#[derive(Serialize)]
struct Body<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: &'a Map<String, Value>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// A tensor's elements, straight into the text. A missing number is null: JSON has no NaN.
struct Data<'a>(&'a Tensor);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.values {
            Values::None => serializer.collect_seq(std::iter::empty::<f64>()),
            Values::Texts(texts) => texts.serialize(serializer),
            Values::Numbers(numbers) => match self.0.datatype {
                Datatype::Bool => serializer.collect_seq(numbers.iter().map(|number| *number != 0.0)),
                // 0.1 is written as such and not with sixteen digits.
                Datatype::Fp32 => serializer.collect_seq(numbers.iter().map(|number| *number as f32)),
                Datatype::Fp64 => numbers.serialize(serializer),
                _ => serializer.collect_seq(numbers.iter().map(|number| *number as i64)),
            },
        }
    }
}

/// Elements as the binary extension and gRPC's raw contents have them.
pub fn write_raw(datatype: Datatype, values: &Values, bytes: &mut Vec<u8>) {
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
    use serde_json::json;

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
