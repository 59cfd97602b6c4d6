//! An inference request, JSON alone or with tensors behind it.

use super::{Datatype, Refusal, Tensor, Values, bounded, flat};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Inputs of a request, and outputs that it may name: no model here has a quarter of it.
pub const MOST_TENSORS: usize = 64;
/// Sides of a shape; no model here has more than two.
const MOST_SIDES: usize = 16;
/// Bytes of a tensor's name.
const LONGEST_NAME: usize = 256;

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
    #[serde(default, deserialize_with = "bounded::parameters")]
    parameters: Map<String, Value>,
    #[serde(deserialize_with = "bounded::list::<_, _, MOST_TENSORS>")]
    inputs: Vec<RawInput>,
    #[serde(default, deserialize_with = "bounded::maybe_list::<_, _, MOST_TENSORS>")]
    outputs: Option<Vec<RawOutput>>,
}

#[derive(Deserialize)]
struct RawInput {
    name: String,
    #[serde(deserialize_with = "bounded::list::<_, _, MOST_SIDES>")]
    shape: Vec<i64>,
    datatype: String,
    #[serde(default, deserialize_with = "bounded::parameters")]
    parameters: Map<String, Value>,
    #[serde(default, deserialize_with = "flat::deserialize")]
    data: Option<Values>,
}

#[derive(Deserialize)]
struct RawOutput {
    name: String,
    #[serde(default, deserialize_with = "bounded::parameters")]
    parameters: Map<String, Value>,
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
        check_names(raw.inputs.iter().map(|input| input.name.as_str()))?;
        let mut inputs: Vec<Tensor> = Vec::with_capacity(raw.inputs.len());
        for input in raw.inputs {
            inputs.push(input.tensor(&mut rest)?);
        }
        if !rest.is_empty() {
            return Err(Refusal::bad(format!("{} bytes follow the last binary tensor", rest.len())));
        }
        let outputs = raw.outputs.map(|outputs| outputs.into_iter().map(RawOutput::wanted).collect());
        Ok(Self { id: raw.id, parameters: raw.parameters, inputs, outputs })
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

/// Checks the names of a request's inputs, before any of them is looked at.
///
/// # Errors
/// 400 for a name that comes twice, for one that is too long, and for too many of them.
pub fn check_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Refusal> {
    if names.len() > MOST_TENSORS {
        return Err(Refusal::bad(format!("{} inputs, at most {MOST_TENSORS} are read", names.len())));
    }
    let mut known = HashSet::with_capacity(names.len());
    for name in names {
        if name.len() > LONGEST_NAME {
            return Err(Refusal::bad(format!(
                "the name of an input has {} bytes, at most {LONGEST_NAME} are read",
                name.len()
            )));
        }
        if !known.insert(name) {
            return Err(Refusal::bad(format!("input `{name}` comes twice")));
        }
    }
    Ok(())
}

impl RawInput {
    fn tensor(self, rest: &mut &[u8]) -> Result<Tensor, Refusal> {
        let datatype = Datatype::parse(&self.datatype, &self.name)?;
        let size = self.parameters.get("binary_data_size");
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
        let binary = self.parameters.get("binary_data").and_then(Value::as_bool);
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

    #[test]
    fn what_would_take_many_times_its_length_is_refused_while_it_is_read() {
        let many = |text: &str, count: usize| format!("[{}]", vec![text; count].join(","));
        let tensor = r#"{"name":"x","shape":[1],"datatype":"FP32","data":[1]}"#;
        for (body, said) in [
            (format!(r#"{{"inputs":{}}}"#, many(tensor, 65)), "more than 64 entries"),
            (format!(r#"{{"inputs":[],"outputs":{}}}"#, many(r#"{"name":"y"}"#, 65)), "more than 64 entries"),
            (
                format!(r#"{{"inputs":[{{"name":"x","shape":{},"datatype":"FP32"}}]}}"#, many("1", 17)),
                "more than 16 entries",
            ),
            (
                format!(r#"{{"inputs":[],"parameters":{{"a":{}}}}}"#, many("0", 100_000)),
                "text, a number, true or false",
            ),
            (r#"{"inputs":[],"parameters":{"a":{"b":1}}}"#.to_owned(), "text, a number, true or false"),
            (
                format!(
                    r#"{{"inputs":[],"parameters":{{{}}}}}"#,
                    (0..65).map(|at| format!(r#""{at}":1"#)).collect::<Vec<_>>().join(",")
                ),
                "more than 64 parameters",
            ),
            (tensor.replace("\"x\"", &format!("\"{}\"", "x".repeat(257))), "the name of an input has 257 bytes"),
        ] {
            let body = if body.starts_with("{\"name") { format!(r#"{{"inputs":[{body}]}}"#) } else { body };
            let refusal = InferRequest::parse(body.as_bytes(), None).expect_err(said);
            assert!(refusal.message.contains(said), "{refusal}");
        }
        let nothing = json!({ "id": null, "parameters": null, "inputs": [], "outputs": null });
        let request = parse(&nothing).expect("null is the same as absent");
        assert!(request.parameters.is_empty() && request.outputs.is_none());
        assert!(
            parse(&json!({ "inputs": [], "parameters": { "a": null, "b": "t", "c": 1.5, "explain": true } }))
                .expect("scalars")
                .flag("explain")
                .expect("a flag")
        );
    }
}
