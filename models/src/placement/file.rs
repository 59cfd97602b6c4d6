//! The network as one file in the safetensors format (github.com/huggingface/safetensors): eight bytes with the length
//! of a JSON header, the header, then all numbers as little-endian 32-bit floats. Any language reads it.

use super::{Layer, PlacementNetwork};
use crate::ModelError;
use cluster::score::ValueScale;
use serde_json::{Map, Value, json};

/// The file's name in an artifact.
pub const NETWORK_FILE: &str = "network.safetensors";

/// Tells our layout from other safetensors files.
const FORMAT: &str = "berth-placement-network-1";
const FULL_DIFFERENCE: &str = "full_difference";
const NOISE: &str = "noise";

impl PlacementNetwork {
    /// The file's bytes. The same network always gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = Map::new();
        // A comma is in no feature's name: names are those of the catalogue.
        // The format wants texts; the shortest one that reads back to the same number.
        let ValueScale { full_difference, noise } = self.scale;
        let metadata = json!({
            "format": FORMAT,
            "features": self.features.join(","),
            FULL_DIFFERENCE: full_difference.to_string(),
            NOISE: noise.to_string(),
        });
        header.insert("__metadata__".into(), metadata);
        let mut data: Vec<u8> = Vec::new();
        let mut tensor = |name: String, shape: Value, values: &[f32]| {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
        };
        tensor("skip.weight".into(), json!([self.skip.len()]), &self.skip);
        for (at, layer) in self.layers.iter().enumerate() {
            tensor(format!("layers.{at}.weight"), json!([layer.inputs, layer.outputs]), &layer.weights);
            tensor(format!("layers.{at}.bias"), json!([layer.outputs]), &layer.bias);
        }
        let mut text = Value::Object(header).to_string().into_bytes();
        // The format wants the numbers aligned to eight bytes; spaces after JSON are white space.
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text);
        bytes.extend(data);
        bytes
    }

    /// Reads [`PlacementNetwork::to_bytes`].
    ///
    /// # Errors
    /// [`ModelError::Damaged`] that says what is missing or does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let damaged = |problem: &dyn std::fmt::Display| ModelError::damaged(NETWORK_FILE, problem);
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged(&"it is shorter than 8 bytes"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(damaged(&"its header is longer than the file"));
        }
        let (text, data) = rest.split_at(length);
        let header: Map<String, Value> = serde_json::from_slice(text).map_err(|error| damaged(&error))?;
        let metadata = header.get("__metadata__").ok_or_else(|| damaged(&"it has no metadata"))?;
        if metadata["format"] != FORMAT {
            return Err(damaged(&format!("its format is {}, expected \"{FORMAT}\"", metadata["format"])));
        }
        let features = metadata["features"].as_str().ok_or_else(|| damaged(&"it names no features"))?;
        let tensor = |name: &str| -> Result<(Vec<usize>, Vec<f32>), ModelError> {
            let entry = header.get(name).ok_or_else(|| damaged(&format!("it lacks `{name}`")))?;
            let sizes = |key: &str| -> Option<Vec<usize>> {
                entry[key]
                    .as_array()?
                    .iter()
                    .map(|value| value.as_u64().and_then(|size| size.try_into().ok()))
                    .collect()
            };
            let (Some(shape), Some(offsets)) = (sizes("shape"), sizes("data_offsets")) else {
                return Err(damaged(&format!("`{name}` has no shape or place")));
            };
            let place = match offsets[..] {
                [start, end] => data.get(start..end),
                _ => None,
            };
            let count = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
            match place {
                Some(place)
                    if entry["dtype"] == "F32" && count.and_then(|count| count.checked_mul(4)) == Some(place.len()) =>
                {
                    let values =
                        place.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
                    Ok((shape, values.collect()))
                }
                _ => Err(damaged(&format!("`{name}` does not fit its place"))),
            }
        };
        let (_, skip) = tensor("skip.weight")?;
        let mut layers = Vec::new();
        while header.contains_key(&format!("layers.{}.weight", layers.len())) {
            let at = layers.len();
            let (shape, weights) = tensor(&format!("layers.{at}.weight"))?;
            let (_, bias) = tensor(&format!("layers.{at}.bias"))?;
            let [inputs, outputs] = shape[..] else {
                return Err(damaged(&format!("`layers.{at}.weight` is no matrix")));
            };
            layers.push(Layer { inputs, outputs, weights, bias });
        }
        let number = |name: &str| -> Result<Option<f64>, ModelError> {
            let Some(value) = metadata.get(name) else { return Ok(None) };
            let read = value.as_str().and_then(|text| text.parse().ok());
            read.map(Some).ok_or_else(|| damaged(&format!("its `{name}` is {value}, expected a number as text")))
        };
        let network = Self::new(features.split(',').map(str::to_owned).collect(), skip, layers)
            .map_err(|error| damaged(&error))?;
        // Files of earlier versions have no scale.
        match (number(FULL_DIFFERENCE)?, number(NOISE)?) {
            (Some(full), Some(noise)) => {
                Ok(network.with_scale(ValueScale::new(full, noise).map_err(|error| damaged(&error))?))
            }
            (None, None) => Ok(network),
            _ => Err(damaged(&format!("it has only one of `{FULL_DIFFERENCE}` and `{NOISE}`"))),
        }
    }
}
