//! An inference request, JSON alone or with tensors behind it.

use super::{Datatype, Refusal, Tensor, Values, flat};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct InferRequest {
    /// Echoed in the answer.
    pub id: Option<String>,
    /// Options of the request, such as `explain`.
    pub parameters: Map<String, Value>,
    /// The inputs.
    pub inputs: Vec<Tensor>,
    /// The outputs that are wanted; all where it is `None`.
    pub outputs: Option<Vec<WantedOutput>>,
}

/// An output that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedOutput {
    /// Its name.
    pub name: String,
    /// Behind the JSON instead of in it; the request's word counts where this is `None`.
    pub binary: Option<bool>,
}

#[derive(Deserialize)]
struct RawRequest {
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    inputs: Vec<RawInput>,
    outputs: Option<Vec<RawOutput>>,
}

#[derive(Deserialize)]
struct RawInput {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "flat::deserialize")]
    data: Option<Values>,
}

#[derive(Deserialize)]
struct RawOutput {
    name: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

impl InferRequest {
    /// Reads a body. `header_length`: where the JSON ends and the binary tensors begin; the whole body is JSON without it.
    ///
    /// # Errors
    /// 400 with what is wrong and where.
    pub fn parse(body: &[u8], header_length: Option<usize>) -> Result<Self, Refusal> {
        let end = header_length.unwrap_or(body.len());
        if end > body.len() {
            return Err(Refusal::bad(format!(
                "Inference-Header-Content-Length is {end}, the body has {} bytes",
                body.len()
            )));
        }
        let (text, mut rest) = body.split_at(end);
        let raw: RawRequest = serde_json::from_slice(text)
            .map_err(|error| Refusal::bad(format!("the body is no inference request: {error}")))?;
        let mut inputs: Vec<Tensor> = Vec::with_capacity(raw.inputs.len());
        for input in raw.inputs {
            if inputs.iter().any(|known| known.name == input.name) {
                return Err(Refusal::bad(format!("input `{}` comes twice", input.name)));
            }
            inputs.push(input.tensor(&mut rest)?);
        }
        if !rest.is_empty() {
            return Err(Refusal::bad(format!("{} bytes follow the last binary tensor", rest.len())));
        }
        let outputs = raw.outputs.map(|outputs| outputs.into_iter().map(RawOutput::wanted).collect());
        Ok(Self { id: raw.id, parameters: raw.parameters.unwrap_or_default(), inputs, outputs })
    }

    /// A parameter that is true or false; false where it is absent.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.parameters.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(Refusal::bad(format!("parameter `{name}` is {other}, want true or false"))),
        }
    }

    /// The input of this name.
    ///
    /// # Errors
    /// 400 when it is absent.
    pub fn input(&self, name: &str) -> Result<&Tensor, Refusal> {
        self.optional(name).ok_or_else(|| {
            let got: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            Refusal::bad(format!("input `{name}` is absent; there is [{}]", got.join(", ")))
        })
    }

    /// The input of this name, if it is there.
    pub fn optional(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|input| input.name == name)
    }

    /// Checks that no input has another name than these.
    ///
    /// # Errors
    /// 400 with the first that has.
    pub fn expect_only(&self, names: &[&str]) -> Result<(), Refusal> {
        match self.inputs.iter().find(|input| !names.contains(&input.name.as_str())) {
            None => Ok(()),
            Some(input) => {
                Err(Refusal::bad(format!("input `{}` is unknown; the model reads {}", input.name, names.join(", "))))
            }
        }
    }
}

impl RawInput {
    fn tensor(self, rest: &mut &[u8]) -> Result<Tensor, Refusal> {
        let datatype = Datatype::parse(&self.datatype, &self.name)?;
        let size = self.parameters.as_ref().and_then(|parameters| parameters.get("binary_data_size"));
        let values = match (size, self.data) {
            (None, Some(values)) => values,
            (None, None) => return Err(Refusal::bad(format!("tensor `{}` has no data", self.name))),
            (Some(_), Some(_)) => {
                return Err(Refusal::bad(format!("tensor `{}` has data and binary_data_size", self.name)));
            }
            (Some(size), None) => {
                let size = size.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= rest.len());
                let Some(size) = size else {
                    return Err(Refusal::bad(format!(
                        "binary_data_size of tensor `{}` must be a whole number of at most the {} bytes that are left",
                        self.name,
                        rest.len()
                    )));
                };
                let (own, after) = rest.split_at(size);
                *rest = after;
                raw_values(&self.name, datatype, own)?
            }
        };
        Tensor::new(self.name, &self.shape, datatype, values)
    }
}

impl RawOutput {
    fn wanted(self) -> WantedOutput {
        let binary = self.parameters.as_ref().and_then(|parameters| parameters.get("binary_data")?.as_bool());
        WantedOutput { name: self.name, binary }
    }
}

/// Elements of the binary extension and of gRPC's raw contents: little-endian numbers; text as its length in four bytes and
/// then its bytes.
///
/// # Errors
/// 400 for bytes that are no whole elements, or text that is no UTF-8.
pub fn raw_values(name: &str, datatype: Datatype, bytes: &[u8]) -> Result<Values, Refusal> {
    if let Some(width) = datatype.width() {
        if !bytes.len().is_multiple_of(width) {
            return Err(Refusal::bad(format!(
                "tensor `{name}` has {} bytes, an element of {} has {width}",
                bytes.len(),
                datatype.as_str()
            )));
        }
        return Ok(Values::Numbers(bytes.chunks_exact(width).filter_map(|element| datatype.number(element)).collect()));
    }
    let cut = || Refusal::bad(format!("tensor `{name}` ends within an element"));
    let mut rest = bytes;
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > after.len() {
            return Err(cut());
        }
        let (text, after) = after.split_at(length);
        let text = std::str::from_utf8(text)
            .map_err(|_| Refusal::bad(format!("element {} of tensor `{name}` is no UTF-8", texts.len())))?;
        texts.push(text.to_owned());
        rest = after;
    }
    Ok(Values::Texts(texts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(body: &Value) -> Result<InferRequest, Refusal> {
        InferRequest::parse(body.to_string().as_bytes(), None)
    }

    fn input(shape: &[i64], datatype: &str, data: &Value) -> Value {
        json!({ "id": "7", "inputs": [{ "name": "x", "shape": shape, "datatype": datatype, "data": data }] })
    }

    #[test]
    fn nested_and_flat_data_are_the_same_and_null_is_missing() {
        let flat = parse(&input(&[2, 2], "FP32", &json!([1, 2.5, null, -4]))).expect("flat");
        let nested = parse(&input(&[2, 2], "FP32", &json!([[1, 2.5], [null, -4]]))).expect("nested");
        let (rows, values) = flat.input("x").expect("x").rows(2).expect("rows");
        assert_eq!((rows, &values[..2], values[3]), (2, &[1.0, 2.5][..], -4.0));
        assert!(values[2].is_nan());
        assert_eq!(format!("{flat:?}"), format!("{nested:?}"));
        assert_eq!(flat.id.as_deref(), Some("7"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (body, said) in [
            (input(&[3], "FP32", &json!([1, 2])), "2 elements"),
            (input(&[-1], "FP32", &json!([1])), "-1"),
            (input(&[1], "FP16", &json!([1])), "`FP16`"),
            (input(&[1], "BYTES", &json!([1])), "holds numbers"),
            (input(&[1], "FP32", &json!(["a"])), "holds text"),
            (input(&[2], "BYTES", &json!(["a", 1])), "mixes"),
            (input(&[1], "UINT8", &json!([300])), "300"),
            (input(&[1], "FP32", &json!(1)), "must be a list"),
            (input(&[i64::MAX, 3], "FP32", &json!([])), "more elements"),
            (json!({ "inputs": [{ "name": "x", "shape": [0], "datatype": "FP32" }] }), "no data"),
            (json!({}), "inputs"),
            (json!([1]), "no inference request"),
        ] {
            let refusal = parse(&body).expect_err("refused");
            assert!(refusal.message.contains(said), "{body}: {refusal}");
            assert_eq!(refusal.status.as_u16(), 400);
        }
        let twice = json!({ "inputs": [
            { "name": "x", "shape": [1], "datatype": "FP32", "data": [1] },
            { "name": "x", "shape": [1], "datatype": "FP32", "data": [1] },
        ] });
        assert!(parse(&twice).expect_err("refused").message.contains("twice"));
    }

    #[test]
    fn binary_tensors_follow_the_header() {
        let header = json!({ "inputs": [
            { "name": "x", "shape": [2], "datatype": "FP32", "parameters": { "binary_data_size": 8 } },
            { "name": "n", "shape": [1], "datatype": "BYTES", "parameters": { "binary_data_size": 6 } },
        ] })
        .to_string();
        let mut body = header.clone().into_bytes();
        body.extend(1.5_f32.to_le_bytes());
        body.extend(f32::NAN.to_le_bytes());
        body.extend(2_u32.to_le_bytes());
        body.extend(b"n1");
        let request = InferRequest::parse(&body, Some(header.len())).expect("a request");
        assert_eq!(request.input("x").expect("x").as_numbers().expect("numbers")[0], 1.5);
        assert_eq!(request.input("n").expect("n").as_texts().expect("texts"), ["n1"]);
        body.push(0);
        assert!(InferRequest::parse(&body, Some(header.len())).expect_err("one too many").message.contains("1 bytes"));
        body.truncate(header.len() + 7);
        assert!(InferRequest::parse(&body, Some(header.len())).is_err());
        assert!(InferRequest::parse(&body, Some(10_000)).expect_err("beyond").message.contains("10000"));
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let body = format!(
            r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{}1{}}}]}}"#,
            "[".repeat(100),
            "]".repeat(100)
        );
        assert!(InferRequest::parse(body.as_bytes(), None).expect_err("refused").message.contains("deeper"));
    }
}
